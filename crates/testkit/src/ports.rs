//! The guard's ports in memory: what a store does, without one. Lost with its value, so a test that
//! "restarts" keeps the value and drops the gate.

mod actions;
mod approvals;
mod undo;

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use guard::{
    Principal,
    breaker::Trip,
    ports::{
        Action, ActionId, Approval, ApprovalId, Approvers, Brakes, CodeUse, Confirm, ConfirmId,
        DecisionRecord, Freeze, Freezes, KeptCall, PortError, PortErrorKind, Undo, UndoId,
    },
};
use jiff::Timestamp;

/// All ports in one value.
#[derive(Debug, Default)]
pub struct MemoryPorts {
    state: Mutex<State>,
    ids: AtomicU64,
    broken: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    approvals: BTreeMap<ApprovalId, (Approval, KeptCall)>,
    actions: BTreeMap<ActionId, (Action, KeptCall)>,
    undos: BTreeMap<UndoId, (Undo, Vec<KeptCall>)>,
    confirms: BTreeMap<ConfirmId, Armed>,
    freeze: Option<Freeze>,
    trips: Vec<Trip>,
    codes: BTreeMap<String, CodeUse>,
    /// The order in which records came, since ids are not in order.
    order: BTreeMap<u128, u64>,
}

#[derive(Debug)]
struct Armed {
    confirm: Confirm,
    calls: Vec<KeptCall>,
    leased_until: Option<Timestamp>,
}

/// Approvers who may decide by any way, unless they are the asker.
#[derive(Clone, Debug, Default)]
pub struct AnyApprover {
    /// Whether there is anybody.
    pub is_set_up: bool,
}

// === impl MemoryPorts ===

impl MemoryPorts {
    /// Empty ones.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on nothing can be written or read, or everything again.
    pub fn set_broken(&self, broken: bool) {
        self.broken.store(broken, Ordering::SeqCst);
    }

    fn lock(&self) -> Result<MutexGuard<'_, State>, PortError> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(PortError::new(PortErrorKind::Unavailable, "the store is out of order"));
        }
        Ok(self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// An id that looks random and is the same in every run.
    fn next_id(&self, state: &mut State) -> u128 {
        let count = self.ids.fetch_add(1, Ordering::SeqCst) + 1;
        let mixed = |seed: u64| {
            let mut value = count.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed;
            value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            value ^ (value >> 31)
        };
        let bits = u128::from(mixed(1)) << 64 | u128::from(mixed(2));
        state.order.insert(bits, count);
        bits
    }
}

fn missing(what: &str) -> PortError {
    PortError::new(PortErrorKind::NotFound, format!("there is no such {what}"))
}

fn conflict(why: impl Into<String>) -> PortError {
    PortError::new(PortErrorKind::Conflict, why)
}

/// The newest `limit` of them; 0 for all.
fn newest<T>(mut all: Vec<(u64, T)>, limit: u32) -> Vec<T> {
    all.sort_by_key(|(order, _)| std::cmp::Reverse(*order));
    let limit = if limit == 0 { usize::MAX } else { limit as usize };
    all.into_iter().take(limit).map(|(_, item)| item).collect()
}

#[async_trait]
impl Freezes for MemoryPorts {
    async fn freeze(&self, freeze: Freeze) -> Result<(), PortError> {
        let mut state = self.lock()?;
        let longer = |old: &Freeze| match (old.until, freeze.until) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(old), Some(new)) => old >= new,
        };
        let holds = state.freeze.as_ref().is_some_and(|old| old.holds(freeze.since) && longer(old));
        if !holds {
            state.freeze = Some(freeze);
        }
        Ok(())
    }

    async fn lift(&self, _by: &Principal, at: Timestamp) -> Result<bool, PortError> {
        let lifted = self.lock()?.freeze.take();
        Ok(lifted.is_some_and(|freeze| freeze.holds(at)))
    }

    async fn frozen(&self, now: Timestamp) -> Result<Option<Freeze>, PortError> {
        Ok(self.lock()?.freeze.clone().filter(|freeze| freeze.holds(now)))
    }
}

#[async_trait]
impl Brakes for MemoryPorts {
    async fn trip(&self, trip: &Trip, _at: Timestamp) -> Result<(), PortError> {
        self.lock()?.trips.push(trip.clone());
        Ok(())
    }

    async fn trips(&self, now: Timestamp) -> Result<Vec<Trip>, PortError> {
        Ok(self.lock()?.trips.iter().filter(|trip| now < trip.until).cloned().collect())
    }

    async fn code_use(&self, approver: &str) -> Result<CodeUse, PortError> {
        Ok(self.lock()?.codes.get(approver).copied().unwrap_or_default())
    }

    async fn set_code_use(
        &self,
        approver: &str,
        before: &CodeUse,
        after: &CodeUse,
    ) -> Result<bool, PortError> {
        let mut state = self.lock()?;
        let known = state.codes.entry(approver.to_owned()).or_default();
        let is_same = known == before;
        if is_same {
            *known = *after;
        }
        Ok(is_same)
    }
}

// === impl AnyApprover ===

impl Approvers for AnyApprover {
    fn can_be_asked(&self) -> bool {
        self.is_set_up
    }

    fn asked(&self, of: &[String]) -> String {
        if of.is_empty() { "any approver".to_owned() } else { of.join(", ") }
    }

    fn may_decide(&self, approval: &Approval, decision: &DecisionRecord) -> Result<(), String> {
        if decision.principal == approval.requested_by {
            return Err("the asker cannot decide".to_owned());
        }
        let named = approval.of.is_empty() || approval.of.contains(&decision.approver);
        if named { Ok(()) } else { Err(format!("{} is not asked", decision.approver)) }
    }
}
