//! `network_apply` puts what is written in force, `network_revert` drops it.

use std::sync::Arc;

use async_trait::async_trait;
use estate::Access;
use mcp_protocol::JsonObject;
use pve_client::network;
use serde::Deserialize;
use serde_json::json;

use super::{
    back::way_back,
    change::writable,
    lines::{Line, lines, touched},
    place::{Hanging, Written, reached_by},
};
use crate::{
    address::{FoundNode, Purpose},
    error::ToolError,
    plan::{ActionTool, Plan, Step, Undo},
    report::{Cell, Report, Table},
    schema::{Input, Output},
    tool::{Cx, Definition},
    tools::tally::counted,
    view::View,
};

/// Puts waiting changes in force.
pub(super) struct NetworkApply;

/// Drops waiting changes.
pub(super) struct NetworkRevert;

#[derive(Debug, Deserialize)]
struct Args {
    node: String,
    cluster: Option<String>,
}

fn definition(name: &'static str, title: &'static str, about: &'static str) -> Definition {
    Definition {
        name,
        title,
        description: about,
        input: Input::new().node().required("node").cluster(),
        output: Output::new()
            .fact("node", "string")
            .fact("status", "string")
            .fact("upid", "string")
            .fact("cause", "string"),
        access: Access::Destroy,
        idempotent: true,
    }
}

/// What waits on a node.
struct Waiting {
    found: FoundNode,
    at: String,
    written: Written,
    diff: String,
    lines: Vec<Line>,
}

impl Waiting {
    /// Reads it; an answer where nothing waits.
    async fn read(cx: &Cx, args: JsonObject, verb: &str) -> Result<Result<Self, Plan>, ToolError> {
        let args: Args = cx.args(args)?;
        let found = cx.fleet.find_node(args.cluster.as_deref(), &args.node, Purpose::Write).await?;
        let at = format!("{}/{}", found.member.key, found.name());
        writable(cx, &found, &format!("{verb} of the network of {at}")).await?;
        let written = Written::of(&found).await?;
        let Some(diff) = written.changes.clone() else {
            let lead = format!("nothing waits to be applied on {at}: nothing was done");
            let report = Report::new(lead).fact("status", "unchanged").fact("node", at);
            return Ok(Err(Plan::already(report)));
        };
        let lines = lines(&diff);
        Ok(Ok(Self { found, at, written, diff, lines }))
    }

    fn plan(&self, what: &str) -> Plan {
        let mut table = Table::new("pending_lines", &["interface", "change", "line"]);
        for line in &self.lines {
            table.push(vec![
                Cell::opt(line.interface.clone()),
                Cell::text(if line.is_new { "comes" } else { "goes" }),
                Cell::text(&*line.text),
            ]);
        }
        let mut plan = Plan::new(what)
            .fact("node", self.at.as_str())
            .target(self.at.as_str(), [("pending", self.diff.as_str())])
            .table(table);
        plan.notes.extend(self.found.notes.iter().cloned());
        plan
    }
}

#[async_trait]
impl ActionTool for NetworkApply {
    fn definition(&self) -> Definition {
        definition(
            "network_apply",
            "Apply network changes",
            "Puts a node's pending network changes in force now. Can cut off guests, and the node: \
             plan: true says which interface carries what.",
        )
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Destroy
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let waiting = match Waiting::read(cx, args, "application").await? {
            Ok(waiting) => waiting,
            Err(plan) => return Ok(plan),
        };
        let (member, node) = (Arc::clone(&waiting.found.member), waiting.found.name().clone());
        let what = format!("application of the network changes of {}", waiting.at);
        let (names, is_vague) = touched(&waiting.lines);
        let (reached, view) =
            futures::join!(reached_by(&member, &node), View::load(Arc::clone(&member)));
        let above = waiting.written.above(&names);
        let mut plan = waiting.plan(&what);
        let carrier = waiting.written.carrier(&reached);
        plan = match carrier {
            Some(carrier) if above.contains(carrier) => plan.warn(
                "management",
                format!("{carrier} carries the address by which the node is reached, and is changed: a mistake cuts the node off, and only its console helps then"),
            ),
            Some(carrier) => plan.effect(format!(
                "{carrier} carries the address by which the node is reached, and is not changed"
            )),
            None => plan.warn(
                "management_unknown",
                "no interface is left with the address by which the node is reached: it may be cut off",
            ),
        };
        if is_vague {
            plan =
                plan.warn("vague", "the interface of some lines is not known: take any as changed");
        }
        match view {
            Ok(view) => {
                let hanging = Hanging::read(&member, &view, &node).await;
                for bridge in &above {
                    let guests = hanging.at(bridge);
                    if guests.is_empty() {
                        continue;
                    }
                    let first: Vec<&str> = guests.iter().take(10).copied().collect();
                    let count = counted(guests.len(), "guest");
                    plan = plan.effect(format!("{count} on {bridge}: {}", first.join(", ")));
                }
                let gone = |name: &str| waiting.written.find(name).is_none();
                let mut lost: Vec<&str> = hanging
                    .on
                    .iter()
                    .filter(|(_, bridge)| names.contains(bridge) && gone(bridge))
                    .map(|(guest, _)| guest.as_str())
                    .collect();
                lost.dedup();
                if !lost.is_empty() {
                    plan =
                        plan.warn("guests_lost", format!("their bridge goes: {}", lost.join(", ")));
                }
                if hanging.unread > 0 {
                    plan = plan
                        .note(format!("{} could not be read", counted(hanging.unread, "guest")));
                }
            }
            Err(error) => {
                plan = plan.note(format!("guests on it are not known: {}", stdx::Chain(&error)));
            }
        }
        let step =
            Step::pve(&member, what, network::apply(&node)).task(&["srvreload"], "networking");
        let here = (member.key.as_str(), node.as_str());
        let back = way_back(&waiting.diff, &waiting.written, here);
        let at = waiting.at;
        Ok(plan
            .unless_confirmed_or(back)
            .undo(Undo::By("write the old values (network_change) and apply them, as long as the node is reached".to_owned()))
            .step(step)
            .settle(move |_, done| async move {
                match Written::read(&member, &node).await {
                    Ok(Written { changes: None, .. }) => {
                        Ok(done.report(format!("the network of {at} runs as it is written ({})", done.span())))
                    }
                    Ok(Written { changes: Some(left), .. }) => {
                        let lead = format!("{at}: the task ended {}, but changes still wait", done.ended());
                        Ok(done.report(lead).untrusted(format!("pending changes of {at}"), left))
                    }
                    Err(error) => Ok(done
                        .report(format!("{at}: the task ended {}", done.ended()))
                        .note(format!("the network could not be read back: {}", stdx::Chain(&error)))),
                }
            }))
    }
}

#[async_trait]
impl ActionTool for NetworkRevert {
    fn definition(&self) -> Definition {
        Definition {
            access: Access::Operate,
            ..definition(
                "network_revert",
                "Drop network changes",
                "Drops a node's pending network changes; what runs stays.",
            )
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Operate
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let waiting = match Waiting::read(cx, args, "reversal").await? {
            Ok(waiting) => waiting,
            Err(plan) => return Ok(plan),
        };
        let (member, node) = (Arc::clone(&waiting.found.member), waiting.found.name().clone());
        let what = format!("drop of the pending network changes of {}", waiting.at);
        let count = counted(waiting.lines.len(), "line");
        let step = Step::pve(&member, what.as_str(), network::revert(&node));
        let plan = waiting
            .plan(&what)
            .effect(format!("{count} that wait are dropped, whoever wrote them"))
            .effect("the running network stays as it is")
            .undo(Undo::By("write them again (network_change)".to_owned()));
        let at = waiting.at;
        Ok(plan.step(step).settle(move |_, done| async move {
            let args = json!({"node": node.as_str(), "cluster": member.key.as_str()});
            match Written::read(&member, &node).await {
                Ok(Written { changes: Some(_), .. }) => Err(ToolError::from_report(
                    done.report(format!("changes still wait on {at}"))
                        .fact("status", "failed")
                        .next("network_get", args),
                )),
                Ok(_) => Ok(done.report(format!("nothing waits to be applied on {at} any more"))),
                Err(error) => Ok(done
                    .report(format!("the pending changes of {at} were dropped"))
                    .note(format!("that could not be seen: {}", stdx::Chain(&error)))),
            }
        }))
    }
}
