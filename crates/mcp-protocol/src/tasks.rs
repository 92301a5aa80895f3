//! Jobs as one caller sees them: looked at again when asked about, answered and stopped through their driver.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::Mutex;

use crate::ask::InputAnswer;
use crate::job::{Job, JobDriver, JobId, JobState, JobStore, JobStoreError};

/// The jobs of an app.
pub(crate) struct Tasks {
    store: Arc<dyn JobStore>,
    driver: Arc<dyn JobDriver>,
    /// Held while answers are added to what a job has asked: two at once must not lose one.
    answering: Mutex<()>,
}

// === impl Tasks ===

impl Tasks {
    pub(crate) fn new(store: Arc<dyn JobStore>, driver: Arc<dyn JobDriver>) -> Self {
        Self { store, driver, answering: Mutex::default() }
    }

    /// The job as it is kept. Another's job is no job, as is one that nobody has.
    pub(crate) async fn kept(&self, owner: &str, id: &JobId) -> Result<Option<Job>, JobStoreError> {
        let job = self.store.get(id).await?;
        Ok(job.filter(|job| job.owner == owner))
    }

    /// The job as it is now.
    pub(crate) async fn look(
        &self,
        owner: &str,
        id: &JobId,
        now: Timestamp,
    ) -> Result<Option<Job>, JobStoreError> {
        let Some(job) = self.kept(owner, id).await? else { return Ok(None) };
        if job.state.is_finished() {
            return Ok(Some(job));
        }
        let state = self.driver.refresh(&job).await;
        if matches!((&job.state, &state), (JobState::Asking(_), JobState::Running)) {
            return Ok(Some(job));
        }
        self.note(job, state, now).await.map(Some)
    }

    /// Stops the job; one that has ended stays as it is.
    pub(crate) async fn cancel(
        &self,
        owner: &str,
        id: &JobId,
        now: Timestamp,
    ) -> Result<Option<Job>, JobStoreError> {
        let Some(job) = self.kept(owner, id).await? else { return Ok(None) };
        if job.state.is_finished() {
            return Ok(Some(job));
        }
        let state = self.driver.cancel(&job).await;
        self.note(job, state, now).await.map(Some)
    }

    /// Takes answers to what the job has asked; `read` tells what one of them says, if it fits its question.
    ///
    /// When none is missing, the job goes on. Answers to what was not asked are ignored.
    pub(crate) async fn answer(
        &self,
        owner: &str,
        id: &JobId,
        now: Timestamp,
        read: impl Fn(&crate::InputRequest) -> Option<InputAnswer>,
    ) -> Result<Option<Job>, JobStoreError> {
        let answering = self.answering.lock().await;
        let Some(job) = self.kept(owner, id).await? else { return Ok(None) };
        let JobState::Asking(mut questions) = job.state.clone() else { return Ok(Some(job)) };
        let given: BTreeMap<String, InputAnswer> = questions
            .pending()
            .filter_map(|input| Some((input.key.clone(), read(input)?)))
            .collect();
        if given.is_empty() {
            return Ok(Some(job));
        }
        questions.answers.extend(given);
        if questions.pending().next().is_some() {
            return self.note(job, JobState::Asking(questions), now).await.map(Some);
        }
        let answers = questions.answers;
        // Before the driver, whose job may end or ask anew at once.
        let job = self.note(job, JobState::Running, now).await?;
        drop(answering);
        let state = self.driver.answer(&job, answers).await;
        self.note(job, state, now).await.map(Some)
    }

    /// Keeps a new state, if it is one.
    async fn note(&self, job: Job, state: JobState, now: Timestamp) -> Result<Job, JobStoreError> {
        if state == job.state {
            return Ok(job);
        }
        let kept = self.store.update(&job.id, state, now).await?;
        Ok(kept.unwrap_or(job))
    }
}
