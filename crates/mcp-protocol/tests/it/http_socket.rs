//! The endpoint behind a real socket: what only a connection can show.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use mcp_protocol::http::{HttpOptions, HttpService};
use mcp_protocol::{App, Caller};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::client::MODERN;
use crate::fixture::{self, Life};

async fn serve(app: App) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = HttpService::new(HttpOptions::default(), CancellationToken::new());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (service, app) = (service.clone(), app.clone());
            let answer = service_fn(move |request| {
                let (service, app) = (service.clone(), app.clone());
                async move {
                    Ok::<_, Infallible>(service.handle(&app, Caller::new("token:a"), request).await)
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    address
}

/// Sends a modern call by hand.
async fn send(stream: &mut TcpStream, tool: &str, arguments: Value) {
    let body = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": tool, "arguments": arguments, "_meta": {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {},
        } },
    })
    .to_string();
    // Header values may stand in blanks.
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: */*\r\nMCP-PROTOCOL-VERSION: {MODERN}\r\nMcp-Method:   tools/call\t\r\nmcp-name: {tool}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
}

#[tokio::test]
async fn a_connection_carries_one_request_after_the_other() {
    let mut stream = TcpStream::connect(serve(fixture::app()).await).await.unwrap();
    for text in ["one", "two"] {
        send(&mut stream, "echo", json!({ "text": text })).await;
        let mut reader = BufReader::new(&mut stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).await.unwrap();
            if let Some(value) = line.to_lowercase().strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["result"]["content"][0]["text"], text, "{body}");
    }
}

#[tokio::test]
async fn a_broken_connection_stops_the_work() {
    let life = Arc::new(Life::default());
    let address = serve(fixture::app_with(&life)).await;
    // Before the answer has begun.
    let mut stream = TcpStream::connect(address).await.unwrap();
    send(&mut stream, "forever", json!({})).await;
    life.started.notified().await;
    drop(stream);
    life.dropped.notified().await;
    // And on a stream.
    let mut stream = TcpStream::connect(address).await.unwrap();
    send(&mut stream, "forever", json!({})).await;
    let mut begun = [0; 15];
    stream.read_exact(&mut begun).await.unwrap();
    assert_eq!(&begun, b"HTTP/1.1 200 OK");
    drop(stream);
    life.dropped.notified().await;
}
