//! From the guard's types to what goes over the wire.

use control_api::{
    Action, ActionCall, ActionStep, Approval, ApprovalDetail, AuditEntry, Confirm, Decided, Freeze,
};
use guard::ports;
use jiff::Timestamp;
use serde_json::Value;

/// The longest line of a list.
const LINE: usize = 200;

pub(super) fn approval(it: &ports::Approval, now: Timestamp) -> Approval {
    let decided = |it: &ports::DecisionRecord| Decided {
        approver: it.approver.clone(),
        way: it.way.as_str().to_owned(),
        approve: it.agrees,
        at: it.at,
        note: it.note.clone(),
    };
    Approval {
        id: it.id.to_string(),
        digest: it.digest.as_str().to_owned(),
        requested_by: it.requested_by.to_string(),
        asked_at: it.asked_at,
        expires_at: it.expires_at,
        rule: it.rule.clone(),
        tool: it.form.tool.clone(),
        summary: stdx::untrusted::line(it.summary.lines().next().unwrap_or_default(), LINE)
            .into_owned(),
        state: it.state_at(now).as_str().to_owned(),
        needed: it.needed,
        of: it.of.clone(),
        decisions: it.decisions.iter().map(decided).collect(),
        result: it.result.clone(),
        void_reason: it.void_reason.clone(),
        replaced_by: it.replaced_by.map(|id| id.to_string()),
    }
}

pub(super) fn detail(it: &ports::Approval, now: Timestamp) -> ApprovalDetail {
    ApprovalDetail {
        approval: approval(it, now),
        text: it.summary.clone(),
        // The canonical form is JSON by construction.
        form: serde_json::from_slice(&it.form.canonical()).unwrap_or_default(),
    }
}

pub(super) fn freeze(it: &ports::Freeze) -> Freeze {
    let reason = (!it.reason.is_empty()).then(|| it.reason.clone());
    Freeze { by: it.by.to_string(), since: it.since, until: it.until, reason }
}

pub(super) fn confirm(it: &ports::Confirm) -> Confirm {
    Confirm {
        id: it.id.to_string(),
        what: it.what.clone(),
        principal: it.principal.to_string(),
        deadline: it.deadline,
        state: it.state.as_str().to_owned(),
    }
}

/// An action as callers see it.
pub fn action(it: &ports::Action) -> Action {
    Action {
        id: it.id.to_string(),
        state: it.state.as_str().to_owned(),
        principal: it.principal.to_string(),
        tool: it.tool.clone(),
        target: it.target.clone(),
        begun: it.begun_at,
        digest: it.digest.as_str().to_owned(),
        approval: it.approval.map(|id| id.to_string()),
        unasked: it.unasked,
        lead: it.lead.clone(),
        steps_planned: it.steps,
        steps: it.intents.iter().map(step).collect(),
    }
}

fn step(it: &ports::Intent) -> ActionStep {
    let call = |call: &guard::PlannedCall| ActionCall {
        member: call.member.clone(),
        method: call.method.clone(),
        path: call.path.clone(),
    };
    let end = match &it.end {
        Some(ports::StepEnd::Done) => "done".to_owned(),
        Some(ports::StepEnd::Failed(why)) => format!("failed: {why}"),
        Some(ports::StepEnd::Unknown(why)) => format!("unknown: {why}"),
        Some(ports::StepEnd::NotSent(why)) => format!("not sent: {why}"),
        None if it.upid.is_some() => "sent, no end known".to_owned(),
        None => "about to be sent, perhaps sent".to_owned(),
    };
    ActionStep {
        step: it.step,
        what: it.what.clone(),
        calls: it.calls.iter().map(call).collect(),
        at: it.at,
        upid: it.upid.as_ref().map(ToString::to_string),
        end,
    }
}

pub(super) fn audit(it: store::AuditRecord) -> AuditEntry {
    AuditEntry {
        seq: it.seq,
        time: it.time,
        principal: it.principal,
        action: it.action,
        target: it.target,
        payload: serde_json::from_str(&it.payload).unwrap_or(Value::String(it.payload)),
        hash: it.hash,
    }
}
