//! The text of a static token: how it is made, recognised and hashed.
//!
//! `pmx_<id>_<secret>`: the id (8 hex digits) finds the row, the secret (64 hex digits, 256 bits)
//! proves it, and the whole has a shape that secret scanners and our own redaction know.

use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version};
use ring::rand::{SecureRandom as _, SystemRandom};
use secrecy::SecretString;

const PREFIX: &str = "pmx_";
const ID_BYTES: usize = 4;
const SECRET_BYTES: usize = 32;
/// What OWASP gives for little memory: the secret is random, so this guards a stolen file rather
/// than a weak password, and the server stays small.
const MEMORY_KIB: u32 = 7 * 1024;
const PASSES: u32 = 5;
/// The most that a hash in the file may ask for; ours ask for less.
const MAX_MEMORY_KIB: u32 = 64 * 1024;
const MAX_PASSES: u32 = 16;

/// No random bytes, or a hash that is none.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct SecretError(&'static str);

/// Whether a text means to be one of our tokens, whole or not.
pub(super) fn is_ours(token: &str) -> bool {
    token.starts_with(PREFIX)
}

/// The id in a token of ours; `None` where the shape is another.
pub(super) fn id_of(token: &str) -> Option<&str> {
    let is_hex = |text: &str, bytes: usize| {
        text.len() == 2 * bytes && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let (id, secret) = token.strip_prefix(PREFIX)?.split_once('_')?;
    (is_hex(id, ID_BYTES) && is_hex(secret, SECRET_BYTES)).then_some(id)
}

/// A new token with its id.
pub(super) fn generate() -> Result<(String, SecretString), SecretError> {
    let (mut id, mut secret) = ([0; ID_BYTES], [0; SECRET_BYTES]);
    fill(&mut id)?;
    fill(&mut secret)?;
    let id = hex(&id);
    let token = format!("{PREFIX}{id}_{}", hex(&secret));
    Ok((id, token.into()))
}

/// The hash to keep, in the PHC form.
pub(super) fn hash(token: &str) -> Result<String, SecretError> {
    let mut salt = [0; 16];
    fill(&mut salt)?;
    let params = Params::new(MEMORY_KIB, PASSES, 1, None);
    let params = params.map_err(|_| SecretError("argon2 refuses its parameters"))?;
    let hash = argon(params).hash_password_with_salt(token.as_bytes(), &salt);
    Ok(hash.map_err(|_| SecretError("argon2 makes no hash"))?.to_string())
}

/// Whether the token is the one that was hashed. Takes milliseconds and megabytes.
pub(super) fn verify(token: &str, hash: &str) -> bool {
    let Ok(hash) = argon2::PasswordHash::new(hash) else { return false };
    let Ok(params) = Params::try_from(&hash) else { return false };
    if params.m_cost() > MAX_MEMORY_KIB || params.t_cost() > MAX_PASSES || params.p_cost() > 4 {
        return false;
    }
    argon(params).verify_password(token.as_bytes(), &hash).is_ok()
}

/// Whether a text is a hash that [`verify`] can take.
pub(super) fn is_hash(text: &str) -> bool {
    argon2::PasswordHash::new(text)
        .is_ok_and(|hash| hash.algorithm.as_str() == "argon2id" && Params::try_from(&hash).is_ok())
}

fn argon(params: Params) -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn fill(bytes: &mut [u8]) -> Result<(), SecretError> {
    SystemRandom::new().fill(bytes).map_err(|_| SecretError("the system gives no random bytes"))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;

    #[test]
    fn a_token_verifies_against_its_own_hash_only() {
        let (id, token) = generate().unwrap();
        let token = token.expose_secret();
        assert_eq!(id_of(token), Some(id.as_str()));
        let stored = hash(token).unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=7168,t=5,p=1$"), "{stored}");
        assert!(is_hash(&stored) && !stored.contains(token));
        assert!(verify(token, &stored));
        let (_, other) = generate().unwrap();
        assert!(!verify(other.expose_secret(), &stored));
        assert_ne!(hash(token).unwrap(), stored, "each hash has a salt of its own");
    }

    #[test]
    fn only_the_whole_shape_is_a_token() {
        let secret = "0".repeat(64);
        assert_eq!(id_of(&format!("pmx_0a1b2c3d_{secret}")), Some("0a1b2c3d"));
        for wrong in [
            String::new(),
            "pmx_".to_owned(),
            format!("pmx_0a1b2c3d_{}", &secret[1..]),
            format!("pmx_0a1b2c3d_{secret}0"),
            format!("pmx_0a1b2c3_{secret}"),
            format!("pmx_0A1B2C3D_{secret}"),
            format!("pmx_../../.._{secret}"),
            format!("PMX_0a1b2c3d_{secret}"),
            format!("pmx_0a1b2c3d_{secret}\n"),
        ] {
            assert_eq!(id_of(&wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_hash_that_asks_for_too_much_is_not_run() {
        let hungry = "$argon2id$v=19$m=4194304,t=5,p=1$c29tZXNhbHRzb21lc2FsdA$Kw0yZ0pH2gJYyM2xq0sQ5i6gkhYFXHsOe5JhPq5zYy8";
        for hash in [hungry, "", "garbage", "$argon2id$", "$5$abc$def"] {
            assert!(!verify("pmx_x", hash), "{hash}");
        }
        assert!(!is_hash("$5$abc$def") && !is_hash(""));
    }
}
