//! The syslog output: each message as one or more lines of RFC 5424.
//!
//! Over TCP and TLS each line stands behind its length (RFC 6587). Syslog has no answers: over UDP nobody knows what
//! arrived; over TCP a receiver that hangs up in the middle is noticed, and what was sent to it is sent again.

use std::{fmt, io, str::FromStr, time::Duration};

use async_trait::async_trait;
use event_core::{ComponentId, Delivery, EventSink, Receipt, Retry, Severity, SinkError};
use serde_json::Value;
use stdx::{
    Chain,
    syslog::{Sender, send_udp},
    tls::{self, TlsOptions},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, lookup_host},
    time::timeout,
};

use crate::{
    InvalidConfig, Kit, Wording, line,
    template::{Templates, urgency},
};

/// How long a connection may take, and one delivery over it.
const CONNECT: Duration = Duration::from_secs(10);
const SEND: Duration = Duration::from_secs(30);
/// How long a receiver may take to hang up after we have; one that takes longer has most likely read it all.
const GOODBYE: Duration = Duration::from_secs(5);
/// What every receiver should take in one datagram (RFC 5424, 6.1).
const MOST_OF_A_DATAGRAM: usize = 2048;
/// What receivers take by default over a stream.
const MOST_OF_A_STREAM: usize = 8000;
/// What stands before the text, at most.
const HEAD: usize = 400;

/// Settings of a syslog output.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Who receives.
    pub target: Target,
    /// How a receiver over TLS proves itself.
    pub tls: TlsOptions,
    /// RFC 5424's number of the facility: 3 is for daemons, 16 to 23 are of local use.
    pub facility: u8,
    /// The name of this host.
    pub host: String,
    /// The number of this process.
    pub process: u32,
    /// Other words.
    pub wording: Wording,
}

/// Who receives: `udp://host:port`, `tcp://host:port`, `tls://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A datagram for each line.
    Udp(String),
    /// A connection for each delivery.
    Tcp(String),
    /// The same within TLS; host, without brackets, and port.
    Tls(String, u16),
}

/// The text names no receiver of syslog.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no receiver of syslog: write udp://HOST:PORT, tcp://HOST:PORT or tls://HOST:PORT"
)]
pub struct InvalidTarget(String);

/// The output.
pub struct Syslog {
    id: ComponentId,
    kit: Kit,
    config: Config,
    sender: Sender,
    templates: Templates,
}

// === impl Config ===

impl Config {
    /// To this receiver, as this process of this host.
    pub fn new(target: Target, host: impl Into<String>, process: u32) -> Self {
        Self {
            target,
            tls: TlsOptions::default(),
            facility: 3,
            host: host.into(),
            process,
            wording: Wording::default(),
        }
    }
}

// === impl Target ===

impl FromStr for Target {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || InvalidTarget(text.chars().take(80).collect());
        let (scheme, address) = text.split_once("://").ok_or_else(wrong)?;
        let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
        let port: u16 = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
        let is_bare_v6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
        if host.is_empty() || host.contains(['/', '@', ' ']) || is_bare_v6 {
            return Err(wrong());
        }
        match scheme {
            "udp" => Ok(Self::Udp(address.to_owned())),
            "tcp" => Ok(Self::Tcp(address.to_owned())),
            "tls" => Ok(Self::Tls(host.trim_matches(['[', ']']).to_owned(), port)),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(address) => write!(f, "udp://{address}"),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Tls(host, port) if host.contains(':') => write!(f, "tls://[{host}]:{port}"),
            Self::Tls(host, port) => write!(f, "tls://{host}:{port}"),
        }
    }
}

// === impl Syslog ===

impl Syslog {
    /// An output of this name.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn try_new(id: ComponentId, config: Config, kit: &Kit) -> Result<Self, InvalidConfig> {
        if config.facility > 23 {
            return Err(InvalidConfig::new(&id, "`facility` is none: it is a number from 0 to 23"));
        }
        let templates = Templates::try_new(&id, &line::slots(&config.wording))?;
        let sender = Sender::new(&config.host, "proxmox-mcp", config.process);
        Ok(Self { id, kit: kit.clone(), config, sender, templates })
    }

    fn error(&self, why: &str) -> SinkError {
        let said = format!("tell `{}` at {}: {why}", self.id, self.config.target);
        SinkError::new(Retry::Backoff, said)
    }

    fn lines(&self, delivery: &Delivery) -> Vec<String> {
        let most = match self.config.target {
            Target::Udp(_) => MOST_OF_A_DATAGRAM,
            Target::Tcp(_) | Target::Tls(..) => MOST_OF_A_STREAM,
        };
        let message = &delivery.message;
        let lines = line::lines(message, &self.templates, &self.kit.instance, most - HEAD);
        let priority = (self.config.facility, severity(urgency(message)));
        let kind = message.kind.as_str();
        let as_message = |line: String| self.sender.message(priority, message.written, kind, &line);
        lines.into_iter().map(as_message).collect()
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, String> {
        let connecting = async {
            match &self.config.target {
                Target::Tls(host, port) => {
                    let tls = tls::connect(host, *port, &self.config.tls, CONNECT).await;
                    let tls = tls.map_err(|error| Chain(&error).to_string())?;
                    Ok(Box::new(tls) as Box<dyn Stream>)
                }
                Target::Tcp(address) | Target::Udp(address) => {
                    let tcp = TcpStream::connect(address).await;
                    Ok(Box::new(tcp.map_err(|error| error.to_string())?) as Box<dyn Stream>)
                }
            }
        };
        let connected = timeout(CONNECT, connecting).await;
        connected.unwrap_or_else(|_| Err("it did not answer in time".to_owned()))
    }
}

#[async_trait]
impl EventSink for Syslog {
    fn id(&self) -> &ComponentId {
        &self.id
    }

    /// Connects and hangs up; over UDP there is nothing but the name to look up.
    async fn check(&self) -> Result<String, SinkError> {
        let Target::Udp(address) = &self.config.target else {
            let mut stream = self.connect().await.map_err(|why| self.error(&why))?;
            // It has shown what it was to show; how it says goodbye does not matter.
            let _ = timeout(GOODBYE, stream.shutdown()).await;
            return Ok(format!("{} takes connections", self.config.target));
        };
        let known = lookup_host(address).await.map_err(|error| self.error(&error.to_string()))?;
        match known.count() {
            0 => Err(self.error("the name has no address")),
            _ => Ok(format!("{} has an address; UDP does not say more", self.config.target)),
        }
    }

    async fn deliver(&self, delivery: &Delivery) -> Result<Receipt, SinkError> {
        let lines = self.lines(delivery);
        let receipt = Receipt { ids: vec![delivery.key.as_str().to_owned()], extra: Value::Null };
        if let Target::Udp(address) = &self.config.target {
            for line in &lines {
                let sent = send_udp(address, line.as_bytes()).await;
                sent.map_err(|error| self.error(&error.to_string()))?;
            }
            return Ok(receipt);
        }
        let mut stream = self.connect().await.map_err(|why| self.error(&why))?;
        let framed: Vec<String> =
            lines.iter().map(|line| format!("{} {line}", line.len())).collect();
        let sent = match timeout(SEND, send(&mut stream, framed.concat().as_bytes())).await {
            Ok(sent) => sent.map_err(|error| error.to_string()),
            Err(_) => Err("it did not take it in time".to_owned()),
        };
        sent.map_err(|why| self.error(&why).maybe_sent())?;
        Ok(receipt)
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Sends it all, and waits until the other side has hung up as well: a connection that is reset has lost something.
async fn send(stream: &mut Box<dyn Stream>, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.shutdown().await?;
    let mut rest = [0; 256];
    let goodbye = async {
        while stream.read(&mut rest).await? > 0 {}
        Ok::<(), io::Error>(())
    };
    match timeout(GOODBYE, goodbye).await {
        // Many receivers end TLS by closing the connection; that loses nothing that we have sent.
        Ok(Err(error)) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
        _ => Ok(()),
    }
}

fn severity(severity: Severity) -> u8 {
    match severity {
        Severity::Critical => 2,
        Severity::Error => 3,
        Severity::Warning => 4,
        Severity::Notice => 5,
        Severity::Info => 6,
        Severity::Debug => 7,
    }
}

impl fmt::Debug for Syslog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Syslog").field("id", &self.id).finish_non_exhaustive()
    }
}
