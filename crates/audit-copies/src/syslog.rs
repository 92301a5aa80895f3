//! Syslog messages as RFC 5424 has them, one per datagram.

use std::path::PathBuf;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::json;
use tokio::net::{UdpSocket, UnixDatagram, lookup_host};

use crate::lane::Transport;
use crate::{Copy, Sender};

/// Facility 13, the log audit.
const FACILITY: u32 = 13;
const INFORMATIONAL: u32 = 6;
const WARNING: u32 = 4;
/// What fits in a datagram with room to spare; what does not is sent without the record's content.
const LONGEST: usize = 60_000;

/// Sends to one receiver. Over UDP nobody knows whether a message arrived.
pub(crate) struct Syslog {
    place: Place,
    /// Host, program, process and kind of message.
    origin: String,
}

enum Place {
    Udp(String),
    Unix(PathBuf),
}

// === impl Syslog ===

impl Syslog {
    pub(crate) fn udp(address: String, sender: &Sender) -> Self {
        Self { place: Place::Udp(address), origin: origin(sender) }
    }

    pub(crate) fn unix(path: PathBuf, sender: &Sender) -> Self {
        Self { place: Place::Unix(path), origin: origin(sender) }
    }

    async fn send_message(&self, message: &str) -> Result<(), String> {
        match &self.place {
            Place::Udp(address) => send_udp(address, message.as_bytes()).await,
            Place::Unix(path) => {
                let sent = async {
                    let socket = UnixDatagram::unbound()?;
                    socket.connect(path)?;
                    socket.send(message.as_bytes()).await
                };
                sent.await
            }
        }
        .map(|_| ())
        .map_err(|error| error.to_string())
    }
}

#[async_trait]
impl Transport for Syslog {
    fn attempts(&self) -> u32 {
        // A receiver that is being restarted is back by then.
        3
    }

    async fn send(&self, copy: &Copy) -> Result<(), String> {
        let whole = message(INFORMATIONAL, copy.time, &self.origin, &copy.line);
        if whole.len() <= LONGEST {
            return self.send_message(&whole).await;
        }
        let short = json!({ "hash": copy.hash, "left_out": "it is too long for a datagram" });
        let short = message(INFORMATIONAL, copy.time, &self.origin, &short.to_string());
        self.send_message(&short).await
    }

    async fn tell_dropped(&self, count: u64, last: &Copy) -> Result<(), String> {
        let text = json!({ "dropped": count, "before": last.hash }).to_string();
        self.send_message(&message(WARNING, last.time, &self.origin, &text)).await
    }
}

/// A socket per message: records are rare, and a name may mean another address by now.
async fn send_udp(address: &str, message: &[u8]) -> std::io::Result<usize> {
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
    for receiver in lookup_host(address).await? {
        let any = if receiver.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let sent = async {
            let socket = UdpSocket::bind(any).await?;
            socket.send_to(message, receiver).await
        };
        match sent.await {
            Ok(length) => return Ok(length),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// `<PRI>1 TIME HOST proxmox-mcp PROCESS audit - TEXT`.
fn message(severity: u32, time: Timestamp, origin: &str, text: &str) -> String {
    let priority = FACILITY * 8 + severity;
    // RFC 5424 has at most six digits of a second.
    let time = time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ");
    format!("<{priority}>1 {time} {origin} - {text}")
}

fn origin(sender: &Sender) -> String {
    // A field is printable ASCII without blanks; a host has at most 255 characters.
    let host: String = sender.host.chars().filter(char::is_ascii_graphic).take(255).collect();
    let host = if host.is_empty() { "-" } else { &host };
    format!("{host} proxmox-mcp {} audit", sender.process)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn messages_are_as_the_rfc_has_them() {
        let time = "2026-11-22T12:00:00.123456789Z".parse().unwrap();
        let origin = origin(&Sender::new("pve mcp\n", 4711));
        expect![[
            r#"<110>1 2026-11-22T12:00:00.123456Z pvemcp proxmox-mcp 4711 audit - {"seq":1}"#
        ]]
        .assert_eq(&message(INFORMATIONAL, time, &origin, r#"{"seq":1}"#));
        assert_eq!(super::origin(&Sender::new("", 1)), "- proxmox-mcp 1 audit");
    }
}
