//! Ways back: what an undo would need is kept when an action is done, and what nobody confirmed is
//! put back.

use std::{collections::BTreeMap, time::Duration};

use estate::Access;
use futures::future::join_all;
use guard::{
    Principal,
    policy::Transport,
    ports::{ActionState, Confirm, ConfirmState, KeptCall, NewUndo, PortError, UndoId},
};
use jiff::{SignedDuration, Timestamp};
use mcp_protocol::{CallContext, Caller, JsonObject};
use serde_json::{Map, Value, json};
use tokio::time::timeout;
use tracing::{debug, error, info, warn};

use super::{
    Gate, Ports, Who, Work,
    pass::{Passage, Terms},
};
use crate::{
    error::{Kind, ToolError},
    plan::{ActionTool, Later, Plan, filled},
    report::Report,
    tools,
};

/// For how long a way back is kept.
const KEPT: SignedDuration = SignedDuration::from_hours(24 * 7);

/// For how long whoever reverts has the revert to itself; then it is tried again.
const LEASE: Duration = Duration::from_mins(2);

/// For how long a revert is tried again whose target cannot be reached.
const GIVE_UP: SignedDuration = SignedDuration::from_hours(24);

/// The line under which a change is reverted that nobody confirmed.
const LINE: &str = "revert";

/// The way back from an action, until it is done.
#[derive(Clone, Debug)]
pub(super) struct Back {
    calls: Vec<(&'static str, JsonObject)>,
    /// What the calls lack until the run brings it.
    later: Vec<Later>,
    what: String,
    target: String,
    before: Value,
}

/// The way back from this plan, if there are calls for it.
pub(super) fn back(passage: &Passage<'_>, plan: &Plan) -> Option<Back> {
    let calls = plan.undo.calls();
    // What takes something back is itself not taken back by taking it back again.
    if calls.is_empty() || !plan.acts_as.is_empty() {
        return None;
    }
    let guest = plan.facts.get("guest").and_then(Value::as_str).map(str::to_owned);
    let target = guest.filter(|guest| plan.targets.contains_key(guest));
    let target = target.or_else(|| plan.targets.keys().next().cloned());
    let target = target.unwrap_or_else(|| plan.what.clone());
    let before = plan.changes.iter().map(|it| (it.key.clone(), Value::from(it.before.as_str())));
    let mut before = Value::Object(before.collect::<Map<_, _>>());
    passage.options.redaction.json(&mut before);
    let mut what = plan.what.clone();
    passage.options.redaction.text(&mut what);
    let what = stdx::untrusted::line(&what, 200).into_owned();
    Some(Back { calls, later: plan.later.clone(), what, target, before })
}

/// Keeps it, with the state that the action has left: what moves from there would be lost.
pub(super) async fn keep(work: &Work, back: Back) -> Option<UndoId> {
    let (ports, action) = (work.ports.as_ref()?, work.id?);
    let (after, calls) = now_possible(work, &back).await?;
    let now = work.cx.now();
    let new = NewUndo {
        action,
        principal: work.principal.clone(),
        tool: work.tool.to_owned(),
        target: back.target,
        what: back.what,
        before: back.before,
        after: json!(after),
        calls,
        expires_at: now.checked_add(KEPT).unwrap_or(Timestamp::MAX),
    };
    match ports.undos.keep(new, now).await {
        Ok(undo) => Some(undo.id),
        Err(error) => {
            warn!(%action, %error, "cannot keep the way back");
            None
        }
    }
}

type State = BTreeMap<String, BTreeMap<String, String>>;

/// The calls of a way back with what the run has brought, and the state that they find. `None` if
/// there is none: a way back that cannot be gone is none.
async fn now_possible(work: &Work, back: &Back) -> Option<(State, Vec<KeptCall>)> {
    let mut after = State::new();
    let mut kept = Vec::new();
    for (name, args) in &back.calls {
        let tool = tools::action(name)?;
        let Some(args) = filled(args, &back.later) else {
            warn!(tool = work.tool, "the way back lacks what the run did not bring");
            return None;
        };
        match tool.plan(&work.cx, args.clone()).await {
            Ok(plan) if plan.is_nothing() => continue,
            Ok(plan) => {
                for (address, state) in plan.targets {
                    after.entry(address).or_default().extend(state);
                }
            }
            // A copy that the action has made for this is worth keeping even where it cannot be put
            // back right now, such as over a guest that runs: whoever asks for it is told what has
            // to be done first, and what the guest is then is kept before, too.
            Err(error) if !back.later.is_empty() => {
                debug!(tool = work.tool, error = error.message(), "cannot go back at once");
            }
            Err(_) => return None,
        }
        kept.push(KeptCall { tool: (*name).to_owned(), arguments: args });
    }
    (!kept.is_empty()).then_some((after, kept))
}

/// Who puts a change back.
pub(super) fn who_reverts(confirm: &Confirm) -> Result<Principal, guard::InvalidPrincipal> {
    Principal::automation("revert")?.acting_for(confirm.principal.actor())
}

/// Whether the same may work a while later: nobody who could do it answered, or nobody knows how it
/// ended.
fn may_help_later(error: &ToolError) -> bool {
    let status = error.report().facts.get("status").and_then(Value::as_str);
    error.kind() == Kind::Unavailable || matches!(status, Some("unknown" | "running"))
}

// === impl Gate ===

impl Gate {
    /// Puts back what nobody confirmed in time, frozen or not. Called again and again, by any number
    /// of programs on one store: each change is taken by one of them at a time. What cannot be
    /// reached is tried again, since it may be this very change that cut it off.
    ///
    /// # Errors
    /// Nobody can tell what is due.
    pub async fn revert_due(&self) -> Result<Vec<Confirm>, PortError> {
        let Some(ports) = self.ports() else { return Ok(Vec::new()) };
        let due = ports.confirms.take_due(self.fleet.now(), LEASE).await?;
        // Side by side: one that waits for what it cut off holds up no other.
        let ended = join_all(due.iter().map(|confirm| self.take_back(ports, confirm))).await;
        let settled = ended.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(settled.into_iter().flatten().collect())
    }

    /// Whether any change is due to be put back. Changes nothing.
    ///
    /// # Errors
    /// Nobody can tell.
    pub async fn has_due(&self) -> Result<bool, PortError> {
        let Some(ports) = self.ports() else { return Ok(false) };
        let now = self.fleet.now();
        Ok(ports.confirms.open_confirms().await?.iter().any(|confirm| confirm.deadline <= now))
    }

    /// Puts one back; nothing where it is tried again later.
    async fn take_back(
        &self,
        ports: &Ports,
        confirm: &Confirm,
    ) -> Result<Option<Confirm>, PortError> {
        let calls = ports.confirms.revert_calls(confirm.id).await?;
        // Within the lease, so that nobody else begins while this is at it.
        let reverted = match timeout(LEASE, self.revert(ports, confirm, calls)).await {
            Ok(reverted) => reverted,
            Err(_) => Err(ToolError::new("it takes too long").of_kind(Kind::Unavailable)),
        };
        let (state, lead) = match reverted {
            Ok(lead) => (ConfirmState::Reverted, lead),
            Err(error) if may_help_later(&error) && !self.is_hopeless(confirm) => {
                let why = error.message();
                warn!(confirm = %confirm.id, what = confirm.what, why, "cannot revert yet: it is tried again");
                return Ok(None);
            }
            Err(error) => (ConfirmState::Failed, error.message().to_owned()),
        };
        if state == ConfirmState::Failed {
            error!(confirm = %confirm.id, what = confirm.what, lead, "cannot revert");
        } else {
            info!(confirm = %confirm.id, what = confirm.what, "reverted, since nobody confirmed it");
        }
        self.journal_revert(confirm, state.as_str(), &lead).await;
        ports.confirms.settle(confirm.id, state, &lead).await.map(Some)
    }

    /// Whether it was tried for long enough.
    fn is_hopeless(&self, confirm: &Confirm) -> bool {
        self.fleet.now().duration_since(confirm.deadline) > GIVE_UP
    }

    async fn revert(
        &self,
        ports: &Ports,
        confirm: &Confirm,
        calls: Vec<KeptCall>,
    ) -> Result<String, ToolError> {
        // A program that was killed before it sent anything leaves a change that was never made.
        let action = ports.actions.action(confirm.action).await;
        let action = action.map_err(|error| {
            ToolError::new(format!("cannot read what was done: {error}")).of_kind(Kind::Unavailable)
        })?;
        if action.is_some_and(|it| it.state == ActionState::Cancelled && it.intents.is_empty()) {
            return Ok("it was never made: there was nothing to take back".to_owned());
        }
        let principal = who_reverts(confirm);
        let principal = principal.map_err(|error| ToolError::new(error.to_string()))?;
        let who = Who { principal, scope: None, transport: Transport::Automation };
        let mut said = Vec::new();
        for call in calls {
            let report = self.put_back(&who, call).await?;
            said.push(report.lead);
        }
        Ok(said.join("; "))
    }

    async fn put_back(&self, who: &Who, call: KeptCall) -> Result<Report, ToolError> {
        let passage = self.passage(who, &call)?;
        let deletes = call.arguments.get("action").is_some_and(|action| action == "delete");
        let mut plan = match passage.action.plan(&passage.cx, passage.args.clone()).await {
            // What was to go is gone: an earlier try was broken off, or somebody was faster.
            Err(error) if deletes && error.kind() == Kind::NotFound => {
                return Ok(error.into_report());
            }
            planned => planned?,
        };
        if plan.is_nothing() {
            return Ok(plan.nothing());
        }
        // What puts back is not put back itself.
        plan.revert = None;
        let terms = Terms {
            line: LINE.to_owned(),
            unasked: true,
            despite_freeze: true,
            ..Terms::default()
        };
        let planned = passage.unasked(plan);
        passage.perform(planned, terms).await
    }

    /// The way through the gate for a kept call.
    pub(super) fn passage<'a>(
        &'a self,
        who: &'a Who,
        call: &KeptCall,
    ) -> Result<Passage<'a>, ToolError> {
        let (name, action): (&'static str, &'static dyn ActionTool) =
            tools::action_named(&call.tool).ok_or_else(|| {
                ToolError::new(format!("{} is no tool of this server that acts", call.tool))
            })?;
        let caller = Caller::new(&who.principal.to_string()).with(who.principal.clone());
        let cx = self.cx(CallContext::detached(caller), who.principal.clone());
        let access: Access = action.access(&call.arguments).min(action.definition().access);
        Ok(Passage {
            name,
            action,
            access,
            options: &self.options,
            shared: &self.shared,
            who,
            cx,
            args: call.arguments.clone(),
        })
    }
}
