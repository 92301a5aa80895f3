//! `freeze`: stops all changes. Anyone may; lifting it is for people, and no tool does it.

use async_trait::async_trait;
use estate::Access;
use guard::ports;
use jiff::Timestamp;
use mcp_protocol::JsonObject;
use serde::Deserialize;
use serde_json::json;

use super::closed;
use crate::{
    error::ToolError,
    report::{Report, rfc3339},
    schema::{Input, Output},
    tool::{Cx, Definition, EstateTool},
    tools::since,
};

/// The longest reason, in characters.
const REASON: usize = 300;

/// Stops all changes.
pub struct Freeze;

#[derive(Debug, Deserialize)]
struct Args {
    reason: String,
    until: Option<String>,
}

#[async_trait]
impl EstateTool for Freeze {
    fn definition(&self) -> Definition {
        Definition {
            name: "freeze",
            title: "Stop all changes",
            description: "Stops all changes; only a person lifts it.",
            input: Input::new().text("reason", "").required("reason").text("until", "time or 2h"),
            output: Output::new().fact("status", "string").fact("until", "string"),
            // It changes nothing in the estate, and nobody may be kept from it.
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let args: Args = cx.args(args)?;
        let ports = super::ports(cx)?;
        let now = cx.now();
        let until = args.until.as_deref().map(|text| end(text, now)).transpose()?;
        let reason = stdx::untrusted::line(args.reason.trim(), REASON).into_owned();
        let freeze = ports::Freeze { by: cx.principal.clone(), since: now, until, reason };
        let kept = ports.freezes.freeze(freeze.clone()).await;
        kept.map_err(|error| closed("stop changes", &error))?;
        let payload = json!({"reason": freeze.reason, "until": until.map(rfc3339)});
        cx.journal("guard.freeze", "estate", payload).await;
        tracing::warn!(by = %freeze.by, reason = freeze.reason, "all changes are stopped");
        // Another one may hold longer.
        let held = ports.freezes.frozen(now).await.ok().flatten().unwrap_or(freeze);
        let how_long = held.until.map_or("until a person lifts it".to_owned(), |until| {
            format!("until {}, or until a person lifts it", rfc3339(until))
        });
        let report = Report::new(format!("all changes are stopped {how_long}"))
            .fact("status", "frozen")
            .note("`proxmox-mcp freeze lift` lifts it; reads go on");
        Ok(match held.until {
            Some(until) => report.fact("until", rfc3339(until)),
            None => report,
        })
    }
}

/// The moment that `text` means: RFC 3339, or how long from now.
fn end(text: &str, now: Timestamp) -> Result<Timestamp, ToolError> {
    let end = since::from_now(text, now)?;
    if end > now {
        return Ok(end);
    }
    Err(ToolError::new(format!("{} is over already", rfc3339(end))))
}
