//! The server's own certificate: read from two files, and read again when they change.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};

use crate::error::CertificateError;

/// A certificate chain and its key as files, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, followed by those that signed it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What looking at the files again came to.
#[derive(Debug)]
#[non_exhaustive]
pub enum Reload {
    /// They are as they were.
    Unchanged,
    /// There is a new certificate; connections from now on see it.
    Replaced,
    /// They changed into something that cannot be used; the old certificate stays.
    Kept(CertificateError),
}

/// The certificate in use.
#[derive(Debug)]
pub struct Certificate {
    files: TlsFiles,
    current: RwLock<Arc<CertifiedKey>>,
    seen: Mutex<Seen>,
}

/// What the files looked like when they were last read.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    stamps: [Option<(SystemTime, u64)>; 2],
    digest: [u8; 32],
}

// === impl Certificate ===

impl Certificate {
    /// Reads the two files.
    ///
    /// # Errors
    ///
    /// When they are not a certificate and the key that belongs to it.
    pub fn load(files: TlsFiles) -> Result<Arc<Self>, CertificateError> {
        let stamps = stamps(&files);
        let (current, digest) = read(&files)?;
        let seen = Mutex::new(Seen { stamps, digest });
        Ok(Arc::new(Self { files, current: RwLock::new(Arc::new(current)), seen }))
    }

    /// Looks whether the files have changed, and takes what they hold now if it can be used.
    ///
    /// The times and sizes are looked at first; only where those changed are the files read.
    pub fn reload(&self) -> Reload {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = stamps(&self.files);
        if stamps == seen.stamps {
            return Reload::Unchanged;
        }
        // Also after a failure: the same files would fail the same way, and be complained about each time.
        seen.stamps = stamps;
        match read(&self.files) {
            Ok((_, digest)) if digest == seen.digest => Reload::Unchanged,
            Ok((new, digest)) => {
                seen.digest = digest;
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
                Reload::Replaced
            }
            Err(error) => Reload::Kept(error),
        }
    }

    /// The server side of TLS 1.2 and 1.3 with this certificate, whatever it is at the time of a connection.
    pub(crate) fn server_config(self: &Arc<Self>) -> Arc<ServerConfig> {
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Self>::clone(self);
        let mut config = ServerConfig::builder_with_provider(stdx::tls::provider())
            .with_safe_default_protocol_versions()
            .expect("ring has suites for TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn read(files: &TlsFiles) -> Result<(CertifiedKey, [u8; 32]), CertificateError> {
    let certificate = bytes(&files.certificate)?;
    let key = bytes(&files.key)?;
    let mut digest = Sha256::new();
    digest.update(Sha256::digest(&certificate));
    digest.update(Sha256::digest(&key));
    let pem = |path: &Path| {
        let path = path.to_owned();
        move |source| CertificateError::Pem { path, source }
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&certificate)
        .collect::<Result<_, _>>()
        .map_err(pem(&files.certificate))?;
    if chain.is_empty() {
        return Err(CertificateError::Empty { path: files.certificate.clone() });
    }
    let private = PrivateKeyDer::from_pem_slice(&key).map_err(pem(&files.key))?;
    let pair = CertifiedKey::from_der(chain, private, &stdx::tls::provider());
    let pair = pair.map_err(|source| CertificateError::Pair {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        source,
    })?;
    Ok((pair, digest.finalize().into()))
}

fn bytes(path: &Path) -> Result<Vec<u8>, CertificateError> {
    fs::read(path).map_err(|source| CertificateError::Read { path: path.to_owned(), source })
}

/// When each file was written and how long it is; links are followed, as tools that renew certificates turn them.
fn stamps(files: &TlsFiles) -> [Option<(SystemTime, u64)>; 2] {
    [&files.certificate, &files.key].map(|path| {
        let entry = fs::metadata(path).ok()?;
        Some((entry.modified().ok()?, entry.len()))
    })
}
