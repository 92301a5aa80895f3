//! The store's outbox as the couriers see it.

use std::sync::Arc;

use async_trait::async_trait;
use event_core::{ComponentId, DeliveryKey, LogError, LogErrorKind, Outbox, Queued, Receipt};
use jiff::Timestamp;
use store::{Store, Told};

/// The outbox of one output. `service` is whose names stand in its receipts.
pub(crate) struct StoreOutbox {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) service: String,
}

#[async_trait]
impl Outbox for StoreOutbox {
    async fn due(
        &self,
        output: &ComponentId,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Queued>, LogError> {
        let mut queued = Vec::new();
        for it in self.store.due(output, now, limit).await.map_err(failed)? {
            let message = match it.message {
                Ok(message) => message,
                Err(error) => {
                    let why =
                        format!("{}: another version of this program made it", stdx::Chain(&error));
                    self.store.bury(&it.key, &why, now).await.map_err(failed)?;
                    continue;
                }
            };
            let prior = match &it.incident {
                Some(incident) => {
                    self.store.prior_receipt(output, incident).await.map_err(failed)?
                }
                None => None,
            };
            queued.push(Queued {
                key: it.key,
                incident: it.incident,
                attempts: it.attempts,
                made: it.made,
                prior,
                so_far: it.receipt,
                message,
            });
        }
        Ok(queued)
    }

    async fn delivered(
        &self,
        key: &DeliveryKey,
        receipt: &Receipt,
        now: Timestamp,
    ) -> Result<(), LogError> {
        self.store.delivered(key, self.told(receipt), now).await.map_err(failed)?;
        Ok(())
    }

    async fn failed(
        &self,
        key: &DeliveryKey,
        error: &str,
        due: Timestamp,
        so_far: Option<&Receipt>,
    ) -> Result<(), LogError> {
        let so_far = so_far.map(|receipt| self.told(receipt));
        self.store.failed(key, error, due, so_far).await.map_err(failed)?;
        Ok(())
    }

    async fn bury(&self, key: &DeliveryKey, error: &str, now: Timestamp) -> Result<(), LogError> {
        self.store.bury(key, error, now).await.map_err(failed)?;
        Ok(())
    }
}

// === impl StoreOutbox ===

impl StoreOutbox {
    fn told<'a>(&'a self, receipt: &'a Receipt) -> Told<'a> {
        Told { service: &self.service, receipt }
    }
}

fn failed(error: store::Error) -> LogError {
    let kind = match error.kind() {
        store::ErrorKind::Corrupt | store::ErrorKind::NewerSchema => LogErrorKind::Damaged,
        _ => LogErrorKind::Unavailable,
    };
    LogError::new(kind, "work on the outbox").because(error)
}
