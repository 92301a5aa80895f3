//! A step in the pipeline: planned, judged and written down like a call to a server.
//!
//! Its call names no member of the estate, and its path is of our own: policy and the question to a
//! person show it as it is, and the clusters that it is about stand among the plan's targets.
//!
//! For details, see: `guard::policy::Nature`, which knows the paths of what hides nothing.

use event_core::desk::IncidentView;
use guard::PlannedCall;
use serde_json::Value;

use super::shown::short;
use crate::{
    error::ToolError,
    plan::{Plan, Running, Step, StepOutcome, Work},
    tool::Cx,
};

/// What stands for the member; no settings key can be called so.
const MEMBER: &str = "event-pipeline";

/// A step that does this; its value is what the plan settles with.
pub(super) fn step<F>(
    what: &str,
    path: &str,
    params: Vec<(&str, String)>,
    doing: impl FnOnce(Running) -> F + Send + 'static,
) -> Step
where
    F: Future<Output = Result<Value, ToolError>> + Send + 'static,
{
    let params = params.into_iter().map(|(name, value)| (name.to_owned(), value));
    let call = PlannedCall {
        member: MEMBER.to_owned(),
        method: "POST".to_owned(),
        path: format!("/{MEMBER}/{path}"),
        params: params.collect(),
    };
    let work: Work = Box::new(move |running| {
        Box::pin(async move {
            let mut outcome = StepOutcome::default();
            outcome.value = doing(running).await?;
            Ok(outcome)
        })
    });
    Step::other(what, vec![call], work)
}

/// What must not move of the pipeline between consent and run.
pub(super) fn part(what: &str, name: &str) -> String {
    format!("{MEMBER}/{what}/{name}")
}

/// The plan, about this incident and the cluster that it is of.
pub(super) fn about(cx: &Cx, plan: Plan, incident: &IncidentView) -> Plan {
    let name = short(&incident.id);
    let state = [("status", incident.status.as_str()), ("severity", incident.severity.as_str())];
    let plan = plan.target(part("incident", name), state);
    let known = incident.cluster.as_deref().filter(|key| cx.fleet.product_of(key).is_some());
    match known {
        Some(cluster) => plan.target(cluster, [("incident", name)]),
        None => plan,
    }
}
