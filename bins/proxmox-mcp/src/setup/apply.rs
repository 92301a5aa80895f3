//! Calls that change something: through the same tool as everybody's, and so through policy, consent and
//! the audit log.

use mcp_protocol::{App, JsonObject};
use serde_json::{Value, json};

use super::plan::Call;
use crate::call::{self, Consent};

/// The tool that makes any call.
const TOOL: &str = "api_call";

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// It was made; by this id it can be taken back.
    Made(Option<String>),
    /// Somebody has to approve it first; by this id.
    Waits(String),
    /// It was not, or not with success, for this reason.
    Failed(String),
}

/// Makes a call of the plan.
pub(super) async fn make(
    app: &App,
    cluster: &str,
    call: &Call,
    consent: Consent,
) -> anyhow::Result<Done> {
    send(app, cluster, call.method, &call.path, call.sent(), consent).await
}

/// Makes any call.
pub(super) async fn send(
    app: &App,
    cluster: &str,
    method: &str,
    path: &str,
    params: JsonObject,
    consent: Consent,
) -> anyhow::Result<Done> {
    let args = json!({"cluster": cluster, "method": method, "path": path, "params": params});
    let args = args.as_object().cloned().unwrap_or_default();
    let (answer, is_failed) = call::ask(app, TOOL, args, consent).await?;
    let facts = answer.structured.clone().unwrap_or_default();
    let fact = |name: &str| facts.get(name).and_then(Value::as_str).map(str::to_owned);
    Ok(match fact("approval_id") {
        Some(id) => Done::Waits(id),
        None if is_failed => Done::Failed(reason(&answer.plain_text())),
        None => Done::Made(fact("undo_id")),
    })
}

/// Why a call failed, without the proposal behind it: that repeats the parameters, secrets and all.
fn reason(answer: &str) -> String {
    let lines = answer.lines().take_while(|line| !line.starts_with("next:"));
    lines.map(|line| line.strip_prefix("note: ").unwrap_or(line)).collect::<Vec<_>>().join("; ")
}

// === impl Done ===

impl Done {
    /// Whether it was made.
    pub(super) fn is_made(&self) -> bool {
        matches!(self, Self::Made(_))
    }

    pub(super) fn said(&self) -> String {
        match self {
            Self::Made(Some(undo)) => {
                format!("done; `proxmox-mcp call undo undo_id={undo}` takes it back")
            }
            Self::Made(None) => "done".to_owned(),
            Self::Waits(id) => {
                format!("not done yet: it waits for a person (`proxmox-mcp approve show {id}`)")
            }
            Self::Failed(why) => format!("failed: {why}"),
        }
    }

    pub(super) fn json(&self) -> Value {
        match self {
            Self::Made(undo) => json!({"outcome": "done", "undo_id": undo}),
            Self::Waits(id) => json!({"outcome": "waits", "approval_id": id}),
            Self::Failed(why) => json!({"outcome": "failed", "why": why}),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_repeats_no_parameters() {
        let answer = "api_call: nothing was done\nnote: nobody can be asked\nnext: api_call {\"secret\":[\"x\"]}\n";
        assert_eq!(reason(answer), "api_call: nothing was done; nobody can be asked");
    }
}
