//! Freezes and trips of the breaker, in a store: starting anew is no way around them.

use guard::Principal;
use guard::ports::{Freeze, Freezes, PortError};
use jiff::Timestamp;

use super::GuardStore;
use crate::records::brake::{KeptFreeze, ON};
use crate::records::{Filter, micros};

#[async_trait::async_trait]
impl Freezes for GuardStore {
    /// Each order stands until its own end, so that a later one does not shorten an earlier one.
    async fn freeze(&self, freeze: Freeze) -> Result<(), PortError> {
        let freeze = Freeze {
            since: micros::floor(freeze.since),
            until: freeze.until.map(micros::floor),
            ..freeze
        };
        self.insert(KeptFreeze::new(freeze)).await?;
        Ok(())
    }

    async fn lift(&self, by: &Principal, at: Timestamp) -> Result<bool, PortError> {
        let holding: Vec<KeptFreeze> = self.list(&in_force(at)).await?;
        for kept in &holding {
            let apply = |kept: &mut KeptFreeze| {
                // Whoever came first lifted it.
                kept.lifted.get_or_insert_with(|| (by.clone(), micros::floor(at)));
                Ok(())
            };
            self.change(&kept.id, None, apply).await?;
        }
        Ok(!holding.is_empty())
    }

    async fn frozen(&self, now: Timestamp) -> Result<Option<Freeze>, PortError> {
        let holding: Vec<KeptFreeze> = self.list(&in_force(now)).await?;
        let freezes = holding.into_iter().map(|kept| kept.freeze);
        Ok(freezes.max_by_key(|freeze| freeze.until.unwrap_or(Timestamp::MAX)))
    }
}

/// What is neither lifted nor over.
fn in_force(now: Timestamp) -> Filter {
    Filter { due_after: now.as_microsecond(), ..Filter::oldest(&[ON]) }
}
