//! In memory, for tests and for programs that keep nothing.

use std::sync::{Mutex, MutexGuard, PoisonError};

use guard::Principal;
use jiff::Timestamp;

use crate::approvals::{self, Approval, ApprovalState, ApprovalStore, Decision, NewApproval};
use crate::audit::{AuditLog, AuditRecord, GENESIS, NewAuditRecord};
use crate::jobs::{self, Job, JobState, JobStore, NewJob};
use crate::rows::{self, micros, storable};
use crate::{ApprovalId, Error, JobId, PlanDigest};

/// A store that is gone with the process.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    jobs: Vec<Job>,
    approvals: Vec<Approval>,
    audit: Vec<AuditRecord>,
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

    /// The approval, if it is in `state` and, where one is named, for this plan.
    fn live_approval(
        &mut self,
        operation: &str,
        id: ApprovalId,
        state: ApprovalState,
        plan: Option<PlanDigest>,
        now: Timestamp,
    ) -> Result<&mut Approval, Error> {
        let found = self.approvals.iter().position(|approval| approval.id == id);
        let refused =
            |found: Option<&Approval>| approvals::refused(operation, id, found, plan, now);
        let index = found.ok_or_else(|| refused(None))?;
        let approval = &self.approvals[index];
        let right_plan = plan.is_none_or(|plan| plan == approval.plan_digest);
        if approval.state != state || approval.is_expired(now) || !right_plan {
            return Err(refused(Some(approval)));
        }
        Ok(&mut self.approvals[index])
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
impl ApprovalStore for MemoryStore {
    async fn ask(&self, approval: NewApproval, now: Timestamp) -> Result<Approval, Error> {
        let approval = approval.pending(now);
        self.state().approvals.push(approval.clone());
        Ok(approval)
    }

    async fn approval(&self, id: ApprovalId) -> Result<Option<Approval>, Error> {
        Ok(self.state().approvals.iter().find(|approval| approval.id == id).cloned())
    }

    async fn pending_approvals(&self, now: Timestamp) -> Result<Vec<Approval>, Error> {
        let waiting = |approval: &&Approval| {
            approval.state == ApprovalState::Pending && !approval.is_expired(now)
        };
        let mut pending: Vec<Approval> =
            self.state().approvals.iter().filter(waiting).cloned().collect();
        pending.sort_by_key(|approval| (approval.asked_at, approval.id));
        Ok(pending)
    }

    async fn decide(
        &self,
        id: ApprovalId,
        decision: Decision,
        by: &Principal,
        now: Timestamp,
    ) -> Result<Approval, Error> {
        let mut state = self.state();
        let approval = state.live_approval("decide", id, ApprovalState::Pending, None, now)?;
        approval.state = decision.into();
        approval.decided_by = Some(by.clone());
        approval.decided_at = Some(micros::floor(now));
        Ok(approval.clone())
    }

    async fn use_approval(
        &self,
        id: ApprovalId,
        plan: PlanDigest,
        now: Timestamp,
    ) -> Result<Approval, Error> {
        let mut state = self.state();
        let approval = state.live_approval("use", id, ApprovalState::Approved, Some(plan), now)?;
        approval.state = ApprovalState::Used;
        Ok(approval.clone())
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
}
