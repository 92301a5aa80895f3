//! The server's side of TLS, for listeners that are no HTTP servers.

use std::{fmt, io, sync::Arc};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::{TlsError, provider};

/// A TLS connection of a server.
pub type ServerStream = tokio_rustls::server::TlsStream<TcpStream>;

/// Agrees on TLS with whoever connects, with one certificate; TLS 1.2 and 1.3.
#[derive(Clone)]
pub struct Acceptor(TlsAcceptor);

// === impl Acceptor ===

impl Acceptor {
    /// With a certificate chain and its key, both in PEM.
    ///
    /// # Errors
    ///
    /// When the texts are not a certificate and the key that belongs to it.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate)
            .collect::<Result<_, _>>()
            .map_err(TlsError::ServerPem)?;
        if chain.is_empty() {
            return Err(TlsError::ServerEmpty);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(TlsError::ServerPem)?;
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("ring has suites for TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| TlsError::ServerPair(error.into()))?;
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// Agrees with a peer that has connected.
    ///
    /// # Errors
    ///
    /// When it does not speak TLS, does not believe the certificate, or hangs up.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<ServerStream> {
        self.0.accept(stream).await
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Acceptor")
    }
}
