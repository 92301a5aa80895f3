//! `task_get` and `task_wait`: one task, with its log, or its end.

use async_trait::async_trait;
use estate::{Access, TaskStatus};
use mcp_protocol::JsonObject;
use serde::Deserialize;
use serde_json::json;

use super::{
    job,
    locate::{locate, parse, unreadable},
};
use crate::{
    error::ToolError,
    follow::{self, Until, clean_cause},
    report::{Report, age, rfc3339},
    schema::{Input, Output},
    tool::{Cx, Definition, EstateTool},
};

/// How many lines of log come along unless the caller says otherwise.
const LINES: u64 = 20;

/// Shows one task.
pub struct TaskGet;

/// Waits for a task's end.
pub struct TaskWait;

#[derive(Debug, Deserialize)]
struct GetArgs {
    upid: String,
    cluster: Option<String>,
    log_lines: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct WaitArgs {
    upid: String,
    cluster: Option<String>,
    timeout_s: Option<u64>,
}

#[async_trait]
impl EstateTool for TaskGet {
    fn definition(&self) -> Definition {
        Definition {
            name: "task_get",
            title: "Show a task",
            description: "One task: how it ended, and the end of its log.",
            input: Input::new().text("upid", "").required("upid").cluster().integer(
                "log_lines",
                0..=1000,
                "",
            ),
            output: output().fact("log_total", "integer"),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let args: GetArgs = cx.args(args)?;
        if let Some(id) = job::id_in(&args.upid) {
            return job::get(cx, id).await;
        }
        let upid = parse(&args.upid)?;
        let holder = locate(cx, &upid, args.cluster.as_deref()).await?;
        let lines = args.log_lines.unwrap_or(LINES);
        let (outcome, log) = futures::join!(holder.outcome(&upid), async {
            if lines == 0 { None } else { Some(holder.tail(&upid, lines).await) }
        });
        let outcome = outcome.map_err(|error| unreadable(&holder, &upid, &error))?;
        let key = holder.key();
        let began = age(upid.started(), cx.now());
        let what = describe(&upid, key);
        let (lead, status) = match &outcome {
            None => (format!("{what} is running, begun {began} ago"), "running"),
            Some(TaskStatus::Ok) => (format!("{what}, begun {began} ago, ended OK"), "ok"),
            Some(TaskStatus::Warnings(count)) => {
                (format!("{what}, begun {began} ago, ended with warnings: {count}"), "warnings")
            }
            Some(TaskStatus::Failed(cause)) => {
                let cause = clean_cause(cause);
                (format!("{what}, begun {began} ago, failed: {cause}"), "failed")
            }
        };
        let mut report = Report::new(lead)
            .fact("upid", upid.as_str())
            .fact("cluster", key)
            .fact("node", upid.node().as_str())
            .fact("type", upid.kind())
            .fact("id", upid.display_id())
            .fact("user", upid.user())
            .fact("started", rfc3339(upid.started()))
            .fact("status", status);
        if let Some(TaskStatus::Failed(cause)) = &outcome {
            report = report.fact("cause", clean_cause(cause));
        }
        match log {
            None => {}
            Some(Ok((lines, total))) => {
                let shown = lines.len();
                report = report.fact("log_total", total);
                if shown > 0 {
                    let label = format!("log of {upid}, last {shown} of {total} lines");
                    report = report.untrusted(label, lines.join("\n"));
                }
            }
            Some(Err(error)) => {
                report = report.note(format!("the log cannot be read: {}", stdx::Chain(&error)));
            }
        }
        if outcome.is_none() {
            report = report.next("task_wait", json!({"upid": upid.as_str(), "cluster": key}));
        }
        Ok(report)
    }
}

#[async_trait]
impl EstateTool for TaskWait {
    fn definition(&self) -> Definition {
        Definition {
            name: "task_wait",
            title: "Wait for a task",
            description: "Follows a running task until it ends.",
            input: Input::new().text("upid", "").required("upid").cluster().integer(
                "timeout_s",
                1..=45,
                "",
            ),
            output: output(),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let args: WaitArgs = cx.args(args)?;
        if let Some(id) = job::id_in(&args.upid) {
            return job::wait(cx, id, Until::within(cx, args.timeout_s)).await;
        }
        let upid = parse(&args.upid)?;
        let holder = locate(cx, &upid, args.cluster.as_deref()).await?;
        let until = Until::within(cx, args.timeout_s);
        let followed = follow::follow(cx, &holder, &upid, until)
            .await
            .map_err(|error| unreadable(&holder, &upid, &error))?;
        let key = holder.key();
        let what = describe(&upid, key);
        if let Some(report) = followed.failure(&what) {
            return Err(ToolError::from_report(report.fact("cluster", key)));
        }
        if followed.is_running() {
            return Ok(followed.still_running(&what, key).fact("cluster", key));
        }
        let lead = format!("{what} ended {}", followed.ended());
        Ok(followed.tell(Report::new(lead)).fact("cluster", key))
    }
}

fn output() -> Output {
    Output::new()
        .fact("upid", "string")
        .fact("cluster", "string")
        .fact("status", "string")
        .fact("cause", "string")
}

/// `vzdump 100 on lab/alder`.
fn describe(upid: &estate::Upid, key: &str) -> String {
    let id = upid.display_id();
    let id = stdx::untrusted::line(&id, 80);
    let blank = if id.is_empty() { "" } else { " " };
    let node = upid.node();
    match upid.grammar() {
        estate::UpidGrammar::Pve => format!("{}{blank}{id} on {key}/{node}", upid.kind()),
        estate::UpidGrammar::Pbs => format!("{}{blank}{id} on {key}", upid.kind()),
    }
}
