//! `node_journal`: the system journal of a node or backup server, by range, unit and words.
//!
//! Without a range it is the newest lines. With one, the server counts the lines and gives a page
//! of them, so that a page is never more than what is shown.

use std::sync::Arc;

use api_core::Error;
use async_trait::async_trait;
use estate::{Access, NodeName};
use jiff::{SignedDuration, Timestamp, tz::Offset};
use mcp_protocol::JsonObject;
use pve_client::nodes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::moment::moment;
use crate::{
    address::{FoundNode, Purpose},
    cursor,
    error::ToolError,
    fleet::{Member, Pbs, Pve},
    report::{Report, Unreachable, rfc3339},
    schema::{Input, Output},
    tool::{Cx, Definition, EstateTool},
    tools::{log, tally::counted},
};

const NAME: &str = "node_journal";
/// How many lines an answer has without `limit`.
const DEFAULT_LINES: usize = 100;
/// How many lines are looked through for words at a time.
const LINES_TO_SEARCH: usize = 2000;
/// How far back a range goes that names no beginning.
const DEFAULT_HOURS: i64 = 24;
/// What a line that tells of trouble has in it. The API gives no priorities.
const TROUBLE: &[&str] = &[
    "error",
    "fail",
    "fatal",
    "panic",
    "critical",
    "warn",
    "oom",
    "out of memory",
    "segfault",
    "timeout",
    "timed out",
    "denied",
    "refused",
    "degraded",
    "corrupt",
    "unable",
    "cannot",
    "killed",
    "abort",
    "no space",
];

/// Shows a journal.
pub struct NodeJournal;

#[derive(Debug, Deserialize)]
struct Args {
    node: Option<String>,
    cluster: Option<String>,
    since: Option<String>,
    until: Option<String>,
    unit: Option<String>,
    text: Option<String>,
    #[serde(default)]
    trouble: bool,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// Whose journal.
enum Host {
    Node(Arc<Pve>, NodeName),
    Server(Arc<Pbs>),
}

/// Which lines are wanted.
struct Range {
    since: Timestamp,
    until: Timestamp,
    unit: Option<String>,
}

/// Lines, oldest first, and how many older ones there are in the range.
struct Found {
    lines: Vec<String>,
    older: usize,
    /// When the first line was written, where that is told.
    first: Option<Timestamp>,
}

/// The lines that are shown, and how many of those found stand before the first of them.
struct Chosen<'a> {
    lines: Vec<&'a str>,
    before: usize,
    fits: usize,
}

#[async_trait]
impl EstateTool for NodeJournal {
    fn definition(&self) -> Definition {
        Definition {
            name: NAME,
            title: "Read a journal",
            description: "System journal of a node or backup server (cluster: its key), newest lines last.",
            input: Input::new()
                .node()
                .cluster()
                .text("since", "2h, yesterday 14:00, RFC 3339")
                .text("until", "")
                .text("unit", "pvedaemon, sshd")
                .text("text", "")
                .boolean("trouble", "only lines that sound like errors")
                .integer("limit", 1..=500, "")
                .text("cursor", ""),
            output: Output::new().fact("node", "string").fact("lines", "integer"),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let query = args.clone();
        let args: Args = cx.args(args)?;
        let (host, found) = match host(cx, &args).await? {
            Ok(host) => host,
            Err(report) => return Ok(report),
        };
        let tell = |report: Report| match &found {
            Some(found) => found.tell(report),
            None => report,
        };
        let report = read(cx, &args, query, &host).await;
        report.map(tell).map_err(|error| error.map(tell))
    }
}

/// Who is meant; a node that is off has nothing to read.
async fn host(
    cx: &Cx,
    args: &Args,
) -> Result<Result<(Host, Option<FoundNode>), Report>, ToolError> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
    let (node, cluster) = (given(&args.node), given(&args.cluster));
    let server = node.as_deref().filter(|_| cluster.is_none()).or(cluster.as_deref());
    if let Some(key) = server.filter(|key| cx.fleet.pbs(Some(*key)).is_ok()) {
        let member = cx.fleet.pbs(Some(key))?.remove(0);
        return Ok(Ok((Host::Server(member), None)));
    }
    let Some(node) = node else {
        return Err(ToolError::new("no node is named: give node, or a backup server as cluster")
            .next("nodes_list", serde_json::Map::new()));
    };
    let found = cx.fleet.find_node(cluster.as_deref(), &node, Purpose::Read).await?;
    if found.node.is_online() {
        let host = Host::Node(Arc::clone(&found.member), found.name().clone());
        return Ok(Ok((host, Some(found))));
    }
    let at = format!("{}/{}", found.member.key, found.name());
    let why = format!("the cluster reports it as {}", found.node.status);
    let lead = format!("{at}: {}, so its journal cannot be read", found.node.status);
    let report = Report::new(lead)
        .fact("node", at.clone())
        .unreachable(vec![Unreachable { what: at, why }])
        .next("cluster_status", json!({"cluster": found.member.key.as_str()}));
    Ok(Err(found.tell(report)))
}

async fn read(
    cx: &Cx,
    args: &Args,
    mut query: JsonObject,
    host: &Host,
) -> Result<Report, ToolError> {
    let at = host.at();
    let failed = |error: &Error| {
        let error = ToolError::api(format_args!("read the journal of {at}"), error);
        error.hint(match host {
            Host::Node(..) => "journals need Sys.Syslog on the node",
            Host::Server(_) => "journals need Sys.Audit on /system/log",
        })
    };
    let passed = cursor::decode(args.cursor.as_deref(), &query)
        .map_err(|why| ToolError::new(why.to_string()))?;
    let is_range = args.since.is_some() || args.until.is_some() || args.unit.is_some();
    let limit = args.limit.unwrap_or(DEFAULT_LINES);
    let reach = if args.is_search() { LINES_TO_SEARCH } else { limit };
    query.remove("cursor");
    let (range, found) = if is_range {
        let range = range(cx, args, host).await?;
        let found = host.page(&range, passed, reach).await.map_err(|error| failed(&error))?;
        (Some(range), found)
    } else {
        (None, host.newest(reach).await.map_err(|error| failed(&error))?)
    };
    let chosen = args.choose(&found.lines, limit, cx.ceiling / 2 - 256);
    let mut lead = format!("{} of the journal of {at}", counted(chosen.lines.len(), "line"));
    if let Some(range) = &range {
        if let Some(unit) = &range.unit {
            lead = format!("{lead}, unit {}", stdx::untrusted::line(unit, 60));
        }
        lead = format!("{lead}, {} to {}", rfc3339(range.since), rfc3339(range.until));
    }
    let mut report = Report::new(lead).fact("node", &*at).fact("lines", chosen.lines.len());
    let unseen = found.older + chosen.before;
    if args.is_search() && unseen > 0 {
        let looked = found.lines.len();
        report = report.note(format!("looked through {looked} lines; older ones come with next"));
    } else if chosen.fits > chosen.lines.len() || unseen > 0 && range.is_some() {
        report = report.note(format!("the newest of {} lines", unseen + chosen.lines.len()));
    }
    if args.trouble {
        report = report.note("lines that sound like errors: the API gives no priorities");
    }
    if !chosen.lines.is_empty() {
        report = report.untrusted(format!("journal of {at}"), chosen.lines.join("\n"));
    }
    let shown_from_end = found.lines.len() - chosen.before;
    Ok(match (&range, found.first) {
        (Some(range), _) if unseen > 0 => {
            // The range stands still while its pages are read.
            query.insert("since".to_owned(), rfc3339(range.since).into());
            query.insert("until".to_owned(), rfc3339(range.until).into());
            let cursor = cursor::encode(passed + shown_from_end, &query);
            query.insert("cursor".to_owned(), cursor.into());
            report.next(NAME, Value::Object(query))
        }
        (None, Some(first)) if !found.lines.is_empty() => {
            let since = first - SignedDuration::from_hours(DEFAULT_HOURS);
            query.insert("since".to_owned(), rfc3339(since).into());
            query.insert("until".to_owned(), rfc3339(first).into());
            report.next(NAME, Value::Object(query))
        }
        _ => report,
    })
}

/// The range that the arguments mean, by the host's clock.
async fn range(cx: &Cx, args: &Args, host: &Host) -> Result<Range, ToolError> {
    let offset = host.offset().await;
    let now = cx.now();
    let until = args.until.as_deref().map(|text| moment(text, now, offset)).transpose()?;
    let since = args.since.as_deref().map(|text| moment(text, now, offset)).transpose()?;
    let until = until.unwrap_or(now);
    let since = since.unwrap_or_else(|| until - SignedDuration::from_hours(DEFAULT_HOURS));
    if since > until {
        let (since, until) = (rfc3339(since), rfc3339(until));
        return Err(ToolError::new(format!("the range ends before it begins: {since} to {until}")));
    }
    Ok(Range { since, until, unit: args.unit.clone().filter(|unit| !unit.trim().is_empty()) })
}

// === impl Args ===

impl Args {
    fn is_search(&self) -> bool {
        self.trouble || self.text.as_deref().is_some_and(|text| !text.is_empty())
    }

    fn fits(&self, line: &str) -> bool {
        let line = line.to_lowercase();
        let wanted = self.text.as_deref().unwrap_or_default().to_lowercase();
        line.contains(&wanted) && (!self.trouble || TROUBLE.iter().any(|word| line.contains(word)))
    }

    /// The newest lines that fit the question, the limit and the room.
    fn choose<'a>(&self, all: &'a [String], limit: usize, room: usize) -> Chosen<'a> {
        let fitting = all.iter().enumerate().filter(|(_, line)| self.fits(line));
        let fitting: Vec<(usize, &String)> = fitting.collect();
        let (mut lines, mut before, mut used) = (Vec::new(), 0, 0);
        for (index, line) in fitting.iter().rev() {
            used += line.len() + 1;
            if lines.len() == limit || used > room && !lines.is_empty() {
                // The next page begins right before what is shown.
                before = index + 1;
                break;
            }
            lines.push(line.as_str());
        }
        lines.reverse();
        Chosen { lines, before, fits: fitting.len() }
    }
}

// === impl Host ===

impl Host {
    fn at(&self) -> String {
        match self {
            Self::Node(member, node) => format!("{}/{node}", member.key()),
            Self::Server(member) => member.key().to_string(),
        }
    }

    /// How far its clock is ahead of UTC; nothing where it does not tell.
    async fn offset(&self) -> Offset {
        let told = match self {
            Self::Node(member, node) => {
                let time = member.client.call(nodes::time(node)).await.ok();
                time.and_then(|it| Some(it.local_time - it.time?.as_second()))
            }
            Self::Server(member) => {
                let time = member.client.call(pbs_client::node::time()).await.ok();
                time.and_then(|it| Some(it.local_time - it.time?.as_second()))
            }
        };
        let seconds = told.and_then(|seconds| i32::try_from(seconds).ok());
        seconds.and_then(|it| Offset::from_seconds(it).ok()).unwrap_or(Offset::UTC)
    }

    /// The newest lines.
    async fn newest(&self, reach: usize) -> Result<Found, Error> {
        let last = Some(reach as u64);
        let lines = match self {
            Self::Node(member, node) => {
                let options = nodes::JournalParams { last_entries: last, ..Default::default() };
                member.client.call(nodes::journal(node, options)).await?
            }
            Self::Server(member) => {
                use pbs_client::node;
                let options = node::JournalParams { last_entries: last, ..Default::default() };
                member.client.call(node::journal(options)).await?
            }
        };
        let first = lines.first().and_then(|line| log::cursor_time(line));
        let lines = log::without_cursors(lines);
        // Where fewer came than were asked for, there are no older ones.
        let first = first.filter(|_| lines.len() >= reach);
        Ok(Found { older: usize::from(first.is_some()), lines, first })
    }

    /// The newest lines of a range, without the `passed` last ones that were shown before.
    async fn page(&self, range: &Range, passed: usize, reach: usize) -> Result<Found, Error> {
        let offset = self.offset().await;
        let total = self.lines(range, offset, 0, 1).await?.1;
        let left = total.saturating_sub(passed);
        let start = left.saturating_sub(reach);
        if left == 0 {
            return Ok(Found { lines: Vec::new(), older: 0, first: None });
        }
        let (mut lines, _) = self.lines(range, offset, start, left - start).await?;
        lines.truncate(left - start);
        Ok(Found { lines, older: start, first: None })
    }

    /// Lines of a range from the `start`th on, and how many there are in all.
    async fn lines(
        &self,
        range: &Range,
        offset: Offset,
        start: usize,
        limit: usize,
    ) -> Result<(Vec<String>, usize), Error> {
        let local = |time: Timestamp| {
            Some(offset.to_datetime(time).strftime("%Y-%m-%d %H:%M:%S").to_string())
        };
        let (since, until) = (local(range.since), local(range.until));
        let (start, limit) = (Some(start as u64), Some(limit as u64));
        let service = range.unit.clone();
        let (lines, total) = match self {
            Self::Node(member, node) => {
                let options = nodes::SyslogParams { start, limit, since, until, service };
                let page = member.client.call_page(nodes::syslog(node, options)).await?;
                let lines = page.data.into_iter().filter(|line| !line.is_placeholder());
                (lines.map(|line| line.text).collect::<Vec<_>>(), page.total)
            }
            Self::Server(member) => {
                use pbs_client::node;
                let options = node::SyslogParams { start, limit, since, until, service };
                let page = member.client.call_page(node::syslog(options)).await?;
                let lines = page.data.into_iter().filter(|line| line.text != "no content");
                (lines.map(|line| line.text).collect::<Vec<_>>(), page.total)
            }
        };
        // An empty log is told as one line of no content.
        let is_empty = lines.is_empty() && start == Some(0);
        let total = total.map_or(lines.len(), |total| total as usize);
        Ok((lines, if is_empty { 0 } else { total }))
    }
}
