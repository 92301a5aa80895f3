//! `silence_end`: people are told again.

use async_trait::async_trait;
use estate::Access;
use event_core::desk::SilenceView;
use mcp_protocol::JsonObject;
use serde::Deserialize;
use serde_json::json;

use super::{Sight, desk, refused, silences, step};
use crate::{
    address::quoted,
    error::ToolError,
    plan::{ActionTool, Plan, Undo},
    report::age,
    schema::{Input, Output},
    tool::{Cx, Definition},
};

const END: &str = "end the silence";

/// Ends a silence.
pub struct SilenceEnd;

#[derive(Debug, Deserialize)]
struct Args {
    silence: String,
}

#[async_trait]
impl ActionTool for SilenceEnd {
    fn definition(&self) -> Definition {
        Definition {
            name: "silence_end",
            title: "End a silence",
            description: "Ends a silence before its time.",
            input: Input::new().text("silence", "").required("silence"),
            output: Output::new().fact("silence", "string").fact("status", "string"),
            access: Access::Operate,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Operate
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        let desk = desk(cx)?.clone();
        let wanted = args.silence.trim();
        let known = desk.silences().await;
        let known = known.map_err(|error| refused("list silences", &error))?;
        let sight = Sight::of(cx);
        let mut known = known.into_iter().filter(|it| silences::sees(&sight, it));
        let silence = known.find(|it| it.name == wanted).ok_or_else(|| {
            ToolError::not_found(format!("no silence is called {}", quoted(wanted)))
                .next("silences_list", JsonObject::new())
        })?;
        let SilenceView { name, author, until, .. } = silence;
        let by = cx.principal.to_string();
        // Somebody else's is theirs to end, unless a person says otherwise.
        let params = if author == by { Vec::new() } else { vec![("author", author.clone())] };
        let (ended, told) = (name.clone(), name.clone());
        let path = format!("silences/{name}/end");
        let plan = Plan::new(format!("end of silence {name}"))
            .effect(format!("people are told again, {} before its time", age(cx.now(), until)))
            .undo(Undo::By("by setting it again".to_owned()))
            .target(step::part("silence", &name), [("author", author)])
            .step(step::step(END, &path, params, async move |_| {
                let done = desk.unsilence(&ended, &by).await;
                done.map_err(|error| refused(END, &error))?;
                Ok(json!({"silence": ended}))
            }))
            .settle(async move |_, done| {
                let report = done.report(format!("silence {told} has ended"));
                Ok(report.fact("silence", told.as_str()))
            });
        Ok(plan)
    }
}
