//! Signed links: each is for one approver, one approval and one plan, until one moment.
//!
//! A link is a secret of the person to whom it is sent: it is in no answer, log or audit record.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use guard::ports::{Approval, ApprovalId};
use jiff::Timestamp;
use ring::hmac;
use secrecy::SecretString;

/// Nothing else that is hashed anywhere begins with this.
const DOMAIN: &str = "proxmox-mcp/link/v1\0";
/// The path before the secret part.
const PATH: &str = "/approve/";
/// The longest secret part that is looked at.
const LONGEST: usize = 512;

/// Makes and opens links.
pub struct Links {
    key: hmac::Key,
    base: String,
}

/// What a link says, before the approval is compared with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The approval.
    pub id: ApprovalId,
    /// The approver.
    pub approver: String,
    /// Its end.
    pub until: Timestamp,
    tag: Vec<u8>,
}

// === impl Links ===

impl Links {
    /// With this key, below the address that people reach the server by.
    pub fn new(key: &[u8; 32], public_url: &str) -> Self {
        let base = public_url.trim_end_matches('/').to_owned();
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key), base }
    }

    /// The link by which this approver decides about this approval.
    pub fn link(&self, approval: &Approval, approver: &str) -> SecretString {
        let until = approval.expires_at.as_second();
        let message = message(approval.id, approval.digest.as_str(), approver, until);
        let tag = BASE64.encode(hmac::sign(&self.key, &message));
        format!("{}{PATH}{}.{approver}.{until}.{tag}", self.base, approval.id).into()
    }

    /// Reads the part of a link behind its path.
    pub fn read(text: &str) -> Option<Claim> {
        if text.len() > LONGEST {
            return None;
        }
        let mut parts = text.split('.');
        let (id, approver) = (parts.next()?.parse().ok()?, parts.next()?.to_owned());
        let until = Timestamp::from_second(parts.next()?.parse().ok()?).ok()?;
        let tag = BASE64.decode(parts.next()?).ok()?;
        parts.next().is_none().then_some(Claim { id, approver, until, tag })
    }

    /// Whether the claim is one that this manager made for this approval, and its time lasts.
    pub fn is_good(&self, claim: &Claim, approval: &Approval, now: Timestamp) -> bool {
        let until = claim.until.as_second();
        let message = message(claim.id, approval.digest.as_str(), &claim.approver, until);
        claim.id == approval.id
            && now < claim.until
            && hmac::verify(&self.key, &message, &claim.tag).is_ok()
    }
}

fn message(id: ApprovalId, digest: &str, approver: &str, until: i64) -> Vec<u8> {
    format!("{DOMAIN}{id}\n{digest}\n{approver}\n{until}").into_bytes()
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links").field("base", &self.base).finish_non_exhaustive()
    }
}
