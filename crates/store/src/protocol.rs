//! The protocol's jobs, kept in this store: what makes a job survive a restart.

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
/// Owners are principals in their written form; anything else is refused when the job is made.
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
        let failed = failed("create a job");
        let store = self.store.get().await.map_err(&failed)?;
        let new = NewJob { owner, label: job.label, refs: job.refs };
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
        let json = |answer: mcp::Answer| {
            serde_json::to_value(answer).map_err(self::failed("write a job's answer as JSON"))
        };
        let changed = match state {
            mcp::JobState::Running => store.ask_job(ours, None, now).await,
            mcp::JobState::Asking(questions) => {
                let questions = serde_json::to_value(questions)
                    .map_err(self::failed("write a job's questions as JSON"))?;
                store.ask_job(ours, Some(questions), now).await
            }
            mcp::JobState::Done(answer) => {
                store.finish_job(ours, JobState::Done, Some(json(answer)?), now).await
            }
            mcp::JobState::Failed(answer) => {
                store.finish_job(ours, JobState::Failed, Some(json(answer)?), now).await
            }
            mcp::JobState::Broken(text) => {
                store.finish_job(ours, JobState::Broken, Some(text.into()), now).await
            }
            mcp::JobState::Unknown(text) => {
                store.finish_job(ours, JobState::Unknown, Some(text.into()), now).await
            }
            mcp::JobState::Cancelled => store.finish_job(ours, JobState::Canceled, None, now).await,
            // What a later protocol adds and we cannot keep: nothing to note.
            _ => return self.get(id).await,
        };
        match changed {
            Ok(job) => Ok(Some(to_protocol(job))),
            // A finished job keeps its state.
            Err(error) if error.is_conflict() => self.get(id).await,
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    async fn progress(
        &self,
        id: &mcp::JobId,
        refs: Vec<String>,
        now: Timestamp,
    ) -> Result<Option<mcp::Job>, JobStoreError> {
        let failed = failed("note how far a job is");
        let Ok(ours) = id.as_str().parse::<JobId>() else { return Ok(None) };
        let store = self.store.get().await.map_err(&failed)?;
        match store.set_refs(ours, refs, now).await {
            Ok(job) => Ok(Some(to_protocol(job))),
            // A finished job keeps what it stood for.
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
    let result = job.result.unwrap_or_default();
    let state = match job.state {
        JobState::Running => mcp::JobState::Running,
        JobState::Asking => match serde_json::from_value(result) {
            Ok(questions) => mcp::JobState::Asking(questions),
            Err(_) => mcp::JobState::Unknown("what it asked cannot be read any more".to_owned()),
        },
        JobState::Done => mcp::JobState::Done(answer(result)),
        JobState::Failed => mcp::JobState::Failed(answer(result)),
        JobState::Broken => mcp::JobState::Broken(text(result)),
        JobState::Canceled => mcp::JobState::Cancelled,
        JobState::Unknown => mcp::JobState::Unknown(text(result)),
    };
    let new = mcp::NewJob {
        owner: job.owner.to_string(),
        label: job.label,
        refs: job.refs,
        created: job.created,
    };
    mcp::Job::restore(mcp::JobId::from_text(job.id.to_string()), new, job.updated, state)
}

/// The answer that was kept; of anything else the text.
fn answer(result: serde_json::Value) -> mcp::Answer {
    let is_answer = result.get("content").is_some_and(serde_json::Value::is_array);
    match is_answer.then(|| serde_json::from_value(result.clone())) {
        Some(Ok(answer)) => answer,
        _ => mcp::Answer::text(text(result)),
    }
}

fn text(result: serde_json::Value) -> String {
    match result {
        serde_json::Value::String(text) => text,
        serde_json::Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn failed<E>(operation: &'static str) -> impl Fn(E) -> JobStoreError
where
    E: std::error::Error + Send + Sync + 'static,
{
    move |source| JobStoreError { operation, source: Box::new(source) }
}
