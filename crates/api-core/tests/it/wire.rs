//! The transport that really sends, against a server that misbehaves.

use std::{sync::Arc, time::Duration};

use api_core::{
    ApiClient, Body, ByteStream, Endpoint, ErrorKind, Failover, FailoverOptions, HttpTransport,
    Request, multipart::Form, path, read_pieces,
};
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::HeaderValue;
use serde_json::Value;
use stdx::{
    Chain, SystemClock,
    http::HttpOptions,
    tls::{Fingerprint, TlsOptions, TlsPolicy},
};

use crate::{
    fake::classify,
    script::{
        Act::{Close, Hang, Say},
        Script,
    },
};

const YES: &str = "HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{\"data\":\"yes\"}";

fn client(base: &str, timeout: Duration) -> ApiClient {
    // Insecure, so that no test reads the system's roots for a server without TLS.
    let options =
        HttpOptions::with_tls(TlsOptions { policy: TlsPolicy::Insecure, server_name: None });
    let transport = Arc::new(HttpTransport::new(base, options, timeout));
    let endpoint = Endpoint { name: base.to_owned(), transport };
    let failover = Failover::new(vec![endpoint], FailoverOptions::default(), SystemClock::shared());
    ApiClient::new(Arc::new(failover), classify)
}

fn read() -> Request<Value> {
    Request::get(path!["x"])
}

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(50);

#[tokio::test]
async fn the_reason_phrase_is_kept() {
    let answer = "HTTP/1.1 595 No route to host\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let script = Script::start(vec![vec![vec![Say(answer)]]]).await;
    let error = client(&script.base, LONG).call(read()).await.expect_err("a 595");
    assert_eq!((error.status(), error.message()), (Some(595), "No route to host"));
    assert_eq!(error.to_string(), "GET /x: No route to host (status 595)");
}

#[tokio::test]
async fn a_refusal_is_read_from_json_with_its_parameters() {
    let answer = concat!(
        "HTTP/1.1 400 Parameter verification failed.\r\ncontent-length: 74\r\n\r\n",
        r#"{"data":null,"errors":{"vmid":"type check"},"message":"Parameter bad.\n"} "#
    );
    let script = Script::start(vec![vec![vec![Say(answer)]]]).await;
    let error = client(&script.base, LONG).call(read()).await.expect_err("a 400");
    assert_eq!(
        (error.message(), error.params()["vmid"].as_str()),
        ("Parameter bad.", "type check")
    );
}

#[tokio::test]
async fn a_request_is_what_the_server_expects() {
    let script = Script::start(vec![vec![vec![Say(YES)], vec![Say(YES)], vec![Say(YES)]]]).await;
    let client = client(&script.base, LONG);
    client.call(read().param("a b", "ü&")).await.expect("an answer");
    client.call(Request::<Value>::post(path!["x"]).param("full", 1)).await.expect("an answer");
    client.call(Request::<Value>::post(path!["x"])).await.expect("an answer");
    let requests = script.requests();
    assert!(requests.iter().all(|(connection, _)| *connection == 0), "one connection serves all");
    let head = requests[0].1.to_lowercase();
    assert!(head.starts_with("get /api2/json/x?a%20b=%c3%bc%26 http/1.1\r\n"), "{head}");
    assert!(
        head.contains("accept-encoding: gzip") && head.contains("user-agent: proxmox-mcp/"),
        "{head}"
    );
    assert!(requests[1].1.ends_with("\r\n\r\nfull=1"), "{}", requests[1].1);
    assert!(requests[1].1.contains("application/x-www-form-urlencoded"), "{}", requests[1].1);
    assert!(requests[2].1.to_lowercase().contains("content-length: 0"), "{}", requests[2].1);
}

#[tokio::test]
async fn a_connection_that_ends_before_the_answer_is_tried_anew_for_reads_only() {
    // The first connection answers once and ends when it is used again.
    let stale = || vec![vec![vec![Say(YES)], vec![Close]], vec![vec![Say(YES)]]];
    let script = Script::start(stale()).await;
    let reader = client(&script.base, LONG);
    for _ in 0..2 {
        assert_eq!(reader.call(read()).await.expect("an answer"), "yes");
    }
    let connections: Vec<usize> = script.requests().iter().map(|(number, _)| *number).collect();
    assert_eq!(connections, [0, 0, 1]);

    // A read that takes away what it tells may have been answered, so it is not repeated either.
    for once in [Request::<Value>::post(path!["x"]), read().once()] {
        let script = Script::start(stale()).await;
        let client = client(&script.base, LONG);
        client.call(read()).await.expect("an answer");
        let error = client.call(once).await.expect_err("it ended");
        assert_eq!(error.kind(), ErrorKind::Unreachable);
        assert!(error.may_have_run());
        assert_eq!(script.requests().len(), 2);
    }
}

#[tokio::test]
async fn every_way_to_fail_is_told_apart() {
    let short = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"data\":";
    for (acts, timeout, kind, words) in [
        (vec![Say(short), Close], LONG, ErrorKind::Unreachable, "whole answer"),
        (vec![Say(short), Hang], SHORT, ErrorKind::Timeout, "in time"),
        (vec![Hang], SHORT, ErrorKind::Timeout, "in time"),
        (vec![Say("SSH-2.0-dropbear\r\n\r\n"), Close], LONG, ErrorKind::Decode, "understand"),
        (
            vec![Say("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n<p>")],
            LONG,
            ErrorKind::Decode,
            "shape",
        ),
    ] {
        let script = Script::start(vec![vec![acts.clone()], vec![acts]]).await;
        let request = Request::<Value>::post(path!["x"]).param("password", "planted");
        let error = client(&script.base, timeout).call(request).await.expect_err("a failure");
        let told = Chain(&error).to_string();
        assert_eq!(error.kind(), kind, "{told}");
        assert!(told.contains(words) && !format!("{error:?} {told}").contains("planted"), "{told}");
    }
}

/// A form with one file that gives these pieces, and the rest of its life nothing if it `hangs`.
fn form(pieces: &[&'static str], hangs: bool, size: u64) -> (HeaderValue, Body) {
    let pieces: Vec<_> =
        pieces.iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes()))).collect();
    let pieces = stream::iter(pieces);
    let content: ByteStream =
        if hangs { Box::pin(pieces.chain(stream::pending())) } else { Box::pin(pieces) };
    let form = Form::new().field("content", "iso");
    (form.content_type(), form.file("filename", "a.iso", content, size))
}

#[tokio::test]
async fn a_file_streams_out_with_its_length_and_nothing_is_sent_twice() {
    let script = Script::start(vec![vec![vec![Say(YES)]]]).await;
    let (kind, body) = form(&["01", "234"], false, 5);
    let request = Request::<Value>::post(path!["x"]).param("filename", "a.iso");
    let answer = client(&script.base, LONG).send_body(request, kind, body).await;
    assert_eq!(answer.expect("an answer"), "yes");
    let sent = &script.requests()[0].1;
    let (head, body) = sent.split_once("\r\n\r\n").expect("a head");
    let head = head.to_lowercase();
    assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
    assert!(head.contains("content-type: multipart/form-data; boundary="), "{head}");
    assert!(!head.contains("transfer-encoding"), "{head}");
    assert!(body.contains("\r\n\r\n01234\r\n--") && body.ends_with("--\r\n"), "{body}");

    for (pieces, hangs, timeout, kind, words) in [
        (&["01"][..], false, LONG, ErrorKind::Parameter, "shorter than the 5 bytes"),
        (&["012345"], false, LONG, ErrorKind::Parameter, "longer than the 5 bytes"),
        (&["01"], true, SHORT, ErrorKind::Timeout, "in time"),
        (&["01234"], false, LONG, ErrorKind::Unreachable, "whole answer"),
    ] {
        let script = Script::start(vec![vec![vec![Close]], vec![vec![Say(YES)]]]).await;
        let (content_type, body) = form(pieces, hangs, 5);
        let request = Request::<Value>::post(path!["x"]);
        let client = client(&script.base, timeout);
        let error = client.send_body(request, content_type, body).await.expect_err("a failure");
        let told = Chain(&error).to_string();
        assert_eq!(error.kind(), kind, "{told}");
        assert!(told.contains(words) && error.may_have_run(), "{told}");
        assert!(script.requests().len() <= 1);
    }
}

#[tokio::test]
async fn a_refusal_that_comes_before_the_file_is_through_is_told() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("its address"));
    let server = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.expect("a connection");
        tcp.read_u8().await.expect("the head begins");
        let refusal = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        tcp.write_all(refusal.as_bytes()).await.expect("it is read");
        std::future::pending::<()>().await;
    });
    let (kind, body) = form(&["01"], true, 5);
    let request = Request::<Value>::post(path!["x"]);
    let error = client(&base, LONG).send_body(request, kind, body).await.expect_err("a 400");
    assert_eq!((error.status(), error.message()), (Some(400), "Bad Request"));
    server.abort();
}

#[tokio::test]
async fn a_reader_is_read_in_pieces_to_its_end() {
    let bytes: Vec<u8> = (0..200_000_u32).map(|at| at.to_le_bytes()[0]).collect();
    let pieces = read_pieces(std::io::Cursor::new(bytes.clone()));
    let read = Body::Stream(pieces, None).collect(1 << 20).await.expect("all of it");
    assert_eq!(read, bytes);
}

#[tokio::test]
async fn nobody_there_is_told_briefly_and_nothing_was_sent() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("its address");
    let request = Request::<Value>::delete(path!["x"]).param("password", "planted");
    let base = format!("https://{free}");
    let error = client(&base, LONG).call(request).await.expect_err("nobody there");
    assert!(error.kind() == ErrorKind::Unreachable && !error.may_have_run());
    let told = Chain(&error).to_string();
    assert!(told.starts_with(&format!("DELETE /x: connect ({base}): ")), "{told}");
    assert!(told.contains("refused") && !format!("{error:?} {told}").contains("planted"), "{told}");
}

#[tokio::test]
async fn a_server_without_tls_is_told_as_such() {
    let script = Script::start(vec![vec![vec![Say(YES)]]]).await;
    let base = script.base.replace("http:", "https:");
    // It waits for the end of a request that never comes, so it is the client that gives up.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let plain = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let (mut tcp, _) = listener.accept().await.expect("a connection");
        tcp.write_all(b"HTTP/1.1 301 Moved\r\n\r\n").await.expect("it is read");
    });
    let error = client(&format!("https://{address}"), LONG).call(read()).await.expect_err("no TLS");
    plain.await.expect("no panic");
    assert_eq!(error.kind(), ErrorKind::Tls, "{}", Chain(&error));
    drop((script, base));
}

#[tokio::test]
async fn another_certificate_than_the_pinned_one_is_told_with_its_fingerprint() {
    let (server, shown) = crate::script::tls_server().await;
    let pins = TlsPolicy::Pins(vec![Fingerprint::of(b"another")]);
    let options = HttpOptions::with_tls(TlsOptions { policy: pins, server_name: None });
    let transport = HttpTransport::new(format!("https://{}", server.address), options, LONG);
    let client = ApiClient::new(Arc::new(transport), classify);
    let error = client.call(read()).await.expect_err("another certificate");
    assert_eq!(error.kind(), ErrorKind::Tls);
    assert_eq!(stdx::tls::seen_fingerprint(&error), Some(shown));
    assert_eq!(
        Chain(&error).to_string(),
        format!(
            "GET /x: agree on TLS (https://{}): another certificate than the pinned one: {shown}",
            server.address
        )
    );
}
