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

use super::{since::since, tally::counted};
use crate::{
    address::Purpose,
    error::ToolError,
    fleet::{GATHER_DEADLINE, Pve},
    report::{Report, Unreachable, rfc3339},
    schema::{Input, Output},
    sight,
    tool::{Cx, Definition, EstateTool},
};

/// How many it has at most.
const MOST_LINES: usize = 500;
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
                .count("limit")
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
        self.limit.unwrap_or(DEFAULT_LINES).clamp(1, MOST_LINES)
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
    let (count, names) = (counted(lines.len(), "line"), whose.join(", "));
    let lead = format!("{count} of the cluster log of {names}{span}");
    let mut report = Report::new(sight::lead_of(&gathered, lead))
        .fact("lines", sight::known(&gathered, lines.len()));
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
    let found = cx.fleet.find_node(args.cluster.as_deref(), node, Purpose::Read).await?;
    let place = &found;
    let (member, node): (_, &NodeName) = (&found.member, found.name());
    let at = format!("{}/{node}", member.key);
    if !found.node.is_online() {
        let why = format!("the cluster reports it as {}", found.node.status);
        let lead = format!("{at}: {}, so its log cannot be read", found.node.status);
        let report = Report::new(lead)
            .unreachable(vec![Unreachable { what: at, why }])
            .next("cluster_status", json!({"cluster": member.key.as_str()}));
        return Ok(place.tell(report));
    }
    let asked = newest(member, node, from, args.reach()).await;
    let (lines, is_cut) = match asked {
        Ok(found) => found,
        Err(error) => {
            let error = ToolError::api(format_args!("read the journal of {at}"), &error);
            let error = error.hint("node logs need Sys.Syslog on the node");
            return Err(error.map(|report| place.tell(report)));
        }
    };
    let lines = lines.iter().map(String::as_str);
    let lines: Vec<&str> = lines.filter(|line| args.fits(line)).collect();
    let all = lines.len();
    let shown = &lines[all.saturating_sub(args.limit())..];
    let lead = format!("{} of the journal of {at}", counted(shown.len(), "line"));
    let mut report = Report::new(lead).fact("node", &*at).fact("lines", shown.len());
    if all > shown.len() {
        report = report.note(format!("the newest {} of {all} lines that fit", shown.len()));
    }
    if is_cut && args.text.is_some() {
        report = report.note(format!("searched the newest {LINES_TO_SEARCH} lines only"));
    } else if let (true, Some(from)) = (is_cut, from) {
        let from = rfc3339(from);
        report =
            report.note(format!("cut: older lines since {from} exist; limit and text reach them"));
    }
    if !shown.is_empty() {
        report = report.untrusted(format!("journal of {at}"), shown.join("\n"));
    }
    Ok(place.tell(report))
}

/// A node's newest lines, at most `reach`, and whether older ones that are wanted were left out.
async fn newest(
    member: &Pve,
    node: &NodeName,
    from: Option<Timestamp>,
    reach: usize,
) -> Result<(Vec<String>, bool), Error> {
    let options = nodes::JournalParams {
        last_entries: Some(reach as u64),
        ..nodes::JournalParams::default()
    };
    let lines = member.client.call(nodes::journal(node, options)).await?;
    let first = lines.first().and_then(|line| cursor_time(line));
    let lines = without_cursors(lines);
    let is_full = lines.len() >= reach;
    // The server takes either a count or a range. So the count is asked first: where it does not
    // reach back to `from`, a range could be of any length, and is not asked for.
    match from {
        None => Ok((lines, is_full)),
        Some(from) if is_full && first.is_some_and(|first| first >= from) => Ok((lines, true)),
        Some(from) => {
            let options =
                nodes::JournalParams { since: Some(from), ..nodes::JournalParams::default() };
            let lines = without_cursors(member.client.call(nodes::journal(node, options)).await?);
            let beyond = lines.len().saturating_sub(reach);
            Ok((lines.into_iter().skip(beyond).collect(), beyond > 0))
        }
    }
}

/// The first and the last line are cursors for the next call, not log.
pub(super) fn without_cursors(mut lines: Vec<String>) -> Vec<String> {
    if lines.last().is_some_and(|line| is_cursor(line)) {
        lines.pop();
    }
    if lines.first().is_some_and(|line| is_cursor(line)) {
        lines.remove(0);
    }
    lines
}

/// When the line of a cursor was written: its `t` is in hexadecimal microseconds.
pub(super) fn cursor_time(line: &str) -> Option<Timestamp> {
    if !is_cursor(line) {
        return None;
    }
    let micros = line.split(';').find_map(|part| part.strip_prefix("t="))?;
    Timestamp::from_microsecond(i64::from_str_radix(micros, 16).ok()?).ok()
}

/// `s=0639…;i=4ca;b=…`
fn is_cursor(line: &str) -> bool {
    line.starts_with("s=") && line.contains(";i=") && !line.contains(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_tell_how_far_back_the_lines_go() {
        let cursor = "s=0639a;i=4ca;b=9f1;m=1;t=5d0f8a3c4e000;x=7";
        assert_eq!(cursor_time(cursor).map(Timestamp::as_second), Some(1_637_141_201));
        assert_eq!(cursor_time("s=sim;i=3"), None);
        assert_eq!(cursor_time("Nov 22 21:00:00 birch t=5 s=1"), None);
        let lines = [cursor, "one", "two", cursor].map(str::to_owned).to_vec();
        assert_eq!(without_cursors(lines), ["one", "two"]);
        assert!(without_cursors(vec![cursor.to_owned()]).is_empty());
    }
}
