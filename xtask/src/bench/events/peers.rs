//! Servers that inputs listen to, of which none has anything to say: a mailbox, Gotify and ntfy.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::Result;
use base64::Engine as _;
use ring::digest;

/// What a websocket's key is answered with is made with this (RFC 6455, 1.3).
const WEBSOCKET: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// All of them, and who has come to listen.
#[derive(Clone, Default)]
pub(super) struct Peers {
    mailbox: Arc<AtomicBool>,
    push: Arc<AtomicBool>,
    topic: Arc<AtomicBool>,
}

// === impl Peers ===

impl Peers {
    /// Starts them, and gives the settings of the inputs that listen to them.
    pub(super) fn listen() -> Result<(Self, String)> {
        let peers = Self::default();
        let mail = serve(&peers, Self::mailbox)?;
        let web = serve(&peers, Self::web)?;
        let sections = format!(
            "[input.mailbox]\ntype = \"imap\"\nserver = \"imap://127.0.0.1:{mail}\"\n\
             user = \"events\"\npassword = \"secret\"\n\
             [input.push]\ntype = \"gotify\"\nserver = \"http://127.0.0.1:{web}\"\n\
             token = \"C00000000000000\"\n\
             [input.topic]\ntype = \"ntfy\"\nserver = \"http://127.0.0.1:{web}\"\n\
             topics = [\"proxmox\"]\n"
        );
        Ok((peers, sections))
    }

    /// Whether somebody waits for news at each of them.
    pub(super) fn are_all_heard(&self) -> bool {
        [&self.mailbox, &self.push, &self.topic].iter().all(|it| it.load(Ordering::Relaxed))
    }

    /// An empty mailbox.
    fn mailbox(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let lines = BufReader::new(stream.try_clone()?).lines();
        stream.write_all(b"* OK [CAPABILITY IMAP4rev1 IDLE] ready\r\n")?;
        let mut idling = String::new();
        for line in lines {
            let line = line?;
            let (tag, command) = line.split_once(' ').unwrap_or((&line, ""));
            let word = command.split(' ').next().unwrap_or_default().to_ascii_uppercase();
            let said = match word.as_str() {
                "IDLE" => {
                    tag.clone_into(&mut idling);
                    self.mailbox.store(true, Ordering::Relaxed);
                    stream.write_all(b"+ idling\r\n")?;
                    continue;
                }
                "" => {
                    // What ends the waiting has no tag of its own.
                    stream.write_all(format!("{idling} OK done\r\n").as_bytes())?;
                    continue;
                }
                "CAPABILITY" => "* CAPABILITY IMAP4rev1 IDLE\r\n",
                "SELECT" | "EXAMINE" => {
                    "* 0 EXISTS\r\n* FLAGS (\\Seen)\r\n* OK [UIDVALIDITY 1] it\r\n* OK [UIDNEXT 1] it\r\n"
                }
                "UID" => "* SEARCH\r\n",
                _ => "",
            };
            stream.write_all(format!("{said}{tag} OK done\r\n").as_bytes())?;
        }
        Ok(())
    }

    /// A Gotify server and an ntfy server in one.
    fn web(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        while let Some(first) = lines.next().transpose()? {
            let mut key = String::new();
            for line in lines.by_ref() {
                let line = line?;
                if line.is_empty() {
                    break;
                }
                if let Some((name, value)) = line.split_once(':')
                    && name.eq_ignore_ascii_case("sec-websocket-key")
                {
                    value.trim().clone_into(&mut key);
                }
            }
            if first.starts_with("GET /stream") {
                self.push.store(true, Ordering::Relaxed);
                let text = format!("{key}{WEBSOCKET}");
                let accept = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
                let accept = base64::prelude::BASE64_STANDARD.encode(accept);
                stream.write_all(
                    format!(
                        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\
                         connection: upgrade\r\nsec-websocket-accept: {accept}\r\n\r\n"
                    )
                    .as_bytes(),
                )?;
            } else if first.starts_with("GET /proxmox/json") {
                self.topic.store(true, Ordering::Relaxed);
                let open =
                    r#"{"id":"open00000000","time":1796000000,"event":"open","topic":"proxmox"}"#;
                stream.write_all(
                    format!(
                        "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\n\r\n{open}\n"
                    )
                    .as_bytes(),
                )?;
            } else {
                let list = r#"{"messages":[],"paging":{"limit":50,"since":0,"size":0}}"#;
                stream.write_all(
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{list}", list.len())
                        .as_bytes(),
                )?;
            }
        }
        Ok(())
    }
}

/// Listens, with a thread for each connection; gives the port.
fn serve(
    peers: &Peers,
    answer: impl Fn(&Peers, TcpStream) -> std::io::Result<()> + Copy + Send + 'static,
) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let peers = peers.clone();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let peers = peers.clone();
            thread::spawn(move || {
                // A connection that breaks off is opened again by whoever listens.
                answer(&peers, stream).ok();
            });
        }
    });
    Ok(port)
}
