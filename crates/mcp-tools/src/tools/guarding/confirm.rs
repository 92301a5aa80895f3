//! `change_confirm`: keeps a change that would be reverted.

use async_trait::async_trait;
use estate::Access;
use guard::ports::ConfirmId;
use mcp_protocol::JsonObject;
use serde::Deserialize;
use serde_json::json;

use super::{closed, ports};
use crate::{
    error::ToolError,
    report::Report,
    schema::{Input, Output},
    tool::{Cx, Definition, EstateTool},
};

/// Keeps a change.
pub struct ChangeConfirm;

#[derive(Debug, Deserialize)]
struct Args {
    confirm_id: String,
}

#[async_trait]
impl EstateTool for ChangeConfirm {
    fn definition(&self) -> Definition {
        Definition {
            name: "change_confirm",
            title: "Keep a change",
            description: "Keeps a change that is otherwise reverted: check first that all still work.",
            input: Input::new().text("confirm_id", "").required("confirm_id"),
            output: Output::new().fact("confirm_id", "string").fact("status", "string"),
            // The change was consented to and made: this only ends the wait.
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
            let text = stdx::untrusted::line(&args.confirm_id, 40);
            ToolError::not_found(format!("no change of yours waits under {text}"))
        };
        let id: ConfirmId = args.confirm_id.parse().map_err(|_| unknown())?;
        let found = ports.confirms.confirm_record(id).await;
        let found = found.map_err(|error| closed("read the change", &error))?;
        let found = found.filter(|it| it.principal == cx.principal).ok_or_else(unknown)?;
        let confirmed = ports.confirms.confirm(id, cx.now()).await;
        let confirmed = confirmed
            .map_err(|error| ToolError::new(format!("{} is not kept: {error}", found.what)))?;
        let payload = json!({"confirm": id.to_string(), "change": confirmed.what});
        cx.journal("guard.confirm", &confirmed.what, payload).await;
        Ok(Report::new(format!("{} is kept", confirmed.what))
            .fact("confirm_id", id.to_string())
            .fact("status", "ok"))
    }
}
