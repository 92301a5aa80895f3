//! What a client can be too much, too large or too slow at.

use std::time::Duration;

use gateway::Options;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{Answer, get, post};
use crate::support::{open, start, tokens};

const ECHO: &str = "/api/v1/tools/echo";

#[tokio::test]
async fn a_principal_has_a_rate_of_its_own() {
    let (authenticator, made, _folder) = tokens(&[("busy", "read"), ("calm", "read")]);
    let mut options = Options::default();
    options.rate_per_minute = Some(1);
    let running = start(options, authenticator).await;
    let mut statuses = Vec::new();
    for _ in 0..12 {
        let answer = post(ECHO, &json!({"text": "x"})).bearer(&made[0]).send(running.address).await;
        statuses.push(answer.status);
    }
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 10, "{statuses:?}");
    for path in ["/mcp", "/api/v1/tools", "/metrics"] {
        let answer = get(path).bearer(&made[0]).send(running.address).await;
        assert_eq!((answer.status, answer.problem().as_str()), (429, "rate-limited"), "{path}");
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
    }
    let other = post(ECHO, &json!({"text": "x"})).bearer(&made[1]).send(running.address).await;
    assert_eq!(other.status, 200);
}

#[tokio::test]
async fn guessing_is_slow() {
    let (authenticator, made, _folder) = tokens(&[("ci", "read")]);
    let mut options = Options::default();
    options.failures_per_minute = 3;
    let running = start(options, authenticator).await;
    // To come without a credential is no guess, however often.
    for _ in 0..10 {
        let answer = get("/api/v1/tools").send(running.address).await;
        assert_eq!((answer.status, answer.problem().as_str()), (401, "unauthenticated"));
        assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer"));
    }
    let mut statuses = Vec::new();
    for guess in 0..5 {
        let answer =
            get("/api/v1/tools").bearer(&format!("guess{guess}")).send(running.address).await;
        statuses.push(answer.status);
    }
    assert_eq!(statuses, [401, 401, 401, 429, 429]);
    // No hash is computed for this address any more, whatever it brings.
    let answer = get("/api/v1/tools").bearer(&made[0]).send(running.address).await;
    assert_eq!(answer.problem(), "rate-limited");
    assert!(answer.header("retry-after").is_some());
    assert_eq!(get("/livez").send(running.address).await.status, 200);
}

#[tokio::test]
async fn bodies_have_a_largest_size() {
    let mut options = Options::default();
    options.max_body_bytes = 1000;
    let running = start(options, open()).await;
    let fits = post(ECHO, &json!({"text": "x".repeat(900)})).send(running.address).await;
    assert_eq!(fits.status, 200);
    for path in [ECHO, "/mcp"] {
        let ask = post(path, &json!({"text": "x".repeat(1000)}))
            .header("accept", "application/json, text/event-stream");
        let answer = ask.send(running.address).await;
        assert_eq!(answer.status, 413, "{answer:?}");
    }
    // What is announced is refused without waiting for it.
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let head = format!("POST {ECHO} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1001\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = Answer::read(&mut stream).await;
    assert_eq!((answer.status, answer.problem().as_str()), (413, "too-large"));
    // Nor does it help to say nothing of the size.
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let head = format!(
        "POST {ECHO} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("400\r\n{}\r\n", "x".repeat(1024));
    let (mut reader, mut writer) = stream.into_split();
    let flood =
        tokio::spawn(async move { while writer.write_all(chunk.as_bytes()).await.is_ok() {} });
    let answer = Answer::read(&mut reader).await;
    assert_eq!((answer.status, answer.problem().as_str()), (413, "too-large"));
    drop(reader);
    flood.await.unwrap();
}

#[tokio::test]
async fn the_slow_are_not_waited_for() {
    let mut options = Options::default();
    options.head_timeout = Duration::from_millis(100);
    options.body_timeout = Duration::from_millis(100);
    let running = start(options, open()).await;
    let starts: [&[u8]; 4] = [
        b"",
        b"GET /livez HT",
        b"GET /livez HTTP/1.1\r\nhost: localhost\r\nx-slow: ",
        b"POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\ncontent-length: 100\r\n\r\n{",
    ];
    for start in starts {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(start).await.unwrap();
        let mut rest = Vec::new();
        // Ends because the server ends it.
        stream.read_to_end(&mut rest).await.ok();
        let rest = String::from_utf8_lossy(&rest);
        assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 408"), "{rest}");
    }
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let head = format!("POST {ECHO} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{{");
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = Answer::read(&mut stream).await;
    assert_eq!((answer.status, answer.problem().as_str()), (408, "too-slow"));
    // A connection that is kept open for the next request is closed at the same age.
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(rest.starts_with("HTTP/1.1 200"), "{rest}");
}

#[tokio::test]
async fn connections_are_counted() {
    let mut options = Options::default();
    options.max_connections = 2;
    let running = start(options, open()).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        held.push(stream);
    }
    let mut third = TcpStream::connect(running.address).await.unwrap();
    let mut rest = Vec::new();
    third.read_to_end(&mut rest).await.ok();
    assert!(rest.is_empty());
    held.pop();
    testkit::wait_for("the place to be free", Duration::from_secs(10), async || {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let _ = stream.write_all(&get("/livez").bytes()).await;
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.ok();
        if rest.is_empty() {
            testkit::Progress::Pending("taken".to_owned())
        } else {
            testkit::Progress::Ready(())
        }
    })
    .await;
}

#[tokio::test]
async fn rubbish_is_refused_and_does_no_harm() {
    let running = start(Options::default(), open()).await;
    let endless = format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "a".repeat(100_000));
    let many = "x-again: y\r\n".repeat(1000);
    let many = format!("GET /livez HTTP/1.1\r\nhost: localhost\r\n{many}\r\n");
    let split = "POST /api/v1/tools/echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}";
    let smuggled = "POST /api/v1/tools/echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\ntransfer-encoding: gzip\r\n\r\n{}";
    for text in [
        endless.as_str(),
        &many,
        split,
        smuggled,
        "\u{0}\u{1}\u{2}\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let _ = stream.write_all(text.as_bytes()).await;
        let _ = stream.shutdown().await;
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.ok();
        let rest = String::from_utf8_lossy(&rest);
        let refused = rest.is_empty() || rest.starts_with("HTTP/1.1 4");
        assert!(refused, "{:?}: {rest}", &text[..20.min(text.len())]);
    }
    assert_eq!(get("/livez").send(running.address).await.status, 200);
}
