//! `[manager]`: the daemon and its control socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use url::Url;

use crate::error::Complaint;
use crate::layers::Merged;
use crate::load::Loader;

/// `[manager]`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ManagerSettings {
    /// Where the control socket stands; in the state folder, if nothing is said.
    pub socket: Option<PathBuf>,
    /// The group that may connect, by name or number.
    pub socket_group: Option<String>,
    /// Whether HTTP is served.
    pub http: bool,
    /// Where people reach it.
    pub public_url: Option<String>,
    /// Whether a manager waits while another one has its store.
    pub standby: bool,
    /// How long work may take to end when the manager is told to stop.
    pub drain: Duration,
}

/// `[manager]` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawManager {
    socket: Option<PathBuf>,
    socket_group: Option<String>,
    http: bool,
    public_url: Option<String>,
    standby: bool,
    drain_secs: u64,
}

// === impl ManagerSettings ===

impl ManagerSettings {
    /// Where the control socket of this state folder stands.
    pub fn socket_in(&self, state: &Path, name: &str) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| state.join(name))
    }
}

// === impl Loader ===

impl Loader<'_> {
    /// `[manager]`, or `None` after an error that says why not.
    pub(crate) fn manager(&mut self, merged: &Merged) -> Option<ManagerSettings> {
        let raw: RawManager = self.extract(merged, &["manager"])?;
        let mut say = |key: &str, complaint| {
            let path = ["manager".to_owned(), key.to_owned()];
            self.findings.error(&merged.origin(&path), format!("manager.{key}"), complaint);
        };
        if let Some(complaint) = raw.public_url.as_deref().and_then(wrong_address) {
            say("public_url", complaint);
            return None;
        }
        if raw.socket_group.as_deref().is_some_and(|group| group.is_empty() || group.contains(':'))
        {
            let hint = "it takes the name or the number of a group of this system";
            say("socket_group", Complaint::new("is no group", hint));
            return None;
        }
        Some(ManagerSettings {
            socket: raw.socket,
            socket_group: raw.socket_group,
            http: raw.http,
            public_url: raw.public_url,
            standby: raw.standby,
            drain: Duration::from_secs(raw.drain_secs),
        })
    }
}

/// What is wrong with the address that people are sent to.
fn wrong_address(given: &str) -> Option<Complaint> {
    let hint = "it takes scheme, host and port, for example https://mcp.example.lan:8808";
    let shown: String = given.chars().take(60).collect();
    let Ok(url) = Url::parse(given) else {
        return Some(Complaint::new(format!("is {shown:?}"), hint));
    };
    let is_plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    let is_loopback = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    match url.scheme() {
        "https" if is_plain && url.has_host() => None,
        // A link is a secret: over plain HTTP everybody on the way could use it first.
        "http" if is_plain && is_loopback => None,
        "http" => Some(Complaint::new("would send links unencrypted", "use https")),
        _ => Some(Complaint::new(format!("is {shown:?}"), hint)),
    }
}
