//! Work that outlived its call: kept by a random id, and looked at again after a restart.
//!
//! A job is written down when its caller stops waiting, before the caller is told its name. It
//! carries what is needed to find out later what became of it: which program works on it, how far
//! the plan is, and the tasks that were begun. From then on every step is written down before
//! anything of it is sent.
//!
//! *Invariant:* a job that a living program works on is never judged by another one. The one that
//! works on it writes it down anew every few seconds, and what has been silent for longer than
//! [`LEASE`] is held to be of a program that is gone, unless its lock is seen (see
//! [`crate::process`]).

mod judge;
mod refs;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::future::join_all;
use mcp_protocol::{Answer, Job, JobDriver, JobId, JobState, JobStore, JobStoreError, NewJob};
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::judge::{Seen, Verdict, judge};
pub(crate) use self::refs::{Refs, TaskRef};
use crate::{
    error::ToolError,
    fleet::Fleet,
    follow::{Holder, clean_cause},
    plan::Stage,
    process::Process,
    redaction::Redaction,
    report::Report,
    tool::Cx,
};

/// How often a job says that it is worked on.
pub(crate) const BEAT: Duration = Duration::from_secs(10);

/// For how long a job may say nothing before it is held to be given up: more than a few beats, and
/// what clocks differ by.
pub const LEASE: Duration = Duration::from_secs(45);

/// Keeps and finds jobs.
pub struct Jobs {
    store: Arc<dyn JobStore>,
    fleet: Arc<Fleet>,
    redaction: Redaction,
    ceiling: usize,
    process: Process,
}

/// A job that this process works on.
pub(crate) struct Claim {
    jobs: Arc<Jobs>,
    id: JobId,
    cx: Cx,
    steps: usize,
    stage: watch::Receiver<Stage>,
    stop: CancellationToken,
    /// One note at a time, so that an older one never comes after a newer one.
    noting: Mutex<()>,
}

// === impl Jobs ===

impl Jobs {
    /// Jobs in this store, about this estate, of which some run in this process.
    pub fn new(
        store: Arc<dyn JobStore>,
        fleet: Arc<Fleet>,
        redaction: Redaction,
        ceiling: usize,
        process: Process,
    ) -> Self {
        Self { store, fleet, redaction, ceiling, process }
    }

    /// Where they are kept.
    pub fn store(&self) -> &Arc<dyn JobStore> {
        &self.store
    }

    /// Writes a job down; `None` if that fails, which leaves its caller with the task alone.
    pub(crate) async fn claim(
        self: &Arc<Self>,
        cx: &Cx,
        label: &str,
        steps: usize,
        stage: watch::Receiver<Stage>,
        stop: CancellationToken,
    ) -> Option<Arc<Claim>> {
        let now = stage.borrow().clone();
        let mut label = label.to_owned();
        self.redaction.text(&mut label);
        let job = NewJob {
            owner: cx.call.caller().subject().to_owned(),
            label: stdx::untrusted::line(&label, 200).into_owned(),
            refs: self.refs(steps, &now).write(),
            created: cx.now(),
        };
        match self.store.create(job).await {
            Ok(job) => {
                self.process.begin(&job.id, stop.clone());
                Some(Arc::new(Claim {
                    jobs: Arc::clone(self),
                    id: job.id,
                    cx: cx.clone(),
                    steps,
                    stage,
                    stop,
                    noting: Mutex::default(),
                }))
            }
            Err(error) => {
                warn!(label, error = %stdx::Chain(&error), "cannot write the job down");
                None
            }
        }
    }

    /// A job of this caller as it is now.
    ///
    /// # Errors
    /// The store does not answer.
    pub(crate) async fn look(&self, owner: &str, id: &str) -> Result<Option<Job>, JobStoreError> {
        let id = JobId::from_text(id);
        let Some(job) = self.store.get(&id).await?.filter(|job| job.owner == owner) else {
            return Ok(None);
        };
        if job.state.is_finished() {
            return Ok(Some(job));
        }
        match self.refresh(&job).await {
            JobState::Running => Ok(Some(job)),
            state => self.store.update(&id, state, self.fleet.now()).await,
        }
    }

    fn answer(&self, mut report: Report) -> Answer {
        self.redaction.report(&mut report);
        let rendered = report.render(self.ceiling);
        Answer::text(rendered.text).with_structured(rendered.structured)
    }

    fn refs(&self, steps: usize, stage: &Stage) -> Refs {
        let step = stage.step + 1;
        Refs {
            step,
            steps,
            by: self.process.id().to_owned(),
            doing: stdx::untrusted::line(&stage.what, 120).into_owned(),
            tasks: Refs::worth_keeping(step, &stage.tasks),
        }
    }

    /// Whether another program works on it, as far as can be told.
    fn is_with_another(&self, job: &Job, refs: &Refs) -> bool {
        if self.process.is(&refs.by) {
            return false;
        }
        match self.process.is_gone(&refs.by) {
            Some(gone) => !gone,
            None => {
                let silent = self.fleet.now().duration_since(job.updated);
                silent.unsigned_abs() < LEASE
            }
        }
    }

    /// What the tasks of the step at work say of themselves.
    async fn look_at_tasks(&self, refs: &Refs) -> Vec<(TaskRef, Seen)> {
        let looks = refs.current().map(|task| async move {
            let seen = match self.holder(&task.member) {
                None => {
                    let member = &task.member;
                    Seen::Lost(format!("is on {member}, which the settings do not have any more"))
                }
                Some(holder) => match holder.outcome(&task.upid).await {
                    Ok(None) => Seen::Open,
                    Ok(Some(status)) => Seen::Ended(status),
                    // It may answer again: a job is not given up for a node that is away.
                    Err(error) if error.is_unreachable() => Seen::Open,
                    Err(error) => {
                        let why = clean_cause(&stdx::Chain(&error).to_string());
                        Seen::Lost(format!("cannot be read: {why}"))
                    }
                },
            };
            (task.clone(), seen)
        });
        join_all(looks).await
    }

    fn holder(&self, member: &str) -> Option<Holder> {
        if let Ok(found) = self.fleet.pbs(Some(member)) {
            let member = found.into_iter().next()?;
            let client = member.operator.clone();
            return Some(Holder::Pbs(member, client));
        }
        let member = self.fleet.pve(Some(member)).ok()?.into_iter().next()?;
        let client = member.operator.clone();
        Some(Holder::Pve(member, client))
    }

    /// What can be said of a job whose process is gone: only the tasks that were at work are left.
    async fn after_restart(&self, job: &Job, refs: &Refs) -> JobState {
        let seen = self.look_at_tasks(refs).await;
        match judge(&job.label, refs, &seen) {
            Verdict::Open => JobState::Running,
            Verdict::Done(report) => JobState::Done(self.answer(report)),
            Verdict::Failed(report) => JobState::Failed(self.answer(report)),
            Verdict::Unknown(why) => JobState::Unknown(why),
        }
    }

    /// Stops the tasks of the step at work that may be stopped; whether any was.
    async fn stop_tasks(&self, refs: &Refs) -> bool {
        let stops = refs.current().filter(|task| task.stoppable).map(|task| async move {
            match self.holder(&task.member) {
                Some(holder) => holder.stop(&task.upid).await,
                None => false,
            }
        });
        join_all(stops).await.contains(&true)
    }
}

#[async_trait]
impl JobDriver for Jobs {
    async fn refresh(&self, job: &Job) -> JobState {
        let refs = Refs::read(&job.refs);
        if self.process.stop_of(&job.id).is_some() || self.is_with_another(job, &refs) {
            return JobState::Running;
        }
        self.after_restart(job, &refs).await
    }

    async fn cancel(&self, job: &Job) -> JobState {
        let refs = Refs::read(&job.refs);
        if let Some(stop) = self.process.stop_of(&job.id) {
            stop.cancel();
            // What it comes to is said when the work has ended: a task may not be stopped, or end
            // well before it is.
            return JobState::Running;
        }
        if self.is_with_another(job, &refs) {
            let stopped = self.stop_tasks(&refs).await;
            // Whoever works on it reads this before it begins anything further.
            let is_last = refs.step >= refs.steps;
            return if stopped || !is_last { JobState::Cancelled } else { JobState::Running };
        }
        match self.after_restart(job, &refs).await {
            JobState::Running if self.stop_tasks(&refs).await => JobState::Cancelled,
            state => state,
        }
    }
}

// === impl Claim ===

impl Claim {
    /// The job's id.
    pub(crate) fn id(&self) -> String {
        self.id.as_str().to_owned()
    }

    /// Writes down how far it is, which also says that it is worked on. Where it was stopped
    /// through another program, nothing further is begun.
    pub(crate) async fn note(&self) {
        let _one = self.noting.lock().await;
        let refs = self.jobs.refs(self.steps, &self.stage.borrow());
        let noted = self.jobs.store.progress(&self.id, refs.write(), self.cx.now()).await;
        match noted {
            Ok(Some(job)) if job.state == JobState::Cancelled && !self.stop.is_cancelled() => {
                info!(job = %self.id, "stopped through another program");
                self.stop.cancel();
            }
            Ok(_) => {}
            Err(error) => {
                warn!(job = %self.id, error = %stdx::Chain(&error), "cannot write down how far the job is");
            }
        }
    }

    /// Writes down how it ended.
    pub(crate) async fn finish(&self, ended: Result<Report, ToolError>) {
        self.cx.ended(ended.as_ref()).await;
        let (report, failed) = match ended {
            Ok(report) => (report, false),
            Err(error) => (error.into_report(), true),
        };
        let cancelled = failed && report.facts.get("status") == Some(&"cancelled".into());
        let answer = self.jobs.answer(report);
        let state = if cancelled {
            JobState::Cancelled
        } else if failed {
            JobState::Failed(answer)
        } else {
            JobState::Done(answer)
        };
        let kept = self.jobs.store.update(&self.id, state, self.cx.now()).await;
        if let Err(error) = kept {
            warn!(job = %self.id, error = %stdx::Chain(&error), "cannot write down how the job ended");
        }
        self.jobs.process.end(&self.id);
        self.jobs.process.job_changed(&self.id);
    }
}
