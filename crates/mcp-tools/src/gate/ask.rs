//! Asking people who are not at the client: an approval is made, and the caller told how to wait.

use guard::{
    policy::{Ask, Decided},
    ports::{Approval, ApprovalFilter, ApprovalState, NewApproval},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::pass::{Case, Passage, told};
use crate::{
    error::ToolError,
    report::{Report, rfc3339},
};

/// The most questions of one caller that are open at a time: people must be able to read them.
const OPEN: usize = 20;

/// Asks, or finds that it was asked already, and says how to wait for the answer.
pub(super) async fn people(
    passage: &Passage<'_>,
    case: &Case,
    decided: &Decided,
    wanted: &Ask,
) -> Result<Report, ToolError> {
    let Some(ports) = passage.options.guard.ports() else {
        return Err(nobody(passage, case, decided, false));
    };
    let now = passage.cx.now();
    let closed = |error: &dyn std::fmt::Display| {
        passage.refused(&format!("nobody can be asked, since it cannot be written down: {error}"))
    };
    let filter = ApprovalFilter {
        requested_by: Some(passage.who.principal.clone()),
        states: vec![ApprovalState::Pending, ApprovalState::Approved],
        limit: 0,
    };
    let mut open = ports.approvals.approvals(&filter).await.map_err(|error| closed(&error))?;
    open.retain(|approval| !approval.is_expired(now));
    let digest = case.form.digest();
    // Asking again is no second question.
    if let Some(approval) = open.iter().find(|approval| approval.digest == digest) {
        return Ok(waiting(approval, &case.what, &ports.approvers.asked(&approval.of)));
    }
    if open.len() >= OPEN {
        return Err(passage.refused(&format!(
            "{OPEN} questions of this caller are open, and people answer those first"
        )));
    }
    let new = question(passage, case, decided, wanted, now);
    let approval = ports.approvals.ask(new, now).await.map_err(|error| closed(&error))?;
    tracing::info!(
        approval = %approval.id,
        principal = %approval.requested_by,
        tool = passage.name,
        "people are asked"
    );
    passage.journal_asked(&approval).await;
    let asked = ports.approvers.asked(&approval.of);
    Ok(told(waiting(&approval, &case.what, &asked), decided))
}

/// What is kept of the question.
pub(super) fn question(
    passage: &Passage<'_>,
    case: &Case,
    decided: &Decided,
    wanted: &Ask,
    now: Timestamp,
) -> NewApproval {
    let mut summary = case.question.clone();
    passage.options.redaction.text(&mut summary);
    let within = SignedDuration::try_from(wanted.within).unwrap_or(SignedDuration::MAX);
    NewApproval {
        form: case.form.clone(),
        requested_by: passage.who.principal.clone(),
        expires_at: now.checked_add(within).unwrap_or(Timestamp::MAX),
        rule: decided.line.clone(),
        needed: wanted.count.max(1),
        of: wanted.of.clone(),
        client_counts: wanted.client,
        summary,
        call: passage.kept_call(),
    }
}

/// The answer to a call that waits for people.
pub(super) fn waiting(approval: &Approval, what: &str, asked: &str) -> Report {
    let id = approval.id.to_string();
    let until = rfc3339(approval.expires_at);
    let many = if approval.needed > 1 {
        format!(" ({} must agree)", approval.needed)
    } else {
        String::new()
    };
    let state = match approval.state {
        ApprovalState::Approved => "approved",
        _ => "pending",
    };
    Report::new(format!(
        "{what} waits for consent, nothing was done yet: {asked} was asked{many}, until {until}"
    ))
    .fact("status", state)
    .fact("approval_id", id.as_str())
    .fact("asked", asked)
    .fact("until", until)
    .fact("plan_digest", approval.digest.as_str())
    .note("it runs when they agree, whether or not you wait; silence refuses")
    .next("approval_wait", json!({"approval_id": id}))
}

/// Why nobody can be asked, and how that is changed.
pub(super) fn nobody(
    passage: &Passage<'_>,
    case: &Case,
    decided: &Decided,
    in_client: bool,
) -> ToolError {
    let what = &case.what;
    let error = passage.refused(&format!(
        "the {what} needs a person's consent (`{}`: {}), and nobody can be asked",
        decided.line, decided.why
    ));
    let client = if in_client {
        "this client cannot show questions; one that supports elicitation can, and so does \
         `proxmox-mcp call` on a terminal"
    } else {
        "an answer in the client does not count for this (`guard.client_approves` in the settings)"
    };
    error
        .map(|report| told(report, decided))
        .hint(client)
        .hint("`proxmox-mcp approver add NAME` on a terminal sets up, once, somebody to ask")
}
