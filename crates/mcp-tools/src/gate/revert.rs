//! Ways back: what an undo would need is kept when an action is done, and what nobody confirmed is
//! put back.

use std::time::Duration;

use estate::Access;
use guard::{
    Principal,
    policy::Transport,
    ports::{Confirm, ConfirmState, KeptCall, NewUndo, PortError, UndoId},
};
use jiff::{SignedDuration, Timestamp};
use mcp_protocol::{CallContext, Caller, JsonObject};
use serde_json::{Map, Value, json};
use tracing::{info, warn};

use super::{
    Gate, Who, Work,
    pass::{Passage, Terms},
};
use crate::{
    error::ToolError,
    plan::{ActionTool, Plan, Undo},
    report::Report,
    tools,
};

/// For how long a way back is kept.
const KEPT: SignedDuration = SignedDuration::from_hours(24 * 7);

/// For how long whoever reverts has the revert to itself.
const LEASE: Duration = Duration::from_mins(10);

/// The line under which a change is reverted that nobody confirmed.
const LINE: &str = "revert";

/// The way back from an action, until it is done.
#[derive(Clone, Debug)]
pub(super) struct Back {
    tool: &'static str,
    args: JsonObject,
    what: String,
    target: String,
    before: Value,
}

/// The way back from this plan, if there is a call for it.
pub(super) fn back(passage: &Passage<'_>, plan: &Plan) -> Option<Back> {
    let Undo::Call(tool, args) = &plan.undo else { return None };
    // What takes something back is itself not taken back by taking it back again.
    if plan.acts_as.is_some() {
        return None;
    }
    let target = plan.targets.keys().next().cloned().unwrap_or_else(|| plan.what.clone());
    let before = plan.changes.iter().map(|it| (it.key.clone(), Value::from(it.before.as_str())));
    let mut before = Value::Object(before.collect::<Map<_, _>>());
    passage.options.redaction.json(&mut before);
    let mut what = plan.what.clone();
    passage.options.redaction.text(&mut what);
    let what = stdx::untrusted::line(&what, 200).into_owned();
    Some(Back { tool, args: args.clone(), what, target, before })
}

/// Keeps it, with the state that the action has left: what moves from there would be lost.
pub(super) async fn keep(work: &Work, back: Back) -> Option<UndoId> {
    let (ports, action) = (work.ports.as_ref()?, work.id?);
    let tool = tools::action(back.tool)?;
    let bare = &work.cx;
    // A way back that cannot be gone is none.
    let plan = tool.plan(bare, back.args.clone()).await.ok().filter(|plan| !plan.is_nothing())?;
    let now = work.cx.now();
    let new = NewUndo {
        action,
        principal: work.principal.clone(),
        tool: work.tool.to_owned(),
        target: back.target,
        what: back.what,
        before: back.before,
        after: json!(plan.targets),
        calls: vec![KeptCall { tool: back.tool.to_owned(), arguments: back.args }],
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

// === impl Gate ===

impl Gate {
    /// Puts back what nobody confirmed in time, frozen or not. Called again and again.
    ///
    /// # Errors
    /// Nobody can tell what is due.
    pub async fn revert_due(&self) -> Result<Vec<Confirm>, PortError> {
        let Some(ports) = self.ports() else { return Ok(Vec::new()) };
        let mut settled = Vec::new();
        for confirm in ports.confirms.take_due(self.fleet.now(), LEASE).await? {
            let calls = ports.confirms.revert_calls(confirm.id).await?;
            let reverted = self.revert(&confirm, calls).await;
            let (state, lead) = match reverted {
                Ok(lead) => (ConfirmState::Reverted, lead),
                Err(error) => (ConfirmState::Failed, error.message().to_owned()),
            };
            if state == ConfirmState::Failed {
                tracing::error!(confirm = %confirm.id, what = confirm.what, lead, "cannot revert");
            } else {
                info!(confirm = %confirm.id, what = confirm.what, "reverted, since nobody confirmed it");
            }
            settled.push(ports.confirms.settle(confirm.id, state, &lead).await?);
        }
        Ok(settled)
    }

    async fn revert(&self, confirm: &Confirm, calls: Vec<KeptCall>) -> Result<String, ToolError> {
        let principal = Principal::automation("revert")
            .and_then(|automation| automation.acting_for(confirm.principal.actor()))
            .map_err(|error| ToolError::new(error.to_string()))?;
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
        let plan = passage.action.plan(&passage.cx, passage.args.clone()).await?;
        if plan.is_nothing() {
            return Ok(plan.nothing());
        }
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
