//! Long work that outlives one call: who started it, how far it is, how it ended.

use guard::Principal;
use jiff::Timestamp;

use crate::{Error, ErrorKind, JobId};

/// Work that was started for somebody.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Who may see it.
    pub owner: Principal,
    /// What it is, for people.
    pub label: String,
    /// What it stands for outside and how far it is, in words of whoever made it; one line each.
    pub refs: Vec<String>,
    /// How far it is.
    pub state: JobState,
    /// When it was made.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
    /// What came of it, or what it asks; JSON whose form belongs to whoever set the state.
    pub result: Option<serde_json::Value>,
}

/// What is needed to make a job.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewJob {
    /// Who may see it.
    pub owner: Principal,
    /// What it is, for people.
    pub label: String,
    /// What it stands for outside so far; see [`Job::refs`].
    pub refs: Vec<String>,
}

/// How far a job is. Only `Running` and `Asking` change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JobState {
    /// Under way.
    Running,
    /// Waits for answers; the result says to what.
    Asking,
    /// It did what was asked.
    Done,
    /// It did not; the result says why.
    Failed,
    /// Not its work ended it but a fault of the program; the result says which.
    Broken,
    /// It was stopped on request.
    Canceled,
    /// Nobody can tell, after a crash; it is never sent again by itself.
    Unknown,
}

/// Where jobs are kept.
#[async_trait::async_trait]
pub trait JobStore: Send + Sync + 'static {
    /// Makes a running job with a new id.
    async fn create_job(&self, job: NewJob, now: Timestamp) -> Result<Job, Error>;

    /// Replaces what a job that is not over stands for. What it asks stays.
    ///
    /// # Errors
    ///
    /// Not found, or a conflict when the job is over.
    async fn set_refs(&self, id: JobId, refs: Vec<String>, now: Timestamp) -> Result<Job, Error>;

    /// Notes what a job that is not over asks, or with `None` that it goes on.
    ///
    /// # Errors
    ///
    /// Not found, or a conflict when the job is over.
    async fn ask_job(
        &self,
        id: JobId,
        questions: Option<serde_json::Value>,
        now: Timestamp,
    ) -> Result<Job, Error>;

    /// Ends a job that is not over.
    ///
    /// # Errors
    ///
    /// Not found, or a conflict when the job is over already or `state` is no end.
    async fn finish_job(
        &self,
        id: JobId,
        state: JobState,
        result: Option<serde_json::Value>,
        now: Timestamp,
    ) -> Result<Job, Error>;

    /// The job with this id, if it is this owner's: another's does not exist for them.
    async fn job(&self, id: JobId, owner: &Principal) -> Result<Option<Job>, Error>;

    /// The job with this id, whoever's it is: for callers that check the owner themselves.
    async fn find_job(&self, id: JobId) -> Result<Option<Job>, Error>;

    /// This owner's newest jobs, at most `limit`, newest first.
    async fn jobs(&self, owner: &Principal, limit: u32) -> Result<Vec<Job>, Error>;

    /// Every job of every owner that is not over, oldest first: what a restart has to look after.
    async fn running_jobs(&self) -> Result<Vec<Job>, Error>;

    /// Forgets the jobs that were over before `before`, and says how many.
    async fn forget_jobs(&self, before: Timestamp) -> Result<u64, Error>;
}

// === impl NewJob ===

impl NewJob {
    /// A job that stands for nothing outside yet.
    pub fn new(owner: Principal, label: impl Into<String>) -> Self {
        Self { owner, label: label.into(), refs: Vec::new() }
    }

    /// With something that it stands for.
    #[must_use]
    pub fn with_ref(mut self, text: impl Into<String>) -> Self {
        self.refs.push(text.into());
        self
    }
}

// === impl JobState ===

impl JobState {
    const ALL: [Self; 7] = [
        Self::Running,
        Self::Asking,
        Self::Done,
        Self::Failed,
        Self::Broken,
        Self::Canceled,
        Self::Unknown,
    ];

    /// Whether nothing more will happen.
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Running | Self::Asking)
    }

    /// The word that the store and answers use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Asking => "asking",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Broken => "broken",
            Self::Canceled => "canceled",
            Self::Unknown => "unknown",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// The state of a job that asks this, or goes on.
pub(crate) fn asking(questions: Option<&serde_json::Value>) -> JobState {
    if questions.is_some() { JobState::Asking } else { JobState::Running }
}

/// Refuses to finish a job into a state that is no end.
pub(crate) fn check_final(id: JobId, state: JobState) -> Result<(), Error> {
    if !state.is_over() {
        let message = format!("finish job {id}: `{}` is no end", state.as_str());
        return Err(Error::new(ErrorKind::Conflict, message));
    }
    Ok(())
}

/// Why a job could not be changed, from the state that was found.
pub(crate) fn refused(operation: &str, id: JobId, found: Option<JobState>) -> Error {
    match found {
        None => Error::new(ErrorKind::NotFound, format!("{operation} job {id}: there is none")),
        Some(state) => {
            let state = state.as_str();
            Error::new(ErrorKind::Conflict, format!("{operation} job {id}: it is {state}"))
        }
    }
}
