//! `silences_list`: of what nobody is told, until when, and who wanted it so.

use async_trait::async_trait;
use estate::Access;
use event_core::desk::SilenceView;
use mcp_protocol::JsonObject;

use super::{Sight, desk, refused, shown::named, silence::NEVER};
use crate::{
    error::ToolError,
    report::{Cell, Report, Table},
    schema::{Input, Output},
    tool::{Cx, Definition, EstateTool},
    tools::tally::counted,
};

/// Lists silences.
pub struct SilencesList;

#[async_trait]
impl EstateTool for SilencesList {
    fn definition(&self) -> Definition {
        Definition {
            name: "silences_list",
            title: "List silences",
            description: "Of what nobody is told now, until when, by whom and why.",
            input: Input::new().fields(),
            output: Output::new().table("silences"),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, _args: JsonObject) -> Result<Report, ToolError> {
        let (sight, now) = (Sight::of(cx), cx.now());
        let all = desk(cx)?.silences().await;
        let all = all.map_err(|error| refused("list silences", &error))?;
        let columns = ["silence", "until", "author", "when", "reason"];
        let mut table = Table::new("silences", &columns);
        for silence in all.iter().filter(|it| sees(&sight, it)) {
            let when = silence.when.as_deref().unwrap_or("true");
            table.push(vec![
                named(silence.name.as_str()),
                Cell::moment(silence.until, now),
                named(silence.author.as_str()),
                Cell::foreign(when),
                Cell::foreign(silence.reason.as_str()),
            ]);
        }
        let lead = match table.rows.len() {
            0 => "no silence holds".to_owned(),
            count => counted(count, "silence"),
        };
        let left = all.len() - table.rows.len();
        let mut report = Report::new(lead).table(table);
        if left > 0 {
            let left = counted(left, "silence");
            report = report.note(format!("{left} that is not of your clusters alone is left out"));
        }
        Ok(sight.tell(report))
    }
}

/// The part of a condition that keeps it to a cluster.
pub(super) fn of_cluster(cluster: &str) -> String {
    format!("event.cluster == '{cluster}'")
}

/// Whether the caller sees it: all of them, or those that a tool made for one of its clusters.
pub(super) fn sees(sight: &Sight, silence: &SilenceView) -> bool {
    let Some(keys) = sight.keys() else { return true };
    let when = silence.when.as_deref().unwrap_or_default();
    keys.iter().any(|key| {
        let part = format!("{NEVER} && {}", of_cluster(key));
        when.strip_prefix(&part).is_some_and(|rest| rest.is_empty() || rest.starts_with(" && "))
    })
}
