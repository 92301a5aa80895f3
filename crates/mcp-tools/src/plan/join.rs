//! Several plans as one: what is asked, agreed to and written down once, and done in order.

use mcp_protocol::JsonObject;

use super::{Done, Plan, Settle};
use crate::{error::ToolError, report::Report, tool::Cx};

/// A plan within another, as far as its end goes.
struct Part {
    what: String,
    steps: usize,
    facts: JsonObject,
    settle: Option<Settle>,
}

// === impl Plan ===

impl Plan {
    /// These plans, one after the other. The first step that fails ends all of it; what cleans up
    /// does so within its own part. How it is taken back is not said: none of the parts knows of the
    /// others.
    ///
    /// What explains the failure of a part is left out: which part has failed is in the error.
    pub(crate) fn joined(what: impl Into<String>, plans: Vec<Self>) -> Self {
        let mut whole = Self::new(what);
        let mut parts = Vec::new();
        for (at, plan) in plans.into_iter().enumerate() {
            parts.push(Part {
                what: plan.what,
                steps: plan.steps.len(),
                facts: plan.facts.clone(),
                settle: plan.settle,
            });
            whole.steps.extend(plan.steps.into_iter().map(|mut step| {
                step.part = at;
                step
            }));
            for (address, state) in plan.targets {
                whole.targets.entry(address).or_default().extend(state);
            }
            whole.changes.extend(plan.changes);
            whole.effects.extend(plan.effects);
            whole.warnings.extend(plan.warnings);
            whole.tables.extend(plan.tables);
            whole.notes.extend(plan.notes);
            whole.later.extend(plan.later);
            whole.acts_as.extend(plan.acts_as);
            for (name, value) in plan.facts {
                whole.facts.entry(name).or_insert(value);
            }
            whole.access = whole.access.max(plan.access);
            whole.patience = [whole.patience, plan.patience].into_iter().flatten().min();
            whole.revert = match (whole.revert.take(), plan.revert) {
                (Some(mut first), Some(second)) => {
                    // Put back in the opposite order.
                    first.calls.splice(0..0, second.calls);
                    Some(first)
                }
                (one, other) => one.or(other),
            };
        }
        whole.settle(move |cx, done| settled(parts, cx, done))
    }
}

/// What each part says at its end, as one answer: it is good only if all of them are.
async fn settled(parts: Vec<Part>, cx: Cx, done: Done) -> Result<Report, ToolError> {
    let mut all: Option<Report> = None;
    let mut is_good = true;
    let mut first = 0;
    for part in parts {
        let own = done.part(first..first + part.steps, part.facts);
        first += part.steps;
        let ended = match part.settle {
            Some(settle) => settle(cx.clone(), own).await,
            None => {
                let lead = format!("{} is done", part.what);
                Ok(own.report(lead))
            }
        };
        let report = match ended {
            Ok(report) => report,
            Err(error) => {
                is_good = false;
                error.into_report()
            }
        };
        all = Some(match all.take() {
            None => report,
            Some(before) => both(before, report),
        });
    }
    let mut report = all.unwrap_or_default();
    if is_good {
        return Ok(report);
    }
    report.facts.insert("status".to_owned(), "failed".into());
    Err(ToolError::from_report(report))
}

fn both(mut one: Report, other: Report) -> Report {
    one.lead = format!("{}; {}", one.lead, other.lead);
    for (name, value) in other.facts {
        one.facts.entry(name).or_insert(value);
    }
    one.details.extend(other.details);
    for table in other.tables {
        // Rows of the same sort belong under one header.
        match one.tables.iter_mut().find(|it| it.name == table.name) {
            Some(same) if same.columns == table.columns => same.rows.extend(table.rows),
            _ => one.tables.push(table),
        }
    }
    one.notes.extend(other.notes);
    one.unreachable.extend(other.unreachable);
    one.untrusted.extend(other.untrusted);
    one.next.extend(other.next);
    one
}
