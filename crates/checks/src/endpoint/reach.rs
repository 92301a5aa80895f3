//! Whether anything is there.

use std::{io, time::Duration};

use super::Place;
use crate::{finding::Finding, product::words};

const CHECK: &str = "reach";

/// Why no connection came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// The name has no address here.
    NoName(String),
    /// The machine is there, and nothing listens.
    Refused,
    /// Nothing answered in this time.
    Silent(Duration),
    /// The connection was taken and ended at once.
    Reset,
    /// No way leads there.
    NoRoute(String),
    /// Something else.
    Other(String),
    /// The way through a proxy did not work.
    Proxy(String),
}

// === impl Obstacle ===

impl Obstacle {
    pub(crate) fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                Self::NoRoute(error.to_string())
            }
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => Self::Reset,
            io::ErrorKind::TimedOut => Self::Silent(Duration::ZERO),
            _ => Self::Other(error.to_string()),
        }
    }
}

pub(crate) fn passed(place: &Place<'_>) -> Finding {
    Finding::pass(&place.subject, CHECK, "connected")
}

pub(crate) fn through_proxy(place: &Place<'_>) -> Finding {
    Finding::pass(&place.subject, CHECK, "answers through the proxy")
}

/// The finding with what a person can do.
pub(crate) fn failed(place: &Place<'_>, obstacle: &Obstacle) -> Finding {
    let words = words(place.product);
    let (host, port) = (&place.target.host, place.target.port);
    let fail = |detail: String| Finding::fail(&place.subject, CHECK, detail);
    match obstacle {
        Obstacle::NoName(why) => fail(format!("{host} has no address here: {why}"))
            .hint(format!("see what `getent hosts {host}` says on this machine"))
            .hint(format!(
                "or write the server's address instead of its name into endpoints of [{}.{}]; with \
                 ca_file also server_name = \"{host}\"",
                words.section, place.key
            )),
        Obstacle::Refused => {
            let finding = fail(format!("nothing listens on port {port} of {host}"))
                .hint(format!("on the server: `systemctl status {}`", words.service));
            if port == words.port {
                finding
            } else {
                let usual = words.port;
                finding.hint(format!("{} listens on port {usual} unless told otherwise", words.name))
            }
        }
        Obstacle::Silent(patience) => {
            let time = match patience.as_secs() {
                0 => String::new(),
                seconds => format!(" within {seconds} s"),
            };
            fail(format!("no answer from {host}:{port}{time}")).hint(format!(
                "is the machine on, and does a firewall drop port {port}? try `curl -k {}` from here",
                place.target.url
            ))
        }
        Obstacle::Reset => fail(format!("{host}:{port} ended the connection at once")).hint(format!(
            "a firewall may end it, or the service is just starting: on the server, `systemctl status {}`",
            words.service
        )),
        Obstacle::NoRoute(why) => fail(format!("no way to {host}: {why}")).hint(
            "see that this machine has a route (VPN, VLAN, gateway) to the server's network",
        ),
        Obstacle::Other(why) => fail(format!("cannot connect to {host}:{port}: {why}"))
            .hint(format!("try `curl -k {}` from here", place.target.url)),
        Obstacle::Proxy(why) => fail(format!("no answer through the proxy: {why}")).hint(format!(
            "see proxy in [{}.{}]; without it the connection is direct",
            words.section, place.key
        )),
    }
}
