//! Syslog over real sockets: who is who, what is lost, how TLS is agreed on.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use event_core::{Event, EventSource as _, RunContext, Severity, Signal, SourceErrorKind};
use futures::{StreamExt as _, stream::BoxStream};
use inputs::{
    Identity, TlsPem,
    syslog::{Config, Listen, Peer, Strangers, Syslog},
};
use stdx::{
    SystemClock,
    tls::{TlsOptions, TlsPolicy},
};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpStream, UdpSocket},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) type Stream = BoxStream<'static, Result<Signal, event_core::SourceError>>;

pub(crate) fn config(listen: &[&str]) -> Config {
    Config::new(listen.iter().map(|text| text.parse::<Listen>().unwrap()).collect())
}

/// Starts an input, and gives what it tells and where it listens.
pub(crate) async fn start(config: Config) -> (Syslog, Stream, Vec<SocketAddr>, CancellationToken) {
    let input = Syslog::try_new("syslog".parse().unwrap(), config).unwrap();
    let stop = CancellationToken::new();
    let mut stream = input.run(RunContext::new(stop.clone(), SystemClock::shared()), None);
    for _ in 0..2 {
        stream.next().await.unwrap().unwrap();
    }
    let mut addresses = input.addresses();
    let addresses = addresses.wait_for(|addresses| !addresses.is_empty()).await.unwrap().clone();
    (input, stream, addresses, stop)
}

pub(crate) async fn event(stream: &mut Stream) -> Event {
    loop {
        let signal = timeout(PATIENCE, stream.next()).await.expect("something is told in time");
        if let Signal::Changed { event, .. } = signal.unwrap().unwrap() {
            return event;
        }
    }
}

async fn send(to: SocketAddr, text: &str) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(text.as_bytes(), to).await.unwrap();
}

#[tokio::test]
async fn who_sends_is_told_by_address() {
    let mut config = config(&["udp://127.0.0.1:0"]);
    let identity =
        |cluster: &str| Identity { cluster: cluster.parse().ok(), ..Identity::default() };
    let peer = Peer {
        addresses: vec!["127.0.0.1".parse().unwrap()],
        identity: identity("lab"),
        hosts: BTreeMap::from([("cedar".to_owned(), identity("edge"))]),
    };
    config.peers.insert("relay".to_owned(), peer);
    let (_input, mut stream, to, _stop) = start(config).await;
    for (host, cluster) in [("alder", "lab"), ("cedar", "edge")] {
        send(to[0], &format!("<30>Nov 22 17:55:05 {host} kernel: hello\n")).await;
        let event = event(&mut stream).await;
        assert_eq!(event.subject.cluster.unwrap().as_str(), cluster);
        assert_eq!(
            (event.labels["peer"].as_str(), event.labels["host"].as_str()),
            ("127.0.0.1", host)
        );
    }
}

#[tokio::test]
async fn strangers_are_left_out_and_counted() {
    let mut config = config(&["udp://127.0.0.1:0", "tcp://127.0.0.1:0"]);
    config.strangers = Strangers::Refuse;
    let (input, _stream, to, _stop) = start(config).await;
    send(to[0], "<30>Nov 22 17:55:05 alder kernel: hello").await;
    let mut stream = TcpStream::connect(to[1]).await.unwrap();
    stream.write_all(b"<30>Nov 22 17:55:05 alder kernel: hello\n").await.unwrap();
    testkit::wait_for("both to be counted", PATIENCE, async || match input.strangers() {
        2 => testkit::Progress::Ready(()),
        count => testkit::Progress::Pending(format!("{count} counted")),
    })
    .await;
}

#[tokio::test]
async fn mild_lines_that_nobody_knows_can_be_left_out() {
    let mut config = config(&["tcp://127.0.0.1:0"]);
    config.least = Severity::Warning;
    let (_input, mut stream, to, _stop) = start(config).await;
    let mut peer = TcpStream::connect(to[0]).await.unwrap();
    let lines = "<30>Nov 22 17:55:05 alder prog: mild\n\
        <30>Nov 22 17:55:05 alder pvedaemon[1]: <root@pam> successful auth for user 'ada@pve'\n\
        <28>Nov 22 17:55:05 alder prog: grave\n";
    peer.write_all(lines.as_bytes()).await.unwrap();
    assert_eq!(event(&mut stream).await.kind.as_str(), "auth.succeeded");
    assert_eq!(event(&mut stream).await.title, "grave");
}

#[tokio::test]
async fn lines_come_over_tls() {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = certificate.self_signed(&key).unwrap().pem();
    let mut config = config(&["tls://127.0.0.1:0"]);
    config.tls = Some(TlsPem {
        certificate: certificate.clone().into_bytes(),
        key: key.serialize_pem().into(),
    });
    let (_input, mut stream, to, _stop) = start(config).await;
    // Somebody who does not speak TLS holds up nobody.
    let mut plain = TcpStream::connect(to[0]).await.unwrap();
    plain.write_all(b"<30>Nov 22 17:55:05 alder prog: in the clear\n").await.unwrap();
    let options = TlsOptions {
        policy: TlsPolicy::CaPem(certificate.into_bytes()),
        server_name: Some("localhost".to_owned()),
    };
    let mut tls = stdx::tls::connect("127.0.0.1", to[0].port(), &options, PATIENCE).await.unwrap();
    let line = "<30>1 2026-11-22T17:55:05Z alder prog 1 - - in private";
    tls.write_all(format!("{} {line}", line.len()).as_bytes()).await.unwrap();
    tls.flush().await.unwrap();
    assert_eq!(event(&mut stream).await.title, "in private");
}

#[tokio::test]
async fn a_line_that_never_ends_is_cut() {
    let (_input, mut stream, to, _stop) = start(config(&["tcp://127.0.0.1:0"])).await;
    let mut peer = TcpStream::connect(to[0]).await.unwrap();
    let long = "x".repeat(200 * 1024);
    peer.write_all(
        format!("<30>Nov 22 17:55:05 alder prog: {long}\n<30>Nov 22 17:55:06 alder prog: next\n")
            .as_bytes(),
    )
    .await
    .unwrap();
    let cut = event(&mut stream).await;
    assert_eq!(cut.raw.unwrap().size, 64 * 1024);
    assert!(cut.labels["cut"].contains("65536"));
    assert_eq!(event(&mut stream).await.title, "next");
}

/// What nobody reads the kernel drops, and says how much.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_the_kernel_drops_is_told() {
    const SENT: u64 = 4000;
    let mut config = config(&["udp://127.0.0.1:0"]);
    config.receive_buffer_bytes = 4096;
    let (_input, mut stream, to, _stop) = start(config).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    // The stream is not read, so its queue fills, and behind it the kernel's buffer.
    for number in 0..SENT {
        socket
            .send_to(format!("<30>Nov 22 17:55:05 alder prog: {number}").as_bytes(), to[0])
            .await
            .unwrap();
    }
    let (mut heard, mut lost) = (0, 0);
    while heard + lost < SENT {
        match timeout(PATIENCE, stream.next()).await.expect("all is told in time").unwrap().unwrap()
        {
            Signal::Changed { .. } => heard += 1,
            Signal::Lost { count, .. } => lost += count,
            _ => {}
        }
    }
    assert!(lost > 0, "{heard} were heard");
    assert_eq!(heard + lost, SENT);
}

#[tokio::test]
async fn what_was_read_is_told_when_the_run_is_stopped() {
    let (_input, mut stream, to, stop) = start(config(&["tcp://127.0.0.1:0"])).await;
    let mut peer = TcpStream::connect(to[0]).await.unwrap();
    peer.write_all(b"<30>Nov 22 17:55:05 alder prog: 1\n<30>Nov 22 17:55:05 alder prog: 2\n")
        .await
        .unwrap();
    assert_eq!(event(&mut stream).await.title, "1");
    stop.cancel();
    let mut rest = Vec::new();
    while let Some(signal) = stream.next().await {
        if let Ok(Signal::Changed { event, .. }) = signal {
            rest.push(event.title);
        }
    }
    // Both lines came in one piece, so the second waited behind the first.
    assert_eq!(rest, ["2"]);
}

#[tokio::test]
async fn a_port_that_is_taken_is_a_matter_of_settings() {
    let (_input, _stream, to, _stop) = start(config(&["tcp://127.0.0.1:0"])).await;
    let second = config(&[&format!("tcp://{}", to[0])]);
    let second = Syslog::try_new("second".parse().unwrap(), second).unwrap();
    let error = second.check().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Settings);
    assert!(error.to_string().contains("another program has this port"), "{error}");
    let mut stream =
        second.run(RunContext::new(CancellationToken::new(), SystemClock::shared()), None);
    let mut failed = None;
    while let Some(signal) = stream.next().await {
        failed = signal.err().or(failed);
    }
    assert_eq!(failed.unwrap().kind(), SourceErrorKind::Settings);
}

#[tokio::test]
async fn what_our_own_programs_write_is_left_out_and_counted() {
    let (input, mut stream, to, _stop) = start(config(&["tcp://127.0.0.1:0"])).await;
    let mut peer = TcpStream::connect(to[0]).await.unwrap();
    let lines = "<27>1 2026-11-22T17:55:05Z mcp proxmox-mcp 7 - - backup of lab/104 failed\n\
        <27>Nov 22 17:55:05 mcp proxmox-manager[7]: delivery failed\n\
        <27>Nov 22 17:55:05 alder proxmox-mcp-watch: of somebody else\n";
    peer.write_all(lines.as_bytes()).await.unwrap();
    assert_eq!(event(&mut stream).await.title, "of somebody else");
    assert_eq!(input.ours(), 2);
}
