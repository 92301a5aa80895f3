//! Follows what was begun to the truth.
//!
//! A POST that answers 200 has only begun a task; what became of it stands in the task's exit
//! status. So every action follows its task to the end, or to the caller's deadline and then says
//! how to go on.

pub(crate) mod ha;
pub(crate) mod state;

use std::{sync::Arc, time::Duration};

use api_core::{
    Error,
    task::{TaskEnd, WaitOptions},
};
use estate::{TaskStatus, Upid};
use serde_json::json;
use tokio::{sync::watch, time::Instant};
use tracing::warn;

use crate::{
    fleet::{Fleet, Pbs, Pve},
    report::Report,
    tool::Cx,
};

/// How many of a log's last lines go with a failure.
pub(crate) const TAIL: usize = 15;

/// The longest cause that stands in a sentence, in characters.
const CAUSE: usize = 300;

/// Between two looks at a task: the first follow at once, later ones leave the node its workers.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// How long work in the background follows one task.
const PATIENCE: Duration = Duration::from_hours(24);

/// When a call stops waiting.
#[derive(Clone, Copy, Debug)]
pub struct Until {
    since: Instant,
    end: Instant,
}

/// Pauses that grow from look to look.
#[derive(Debug)]
pub(crate) struct Pace(Duration);

/// Whose task it is.
#[derive(Clone)]
pub(crate) enum Holder {
    /// A PVE node's. The client is the one that may see it.
    Pve(Arc<Pve>, pve_client::Client),
    /// A backup server's. The client is the one that may see it.
    Pbs(Arc<Pbs>, pbs_client::Client),
}

/// What became of a task while it was watched.
#[derive(Clone, Debug)]
pub(crate) struct Followed {
    /// The task.
    pub(crate) upid: Upid,
    /// How it ended, or that it runs.
    pub(crate) end: TaskEnd,
    /// The end of its log; of one that ended OK only if somebody followed it.
    pub(crate) tail: Vec<String>,
    /// How long it was watched.
    pub(crate) watched: Duration,
}

// === impl Until ===

impl Until {
    /// From now on, for as long as the caller says, and never longer than the server is willing.
    pub fn within(cx: &Cx, seconds: Option<u64>) -> Self {
        let wait = seconds.map_or(cx.task_wait, Duration::from_secs).min(cx.task_wait);
        let since = Instant::now();
        Self { since, end: since + wait }
    }

    /// For work that nobody waits for: as long as any task takes.
    pub(crate) fn patient() -> Self {
        let since = Instant::now();
        Self { since, end: since + PATIENCE }
    }

    /// What is left.
    pub fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// Whether nothing is left.
    pub fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    /// How long it has been.
    pub fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    /// The same beginning, but no longer than `wait` from now.
    pub(crate) fn at_most(self, wait: Duration) -> Self {
        Self { end: self.end.min(Instant::now() + wait), ..self }
    }
}

// === impl Pace ===

impl Pace {
    /// Begins with short pauses.
    pub(crate) fn new() -> Self {
        Self(FIRST_PAUSE)
    }

    /// Waits, but not beyond `until`.
    pub(crate) async fn wait(&mut self, until: &Until) {
        tokio::time::sleep(self.0.min(until.left())).await;
        self.0 = (self.0 * 2).min(LAST_PAUSE);
    }
}

// === impl Holder ===

impl Holder {
    /// The member with this settings key, as the one that may see what it began.
    pub(crate) fn of(fleet: &Fleet, key: &str) -> Option<Self> {
        if let Some(member) = fleet.pbs(Some(key)).ok().and_then(|it| it.into_iter().next()) {
            let client = member.operator.clone();
            return Some(Self::Pbs(member, client));
        }
        let member = fleet.pve(Some(key)).ok()?.into_iter().next()?;
        let client = member.operator.clone();
        Some(Self::Pve(member, client))
    }

    /// The settings key.
    pub(crate) fn key(&self) -> &str {
        match self {
            Self::Pve(member, _) => member.key.as_str(),
            Self::Pbs(member, _) => member.key.as_str(),
        }
    }

    /// How the task ended; `None` while it runs.
    pub(crate) async fn outcome(&self, upid: &Upid) -> Result<Option<TaskStatus>, Error> {
        match self {
            Self::Pve(_, client) => {
                Ok(client.call(pve_client::tasks::status(upid)).await?.outcome())
            }
            Self::Pbs(_, client) => {
                Ok(client.call(pbs_client::tasks::status(upid)).await?.outcome())
            }
        }
    }

    /// Stops the task; whether the server took that.
    pub(crate) async fn stop(&self, upid: &Upid) -> bool {
        let stopped = match self {
            Self::Pve(_, client) => client.call(pve_client::tasks::stop(upid)).await.map(|_| ()),
            Self::Pbs(_, client) => client.call(pbs_client::tasks::stop(upid)).await.map(|_| ()),
        };
        if let Err(error) = &stopped {
            warn!(%upid, error = %stdx::Chain(error), "cannot stop the task");
        }
        stopped.is_ok()
    }

    /// The log's lines from the one after `skip` on, at most `limit`, and how many there are in all.
    pub(crate) async fn log(
        &self,
        upid: &Upid,
        skip: u64,
        limit: u64,
    ) -> Result<(Vec<String>, u64), Error> {
        let (lines, total): (Vec<(bool, String)>, _) = match self {
            Self::Pve(_, client) => {
                let request = pve_client::tasks::log(upid, skip, Some(limit));
                let page = client.call_page(request).await?;
                let lines = page.data.into_iter();
                (lines.map(|line| (line.is_placeholder(), line.text)).collect(), page.total)
            }
            Self::Pbs(_, client) => {
                let request = pbs_client::tasks::log(upid, skip, Some(limit));
                let page = client.call_page(request).await?;
                (page.data.into_iter().map(|line| (false, line.text)).collect(), page.total)
            }
        };
        // An empty log is one made-up line, and its total is absent on some releases.
        let lines: Vec<_> = lines.into_iter().filter(|(fake, _)| !fake).map(|(_, t)| t).collect();
        let total = total.unwrap_or(0).max(skip + lines.len() as u64);
        let total = if lines.is_empty() && skip == 0 { 0 } else { total };
        Ok((lines, total))
    }

    /// The log's last `count` lines, and how many there are in all.
    pub(crate) async fn tail(&self, upid: &Upid, count: u64) -> Result<(Vec<String>, u64), Error> {
        let (lines, total) = self.log(upid, 0, count.max(1)).await?;
        if total <= count {
            return Ok((lines, total));
        }
        self.log(upid, total - count, count).await
    }
}

/// Follows a task until it ends or `until` is over, and tells progress meanwhile.
///
/// # Errors
/// The server refuses to tell. That it is out of reach for a while is waited for.
pub(crate) async fn follow(
    cx: &Cx,
    holder: &Holder,
    upid: &Upid,
    until: Until,
) -> Result<Followed, Error> {
    let mut options = WaitOptions::within(until.left());
    options.first_poll = FIRST_PAUSE;
    options.longest_poll = LAST_PAUSE;
    if !cx.call.wants_progress() {
        options = options.without_log();
    }
    let (lines, newest) = watch::channel(format!("{} {}: running", upid.kind(), upid.display_id()));
    let wait = async {
        let on_log = |line: &str| {
            lines.send_replace(stdx::untrusted::line(line, 200).into_owned());
        };
        match holder {
            Holder::Pve(_, client) => client.wait(upid, &options, on_log).await,
            Holder::Pbs(_, client) => client.wait(upid, &options, on_log).await,
        }
    };
    let outcome = tokio::select! {
        outcome = wait => outcome?,
        () = tell(cx, &until, newest) => unreachable!("telling progress never ends by itself"),
    };
    let (upid, end, tail) = (outcome.upid, outcome.state, outcome.log_tail);
    Ok(Followed { upid, end, tail, watched: until.elapsed() })
}

/// Tells the newest line of the log again and again, with the seconds as progress.
async fn tell(cx: &Cx, until: &Until, newest: watch::Receiver<String>) {
    if !cx.call.wants_progress() {
        return std::future::pending().await;
    }
    loop {
        let line = newest.borrow().clone();
        cx.tell(until.elapsed().as_secs_f64(), &line).await;
        tokio::time::sleep(LAST_PAUSE).await;
    }
}

// === impl Followed ===

impl Followed {
    /// Whether it still runs, as far as is known.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.end, TaskEnd::Running { .. })
    }

    /// Why it failed, if it did, in the server's own words.
    pub(crate) fn cause(&self) -> Option<&str> {
        match &self.end {
            TaskEnd::Failed(cause) => Some(cause),
            _ => None,
        }
    }

    /// The word for `status` in answers.
    pub(crate) fn word(&self) -> &'static str {
        match &self.end {
            TaskEnd::Running { .. } => "running",
            TaskEnd::Ok => "ok",
            TaskEnd::Warnings(_) => "warnings",
            TaskEnd::Failed(_) => "failed",
            _ => "unknown",
        }
    }

    /// How it ended, in a sentence: `OK`, or with how many warnings.
    pub(crate) fn ended(&self) -> String {
        match &self.end {
            TaskEnd::Warnings(1) => "with 1 warning".to_owned(),
            TaskEnd::Warnings(count) => format!("with {count} warnings"),
            _ => "OK".to_owned(),
        }
    }

    /// Puts task, status and, unless all is well, the end of the log into a report.
    pub(crate) fn tell(&self, report: Report) -> Report {
        let mut report = report.fact("upid", self.upid.as_str()).fact("status", self.word());
        match &self.end {
            TaskEnd::Failed(cause) => report = report.fact("cause", clean_cause(cause)),
            TaskEnd::Running { unreachable: Some(why) } => {
                report = report.note(format!("it could not be asked for lately: {why}"));
            }
            _ => {}
        }
        let tail = &self.tail[self.tail.len().saturating_sub(TAIL)..];
        if matches!(self.end, TaskEnd::Ok) || tail.is_empty() {
            return report;
        }
        report.untrusted(format!("end of the log of {}", self.upid), tail.join("\n"))
    }

    /// What to answer when `what` failed, or its end is not known; `None` if it runs or is done.
    pub(crate) fn failure(&self, what: &str) -> Option<Report> {
        let lead = match &self.end {
            TaskEnd::Failed(cause) => format!("{what} failed: {}", clean_cause(cause)),
            TaskEnd::Unknown(why) => {
                format!("outcome of the {what} is unknown: {}", clean_cause(why))
            }
            _ => return None,
        };
        Some(self.tell(Report::new(lead)))
    }

    /// What to answer when it still runs.
    pub(crate) fn still_running(&self, what: &str, cluster: &str) -> Report {
        let seconds = self.watched.as_secs();
        let report = Report::new(format!("{what} is still running after {seconds} s"));
        let upid = self.upid.as_str();
        self.tell(report).next("task_wait", json!({"upid": upid, "cluster": cluster}))
    }
}

/// A cause, fit for a sentence.
pub(crate) fn clean_cause(cause: &str) -> String {
    crate::redaction::shortened(cause, CAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upid(start: u32, kind: &str, id: &str) -> Upid {
        format!("UPID:alder:00000001:00000001:{start:08X}:{kind}:{id}:mcp@pve!agent:")
            .parse()
            .unwrap()
    }

    #[test]
    fn a_failure_carries_cause_and_log() {
        let upid = upid(1, "qmstart", "108");
        let followed = |end, tail: &[&str]| {
            let tail = tail.iter().map(|line| (*line).to_owned()).collect();
            let watched = Duration::from_secs(3);
            Followed { upid: upid.clone(), end, tail, watched }
        };
        let cause = "start failed:\n QEMU exited with code 1\n";
        let tail = ["kvm: busy", "TASK ERROR: start failed"];
        let report = followed(TaskEnd::Failed(cause.to_owned()), &tail)
            .failure("start of lab/108 gpu-render")
            .unwrap();
        assert_eq!(
            report.lead,
            "start of lab/108 gpu-render failed: start failed:  QEMU exited with code 1"
        );
        assert_eq!(report.facts["status"], "failed");
        assert!(report.untrusted[0].text.contains("kvm: busy"));
        let running = followed(TaskEnd::Running { unreachable: None }, &[]);
        assert!(running.failure("x").is_none());
        let report = running.still_running("backup of lab/100", "lab");
        assert_eq!(report.lead, "backup of lab/100 is still running after 3 s");
        assert_eq!(report.next[0].args["cluster"], "lab");
    }
}
