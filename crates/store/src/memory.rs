//! In memory, for tests and for programs that keep nothing.
//!
//! For details, see: the traits, whose contracts it is held to as the other engines are.
//!
//! *Invariant:* each change is one critical section, so nobody sees half of it.

mod events;
mod lease;
mod outbox;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use guard::Principal;
use jiff::Timestamp;

use crate::audit::{AuditLog, AuditRecord, Checkpoint, GENESIS, NewAuditRecord};
use crate::jobs::{self, Job, JobState, JobStore, NewJob};
use crate::records::{Changes, Filter, Limits, Order, Row, Rows, Table, micros};
use crate::rows::{self, storable};
use crate::{Error, ErrorKind, JobId};

/// A store that is gone with the process.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
    events: Mutex<events::EventState>,
    tenant: lease::Tenant,
}

impl crate::Schema for MemoryStore {
    fn migrated(&self) -> Option<&crate::Migrated> {
        None
    }
}

#[derive(Debug, Default)]
struct State {
    jobs: Vec<Job>,
    rows: BTreeMap<Table, Vec<Row>>,
    audit: Vec<AuditRecord>,
    checkpoints: BTreeMap<u64, Checkpoint>,
}

// === impl MemoryStore ===

impl MemoryStore {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// A panic elsewhere left the lists whole: each change below is one assignment or push.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The job, if it is not over.
    fn live_job(&mut self, operation: &str, id: JobId) -> Result<&mut Job, Error> {
        let found = self.jobs.iter().position(|job| job.id == id);
        let state = found.map(|index| self.jobs[index].state);
        match found {
            Some(index) if !self.jobs[index].state.is_over() => Ok(&mut self.jobs[index]),
            _ => Err(jobs::refused(operation, id, state)),
        }
    }

    fn table(&mut self, table: Table) -> &mut Vec<Row> {
        self.rows.entry(table).or_default()
    }

    fn insert(&mut self, table: Table, row: Row) -> Result<(), Error> {
        let rows = self.table(table);
        if rows.iter().any(|old| old.id == row.id) {
            let message = format!("store {}: there is one already", row.named(table));
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        rows.push(row);
        Ok(())
    }

    fn count(&mut self, principal: &str, since: i64) -> Changes {
        let theirs = self
            .table(Table::Actions)
            .iter()
            .filter(|row| row.principal == principal && row.made_us >= since);
        let mut changes = Changes::default();
        for row in theirs {
            changes.all += 1;
            changes.unasked += u64::from(row.unasked != 0);
        }
        changes
    }
}

#[async_trait::async_trait]
impl JobStore for MemoryStore {
    async fn create_job(&self, job: NewJob, now: Timestamp) -> Result<Job, Error> {
        let now = micros::floor(now);
        let job = Job {
            id: JobId::random(),
            owner: job.owner,
            label: storable(job.label),
            refs: rows::storable_refs(job.refs),
            state: JobState::Running,
            created: now,
            updated: now,
            result: None,
        };
        self.state().jobs.push(job.clone());
        Ok(job)
    }

    async fn set_refs(&self, id: JobId, refs: Vec<String>, now: Timestamp) -> Result<Job, Error> {
        let mut state = self.state();
        let job = state.live_job("note how far it is of", id)?;
        job.refs = rows::storable_refs(refs);
        job.updated = micros::floor(now);
        Ok(job.clone())
    }

    async fn ask_job(
        &self,
        id: JobId,
        questions: Option<serde_json::Value>,
        now: Timestamp,
    ) -> Result<Job, Error> {
        let mut kept = self.state();
        let job = kept.live_job("change", id)?;
        job.state = jobs::asking(questions.as_ref());
        job.result = questions;
        job.updated = micros::floor(now);
        Ok(job.clone())
    }

    async fn finish_job(
        &self,
        id: JobId,
        state: JobState,
        result: Option<serde_json::Value>,
        now: Timestamp,
    ) -> Result<Job, Error> {
        jobs::check_final(id, state)?;
        let mut kept = self.state();
        let job = kept.live_job("finish", id)?;
        job.state = state;
        job.result = result;
        job.updated = micros::floor(now);
        Ok(job.clone())
    }

    async fn job(&self, id: JobId, owner: &Principal) -> Result<Option<Job>, Error> {
        let state = self.state();
        Ok(state.jobs.iter().find(|job| job.id == id && job.owner == *owner).cloned())
    }

    async fn find_job(&self, id: JobId) -> Result<Option<Job>, Error> {
        Ok(self.state().jobs.iter().find(|job| job.id == id).cloned())
    }

    async fn jobs(&self, owner: &Principal, limit: u32) -> Result<Vec<Job>, Error> {
        let mut jobs: Vec<Job> =
            self.state().jobs.iter().filter(|job| job.owner == *owner).cloned().collect();
        jobs.sort_by(|a, b| b.created.cmp(&a.created).then(a.id.cmp(&b.id)));
        jobs.truncate(limit as usize);
        Ok(jobs)
    }

    async fn running_jobs(&self) -> Result<Vec<Job>, Error> {
        let running = |job: &&Job| !job.state.is_over();
        let mut jobs: Vec<Job> = self.state().jobs.iter().filter(running).cloned().collect();
        jobs.sort_by_key(|job| (job.created, job.id));
        Ok(jobs)
    }

    async fn forget_jobs(&self, before: Timestamp) -> Result<u64, Error> {
        let mut state = self.state();
        let count = state.jobs.len();
        state.jobs.retain(|job| !job.state.is_over() || job.updated >= micros::floor(before));
        Ok((count - state.jobs.len()) as u64)
    }
}

#[async_trait::async_trait]
impl Rows for MemoryStore {
    async fn insert(&self, table: Table, row: Row) -> Result<(), Error> {
        self.state().insert(table, row)
    }

    async fn row(&self, table: Table, id: &str) -> Result<Option<Row>, Error> {
        Ok(self.state().table(table).iter().find(|row| row.id == id).cloned())
    }

    async fn rows(&self, table: Table, filter: &Filter) -> Result<Vec<Row>, Error> {
        let mut state = self.state();
        let found = state.table(table).iter().filter(|row| row.passes(filter));
        let mut rows: Vec<Row> = found.cloned().collect();
        rows.sort_by(|a, b| {
            let by_time = match filter.order {
                Order::Newest => b.made_us.cmp(&a.made_us),
                Order::Oldest => a.made_us.cmp(&b.made_us),
            };
            by_time.then_with(|| a.id.cmp(&b.id))
        });
        rows.truncate(filter.limit as usize);
        Ok(rows)
    }

    async fn replace(&self, table: Table, row: Row, also: Option<Row>) -> Result<bool, Error> {
        let mut state = self.state();
        let before = row.version - 1;
        let kept = state.table(table);
        let Some(index) = kept.iter().position(|old| old.id == row.id && old.version == before)
        else {
            return Ok(false);
        };
        // The addition may fail, the replacement cannot.
        if let Some(also) = also {
            state.insert(table, also)?;
        }
        state.table(table)[index] = row;
        Ok(true)
    }

    async fn insert_within(&self, row: Row, since: i64, limits: Limits) -> Result<bool, Error> {
        let mut state = self.state();
        if !state.count(&row.principal, since).fits(limits) {
            return Ok(false);
        }
        state.insert(Table::Actions, row)?;
        Ok(true)
    }

    async fn count(&self, principal: &str, since: i64) -> Result<Changes, Error> {
        Ok(self.state().count(principal, since))
    }
}

#[async_trait::async_trait]
impl AuditLog for MemoryStore {
    async fn append(&self, record: NewAuditRecord) -> Result<AuditRecord, Error> {
        let mut state = self.state();
        let record = match state.audit.last() {
            Some(last) => AuditRecord::chained(record, last.seq, &last.hash),
            None => AuditRecord::chained(record, 0, GENESIS),
        };
        state.audit.push(record.clone());
        Ok(record)
    }

    async fn audit_records(&self, after: u64, limit: u32) -> Result<Vec<AuditRecord>, Error> {
        let state = self.state();
        let later = state.audit.iter().filter(|record| record.seq > after);
        Ok(later.take(limit as usize).cloned().collect())
    }

    async fn keep_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), Error> {
        self.state().checkpoints.entry(checkpoint.seq).or_insert_with(|| checkpoint.clone());
        Ok(())
    }

    async fn checkpoints(&self, after: u64, limit: u32) -> Result<Vec<Checkpoint>, Error> {
        let state = self.state();
        let later = state.checkpoints.values().filter(|checkpoint| checkpoint.seq > after);
        Ok(later.take(limit as usize).cloned().collect())
    }
}
