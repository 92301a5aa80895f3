//! Work that outlived its call: kept by a random id, and looked at again after a restart.
//!
//! A job is written down when its caller stops waiting, before the caller is told its name. It
//! carries what is needed to find out later what became of it: the tasks that were begun, and how
//! far the plan was.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use estate::Upid;
use mcp_protocol::{Answer, Job, JobDriver, JobId, JobState, JobStore, JobStoreError, NewJob};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    error::ToolError,
    fleet::Fleet,
    follow::{Holder, clean_cause},
    redaction::Redaction,
    report::Report,
    tool::Cx,
};

/// Keeps and finds jobs.
pub struct Jobs {
    store: Arc<dyn JobStore>,
    fleet: Arc<Fleet>,
    redaction: Redaction,
    ceiling: usize,
    /// Those of this process, and how each is stopped.
    running: Mutex<BTreeMap<String, CancellationToken>>,
}

/// What a job stands for, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refs {
    /// The step at work when it was written down, from 1.
    pub(crate) step: usize,
    /// How many steps there are.
    pub(crate) steps: usize,
    /// The tasks that were begun by then, with the member that has each.
    pub(crate) tasks: Vec<(String, Upid)>,
}

/// A job that this process works on.
pub(crate) struct Claim {
    jobs: Arc<Jobs>,
    id: JobId,
    cx: Cx,
}

// === impl Jobs ===

impl Jobs {
    /// Jobs in this store, about this estate.
    pub fn new(
        store: Arc<dyn JobStore>,
        fleet: Arc<Fleet>,
        redaction: Redaction,
        ceiling: usize,
    ) -> Self {
        Self { store, fleet, redaction, ceiling, running: Mutex::default() }
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
        refs: Refs,
        stop: CancellationToken,
    ) -> Option<Claim> {
        let job = NewJob {
            owner: cx.call.caller().subject().to_owned(),
            label: stdx::untrusted::line(label, 200).into_owned(),
            refs: refs.write(),
            created: cx.now(),
        };
        match self.store.create(job).await {
            Ok(job) => {
                self.lock().insert(job.id.as_str().to_owned(), stop);
                Some(Claim { jobs: Arc::clone(self), id: job.id, cx: cx.clone() })
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

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, CancellationToken>> {
        // Every change is one insert or one removal: a panic cannot leave it half done.
        self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What can be said of a job whose process is gone: only the task that was at work is left.
    async fn after_restart(&self, job: &Job) -> JobState {
        let refs = Refs::read(&job.refs);
        let interrupted = |why: String| {
            let lead = format!("{} was interrupted: {why}", job.label);
            JobState::Unknown(lead)
        };
        let Some((member, upid)) = refs.tasks.last() else {
            return interrupted("the server ended before its first task was known".to_owned());
        };
        let holder = if let Ok(found) = self.fleet.pbs(Some(member)) {
            found.into_iter().next().map(|member| {
                let client = member.operator.clone();
                Holder::Pbs(member, client)
            })
        } else {
            let found = self.fleet.pve(Some(member)).unwrap_or_default().into_iter().next();
            found.map(|member| {
                let client = member.operator.clone();
                Holder::Pve(member, client)
            })
        };
        let Some(holder) = holder else {
            return interrupted(format!("the settings do not have {member} any more"));
        };
        let status = match holder.outcome(upid).await {
            Ok(None) => return JobState::Running,
            Ok(Some(status)) => status,
            // It may answer again: a job is not given up for a node that is away.
            Err(error) if error.is_unreachable() => return JobState::Running,
            Err(error) => {
                let why = clean_cause(&stdx::Chain(&error).to_string());
                return interrupted(format!("its task cannot be read: {why}"));
            }
        };
        if !status.is_success() {
            let lead = format!("{} failed: {}", job.label, clean_cause(&status.to_string()));
            let report = Report::new(lead).fact("upid", upid.as_str()).fact("status", "failed");
            return JobState::Failed(self.answer(report));
        }
        if refs.step < refs.steps {
            return interrupted(format!(
                "the server ended at step {} of {}; that step's task ended well, and what \
                 follows was not done",
                refs.step, refs.steps
            ));
        }
        let report = Report::new(format!("{} is done", job.label))
            .fact("upid", upid.as_str())
            .fact("status", "ok")
            .note("the server was restarted meanwhile: the task's status is all that was checked")
            .next("task_get", json!({"upid": upid.as_str(), "cluster": member}));
        JobState::Done(self.answer(report))
    }
}

#[async_trait]
impl JobDriver for Jobs {
    async fn refresh(&self, job: &Job) -> JobState {
        if self.lock().contains_key(job.id.as_str()) {
            return JobState::Running;
        }
        self.after_restart(job).await
    }

    async fn cancel(&self, job: &Job) -> JobState {
        let stop = self.lock().get(job.id.as_str()).cloned();
        match stop {
            Some(stop) => {
                stop.cancel();
                JobState::Cancelled
            }
            None => self.after_restart(job).await,
        }
    }
}

// === impl Claim ===

impl Claim {
    /// The job's id.
    pub(crate) fn id(&self) -> String {
        self.id.as_str().to_owned()
    }

    /// Writes down how it ended.
    pub(crate) async fn finish(self, ended: Result<Report, ToolError>) {
        let (report, failed) = match ended {
            Ok(report) => (report, false),
            Err(error) => (error.into_report(), true),
        };
        self.cx.record(if failed { "failed" } else { "done" }, &report.lead).await;
        let answer = self.jobs.answer(report);
        let state = if failed { JobState::Failed(answer) } else { JobState::Done(answer) };
        let kept = self.jobs.store.update(&self.id, state, self.cx.now()).await;
        if let Err(error) = kept {
            warn!(job = %self.id, error = %stdx::Chain(&error), "cannot write down how the job ended");
        }
        self.jobs.lock().remove(self.id.as_str());
    }
}

// === impl Refs ===

impl Refs {
    fn write(&self) -> Vec<String> {
        let step = format!("step:{}/{}", self.step, self.steps);
        let tasks = self.tasks.iter().map(|(member, upid)| format!("task:{member}:{upid}"));
        std::iter::once(step).chain(tasks).collect()
    }

    fn read(refs: &[String]) -> Self {
        let mut out = Self { step: 0, steps: 0, tasks: Vec::new() };
        for text in refs {
            if let Some((step, steps)) =
                text.strip_prefix("step:").and_then(|text| text.split_once('/'))
            {
                out.step = step.parse().unwrap_or_default();
                out.steps = steps.parse().unwrap_or_default();
            } else if let Some((member, upid)) =
                text.strip_prefix("task:").and_then(|text| text.split_once(':'))
                && let Ok(upid) = upid.parse()
            {
                out.tasks.push((member.to_owned(), upid));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_reads_back() {
        let upid = "UPID:alder:00000001:00000001:00000001:qmclone:104:mcp@pve!agent:";
        let refs = Refs {
            step: 2,
            steps: 5,
            tasks: vec![("lab".to_owned(), upid.parse().expect("a UPID"))],
        };
        assert_eq!(Refs::read(&refs.write()), refs);
        let garbage = ["step:x", "task:lab", "task:lab:no", "other"].map(str::to_owned);
        assert_eq!(Refs::read(&garbage), Refs { step: 0, steps: 0, tasks: Vec::new() });
    }
}
