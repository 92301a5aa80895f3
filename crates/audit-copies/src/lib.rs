//! Copies of audit records to syslog and webhooks.
//!
//! A copy is for whoever must not trust this machine alone: what was done is then known elsewhere
//! before anybody here can take it back. The log itself is in the store; a copy never holds up an
//! action and never fails one. What cannot be delivered is dropped, counted and said: in our own log,
//! and to the receiver as soon as it can be reached again.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use audit_copies::{Copies, Copy, Sender, Target};
//!
//! let target: Target = "udp://log.example.lan:514".parse()?;
//! let copies = Copies::start(vec![target], &Sender::new("pve-mcp", 4711))?;
//! copies.copy(&Copy { time: "2026-11-22T12:00:00Z".parse()?, hash: "ab".into(), line: "{}".into() });
//! copies.finish(std::time::Duration::from_secs(2)).await;
//! # Ok(())
//! # }
//! ```
//!
//! *Invariant:* [`Copies::copy`] neither waits nor fails. *Invariant:* knows nothing of stores,
//! tools or policy: a record is its line of JSON.

mod lane;
mod syslog;
mod target;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

pub use target::{InvalidTarget, Target};

use crate::lane::Lane;
use crate::syslog::Syslog;
use crate::webhook::Webhook;

/// One record, to be copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// When it was written.
    pub time: Timestamp,
    /// Its hash: receivers know by it what they have already.
    pub hash: String,
    /// The record as one line of JSON.
    pub line: String,
}

/// Who sends, as receivers see it.
#[derive(Clone, Debug)]
pub struct Sender {
    host: String,
    process: u32,
}

/// The targets of copies could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("set up copies of audit records to {target}")]
pub struct CopiesError {
    target: String,
    #[source]
    source: stdx::http::HttpError,
}

/// The targets, each with a queue and a task of its own.
#[derive(Debug)]
pub struct Copies {
    lanes: Vec<Lane>,
}

// === impl Sender ===

impl Sender {
    /// This host and this process.
    pub fn new(host: impl Into<String>, process: u32) -> Self {
        Self { host: host.into(), process }
    }

    fn of_syslog(&self) -> stdx::syslog::Sender {
        stdx::syslog::Sender::new(&self.host, "proxmox-mcp", self.process)
    }
}

// === impl Copies ===

impl Copies {
    /// Starts one task per target on the runtime that runs.
    ///
    /// # Errors
    ///
    /// When an HTTP client cannot be made.
    pub fn start(targets: Vec<Target>, sender: &Sender) -> Result<Self, CopiesError> {
        let mut lanes = Vec::new();
        for target in targets {
            let name = target.to_string();
            lanes.push(match target {
                Target::Udp(address) => Lane::start(name, Syslog::udp(address, sender)),
                Target::Unix(path) => Lane::start(name, Syslog::unix(path, sender)),
                Target::Webhook(url) => {
                    let failed = |source| CopiesError { target: name.clone(), source };
                    let webhook = Webhook::new(url).map_err(failed)?;
                    Lane::start(name, webhook)
                }
            });
        }
        Ok(Self { lanes })
    }

    /// Takes a copy for every target; where a queue is full it is dropped and counted.
    pub fn copy(&self, copy: &Copy) {
        let copy = Arc::new(copy.clone());
        for lane in &self.lanes {
            lane.offer(Arc::clone(&copy));
        }
    }

    /// How many copies were dropped so far, for all targets.
    pub fn dropped(&self) -> u64 {
        self.lanes.iter().map(Lane::dropped).sum()
    }

    /// Waits until everything has been delivered or dropped, at most so long, and says how many
    /// were left.
    pub async fn finish(&self, within: Duration) -> u64 {
        let end = Instant::now() + within;
        let mut left = 0;
        for lane in &self.lanes {
            left += lane.finish(end).await;
        }
        left
    }
}
