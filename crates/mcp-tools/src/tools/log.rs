//! `log_recent`: the clusters' own log, or one node's journal.

use api_core::Error;
use async_trait::async_trait;
use estate::{Access, NodeName};
use jiff::Timestamp;
use mcp_protocol::JsonObject;
use pve_client::{
    cluster::{self, LogEntry},
    nodes,
};
use serde::Deserialize;
use serde_json::json;

use super::since::since;
use crate::{
    error::ToolError,
    fleet::{GATHER_DEADLINE, Pve},
    report::{Report, Unreachable, rfc3339},
    schema::{Input, Output},
    sight,
    tool::{Cx, Definition, EstateTool},
};

/// How many lines an answer has without `limit`.
const DEFAULT_LINES: usize = 50;
/// How many lines are looked through for a text.
const LINES_TO_SEARCH: usize = 2000;

/// Shows recent log lines.
pub struct LogRecent;

#[derive(Debug, Deserialize)]
struct Args {
    cluster: Option<String>,
    node: Option<String>,
    since: Option<String>,
    limit: Option<usize>,
    text: Option<String>,
}

#[async_trait]
impl EstateTool for LogRecent {
    fn definition(&self) -> Definition {
        Definition {
            name: "log_recent",
            title: "Recent log",
            description: "Cluster log; with node: its system journal.",
            input: Input::new()
                .cluster()
                .node()
                .text("since", "RFC 3339, or age: 2h, 3d")
                .integer("limit", 1..=500, "")
                .text("text", ""),
            output: Output::new().fact("lines", "integer"),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let args: Args = cx.args(args)?;
        let from = args.since.as_deref().map(|text| since(text, cx.now())).transpose()?;
        match args.node.as_deref() {
            Some(node) => journal(cx, &args, node, from).await,
            None => cluster_log(cx, &args, from).await,
        }
    }
}

// === impl Args ===

impl Args {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(DEFAULT_LINES)
    }

    /// How many lines to ask for.
    fn reach(&self) -> usize {
        if self.text.is_some() { LINES_TO_SEARCH } else { self.limit() }
    }

    fn fits(&self, line: &str) -> bool {
        let wanted = self.text.as_deref();
        wanted.is_none_or(|text| line.to_lowercase().contains(&text.to_lowercase()))
    }
}

/// The clusters' logs as one, the newest line last.
async fn cluster_log(cx: &Cx, args: &Args, from: Option<Timestamp>) -> Result<Report, ToolError> {
    let now = cx.now();
    let members = cx.fleet.pve(args.cluster.as_deref())?;
    let reach = u32::try_from(args.reach()).unwrap_or(u32::MAX);
    let load = |member: std::sync::Arc<Pve>| async move {
        let log = member.client.call(cluster::log(Some(reach)));
        let (log, permissions) = futures::join!(log, sight::of_pve(&member, now));
        Ok::<_, Error>((log?, permissions))
    };
    let gathered = cx.fleet.gather(members, GATHER_DEADLINE, load).await;
    let mut lines: Vec<(Timestamp, String)> = Vec::new();
    for (member, (log, _)) in &gathered.answers {
        // The newest comes first; lines of one second keep their order.
        for entry in log.iter().rev() {
            let time = entry.time.unwrap_or(Timestamp::UNIX_EPOCH);
            let line = line(member.key.as_str(), entry, time);
            if from.is_none_or(|from| time >= from) && args.fits(&line) {
                lines.push((time, line));
            }
        }
    }
    lines.sort_by_key(|(time, _)| *time);
    let found = lines.len();
    let lines = &lines[found.saturating_sub(args.limit())..];
    let whose: Vec<_> = gathered.answers.iter().map(|(member, _)| member.key.as_str()).collect();
    let span = match (lines.first(), lines.last()) {
        (Some((first, _)), Some((last, _))) => {
            format!(", {} to {}", rfc3339(*first), rfc3339(*last))
        }
        _ => String::new(),
    };
    let plural = if lines.len() == 1 { "" } else { "s" };
    let mut report = Report::new(format!(
        "{} line{plural} of the cluster log of {}{span}",
        lines.len(),
        if whose.is_empty() { "no cluster".to_owned() } else { whose.join(", ") },
    ))
    .fact("lines", lines.len());
    if !lines.is_empty() {
        let text = lines.iter().map(|(_, line)| line.as_str()).collect::<Vec<_>>().join("\n");
        report = report.untrusted(format!("cluster log of {}", whose.join(", ")), text);
    }
    for (member, (_, permissions)) in &gathered.answers {
        report = sight::tell(report, member.key.as_str(), permissions.as_deref(), &["syslog"]);
    }
    Ok(gathered.tell(report))
}

fn line(key: &str, entry: &LogEntry, time: Timestamp) -> String {
    let node = entry.node.as_ref().map_or("-", |node| node.as_str());
    let message = stdx::untrusted::line(&entry.message, 400);
    let level = match entry.priority {
        0..=2 => " CRITICAL",
        3 => " ERROR",
        4 => " WARNING",
        _ => "",
    };
    let user = if entry.user.is_empty() { "-" } else { entry.user.as_str() };
    format!("{} {key}/{node} {} {user}{level}: {message}", rfc3339(time), entry.tag)
}

/// One node's journal, the newest line last.
async fn journal(
    cx: &Cx,
    args: &Args,
    node: &str,
    from: Option<Timestamp>,
) -> Result<Report, ToolError> {
    let found = cx.fleet.find_node(args.cluster.as_deref(), node).await?;
    let (member, node): (_, &NodeName) = (&found.member, found.name());
    let at = format!("{}/{node}", member.key);
    if !found.node.is_online() {
        let why = format!("the cluster reports it as {}", found.node.status);
        return Ok(Report::new(format!("{at}: {}, so its log cannot be read", found.node.status))
            .unreachable(vec![Unreachable { what: at, why }])
            .next("cluster_status", json!({"cluster": member.key.as_str()})));
    }
    let reach = args.reach() as u64;
    let options = nodes::JournalParams {
        since: from,
        // The server takes either a range or a count.
        last_entries: from.is_none().then_some(reach),
        ..nodes::JournalParams::default()
    };
    let asked = member.client.call(nodes::journal(node, options)).await;
    let lines = match asked {
        Ok(lines) => lines,
        Err(error) => {
            let error = ToolError::api(format_args!("read the journal of {at}"), &error);
            return Err(error.hint("node logs need Sys.Syslog on the node"));
        }
    };
    // The first and the last line are cursors for the next call, not log.
    let ends = [0, lines.len().saturating_sub(1)];
    let lines = lines.iter().enumerate();
    let lines = lines.filter(|(at, line)| !(ends.contains(at) && is_cursor(line)));
    let lines = lines.map(|(_, line)| line.as_str());
    let lines: Vec<&str> = lines.filter(|line| args.fits(line)).collect();
    let found = lines.len();
    let shown = &lines[found.saturating_sub(args.limit())..];
    let plural = if shown.len() == 1 { "" } else { "s" };
    let mut report = Report::new(format!("{} line{plural} of the journal of {at}", shown.len()))
        .fact("node", &*at)
        .fact("lines", shown.len());
    if found > shown.len() {
        report = report.note(format!("the newest {} of {found} lines that fit", shown.len()));
    }
    if args.text.is_some() && from.is_none() {
        report = report.note(format!("searched the newest {LINES_TO_SEARCH} lines only"));
    }
    if shown.is_empty() {
        return Ok(report);
    }
    Ok(report.untrusted(format!("journal of {at}"), shown.join("\n")))
}

/// `s=0639…;i=4ca;b=…`
fn is_cursor(line: &str) -> bool {
    line.starts_with("s=") && line.contains(";i=") && !line.contains(' ')
}
