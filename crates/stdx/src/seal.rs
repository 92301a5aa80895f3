//! Encryption of what is kept for later and shown to nobody: the arguments of a call that waits.
//!
//! ChaCha20-Poly1305 under a random nonce. What a sealed text belongs to (an approval's id, a plan's
//! digest) is bound to it as associated data, so that it opens nowhere else.
//!
//! *Invariant:* no I/O: a key's file is read at the edge, see [`crate::keyfile`].

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD as BASE64};
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom as _, SystemRandom},
};

/// The bytes of a key.
pub const KEY_LEN: usize = 32;

/// The first byte of every sealed text, so that another form can follow.
const FORM: u8 = 1;

/// A secret key that seals and opens.
pub struct SealKey(LessSafeKey);

/// An encrypted text, as it is kept.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Sealed(Vec<u8>);

/// The text was not sealed with this key for this place, or the system has no randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Another key, another place, or changed since.
    #[error("what was sealed does not open: it has another key or place, or was changed")]
    DoesNotOpen,
    /// The operating system gave no random bytes.
    #[error("seal a text: the system gives no random bytes")]
    NoRandomness,
}

// === impl SealKey ===

impl SealKey {
    /// The key of these bytes.
    pub fn new(bytes: &[u8; KEY_LEN]) -> Self {
        let key = UnboundKey::new(&CHACHA20_POLY1305, bytes).expect("the length is the cipher's");
        Self(LessSafeKey::new(key))
    }

    /// A key that is gone with the process.
    ///
    /// # Errors
    ///
    /// [`SealError::NoRandomness`].
    pub fn random() -> Result<Self, SealError> {
        Ok(Self::new(&random_bytes()?))
    }

    /// Seals `plain` for the place that `bound_to` names.
    ///
    /// # Errors
    ///
    /// [`SealError::NoRandomness`].
    pub fn seal(&self, bound_to: &str, plain: &[u8]) -> Result<Sealed, SealError> {
        let nonce: [u8; NONCE_LEN] = random_bytes()?;
        let mut text = plain.to_vec();
        let nonce_of_use = Nonce::assume_unique_for_key(nonce);
        self.0
            .seal_in_place_append_tag(nonce_of_use, Aad::from(bound_to.as_bytes()), &mut text)
            .expect("a text is never as long as the cipher's limit of 256 GiB");
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + text.len());
        sealed.push(FORM);
        sealed.extend(nonce);
        sealed.append(&mut text);
        Ok(Sealed(sealed))
    }

    /// Opens what was sealed for the place that `bound_to` names.
    ///
    /// # Errors
    ///
    /// [`SealError::DoesNotOpen`].
    pub fn open(&self, bound_to: &str, sealed: &Sealed) -> Result<Vec<u8>, SealError> {
        let Some((&FORM, rest)) = sealed.0.split_first() else {
            return Err(SealError::DoesNotOpen);
        };
        let Some((nonce, text)) = rest.split_first_chunk::<NONCE_LEN>() else {
            return Err(SealError::DoesNotOpen);
        };
        let mut text = text.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = self
            .0
            .open_in_place(nonce, Aad::from(bound_to.as_bytes()), &mut text)
            .map_err(|_| SealError::DoesNotOpen)?;
        Ok(plain.to_vec())
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(..)")
    }
}

// === impl Sealed ===

impl Sealed {
    /// The written form, in Base64.
    pub fn to_text(&self) -> String {
        BASE64.encode(&self.0)
    }

    /// Reads the written form; what is none becomes a text that does not open.
    pub fn from_text(text: &str) -> Self {
        Self(BASE64.decode(text).unwrap_or_default())
    }

    /// Whether nothing was sealed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

/// Random bytes of the operating system, for keys.
///
/// # Errors
///
/// [`SealError::NoRandomness`].
pub fn random_bytes<const N: usize>() -> Result<[u8; N], SealError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| SealError::NoRandomness)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_sealed_opens_at_its_place_alone(
            plain in prop::collection::vec(any::<u8>(), 0..80), place in "[a-z0-9:]{1,20}",
            flipped: prop::sample::Index,
        ) {
            let key = SealKey::new(&[7; KEY_LEN]);
            let sealed = key.seal(&place, &plain).unwrap();
            prop_assert_eq!(&Sealed::from_text(&sealed.to_text()), &sealed);
            prop_assert_eq!(key.open(&place, &sealed), Ok(plain.clone()));
            prop_assert_eq!(key.open(&format!("{place}x"), &sealed), Err(SealError::DoesNotOpen));
            let other = SealKey::new(&[8; KEY_LEN]);
            prop_assert_eq!(other.open(&place, &sealed), Err(SealError::DoesNotOpen));
            let mut changed = sealed.clone();
            let at = flipped.index(changed.0.len());
            changed.0[at] ^= 1;
            prop_assert_eq!(key.open(&place, &changed), Err(SealError::DoesNotOpen));
        }
    }

    #[test]
    fn nothing_shows_and_nothing_opens_nothing() {
        let key = SealKey::random().unwrap();
        let sealed = key.seal("place", b"hunter2").unwrap();
        assert_ne!(key.seal("place", b"hunter2").unwrap(), sealed, "each has a nonce of its own");
        assert_eq!(format!("{key:?} {sealed:?}"), "SealKey(..) Sealed(36 bytes)");
        assert_eq!(key.open("place", &Sealed::default()), Err(SealError::DoesNotOpen));
        assert_eq!(key.open("place", &Sealed::from_text("?")), Err(SealError::DoesNotOpen));
        assert!(Sealed::default().is_empty() && !sealed.is_empty());
    }
}
