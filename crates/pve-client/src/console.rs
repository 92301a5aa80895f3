//! Text consoles: `termproxy` opens one, `vncwebsocket` carries it.
//!
//! The order of things: `POST …/termproxy` starts a task that waits about ten seconds for a
//! websocket with the ticket that it gave, from the same user or token; over the websocket the
//! client proves itself once more (`user:ticket`, answered by `OK`); after that the server sends
//! raw terminal bytes, and the client sends frames: `0:LEN:data`, `1:COLUMNS:ROWS:`, `2` to keep it
//! alive.

use std::{fmt, time::Duration};

use api_core::{Path, Request, path, reply};
use bytes::{Bytes, BytesMut};
use estate::{GuestKind, NodeName, Upid, VmId};
use futures::{SinkExt, StreamExt};
use http::{HeaderValue, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use stdx::tls::TlsStream;
use tokio::time::{self, Instant};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{self, Message, client::IntoClientRequest, protocol::WebSocketConfig},
};

use crate::Client;

/// How long opening may take after the ticket was given: then the server stops waiting.
const OPEN_WITHIN: Duration = Duration::from_secs(10);
/// How long a connection is silent before it is kept alive.
const PING_EVERY: Duration = Duration::from_secs(30);

/// The longest message of a server, in bytes.
const MAX_MESSAGE: usize = 1 << 20;

/// Whose console.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConsoleTarget {
    /// A node's shell. Needs `Sys.Console` on the node.
    Node(NodeName),
    /// A guest's serial terminal or a container's console. Needs `VM.Console`.
    Guest {
        /// The node that runs it.
        node: NodeName,
        /// Which kind it is.
        kind: GuestKind,
        /// Its id.
        vmid: VmId,
    },
    /// One of a machine's serial terminals, for one that is not its display. Needs `VM.Console`.
    Serial {
        /// The node that runs it.
        node: NodeName,
        /// Its id.
        vmid: VmId,
        /// The number of the port, 0 to 3.
        port: u8,
    },
}

reply! {
    /// A console that waits for its websocket.
    pub struct TermTicket {
        /// The port that the websocket names.
        pub port: u16,
        /// What the websocket proves itself with.
        pub ticket: SecretString,
        /// Who opened it.
        pub user: String,
        /// The task that serves it.
        pub upid: Upid,
    }
}

/// An open console.
pub struct Console {
    socket: WebSocketStream<TlsStream>,
    /// What came in one message with the server's `OK`.
    early: Bytes,
    upid: Upid,
}

/// A console could not be opened, or broke.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConsoleError {
    /// The client was made from a bare transport, which carries no websockets.
    #[error("open a console without a connection of its own")]
    NoConnection,
    /// The server refused to open one.
    #[error("open a console")]
    Open(#[from] api_core::Error),
    /// The login behind it was refused.
    #[error("log in for a console")]
    Login,
    /// The connection to the server did not come about.
    #[error("connect to a console")]
    Connect(#[from] stdx::tls::TlsError),
    /// The login behind it could not be sent.
    #[error("log in for a console")]
    Transport(#[from] api_core::TransportError),
    /// The websocket failed.
    #[error("talk to a console")]
    Socket(#[source] Box<tungstenite::Error>),
    /// It took longer than the server waits.
    #[error("open a console in time")]
    Timeout,
    /// The server did not take the ticket.
    #[error("be let into a console")]
    Refused,
}

/// Asks for a console: `POST …/termproxy`.
pub fn termproxy(target: &ConsoleTarget) -> Request<TermTicket> {
    let request = Request::post(target.path().push("termproxy")).on(target.node()).protected();
    match target {
        ConsoleTarget::Serial { port, .. } => request.param("serial", format!("serial{port}")),
        _ => request,
    }
}

// === impl ConsoleTarget ===

impl ConsoleTarget {
    /// The node that it is on.
    pub fn node(&self) -> &NodeName {
        match self {
            Self::Node(node) | Self::Guest { node, .. } | Self::Serial { node, .. } => node,
        }
    }

    fn path(&self) -> Path {
        match self {
            Self::Node(node) => path!["nodes", node],
            Self::Guest { node, kind, vmid } => path!["nodes", node, kind, vmid],
            Self::Serial { node, vmid, .. } => path!["nodes", node, GuestKind::Qemu, vmid],
        }
    }
}

// === impl Client ===

impl Client {
    /// Opens a console and waits until it is ready. With an operate token configured, that one
    /// opens it. Goes to the endpoint that is preferred at the moment, past any proxy.
    pub async fn connect_console(&self, target: &ConsoleTarget) -> Result<Console, ConsoleError> {
        let parts = self.console().ok_or(ConsoleError::NoConnection)?;
        let given = self.call(termproxy(target)).await?;
        time::timeout(OPEN_WITHIN, async {
            let (name, proof) = parts.auth.header().await?.ok_or(ConsoleError::Login)?;
            let preferred = self.health().map(|health| health.preferred);
            let targets = &parts.options.targets;
            let endpoint = targets.iter().find(|target| Some(&target.url) == preferred.as_ref());
            let endpoint = endpoint.or(targets.first()).ok_or(ConsoleError::NoConnection)?;

            let ticket = utf8_percent_encode(given.ticket.expose_secret(), NON_ALPHANUMERIC);
            let path = target.path().push("vncwebsocket");
            let base = endpoint.url.replacen("https:", "wss:", 1);
            let query = format!("port={}&vncticket={ticket}", given.port);
            let mut request = format!("{base}/api2/json{path}?{query}")
                .into_client_request()
                .map_err(ConsoleError::socket)?;
            request.headers_mut().insert(name, proof);
            let binary = HeaderValue::from_static("binary");
            request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, binary);

            let timeout = parts.options.connect_timeout;
            let tls = stdx::tls::connect(&endpoint.host, endpoint.port, &endpoint.tls, timeout);
            let (socket, _) = client_async_with_config(request, tls.await?, Some(bounded()))
                .await
                .map_err(ConsoleError::socket)?;
            let mut console = Console { socket, early: Bytes::new(), upid: given.upid.clone() };
            console.enter(&given).await?;
            Ok(console)
        })
        .await
        .unwrap_or(Err(ConsoleError::Timeout))
    }
}

// === impl Console ===

impl Console {
    /// The task that serves it.
    pub fn upid(&self) -> &Upid {
        &self.upid
    }

    /// The next bytes that the terminal shows; `None` once it has ended. Keeps a silent connection
    /// alive while it waits.
    pub async fn read(&mut self) -> Result<Option<Bytes>, ConsoleError> {
        if !self.early.is_empty() {
            return Ok(Some(std::mem::take(&mut self.early)));
        }
        let mut ping_at = Instant::now() + PING_EVERY;
        loop {
            let Ok(message) = time::timeout_at(ping_at, self.socket.next()).await else {
                self.send(Bytes::from_static(b"2")).await?;
                ping_at = Instant::now() + PING_EVERY;
                continue;
            };
            match message {
                None | Some(Ok(Message::Close(_)) | Err(tungstenite::Error::ConnectionClosed)) => {
                    return Ok(None);
                }
                Some(Err(error)) => return Err(ConsoleError::socket(error)),
                Some(Ok(message)) => match bytes(message) {
                    Some(bytes) if !bytes.is_empty() => return Ok(Some(bytes)),
                    _ => {}
                },
            }
        }
    }

    /// Types these bytes.
    pub async fn write(&mut self, typed: &[u8]) -> Result<(), ConsoleError> {
        self.send(input_frame(typed)).await
    }

    /// Tells the size of the terminal, in characters.
    pub async fn resize(&mut self, columns: u16, rows: u16) -> Result<(), ConsoleError> {
        self.send(resize_frame(columns, rows)).await
    }

    /// Leaves.
    pub async fn close(mut self) -> Result<(), ConsoleError> {
        self.socket.close(None).await.map_err(ConsoleError::socket)
    }

    async fn enter(&mut self, given: &TermTicket) -> Result<(), ConsoleError> {
        let line = format!("{}:{}\n", given.user, given.ticket.expose_secret());
        self.send(line.into()).await?;
        let mut said = BytesMut::new();
        while said.len() < 2 {
            match self.socket.next().await {
                Some(Ok(message)) => said.extend_from_slice(&bytes(message).unwrap_or_default()),
                // Whatever the socket says, a ticket that is not taken ends like this.
                Some(Err(_)) | None => return Err(ConsoleError::Refused),
            }
        }
        if !said.starts_with(b"OK") {
            return Err(ConsoleError::Refused);
        }
        self.early = said.split_off(2).freeze();
        Ok(())
    }

    async fn send(&mut self, frame: Bytes) -> Result<(), ConsoleError> {
        self.socket.send(Message::Binary(frame)).await.map_err(ConsoleError::socket)
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").field("upid", &self.upid).finish_non_exhaustive()
    }
}

impl ConsoleError {
    fn socket(error: tungstenite::Error) -> Self {
        Self::Socket(Box::new(error))
    }
}

/// A terminal's messages are small, and what claims to be one is not kept in memory without bounds.
fn bounded() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE))
}

fn bytes(message: Message) -> Option<Bytes> {
    match message {
        Message::Binary(bytes) => Some(bytes),
        Message::Text(text) => Some(text.into()),
        _ => None,
    }
}

fn input_frame(typed: &[u8]) -> Bytes {
    let mut frame = format!("0:{}:", typed.len()).into_bytes();
    frame.extend_from_slice(typed);
    frame.into()
}

fn resize_frame(columns: u16, rows: u16) -> Bytes {
    format!("1:{columns}:{rows}:").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_those_of_the_terminal_proxy() {
        // The length counts bytes, not characters.
        assert_eq!(input_frame("lä\n".as_bytes()), Bytes::from("0:4:lä\n"));
        assert_eq!(resize_frame(80, 24), Bytes::from("1:80:24:"));
    }

    #[test]
    fn a_console_is_asked_for_where_it_is() {
        let node: NodeName = "pve1".parse().expect("a name");
        let guest = ConsoleTarget::Guest {
            node: node.clone(),
            kind: GuestKind::Lxc,
            vmid: "104".parse().expect("an id"),
        };
        assert_eq!(termproxy(&guest).uri(), "/nodes/pve1/lxc/104/termproxy");
        let vmid = "104".parse().expect("an id");
        let serial = termproxy(&ConsoleTarget::Serial { node: node.clone(), vmid, port: 1 });
        assert_eq!(serial.uri(), "/nodes/pve1/qemu/104/termproxy");
        assert_eq!(serial.parameters().iter().collect::<Vec<_>>(), [("serial", "serial1")]);
        assert_eq!(termproxy(&ConsoleTarget::Node(node)).uri(), "/nodes/pve1/termproxy");
    }
}
