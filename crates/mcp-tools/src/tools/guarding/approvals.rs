//! `approval_wait` and `approvals_list`: what became of what people were asked.

use async_trait::async_trait;
use estate::Access;
use guard::ports::{
    ActionFilter, ActionState, Approval, ApprovalFilter, ApprovalId, ApprovalState,
};
use mcp_protocol::JsonObject;
use serde::Deserialize;
use serde_json::json;

use super::{closed, ports};
use crate::{
    error::ToolError,
    follow::{Pace, Until},
    gate,
    report::{Cell, Report, Table, rfc3339},
    schema::{Input, Output},
    tool::{Cx, Definition, EstateTool},
};

const NAME: &str = "approval_wait";

/// How many approvals are listed.
const LISTED: u32 = 50;

/// Waits for an answer.
pub struct ApprovalWait;

/// Lists questions.
pub struct ApprovalsList;

#[derive(Debug, Deserialize)]
struct Args {
    approval_id: String,
    timeout_s: Option<u64>,
}

#[async_trait]
impl EstateTool for ApprovalWait {
    fn definition(&self) -> Definition {
        Definition {
            name: NAME,
            title: "Wait for consent",
            description: "The result, once people agreed and it ran.",
            input: Input::new().text("approval_id", "").required("approval_id").integer(
                "timeout_s",
                1..=45,
                "",
            ),
            output: Output::new()
                .fact("approval_id", "string")
                .fact("status", "string")
                .fact("asked", "string")
                .fact("until", "string")
                .fact("replaced_by", "string"),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let args: Args = cx.args(args)?;
        let ports = ports(cx)?;
        let unknown = || {
            let text = stdx::untrusted::line(&args.approval_id, 40);
            ToolError::not_found(format!("you have no approval {text}"))
                .next("approvals_list", JsonObject::new())
        };
        let id: ApprovalId = args.approval_id.parse().map_err(|_| unknown())?;
        let until = Until::within(cx, args.timeout_s);
        let mut pace = Pace::new();
        loop {
            let found = ports.approvals.approval(id).await;
            let found = found.map_err(|error| closed("read the approval", &error))?;
            // Another caller's does not exist for this one.
            let approval =
                found.filter(|it| it.requested_by == cx.principal).ok_or_else(unknown)?;
            let asked = ports.approvers.asked(&approval.of);
            if approval.state_at(cx.now()).is_final() || until.is_over() {
                return told(cx, &approval, &asked);
            }
            pace.wait(&until).await;
        }
    }
}

/// What is to be said of an approval.
fn told(cx: &Cx, approval: &Approval, asked: &str) -> Result<Report, ToolError> {
    let id = approval.id.to_string();
    let state = approval.state_at(cx.now());
    let with = |report: Report| report.fact("approval_id", id.as_str());
    if let Some(kept) = &approval.result {
        let (report, failed) = gate::read_kept(kept);
        let report = with(report);
        return if failed { Err(ToolError::from_report(report)) } else { Ok(report) };
    }
    let until = rfc3339(approval.expires_at);
    let report = match state {
        ApprovalState::Pending => Report::new(format!("nobody has decided yet; {asked} was asked"))
            .fact("asked", asked)
            .fact("until", until)
            .next(NAME, json!({"approval_id": id})),
        ApprovalState::Approved => {
            Report::new("it is approved, and begins shortly").next(NAME, json!({"approval_id": id}))
        }
        ApprovalState::Running => {
            Report::new("it is approved and running").next(NAME, json!({"approval_id": id}))
        }
        ApprovalState::Refused => {
            let refused = approval.decisions.iter().find(|decision| !decision.agrees);
            let by = refused.map_or("somebody", |decision| decision.approver.as_str());
            let mut report = Report::new(format!("nothing was done: {by} refused"));
            if let Some(note) = refused.and_then(|decision| decision.note.as_deref()) {
                report = report.untrusted(format!("what {by} said"), note);
            }
            report
        }
        ApprovalState::Expired => {
            Report::new(format!("nothing was done: nobody decided until {until}"))
        }
        ApprovalState::Void => {
            let why = approval.void_reason.as_deref().unwrap_or("it moved");
            let report = Report::new(format!("nothing was done: {why}"));
            match approval.replaced_by {
                Some(next) => report
                    .fact("replaced_by", next.to_string())
                    .note("the plan as it is now was put to people in its place")
                    .next(NAME, json!({"approval_id": next.to_string()})),
                None => report,
            }
        }
        state => Report::new(format!("it is {}", state.as_str())),
    };
    let report = with(report).fact("status", state.as_str());
    if state.is_final() { Err(ToolError::from_report(report)) } else { Ok(report) }
}

#[async_trait]
impl EstateTool for ApprovalsList {
    fn definition(&self) -> Definition {
        Definition {
            name: "approvals_list",
            title: "What was asked",
            description: "Your questions to people.",
            input: Input::new(),
            output: Output::new().table("approvals").fact("unknown", "integer"),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, _args: JsonObject) -> Result<Report, ToolError> {
        let ports = ports(cx)?;
        let now = cx.now();
        let filter = ApprovalFilter {
            requested_by: Some(cx.principal.clone()),
            states: Vec::new(),
            limit: LISTED,
        };
        let approvals = ports.approvals.approvals(&filter).await;
        let approvals = approvals.map_err(|error| closed("list approvals", &error))?;
        let open = approvals.iter().filter(|it| !it.state_at(now).is_final()).count();
        let mut report = Report::new(match (approvals.len(), open) {
            (0, _) => "nobody was asked for anything".to_owned(),
            (all, 0) => format!("the newest {all} questions: all of them are settled"),
            (all, open) => format!("the newest {all} questions: {open} open"),
        });
        let mut table = Table::new(
            "approvals",
            &["approval_id", "status", "tool", "targets", "asked", "until"],
        );
        for approval in &approvals {
            let targets: Vec<String> = approval.form.targets.keys().cloned().collect();
            table.push(vec![
                Cell::text(approval.id.to_string()),
                Cell::text(approval.state_at(now).as_str()),
                Cell::text(approval.form.tool.as_str()),
                Cell::words(&targets),
                Cell::moment(approval.asked_at, now),
                Cell::text(rfc3339(approval.expires_at)),
            ]);
        }
        let filter = ActionFilter {
            principal: Some(cx.principal.clone()),
            states: vec![ActionState::Unknown],
            since: None,
            limit: LISTED,
        };
        let unknown = ports.actions.actions(&filter).await;
        let unknown = unknown.map_err(|error| closed("list actions", &error))?;
        for action in &unknown {
            report = report.note(format!(
                "outcome of `{}` ({}) is unknown: a person settles it",
                action.target, action.tool
            ));
        }
        Ok(report.table(table).fact("unknown", unknown.len()))
    }
}
