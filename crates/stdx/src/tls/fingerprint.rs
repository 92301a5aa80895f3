//! SHA-256 of a certificate, as Proxmox and openssl print it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};

/// The SHA-256 of a certificate's DER, printed `AB:CD:…`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

/// A text that is no SHA-256 fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256 fingerprint (64 hex digits, colons between pairs allowed): {given:?}")]
pub struct InvalidFingerprint {
    given: String,
}

// === impl Fingerprint ===

impl Fingerprint {
    /// The fingerprint of a certificate in DER.
    pub fn of(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02X}", if at == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    /// Takes what the web interface, `pvenode cert info`, `proxmox-backup-manager cert info` and
    /// `openssl x509 -fingerprint -sha256` print.
    fn from_str(text: &str) -> Result<Self, InvalidFingerprint> {
        let wrong = || InvalidFingerprint { given: text.chars().take(120).collect() };
        let digits = text.trim();
        let digits = match digits.rsplit_once('=') {
            Some((label, digits)) if label.to_ascii_lowercase().contains("fingerprint") => digits,
            _ => {
                digits.strip_prefix("sha256:").or(digits.strip_prefix("SHA256:")).unwrap_or(digits)
            }
        };
        let mut out = [0; 32];
        let mut nibbles = digits.bytes().filter(|b| *b != b':').map(|b| char::from(b).to_digit(16));
        for byte in &mut out {
            let mut nibble = || nibbles.next().flatten().and_then(|n| u8::try_from(n).ok());
            *byte = nibble().ok_or_else(wrong)? << 4 | nibble().ok_or_else(wrong)?;
        }
        if nibbles.next().is_some() { Err(wrong()) } else { Ok(Self(out)) }
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usual_spelling_is_read() {
        let given = Fingerprint::of(b"");
        let printed = given.to_string();
        assert_eq!(&printed[..12], "E3:B0:C4:42:");
        for text in [
            printed.clone(),
            printed.to_lowercase(),
            printed.replace(':', ""),
            format!("sha256:{}", printed.replace(':', "")),
            format!("sha256 Fingerprint={printed}\n"),
        ] {
            assert_eq!(text.parse(), Ok(given), "{text}");
        }
        for wrong in
            ["", "AB:CD", &printed[..92], &format!("{printed}:00"), &printed.replace('E', "G")]
        {
            assert!(wrong.parse::<Fingerprint>().is_err(), "{wrong}");
        }
    }
}
