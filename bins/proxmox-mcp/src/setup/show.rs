//! What is there and what would be done, for people and for machines.

use std::fmt::Write as _;

use serde_json::{Value, json};
use stdx::untrusted;

use super::plan::{Call, Plan, State, Way};

/// The longest value that is shown.
const VALUE: usize = 400;
/// How wide the words before values are.
const WORD: usize = 10;

/// A line with a word before it.
pub(super) fn line(text: &mut String, word: &str, said: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "  {word:<WORD$} {}", untrusted::line(said, VALUE));
}

/// The part about the plan.
pub(super) fn plan(text: &mut String, cluster: &str, plan: &Plan) {
    line(text, "target", &format!("{}: {}", plan.target, plan.target_is.said()));
    line(text, "matcher", &format!("{}: {}", plan.matcher, plan.matcher_is.said()));
    if plan.calls.is_empty() {
        line(text, "to do", "nothing");
    }
    for it in &plan.calls {
        call(text, "to do", cluster, it);
    }
    for it in &plan.bypasses {
        line(text, "past it", &it.what);
        match &it.way {
            Way::Call(way) => call(text, "", cluster, way),
            Way::ByHand(how) => line(text, "  by hand", how),
        }
    }
}

/// A call with its parameters and its way back.
fn call(text: &mut String, word: &str, cluster: &str, call: &Call) {
    line(text, word, &format!("{} {}", call.method, call.path));
    let width = call.params.iter().map(|it| it.name.len()).max().unwrap_or_default();
    for param in &call.params {
        for shown in &param.shown {
            line(text, "", &format!("  {:<width$} {shown}", param.name));
        }
    }
    if let Some(back) = call.back.command(cluster) {
        line(text, "  back", &back);
    }
    if !call.back.untold.is_empty() {
        let lost = call.back.untold.join(", ");
        line(
            text,
            "  gone",
            &format!("the former {lost}: never shown, since secrets may be in it"),
        );
    }
}

/// The same for machines.
pub(super) fn plan_json(plan: &Plan) -> Value {
    let bypasses = plan.bypasses.iter().map(|it| match &it.way {
        Way::Call(call) => json!({"what": it.what, "call": call_json(call)}),
        Way::ByHand(how) => json!({"what": it.what, "by_hand": how}),
    });
    json!({
        "target": {"name": plan.target, "state": plan.target_is.word(), "differs": plan.target_is.differs()},
        "matcher": {"name": plan.matcher, "state": plan.matcher_is.word(), "differs": plan.matcher_is.differs()},
        "calls": plan.calls.iter().map(call_json).collect::<Vec<_>>(),
        "bypasses": bypasses.collect::<Vec<_>>(),
    })
}

fn call_json(call: &Call) -> Value {
    let params = call.params.iter().map(|it| {
        let shown = match it.shown.as_slice() {
            [one] if !it.value.is_array() => json!(one),
            several => json!(several),
        };
        (it.name.to_owned(), shown)
    });
    let back = &call.back;
    json!({
        "method": call.method, "path": call.path, "params": params.collect::<serde_json::Map<_, _>>(),
        "back": {"method": back.method, "path": back.path, "params": back.params, "untold": back.untold},
    })
}

// === impl State ===

impl State {
    fn word(&self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Missing => "missing",
            Self::Differs(_) => "differs",
        }
    }

    fn differs(&self) -> &[&'static str] {
        match self {
            Self::Differs(what) => what,
            _ => &[],
        }
    }

    fn said(&self) -> String {
        match self {
            Self::Right => "as it should be".to_owned(),
            Self::Missing => "missing".to_owned(),
            Self::Differs(what) => format!("differs in {}", what.join(", ")),
        }
    }
}
