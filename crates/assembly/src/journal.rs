//! Writes what was done into the audit chain of the store.

use async_trait::async_trait;
use mcp_tools::journal::{Entry, Journal};
use store::{NewAuditRecord, SignedLog};

/// The journal that survives.
pub struct AuditJournal(SignedLog);

impl AuditJournal {
    /// Into this log.
    pub fn new(log: SignedLog) -> Self {
        Self(log)
    }
}

#[async_trait]
impl Journal for AuditJournal {
    async fn record(&self, entry: Entry) -> Result<(), String> {
        let record = NewAuditRecord {
            time: entry.time,
            principal: entry.principal,
            action: entry.action,
            target: entry.target,
            payload: entry.payload,
        };
        self.0.append(record).await.map_err(|error| stdx::Chain(&error).to_string())?;
        Ok(())
    }
}
