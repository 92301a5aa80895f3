//! The connection to a mail server, up to where SMTP begins: in the clear, in TLS, or from one to the other.

use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use lettre::transport::smtp::client::AsyncTokioStream;
use stdx::{Chain, tls};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
    time::timeout,
};

use super::config::{Config, Security};

/// How long a connection and its TLS may take.
const CONNECT: Duration = Duration::from_secs(20);
/// The longest answer of a server before TLS.
const MAX_ANSWER: usize = 16 * 1024;

/// A connection that begins with a server's greeting.
pub(super) struct Line {
    stream: Box<dyn Stream>,
    /// What is read before anything of the stream: after STARTTLS no server greets a second time.
    greeting: &'static [u8],
    peer: SocketAddr,
}

trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

/// Connects as the settings say.
pub(super) async fn open(config: &Config) -> Result<Line, String> {
    match timeout(CONNECT, connect(config)).await {
        Ok(connected) => connected,
        Err(_) => Err("it did not answer in time".to_owned()),
    }
}

async fn connect(config: &Config) -> Result<Line, String> {
    let (host, port) = (config.server.as_str(), config.port());
    let failed = |error: io::Error| error.to_string();
    let mut tcp = TcpStream::connect((host, port)).await.map_err(failed)?;
    let peer = tcp.peer_addr().map_err(failed)?;
    if config.security == Security::None {
        return Ok(Line { stream: Box::new(tcp), greeting: b"", peer });
    }
    let mut greeting: &[u8] = b"";
    if config.security == Security::StartTls {
        agree(&mut tcp).await?;
        greeting = b"220 in TLS\r\n";
    }
    let tls = tls::begin(tcp, host, port, &config.tls, CONNECT).await;
    let tls = tls.map_err(|error| Chain(&error).to_string())?;
    Ok(Line { stream: Box::new(tls), greeting, peer })
}

/// Agrees on TLS in the clear.
async fn agree(tcp: &mut TcpStream) -> Result<(), String> {
    answer(tcp, 220).await?;
    let failed = |error: io::Error| error.to_string();
    // What follows in TLS says who we are; this name is for a log at most.
    tcp.write_all(b"EHLO localhost\r\n").await.map_err(failed)?;
    let offered = answer(tcp, 250).await?;
    let has_tls =
        |line: &str| line.get(4..).is_some_and(|word| word.trim().eq_ignore_ascii_case("starttls"));
    if !offered.lines().any(has_tls) {
        return Err("it does not offer STARTTLS: set `security` to \"tls\", or to \"none\" if it is this machine's".to_owned());
    }
    tcp.write_all(b"STARTTLS\r\n").await.map_err(failed)?;
    answer(tcp, 220).await.map(|_| ())
}

/// Reads one answer, byte by byte so that nothing behind it is taken from TLS.
async fn answer(tcp: &mut TcpStream, wanted: u16) -> Result<String, String> {
    let mut text = Vec::new();
    loop {
        let byte = tcp.read_u8().await.map_err(|error| format!("it hung up ({error})"))?;
        text.push(byte);
        if text.len() > MAX_ANSWER {
            return Err("its answer does not end".to_owned());
        }
        let is_line = byte == b'\n';
        let last =
            text[..text.len() - 1].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        // `250-` goes on, `250 ` is the last line.
        if is_line && text.get(last + 3) != Some(&b'-') {
            let is_wanted = text[last..].starts_with(wanted.to_string().as_bytes());
            let text = String::from_utf8_lossy(&text).into_owned();
            if is_wanted {
                return Ok(text);
            }
            return Err(format!("it said {}", stdx::untrusted::line(text.trim(), 200)));
        }
    }
}

// === impl Line ===

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.greeting.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, into);
        }
        let (now, later) = self.greeting.split_at(self.greeting.len().min(into.remaining()));
        into.put_slice(now);
        self.greeting = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncTokioStream for Line {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("peer", &self.peer).finish_non_exhaustive()
    }
}
