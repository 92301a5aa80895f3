//! The outputs that have nothing but lines, against receivers on loopback.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use event_core::EventSink as _;
use outputs::{
    stdout::{Config as StdoutConfig, Format, Stdout},
    syslog::{Config, Syslog, Target},
};
use stdx::tls::{Acceptor, Fingerprint, TlsOptions, TlsPolicy};
use testkit::{
    Progress,
    contract::sink::{Mood, Service, Traits, sink},
    wait_for,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    net::{TcpListener, UdpSocket},
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    fake::kit,
    messages::{all, delivery, failure, golden},
};

/// What receivers have, as one text for each delivery.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<(Vec<String>, usize)>>);

/// What a test says to a receiver, to learn how far it has read.
const WORD: &str = "read so far?";

impl Kept {
    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().0.clone()
    }

    fn words(&self) -> usize {
        self.0.lock().unwrap().1
    }

    /// A line of a delivery; parts of one are put together again.
    fn keep(&self, line: &str) {
        if line == WORD {
            self.0.lock().unwrap().1 += 1;
            return;
        }
        let (head, text) = line.split_once(" severity=").unwrap();
        let (_, text) = text.split_once(' ').unwrap();
        assert!(head.contains("instance=home incident="), "{head}");
        let kept = &mut self.0.lock().unwrap().0;
        let part = text.strip_prefix("part=").and_then(|text| text.split_once(' '));
        match part {
            Some((number, text)) if !number.starts_with("1/") => {
                let last = kept.last_mut().unwrap();
                last.push_str(text);
                last.push(' ');
            }
            Some((_, text)) => kept.push(format!("{text} ")),
            None => kept.push(format!("{text} ")),
        }
    }
}

/// A receiver of syslog.
struct Receiver {
    target: String,
    kept: Kept,
    tls: TlsOptions,
    _task: AbortOnDropHandle<()>,
}

impl Receiver {
    async fn udp() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let target = format!("udp://{}", socket.local_addr().unwrap());
        let kept = Kept::default();
        let keeping = kept.clone();
        let task = tokio::spawn(async move {
            let mut buffer = vec![0; 65_536];
            while let Ok(length) = socket.recv(&mut buffer).await {
                assert!(length <= 2048, "a datagram of {length} bytes");
                keeping.keep(std::str::from_utf8(&buffer[..length]).unwrap());
            }
        });
        let task = AbortOnDropHandle::new(task);
        Self { target, kept, tls: TlsOptions::default(), _task: task }
    }

    async fn stream(acceptor: Option<(Acceptor, Fingerprint)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let kept = Kept::default();
        let keeping = kept.clone();
        let mut tls = TlsOptions::default();
        let scheme = if acceptor.is_some() { "tls" } else { "tcp" };
        if let Some((_, fingerprint)) = &acceptor {
            tls.policy = TlsPolicy::Pins(vec![*fingerprint]);
        }
        let task = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let lines = match &acceptor {
                    None => counted(tcp).await,
                    Some((acceptor, _)) => match acceptor.accept(tcp).await {
                        Ok(stream) => counted(stream).await,
                        Err(_) => continue,
                    },
                };
                for line in lines {
                    keeping.keep(&line);
                }
            }
        });
        let target = format!("{scheme}://{address}");
        Self { target, kept, tls, _task: AbortOnDropHandle::new(task) }
    }

    fn output(&self) -> Syslog {
        let mut config = Config::new(self.target.parse().unwrap(), "mcp1", 4711);
        config.tls = self.tls.clone();
        Syslog::try_new("ops".parse().unwrap(), config, &kit()).unwrap()
    }
}

/// Lines behind their lengths, until the sender hangs up.
async fn counted(mut stream: impl AsyncRead + Unpin) -> Vec<String> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let mut rest = std::str::from_utf8(&bytes).unwrap();
    let mut lines = Vec::new();
    while let Some((length, after)) = rest.split_once(' ') {
        let (line, after) = after.split_at(length.parse().unwrap());
        assert!(line.len() <= 8192, "{}", line.len());
        lines.push(line.to_owned());
        rest = after;
    }
    assert_eq!(rest, "");
    lines
}

#[async_trait]
impl Service for Receiver {
    async fn set_mood(&self, _mood: Mood) {}

    /// Over UDP, sends a word of its own and waits for it: what was sent before has been read by then.
    async fn shown(&self) -> Vec<String> {
        if let Some(address) = self.target.strip_prefix("udp://") {
            let words = self.kept.words();
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            socket.send_to(WORD.as_bytes(), address).await.unwrap();
            let reading = async {
                while self.kept.words() == words {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            };
            let read = tokio::time::timeout(Duration::from_mins(1), reading).await;
            read.expect("the receiver reads");
        }
        self.kept.lines()
    }

    fn traits(&self) -> Traits {
        Traits::default()
    }
}

fn acceptor() -> (Acceptor, Fingerprint) {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let acceptor =
        Acceptor::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap();
    (acceptor, Fingerprint::of(certificate.der()))
}

#[tokio::test]
async fn syslog_keeps_the_contract() {
    for receiver in [
        Receiver::udp().await,
        Receiver::stream(None).await,
        Receiver::stream(Some(acceptor())).await,
    ] {
        sink(&receiver.output(), &receiver).await;
    }
}

#[tokio::test]
async fn a_receiver_that_is_not_there_is_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target::Tcp(listener.local_addr().unwrap().to_string());
    drop(listener);
    let config = Config::new(target, "mcp1", 1);
    let output = Syslog::try_new("ops".parse().unwrap(), config, &kit()).unwrap();
    let error = output.deliver(&delivery(failure())).await.unwrap_err();
    assert_eq!((error.retry(), error.may_be_sent()), (event_core::Retry::Backoff, false));
    assert!(output.check().await.is_err());
    for wrong in
        ["", "udp://x", "udp://:5", "tcp://x:0", "ftp://x:1", "tls://fe80::1:5", "udp://a b:1"]
    {
        assert!(wrong.parse::<Target>().is_err(), "{wrong}");
    }
    for good in ["udp://log:514", "tcp://[::1]:601", "tls://[fe80::1]:6514"] {
        assert_eq!(good.parse::<Target>().unwrap().to_string(), good);
    }
}

/// What is written to the end of a pipe.
struct Pipe(Kept);

#[async_trait]
impl Service for Pipe {
    async fn set_mood(&self, _mood: Mood) {}

    async fn shown(&self) -> Vec<String> {
        self.0.lines()
    }

    fn traits(&self) -> Traits {
        Traits::default()
    }
}

/// Keeps what is written to it.
struct Writer(Kept, Vec<u8>);

impl tokio::io::AsyncWrite for Writer {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        self.1.extend_from_slice(bytes);
        while let Some(end) = self.1.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.1.drain(..=end).collect();
            self.0.keep(std::str::from_utf8(&line).unwrap().trim_end());
        }
        std::task::Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn stdout_keeps_the_contract() {
    let kept = Kept::default();
    let writer = Writer(kept.clone(), Vec::new());
    let output =
        Stdout::try_new("out".parse().unwrap(), StdoutConfig::default(), &kit(), writer).unwrap();
    sink(&output, &Pipe(kept)).await;
}

#[tokio::test]
async fn a_reader_that_is_gone_is_an_error() {
    let (writer, reader) = tokio::io::duplex(64);
    drop(reader);
    let output =
        Stdout::try_new("out".parse().unwrap(), StdoutConfig::default(), &kit(), writer).unwrap();
    let error = output.deliver(&delivery(failure())).await.unwrap_err();
    assert!(error.may_be_sent(), "{error}");
}

#[tokio::test]
async fn what_is_sent() {
    for format in [Format::Text, Format::Json] {
        for (name, delivery) in all() {
            let (writer, mut reader) = tokio::io::duplex(64 * 1024);
            let mut config = StdoutConfig::default();
            config.format = format;
            let output = Stdout::try_new("out".parse().unwrap(), config, &kit(), writer).unwrap();
            output.deliver(&delivery).await.unwrap();
            drop(output);
            let mut written = String::new();
            reader.read_to_string(&mut written).await.unwrap();
            assert_eq!(written.matches('\n').count(), 1, "one line: {written}");
            if format == Format::Text {
                golden("stdout", name, &written);
            }
        }
    }
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let config = Config::new(Target::Udp(socket.local_addr().unwrap().to_string()), "mcp1", 4711);
    let output = Syslog::try_new("ops".parse().unwrap(), config, &kit()).unwrap();
    for (name, delivery) in all() {
        output.deliver(&delivery).await.unwrap();
        let mut buffer = vec![0; 4096];
        let length = socket.recv(&mut buffer).await.unwrap();
        golden("syslog", name, &format!("{}\n", std::str::from_utf8(&buffer[..length]).unwrap()));
    }
}

#[tokio::test]
async fn a_receiver_that_hangs_up_in_the_middle_may_have_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target::Tcp(listener.local_addr().unwrap().to_string());
    let hung_up = Arc::new(Mutex::new(0));
    let counting = Arc::clone(&hung_up);
    let _task = AbortOnDropHandle::new(tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            // Closed with something unread: the sender's kernel is told that it was lost.
            tcp.readable().await.unwrap();
            drop(tcp);
            *counting.lock().unwrap() += 1;
        }
    }));
    let output =
        Syslog::try_new("ops".parse().unwrap(), Config::new(target, "mcp1", 1), &kit()).unwrap();
    let error = output.deliver(&delivery(failure())).await.unwrap_err();
    assert!(error.may_be_sent(), "{error}");
    wait_for("the receiver to hang up", Duration::from_secs(10), async || {
        match *hung_up.lock().unwrap() {
            1 => Progress::Ready(()),
            count => Progress::Pending(count.to_string()),
        }
    })
    .await;
}
