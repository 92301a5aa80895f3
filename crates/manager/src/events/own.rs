//! Tasks that this program began itself: what is heard of them belongs to that run.
//!
//! What was about to be sent is written down before it is, with the task that came of it. An event
//! that names such a task is marked before it is kept: with the run, the plan and who asked, and with a
//! key that all events of one run share. So they are one incident, and whoever is told of a failure is
//! told whose it is; the mark is in the log and needs no asking again after a restart.
//!
//! *Invariant:* no source can set the marks. *Invariant:* an event is never held up or lost because
//! nobody can say whose task it is.

use std::collections::BTreeSet;
use std::sync::Arc;

use estate::{ClusterKey, Upid};
use event_core::{Event, Key};
use guard::ports::{Action, ActionFilter, Actions, Intent};
use jiff::SignedDuration;
use rules::{ASKED_BY, PLAN, RUN};

/// The most runs that are looked through for a task.
const MOST: u32 = 500;

/// How far the clock of a node may be from ours.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// How long before a task of its own a run may have begun: it can have steps before that.
const LONGEST: SignedDuration = SignedDuration::from_hours(24);

/// What this program began, and as whom.
#[derive(Clone)]
pub struct OwnTasks {
    /// What was begun.
    pub actions: Arc<dyn Actions>,
    /// The accounts and tokens by which it works; of tasks of others nobody asks.
    pub accounts: BTreeSet<String>,
}

// === impl OwnTasks ===

impl OwnTasks {
    /// Marks an event that is about a task of a run.
    pub(crate) async fn mark(&self, event: &mut Event) {
        let Some(upid) = event.subject.upid.clone() else { return };
        if !self.accounts.contains(upid.user()) {
            return;
        }
        let since = upid.started().checked_sub(LONGEST).ok();
        let filter = ActionFilter { since, limit: MOST, ..ActionFilter::default() };
        match self.actions.actions(&filter).await {
            Ok(actions) => {
                if let Some(action) = begun_by(&actions, event.subject.cluster.as_ref(), &upid) {
                    put_on(event, action);
                }
            }
            Err(error) => {
                tracing::warn!(%upid, error = %stdx::Chain(&error), "cannot look whose task it is");
            }
        }
    }
}

/// Takes off what a source has put on, which only [`OwnTasks::mark`] may.
pub(crate) fn clear(event: &mut Event) {
    for name in [RUN, PLAN, ASKED_BY] {
        event.labels.remove(name);
    }
}

/// The run to which a task belongs: the one that wrote it down, or the only one whose call would begin
/// such a task and has not heard yet which it is.
fn begun_by<'a>(
    actions: &'a [Action],
    cluster: Option<&ClusterKey>,
    upid: &Upid,
) -> Option<&'a Action> {
    let named = |action: &&Action| action.intents.iter().any(|it| it.upid.as_ref() == Some(upid));
    if let Some(action) = actions.iter().find(named) {
        return Some(action);
    }
    let may_be = |action: &&Action| action.intents.iter().any(|it| is_trace(it, cluster, upid));
    let mut found = actions.iter().filter(may_be);
    found.next().filter(|_| found.next().is_none())
}

/// Whether it is what an intent without a task looks for.
fn is_trace(intent: &Intent, cluster: Option<&ClusterKey>, upid: &Upid) -> bool {
    let Some(trace) = intent.trace.as_ref().filter(|_| intent.upid.is_none()) else {
        return false;
    };
    let apart = upid.started().duration_since(intent.at).abs();
    cluster.is_some_and(|cluster| cluster.as_str() == trace.member)
        && upid.node().as_str() == trace.node
        && trace.kinds.iter().any(|kind| kind == upid.kind())
        && upid.id() == trace.id
        && trace.user.as_deref().is_none_or(|user| user == upid.user())
        && apart <= SKEW
}

fn put_on(event: &mut Event, action: &Action) {
    let run = action.id.to_string();
    event.keys.insert(Key::Own(format!("run:{run}")));
    event.labels.insert(RUN.to_owned(), run);
    event.labels.insert(PLAN.to_owned(), action.digest.short().to_owned());
    event.labels.insert(ASKED_BY.to_owned(), action.principal.to_string());
}
