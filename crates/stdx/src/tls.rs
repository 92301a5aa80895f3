//! TLS through rustls with ring: how a server proves itself, and what it showed when it could not.
//!
//! TLS 1.2 and 1.3 only. Whatever the policy, the handshake's signatures are checked, so the server
//! always proves that it holds the key of the certificate that it shows; a policy only decides
//! which certificates are believed.

mod accept;
mod fingerprint;
mod peer;
mod verify;

use std::sync::{Arc, LazyLock, OnceLock};

use rustls::{
    ClientConfig, RootCertStore,
    client::WebPkiServerVerifier,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

pub use accept::{Acceptor, ServerStream};
pub use fingerprint::{Fingerprint, InvalidFingerprint};
pub use peer::{PresentedCertificate, TlsStream, begin, connect, peer_certificate};
pub use verify::{CertificateRejected, rejection, seen_fingerprint};

/// How a server proves itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// Which certificates are believed.
    pub policy: TlsPolicy,
    /// The name that must stand in the certificate, where the address is not in it. Only for
    /// policies that look at names.
    pub server_name: Option<String>,
}

/// Which certificates are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsPolicy {
    /// Those that the system's roots signed.
    #[default]
    System,
    /// Those that a certificate of these PEM texts signed, and no others.
    CaPem(Vec<u8>),
    /// Exactly these, whoever signed them, whatever names and dates they carry. More than one, so
    /// that the next certificate can be known before it is put in place.
    Pins(Vec<Fingerprint>),
    /// Any.
    Insecure,
}

/// TLS settings that cannot be used, or a handshake that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The system has no root certificates, or none that can be read.
    #[error("find root certificates on this system{}", .0.as_ref().map(|e| format!(" ({e})")).unwrap_or_default())]
    NoSystemRoots(Option<String>),
    /// The CA file's text is not PEM.
    #[error("read the CA certificates as PEM")]
    CaPem(#[source] rustls::pki_types::pem::Error),
    /// The CA file holds no certificate.
    #[error("find a certificate in the CA file")]
    CaEmpty,
    /// A certificate of the CA file cannot be used as a root.
    #[error("use the CA certificate")]
    CaUnusable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A server's certificate or key is not PEM.
    #[error("read the server's certificate and key as PEM")]
    ServerPem(#[source] rustls::pki_types::pem::Error),
    /// A server's certificate file holds none.
    #[error("find a certificate in the server's certificate file")]
    ServerEmpty,
    /// A server's certificate and key do not belong together, or cannot be used.
    #[error("use the server's certificate with its key")]
    ServerPair(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The policy is to pin, but there is no fingerprint.
    #[error("pin a certificate without any fingerprint")]
    NoPins,
    /// The server name is neither a DNS name nor an address.
    #[error("use {0:?} as a server name")]
    ServerName(String),
    /// No connection came about.
    #[error("connect to {address}")]
    Connect {
        /// Host and port.
        address: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// It took too long.
    #[error("connect to {address} in time")]
    Timeout {
        /// Host and port.
        address: String,
    },
    /// The other side does not speak TLS, or not one that we do.
    #[error("agree on TLS with {address}")]
    Handshake {
        /// Host and port.
        address: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The certificate that was shown cannot be read.
    #[error("read the certificate of {address}")]
    Certificate {
        /// Host and port.
        address: String,
    },
}

/// The one provider of cryptography. Never installed as the process's default: what needs one gets
/// this one handed.
static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));

/// The provider of cryptography, for servers that tests and listeners make.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::clone(&PROVIDER)
}

/// A client's TLS configuration. No file is read but the system's roots, and those only for
/// [`TlsPolicy::System`].
pub fn client_config(options: &TlsOptions) -> Result<Arc<ClientConfig>, TlsError> {
    let expected_name = match &options.server_name {
        Some(name) => Some(server_name(name)?),
        None => None,
    };
    let algorithms = PROVIDER.signature_verification_algorithms;
    let verifier = match &options.policy {
        TlsPolicy::System => verify::Verifier::roots(webpki(system_roots()?)?, expected_name),
        TlsPolicy::CaPem(pem) => verify::Verifier::roots(webpki(pem_roots(pem)?)?, expected_name),
        TlsPolicy::Pins(pins) if pins.is_empty() => return Err(TlsError::NoPins),
        TlsPolicy::Pins(pins) => verify::Verifier::pins(pins.clone(), algorithms),
        TlsPolicy::Insecure => verify::Verifier::anything(algorithms),
    };
    Ok(Arc::new(config_with(verifier)))
}

fn config_with(verifier: verify::Verifier) -> ClientConfig {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring has suites for TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth()
}

fn server_name(name: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(name.to_owned()).map_err(|_| TlsError::ServerName(name.to_owned()))
}

fn webpki(roots: Arc<RootCertStore>) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    WebPkiServerVerifier::builder_with_provider(roots, provider())
        .build()
        .map_err(|error| TlsError::CaUnusable(error.into()))
}

/// The system's roots, read once: there are about a hundred and fifty of them.
fn system_roots() -> Result<Arc<RootCertStore>, TlsError> {
    static READ: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(roots) = READ.get() {
        return Ok(Arc::clone(roots));
    }
    let loaded = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(loaded.certs);
    if roots.is_empty() {
        return Err(TlsError::NoSystemRoots(loaded.errors.first().map(ToString::to_string)));
    }
    Ok(Arc::clone(READ.get_or_init(|| Arc::new(roots))))
}

fn pem_roots(pem: &[u8]) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(TlsError::CaPem)?;
        roots.add(certificate).map_err(|error| TlsError::CaUnusable(error.into()))?;
    }
    if roots.is_empty() { Err(TlsError::CaEmpty) } else { Ok(Arc::new(roots)) }
}
