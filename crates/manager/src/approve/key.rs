//! An approver's key: Ed25519, its secret half under a passphrase in a file of the approver's.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use jiff::Timestamp;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use secrecy::{ExposeSecret as _, SecretString};
use stdx::seal::{SealKey, Sealed, random_bytes};

use super::statement::{Signature, Statement};

/// What it costs to try one passphrase: 64 MiB, three times over.
const COST: Cost = Cost { kib: 65_536, rounds: 3 };
/// More than this is not tried: the file is the approver's, but a slip in it should not eat the machine.
const MOST: Cost = Cost { kib: 1_048_576, rounds: 16 };
/// The first line of the file.
const HEAD: &str = "proxmox-mcp approver key, version 1";
/// Shorter passphrases are refused: whoever copies the file can try them at leisure.
const SHORTEST: usize = 12;

/// The public half, as the settings have it: `ed25519:` and Base64.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

/// The secret half, unlocked.
pub struct SigningKey(Ed25519KeyPair);

/// The secret half as its file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedKey {
    name: String,
    public: PublicKey,
    cost: Cost,
    salt: [u8; 16],
    sealed: Sealed,
}

/// What one try of a passphrase costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cost {
    kib: u32,
    rounds: u32,
}

/// Why a key cannot be made or used. Passphrase and key are never in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text is no public key.
    #[error("not a public key: `ed25519:` and 32 bytes in Base64 are expected")]
    NotPublic,
    /// The file's text is none.
    #[error("not an approver's key file of this version")]
    NotAKeyFile,
    /// It does not open.
    #[error("the passphrase is not the right one")]
    WrongPassphrase,
    /// It is too easily found.
    #[error(
        "a passphrase has at least {SHORTEST} characters; a few words that belong to nobody's sentence do well"
    )]
    TooShort,
    /// The machine gives no memory or no random bytes.
    #[error("the machine gives no memory or no random bytes for it")]
    Machine,
}

// === impl PublicKey ===

impl PublicKey {
    /// Whether the signature over the message is this key's.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ed25519:{}", BASE64.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = text.strip_prefix("ed25519:").and_then(|text| BASE64.decode(text).ok());
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(KeyError::NotPublic)
    }
}

// === impl SigningKey ===

impl SigningKey {
    fn from_seed(seed: &[u8]) -> Result<Self, KeyError> {
        Ed25519KeyPair::from_seed_unchecked(seed).map(Self).map_err(|_| KeyError::NotAKeyFile)
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        let bytes = self.0.public_key().as_ref();
        PublicKey(bytes.try_into().expect("an Ed25519 key has 32 bytes"))
    }

    /// Signs what the approver says.
    pub fn sign(&self, statement: &Statement, approver: &str, at: Timestamp) -> Signature {
        let message = statement.message(approver, at);
        Signature { at, bytes: self.0.sign(&message).as_ref().to_vec() }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

// === impl SealedKey ===

impl SealedKey {
    /// Makes a key for this approver under this passphrase.
    ///
    /// # Errors
    /// A passphrase that is too short, or a machine without memory for it.
    pub fn make(name: &str, passphrase: &SecretString) -> Result<Self, KeyError> {
        if passphrase.expose_secret().chars().count() < SHORTEST {
            return Err(KeyError::TooShort);
        }
        let random = || KeyError::Machine;
        let seed: [u8; 32] = random_bytes().map_err(|_| random())?;
        let salt: [u8; 16] = random_bytes().map_err(|_| random())?;
        let public = SigningKey::from_seed(&seed)?.public();
        let key = derive(passphrase, salt, COST)?;
        let sealed = key.seal(&place(name, &public), &seed).map_err(|_| random())?;
        Ok(Self { name: name.to_owned(), public, cost: COST, salt, sealed })
    }

    /// Unlocks it.
    ///
    /// # Errors
    /// Another passphrase than it was made with.
    pub fn unlock(&self, passphrase: &SecretString) -> Result<SigningKey, KeyError> {
        let key = derive(passphrase, self.salt, self.cost)?;
        let seed = key.open(&place(&self.name, &self.public), &self.sealed);
        SigningKey::from_seed(&seed.map_err(|_| KeyError::WrongPassphrase)?)
    }

    /// Whose it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The text of its file.
    pub fn to_text(&self) -> String {
        let Cost { kib, rounds } = self.cost;
        format!(
            "{HEAD}\nname {}\npublic {}\nargon2id {kib} {rounds} {}\nsealed {}\n",
            self.name,
            self.public,
            BASE64.encode(self.salt),
            self.sealed.to_text(),
        )
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// It is none of this form.
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        parse(text).ok_or(KeyError::NotAKeyFile)
    }
}

fn parse(text: &str) -> Option<SealedKey> {
    let mut lines = text.lines();
    (lines.next()? == HEAD).then_some(())?;
    let name = lines.next()?.strip_prefix("name ")?.to_owned();
    let public = lines.next()?.strip_prefix("public ")?.parse().ok()?;
    let mut kdf = lines.next()?.strip_prefix("argon2id ")?.split(' ');
    let cost = Cost { kib: kdf.next()?.parse().ok()?, rounds: kdf.next()?.parse().ok()? };
    let salt = BASE64.decode(kdf.next()?).ok()?.try_into().ok()?;
    let sealed = Sealed::from_text(lines.next()?.strip_prefix("sealed ")?);
    let is_sane = cost.kib <= MOST.kib && cost.rounds <= MOST.rounds && kdf.next().is_none();
    is_sane.then_some(SealedKey { name, public, cost, salt, sealed })
}

/// What a sealed key belongs to: under another name it does not open.
fn place(name: &str, public: &PublicKey) -> String {
    format!("approver key\n{name}\n{public}")
}

fn derive(passphrase: &SecretString, salt: [u8; 16], cost: Cost) -> Result<SealKey, KeyError> {
    let params =
        Params::new(cost.kib, cost.rounds, 1, Some(32)).map_err(|_| KeyError::NotAKeyFile)?;
    let mut key = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.expose_secret().as_bytes(), &salt, &mut key)
        .map_err(|_| KeyError::Machine)?;
    Ok(SealKey::new(&key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_opens_with_its_passphrase_and_name_alone() {
        let passphrase = SecretString::from("correct horse battery");
        assert_eq!(SealedKey::make("ada", &"short".into()), Err(KeyError::TooShort));
        let made = SealedKey::make("ada", &passphrase).unwrap();
        let text = made.to_text();
        assert!(!text.contains("horse"));
        let read = SealedKey::from_text(&text).unwrap();
        assert_eq!(read, made);
        assert_eq!(
            read.unlock(&"wrong horse battery".into()).unwrap_err(),
            KeyError::WrongPassphrase
        );
        let key = read.unlock(&passphrase).unwrap();
        assert_eq!(&key.public(), made.public());

        let statement = Statement::Lift { since: Timestamp::UNIX_EPOCH };
        let signature = key.sign(&statement, "ada", Timestamp::UNIX_EPOCH);
        assert!(statement.is_signed("ada", made.public(), &signature));
        assert!(!statement.is_signed("bob", made.public(), &signature));
        let other =
            Statement::Settle { id: "x".to_owned(), state: guard::ports::ActionState::Done };
        assert!(!other.is_signed("ada", made.public(), &signature));
        let later = Signature { at: Timestamp::MAX, ..signature.clone() };
        assert!(!statement.is_signed("ada", made.public(), &later));
        assert_eq!(Signature::from_text(&signature.to_string()), Some(signature));

        // Renamed in the file, it is nobody's.
        let renamed = SealedKey::from_text(&text.replace("name ada", "name bob")).unwrap();
        assert_eq!(renamed.unlock(&passphrase).unwrap_err(), KeyError::WrongPassphrase);
    }

    #[test]
    fn garbage_is_no_key() {
        let public = PublicKey([7; 32]).to_string();
        assert_eq!(public.parse(), Ok(PublicKey([7; 32])));
        for text in ["", "ed25519:", "ed25519:AAAA", &public[8..]] {
            assert_eq!(text.parse::<PublicKey>(), Err(KeyError::NotPublic), "{text}");
        }
        let hungry = format!(
            "{HEAD}\nname a\npublic {public}\nargon2id 4194304 3 AAAAAAAAAAAAAAAAAAAAAA==\nsealed AA\n"
        );
        for text in ["", HEAD, &hungry] {
            assert_eq!(SealedKey::from_text(text), Err(KeyError::NotAKeyFile));
        }
        assert!(Signature::from_text("ed25519 now AAAA").is_none());
    }
}
