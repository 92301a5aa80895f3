//! `[http]`: the listener of `serve --http`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use url::Url;

use crate::error::Complaint;
use crate::layers::Merged;
use crate::load::Loader;

/// `[http]`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpSettings {
    /// The address and port to listen on.
    pub listen: SocketAddr,
    /// A socket to listen on besides; it need not exist yet.
    pub unix_socket: Option<PathBuf>,
    /// The names and addresses that a `Host` header may have, besides those of loopback.
    pub allowed_hosts: Vec<String>,
    /// What an `Origin` header may say.
    pub allowed_origins: Vec<String>,
    /// What to serve HTTPS with; `None` for HTTP.
    pub tls: Option<TlsFiles>,
    /// The largest request body, in bytes.
    pub max_body_bytes: usize,
    /// The requests of one principal per minute; `None` without a limit.
    pub rate_per_minute: Option<u32>,
    /// How long an idle session is kept.
    pub session_idle: Duration,
    /// The sessions of one principal.
    pub sessions_per_principal: usize,
    /// Whether clients of the older revisions get sessions.
    pub legacy_sessions: bool,
    /// Whether `/metrics` is answered without a credential.
    pub metrics_public: bool,
}

/// The files of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsFiles {
    /// The certificate with its chain, in PEM.
    pub cert: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

/// `[http]` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHttp {
    listen: String,
    unix_socket: Option<PathBuf>,
    allowed_hosts: Vec<String>,
    allowed_origins: Vec<String>,
    tls_cert_file: Option<PathBuf>,
    tls_key_file: Option<PathBuf>,
    max_body_bytes: usize,
    rate_per_minute: u32,
    session_idle_secs: u64,
    sessions_per_principal: usize,
    legacy_sessions: bool,
    metrics_public: bool,
}

// === impl Loader ===

impl Loader<'_> {
    /// `[http]`, or `None` after an error that says why not.
    pub(crate) fn http(&mut self, merged: &Merged) -> Option<HttpSettings> {
        let raw: RawHttp = self.extract(merged, &["http"])?;
        let mut complaints = Vec::new();
        let listen =
            raw.listen.parse().map_err(|_| complaints.push(("listen", wrong_address(&raw.listen))));
        complaints.extend(
            raw.allowed_hosts.iter().filter_map(|host| Some(("allowed_hosts", wrong_host(host)?))),
        );
        complaints.extend(
            raw.allowed_origins
                .iter()
                .filter_map(|origin| Some(("allowed_origins", wrong_origin(origin)?))),
        );
        let tls = match (raw.tls_cert_file, raw.tls_key_file) {
            (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
            (None, None) => None,
            (Some(_), None) => {
                let complaint = Complaint::new("is set without tls_key_file", "HTTPS takes both");
                complaints.push(("tls_cert_file", complaint));
                None
            }
            (None, Some(_)) => {
                let complaint = Complaint::new("is set without tls_cert_file", "HTTPS takes both");
                complaints.push(("tls_key_file", complaint));
                None
            }
        };
        let is_wrong = !complaints.is_empty();
        for (key, complaint) in complaints {
            let path = ["http".to_owned(), key.to_owned()];
            self.findings.error(&merged.origin(&path), format!("http.{key}"), complaint);
        }
        if is_wrong {
            return None;
        }
        Some(HttpSettings {
            listen: listen.ok()?,
            unix_socket: raw.unix_socket,
            allowed_hosts: raw.allowed_hosts,
            allowed_origins: raw.allowed_origins,
            tls,
            max_body_bytes: raw.max_body_bytes,
            rate_per_minute: (raw.rate_per_minute > 0).then_some(raw.rate_per_minute),
            session_idle: Duration::from_secs(raw.session_idle_secs),
            sessions_per_principal: raw.sessions_per_principal,
            legacy_sessions: raw.legacy_sessions,
            metrics_public: raw.metrics_public,
        })
    }
}

fn wrong_address(given: &str) -> Complaint {
    let given: String = given.chars().take(60).collect();
    let hint =
        "it takes an address with its port, for example 127.0.0.1:8808, 0.0.0.0:8808 or [::]:8808";
    Complaint::new(format!("is {given:?}"), hint)
}

/// What is wrong with a name for the `Host` header: a name or an address, with or without a port.
fn wrong_host(host: &str) -> Option<Complaint> {
    let is_host = Url::parse(&format!("http://{host}/")).is_ok_and(|url| {
        url.path() == "/" && url.username().is_empty() && url.password().is_none() && url.has_host()
    });
    let is_plain = !host.contains(['/', '?', '#', '@', '*', ' ']);
    if is_host && is_plain {
        return None;
    }
    let hint = "name each host, without scheme and path, for example mcp.example.lan or mcp.example.lan:8808";
    Some(Complaint::new(format!("lists {:?}", host.chars().take(60).collect::<String>()), hint))
}

/// What is wrong with an origin: scheme, host and port and nothing behind them.
fn wrong_origin(origin: &str) -> Option<Complaint> {
    let is_origin = Url::parse(origin).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.origin().ascii_serialization() == origin.to_ascii_lowercase()
    });
    if is_origin {
        return None;
    }
    let hint = "an origin is scheme, host and, where it is not the usual one, port: https://app.example.lan";
    Some(Complaint::new(format!("lists {:?}", origin.chars().take(60).collect::<String>()), hint))
}
