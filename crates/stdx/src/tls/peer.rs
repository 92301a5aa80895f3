//! Looks at the certificate that a server shows, believed or not.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use rustls::pki_types::ServerName;
use tokio::{net::TcpStream, time};
use tokio_rustls::TlsConnector;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::{Fingerprint, TlsError, config_with, provider, verify};

/// A certificate that a server showed. It proved to hold the key, nothing more.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PresentedCertificate {
    /// The SHA-256 of the whole certificate.
    pub fingerprint: Fingerprint,
    /// Whom it names, as a distinguished name.
    pub subject: String,
    /// Who signed it, as a distinguished name.
    pub issuer: String,
    /// The DNS names and addresses that it is good for.
    pub names: Vec<String>,
    /// Since when it holds.
    pub not_before: Timestamp,
    /// Until when it holds.
    pub not_after: Timestamp,
    /// Whether it names itself as its signer.
    pub self_signed: bool,
}

/// Connects to `host:port`, lets the server show its certificate, and hangs up.
///
/// `host` is a name or an address, IPv6 without brackets.
pub async fn peer_certificate(
    host: &str,
    port: u16,
    timeout: Duration,
) -> Result<PresentedCertificate, TlsError> {
    let address =
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    time::timeout(timeout, look(host, port, &address))
        .await
        .unwrap_or_else(|_| Err(TlsError::Timeout { address: address.clone() }))
}

async fn look(host: &str, port: u16, address: &str) -> Result<PresentedCertificate, TlsError> {
    let name =
        ServerName::try_from(host.to_owned()).map_err(|_| TlsError::ServerName(host.to_owned()))?;
    let connect = |source| TlsError::Connect { address: address.to_owned(), source };
    let handshake = |source| TlsError::Handshake { address: address.to_owned(), source };
    let unreadable = || TlsError::Certificate { address: address.to_owned() };

    let verifier = verify::Verifier::anything(provider().signature_verification_algorithms);
    let connector = TlsConnector::from(Arc::new(config_with(verifier)));
    let tcp = TcpStream::connect((host, port)).await.map_err(connect)?;
    let tls = connector.connect(name, tcp).await.map_err(handshake)?;
    let shown = tls.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    read(shown.ok_or_else(unreadable)?).ok_or_else(unreadable)
}

fn read(der: &[u8]) -> Option<PresentedCertificate> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let time = |time: x509_parser::time::ASN1Time| Timestamp::from_second(time.timestamp()).ok();
    let names = match certificate.subject_alternative_name() {
        Ok(Some(extension)) => extension.value.general_names.iter().filter_map(name).collect(),
        _ => Vec::new(),
    };
    Some(PresentedCertificate {
        fingerprint: Fingerprint::of(der),
        subject: certificate.subject().to_string(),
        issuer: certificate.issuer().to_string(),
        names,
        not_before: time(certificate.validity().not_before)?,
        not_after: time(certificate.validity().not_after)?,
        self_signed: certificate.subject() == certificate.issuer(),
    })
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match *bytes {
            [a, b, c, d] => Some(std::net::Ipv4Addr::new(*a, *b, *c, *d).to_string()),
            bytes => {
                <[u8; 16]>::try_from(bytes).ok().map(|b| std::net::Ipv6Addr::from(b).to_string())
            }
        },
        _ => None,
    }
}
