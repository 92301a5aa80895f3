//! Real peers, started by `cargo xtask services`: rsyslog, Postfix, Dovecot and ntfy speak to the inputs. Of Discord and
//! Gotify there are none to be had; servers that keep their documented limits stand for them.
//!
//! Each test prints what was sent and what came of it; `--nocapture` shows it.

mod chat;
mod dovecot;
mod ntfy;
mod postfix;
mod rsyslog;

use std::{fmt::Write as _, net::SocketAddr};

use event_core::Event;
use inputs::TlsPem;
use tokio::{
    io::copy_bidirectional,
    net::{TcpSocket, TcpStream},
    sync::watch,
};
use tokio_util::task::AbortOnDropHandle;

/// An authority of our own, as its certificate, and what it signed for `localhost`.
fn authority() -> (String, TlsPem) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "authority of these tests");
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = rcgen::Issuer::new(params, key);
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "localhost");
    let certificate = params.signed_by(&key, &issuer).unwrap().pem().into_bytes();
    (authority, TlsPem { certificate, key: key.serialize_pem().into() })
}

/// What an event is, in a line.
fn line(event: &Event) -> String {
    format!("{} {} {}", event.severity, event.kind, event.subject.label())
}

/// Shows what was sent and what came of it.
#[expect(clippy::print_stdout, reason = "it is for whoever runs the test")]
fn show(way: &str, rows: &[(String, String)]) {
    let mut text = format!("\n{way}: what was sent -> what came of it\n");
    for (sent, came) in rows {
        let sent: String = sent.chars().take(96).collect();
        writeln!(text, "  {sent}\n      -> {came}").unwrap();
    }
    println!("{text}");
}

/// A door before a server. Until it is opened for the first time, a connection is refused; when it is closed later,
/// whoever is inside is thrown out, and whoever comes too.
struct Door {
    address: SocketAddr,
    socket: Option<TcpSocket>,
    server: watch::Sender<Option<SocketAddr>>,
    task: Option<AbortOnDropHandle<()>>,
}

// === impl Door ===

impl Door {
    fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        Self { address, socket: Some(socket), server: watch::channel(None).0, task: None }
    }

    fn open(&mut self, server: SocketAddr) {
        self.server.send_replace(Some(server));
        if let Some(socket) = self.socket.take() {
            let listener = socket.listen(64).unwrap();
            let server = self.server.clone();
            self.task = Some(AbortOnDropHandle::new(tokio::spawn(async move {
                while let Ok((visitor, _)) = listener.accept().await {
                    tokio::spawn(visit(visitor, server.subscribe()));
                }
            })));
        }
    }

    fn close(&self) {
        self.server.send_replace(None);
    }
}

async fn visit(mut visitor: TcpStream, mut server: watch::Receiver<Option<SocketAddr>>) {
    let Some(address) = *server.borrow_and_update() else { return };
    let Ok(mut inside) = TcpStream::connect(address).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut visitor, &mut inside) => {}
        _ = server.wait_for(Option::is_none) => {}
    }
}
