//! Where it listens and where it refuses to; how it stops.

use std::os::unix::fs::PermissionsExt as _;

use expect_test::expect;
use gateway::{Listen, Options, TlsFiles};
use tokio::net::UnixStream;

use crate::client::{get, post};
use crate::support::{loopback, open, start, start_at, tokens};

fn at(address: &str) -> Listen {
    Listen::Tcp { address: address.parse().unwrap(), tls: None }
}

async fn refusal(place: Listen) -> String {
    match start_at(Options::default(), open(), &[place]).await {
        Ok(_) => "listens".to_owned(),
        Err(error) => stdx::Chain(&error).to_string(),
    }
}

#[tokio::test]
async fn without_authentication_nobody_else_can_reach_it() {
    expect![[r#"listen on 0.0.0.0:0 without authentication: others than this machine could reach it; leave out --no-auth and make a token with `proxmox-mcp token new`, or listen on 127.0.0.1"#]]
        .assert_eq(&refusal(at("0.0.0.0:0")).await);
    for address in ["[::]:0", "192.0.2.1:0", "[::ffff:192.0.2.1]:0", "[2001:db8::1]:0"] {
        let refusal = refusal(at(address)).await;
        assert!(refusal.contains("without authentication"), "{address}: {refusal}");
    }
    assert_eq!(refusal(at("127.0.0.1:0")).await, "listens");
    assert_eq!(refusal(at("127.9.9.9:0")).await, "listens");
    // One open door is enough for all of them to stay shut.
    let both = start_at(Options::default(), open(), &[loopback(), at("0.0.0.0:0")]).await;
    assert!(both.is_err());
    // With authentication it may.
    let (authenticator, _, _folder) = tokens(&[("ci", "read")]);
    let running = start_at(Options::default(), authenticator, &[at("0.0.0.0:0")]).await.unwrap();
    assert!(running.places[0].is_exposed());
}

#[tokio::test]
async fn what_cannot_be_had_is_said() {
    let running = start(Options::default(), open()).await;
    let taken = refusal(at(&running.address.to_string())).await;
    assert!(taken.contains("another program has it"), "{taken}");
    let elsewhere = refusal(at("127.0.0.1:0")).await;
    assert_eq!(elsewhere, "listens");
    let files = TlsFiles { certificate: "/nowhere/tls.crt".into(), key: "/nowhere/tls.key".into() };
    let tls = Listen::Tcp { address: "127.0.0.1:0".parse().unwrap(), tls: Some(files) };
    let missing = refusal(tls).await;
    assert!(missing.contains("read /nowhere/tls.crt"), "{missing}");
    let none = start_at(Options::default(), open(), &[]).await;
    assert!(none.is_err());
}

#[tokio::test]
async fn a_unix_socket_is_its_owners() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("http.sock");
    let socket = || Listen::Unix { path: path.clone() };

    let running = start_at(Options::default(), open(), &[socket()]).await.unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{mode:o}");
    let stream = UnixStream::connect(&path).await.unwrap();
    let uid = stream.peer_cred().unwrap().uid();
    let answer =
        post("/api/v1/tools/echo", &serde_json::json!({"text": "hello"})).send_over(stream).await;
    assert_eq!(answer.json()["who"], format!("local:{uid}"), "the system knows who calls");

    let second = start_at(Options::default(), open(), &[socket()]).await;
    let taken = stdx::Chain(&second.err().unwrap()).to_string();
    assert!(taken.contains("another server is listening there"), "{taken}");

    // Nothing stays behind at an orderly end.
    running.shutdown.cancel();
    let mut running = running;
    (&mut running.serving).await.unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);

    // What a server that was killed left behind is replaced.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let again = start_at(Options::default(), open(), &[socket()]).await.unwrap();
    let answer = get("/livez").send_over(UnixStream::connect(&path).await.unwrap()).await;
    assert_eq!(answer.status, 200);
    drop(again);

    let file = folder.path().join("precious");
    std::fs::write(&file, "data").unwrap();
    let no_socket = refusal(Listen::Unix { path: file.clone() }).await;
    assert!(no_socket.contains("that is not a socket"), "{no_socket}");
    assert_eq!(std::fs::read_to_string(file).unwrap(), "data");
}

#[tokio::test]
async fn what_is_under_way_ends_before_the_server() {
    let running = start(Options::default(), open()).await;
    let (address, toy) = (running.address, running.toy.clone());
    let call = tokio::spawn(async move {
        post("/api/v1/tools/wait", &serde_json::json!({})).send(address).await
    });
    toy.until_waiting(1).await;
    running.shutdown.cancel();
    // The listener is gone before the call is done.
    testkit::wait_for("the port to be closed", std::time::Duration::from_secs(10), async || {
        match tokio::net::TcpStream::connect(address).await {
            Ok(_) => testkit::Progress::Pending("open".to_owned()),
            Err(_) => testkit::Progress::Ready(()),
        }
    })
    .await;
    assert!(!call.is_finished());
    toy.go.cancel();
    let answer = call.await.unwrap();
    assert_eq!((answer.status, answer.json()["text"].as_str()), (200, Some("waited")));
    let mut running = running;
    (&mut running.serving).await.unwrap();
}

#[tokio::test]
async fn the_end_does_not_wait_for_ever() {
    let mut options = Options::default();
    options.drain = std::time::Duration::from_millis(50);
    let mut running = start(options, open()).await;
    let address = running.address;
    let call = tokio::spawn(async move {
        post("/api/v1/tools/wait", &serde_json::json!({})).bytes();
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let bytes = post("/api/v1/tools/wait", &serde_json::json!({})).bytes();
        tokio::io::AsyncWriteExt::write_all(&mut stream, &bytes).await.unwrap();
        let mut rest = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest).await.ok();
        rest
    });
    running.toy.until_waiting(1).await;
    running.shutdown.cancel();
    (&mut running.serving).await.unwrap();
    assert!(call.await.unwrap().is_empty(), "cut off, not answered");
    running.toy.until_waiting(0).await;
}
