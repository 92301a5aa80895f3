//! What was done, written down: the seam between tools and the audit log.
//!
//! Every call above `Read` leaves two entries: one before anything is sent, one with its outcome.
//! If the first cannot be written the call does not run: an action that nobody could ever find
//! again is worse than one that waits.

use std::sync::Arc;

use async_trait::async_trait;
use guard::Principal;
use jiff::Timestamp;
use serde_json::Value;

use crate::redaction::Redaction;

/// One thing to write down.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When.
    pub time: Timestamp,
    /// Who.
    pub principal: Principal,
    /// What, as `guest_power.begin` or `guest_power.done`.
    pub action: String,
    /// On what, as far as the arguments say.
    pub target: String,
    /// Arguments or outcome, redacted.
    pub payload: Value,
}

/// Where entries go.
#[async_trait]
pub trait Journal: Send + Sync + 'static {
    /// Writes the entry; it is durable when this returns. The error is fit to be shown.
    async fn record(&self, entry: Entry) -> Result<(), String>;

    /// As [`Journal::record`], for an entry behind which more is to come: it is durable when this
    /// returns, and what a log does besides, such as signing, goes on until [`Journal::settle`].
    async fn record_ahead(&self, entry: Entry) -> Result<(), String> {
        self.record(entry).await
    }

    /// Waits until everything is done for what was recorded ahead.
    async fn settle(&self) {}
}

/// A journal that no secret reaches, whoever writes into it.
pub struct Redacting {
    inner: Arc<dyn Journal>,
    redaction: Redaction,
}

// === impl Redacting ===

impl Redacting {
    /// Takes secrets out of what goes into `inner`.
    pub fn new(inner: Arc<dyn Journal>, redaction: Redaction) -> Self {
        Self { inner, redaction }
    }

    fn redact(&self, entry: &mut Entry) {
        self.redaction.sentence(&mut entry.target);
        self.redaction.json(&mut entry.payload);
    }
}

#[async_trait]
impl Journal for Redacting {
    async fn record(&self, mut entry: Entry) -> Result<(), String> {
        self.redact(&mut entry);
        self.inner.record(entry).await
    }

    async fn record_ahead(&self, mut entry: Entry) -> Result<(), String> {
        self.redact(&mut entry);
        self.inner.record_ahead(entry).await
    }

    async fn settle(&self) {
        self.inner.settle().await;
    }
}
