//! A certificate of our own, for what listens.

use secrecy::{ExposeSecret as _, SecretString};
use stdx::tls::{Acceptor, TlsError};

/// A certificate chain and its key, in PEM.
#[derive(Clone, Debug)]
pub struct TlsPem {
    /// The certificate, followed by those that signed it.
    pub certificate: Vec<u8>,
    /// Its key.
    pub key: SecretString,
}

// === impl TlsPem ===

impl TlsPem {
    pub(crate) fn acceptor(&self) -> Result<Acceptor, TlsError> {
        Acceptor::from_pem(&self.certificate, self.key.expose_secret().as_bytes())
    }
}
