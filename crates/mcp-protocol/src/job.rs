//! Jobs: work that outlives a call, known by a random id and owned by whoever started it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ask::{InputAnswer, InputRequest};
use crate::tool::Answer;

/// The id of a job: random, so that it cannot be guessed, and opaque.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(String);

/// What a tool returns when its work goes on.
#[derive(Debug, Clone, PartialEq)]
pub struct JobHandle {
    /// The job to ask about.
    pub id: JobId,
    /// What a client that does not know jobs is told, including how to ask again.
    pub answer: Answer,
}

/// What is needed to make a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    /// Who may ask about it; see [`crate::Caller::subject`].
    pub owner: String,
    /// What it is, for people.
    pub label: String,
    /// What it stands for outside and how far it is, one line each; meaningless here.
    pub refs: Vec<String>,
    /// Now.
    pub created: Timestamp,
}

/// A job as it is known now.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Who may ask about it.
    pub owner: String,
    /// What it is, for people.
    pub label: String,
    /// What it stands for outside and how far it is.
    pub refs: Vec<String>,
    /// When it was made.
    pub created: Timestamp,
    /// When its state or its progress was last noted.
    pub updated: Timestamp,
    /// How far it is.
    pub state: JobState,
}

/// How far a job is.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum JobState {
    /// Still at work.
    Running,
    /// Waits for answers of the person at the client; goes on when all are there.
    Asking(Questions),
    /// Ended well; what the tool answers.
    Done(Answer),
    /// Ended badly; what the tool answers, with the cause (`isError`).
    Failed(Answer),
    /// Ended by a fault of this server rather than of the work; the text is fit for the client.
    Broken(String),
    /// Stopped on request.
    Cancelled,
    /// Nobody can tell any more how it ended; a person decides.
    Unknown(String),
}

/// What a job has asked, and what has been answered so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Questions {
    /// What was asked, each under its own key.
    pub inputs: Vec<InputRequest>,
    /// What was answered, by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub answers: BTreeMap<String, InputAnswer>,
}

/// Why the store could not answer.
#[derive(Debug, thiserror::Error)]
#[error("{operation}")]
pub struct JobStoreError {
    /// What was tried, such as `create job`.
    pub operation: &'static str,
    /// The cause.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Keeps jobs.
///
/// *Invariant:* a job that [`JobStore::create`] returned is durable; reading needs the id and, by the caller's check, the
/// owner.
#[async_trait]
pub trait JobStore: Send + Sync + 'static {
    /// Makes a running job with a new random id.
    async fn create(&self, job: NewJob) -> Result<Job, JobStoreError>;

    /// The job, if it exists.
    async fn get(&self, id: &JobId) -> Result<Option<Job>, JobStoreError>;

    /// Sets the state of a job that is not finished yet; a finished one keeps its state. Returns the job as it then is.
    async fn update(
        &self,
        id: &JobId,
        state: JobState,
        now: Timestamp,
    ) -> Result<Option<Job>, JobStoreError>;

    /// Replaces what a job that is not finished stands for, which also says that somebody is at work on it; a finished one
    /// stays as it is. Returns the job as it then is, so that whoever works on it learns that it was stopped elsewhere.
    async fn progress(
        &self,
        id: &JobId,
        refs: Vec<String>,
        now: Timestamp,
    ) -> Result<Option<Job>, JobStoreError>;

    /// The jobs of one owner, newest first.
    async fn list_by_owner(&self, owner: &str) -> Result<Vec<Job>, JobStoreError>;
}

/// Does what a job needs besides being kept; whoever starts jobs implements it.
#[async_trait]
pub trait JobDriver: Send + Sync + 'static {
    /// Looks again at a job that has not ended, of a process that is gone or of this one, and says how it is now.
    ///
    /// Called whenever a client asks about such a job, so it must be cheap for those of this process. A job that waits for
    /// answers goes on waiting if this says that it is running.
    async fn refresh(&self, job: &Job) -> JobState;

    /// Stops the work, as far as it can be stopped, and says how the job is now.
    async fn cancel(&self, job: &Job) -> JobState;

    /// Passes on the answers to all that the job asked, and says how it is now.
    ///
    /// The job is kept as running before this is called. A driver whose jobs never ask can leave it as it is.
    async fn answer(&self, job: &Job, answers: BTreeMap<String, InputAnswer>) -> JobState {
        let _ = (job, answers);
        JobState::Running
    }
}

/// Jobs in memory: for tests, and for runs that keep nothing.
#[derive(Debug, Default)]
pub struct MemoryJobs {
    jobs: Mutex<BTreeMap<JobId, Job>>,
}

// === impl JobId ===

impl JobId {
    /// A new random id (122 random bits).
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().simple().to_string())
    }

    /// An id as it came from a client or a store.
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Job ===

impl Job {
    /// A job that begins now.
    pub fn start(id: JobId, job: NewJob) -> Self {
        Self {
            id,
            owner: job.owner,
            label: job.label,
            refs: job.refs,
            created: job.created,
            updated: job.created,
            state: JobState::Running,
        }
    }

    /// A job as a store kept it.
    pub fn restore(id: JobId, job: NewJob, updated: Timestamp, state: JobState) -> Self {
        Self { updated, state, ..Self::start(id, job) }
    }
}

// === impl JobState ===

impl JobState {
    /// Whether nothing more will happen.
    pub fn is_finished(&self) -> bool {
        !matches!(self, Self::Running | Self::Asking(_))
    }
}

// === impl Questions ===

impl Questions {
    /// Questions without answers yet.
    pub fn new(inputs: Vec<InputRequest>) -> Self {
        Self { inputs, answers: BTreeMap::new() }
    }

    /// Those without an answer.
    pub fn pending(&self) -> impl Iterator<Item = &InputRequest> {
        self.inputs.iter().filter(|input| !self.answers.contains_key(&input.key))
    }
}

// === impl MemoryJobs ===

#[async_trait]
impl JobStore for MemoryJobs {
    async fn create(&self, job: NewJob) -> Result<Job, JobStoreError> {
        let job = Job::start(JobId::random(), job);
        self.lock().insert(job.id.clone(), job.clone());
        Ok(job)
    }

    async fn get(&self, id: &JobId) -> Result<Option<Job>, JobStoreError> {
        Ok(self.lock().get(id).cloned())
    }

    async fn update(
        &self,
        id: &JobId,
        state: JobState,
        now: Timestamp,
    ) -> Result<Option<Job>, JobStoreError> {
        let mut jobs = self.lock();
        let Some(job) = jobs.get_mut(id) else { return Ok(None) };
        if !job.state.is_finished() {
            job.state = state;
            job.updated = now;
        }
        Ok(Some(job.clone()))
    }

    async fn progress(
        &self,
        id: &JobId,
        refs: Vec<String>,
        now: Timestamp,
    ) -> Result<Option<Job>, JobStoreError> {
        let mut jobs = self.lock();
        let Some(job) = jobs.get_mut(id) else { return Ok(None) };
        if !job.state.is_finished() {
            job.refs = refs;
            job.updated = now;
        }
        Ok(Some(job.clone()))
    }

    async fn list_by_owner(&self, owner: &str) -> Result<Vec<Job>, JobStoreError> {
        let mut jobs: Vec<Job> =
            self.lock().values().filter(|job| job.owner == owner).cloned().collect();
        jobs.sort_by(|left, right| right.created.cmp(&left.created).then(left.id.cmp(&right.id)));
        Ok(jobs)
    }
}

impl MemoryJobs {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<JobId, Job>> {
        // A panic while the lock was held cannot leave the map half changed: every change is one insert or one assignment.
        self.jobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
