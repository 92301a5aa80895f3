//! A server that plays a script, byte by byte, over plain TCP.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

/// What happens after a request has come in whole.
#[derive(Clone, Copy)]
pub(crate) enum Act {
    /// These bytes.
    Say(&'static str),
    /// The connection ends.
    Close,
    /// Nothing, for ever.
    Hang,
}

/// A running script; stops when dropped.
pub(crate) struct Script {
    pub(crate) base: String,
    requests: Arc<Mutex<Vec<(usize, String)>>>,
    task: AbortHandle,
}

impl Script {
    /// Plays one list of acts per connection; each request takes acts until one that says
    /// something whole or ends the matter.
    pub(crate) async fn start(connections: Vec<Vec<Vec<Act>>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            for (number, script) in connections.into_iter().enumerate() {
                let Ok((tcp, _)) = listener.accept().await else { return };
                tokio::spawn(play(tcp, number, script, Arc::clone(&seen)));
            }
            std::future::pending::<()>().await;
        })
        .abort_handle();
        Self { base, requests, task }
    }

    /// The requests' heads with the number of their connection.
    pub(crate) fn requests(&self) -> Vec<(usize, String)> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn play(
    mut tcp: TcpStream,
    number: usize,
    script: Vec<Vec<Act>>,
    seen: Arc<Mutex<Vec<(usize, String)>>>,
) {
    for acts in script {
        let Some(request) = request(&mut tcp).await else { return };
        seen.lock().unwrap().push((number, request));
        for act in acts {
            match act {
                Act::Say(text) => tcp.write_all(text.as_bytes()).await.unwrap(),
                Act::Close => return,
                Act::Hang => std::future::pending().await,
            }
        }
    }
}

/// A request's head and body, once it is there in whole.
async fn request(tcp: &mut TcpStream) -> Option<String> {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.to_lowercase().split_once("content-length: ").map_or(0, |(_, rest)| {
                    rest.split("\r\n").next().unwrap().trim().parse::<usize>().unwrap()
                });
            if body.len() >= length {
                return Some(text);
            }
        }
        let count = tcp.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
}

/// A TLS server that only shows its certificate.
pub(crate) struct TlsServer {
    pub(crate) address: std::net::SocketAddr,
    task: AbortHandle,
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) async fn tls_server() -> (TlsServer, stdx::tls::Fingerprint) {
    use rustls::pki_types::{PrivateKeyDer, pem::PemObject};

    let made = rcgen::generate_simple_self_signed(vec!["node.test".to_owned()]).unwrap();
    let der = made.cert.der().clone();
    let fingerprint = stdx::tls::Fingerprint::of(&der);
    let key = made.signing_key.serialize_pem();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(stdx::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![der], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            // Whether the client likes the certificate is its own affair.
            acceptor.accept(tcp).await.ok();
        }
    })
    .abort_handle();
    (TlsServer { address, task }, fingerprint)
}
