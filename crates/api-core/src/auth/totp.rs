//! Time-based one-time passwords: the second factor of a login.

use std::fmt;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

/// The secret that one-time passwords are made of, as the enrolment showed it (base32).
#[derive(Clone)]
pub struct TotpSecret(SecretString);

/// A text that is no base32 secret of at least ten bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read the TOTP secret: base32 (A-Z and 2-7) is expected, as the enrolment shows it")]
pub struct InvalidTotpSecret;

// === impl TotpSecret ===

impl TotpSecret {
    /// Checks the secret; blanks and case do not matter, and a whole `otpauth://` address is taken
    /// too.
    pub fn try_new(secret: &SecretString) -> Result<Self, InvalidTotpSecret> {
        let text = secret.expose_secret();
        let text = match text.split_once("secret=") {
            Some((_, rest)) if text.starts_with("otpauth://") => {
                rest.split('&').next().unwrap_or_default()
            }
            _ => text,
        };
        let text: String =
            text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '-' | '=')).collect();
        let checked = Self(text.to_ascii_uppercase().into());
        checked.totp().map(|_| checked)
    }

    /// The six digits for this moment.
    pub(crate) fn code(&self, now: Timestamp) -> String {
        let totp = self.totp().expect("the secret was checked when it was made");
        totp.generate(u64::try_from(now.as_second()).unwrap_or(0)).to_string()
    }

    fn totp(&self) -> Result<totp_rs::Totp, InvalidTotpSecret> {
        let secret = totp_rs::Secret::try_from_base32(self.0.expose_secret())
            .map_err(|_| InvalidTotpSecret)?;
        if secret.as_ref().len() < 10 {
            return Err(InvalidTotpSecret);
        }
        // PVE and PBS enrol with SHA-1, six digits, thirty seconds.
        Ok(totp_rs::Builder::new().with_secret(secret).build_noncompliant())
    }
}

impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpSecret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_rfc() {
        // RFC 6238, appendix B: the SHA-1 secret "12345678901234567890", here its last six digits.
        for text in [
            "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
            "gezd gnbv gy3t qojq gezd gnbv gy3t qojq",
            "otpauth://totp/x:y?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=x",
        ] {
            let secret = TotpSecret::try_new(&text.into()).expect("a valid secret");
            for (second, code) in
                [(59, "287082"), (1_111_111_109, "081804"), (2_000_000_000, "279037")]
            {
                let now = Timestamp::from_second(second).expect("a valid time");
                assert_eq!(secret.code(now), code);
            }
        }
        for wrong in ["", "GEZDGNBV", "not base32!"] {
            assert!(TotpSecret::try_new(&wrong.into()).is_err(), "{wrong}");
        }
    }
}
