//! What is signed, by whom and when, and the two proofs of it: an approver's signature, and the MAC of
//! the manager that has verified somebody itself.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use guard::ports::{ActionState, ApprovalId, DecisionRecord, Way};
use jiff::Timestamp;
use ring::hmac;

use super::key::PublicKey;

/// Nothing else that is signed or hashed anywhere begins with this.
const DOMAIN: &str = "proxmox-mcp/decision/v1\0";

/// Something that a person says, in the one form that is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// Yes or no to a plan.
    Decide {
        /// The approval.
        id: ApprovalId,
        /// The plan's digest.
        digest: String,
        /// Yes or no.
        agrees: bool,
    },
    /// Changes may run again after the freeze that began then.
    Lift {
        /// Its beginning.
        since: Timestamp,
    },
    /// How an action ended whose end was not known.
    Settle {
        /// The action.
        id: String,
        /// How it ended.
        state: ActionState,
    },
}

/// A signature with its moment, as records keep it: `ed25519 MOMENT BASE64`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// When it was made.
    pub at: Timestamp,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// The manager's own word for what it has verified: a MAC with a key of its account alone.
pub struct Attestor(hmac::Key);

// === impl Statement ===

impl Statement {
    /// The bytes that are signed. No part can hold a line end: ids are digits, names are words of
    /// the settings.
    pub fn message(&self, approver: &str, at: Timestamp) -> Vec<u8> {
        let said = match self {
            Self::Decide { id, digest, agrees } => {
                let word = if *agrees { "approve" } else { "refuse" };
                format!("{word}\n{id}\n{digest}")
            }
            Self::Lift { since } => format!("lift\n{since}"),
            Self::Settle { id, state } => format!("settle\n{id}\n{}", state.as_str()),
        };
        format!("{DOMAIN}{said}\n{approver}\n{at}").into_bytes()
    }

    /// Whether the signature is this approver's for this statement.
    pub fn is_signed(&self, approver: &str, key: &PublicKey, signature: &Signature) -> bool {
        key.verifies(&self.message(approver, signature.at), &signature.bytes)
    }
}

// === impl Signature ===

impl Signature {
    /// Reads the written form.
    pub fn from_text(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let (kind, at, bytes) = (parts.next()?, parts.next()?, parts.next()?);
        if kind != "ed25519" || parts.next().is_some() {
            return None;
        }
        Some(Self { at: at.parse().ok()?, bytes: BASE64.decode(bytes).ok()? })
    }

    /// The bytes in Base64, as they travel.
    pub fn to_base64(&self) -> String {
        BASE64.encode(&self.bytes)
    }

    /// From what travelled.
    pub fn from_base64(at: Timestamp, text: &str) -> Option<Self> {
        Some(Self { at, bytes: BASE64.decode(text).ok()? })
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ed25519 {} {}", self.at, self.to_base64())
    }
}

// === impl Attestor ===

impl Attestor {
    /// With this key.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// Vouches for a decision that was verified just now.
    pub fn attest(&self, statement: &Statement, record: &DecisionRecord) -> String {
        let tag = hmac::sign(&self.0, &attested(statement, record));
        format!("mac {}", BASE64.encode(tag))
    }

    /// Whether this manager has vouched for the decision.
    pub fn vouches_for(&self, statement: &Statement, record: &DecisionRecord) -> bool {
        let tag = record.signature.as_deref().and_then(|text| text.strip_prefix("mac "));
        let Some(tag) = tag.and_then(|tag| BASE64.decode(tag).ok()) else { return false };
        hmac::verify(&self.0, &attested(statement, record), &tag).is_ok()
    }
}

impl fmt::Debug for Attestor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Attestor(..)")
    }
}

/// What the manager vouches for: the statement, by whom it was brought, and how. Stores keep moments
/// to the microsecond, so no more of it is attested.
fn attested(statement: &Statement, record: &DecisionRecord) -> Vec<u8> {
    let at = Timestamp::from_microsecond(record.at.as_microsecond()).unwrap_or(record.at);
    let mut message = statement.message(&record.approver, at);
    let way = Way::as_str(record.way);
    message.extend(format!("\n{way}\n{}", record.principal).bytes());
    message
}
