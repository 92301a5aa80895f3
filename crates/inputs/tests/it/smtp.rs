//! The SMTP listener, spoken to as nodes do.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use event_core::{Event, EventSource as _, Ruling, RunContext, Signal};
use futures::{StreamExt as _, stream::BoxStream};
use inputs::{
    Echo, Identity, TlsPem,
    email::smtp::{Config, Listen, Peer, Smtp, User},
};
use stdx::{
    SystemClock,
    tls::{TlsOptions, TlsPolicy},
};
use testkit::contract::source::{Reporter, Told, source};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufStream},
    net::TcpStream,
    sync::watch,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::contract::first;

const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn identity(cluster: &str) -> Identity {
    Identity { cluster: cluster.parse().ok(), ..Identity::default() }
}

/// The machine itself is a node.
pub(crate) fn config(listen: &str) -> Config {
    let mut config = Config::new(vec![listen.parse::<Listen>().unwrap()]);
    let addresses = vec!["127.0.0.1".parse().unwrap()];
    config.peers.insert("home".to_owned(), Peer { addresses, identity: identity("home") });
    config
}

/// A client that says what it is told to.
pub(crate) struct Client<S: AsyncRead + AsyncWrite>(BufStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    fn new(stream: S) -> Self {
        Self(BufStream::new(stream))
    }

    /// The whole next answer; empty if the server hung up.
    async fn heard(&mut self) -> String {
        let mut answer = String::new();
        loop {
            let mut line = String::new();
            let reading = timeout(PATIENCE, self.0.read_line(&mut line));
            if reading.await.expect("an answer in time").unwrap_or(0) == 0 {
                return answer;
            }
            answer.push_str(&line);
            if line.as_bytes().get(3) != Some(&b'-') {
                return answer;
            }
        }
    }

    async fn say(&mut self, line: &str) -> String {
        self.0.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
        self.0.flush().await.unwrap();
        self.heard().await
    }

    /// Sends a mail, and gives the last answer.
    pub(crate) async fn send(&mut self, to: &str, text: &str) -> String {
        for line in ["MAIL FROM:<root@alder.lan>", &format!("RCPT TO:<{to}>")] {
            let answer = self.say(line).await;
            assert!(answer.starts_with("250 "), "{answer}");
        }
        assert!(self.say("DATA").await.starts_with("354 "));
        self.say(&format!("{text}\r\n.")).await
    }
}

pub(crate) async fn connect(to: SocketAddr) -> Client<TcpStream> {
    let mut client = Client::new(TcpStream::connect(to).await.unwrap());
    assert!(client.heard().await.starts_with("220 "));
    assert!(client.say("EHLO alder.lan").await.contains("SIZE"));
    client
}

fn mail(subject: &str) -> String {
    format!(
        "From: Proxmox VE <root@alder.lan>\r\nTo: ops@example.lan\r\nSubject: {subject}\r\n\
         Date: Sun, 22 Nov 2026 18:07:44 +0000\r\n\r\nwords"
    )
}

struct Sender(watch::Receiver<Vec<SocketAddr>>);

#[async_trait]
impl Reporter for Sender {
    async fn report(&self, text: &str) -> Told {
        let mut client = connect(first(&mut self.0.clone()).await).await;
        let answer = client.send("ops@example.lan", &mail(text)).await;
        client.say("QUIT").await;
        if answer.starts_with("250 ") { Told::Kept } else { Told::Refused }
    }

    fn is_answered(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn the_contract_for_mail() {
    let input = Smtp::try_new("mail".parse().unwrap(), config("smtp://127.0.0.1:0")).unwrap();
    let addresses = input.addresses();
    source(Arc::new(input), Arc::new(Sender(addresses))).await;
}

type Stream = BoxStream<'static, Result<Signal, event_core::SourceError>>;

/// Starts an input, keeps what it tells, and gives that and where it listens.
async fn start(config: Config) -> (Smtp, SocketAddr, tokio::sync::mpsc::Receiver<Event>) {
    let input = Smtp::try_new("mail".parse().unwrap(), config).unwrap();
    let cx = RunContext::new(CancellationToken::new(), SystemClock::shared());
    let mut stream: Stream = input.run(cx, None);
    let (sender, receiver) = tokio::sync::mpsc::channel(64);
    tokio::spawn(async move {
        while let Some(Ok(signal)) = stream.next().await {
            if let Signal::Changed { event, ack, .. } = signal {
                ack.resolve(Ruling::Committed);
                if sender.send(event).await.is_err() {
                    return;
                }
            }
        }
    });
    let to = first(&mut input.addresses()).await;
    (input, to, receiver)
}

#[tokio::test]
async fn a_backup_mail_is_recognized_and_sent_again_has_the_same_key() {
    let (_input, to, mut events) = start(config("smtp://127.0.0.1:0")).await;
    let mut client = connect(to).await;
    let text = mail("vzdump backup status (alder.lan): backup failed: no space left")
        .replace("words", "words\r\n..\r\n.dot at the start");
    // A client doubles a dot at the start of a line.
    let sent = text.replace("\r\n.", "\r\n..");
    for _ in 0..2 {
        assert!(client.send("ops@example.lan", &sent).await.starts_with("250 "));
    }
    let (one, two) = (events.recv().await.unwrap(), events.recv().await.unwrap());
    assert_eq!((one.kind.as_str(), one.subject.label().as_str()), ("backup.failed", "home/alder"));
    assert_eq!(one.source_key, two.source_key);
    assert_eq!(one.raw.unwrap().text, format!("{text}\r\n"));
}

#[tokio::test]
async fn strangers_may_not_send_and_nobody_may_send_too_much() {
    let mut strange = config("smtp://127.0.0.1:0");
    strange.peers.get_mut("home").unwrap().addresses = vec!["10.0.0.1".parse().unwrap()];
    let (_input, to, _events) = start(strange).await;
    let mut client = connect(to).await;
    assert!(client.say("MAIL FROM:<root@alder.lan>").await.starts_with("550 "));

    let mut small = config("smtp://127.0.0.1:0");
    small.max_bytes = 64 * 1024;
    let (_input, to, mut events) = start(small).await;
    let mut client = connect(to).await;
    assert!(client.say("MAIL FROM:<root@alder.lan> SIZE=70000").await.starts_with("552 "));
    let long = format!("{}\r\n{}", mail("long"), "x".repeat(70_000));
    assert!(client.send("ops@example.lan", &long).await.starts_with("552 "));
    assert!(client.send("ops@example.lan", &mail("short")).await.starts_with("250 "));
    assert_eq!(events.recv().await.unwrap().title, "short", "nothing of the long one is told");
}

#[tokio::test]
async fn what_our_outputs_sent_is_taken_and_dropped() {
    let mut config = config("smtp://127.0.0.1:0");
    let echo = Echo::new(Arc::new(|mark: &str| mark == "message-id:ours@mcp.lan"));
    config.echo = echo.clone();
    let (_input, to, mut events) = start(config).await;
    let mut client = connect(to).await;
    let marked = format!("X-Proxmox-Mcp: main\r\n{}", mail("marked"));
    let known = format!("Message-ID: <ours@mcp.lan>\r\n{}", mail("known"));
    for text in [marked, known, mail("somebody's")] {
        assert!(client.send("ops@example.lan", &text).await.starts_with("250 "));
    }
    assert_eq!(events.recv().await.unwrap().title, "somebody's");
    assert_eq!(echo.dropped(), 2);
}

fn certificate() -> (TlsPem, TlsOptions) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = certificate.self_signed(&key).unwrap().pem().into_bytes();
    let options = TlsOptions {
        policy: TlsPolicy::CaPem(certificate.clone()),
        server_name: Some("localhost".to_owned()),
    };
    (TlsPem { certificate, key: key.serialize_pem().into() }, options)
}

#[tokio::test]
async fn a_login_within_tls_says_whose_mail_it_is() {
    let (pem, options) = certificate();
    for listen in ["smtp://127.0.0.1:0", "smtps://127.0.0.1:0"] {
        let mut config = config(listen);
        config.peers.clear();
        config.tls = Some(pem.clone());
        let user = User { password: "kestrel-91".into(), identity: identity("edge") };
        config.users.insert("edge".to_owned(), user);
        config.recipients.insert("lab@mcp.lan".to_owned(), identity("lab"));
        let (_input, to, mut events) = start(config).await;
        let stream = if listen.starts_with("smtps") {
            stdx::tls::connect("127.0.0.1", to.port(), &options, PATIENCE).await.unwrap()
        } else {
            let mut client = connect(to).await;
            assert!(client.say("MAIL FROM:<root@alder.lan>").await.starts_with("530 "));
            assert!(client.say("STARTTLS").await.starts_with("220 "));
            let tcp = client.0.into_inner();
            stdx::tls::begin(tcp, "127.0.0.1", to.port(), &options, PATIENCE).await.unwrap()
        };
        let mut client = Client::new(stream);
        if listen.starts_with("smtps") {
            assert!(client.heard().await.starts_with("220 "));
        }
        assert!(client.say("EHLO alder.lan").await.contains("AUTH PLAIN LOGIN"));
        assert!(client.say("AUTH PLAIN AGVkZ2UAd3Jvbmc=").await.starts_with("535 "));
        // edge, kestrel-91
        assert!(client.say("AUTH PLAIN AGVkZ2UAa2VzdHJlbC05MQ==").await.starts_with("235 "));
        assert!(client.send("ops@example.lan", &mail("of the login")).await.starts_with("250 "));
        assert!(client.send("Lab@mcp.lan", &mail("of the address")).await.starts_with("250 "));
        let clusters: Vec<String> = [events.recv().await.unwrap(), events.recv().await.unwrap()]
            .iter()
            .map(|event| event.subject.cluster.as_ref().unwrap().to_string())
            .collect();
        assert_eq!(clusters, ["edge", "lab"]);
    }
}

#[tokio::test]
async fn what_stands_in_the_clear_behind_starttls_is_not_heard() {
    let (pem, options) = certificate();
    let mut config = config("smtp://127.0.0.1:0");
    config.tls = Some(pem);
    let (_input, to, _events) = start(config).await;
    let mut client = connect(to).await;
    // Somebody on the way adds a command to the one that begins TLS.
    client.0.write_all(b"STARTTLS\r\nMAIL FROM:<evil@x.lan>\r\n").await.unwrap();
    client.0.flush().await.unwrap();
    assert!(client.heard().await.starts_with("220 "));
    let tcp = client.0.into_inner();
    let stream = stdx::tls::begin(tcp, "127.0.0.1", to.port(), &options, PATIENCE).await.unwrap();
    let mut client = Client::new(stream);
    let answer = client.say("EHLO alder.lan").await;
    assert!(answer.starts_with("250-"), "the first answer within TLS is to EHLO: {answer}");
    assert!(client.say("RCPT TO:<ops@example.lan>").await.starts_with("503 "), "there is no mail");
}
