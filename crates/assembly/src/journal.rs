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
        self.0.append(record(entry)).await.map_err(|error| stdx::Chain(&error).to_string())?;
        Ok(())
    }

    async fn record_ahead(&self, entry: Entry) -> Result<(), String> {
        self.0
            .append_ahead(record(entry))
            .await
            .map_err(|error| stdx::Chain(&error).to_string())?;
        Ok(())
    }

    async fn settle(&self) {
        self.0.settle().await;
    }
}

fn record(entry: Entry) -> NewAuditRecord {
    NewAuditRecord {
        time: entry.time,
        principal: entry.principal,
        action: entry.action,
        target: entry.target,
        payload: entry.payload,
    }
}
