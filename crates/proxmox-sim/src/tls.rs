//! Certificates: one authority per target, one certificate per node, replaceable while running.

use std::sync::{Arc, RwLock};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest, Sha256};

use crate::{clock, error::SimError};

/// The certificate authority of one target.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A node's certificate: what is shown in replies, and the key that TLS uses.
pub(crate) struct Issued {
    /// SHA-256 of the DER encoding, `AB:CD:…`.
    pub(crate) fingerprint: String,
    pub(crate) pem: String,
    key: Arc<CertifiedKey>,
}

/// Serves a node's current certificate, which a lever may replace.
#[derive(Debug)]
pub(crate) struct Slot(RwLock<Arc<CertifiedKey>>);

// === impl Authority ===

impl Authority {
    pub(crate) fn new(name: &str) -> Result<Self, SimError> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name = subject("Simulated Proxmox", &format!("{name} CA"));
        let key = KeyPair::generate().map_err(SimError::Certificate)?;
        let issuer = CertifiedIssuer::self_signed(params, key).map_err(SimError::Certificate)?;
        Ok(Self { issuer })
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub(crate) fn fingerprint(&self) -> String {
        fingerprint(self.issuer.der())
    }

    /// Issues a certificate for a node that is reached over loopback.
    pub(crate) fn issue(&self, node: &str, address: &str) -> Result<Issued, SimError> {
        let names = vec![
            "127.0.0.1".to_owned(),
            "::1".to_owned(),
            "localhost".to_owned(),
            address.to_owned(),
            node.to_owned(),
        ];
        let mut params = CertificateParams::new(names).map_err(SimError::Certificate)?;
        params.distinguished_name = subject("Simulated Proxmox", node);
        // Two years, as a real node's certificate has.
        let year = clock::utc(clock::now_ms() / 1000, "%Y").parse().unwrap_or(2030);
        params.not_before = date_time_ymd(year - 1, 1, 1);
        params.not_after = date_time_ymd(year + 1, 12, 31);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(SimError::Certificate)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(SimError::Certificate)?;
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signing =
            rustls::crypto::ring::sign::any_supported_type(&private).map_err(SimError::TlsKey)?;
        let der = certificate.der().clone();
        Ok(Issued {
            fingerprint: fingerprint(&der),
            pem: certificate.pem(),
            key: Arc::new(CertifiedKey::new(vec![der], signing)),
        })
    }
}

// === impl Slot ===

impl Slot {
    pub(crate) fn new(issued: &Issued) -> Arc<Self> {
        Arc::new(Self(RwLock::new(Arc::clone(&issued.key))))
    }

    pub(crate) fn replace(&self, issued: &Issued) {
        *self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner) =
            Arc::clone(&issued.key);
    }
}

impl ResolvesServerCert for Slot {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner)))
    }
}

/// The server side of TLS with the certificate in `slot`.
pub(crate) fn server_config(slot: Arc<Slot>) -> Result<Arc<rustls::ServerConfig>, SimError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(SimError::TlsKey)?
        .with_no_client_auth()
        .with_cert_resolver(slot);
    Ok(Arc::new(config))
}

fn subject(organization: &str, name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, organization);
    subject.push(DnType::CommonName, name);
    subject
}

fn fingerprint(der: &[u8]) -> String {
    let digest = Sha256::digest(der);
    let pairs: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}
