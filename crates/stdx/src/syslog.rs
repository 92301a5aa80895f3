//! What senders of syslog share: a message as RFC 5424 has it, and one datagram.

use std::io;

use jiff::Timestamp;
use tokio::net::{UdpSocket, lookup_host};

/// Who sends, as receivers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Host, program and process.
    text: String,
}

// === impl Sender ===

impl Sender {
    /// A program on a host. What a header cannot hold is left out of the names.
    pub fn new(host: &str, program: &str, process: u32) -> Self {
        let (host, program) = (field(host, 255), field(program, 48));
        Self { text: format!("{host} {program} {process}") }
    }

    /// `<PRI>1 TIME HOST PROGRAM PROCESS KIND - TEXT`; `facility` and `severity` are the RFC's numbers.
    pub fn message(
        &self,
        (facility, severity): (u8, u8),
        time: Timestamp,
        kind: &str,
        text: &str,
    ) -> String {
        let priority = u16::from(facility) * 8 + u16::from(severity);
        // RFC 5424 has at most six digits of a second.
        let time = time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ");
        format!("<{priority}>1 {time} {} {} - {text}", self.text, field(kind, 32))
    }
}

/// A field is printable ASCII without blanks, or `-`.
fn field(given: &str, most: usize) -> String {
    let field: String = given.chars().filter(char::is_ascii_graphic).take(most).collect();
    if field.is_empty() { "-".to_owned() } else { field }
}

/// Sends one datagram to `host:port`; a socket for each, since messages are rare and a name may mean
/// another address by now. Nobody knows whether it arrived.
///
/// # Errors
///
/// When the name has no address, or none of them can be sent to.
pub async fn send_udp(address: &str, message: &[u8]) -> io::Result<usize> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_as_the_rfc_has_them() {
        let time = "2026-11-22T12:00:00.123456789Z".parse().unwrap();
        let sender = Sender::new("pve mcp\n", "prog ram", 4711);
        assert_eq!(
            sender.message((13, 6), time, "audit", r#"{"seq":1}"#),
            r#"<110>1 2026-11-22T12:00:00.123456Z pvemcp program 4711 audit - {"seq":1}"#
        );
        let nobody = Sender::new("", "é", 1).message((0, 0), time, " ", "x");
        assert_eq!(nobody, "<0>1 2026-11-22T12:00:00.123456Z - - 1 - - x");
    }
}
