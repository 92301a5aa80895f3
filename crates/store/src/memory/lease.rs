//! A store in memory belongs to whoever asked first in this process.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::MemoryStore;
use crate::Error;
use crate::lease::{self, Fence, Hold, Lease, Leases};

/// Who has it.
#[derive(Clone, Debug, Default)]
pub(super) struct Tenant(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    generation: i64,
    by: Option<(String, i64)>,
}

#[async_trait::async_trait]
impl Leases for MemoryStore {
    async fn take_lease(&self, holder: &str, now: Timestamp) -> Result<Lease, Error> {
        let generation = self.tenant.take(holder, now)?;
        let (back, given) = oneshot::channel();
        // All handles are this one store, so one that had it is no other than one that never had.
        let (fence, tenant) = (Fence::default(), self.tenant.clone());
        let gone = fence.clone();
        let keeper = tokio::spawn(async move {
            // Given back or dropped, it is the same.
            let _ = given.await;
            gone.set(Hold::Gone);
            tenant.give();
        });
        Ok(Lease::new(generation, &fence, back, keeper))
    }
}

// === impl Tenant ===

impl Tenant {
    fn take(&self, holder: &str, now: Timestamp) -> Result<i64, Error> {
        // Each change is an assignment or two that cannot fail.
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.by.is_some() {
            return Err(lease::taken("memory:", taken.by.clone()));
        }
        taken.by = Some((holder.to_owned(), now.as_microsecond()));
        taken.generation += 1;
        Ok(taken.generation)
    }

    fn give(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).by = None;
    }
}
