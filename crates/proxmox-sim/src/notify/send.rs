//! Sending: one request, ten seconds, no second try, and only to this machine.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::http::Fault;

/// How long the servers wait for a webhook.
const PATIENCE: Duration = Duration::from_secs(10);

/// A message on its way out.
#[derive(Debug)]
pub(crate) struct Post {
    /// The target's name.
    pub(super) target: String,
    pub(super) method: String,
    pub(super) url: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
    /// `http://host:port`
    pub(super) proxy: Option<String>,
    /// The authorities that are trusted, in PEM.
    pub(super) trusted: Vec<String>,
}

// === impl Post ===

impl Post {
    /// Sends it; a failure is told as the servers tell that a test failed.
    pub(crate) async fn send(self) -> Result<(), Fault> {
        let target = self.target.clone();
        let sent = match tokio::time::timeout(PATIENCE, self.deliver()).await {
            Ok(sent) => sent,
            Err(_) => Err("timed out".to_owned()),
        };
        sent.map_err(|why| {
            let text =
                format!("could not test target: could not notify via target `{target}`: {why}");
            Fault::new(500, text)
        })
    }

    async fn deliver(self) -> Result<(), String> {
        let url: Uri = self.url.parse().map_err(|error| format!("invalid url: {error}"))?;
        let is_tls = url.scheme_str() == Some("https");
        let proxy: Option<Uri> = match &self.proxy {
            // Through a proxy TLS takes a tunnel, which the simulator does not dig.
            Some(_) if is_tls => return Err("the proxy refuses to connect".to_owned()),
            Some(proxy) => Some(proxy.parse().map_err(|error| format!("bad proxy: {error}"))?),
            None => None,
        };
        let hop = proxy.as_ref().unwrap_or(&url);
        let stream = connect(hop).await?;
        if !is_tls {
            return self.ask(stream, &url, proxy.is_some()).await;
        }
        let name = url.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(name).map_err(|error| error.to_string())?;
        let connector = TlsConnector::from(Arc::new(self.tls()?));
        let stream = connector.connect(name, stream).await;
        let stream = stream.map_err(|error| format!("client error (Connect): {error}"))?;
        self.ask(stream, &url, false).await
    }

    fn tls(&self) -> Result<rustls::ClientConfig, String> {
        let mut roots = rustls::RootCertStore::empty();
        for pem in &self.trusted {
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let certificate = certificate.map_err(|error| error.to_string())?;
                roots.add(certificate).map_err(|error| error.to_string())?;
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        Ok(config.with_root_certificates(roots).with_no_client_auth())
    }

    async fn ask(
        self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        url: &Uri,
        is_proxied: bool,
    ) -> Result<(), String> {
        let said = |error: &dyn std::error::Error| error.to_string();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| said(&error))?;
        let driven = tokio::spawn(connection);
        let place = url.path_and_query().map_or("/", |it| it.as_str());
        // A proxy is told the whole address.
        let uri = if is_proxied { self.url.clone() } else { place.to_owned() };
        let mut request = Request::builder()
            .method(self.method.as_str())
            .uri(uri)
            .header(header::HOST, url.authority().map_or("", |it| it.as_str()))
            .header(header::USER_AGENT, "proxmox-sync-http-client/1.0.6");
        for (name, value) in &self.headers {
            let name: HeaderName = name.parse().map_err(|error| said(&error))?;
            let value: HeaderValue = value.parse().map_err(|error| said(&error))?;
            request = request.header(name, value);
        }
        let request =
            request.body(Full::new(Bytes::from(self.body))).map_err(|error| said(&error))?;
        let response = sender.send_request(request).await.map_err(|error| said(&error))?;
        let status = response.status();
        // What is answered is read, so that the other side sees a whole exchange.
        let _ = response.into_body().collect().await;
        driven.abort();
        if status.is_success() { Ok(()) } else { Err(format!("http request failed: {status}")) }
    }
}

/// A connection to a host of this machine.
async fn connect(hop: &Uri) -> Result<TcpStream, String> {
    let host = hop.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = hop.port_u16().unwrap_or(if hop.scheme_str() == Some("https") { 443 } else { 80 });
    let failed = |why: &dyn std::fmt::Display| format!("client error (Connect): {why}");
    let found = tokio::net::lookup_host((host, port)).await;
    let addresses: Vec<SocketAddr> = found.map_err(|error| failed(&error))?.collect();
    let here = addresses.into_iter().find(|address| address.ip().is_loopback());
    let here = here.ok_or_else(|| failed(&"No route to host (os error 113)"))?;
    TcpStream::connect(here).await.map_err(|error| failed(&error))
}
