//! Real receivers on loopback.

#![expect(clippy::unwrap_used, reason = "helpers of tests stand outside test functions")]

use std::time::Duration;

use audit_copies::{Copies, Copy, Sender, Target};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket, UnixDatagram};

const LONG: Duration = Duration::from_mins(1);

fn copy(line: &str) -> Copy {
    let time = "2026-11-22T12:00:00.5Z".parse().unwrap();
    Copy { time, hash: "abcd".to_owned(), line: line.to_owned() }
}

fn start(target: &str) -> Copies {
    let target: Target = target.parse().unwrap();
    Copies::start(vec![target], &Sender::new("host", 7)).unwrap()
}

#[tokio::test]
async fn syslog_over_udp() {
    let receiver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let copies = start(&format!("udp://{}", receiver.local_addr().unwrap()));
    copies.copy(&copy("{\"seq\":1}"));
    copies.copy(&copy(&"x".repeat(70_000)));
    let mut buffer = vec![0; 65_536];
    let mut next = async || {
        let length = receiver.recv(&mut buffer).await.unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let head = "<110>1 2026-11-22T12:00:00.500000Z host proxmox-mcp 7 audit -";
    assert_eq!(next().await, format!("{head} {{\"seq\":1}}"));
    let short = r#"{"hash":"abcd","left_out":"it is too long for a datagram"}"#;
    assert_eq!(next().await, format!("{head} {short}"));
    assert_eq!((copies.finish(LONG).await, copies.dropped()), (0, 0));
}

#[tokio::test]
async fn syslog_on_a_socket_of_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let receiver = UnixDatagram::bind(&path).unwrap();
    let copies = start(&format!("unix://{}", path.display()));
    copies.copy(&copy("{\"seq\":1}"));
    let mut buffer = [0; 1000];
    let length = receiver.recv(&mut buffer).await.unwrap();
    assert!(buffer[..length].ends_with(b"host proxmox-mcp 7 audit - {\"seq\":1}"));
    assert_eq!(copies.finish(LONG).await, 0);
}

/// Reads one request and answers it; gives its head and body.
async fn answer(listener: &TcpListener, status: &str) -> (String, String) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() == length.unwrap().parse::<usize>().unwrap() {
                let reply = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(reply.as_bytes()).await.unwrap();
                return (head, body.to_owned());
            }
        }
        assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0, "the request is not whole");
    }
}

#[tokio::test]
async fn a_webhook() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let copies = start(&format!("http://{}/hook", listener.local_addr().unwrap()));
    copies.copy(&copy("{\"seq\":1}"));
    let (head, body) = answer(&listener, "204 No Content").await;
    assert!(head.starts_with("post /hook http/1.1"), "{head}");
    assert!(head.contains("idempotency-key: abcd"), "{head}");
    assert!(head.contains("content-type: application/json"), "{head}");
    assert_eq!(body, "{\"seq\":1}");
    assert_eq!((copies.finish(LONG).await, copies.dropped()), (0, 0));
}
