//! Freezes, trips of the breaker and the use of codes, in a store: starting anew is no way around them.

use guard::Principal;
use guard::breaker::Trip;
use guard::ports::{Brakes, CodeUse, Freeze, Freezes, PortError};
use jiff::Timestamp;

use super::{GuardStore, refused};
use crate::records::brake::{KeptCodes, KeptFreeze, KeptTrip, ON};
use crate::records::{Filter, Record as _, Row, Table, micros};

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

#[async_trait::async_trait]
impl Brakes for GuardStore {
    async fn trip(&self, trip: &Trip, at: Timestamp) -> Result<(), PortError> {
        let trip = Trip { until: micros::floor(trip.until), ..trip.clone() };
        self.insert(KeptTrip::new(trip, micros::floor(at))).await?;
        Ok(())
    }

    async fn trips(&self, now: Timestamp) -> Result<Vec<Trip>, PortError> {
        let kept: Vec<KeptTrip> = self.list(&in_force(now)).await?;
        Ok(kept.into_iter().map(|kept| kept.trip).collect())
    }

    async fn code_use(&self, approver: &str) -> Result<CodeUse, PortError> {
        let kept = self.find::<KeptCodes>(approver).await?;
        Ok(kept.map(|kept| kept.codes).unwrap_or_default())
    }

    async fn set_code_use(
        &self,
        approver: &str,
        before: &CodeUse,
        after: &CodeUse,
    ) -> Result<bool, PortError> {
        let store = self.rows().await?;
        let until = after.until.map(micros::floor);
        let codes = CodeUse { until, ..*after };
        let row = KeptCodes { approver: approver.to_owned(), codes }.to_row();
        let Some(kept) = store.row(Table::CodeUses, approver).await.map_err(refused)? else {
            if *before != CodeUse::default() {
                return Ok(false);
            }
            let Err(error) = store.insert(Table::CodeUses, row).await else { return Ok(true) };
            // Somebody was faster with the first one.
            let is_there = store.row(Table::CodeUses, approver).await.map_err(refused)?.is_some();
            return if is_there { Ok(false) } else { Err(refused(error)) };
        };
        let version = kept.version + 1;
        if KeptCodes::from_row(kept).map_err(refused)?.codes != *before {
            return Ok(false);
        }
        store.replace(Table::CodeUses, Row { version, ..row }, None).await.map_err(refused)
    }
}

/// What is neither lifted nor over.
fn in_force(now: Timestamp) -> Filter {
    Filter { due_after: now.as_microsecond(), ..Filter::oldest(&[ON]) }
}
