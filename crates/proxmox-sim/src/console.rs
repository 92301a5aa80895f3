//! Consoles: the WebSocket of `vncwebsocket`, with a shell that echoes or a VNC greeting.

use base64::Engine as _;
use futures::{SinkExt as _, StreamExt as _};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::sync::broadcast;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};

/// What the open consoles of a guest or node are shown; nothing ends them.
type Shown = broadcast::Receiver<Option<String>>;

/// Whether a request asks for a WebSocket.
pub(crate) fn wants_upgrade<T>(request: &Request<T>) -> bool {
    let upgrade = request.headers().get(header::UPGRADE);
    upgrade.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Answers the handshake and runs the console that `plan` describes.
pub(crate) fn upgrade(
    headers: &HeaderMap,
    upgrade: OnUpgrade,
    plan: Value,
    shown: Shown,
) -> Response<()> {
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes()));
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let out = response.headers_mut();
    out.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    out.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(key) = key.and_then(|key| HeaderValue::from_str(&key).ok()) {
        out.insert(header::SEC_WEBSOCKET_ACCEPT, key);
    }
    if headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL) {
        out.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("binary"));
    }
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let io = TokioIo::new(upgraded);
        let socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
        if plan["shell"] == true {
            shell(socket, &plan, shown).await;
        } else {
            greet(socket).await;
        }
    });
    response
}

/// The protocol of `termproxy`: a line with user and ticket, `OK`, then framed input.
async fn shell<S>(mut socket: WebSocketStream<S>, plan: &Value, mut shown: Shown)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let text = |key: &str| plan[key].as_str().unwrap_or_default().to_owned();
    let login = format!("{}:{}\n", text("user"), text("ticket"));
    let prompt = text("prompt");
    let mut line = String::new();
    let mut ready = false;
    loop {
        let message = tokio::select! {
            message = socket.next() => message,
            text = next_text(&mut shown), if ready => {
                let Some(text) = text else {
                    let _ = socket.close(None).await;
                    return;
                };
                if socket.send(Message::Binary(text.into_bytes().into())).await.is_err() {
                    return;
                }
                continue;
            }
        };
        let Some(Ok(message)) = message else { return };
        let bytes = match message {
            Message::Text(text) => text.as_bytes().to_vec(),
            Message::Binary(bytes) => bytes.to_vec(),
            Message::Close(_) => return,
            _ => continue,
        };
        let said = String::from_utf8_lossy(&bytes).into_owned();
        let mut out = String::new();
        if !ready {
            if said != login {
                let _ = socket.close(None).await;
                return;
            }
            ready = true;
            if socket.send(Message::Binary(b"OK".to_vec().into())).await.is_err() {
                return;
            }
            out.push_str(&prompt);
        } else if let Some(rest) = said.strip_prefix("0:") {
            let typed = rest.split_once(':').map_or("", |(_, typed)| typed);
            for c in typed.chars() {
                if c == '\r' || c == '\n' {
                    out.push_str("\r\n");
                    out.push_str(&reply(&line));
                    out.push_str(&prompt);
                    line.clear();
                } else {
                    out.push(c);
                    line.push(c);
                }
            }
        }
        if !out.is_empty() && socket.send(Message::Binary(out.into_bytes().into())).await.is_err() {
            return;
        }
    }
}

/// The next text that is shown to everybody; nothing once the console ends.
async fn next_text(shown: &mut Shown) -> Option<String> {
    loop {
        match shown.recv().await {
            Ok(text) => return text,
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return None,
        }
    }
}

fn reply(line: &str) -> String {
    match line.trim() {
        "" => String::new(),
        "uname" => "Linux\r\n".to_owned(),
        "exit" => "logout\r\n".to_owned(),
        other => match other.strip_prefix("echo ") {
            Some(text) => format!("{text}\r\n"),
            None => format!("-bash: {other}: command not found\r\n"),
        },
    }
}

/// The greeting of VNC; nothing is drawn.
async fn greet<S>(mut socket: WebSocketStream<S>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let _ = socket.send(Message::Binary(b"RFB 003.008\n".to_vec().into())).await;
    while let Some(Ok(message)) = socket.next().await {
        if message.is_close() {
            return;
        }
    }
}

/// A console ticket.
pub(crate) fn ticket(seed: &str, now: i64) -> String {
    let sign = base64::engine::general_purpose::STANDARD.encode(crate::state::digest64(seed));
    format!("PVEVNC:{now:08X}::{sign}")
}
