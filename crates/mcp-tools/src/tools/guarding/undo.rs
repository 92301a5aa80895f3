//! `undo`: takes an action back, as an action: planned, consented and audited like any other.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use estate::Access;
use guard::ports::{self, KeptCall, UndoFilter, UndoId};
use mcp_protocol::JsonObject;
use serde::Deserialize;
use serde_json::Value;

use super::{closed, ports};
use crate::{
    error::ToolError,
    plan::{ActionTool, Plan, Undo as Back},
    report::{Cell, Report, Table},
    schema::{Input, Output},
    tool::{Cx, Definition},
    tools::{self, tally::counted},
};

const NAME: &str = "undo";

/// How many ways back are listed.
const LISTED: u32 = 50;

/// What of a target may move without anything newer being lost: what is put back is configuration.
const PASSING: [&str; 4] = ["status", "state", "lock", "node"];

/// Takes an action back.
pub struct Undo;

#[derive(Debug, Deserialize)]
struct Args {
    undo_id: Option<String>,
}

#[async_trait]
impl ActionTool for Undo {
    fn definition(&self) -> Definition {
        Definition {
            name: NAME,
            title: "Take an action back",
            description: "Without undo_id, what can be taken back.",
            input: Input::new().text("undo_id", ""),
            output: Output::new().table("undos").fact("undo_id", "string").fact("status", "string"),
            access: Access::Destroy,
            idempotent: false,
        }
    }

    /// What it comes to shows when it is planned, and is never less.
    fn access(&self, args: &JsonObject) -> Access {
        if args.contains_key("undo_id") { Access::Operate } else { Access::Read }
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        let Some(id) = args.undo_id else { return Ok(Plan::already(list(cx).await?)) };
        let (undo, calls) = find(cx, &id).await?;
        if !undo.is_usable(cx.now()) {
            let why = if undo.used_at.is_some() { "was taken back" } else { "is too long ago" };
            return Err(ToolError::new(format!("the {} {why}", undo.what)));
        }
        let mut plans = Vec::new();
        let mut already = None;
        let mut moved = BTreeSet::new();
        for (tool, call) in acting(&calls)? {
            let mut plan = tool.plan(cx, call.arguments.clone()).await.map_err(|error| {
                error.map(|mut report| {
                    report.lead =
                        format!("the {} cannot be taken back: {}", undo.what, report.lead);
                    report
                })
            })?;
            if plan.is_nothing() {
                already = Some(plan);
                continue;
            }
            moved.extend(newer(&undo.after, &plan.targets));
            let access = tool.access(&call.arguments).min(tool.definition().access);
            plan.access = plan.access.max(Some(access));
            plan.acts_as = vec![(tool.definition().name, call.arguments.clone())];
            plans.push(plan);
        }
        if !moved.is_empty() {
            let moved: Vec<String> = moved.into_iter().collect();
            return Err(ToolError::new(format!(
                "the {} is not taken back, something newer would be lost: {}",
                undo.what,
                moved.join("; ")
            ))
            .hint("change what is meant by its own tool"));
        }
        let mut plan = match (plans.len(), already) {
            (0, Some(already)) => return Ok(already),
            (0, None) => return Err(ToolError::new(format!("the {} has no way back", undo.what))),
            (1, _) => plans.remove(0),
            (count, _) => Plan::joined(counted(count, "call"), plans),
        };
        plan.what = format!("undo of the {} ({})", undo.what, plan.what);
        plan.undo = Back::By("by asking for the same change again".to_owned());
        Ok(plan.fact("undo_id", id))
    }

    async fn run(&self, cx: &Cx, args: JsonObject, plan: Plan) -> Result<Report, ToolError> {
        let args: Args = cx.args(args)?;
        let (undo, calls) = find(cx, &args.undo_id.unwrap_or_default()).await?;
        // Of any number of callers one takes it.
        let taken = ports(cx)?.undos.take(undo.id, cx.now()).await;
        taken.map_err(|error| ToolError::new(format!("nothing was done: {error}")))?;
        match acting(&calls)?.as_slice() {
            [(tool, call)] => tool.run(cx, call.arguments.clone(), plan).await,
            _ => plan.execute(cx).await,
        }
    }
}

/// A way back with the calls that go it.
async fn find(cx: &Cx, id: &str) -> Result<(ports::Undo, Vec<KeptCall>), ToolError> {
    let ports = ports(cx)?;
    let unknown = || {
        let text = stdx::untrusted::line(id, 40);
        ToolError::not_found(format!("nothing of yours can be taken back under {text}"))
            .next(NAME, JsonObject::new())
    };
    let id: UndoId = id.parse().map_err(|_| unknown())?;
    let found = ports.undos.undo(id).await.map_err(|error| closed("read the way back", &error))?;
    // Another caller's does not exist for this one.
    let undo = found.filter(|undo| undo.principal == cx.principal).ok_or_else(unknown)?;
    let calls = ports.undos.calls(id).await;
    Ok((undo, calls.map_err(|error| closed("open the way back", &error))?))
}

/// The tools of kept calls.
fn acting(calls: &[KeptCall]) -> Result<Vec<(&'static dyn ActionTool, &KeptCall)>, ToolError> {
    let tools = calls.iter().map(|call| {
        let tool = tools::action(&call.tool).ok_or_else(|| {
            ToolError::new(format!("{} is no tool of this server that acts", call.tool))
        })?;
        Ok((tool, call))
    });
    tools.collect()
}

async fn list(cx: &Cx) -> Result<Report, ToolError> {
    let now = cx.now();
    let filter = UndoFilter {
        principal: Some(cx.principal.clone()),
        target: None,
        usable_at: Some(now),
        limit: LISTED,
    };
    let undos = ports(cx)?.undos.undos(&filter).await;
    let undos = undos.map_err(|error| closed("list what can be taken back", &error))?;
    let mut table = Table::new("undos", &["undo_id", "done", "target", "what"]);
    for undo in &undos {
        table.push(vec![
            Cell::text(undo.id.to_string()),
            Cell::moment(undo.kept_at, now),
            Cell::text(undo.target.as_str()),
            Cell::text(undo.what.as_str()),
        ]);
    }
    let lead = match undos.len() {
        0 => "nothing of yours can be taken back".to_owned(),
        1 => "1 action can be taken back".to_owned(),
        count => format!("{count} actions can be taken back, newest first"),
    };
    Ok(Report::new(lead).table(table))
}

/// What moved since the action, and would be lost.
fn newer(after: &Value, now: &BTreeMap<String, BTreeMap<String, String>>) -> Vec<String> {
    let mut moved = Vec::new();
    for (target, state) in now {
        let Some(was) = after.get(target).and_then(Value::as_object) else { continue };
        for (name, is) in state.iter().filter(|(name, _)| !PASSING.contains(&name.as_str())) {
            if was.get(name).and_then(Value::as_str).is_some_and(|was| was != is) {
                moved.push(format!("{name} of {target} has changed since"));
            }
        }
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_newer_is_not_overwritten() {
        let state = |digest: &str, status: &str| {
            let state = [("digest", digest), ("status", status)];
            let state = state.map(|(name, value)| (name.to_owned(), value.to_owned()));
            BTreeMap::from([("lab/104".to_owned(), BTreeMap::from(state))])
        };
        let after = json!(state("ab", "running"));
        assert!(newer(&after, &state("ab", "stopped")).is_empty());
        assert_eq!(newer(&after, &state("cd", "running")), ["digest of lab/104 has changed since"]);
        assert!(newer(&json!({}), &state("cd", "running")).is_empty());
    }
}
