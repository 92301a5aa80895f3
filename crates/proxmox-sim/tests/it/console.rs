//! Consoles over WebSocket, and the program.

use futures::{SinkExt as _, StreamExt as _};
use http::HeaderValue;
use proxmox_sim::Sim;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::wire::{Caller, Wire, demo, escape};

type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// The next message as text.
async fn next<S>(socket: &mut S) -> String
where
    S: futures::Stream<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin,
{
    let message = socket.next().await.expect("a message").expect("no error");
    String::from_utf8(message.into_data().to_vec()).expect("text")
}

#[tokio::test]
async fn a_shell_on_a_node_echoes() {
    let sim = demo().await;
    let admin = Caller::admin(&sim, "lab").await;
    let opened = admin.post("/nodes/alder/termproxy", &[]).await.data();
    let (port, ticket) = (opened["port"].as_str().unwrap(), opened["ticket"].as_str().unwrap());
    let path =
        format!("/api2/json/nodes/alder/vncwebsocket?port={port}&vncticket={}", escape(ticket));
    // Another caller may not use it.
    let mut other = Caller::token(&sim, "lab", "nothing");
    other.auth.push(("X-Unused", "1".to_owned()));
    assert_ne!(other.try_send("GET", &path, &[], "").await.unwrap().status, 200);
    let mut socket = enter(&sim, &admin, &path, &opened).await;
    assert_eq!(next(&mut socket).await, "root@alder:~# ");
    socket.send(Message::text("1:80:24:")).await.unwrap();
    socket.send(Message::text("0:8:echo hi\r")).await.unwrap();
    assert_eq!(next(&mut socket).await, "echo hi\r\nhi\r\nroot@alder:~# ");
}

/// Opens the websocket at this path, and proves with the ticket who it is.
async fn enter(sim: &Sim, admin: &Caller, path: &str, opened: &Value) -> Socket {
    let url = format!("{}{path}", sim.target("lab").nodes[0].url.replace("https", "wss"));
    let mut request = url.into_client_request().expect("an address");
    request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("binary"));
    for (name, value) in &admin.auth {
        request.headers_mut().insert(*name, value.parse().expect("a header"));
    }
    let wire = Wire::open(sim.target("lab"), 0).await.expect("a connection");
    let (mut socket, response) =
        tokio_tungstenite::client_async(request, wire.into_stream()).await.expect("a websocket");
    assert_eq!(response.headers()["sec-websocket-protocol"], "binary");
    let text = |key: &str| opened[key].as_str().expect("a text");
    let login = format!("{}:{}\n", text("user"), text("ticket"));
    socket.send(Message::text(login)).await.expect("it is sent");
    assert_eq!(next(&mut socket).await, "OK");
    socket
}

#[tokio::test]
async fn a_guest_shows_what_its_system_says_to_whoever_has_a_ticket() {
    let sim = demo().await;
    let levers = sim.levers();
    let admin = Caller::admin(&sim, "lab").await;
    let proxy = "/nodes/alder/qemu/100/termproxy";
    let bare = admin.post(proxy, &[]).await;
    assert!(bare.status == 500 && bare.reason.contains("serial interface"), "{}", bare.line());
    levers.set_option("lab", 100, "serial0", json!("socket")).unwrap();
    let absent = admin.post(proxy, &[("serial", "serial1")]).await;
    assert!(
        absent.status == 500 && absent.reason.contains("serial interface"),
        "{}",
        absent.line()
    );
    let opened = admin.post(proxy, &[("serial", "serial0")]).await.data();
    let (port, ticket) = (opened["port"].as_str().unwrap(), opened["ticket"].as_str().unwrap());
    let path = |ticket: &str| {
        let ticket = escape(ticket);
        format!("/api2/json/nodes/alder/qemu/100/vncwebsocket?port={port}&vncticket={ticket}")
    };
    assert_eq!(admin.try_send("GET", &path("PVEVNC:1::x"), &[], "").await.unwrap().status, 401);
    let mut socket = enter(&sim, &admin, &path(ticket), &opened).await;
    assert_eq!(next(&mut socket).await, "web-01 login: ");
    // A ticket is good for one use.
    assert_eq!(admin.try_send("GET", &path(ticket), &[], "").await.unwrap().status, 401);
    assert_eq!(levers.open_consoles("lab", "100").unwrap(), 1);
    levers.console_shows("lab", "100", "Kernel panic - not syncing\r\n").unwrap();
    assert_eq!(next(&mut socket).await, "Kernel panic - not syncing\r\n");
    levers.consoles_end("lab", "100").unwrap();
    assert!(matches!(socket.next().await, None | Some(Ok(Message::Close(_)) | Err(_))));
}

#[tokio::test]
async fn the_settings_point_at_private_files() {
    let sim = demo().await;
    let dir = tempfile::tempdir().unwrap();
    let text = sim.settings_toml(dir.path()).unwrap();
    for table in ["[pve.lab]", "[pve.edge]", "[pbs.vault]"] {
        assert!(text.contains(table), "{text}");
    }
    let token = std::fs::read_to_string(dir.path().join("lab.token")).unwrap();
    assert_eq!(token, sim.target("lab").token("agent").secret);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(dir.path().join("lab.token")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
