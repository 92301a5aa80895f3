//! `replication_list`: replication jobs and how their last runs went; what fails first.

use std::{collections::BTreeMap, sync::Arc};

use api_core::Error;
use async_trait::async_trait;
use estate::{Access, NodeName};
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use mcp_protocol::JsonObject;
use pve_client::cluster::replication::{self, ReplicationJob, ReplicationStatus};
use serde::Deserialize;
use serde_json::json;

use super::{
    ask::{Missing, away},
    page::{Page, Rows},
};
use crate::{
    address::not_found,
    error::ToolError,
    fleet::{GATHER_DEADLINE, Gathered, Pve},
    permissions::Permissions,
    report::{Cell, Report, Table, age, rfc3339},
    schema::{Input, Output},
    sight,
    tool::{Cx, Definition, EstateTool},
    tools::{late::Until, tally::counted},
    view::View,
};

const NAME: &str = "replication_list";

/// How long after its time a run may begin before it is told as overdue.
const OVERDUE: SignedDuration = SignedDuration::from_mins(15);

/// Lists replication jobs.
pub struct ReplicationList;

#[derive(Debug, Deserialize)]
struct Args {
    cluster: Option<String>,
    job: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// What one cluster says.
pub(super) struct Facts {
    pub(super) view: View,
    pub(super) jobs: Vec<ReplicationJob>,
    /// By job.
    pub(super) states: BTreeMap<String, (NodeName, ReplicationStatus)>,
    silent: Vec<(String, Error)>,
    held: Option<Arc<Permissions>>,
}

#[async_trait]
impl EstateTool for ReplicationList {
    fn definition(&self) -> Definition {
        Definition {
            name: NAME,
            title: "List replication jobs",
            description: "Storage replication jobs with last and next run, failures and cause; job: its last log.",
            input: Input::new().cluster().text("job", "113-0").paged(),
            output: Output::new()
                .fact("job_count", "integer")
                .fact("failing_count", "integer")
                .table("jobs"),
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
        let page = Page::of(NAME, &query, args.cursor.as_deref(), args.limit)?;
        let gathered = load(cx, args.cluster.as_deref()).await?;
        if let Some(job) = args.job.as_deref().map(str::trim).filter(|job| !job.is_empty()) {
            return one(&gathered, job, cx.now()).await;
        }
        let mut rows = Rows::default();
        let mut missing = Missing::new("replication");
        let (mut report, mut failing) = (Report::default(), 0);
        for (member, facts) in &gathered.answers {
            let key = member.key.as_str();
            report = report.unreachable(away(key, &facts.view));
            for (node, error) in &facts.silent {
                missing.add(format!("{key}/{node}"), error);
            }
            for job in &facts.jobs {
                let state = facts.states.get(&job.id);
                let word = word_of(job, state.map(|(_, state)| state), cx.now());
                failing += usize::from(word == "failing");
                let is_wrong = !matches!(word, "ok" | "disabled" | "new");
                rows.push(is_wrong, row(key, facts, job, state, word, cx.now()));
            }
            report = sight::tell(report, key, facts.held.as_deref(), &["guests"]);
        }
        let (count, wrong) = (rows.len(), rows.wrong());
        let lead = match (count, wrong) {
            (0, _) => "no replication jobs".to_owned(),
            (_, 0) => format!("{}, all well", counted(count, "replication job")),
            _ => format!(
                "{}, {wrong} to see to, {failing} failing",
                counted(count, "replication job")
            ),
        };
        report.lead = sight::lead_of(&gathered, lead);
        let columns = [
            "job",
            "name",
            "from",
            "to",
            "schedule",
            "state",
            "last_sync",
            "next",
            "failures",
            "error",
        ];
        let mut table = Table::new("jobs", &columns);
        page.fill(&mut table, rows.into_rows(true));
        let report = report
            .fact("job_count", sight::known(&gathered, count))
            .fact("failing_count", sight::known(&gathered, failing))
            .table(table);
        Ok(gathered.tell(missing.tell(report)))
    }
}

/// Reads the jobs of the clusters and how they go.
pub(super) async fn load(
    cx: &Cx,
    cluster: Option<&str>,
) -> Result<Gathered<Pve, Facts>, ToolError> {
    let members = cx.fleet.pve(cluster)?;
    let (now, until) = (cx.now(), Until::of(&cx.fleet));
    let load = |member: Arc<Pve>| async move {
        let client = &member.client;
        let (view, jobs, held) = futures::join!(
            View::load(Arc::clone(&member)),
            client.call(replication::jobs()),
            sight::of_pve(&member, now),
        );
        let (view, jobs) = (view?, jobs?);
        // Only nodes that are the source of a job have anything to tell.
        let online = view.nodes.iter().filter(|node| node.is_online());
        let asked = online.filter(|_| !jobs.is_empty()).map(|node| async move {
            (
                node.name.clone(),
                until.wait(client.call(replication::status(&node.name, None))).await,
            )
        });
        let (mut states, mut silent) = (BTreeMap::new(), Vec::new());
        for (node, told) in join_all(asked).await {
            match told {
                Ok(all) => {
                    states.extend(all.into_iter().map(|it| (it.id.clone(), (node.clone(), it))));
                }
                Err(error) => silent.push((node.to_string(), error)),
            }
        }
        Ok(Facts { view, jobs, states, silent, held })
    };
    Ok(cx.fleet.gather(members, GATHER_DEADLINE, load).await)
}

/// How a job is, in a word.
pub(super) fn word_of(
    job: &ReplicationJob,
    state: Option<&ReplicationStatus>,
    now: Timestamp,
) -> &'static str {
    if job.remove_job.is_some() {
        return "going";
    }
    let Some(state) = state else { return if job.disabled { "disabled" } else { "unknown" } };
    let is_due = |next: Timestamp| next + OVERDUE < now;
    match state {
        _ if job.disabled => "disabled",
        state if state.fail_count > 0 || state.error.is_some() => "failing",
        state if state.pid.is_some() => "ok",
        state if state.next_sync.is_some_and(is_due) => "overdue",
        state if state.last_sync.is_none() => "new",
        _ => "ok",
    }
}

fn row(
    key: &str,
    facts: &Facts,
    job: &ReplicationJob,
    state: Option<&(NodeName, ReplicationStatus)>,
    word: &str,
    now: Timestamp,
) -> Vec<Cell> {
    let guest = facts.view.guests.iter().find(|guest| guest.at.vmid == job.guest);
    let from = state.map(|(node, _)| node.as_str()).or(job.source.as_ref().map(NodeName::as_str));
    let state = state.map(|(_, state)| state);
    let moment = |time: Option<Timestamp>| {
        time.map_or_else(Cell::none, |time| {
            Cell::with(rfc3339(time), age(time, now).replace(' ', "_"))
        })
    };
    let error = state.and_then(|state| state.error.as_deref());
    let error = error.map(|error| stdx::untrusted::line(error, 160).into_owned());
    vec![
        Cell::text(format!("{key}/{}", job.id)),
        Cell::opt(guest.map(|guest| guest.name.clone())),
        Cell::opt(from),
        Cell::text(job.target.as_str()),
        Cell::text(job.schedule.as_deref().unwrap_or("*/15")),
        Cell::text(word),
        moment(state.and_then(|it| it.last_sync)),
        moment(state.and_then(|it| it.next_sync)),
        state.map_or_else(Cell::none, |state| Cell::number(state.fail_count)),
        Cell::opt(error),
    ]
}

/// A job by its id, with or without its cluster in front.
pub(super) fn find<'a>(
    gathered: &'a Gathered<Pve, Facts>,
    given: &str,
) -> Result<(&'a Arc<Pve>, &'a Facts, &'a ReplicationJob), ToolError> {
    let (cluster, id) = match given.split_once('/') {
        Some((cluster, id)) => (Some(cluster), id),
        None => (None, given),
    };
    let all =
        gathered.answers.iter().filter(|it| cluster.is_none_or(|key| it.0.key.as_str() == key));
    let all =
        all.flat_map(|(member, facts)| facts.jobs.iter().map(move |job| (member, facts, job)));
    let all: Vec<_> = all.collect();
    let found: Vec<_> = all.iter().filter(|(_, _, job)| job.id == id).collect();
    let shown = stdx::untrusted::line(given, 40);
    let choices = || {
        let mut table = Table::new("jobs", &["job"]);
        for (member, _, job) in all.iter().take(40) {
            table.push(vec![Cell::text(format!("{}/{}", member.key, job.id))]);
        }
        table
    };
    match found.as_slice() {
        [one] => Ok(**one),
        [] => Err(not_found(gathered, &format!("replication job `{shown}`"), || {
            format!("no replication job is called `{shown}`, as far as the tokens see")
        })
        .choices(choices())
        .with_silence(gathered)),
        several => Err(ToolError::new(format!("job `{shown}` is in {} clusters", several.len()))
            .of_kind(crate::error::Kind::Ambiguous)
            .hint("name it as cluster/job")
            .choices(choices())),
    }
}

async fn one(
    gathered: &Gathered<Pve, Facts>,
    given: &str,
    now: Timestamp,
) -> Result<Report, ToolError> {
    let (member, facts, job) = find(gathered, given)?;
    let key = member.key.as_str();
    let state = facts.states.get(&job.id);
    let word = word_of(job, state.map(|(_, state)| state), now);
    let mut report = Report::new(format!("replication job {key}/{}: {word}", job.id))
        .fact("job_count", 1)
        .detail("comment", Cell::opt(job.comment.as_deref().map(Cell::foreign)));
    let columns = [
        "job",
        "name",
        "from",
        "to",
        "schedule",
        "state",
        "last_sync",
        "next",
        "failures",
        "error",
    ];
    let mut table = Table::new("jobs", &columns);
    table.push(row(key, facts, job, state, word, now));
    report = report.table(table);
    if let Some((node, state)) = state {
        report = report.detail(
            "duration",
            state
                .duration_secs
                .map_or_else(Cell::none, |secs| Cell::with(secs, format!("{secs:.1} s"))),
        );
        match member.client.call(replication::log(node, &job.id, Some(200))).await {
            Ok(lines) if !lines.is_empty() => {
                let text: Vec<String> = lines.into_iter().map(|line| line.text).collect();
                let label = format!("log of the last run of {key}/{}", job.id);
                report = report.untrusted(label, text.join("\n"));
            }
            Ok(_) => {}
            Err(error) => report = crate::tools::parts::missing(report, "log", &error),
        }
    } else {
        report = report.note("its node does not say how it goes");
    }
    let guest = format!("{key}/{}", job.guest);
    Ok(gathered.tell(report.next("guest_get", json!({"guest": guest}))))
}
