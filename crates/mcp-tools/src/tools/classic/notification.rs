//! `send_notification`: the earlier server's name for a message to people.

use async_trait::async_trait;
use estate::Access;
use mcp_protocol::JsonObject;
use serde::Deserialize;
use serde_json::json;

use crate::{
    error::ToolError,
    plan::{ActionTool, Plan},
    schema::{Input, Output},
    tool::{Cx, Definition},
    tools::{events::NotificationSend, power::object},
};

/// Sends a message to all outputs.
pub struct Notification;

#[derive(Debug, Deserialize)]
struct Args {
    message: String,
    title: Option<String>,
    severity: Option<String>,
}

#[async_trait]
impl ActionTool for Notification {
    fn definition(&self) -> Definition {
        Definition {
            name: "send_notification",
            title: "Send a notification",
            description: "Sends a message to configured outputs.",
            input: Input::new().text("message", "").required("message").text("title", "").choice(
                "severity",
                &["debug", "info", "notice", "warning", "error", "critical"],
                "",
            ),
            // Whichever tool answers, its facts are its own.
            output: Output::new(),
            access: Access::Operate,
            idempotent: false,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Operate
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        let mut wanted = object(json!({
            "text": args.message, "title": args.title, "severity": args.severity,
        }));
        wanted.retain(|_, value| !value.is_null());
        let mut plan = NotificationSend.plan(cx, wanted.clone()).await?;
        plan.acts_as = vec![("notification_send", wanted)];
        Ok(plan)
    }
}
