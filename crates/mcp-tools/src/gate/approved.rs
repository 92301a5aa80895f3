//! What people agreed to while nobody waited: planned again, and run if nothing moved.

use guard::{
    policy::{Ask, Decision},
    ports::{Approval, ApprovalId, ApprovalState, NewApproval, Outcome, PortError, PortErrorKind},
};
use serde_json::Value;
use tracing::{info, warn};

use super::{
    Gate, Ports, Who, ask, kept,
    pass::{Case, Passage, Terms, consents},
};
use crate::{error::ToolError, explain::usual_transport, report::Report};

/// What became of an approval when it was to be run.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "made once per approval")]
pub enum Ran {
    /// It was run, and this is how it is now: done, failed or unknown.
    Run(Approval),
    /// What it is about moved: it is void, and this is the question that took its place.
    Moved {
        /// The void one, with what moved.
        void: Approval,
        /// The new one, if the work is still possible.
        next: Option<Approval>,
    },
    /// It is not approved, or somebody else runs it.
    Not(Approval),
    /// Changes are stopped: it stays approved until its time runs out.
    Frozen(Approval),
}

/// Why an approved plan is not the one that was approved any more.
struct Moved {
    why: String,
    next: Option<NewApproval>,
}

// === impl Gate ===

impl Gate {
    /// Runs what was approved: once, by whoever comes first, and only if it is still the plan that
    /// people agreed to.
    ///
    /// # Errors
    /// There is no such approval, or what is remembered cannot be read or written.
    pub async fn run_approved(&self, id: ApprovalId) -> Result<Ran, PortError> {
        let missing =
            || PortError::new(PortErrorKind::NotFound, format!("there is no approval {id}"));
        let ports = self.ports().ok_or_else(missing)?;
        let approval = ports.approvals.approval(id).await?.ok_or_else(missing)?;
        let now = self.fleet.now();
        if approval.state_at(now) != ApprovalState::Approved {
            return Ok(Ran::Not(approval));
        }
        if self.options.guard.frozen || ports.freezes.frozen(now).await?.is_some() {
            return Ok(Ran::Frozen(approval));
        }
        if let Err(why) = agreed(ports, &approval) {
            warn!(approval = %id, why, "its decisions do not count");
            return self.void(ports, &approval, Moved { why, next: None }).await;
        }
        let who = Who {
            principal: approval.requested_by.clone(),
            scope: None,
            transport: usual_transport(&approval.requested_by),
        };
        let call = ports.approvals.kept_call(id).await?;
        let gone = |error: &ToolError| Moved { why: error.message().to_owned(), next: None };
        let passage = match self.passage(&who, &call) {
            Ok(passage) => passage,
            Err(error) => return self.void(ports, &approval, gone(&error)).await,
        };
        let planned = match passage.plan().await {
            Ok(Ok(planned)) => planned,
            Ok(Err(nothing)) => {
                let why = format!("there is nothing to do any more: {}", nothing.lead);
                return self.void(ports, &approval, Moved { why, next: None }).await;
            }
            Err(error) => return self.void(ports, &approval, gone(&error)).await,
        };
        if let Some(moved) = moved(&passage, &planned.case, &approval) {
            return self.void(ports, &approval, moved).await;
        }
        let terms = Terms {
            line: approval.rule.clone(),
            approval: Some(id),
            consents: consents(&approval),
            ..Terms::default()
        };
        // Opened before it is claimed: so whatever is claimed has an action that says by whom.
        let work = match passage.begin(&planned.case, &terms).await {
            Ok(work) => work,
            Err(error) => {
                return Err(PortError::new(PortErrorKind::Unavailable, error.message()));
            }
        };
        if let Err(error) = ports.approvals.claim(id, &approval.digest, self.fleet.now()).await {
            let lost = ToolError::from_report(
                Report::new(format!("nothing was done: {error}")).fact("status", "cancelled"),
            );
            work.end(Err(&lost)).await;
            if !error.is_conflict() {
                return Err(error);
            }
            // Somebody was faster, or its time ran out just now.
            let now = ports.approvals.approval(id).await?.ok_or_else(missing)?;
            return Ok(Ran::Not(now));
        }
        let result = passage.carry_out(planned, &terms, work).await;
        self.finish(ports, id, result).await.map(Ran::Run)
    }

    /// Marks questions whose time ran out: silence refuses. Called again and again.
    ///
    /// # Errors
    /// They cannot be written.
    pub async fn expire(&self) -> Result<Vec<Approval>, PortError> {
        let Some(ports) = self.ports() else { return Ok(Vec::new()) };
        let expired = ports.approvals.expire(self.fleet.now()).await?;
        for approval in &expired {
            info!(approval = %approval.id, "its time ran out: nothing was done");
            self.journal_approval(approval, "expired", "nobody decided in time").await;
        }
        Ok(expired)
    }

    async fn void(
        &self,
        ports: &Ports,
        approval: &Approval,
        moved: Moved,
    ) -> Result<Ran, PortError> {
        let Moved { mut why, next } = moved;
        self.options.redaction.text(&mut why);
        let voided = ports.approvals.void(approval.id, &why, next, self.fleet.now()).await;
        let (void, next) = match voided {
            Ok(both) => both,
            // Somebody else was faster: whatever it is now, it is not ours to run.
            Err(error) if error.is_conflict() => {
                let now = ports.approvals.approval(approval.id).await?;
                return Ok(Ran::Not(now.unwrap_or_else(|| approval.clone())));
            }
            Err(error) => return Err(error),
        };
        self.journal_approval(&void, "void", &why).await;
        Ok(Ran::Moved { void, next })
    }

    async fn finish(
        &self,
        ports: &Ports,
        id: ApprovalId,
        result: Result<Report, ToolError>,
    ) -> Result<Approval, PortError> {
        let (mut report, failed) = match result {
            Ok(report) => (report, false),
            Err(error) => (error.into_report(), true),
        };
        let status = report.facts.get("status").and_then(Value::as_str).unwrap_or_default();
        let outcome = match (status, failed) {
            ("unknown", _) => Outcome::Unknown,
            (_, true) => Outcome::Failed,
            (_, false) => Outcome::Done,
        };
        self.options.redaction.report(&mut report);
        let kept = kept::write(&report, failed);
        ports.approvals.finish(id, outcome, kept, self.fleet.now()).await
    }
}

/// Whether enough people agreed whose decisions count: what stands in the store is not believed.
fn agreed(ports: &Ports, approval: &Approval) -> Result<(), String> {
    let mut names = std::collections::BTreeSet::new();
    let mut doubts = Vec::new();
    for decision in &approval.decisions {
        match ports.approvers.may_decide(approval, decision) {
            Ok(()) if decision.agrees => {
                names.insert(decision.approver.as_str());
            }
            Ok(()) => return Err(format!("{} refused", decision.approver)),
            Err(why) => doubts.push(format!("that of {}: {why}", decision.approver)),
        }
    }
    if names.len() >= approval.needed.max(1) as usize {
        return Ok(());
    }
    doubts.insert(0, format!("{} of {} decisions count", names.len(), approval.needed.max(1)));
    Err(doubts.join("; "))
}

/// Why it is another plan now, and the question about that one.
fn moved(passage: &Passage<'_>, case: &Case, approval: &Approval) -> Option<Moved> {
    let decided = &case.decided;
    if decided.decision == Decision::Deny {
        return Some(Moved { why: decided.why.clone(), next: None });
    }
    if case.form.digest() == approval.digest {
        return None;
    }
    let moved = case.form.moved_since(&approval.form);
    let why = if moved.is_empty() { "it is another plan".to_owned() } else { moved.join("; ") };
    let now = passage.cx.now();
    // What would run unasked today was asked for all the same: it asks as it did.
    let (line, wanted) = match &decided.decision {
        Decision::Ask(wanted) => (decided.clone(), wanted.clone()),
        _ => {
            let within = approval.expires_at.duration_since(approval.asked_at).unsigned_abs();
            let mut line = decided.clone();
            line.line.clone_from(&approval.rule);
            let (of, count) = (approval.of.clone(), approval.needed);
            (line, Ask { of, count, within, client: approval.client_counts })
        }
    };
    Some(Moved { why, next: Some(ask::question(passage, case, &line, &wanted, now)) })
}
