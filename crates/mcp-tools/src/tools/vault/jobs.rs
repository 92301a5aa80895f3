//! `backup_jobs`: what runs by schedule on clusters and backup servers, what it covers, and what no
//! job covers.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use estate::Access;
use futures::future::join_all;
use jiff::Timestamp;
use mcp_protocol::JsonObject;
use pbs_client::{datastores, jobs};
use pve_client::{cluster, cluster::backup, tasks};
use serde::Deserialize;
use serde_json::json;

use super::{jobs_change::text, overdue::few};
use crate::{
    cursor,
    error::ToolError,
    fleet::{GATHER_DEADLINE, Pbs, Pve},
    report::{Cell, Report, Table, age, rfc3339},
    schema::{Input, Output},
    sight,
    tool::{Cx, Definition, EstateTool},
    tools::tally::counted,
};

/// How many logs of runs over several guests are opened to see which job they were.
const LOGS: usize = 8;

/// The tool.
pub struct BackupJobs;

#[derive(Deserialize)]
struct Args {
    cluster: Option<String>,
    kind: Option<String>,
}

/// One job of whatever kind.
struct Line {
    name: String,
    kind: &'static str,
    on: bool,
    schedule: Option<String>,
    next: Option<Timestamp>,
    covers: String,
    rule: Option<String>,
    last: Option<Timestamp>,
    state: Option<String>,
}

/// What a cluster says.
struct OfCluster {
    lines: Vec<Line>,
    uncovered: Vec<(String, String, String)>,
    notes: Vec<String>,
}

#[async_trait]
impl EstateTool for BackupJobs {
    fn definition(&self) -> Definition {
        Definition {
            name: "backup_jobs",
            title: "Backup, prune, verify, sync and GC jobs",
            description: "Schedules of PVE backups and of PBS prune, verify, sync, gc: what they cover, rules, next run, last result; guests in no job.",
            input: Input::new()
                .cluster()
                .choice("kind", &["backup", "prune", "verify", "sync", "gc"], "")
                .fields(),
            output: Output::new().table("jobs").table("uncovered"),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let args: Args = cx.args(args)?;
        let now = cx.now();
        let (mut clusters, mut servers) = cx.fleet.members_for(args.cluster.as_deref())?;
        match args.kind.as_deref() {
            Some("backup") => servers.clear(),
            Some(_) => clusters.clear(),
            None => {}
        }
        let (clusters, servers) = futures::join!(
            cx.fleet.gather(clusters, GATHER_DEADLINE, of_cluster),
            cx.fleet.gather(servers, GATHER_DEADLINE, of_server),
        );
        let mut report = servers.tell(clusters.tell(Report::default()));
        let mut lines = Vec::new();
        let mut uncovered = Table::new("uncovered", &["guest", "name", "why"]);
        for (member, answer) in clusters.answers {
            lines.extend(answer.lines);
            report.notes.extend(answer.notes);
            for (guest, name, why) in answer.uncovered {
                uncovered.push(vec![Cell::text(guest), Cell::text(name), Cell::text(why)]);
            }
            let held = sight::of_pve(&member, now).await;
            report = sight::tell(report, member.key.as_str(), held.as_deref(), &["guests"]);
        }
        for (member, (found, notes)) in servers.answers {
            lines.extend(found);
            report.notes.extend(notes);
            let held = sight::of_pbs(&member, now).await;
            report = sight::tell(report, member.key.as_str(), held.as_deref(), &["pbs_datastores"]);
        }
        lines.retain(|line| args.kind.as_deref().is_none_or(|kind| line.kind == kind));
        let is_bad = |line: &&Line| line.state.as_deref().is_some_and(|state| !is_good(state));
        let bad = lines.iter().filter(is_bad).count();
        let mut lead = counted(lines.len(), "job");
        if bad > 0 {
            lead = format!("{lead}, the last run of {bad} failed");
        }
        if !uncovered.rows.is_empty() {
            lead = format!("{lead}; {} in no backup job", counted(uncovered.rows.len(), "guest"));
        }
        let is_dark = lines.is_empty() && !report.unreachable.is_empty();
        report.lead = if is_dark { sight::NOBODY.to_owned() } else { lead };
        let mut table = Table::new(
            "jobs",
            &["job", "kind", "on", "schedule", "next", "covers", "rule", "last", "state"],
        );
        for line in lines {
            table.push(line.cells(now));
        }
        report = report.table(table);
        if uncovered.rows.is_empty() {
            return Ok(report);
        }
        let count = uncovered.rows.len();
        uncovered.total = Some(count);
        uncovered.rows.truncate(cursor::PAGE);
        report = report.table(uncovered);
        if count > cursor::PAGE {
            let more = args.cluster.map_or(json!({}), |cluster| json!({"cluster": cluster}));
            report = report.next("backup_overdue", more);
        }
        Ok(report)
    }
}

fn is_good(state: &str) -> bool {
    state.eq_ignore_ascii_case("ok") || state.starts_with("WARNINGS") || state == "running"
}

// === impl Line ===

impl Line {
    fn cells(self, now: Timestamp) -> Vec<Cell> {
        let moment = |at: Option<Timestamp>| {
            at.map_or_else(Cell::none, |at| Cell::with(rfc3339(at), age(at, now)))
        };
        vec![
            Cell::text(self.name),
            Cell::text(self.kind),
            Cell::with(self.on, if self.on { "yes" } else { "no" }),
            Cell::opt(self.schedule),
            if self.on { moment(self.next) } else { Cell::none() },
            Cell::text(self.covers),
            Cell::opt(self.rule),
            moment(self.last),
            Cell::opt(self.state.map(|state| stdx::untrusted::line(&state, 80).into_owned())),
        ]
    }
}

/// The backup jobs of a cluster, and the guests in none.
async fn of_cluster(member: Arc<Pve>) -> Result<OfCluster, api_core::Error> {
    let client = &member.client;
    let (jobs, uncovered, recent) = futures::join!(
        client.call(backup::jobs()),
        client.call(backup::not_backed_up()),
        client.call(cluster::tasks()),
    );
    let jobs = jobs?;
    let mut notes = Vec::new();
    let covered =
        join_all(jobs.iter().map(|job| client.call(backup::included_volumes(&job.id)))).await;
    let recent = recent.unwrap_or_default();
    let runs = runs(&member, &recent).await;
    let mut lines = Vec::new();
    for (job, covered) in jobs.iter().zip(covered) {
        let selection = selection(job);
        let covers = match covered {
            Ok(volumes) => format!("{selection} ({})", counted(volumes.children.len(), "guest")),
            Err(_) => selection,
        };
        let storage = job.storage.as_ref().map(|storage| format!(" to {storage}"));
        let run = runs.iter().filter(|(line, ..)| is_run_of(line, job));
        let run = run.max_by_key(|(_, at, _)| *at);
        lines.push(Line {
            name: format!("{}/{}", member.key, job.id),
            kind: "backup",
            on: job.is_enabled(),
            schedule: job.schedule.clone(),
            next: job.next_run,
            covers: format!("{covers}{}", storage.unwrap_or_default()),
            rule: Some(text(&job.prune_backups)).filter(|rule| !rule.is_empty()),
            last: run.map(|(_, at, _)| *at),
            state: run.map(|(.., state)| state.clone()),
        });
    }
    if lines.iter().any(|line| line.last.is_none()) {
        notes.push(format!("{}: PVE keeps no result per job: last is taken from the cluster's recent backup tasks; backup_overdue tells what arrived", member.key));
    }
    let uncovered = match uncovered {
        Ok(guests) => guests,
        Err(error) => {
            let why = stdx::Chain(&error);
            notes.push(format!("{}: which guests no job covers is not seen: {why}", member.key));
            Vec::new()
        }
    };
    let uncovered = uncovered.into_iter().map(|guest| {
        let by: Vec<String> = jobs
            .iter()
            .filter(|job| job.exclude.contains(&guest.vmid))
            .map(|job| job.id.clone())
            .collect();
        let why = if by.is_empty() {
            "in no job".to_owned()
        } else {
            format!("excluded from {}", few(&by))
        };
        (format!("{}/{}", member.key, guest.vmid), guest.name.unwrap_or_default(), why)
    });
    Ok(OfCluster { lines, uncovered: uncovered.collect(), notes })
}

/// Which guests a job takes, as it is configured.
fn selection(job: &backup::BackupJob) -> String {
    let of_node = job.node.as_ref().map(|node| format!(" on {node}")).unwrap_or_default();
    let text = if let Some(pool) = &job.pool {
        format!("pool {pool}")
    } else if job.all {
        match job.exclude.len() {
            0 => "all".to_owned(),
            count => format!("all but {count}"),
        }
    } else {
        few(&job.vmids.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    format!("{text}{of_node}")
}

/// The command line, the moment and the end of recent runs over several guests.
async fn runs(member: &Pve, recent: &[cluster::ClusterTask]) -> Vec<(String, Timestamp, String)> {
    let is_run = |task: &&cluster::ClusterTask| {
        task.kind == "vzdump" && task.id.as_deref().unwrap_or_default().is_empty()
    };
    let mut all: Vec<_> = recent.iter().filter(is_run).collect();
    all.sort_by_key(|task| std::cmp::Reverse(task.started));
    let asked = all.into_iter().take(LOGS).map(|task| async move {
        let lines = member.client.call(tasks::log(&task.upid, 0, Some(3))).await.ok()?;
        let line = lines.into_iter().map(|line| line.text).find(|text| text.contains("vzdump "))?;
        let state = task.status.clone().unwrap_or_else(|| "running".to_owned());
        Some((line, task.ended.or(task.started)?, state))
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// Whether a run's command line is this job's: same storage and same selection.
fn is_run_of(line: &str, job: &backup::BackupJob) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    let option = |name: &str| {
        words.iter().position(|word| *word == name).and_then(|at| words.get(at + 1).copied())
    };
    if option("--storage") != job.storage.as_ref().map(estate::StorageName::as_str) {
        return false;
    }
    if let Some(pool) = &job.pool {
        return option("--pool") == Some(pool.as_str());
    }
    if job.all {
        return option("--all") == Some("1");
    }
    !job.vmids.is_empty()
        && job
            .vmids
            .iter()
            .all(|vmid| words.iter().any(|word| word.split(',').any(|id| id == vmid.to_string())))
}

/// The jobs of a backup server; a kind that cannot be read is a note.
async fn of_server(member: Arc<Pbs>) -> Result<(Vec<Line>, Vec<String>), api_core::Error> {
    let client = &member.client;
    let (sync, verify, prune, gc) = futures::join!(
        client.call(jobs::sync_jobs(None)),
        client.call(jobs::verify_jobs(None)),
        client.call(jobs::prune_jobs(None)),
        client.call(datastores::gc_statuses()),
    );
    let key = &member.key;
    let mut lines = Vec::new();
    for job in prune? {
        let counts = [
            ("keep-last", job.keep_last),
            ("keep-hourly", job.keep_hourly),
            ("keep-daily", job.keep_daily),
            ("keep-weekly", job.keep_weekly),
            ("keep-monthly", job.keep_monthly),
            ("keep-yearly", job.keep_yearly),
        ];
        let rule: Vec<String> =
            counts.iter().filter_map(|(name, n)| Some(format!("{name}={}", (*n)?))).collect();
        lines.push(Line {
            name: format!("{key}/{}", job.id),
            kind: "prune",
            on: !job.disabled,
            schedule: job.schedule,
            next: job.next_run,
            covers: place(job.datastore.as_str(), job.namespace.as_deref(), job.max_depth),
            rule: Some(if rule.is_empty() { "keeps all".to_owned() } else { rule.join(",") }),
            last: job.last_end,
            state: job.last_state,
        });
    }
    let mut notes = Vec::new();
    let mut missing = |what: &str, error: &api_core::Error| {
        notes.push(format!("{key}: {what} are not seen: {}", stdx::Chain(error)));
    };
    match verify {
        Ok(all) => lines.extend(all.into_iter().map(|job| Line {
            name: format!("{key}/{}", job.id),
            kind: "verify",
            on: job.schedule.is_some(),
            schedule: job.schedule,
            next: job.next_run,
            covers: place(job.datastore.as_str(), job.namespace.as_deref(), job.max_depth),
            rule: Some(match (job.ignore_verified, job.outdated_after_days) {
                (Some(false), _) => "all, each time".to_owned(),
                (_, Some(days)) => format!("again after {days} d"),
                (_, None) => "new ones only".to_owned(),
            }),
            last: job.last_end,
            state: job.last_state,
        })),
        Err(error) => missing("verification jobs", &error),
    }
    match sync {
        Ok(all) => lines.extend(all.into_iter().map(|job| {
            let here = place(job.datastore.as_str(), job.namespace.as_deref(), job.max_depth);
            let far = job.remote_datastore.as_ref().map(ToString::to_string).unwrap_or_default();
            let far = place(&far, job.remote_namespace.as_deref(), None);
            let far = format!("{}:{far}", job.remote.as_deref().unwrap_or(key.as_str()));
            let push = job.direction.as_deref() == Some("push");
            Line {
                name: format!("{key}/{}", job.id),
                kind: "sync",
                on: job.schedule.is_some(),
                covers: if push { format!("{here} to {far}") } else { format!("{far} to {here}") },
                rule: (job.remove_vanished == Some(true)).then(|| "removes vanished".to_owned()),
                schedule: job.schedule,
                next: job.next_run,
                last: job.last_end,
                state: job.last_state,
            }
        })),
        Err(error) => missing("sync jobs", &error),
    }
    match gc {
        Ok(all) => lines.extend(all.into_iter().filter_map(|gc| {
            let store = gc.name.as_ref()?.to_string();
            Some(Line {
                name: format!("{key}/gc:{store}"),
                kind: "gc",
                on: gc.schedule.is_some(),
                schedule: gc.schedule,
                next: gc.next_run,
                covers: store,
                rule: None,
                last: gc.last_end,
                state: gc.last_state,
            })
        })),
        Err(error) => missing("garbage collections", &error),
    }
    let named: BTreeMap<String, usize> = lines.iter().fold(BTreeMap::new(), |mut all, line| {
        *all.entry(line.name.clone()).or_default() += 1;
        all
    });
    let twice = named.into_iter().filter(|(_, count)| *count > 1).map(|(name, _)| name);
    notes.extend(twice.map(|name| format!("{name} is the name of jobs of several kinds")));
    Ok((lines, notes))
}

fn place(store: &str, namespace: Option<&str>, depth: Option<u32>) -> String {
    let namespace = namespace.filter(|name| !name.is_empty());
    let place = namespace.map_or_else(|| store.to_owned(), |name| format!("{store}/{name}"));
    match depth {
        Some(0) => format!("{place} alone"),
        Some(depth) => format!("{place} to depth {depth}"),
        None => place,
    }
}
