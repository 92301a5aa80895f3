//! Looks at the certificate that a server shows, believed or not.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use rustls::ClientConfig;
use socket2::{SockRef, TcpKeepalive};
use tokio::{net::TcpStream, time};
use tokio_rustls::TlsConnector;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::{
    Fingerprint, TlsError, TlsOptions, client_config, config_with, provider, server_name, verify,
};

/// How long a connection is silent before its peer is asked whether it lives, and how often it is asked then.
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_mins(1)).with_interval(Duration::from_secs(15));

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

/// A TLS connection of a client.
pub type TlsStream = tokio_rustls::client::TlsStream<TcpStream>;

/// Connects to `host:port` over TLS, for protocols that are not HTTP requests.
///
/// `host` is a name or an address, IPv6 without brackets.
pub async fn connect(
    host: &str,
    port: u16,
    options: &TlsOptions,
    timeout: Duration,
) -> Result<TlsStream, TlsError> {
    open(host, port, client_config(options)?, timeout).await
}

/// Begins TLS on a connection that is there, for protocols that agree on it in the clear (STARTTLS).
///
/// `host` is the name or address by which the server has to prove itself, IPv6 without brackets.
pub async fn begin(
    tcp: TcpStream,
    host: &str,
    port: u16,
    options: &TlsOptions,
    timeout: Duration,
) -> Result<TlsStream, TlsError> {
    let (config, name) = (client_config(options)?, server_name(host)?);
    let agreeing = TlsConnector::from(config).connect(name, tcp);
    match time::timeout(timeout, agreeing).await {
        Ok(agreed) => {
            agreed.map_err(|source| TlsError::Handshake { address: address(host, port), source })
        }
        Err(_) => Err(TlsError::Timeout { address: address(host, port) }),
    }
}

/// Connects to `host:port`, lets the server show its certificate, and hangs up.
///
/// `host` is a name or an address, IPv6 without brackets.
pub async fn peer_certificate(
    host: &str,
    port: u16,
    timeout: Duration,
) -> Result<PresentedCertificate, TlsError> {
    let verifier = verify::Verifier::anything(provider().signature_verification_algorithms);
    let tls = open(host, port, Arc::new(config_with(verifier)), timeout).await?;
    let shown = tls.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let read = shown.and_then(|certificate| read(certificate));
    read.ok_or_else(|| TlsError::Certificate { address: address(host, port) })
}

async fn open(
    host: &str,
    port: u16,
    config: Arc<ClientConfig>,
    timeout: Duration,
) -> Result<TlsStream, TlsError> {
    let name = server_name(host)?;
    let opening = async {
        let tcp = TcpStream::connect((host, port))
            .await
            .map_err(|source| TlsError::Connect { address: address(host, port), source })?;
        // Worth less than a connection: a console is only slower without.
        tcp.set_nodelay(true).ok();
        // A console may be silent for weeks: only so is it known that its server went without a word.
        SockRef::from(&tcp).set_tcp_keepalive(&KEEPALIVE).ok();
        TlsConnector::from(config)
            .connect(name, tcp)
            .await
            .map_err(|source| TlsError::Handshake { address: address(host, port), source })
    };
    time::timeout(timeout, opening)
        .await
        .unwrap_or_else(|_| Err(TlsError::Timeout { address: address(host, port) }))
}

fn address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
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
