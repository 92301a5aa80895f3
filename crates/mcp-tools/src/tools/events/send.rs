//! `notification_send`: tells people something.

use async_trait::async_trait;
use estate::Access;
use event_core::desk::Notice;
use mcp_protocol::JsonObject;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{SEVERITIES, desk, refused, step};
use crate::{
    error::ToolError,
    plan::{ActionTool, Plan, Undo},
    report::Report,
    schema::{Input, Output},
    tool::{Cx, Definition},
};

/// The longest title and text, in characters.
const TITLE: usize = 200;
const TEXT: usize = 4000;

const SEND: &str = "send the notification";

/// Sends a message.
pub struct NotificationSend;

#[derive(Debug, Deserialize)]
struct Args {
    text: String,
    title: Option<String>,
    severity: Option<String>,
    #[serde(default)]
    outputs: Vec<String>,
}

#[async_trait]
impl ActionTool for NotificationSend {
    fn definition(&self) -> Definition {
        Definition {
            name: "notification_send",
            title: "Send a notification",
            description: "Tells people something over the configured outputs, or over those that are \
                          named.",
            input: Input::new()
                .text("text", "")
                .required("text")
                .text("title", "")
                .choice("severity", SEVERITIES, "info if not given")
                .texts("outputs", "names; all of them if not given"),
            output: Output::new().fact("status", "string").fact("sent", "boolean"),
            access: Access::Operate,
            idempotent: false,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Operate
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        let desk = desk(cx).map_err(unsent)?.clone();
        let notice = notice(cx, args)?;
        let over = match notice.outputs.as_slice() {
            [] => "all outputs".to_owned(),
            some => some.join(", "),
        };
        let mut params = vec![
            ("title", notice.title.clone()),
            ("text", notice.text.clone()),
            ("severity", notice.severity.clone()),
        ];
        if !notice.outputs.is_empty() {
            params.push(("outputs", notice.outputs.join(",")));
        }
        let by = cx.principal.to_string();
        Ok(Plan::new(format!("notification over {over}"))
            .effect(format!("people are told over {over}, as a message of {by}"))
            .undo(Undo::Never("what was told cannot be taken back".to_owned()))
            .step(step::step(SEND, "notices", params, async move |_| {
                let sent = desk.send(notice, &by).await;
                let sent = sent.map_err(|error| refused(SEND, &error))?;
                if sent.is_empty() {
                    return Err(ToolError::new("nothing was sent: no output is configured")
                        .map(|report| report.fact("sent", false))
                        .hint("the settings name outputs as `[output.<name>]`"));
                }
                Ok(json!(sent))
            }))
            .settle(async move |_, done| {
                let outputs = done.value(SEND).and_then(Value::as_array).cloned();
                let outputs = outputs.unwrap_or_default();
                let names: Vec<&str> = outputs.iter().filter_map(Value::as_str).collect();
                let lead = format!("the notification is on its way over {}", names.join(", "));
                let note = "what cannot be told is tried again: events_stats says how outputs do";
                Ok(done.report(lead).fact("sent", true).fact("outputs", names).note(note))
            }))
    }
}

/// Why nothing was sent, as who only looks at that fact reads it.
fn unsent(error: ToolError) -> ToolError {
    error.map(|report| {
        let lead = format!("nothing was sent: {}", report.lead);
        Report { lead, ..report }.fact("sent", false)
    })
}

/// What is told, without secrets and within its bounds.
fn notice(cx: &Cx, args: Args) -> Result<Notice, ToolError> {
    let (mut text, mut title) = (args.text, args.title.unwrap_or_default());
    cx.clean(&mut text);
    cx.clean(&mut title);
    if text.trim().is_empty() {
        return Err(ToolError::new("there is nothing to send: `text` is empty"));
    }
    if text.chars().count() > TEXT {
        return Err(ToolError::new(format!("the text has more than {TEXT} characters"))
            .hint("say the most important, and where the rest is"));
    }
    if title.trim().is_empty() {
        text.trim().lines().next().unwrap_or_default().clone_into(&mut title);
    }
    let severity = args.severity.filter(|it| !it.is_empty()).unwrap_or_else(|| "info".to_owned());
    if !SEVERITIES.contains(&severity.as_str()) {
        return Err(ToolError::new("the severity is none of those that there are")
            .hint(format!("give one of {}", SEVERITIES.join(", "))));
    }
    Ok(Notice {
        title: stdx::untrusted::line(title.trim(), TITLE).into_owned(),
        text: stdx::untrusted::text(text.trim(), TEXT).into_owned(),
        severity,
        outputs: args.outputs,
        is_test: false,
    })
}
