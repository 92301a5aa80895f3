//! What was done, written down: the seam between tools and the audit log.
//!
//! Every call above `Read` leaves two entries: one before anything is sent, one with its outcome.
//! If the first cannot be written the call does not run: an action that nobody could ever find
//! again is worse than one that waits.

use async_trait::async_trait;
use guard::Principal;
use jiff::Timestamp;
use serde_json::Value;

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
}
