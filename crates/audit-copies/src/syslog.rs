//! Syslog messages as RFC 5424 has them, one per datagram.

use std::path::PathBuf;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::json;
use tokio::net::UnixDatagram;

use crate::lane::Transport;
use crate::{Copy, Sender};

/// Facility 13, the log audit.
const FACILITY: u8 = 13;
const INFORMATIONAL: u8 = 6;
const WARNING: u8 = 4;
/// What fits in a datagram with room to spare; what does not is sent without the record's content.
const LONGEST: usize = 60_000;

/// Sends to one receiver. Over UDP nobody knows whether a message arrived.
pub(crate) struct Syslog {
    place: Place,
    sender: stdx::syslog::Sender,
}

enum Place {
    Udp(String),
    Unix(PathBuf),
}

// === impl Syslog ===

impl Syslog {
    pub(crate) fn udp(address: String, sender: &Sender) -> Self {
        Self { place: Place::Udp(address), sender: sender.of_syslog() }
    }

    pub(crate) fn unix(path: PathBuf, sender: &Sender) -> Self {
        Self { place: Place::Unix(path), sender: sender.of_syslog() }
    }

    fn message(&self, severity: u8, time: Timestamp, text: &str) -> String {
        self.sender.message((FACILITY, severity), time, "audit", text)
    }

    async fn send_message(&self, message: &str) -> Result<(), String> {
        match &self.place {
            Place::Udp(address) => stdx::syslog::send_udp(address, message.as_bytes()).await,
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
        let whole = self.message(INFORMATIONAL, copy.time, &copy.line);
        if whole.len() <= LONGEST {
            return self.send_message(&whole).await;
        }
        let short = json!({ "hash": copy.hash, "left_out": "it is too long for a datagram" });
        let short = self.message(INFORMATIONAL, copy.time, &short.to_string());
        self.send_message(&short).await
    }

    async fn tell_dropped(&self, count: u64, last: &Copy) -> Result<(), String> {
        let text = json!({ "dropped": count, "before": last.hash }).to_string();
        self.send_message(&self.message(WARNING, last.time, &text)).await
    }
}
