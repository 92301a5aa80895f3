//! A person's consent in the client, for what may lose something.
//!
//! The question shows the plan and names its digest; the answer counts only for that digest, for
//! the principal that asked, once, and not for long. The state that travels through the client is
//! sealed by the protocol's boundary; what is remembered here makes it single-use.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use guard::PlanForm;
use jiff::Timestamp;
use mcp_protocol::{Answers, CallContext, InputAnswer, InputRequest, Outcome, schema_object};
use serde_json::json;

use crate::{error::ToolError, report::Report};

/// The key of the question.
const KEY: &str = "approve";

/// The most consents that are remembered as used: each is forgotten when it has expired anyway.
const USED: usize = 10_000;

/// Consents that were used; one per program, see [`crate::process`].
#[derive(Debug, Default)]
pub(crate) struct Consents(Mutex<BTreeMap<String, i64>>);

/// What an answer means.
#[derive(Debug)]
pub(crate) enum Said {
    /// A person agreed to this very plan.
    Yes,
    /// Ask (again), for the reason that is given, if any.
    Ask(Option<String>),
}

/// The question to a person about this plan: who asks, when, and for how long an answer counts.
pub(crate) fn ask(
    question: &str,
    form: &PlanForm,
    (principal, now, within): (&str, Timestamp, Duration),
    before: Option<&str>,
) -> Outcome {
    let within = i64::try_from(within.as_secs()).unwrap_or(i64::MAX);
    let mut message = String::new();
    if let Some(before) = before {
        message.push_str(before);
        message.push('\n');
    }
    message.push_str(question);
    let schema = schema_object(json!({
        "type": "object",
        "properties": {
            KEY: {
                "type": "boolean",
                "title": "Approve",
                "description": "Do exactly this. Anything else refuses.",
                "default": false,
            },
        },
        "required": [KEY],
    }));
    let state = json!({
        "digest": form.digest().as_str(),
        "principal": principal,
        "nonce": format!("{:032x}", rand::random::<u128>()),
        "expires": now.as_second().saturating_add(within),
    });
    Outcome::Ask { inputs: vec![InputRequest::form(KEY, message, schema)], state }
}

// === impl Consents ===

impl Consents {
    /// What the answer in `cx` says about `form`.
    ///
    /// # Errors
    /// A person refused, or the answer cannot count.
    pub(crate) fn read(
        &self,
        cx: &CallContext,
        form: &PlanForm,
        principal: &str,
        now: Timestamp,
    ) -> Result<Said, ToolError> {
        let Some(answers) = cx.answers() else { return Ok(Said::Ask(None)) };
        match answers.get(KEY) {
            None => return Ok(Said::Ask(None)),
            Some(InputAnswer::Accepted(fields)) if fields.get(KEY) == Some(&true.into()) => {}
            Some(InputAnswer::Accepted(_) | InputAnswer::Declined) => {
                return Err(refusal("a person refused"));
            }
            Some(_) => return Err(refusal("nobody decided")),
        }
        let Some(consent) = Consent::read(answers) else {
            return Err(refusal("the answer does not belong to a question of this server"));
        };
        let now = now.as_second();
        if consent.principal != principal {
            return Err(refusal("somebody else was asked for it"));
        }
        if consent.expires < now {
            return Ok(Said::Ask(Some("The earlier answer has expired.".to_owned())));
        }
        if consent.digest != form.digest().as_str() {
            let moved = "What it is about has changed since the last question; this is the plan as \
                         it would be now.";
            return Ok(Said::Ask(Some(moved.to_owned())));
        }
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|_, expires| *expires >= now);
        if used.contains_key(&consent.nonce) {
            return Err(refusal("this answer was used already"));
        }
        if used.len() >= USED {
            return Err(refusal("too many answers are in use at once; ask again in a minute"));
        }
        used.insert(consent.nonce, consent.expires);
        Ok(Said::Yes)
    }
}

/// The state that went with a question.
struct Consent {
    digest: String,
    principal: String,
    nonce: String,
    expires: i64,
}

impl Consent {
    fn read(answers: &Answers) -> Option<Self> {
        let text = |name: &str| Some(answers.state.get(name)?.as_str()?.to_owned());
        Some(Self {
            digest: text("digest")?,
            principal: text("principal")?,
            nonce: text("nonce")?,
            expires: answers.state.get("expires")?.as_i64()?,
        })
    }
}

fn refusal(why: &str) -> ToolError {
    ToolError::from_report(
        Report::new(format!("nothing was done: {why}")).fact("status", "refused"),
    )
}

#[cfg(test)]
mod tests {
    use mcp_protocol::{Caller, JsonObject};
    use serde_json::Value;

    use super::*;

    const NOW: i64 = 1_000_000;

    fn form(target: &str) -> PlanForm {
        PlanForm {
            principal: "local:1".to_owned(),
            tool: "guest_delete".to_owned(),
            calls: Vec::new(),
            targets: [(target.to_owned(), [].into())].into(),
        }
    }

    fn state(form: &PlanForm) -> Value {
        let now = Timestamp::from_second(NOW).unwrap();
        match ask("Delete lab/104?", form, ("local:1", now, Duration::from_mins(5)), None) {
            Outcome::Ask { state, .. } => state,
            other => panic!("{other:?}"),
        }
    }

    fn answered(state: Value, answer: InputAnswer) -> CallContext {
        let by_key = [(KEY.to_owned(), answer)].into();
        CallContext::detached(Caller::new("local:1")).with_answers(Answers { state, by_key })
    }

    fn yes() -> InputAnswer {
        let mut fields = JsonObject::new();
        fields.insert(KEY.to_owned(), true.into());
        InputAnswer::Accepted(fields)
    }

    fn read(consents: &Consents, cx: &CallContext, form: &PlanForm, now: i64) -> String {
        let now = Timestamp::from_second(now).unwrap();
        match consents.read(cx, form, "local:1", now) {
            Ok(said) => format!("{said:?}"),
            Err(error) => error.message().to_owned(),
        }
    }

    #[test]
    fn an_answer_counts_once_for_one_plan_and_not_for_long() {
        let (consents, plan) = (Consents::default(), form("lab/104"));
        let cx = answered(state(&plan), yes());
        assert!(read(&consents, &cx, &form("lab/105"), NOW).contains("has changed"));
        assert!(read(&consents, &cx, &plan, NOW + 301).contains("expired"));
        assert_eq!(read(&consents, &cx, &plan, NOW), "Yes");
        assert_eq!(
            read(&consents, &cx, &plan, NOW),
            "nothing was done: this answer was used already"
        );
    }

    #[test]
    fn everything_but_a_yes_refuses() {
        let (consents, plan) = (Consents::default(), form("lab/104"));
        let mut no = JsonObject::new();
        no.insert(KEY.to_owned(), "true".into());
        for answer in [
            InputAnswer::Accepted(JsonObject::new()),
            InputAnswer::Accepted(no),
            InputAnswer::Declined,
        ] {
            let said = read(&consents, &answered(state(&plan), answer), &plan, NOW);
            assert_eq!(said, "nothing was done: a person refused");
        }
        let cx = answered(state(&plan), InputAnswer::Cancelled);
        assert_eq!(read(&consents, &cx, &plan, NOW), "nothing was done: nobody decided");
        let cx = answered(json!({"digest": plan.digest().as_str()}), yes());
        assert!(read(&consents, &cx, &plan, NOW).contains("does not belong"));
        let mut stolen = state(&plan);
        stolen["principal"] = "local:2".into();
        assert!(read(&consents, &answered(stolen, yes()), &plan, NOW).contains("somebody else"));
    }
}
