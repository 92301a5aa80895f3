//! After a crash: what became of what was sent, as far as that can be found out.
//!
//! A task is found by its node, its types, its id, its user and its time. What cannot be told is
//! `unknown`: counted, listed, and left to a person.
//!
//! *Invariant:* looks only; nothing is ever sent again.

use std::time::Duration;

use estate::Upid;
use guard::ports::{
    Action, ActionFilter, ActionId, ActionState, ApprovalFilter, ApprovalState, Intent, Outcome,
    PortError, PortErrorKind, StepEnd,
};
use jiff::Timestamp;
use pve_client::tasks::{TaskListParams, TaskSource};
use tokio::time::sleep;
use tracing::info;

use super::{Gate, Ports, kept};
use crate::{
    fleet::Fleet,
    follow::{Holder, clean_cause},
    report::Report,
};

/// How much a node's clock may differ from ours when its tasks are told apart by time alone.
const SKEW_SECS: i64 = 120;

/// How long after its intent a call may have begun its task: as long as an answer is waited for.
const LATE_SECS: i64 = 600;

/// How many of a node's tasks are looked through.
const LOOKED_AT: u64 = 200;

/// Between two looks at what still runs.
const PAUSE: Duration = Duration::from_secs(2);

/// What was found out after a start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered {
    /// Actions whose program is gone, and how they ended.
    pub settled: Vec<(ActionId, ActionState)>,
    /// Those of which something is at work still: ask again.
    pub open: Vec<ActionId>,
    /// Approvals that are to be run: their program was gone before it sent anything.
    pub released: Vec<guard::ports::ApprovalId>,
    /// How many actions are unknown in all, until a person settles them.
    pub unknown: usize,
}

/// How a step is.
enum Look {
    Ended(StepEnd),
    /// Its task is at work.
    Running,
    /// Nobody who could tell answers; it may later.
    Silent(String),
}

/// How an action is that its process has left.
pub(super) enum Fate {
    Ended(ActionState, String),
    /// Something of it is at work, or whoever could tell is away.
    Open,
}

/// Follows what an action has begun until all of it has ended. Asks again as long as it takes.
pub(super) async fn follow(
    ports: &Ports,
    fleet: &Fleet,
    id: ActionId,
) -> Result<(ActionState, String), PortError> {
    loop {
        let action = ports.actions.action(id).await?;
        let gone = || PortError::new(PortErrorKind::NotFound, format!("there is no action {id}"));
        match settle(ports, fleet, &action.ok_or_else(gone)?).await? {
            Fate::Ended(state, lead) => return Ok((state, lead)),
            Fate::Open => sleep(PAUSE).await,
        }
    }
}

/// Looks at every step of which the end is not known, and notes what is found.
pub(super) async fn settle(
    ports: &Ports,
    fleet: &Fleet,
    action: &Action,
) -> Result<Fate, PortError> {
    let mut ends = Vec::new();
    let mut is_open = false;
    for intent in &action.intents {
        if let Some(end) = &intent.end {
            ends.push((intent, end.clone()));
            continue;
        }
        let upid = match &intent.upid {
            Some(upid) => Some(upid.clone()),
            None => match search(ports, fleet, action, intent).await? {
                Found::Task(upid) => {
                    ports.actions.sent(action.id, intent.step, &upid).await?;
                    Some(upid)
                }
                Found::Nothing(why) => {
                    let end = StepEnd::Unknown(why);
                    ports.actions.ended(action.id, intent.step, end.clone()).await?;
                    ends.push((intent, end));
                    continue;
                }
                Found::Silent => {
                    is_open = true;
                    continue;
                }
            },
        };
        let Some(upid) = upid else { continue };
        match look(fleet, intent, &upid).await {
            Look::Ended(end) => {
                ports.actions.ended(action.id, intent.step, end.clone()).await?;
                ends.push((intent, end));
            }
            Look::Running => is_open = true,
            Look::Silent(why) => {
                tracing::debug!(action = %action.id, %upid, why, "its task cannot be asked for");
                is_open = true;
            }
        }
    }
    if is_open {
        return Ok(Fate::Open);
    }
    let (state, lead) = judged(action, &ends);
    Ok(Fate::Ended(state, lead))
}

/// What the ends of its steps say of an action.
fn judged(action: &Action, ends: &[(&Intent, StepEnd)]) -> (ActionState, String) {
    let target = &action.target;
    let unknown = ends.iter().find_map(|(intent, end)| match end {
        StepEnd::Unknown(why) => Some(format!("outcome of {} is unknown: {why}", intent.what)),
        _ => None,
    });
    if let Some(why) = unknown {
        return (ActionState::Unknown, why);
    }
    let failed = ends.iter().find_map(|(intent, end)| match end {
        StepEnd::Failed(why) => Some(format!("{} failed: {why}", intent.what)),
        _ => None,
    });
    if let Some(why) = failed {
        return (ActionState::Failed, why);
    }
    let done = ends.iter().filter(|(_, end)| *end == StepEnd::Done).count();
    if done == 0 {
        let lead = format!("{target}: nothing was sent, the server ended before");
        return (ActionState::Cancelled, lead);
    }
    let last = action.steps.saturating_sub(1);
    if ends.iter().any(|(intent, end)| intent.step == last && *end == StepEnd::Done) {
        let lead = format!(
            "{target} is done; the server was restarted meanwhile, and the status of its tasks is \
             all that was checked"
        );
        return (ActionState::Done, lead);
    }
    let lead = format!(
        "{target} was interrupted: what was sent ended well, and what follows was not done"
    );
    (ActionState::Failed, lead)
}

enum Found {
    Task(Upid),
    Nothing(String),
    Silent,
}

/// Looks for the task of a call whose answer was never written down.
async fn search(
    ports: &Ports,
    fleet: &Fleet,
    action: &Action,
    intent: &Intent,
) -> Result<Found, PortError> {
    let Some(trace) = &intent.trace else {
        let why = "the server ended before its answer came, and it leaves no task to look for";
        return Ok(Found::Nothing(why.to_owned()));
    };
    let member = fleet.pve(Some(&trace.member)).ok().and_then(|found| found.into_iter().next());
    let (Some(member), Ok(node)) = (member, trace.node.parse()) else {
        let why = format!("the settings do not have {} any more", trace.member);
        return Ok(Found::Nothing(why));
    };
    let options = TaskListParams {
        source: Some(TaskSource::All),
        limit: Some(LOOKED_AT),
        ..TaskListParams::default()
    };
    let tasks = match member.operator.call(pve_client::tasks::list(&node, options)).await {
        Ok(tasks) => tasks,
        Err(error) if error.is_unreachable() => return Ok(Found::Silent),
        Err(error) => {
            let why = clean_cause(&stdx::Chain(&error).to_string());
            return Ok(Found::Nothing(format!("its task cannot be looked for: {why}")));
        }
    };
    let others = claimed(ports, action.id, intent.at).await?;
    let fits = tasks.into_iter().map(|task| task.upid).filter(|upid| {
        let late = upid.started().as_second() - intent.at.as_second();
        trace.kinds.iter().any(|kind| kind == upid.kind())
            && upid.id() == trace.id
            && trace.user.as_ref().is_none_or(|user| user == upid.user())
            && (-SKEW_SECS..=LATE_SECS).contains(&late)
            && !others.contains(upid)
    });
    let fits: Vec<Upid> = fits.collect();
    Ok(match fits.as_slice() {
        [one] => Found::Task(one.clone()),
        [] => Found::Nothing(
            "the server ended before its answer came, and no task of it is found".to_owned(),
        ),
        several => Found::Nothing(format!(
            "the server ended before its answer came, and {} tasks could be its",
            several.len()
        )),
    })
}

/// The tasks of that time that are known to be others'.
async fn claimed(ports: &Ports, own: ActionId, at: Timestamp) -> Result<Vec<Upid>, PortError> {
    let span = jiff::SignedDuration::from_secs(SKEW_SECS + LATE_SECS);
    let filter = ActionFilter { since: at.checked_sub(span).ok(), ..ActionFilter::default() };
    let actions = ports.actions.actions(&filter).await?;
    let others = actions.into_iter().filter(|action| action.id != own);
    Ok(others.flat_map(|action| action.intents).filter_map(|intent| intent.upid).collect())
}

async fn look(fleet: &Fleet, intent: &Intent, upid: &Upid) -> Look {
    let key = intent.calls.first().map(|call| call.member.as_str()).unwrap_or_default();
    let Some(holder) = Holder::of(fleet, key) else {
        return Look::Ended(StepEnd::Unknown(format!("the settings do not have {key} any more")));
    };
    match holder.outcome(upid).await {
        Ok(None) => Look::Running,
        Ok(Some(status)) if status.is_success() => Look::Ended(StepEnd::Done),
        Ok(Some(status)) => Look::Ended(StepEnd::Failed(clean_cause(&status.to_string()))),
        // It may answer again: nothing is given up for a node that is away.
        Err(error) if error.is_unreachable() => Look::Silent(stdx::Chain(&error).to_string()),
        Err(error) => {
            let why = clean_cause(&stdx::Chain(&error).to_string());
            Look::Ended(StepEnd::Unknown(format!("its task cannot be read: {why}")))
        }
    }
}

// === impl Gate ===

impl Gate {
    /// Settles what programs have left that are gone. Called at the start, and again as long as
    /// anything is open.
    ///
    /// # Errors
    /// What is remembered cannot be read or written.
    pub async fn recover(&self) -> Result<Recovered, PortError> {
        let mut recovered = Recovered::default();
        let Some(ports) = self.ports() else { return Ok(recovered) };
        let with = |state| ActionFilter { states: vec![state], ..ActionFilter::default() };
        for action in ports.actions.actions(&with(ActionState::Running)).await? {
            if !self.is_left(&action.owner) {
                continue;
            }
            match settle(ports, &self.fleet, &action).await? {
                Fate::Open => recovered.open.push(action.id),
                Fate::Ended(state, lead) => {
                    self.settled(ports, &action, state, &lead).await?;
                    recovered.settled.push((action.id, state));
                }
            }
        }
        recovered.released = self.give_back(ports).await?;
        recovered.unknown = ports.actions.actions(&with(ActionState::Unknown)).await?.len();
        Ok(recovered)
    }

    /// Whether the program of that name is gone. One whose name this one does not see is: whoever
    /// shares a store without sharing the folder leaves recovery to one of them.
    fn is_left(&self, owner: &str) -> bool {
        let process = &self.options.process;
        !process.is(owner) && process.is_gone(owner) != Some(false)
    }

    async fn settled(
        &self,
        ports: &Ports,
        action: &Action,
        state: ActionState,
        lead: &str,
    ) -> Result<(), PortError> {
        let now = self.fleet.now();
        info!(action = %action.id, tool = action.tool, state = state.as_str(), lead, "settled");
        ports.actions.finish(action.id, state, lead, now).await?;
        self.journal_settled(action, state, lead).await;
        // Nothing was sent: it is given back.
        if state == ActionState::Cancelled && action.intents.is_empty() {
            return Ok(());
        }
        let Some(approval) = action.approval else { return Ok(()) };
        self.tell_asker(ports, approval, state, lead).await
    }

    /// Ends an approval with what its action came to.
    async fn tell_asker(
        &self,
        ports: &Ports,
        approval: guard::ports::ApprovalId,
        state: ActionState,
        lead: &str,
    ) -> Result<(), PortError> {
        let outcome = match state {
            ActionState::Done => Outcome::Done,
            ActionState::Unknown => Outcome::Unknown,
            _ => Outcome::Failed,
        };
        let status = if state == ActionState::Done { "ok" } else { state.as_str() };
        let mut report = Report::new(lead).fact("status", status);
        self.options.redaction.report(&mut report);
        let kept = kept::write(&report, state != ActionState::Done);
        match ports.approvals.finish(approval, outcome, kept, self.fleet.now()).await {
            // It was never claimed by this action, or somebody has written it down already.
            Err(error) if error.is_conflict() => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// Gives back approvals that were claimed by programs which are gone and have sent nothing; ends those whose
    /// action has ended, and of which that is all that was left to write down.
    async fn give_back(&self, ports: &Ports) -> Result<Vec<guard::ports::ApprovalId>, PortError> {
        let mut released = Vec::new();
        let running =
            ApprovalFilter { states: vec![ApprovalState::Running], ..ApprovalFilter::default() };
        for approval in ports.approvals.approvals(&running).await? {
            let since = Some(approval.asked_at);
            let filter = ActionFilter { since, ..ActionFilter::default() };
            let mut actions = ports.actions.actions(&filter).await?;
            actions.retain(|action| action.approval == Some(approval.id));
            let nothing = |it: &Action| it.state == ActionState::Cancelled && it.intents.is_empty();
            if let Some(last) = actions.iter().find(|it| !nothing(it)) {
                if last.state != ActionState::Running && self.is_left(&last.owner) {
                    let lead = last.lead.as_deref().unwrap_or("it has ended");
                    self.tell_asker(ports, approval.id, last.state, lead).await?;
                }
                continue;
            }
            match ports.approvals.release(approval.id, self.fleet.now()).await {
                Ok(approval) => released.push(approval.id),
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(released)
    }
}
