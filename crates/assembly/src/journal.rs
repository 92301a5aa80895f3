//! Writes what was done into the audit chain of the store.

use async_trait::async_trait;
use mcp_tools::journal::{Entry, Journal};
use store::{LazyStore, NewAuditRecord};

/// The journal that survives.
pub struct AuditJournal(LazyStore);

impl AuditJournal {
    /// Over this store.
    pub fn new(store: LazyStore) -> Self {
        Self(store)
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
        let store = self.0.get().await.map_err(|error| stdx::Chain(&error).to_string())?;
        store.append(record).await.map_err(|error| stdx::Chain(&error).to_string())?;
        Ok(())
    }
}
