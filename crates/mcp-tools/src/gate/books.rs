//! What the audit log says beside the actions themselves: what was asked, and what became of it.

use guard::{
    Principal,
    breaker::Trip,
    ports::{Action, ActionState, Approval, Confirm},
};
use serde_json::{Value, json};
use tracing::warn;

use super::{Gate, pass::Passage, revert::who_reverts};
use crate::{app::Options, journal::Entry, report::rfc3339};

/// Writes an entry down; one that cannot be written is told of in the log.
async fn write(options: &Options, entry: Entry) {
    let Some(journal) = &options.journal else { return };
    let action = entry.action.clone();
    if let Err(why) = journal.record(entry).await {
        warn!(action, why, "an entry is not in the audit log");
    }
}

fn about(approval: &Approval, time: jiff::Timestamp, step: &str, mut payload: Value) -> Entry {
    payload["approval"] = approval.id.to_string().into();
    payload["plan"] = approval.digest.as_str().into();
    let targets: Vec<&str> = approval.form.targets.keys().map(String::as_str).collect();
    Entry {
        time,
        principal: approval.requested_by.clone(),
        action: format!("{}.{step}", approval.form.tool),
        target: stdx::untrusted::line(&targets.join(" "), 200).into_owned(),
        payload,
    }
}

impl Passage<'_> {
    /// A question was put to people.
    pub(super) async fn journal_asked(&self, approval: &Approval) {
        let payload = json!({
            "policy": approval.rule, "of": approval.of, "needed": approval.needed,
            "until": rfc3339(approval.expires_at),
        });
        write(self.options, about(approval, self.cx.now(), "asked", payload)).await;
    }
}

impl Gate {
    /// A question came to nothing.
    pub(super) async fn journal_approval(&self, approval: &Approval, step: &str, why: &str) {
        let mut payload = json!({"outcome": why});
        if let Some(next) = approval.replaced_by {
            payload["replaced_by"] = next.to_string().into();
        }
        write(&self.options, about(approval, self.fleet.now(), step, payload)).await;
    }

    /// What became of a change that nobody confirmed. What was done for it has entries of its own.
    pub(super) async fn journal_revert(&self, confirm: &Confirm, state: &str, lead: &str) {
        let mut outcome = lead.to_owned();
        self.options.redaction.text(&mut outcome);
        let payload = json!({
            "confirm": confirm.id.to_string(), "action": confirm.action.to_string(),
            "state": state, "outcome": outcome,
        });
        let entry = Entry {
            time: self.fleet.now(),
            principal: who_reverts(confirm).unwrap_or_else(|_| confirm.principal.clone()),
            action: "guard.revert".to_owned(),
            target: confirm.what.clone(),
            payload,
        };
        write(&self.options, entry).await;
    }

    /// What became of an action whose program is gone.
    pub(super) async fn journal_settled(&self, action: &Action, state: ActionState, lead: &str) {
        let tasks: Vec<&str> = action
            .intents
            .iter()
            .filter_map(|it| it.upid.as_ref())
            .map(estate::Upid::as_str)
            .collect();
        let mut outcome = lead.to_owned();
        self.options.redaction.text(&mut outcome);
        let payload = json!({
            "outcome": outcome, "state": state.as_str(), "action": action.id.to_string(),
            "tasks": tasks, "recovered": true,
        });
        let entry = Entry {
            time: self.fleet.now(),
            principal: action.principal.clone(),
            action: format!("{}.recovered", action.tool),
            target: action.target.clone(),
            payload,
        };
        write(&self.options, entry).await;
    }
}

/// The breaker tripped.
pub(crate) async fn journal_trip(
    options: &Options,
    principal: &Principal,
    trip: &Trip,
    time: jiff::Timestamp,
) {
    let entry = Entry {
        time,
        principal: principal.clone(),
        action: "guard.breaker".to_owned(),
        target: principal.to_string(),
        payload: json!({"outcome": trip.to_string(), "until": rfc3339(trip.until)}),
    };
    write(options, entry).await;
}
