//! Signed checkpoints: what shows that the end of the chain was cut off, or all of it written anew.
//!
//! A checkpoint says that the record with this number had this hash, and is signed with Ed25519 over
//! `proxmox-mcp/audit-checkpoint/v1\0`, the number, the time, and the hash in hexadecimal. The key is
//! not in the store, so whoever can only write there cannot make one.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD as BASE64};
use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use super::AuditRecord;
use crate::ids::{hex, unhex};
use crate::records::micros;

const DOMAIN: &[u8] = b"proxmox-mcp/audit-checkpoint/v1\0";
const PREFIX: &str = "ed25519:";

/// The key that signs checkpoints.
pub struct CheckpointKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

/// The key that checks them; written `ed25519:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

/// The text or file holds no key of this kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// No private key.
    #[error("it holds no Ed25519 key (PKCS #8)")]
    Private,
    /// No public key.
    #[error("it is no public key: `ed25519:` and 64 hexadecimal digits are expected")]
    Public,
    /// The operating system gave no random bytes for a new one.
    #[error("the system gives no random bytes")]
    NoRandomness,
}

/// What was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checkpoint {
    /// The number of the record.
    pub seq: u64,
    /// Its hash.
    pub head: String,
    /// When the record was written.
    pub time: Timestamp,
    /// The key that signed, in its written form.
    pub key: String,
    /// The signature, in Base64.
    pub signature: String,
}

/// How a checkpoint is written in a line of a file: version 1.
#[derive(Deserialize, Serialize)]
struct Line {
    seq: u64,
    head: String,
    time_us: i64,
    key: String,
    signature: String,
}

// === impl CheckpointKey ===

impl CheckpointKey {
    /// A new one, as its file holds it.
    ///
    /// # Errors
    ///
    /// [`InvalidKey::NoRandomness`].
    pub fn generate() -> Result<Vec<u8>, InvalidKey> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
        Ok(document.map_err(|_| InvalidKey::NoRandomness)?.as_ref().to_vec())
    }

    /// Reads what [`CheckpointKey::generate`] made.
    ///
    /// # Errors
    ///
    /// [`InvalidKey::Private`].
    pub fn from_pkcs8(bytes: &[u8]) -> Result<Self, InvalidKey> {
        let pair = Ed25519KeyPair::from_pkcs8(bytes).map_err(|_| InvalidKey::Private)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| InvalidKey::Private)?;
        Ok(Self { pair, public: PublicKey(public) })
    }

    /// The key that checks what this one signs.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// Signs that the chain came to this record.
    pub fn sign(&self, record: &AuditRecord) -> Checkpoint {
        let message = message(record.seq, record.time, &record.hash);
        Checkpoint {
            seq: record.seq,
            head: record.hash.clone(),
            time: record.time,
            key: self.public.to_string(),
            signature: BASE64.encode(self.pair.sign(&message)),
        }
    }
}

impl fmt::Debug for CheckpointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CheckpointKey({})", self.public)
    }
}

// === impl PublicKey ===

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", hex(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for PublicKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.strip_prefix(PREFIX).and_then(unhex).map(Self).ok_or(InvalidKey::Public)
    }
}

// === impl Checkpoint ===

impl Checkpoint {
    /// Whether this key signed exactly this.
    pub fn is_signed_by(&self, key: PublicKey) -> bool {
        let Ok(signature) = BASE64.decode(&self.signature) else { return false };
        let message = message(self.seq, self.time, &self.head);
        UnparsedPublicKey::new(&ED25519, key.0).verify(&message, &signature).is_ok()
    }

    /// One line of JSON.
    pub fn to_line(&self) -> String {
        let line = Line {
            seq: self.seq,
            head: self.head.clone(),
            time_us: self.time.as_microsecond(),
            key: self.key.clone(),
            signature: self.signature.clone(),
        };
        serde_json::to_string(&line).expect("texts and numbers alone")
    }

    /// Reads what [`Checkpoint::to_line`] wrote.
    pub fn from_line(text: &str) -> Option<Self> {
        let line: Line = serde_json::from_str(text.trim()).ok()?;
        Some(Self {
            seq: line.seq,
            head: line.head,
            time: micros::read(line.time_us, "a checkpoint").ok()?,
            key: line.key,
            signature: line.signature,
        })
    }
}

fn message(seq: u64, time: Timestamp, head: &str) -> Vec<u8> {
    let mut message = DOMAIN.to_vec();
    message.extend(seq.to_be_bytes());
    message.extend(time.as_microsecond().to_be_bytes());
    message.extend(head.as_bytes());
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{GENESIS, NewAuditRecord};

    fn record() -> AuditRecord {
        let new = NewAuditRecord {
            time: "2026-11-22T12:00:00.5Z".parse().unwrap(),
            principal: guard::Principal::local(1000),
            action: "guest.start".to_owned(),
            target: "home/104".to_owned(),
            payload: serde_json::json!({}),
        };
        AuditRecord::chained(new, 6, GENESIS)
    }

    #[test]
    fn a_checkpoint_is_good_for_what_was_signed_and_nothing_else() {
        let key = CheckpointKey::from_pkcs8(&CheckpointKey::generate().unwrap()).unwrap();
        let signed = key.sign(&record());
        assert!(signed.is_signed_by(key.public()));
        assert_eq!(signed.key.parse(), Ok(key.public()));
        assert_eq!(Checkpoint::from_line(&signed.to_line()), Some(signed.clone()));

        let other = CheckpointKey::from_pkcs8(&CheckpointKey::generate().unwrap()).unwrap();
        assert!(!signed.is_signed_by(other.public()));
        let second = jiff::SignedDuration::from_secs(1);
        for changed in [
            Checkpoint { seq: 8, ..signed.clone() },
            Checkpoint { head: GENESIS.to_owned(), ..signed.clone() },
            Checkpoint { time: signed.time + second, ..signed.clone() },
            Checkpoint { signature: "?".to_owned(), ..signed.clone() },
            Checkpoint { signature: String::new(), ..signed.clone() },
        ] {
            assert!(!changed.is_signed_by(key.public()), "{changed:?}");
        }
    }

    #[test]
    fn garbage_is_no_key() {
        assert_eq!(CheckpointKey::from_pkcs8(b"x").unwrap_err(), InvalidKey::Private);
        for text in ["", "ed25519:", "ed25519:zz", &"0".repeat(64)] {
            assert_eq!(text.parse::<PublicKey>(), Err(InvalidKey::Public));
        }
        assert_eq!(Checkpoint::from_line("{}"), None);
    }

    /// The signed bytes are for ever: a change here makes every checkpoint that exists worthless.
    #[test]
    fn the_signed_bytes_are_fixed() {
        let record = record();
        let message = message(record.seq, record.time, "ab");
        let expected = [
            DOMAIN,
            &[0, 0, 0, 0, 0, 0, 0, 7],
            &[0x00, 0x06, 0x60, 0xdc, 0x37, 0x80, 0x71, 0x20],
            b"ab",
        ]
        .concat();
        assert_eq!(message, expected);
    }
}
