//! The protocol's jobs, kept in this store: what makes a job survive a restart.

use estate::Upid;
use guard::Principal;
use jiff::Timestamp;
use mcp_protocol as mcp;
use mcp_protocol::JobStoreError;

use crate::jobs::{Job, JobState, NewJob};
use crate::{JobId, LazyStore};

/// How many of an owner's jobs are listed: the newest.
const LISTED: u32 = 1000;

/// [`mcp_protocol::JobStore`] over a store that is opened by its first use.
///
/// Owners are principals in their written form, and what a job stands for are UPIDs; anything else
/// is refused when the job is made.
#[derive(Clone, Debug)]
pub struct ProtocolJobs {
    store: LazyStore,
}

// === impl ProtocolJobs ===

impl ProtocolJobs {
    /// Keeps jobs in this store.
    pub fn new(store: LazyStore) -> Self {
        Self { store }
    }
}

#[mcp_protocol::async_trait]
impl mcp::JobStore for ProtocolJobs {
    async fn create(&self, job: mcp::NewJob) -> Result<mcp::Job, JobStoreError> {
        let owner = job.owner.parse::<Principal>().map_err(failed("create a job"))?;
        let upids = job.refs.iter().map(|text| text.parse::<Upid>());
        let upids = upids.collect::<Result<Vec<_>, _>>().map_err(failed("create a job"))?;
        let failed = failed("create a job");
        let store = self.store.get().await.map_err(&failed)?;
        let new = NewJob { owner, label: job.label, upids };
        Ok(to_protocol(store.create_job(new, job.created).await.map_err(&failed)?))
    }

    async fn get(&self, id: &mcp::JobId) -> Result<Option<mcp::Job>, JobStoreError> {
        let failed = failed("read a job");
        // What is no id of ours is no job of ours.
        let Ok(id) = id.as_str().parse::<JobId>() else { return Ok(None) };
        let store = self.store.get().await.map_err(&failed)?;
        Ok(store.find_job(id).await.map_err(&failed)?.map(to_protocol))
    }

    async fn update(
        &self,
        id: &mcp::JobId,
        state: mcp::JobState,
        now: Timestamp,
    ) -> Result<Option<mcp::Job>, JobStoreError> {
        let failed = failed("update a job");
        let Ok(ours) = id.as_str().parse::<JobId>() else { return Ok(None) };
        let store = self.store.get().await.map_err(&failed)?;
        let (word, text) = match state {
            mcp::JobState::Done(text) => (JobState::Done, Some(text)),
            mcp::JobState::Failed(text) => (JobState::Failed, Some(text)),
            mcp::JobState::Cancelled => (JobState::Canceled, None),
            mcp::JobState::Unknown(text) => (JobState::Unknown, Some(text)),
            // `Running`, and what a later protocol adds and we cannot keep: nothing to note.
            _ => return self.get(id).await,
        };
        match store.finish_job(ours, word, text.map(Into::into), now).await {
            Ok(job) => Ok(Some(to_protocol(job))),
            // A finished job keeps its state.
            Err(error) if error.is_conflict() => self.get(id).await,
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    async fn list_by_owner(&self, owner: &str) -> Result<Vec<mcp::Job>, JobStoreError> {
        let failed = failed("list jobs");
        let Ok(owner) = owner.parse::<Principal>() else { return Ok(Vec::new()) };
        let store = self.store.get().await.map_err(&failed)?;
        let jobs = store.jobs(&owner, LISTED).await.map_err(&failed)?;
        Ok(jobs.into_iter().map(to_protocol).collect())
    }
}

fn to_protocol(job: Job) -> mcp::Job {
    let text = match job.result {
        Some(serde_json::Value::String(text)) => text,
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let state = match job.state {
        JobState::Running => mcp::JobState::Running,
        JobState::Done => mcp::JobState::Done(text),
        JobState::Failed => mcp::JobState::Failed(text),
        JobState::Canceled => mcp::JobState::Cancelled,
        JobState::Unknown => mcp::JobState::Unknown(text),
    };
    let new = mcp::NewJob {
        owner: job.owner.to_string(),
        label: job.label,
        refs: job.upids.iter().map(Upid::to_string).collect(),
        created: job.created,
    };
    mcp::Job::restore(mcp::JobId::from_text(job.id.to_string()), new, job.updated, state)
}

fn failed<E>(operation: &'static str) -> impl Fn(E) -> JobStoreError
where
    E: std::error::Error + Send + Sync + 'static,
{
    move |source| JobStoreError { operation, source: Box::new(source) }
}
