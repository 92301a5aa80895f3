//! One-time codes: six digits for thirty seconds, each good once, and few wrong ones.

use std::fmt;
use std::time::Duration;

use guard::ports::CodeUse;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use stdx::seal::random_bytes;

/// A code's length of time.
const STEP: i64 = 30;
/// So many wrong ones in a row, then nobody's code is looked at for a while.
const TRIES: u32 = 5;
/// For how long.
const PAUSE: Duration = Duration::from_mins(15);

/// The secret of an approver's codes.
pub struct CodeSecret(SecretString);

/// The text is no secret of one-time codes. It is not repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the secret of the one-time codes is not base32 of at least ten bytes")]
pub struct InvalidCodeSecret;

// === impl CodeSecret ===

impl CodeSecret {
    /// Reads base32, with or without blanks.
    ///
    /// # Errors
    /// It is none, or too short to be one.
    pub fn try_new(text: &SecretString) -> Result<Self, InvalidCodeSecret> {
        let plain = |c: &char| !c.is_whitespace();
        let text: String = text.expose_secret().chars().filter(plain).collect();
        let this = Self(text.to_ascii_uppercase().into());
        this.totp().map(|_| this)
    }

    fn totp(&self) -> Result<totp_rs::Totp, InvalidCodeSecret> {
        let secret = totp_rs::Secret::try_from_base32(self.0.expose_secret())
            .map_err(|_| InvalidCodeSecret)?;
        if secret.as_ref().len() < 10 {
            return Err(InvalidCodeSecret);
        }
        // SHA-1, six digits, thirty seconds: what every app knows.
        Ok(totp_rs::Builder::new().with_secret(secret).build_noncompliant())
    }

    /// The code at this second; none where the secret is none.
    fn code(&self, second: i64) -> Option<String> {
        Some(self.totp().ok()?.generate(u64::try_from(second).ok()?).to_string())
    }
}

impl fmt::Debug for CodeSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CodeSecret(..)")
    }
}

/// Whether this is a code of the approver that is good now and was not used before, and what is known of their
/// codes from then on. That is to be kept before the code counts.
///
/// The error says why not, for whoever typed it.
pub(crate) fn tried(
    known: &CodeUse,
    secret: &CodeSecret,
    code: &str,
    now: Timestamp,
) -> (CodeUse, Result<(), String>) {
    if let Some(until) = known.until.filter(|until| now < *until) {
        let why = format!("too many wrong codes; they are looked at again at {until}");
        return (*known, Err(why));
    }
    let step = now.as_second().div_euclid(STEP);
    // Clocks differ a little, and people type slowly: the one before and the one after count.
    let found = (-1..=1).map(|away| step + away).find(|step| is_code(secret, *step, code));
    let Some(found) = found else {
        let wrong = known.wrong + 1;
        let (wrong, until) =
            if wrong >= TRIES { (0, now.checked_add(PAUSE).ok()) } else { (wrong, None) };
        let after = CodeUse { wrong, until, ..*known };
        return (after, Err("the code is not the right one".to_owned()));
    };
    if known.used.is_some_and(|used| found <= used) {
        return (*known, Err("the code was used already; wait for the next one".to_owned()));
    }
    (CodeUse { used: Some(found), wrong: 0, until: None }, Ok(()))
}

fn is_code(secret: &CodeSecret, step: i64, code: &str) -> bool {
    let Some(right) = secret.code(step * STEP) else { return false };
    // As long as it takes for a right one, however wrong it is.
    let same = right.bytes().zip(code.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0;
    same && right.len() == code.len()
}

/// A new secret in base32, and the address that apps read it by.
///
/// # Errors
/// The system gives no random bytes.
pub fn new_code_secret(approver: &str) -> Result<(SecretString, SecretString), super::KeyError> {
    let bytes: [u8; 20] = random_bytes().map_err(|_| super::KeyError::Machine)?;
    let secret = base32(&bytes);
    let url = format!("otpauth://totp/proxmox-mcp:{approver}?secret={secret}&issuer=proxmox-mcp");
    Ok((secret.into(), url.into()))
}

fn base32(bytes: &[u8; 20]) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut out = String::new();
    for five in bytes.chunks_exact(5) {
        let bits = five.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        for place in (0..8).rev() {
            out.push(char::from(LETTERS[(bits >> (place * 5) & 31) as usize]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> CodeSecret {
        CodeSecret::try_new(&"GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ".into()).unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Tries a code, and keeps what is known from then on.
    fn take(known: &mut CodeUse, code: &str, second: i64) -> Result<(), String> {
        let (after, good) = tried(known, &secret(), code, at(second));
        *known = after;
        good
    }

    #[test]
    fn a_code_is_good_once_and_for_its_time() {
        let (mut ada, mut bob) = (CodeUse::default(), CodeUse::default());
        // RFC 6238, appendix B.
        assert!(take(&mut ada, "287082", 59).is_ok());
        let again = take(&mut ada, "287082", 59).unwrap_err();
        assert!(again.contains("used already"), "{again}");
        let before = secret().code(29).unwrap();
        let older = take(&mut ada, &before, 59).unwrap_err();
        assert!(older.contains("used already"), "an older one after a newer one");
        assert!(take(&mut ada, &secret().code(90).unwrap(), 65).is_ok(), "a fast clock");
        assert!(take(&mut ada, "287082", 1000).is_err());
        assert!(take(&mut bob, "287082", 59).is_ok(), "each has codes of their own");
    }

    #[test]
    fn guessing_ends_soon() {
        let mut known = CodeUse::default();
        for code in ["", "0", "000000", "28708", "2870820"] {
            assert!(take(&mut known, code, 59).is_err(), "{code}");
        }
        let right = take(&mut known, "287082", 59).unwrap_err();
        assert!(right.contains("too many wrong codes"), "{right}");
        assert!(take(&mut known, &secret().code(959).unwrap(), 59 + 900).is_ok());
    }

    #[test]
    fn new_secrets_are_read_back() {
        assert_eq!(base32(b"12345678901234567890"), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        let (secret, url) = new_code_secret("ada").unwrap();
        assert!(CodeSecret::try_new(&secret).is_ok());
        assert!(url.expose_secret().contains(secret.expose_secret()));
        assert!(CodeSecret::try_new(&"gezd gnbv gy3t qojq".into()).is_ok());
        for wrong in ["", "GEZDGNBV", "not base32!"] {
            assert_eq!(CodeSecret::try_new(&wrong.into()).unwrap_err(), InvalidCodeSecret);
        }
    }
}
