//! `backup_run`: backs guests up now, follows it to the end, and says what landed where.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use estate::{Access, NodeName, StorageName, Upid, VmId};
use futures::future::join_all;
use jiff::Timestamp;
use mcp_protocol::JsonObject;
use pve_client::{
    storage::{self, ContentKind, Volume},
    tasks,
    vzdump::{self, BackupMode, VzdumpParams},
};
use serde::Deserialize;
use serde_json::json;

use super::{find::view_of, spot::object};
use crate::{
    address::{Purpose, quoted},
    error::{Kind, ToolError},
    fleet::Pve,
    follow::{clean_cause, state::State},
    plan::{ActionTool, Done, Plan, Step, StepOutcome, Undo},
    report::{Cell, Report, Table, bytes, rfc3339},
    schema::{Input, Output},
    tool::{Cx, Definition},
    tools::{
        backups::{Place, log},
        power::named,
        tally::counted,
    },
    view::{Guest, GuestStatus, Storage},
};

/// How much the node's clock may be behind ours when a run's own backup is looked for.
const SKEW_SECS: i64 = 120;

/// The most lines of a run's log that are read for its causes.
const LOG_LINES: u64 = 5000;

/// The tool.
pub struct BackupRun;

#[derive(Deserialize)]
struct Args {
    guests: Vec<String>,
    storage: Option<String>,
    mode: Option<String>,
    compress: Option<String>,
    notes: Option<String>,
    #[serde(default)]
    protected: bool,
}

/// The guests of one node, which one run takes.
struct Run {
    member: Arc<Pve>,
    node: NodeName,
    storage: StorageName,
    guests: Vec<Guest>,
    /// The step's description, by which its outcome is found again.
    what: String,
    /// Where the storage really lies.
    place: Option<Place>,
}

/// What a run left of one guest.
struct Result {
    guest: Guest,
    label: String,
    volume: Option<Volume>,
    cause: Option<String>,
}

#[async_trait]
impl ActionTool for BackupRun {
    fn definition(&self) -> Definition {
        Definition {
            name: "backup_run",
            title: "Back guests up now",
            description: "Runs to the true end and says size and place of each new backup. Never prunes.",
            input: Input::new()
                .texts("guests", "cluster/vmid each")
                .required("guests")
                .text("storage", "needed where several hold backups")
                .choice("mode", &["snapshot", "suspend", "stop"], "")
                .choice("compress", &["zstd", "gzip", "lzo", "none"], "of files; default zstd")
                .text("notes", "may hold {{guestname}}, {{node}}")
                .boolean("protected", ""),
            output: Output::new()
                .table("backups")
                .fact("guest", "string")
                .fact("place", "string")
                .fact("volume", "string")
                .fact("size_bytes", "integer")
                .fact("status", "string")
                .fact("upid", "string")
                .fact("tally", "object"),
            access: Access::Operate,
            // It only adds.
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Operate
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> std::result::Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        let (groups, notes) = grouped(cx, &args.guests).await?;
        let mut plan = Plan::new("");
        plan.notes = notes;
        let mut runs = Vec::new();
        for ((_, node), (member, guests)) in groups {
            let view = view_of(cx, &member).await?;
            let chosen =
                choose(&view.storages, member.key.as_str(), &node, args.storage.as_deref())?;
            let (name, is_pbs) = (chosen.name.clone(), chosen.plugin == "pbs");
            let (place, note) = place_of(cx, &member, chosen).await;
            plan.notes.extend(note.filter(|note| !plan.notes.contains(note)));
            check_locks(&member, &guests).await?;
            plan = check_space(plan, &member, &node, &name, is_pbs, &guests).await?;
            for guest in &guests {
                plan = plan.target(
                    guest.at.to_string(),
                    [("node", guest.node.as_str()), ("status", guest.status.as_str())],
                );
            }
            plan = warn_of_mode(plan, args.mode.as_deref(), &guests);
            let what = run_name(&member, &node, &guests);
            plan = plan.step(step(&member, &node, &name, is_pbs, &guests, &args, &what));
            runs.push(Run { member, node, storage: name, guests, what, place });
        }
        let all: Vec<&Guest> = runs.iter().flat_map(|run| &run.guests).collect();
        plan.what = match all.as_slice() {
            [one] => format!("backup of {}", named(one)),
            several => format!("backup of {}", counted(several.len(), "guest")),
        };
        for run in &runs {
            let to = label(run.place.as_ref(), &run.storage);
            let who: Vec<String> = run.guests.iter().map(named).collect();
            plan = plan.effect(format!("a new backup on {to} of {}", who.join(", ")));
        }
        Ok(plan
            .effect("no older backup is removed")
            .undo(Undo::By("remove the new backup where it lies".to_owned()))
            .settle(move |_, done| settle(runs, done)))
    }
}

type Groups = BTreeMap<(String, NodeName), (Arc<Pve>, Vec<Guest>)>;

/// The guests that are meant, by cluster and node, each once.
async fn grouped(
    cx: &Cx,
    guests: &[String],
) -> std::result::Result<(Groups, Vec<String>), ToolError> {
    if guests.is_empty() {
        return Err(ToolError::new("no guest is named: `guests` is empty")
            .hint("address each as cluster/vmid; guests_list shows them"));
    }
    let mut groups: Groups = BTreeMap::new();
    let mut notes = Vec::new();
    for text in guests {
        let found = cx.fleet.find_guest(text, Purpose::Write).await?;
        notes.extend(found.notes);
        let guest = found.guest;
        if guest.status == GuestStatus::Unknown {
            let lead = format!(
                "backup of {} was not tried: its node {} does not answer",
                named(&guest),
                guest.node
            );
            return Err(refused(lead).next("nodes_list", JsonObject::new()));
        }
        let key = (found.member.key.to_string(), guest.node.clone());
        let entry = groups.entry(key).or_insert_with(|| (Arc::clone(&found.member), Vec::new()));
        if !entry.1.iter().any(|known| known.at == guest.at) {
            entry.1.push(guest);
        }
    }
    Ok((groups, notes))
}

fn refused(lead: String) -> ToolError {
    ToolError::from_report(Report::new(lead).fact("status", "refused"))
}

/// The storage that is named, or the only one on the node that can take backups.
fn choose<'a>(
    storages: &'a [Storage],
    key: &str,
    node: &NodeName,
    wanted: Option<&str>,
) -> std::result::Result<&'a Storage, ToolError> {
    let fits: Vec<&Storage> = storages
        .iter()
        .filter(|row| row.node == *node && row.content.iter().any(|word| word == "backup"))
        .collect();
    let list = || {
        let mut table = Table::new("storages", &["storage", "type", "status", "free"]);
        for row in &fits {
            let free = row.size.saturating_sub(row.used);
            table.push(vec![
                Cell::text(row.name.as_str()),
                Cell::text(&*row.plugin),
                Cell::text(&*row.status),
                Cell::with(free, bytes(free)),
            ]);
        }
        table
    };
    let chosen = match wanted {
        Some(name) => {
            fits.iter().find(|row| row.name.as_str() == name).copied().ok_or_else(|| {
                let lead =
                    format!("{key}/{node} has no storage {} that takes backups", quoted(name));
                ToolError::not_found(lead).choices(list())
            })?
        }
        None => match fits.as_slice() {
            [only] => *only,
            [] => {
                let lead = format!("{key}/{node} has no storage that takes backups");
                return Err(ToolError::not_found(lead).hint(
                    "give a storage the content type backup, as far as the token sees them",
                ));
            }
            several => {
                let lead = format!("{key}/{node} has {} storages that take backups", several.len());
                return Err(ToolError::new(lead)
                    .of_kind(Kind::Ambiguous)
                    .hint("give storage")
                    .choices(list()));
            }
        },
    };
    if !chosen.is_available() {
        let lead = format!("storage {} is {} on {node}", chosen.name, chosen.status);
        return Err(ToolError::new(lead).of_kind(Kind::Unavailable).choices(list()));
    }
    Ok(chosen)
}

/// The namespace behind a storage of type `pbs`, or a note that it is not attributed.
async fn place_of(cx: &Cx, member: &Pve, row: &Storage) -> (Option<Place>, Option<String>) {
    if row.plugin != "pbs" {
        return (None, None);
    }
    let key = &member.key;
    let entries = match member.client.call(storage::configs(Some("pbs"))).await {
        Ok(entries) => entries,
        Err(error) => {
            let why = stdx::Chain(&error);
            return (None, Some(format!("{key}: which backup server it uses is not seen: {why}")));
        }
    };
    match entries.iter().find(|entry| entry.storage == row.name) {
        Some(entry) => match Place::of(&cx.fleet, entry) {
            Ok(place) => (Some(place), None),
            Err(why) => (None, Some(format!("{key}: unattributed: {why}"))),
        },
        None => (None, None),
    }
}

/// Refuses guests that something else holds.
async fn check_locks(member: &Pve, guests: &[Guest]) -> std::result::Result<(), ToolError> {
    let asked = guests
        .iter()
        .map(|guest| State::read(&member.client, guest.kind, &guest.node, guest.at.vmid));
    for (guest, state) in guests.iter().zip(join_all(asked).await) {
        let name = named(guest);
        let state = state.map_err(|error| {
            ToolError::api(format!("read the state of {name} before its backup"), &error)
        })?;
        if let Some(lock) = &state.lock {
            let lead = format!("backup of {name} was not tried: it is locked ({lock})");
            let report = Report::new(lead).fact("status", "refused").fact("lock", lock.as_str());
            return Err(ToolError::from_report(report)
                .hint("look at its running tasks, and try again when they are done")
                .next(
                    "tasks_list",
                    object(json!({"guest": guest.at.to_string(), "state": "running"})),
                ));
        }
    }
    Ok(())
}

/// Compares what is free with what the newest backups there took, or else with the disks.
async fn check_space(
    plan: Plan,
    member: &Pve,
    node: &NodeName,
    name: &StorageName,
    is_pbs: bool,
    guests: &[Guest],
) -> std::result::Result<Plan, ToolError> {
    let (status, volumes) = futures::join!(
        member.client.call(storage::status(node, name)),
        member.client.call(storage::content(node, name, Some(&ContentKind::Backup), None)),
    );
    let key = &member.key;
    let status = match status {
        Ok(status) => status,
        Err(error) if error.is_unreachable() => {
            return Err(ToolError::api(format!("read how full {key}/{name} is"), &error));
        }
        Err(error) => {
            let why = stdx::Chain(&error);
            return Ok(plan.note(format!("how full {key}/{name} is cannot be read: {why}")));
        }
    };
    if let Err(error) = &volumes
        && is_pbs
    {
        // The storage shows nothing when the server behind it is away.
        let what = format!("list the backups on {key}/{name}");
        return Err(ToolError::api(what, error)
            .hint("the backup server behind the storage may be away: see backup_snapshots"));
    }
    let Some(free) = status.available_bytes else { return Ok(plan) };
    let volumes = volumes.unwrap_or_default();
    let (mut before, mut disks) = (0_u64, 0_u64);
    for guest in guests {
        let newest = volumes.iter().filter(|one| one.vmid == Some(guest.at.vmid));
        let newest = newest.max_by_key(|one| one.created);
        before += newest.map_or(0, |one| one.size_bytes);
        disks += guest.max_disk;
    }
    // What is already there is not stored again on a backup server.
    let needed = if is_pbs { 0 } else { before };
    if free == 0 || free < needed {
        let lead = format!(
            "the backup was not tried: {key}/{name} has {} free, and the last backups of the same took {}",
            bytes(free),
            bytes(before)
        );
        return Err(
            refused(lead).hint("see backup_prune for what could go, or choose another storage")
        );
    }
    if !is_pbs && free < disks {
        let text = format!(
            "{key}/{name} has {} free, less than the guests' disks ({})",
            bytes(free),
            bytes(disks)
        );
        return Ok(plan.warn("space", text));
    }
    Ok(plan)
}

fn warn_of_mode(plan: Plan, mode: Option<&str>, guests: &[Guest]) -> Plan {
    let running: Vec<String> = guests.iter().filter(|g| g.status.is_on()).map(named).collect();
    match mode {
        _ if running.is_empty() => plan,
        Some("stop") => {
            let who = running.join(", ");
            plan.warn("downtime", format!("stop mode shuts down and starts again: {who}"))
        }
        Some("suspend") => {
            plan.warn("downtime", format!("suspend mode holds meanwhile: {}", running.join(", ")))
        }
        _ => plan,
    }
}

fn run_name(member: &Pve, node: &NodeName, guests: &[Guest]) -> String {
    match guests {
        [one] => format!("backup of {}", named(one)),
        several => {
            format!("backup of {} on {}/{node}", counted(several.len(), "guest"), member.key)
        }
    }
}

fn step(
    member: &Arc<Pve>,
    node: &NodeName,
    storage: &StorageName,
    is_pbs: bool,
    guests: &[Guest],
    args: &Args,
    what: &str,
) -> Step {
    let mode = args.mode.as_deref().unwrap_or("snapshot");
    let compress = match args.compress.as_deref() {
        _ if is_pbs => None,
        Some("none") => Some("0"),
        given => Some(given.unwrap_or("zstd")),
    };
    let options = VzdumpParams {
        vmids: guests.iter().map(|guest| guest.at.vmid).collect(),
        storage: Some(storage.clone()),
        mode: Some(match mode {
            "suspend" => BackupMode::Suspend,
            "stop" => BackupMode::Stop,
            _ => BackupMode::Snapshot,
        }),
        compress: compress.map(str::to_owned),
        notes_template: Some(template(args.notes.as_deref())),
        protected: args.protected.then_some(true),
        // Unless it is told not to, a run prunes by the storage's own rule.
        remove: Some(false),
        ..VzdumpParams::default()
    };
    let id = match guests {
        [one] => one.at.vmid.to_string(),
        _ => String::new(),
    };
    let step = Step::pve(member, what, vzdump::run(node, options)).task(&["vzdump"], id);
    // One that is stopped leaves nothing behind; one guest that fails leaves the others.
    step.stoppable().judged()
}

/// The notes as PVE takes them: one line, with its own escapes.
fn template(notes: Option<&str>) -> String {
    let notes = notes.unwrap_or("{{guestname}}");
    notes.replace('\\', "\\\\").replace('\n', "\\n")
}

fn label(place: Option<&Place>, storage: &StorageName) -> String {
    place.map_or_else(|| storage.to_string(), Place::label)
}

/// What the runs left: each guest's own outcome, and where its backup is.
async fn settle(runs: Vec<Run>, done: Done) -> std::result::Result<Report, ToolError> {
    let mut results = Vec::new();
    let mut notes = Vec::new();
    for run in runs {
        let outcome = done.steps.iter().find(|(what, _)| *what == run.what);
        let outcome = outcome.map(|(_, outcome)| outcome.clone()).unwrap_or_default();
        results.extend(outcome_of(run, &outcome, &mut notes).await);
    }
    let failed: Vec<&Result> = results.iter().filter(|result| result.cause.is_some()).collect();
    let lead = lead_of(&results, &failed, &done);
    let mut table = Table::new("backups", &["guest", "state", "size", "where", "volume", "cause"]);
    for result in &results {
        let size = result.volume.as_ref().map(|volume| volume.size_bytes);
        table.push(vec![
            Cell::text(result.guest.at.to_string()),
            Cell::text(if result.cause.is_some() { "failed" } else { "ok" }),
            Cell::opt(size.map(|size| Cell::with(size, bytes(size)))),
            Cell::text(&*result.label),
            Cell::opt(result.volume.as_ref().map(|volume| volume.id.clone())),
            Cell::opt(result.cause.clone()),
        ]);
    }
    let tally = json!({"guests": results.len(), "failed": failed.len()});
    let mut report = done.report(lead).fact("tally", tally);
    report.notes.extend(notes);
    for result in results.iter().filter(|result| result.cause.is_none()).take(1) {
        if let Some((tool, args)) = next_of(result) {
            report = report.next(tool, args);
        }
    }
    // One guest that worked is told in the sentence.
    match (results.as_slice(), failed.is_empty()) {
        ([one], true) => {
            report = report.fact("guest", one.guest.at.to_string()).fact("place", &*one.label);
            if let Some(volume) = &one.volume {
                report = report.fact("volume", &*volume.id).fact("size_bytes", volume.size_bytes);
            }
        }
        _ => report = report.table(table),
    }
    if failed.is_empty() {
        return Ok(report);
    }
    let report = report.fact("status", "failed");
    Err(ToolError::from_report(report))
}

fn lead_of(results: &[Result], failed: &[&Result], done: &Done) -> String {
    match (results, failed) {
        ([one], []) => {
            let what = match &one.volume {
                Some(volume) => {
                    let made = volume.created.map(rfc3339).unwrap_or_default();
                    format!("{}, {made}", bytes(volume.size_bytes))
                }
                None => "the backup itself is not shown to the token".to_owned(),
            };
            format!(
                "{} is backed up to {}: {what} ({}, {})",
                named(&one.guest),
                one.label,
                done.ended(),
                done.span()
            )
        }
        ([one], [_]) => {
            let cause = one.cause.as_deref().unwrap_or("unknown");
            format!("backup of {} failed: {cause}", named(&one.guest))
        }
        (all, []) => {
            let size: u64 =
                all.iter().filter_map(|one| Some(one.volume.as_ref()?.size_bytes)).sum();
            format!(
                "{} are backed up: {} in {}",
                counted(all.len(), "guest"),
                bytes(size),
                done.span()
            )
        }
        (all, failed) => {
            let who: Vec<String> = failed
                .iter()
                .map(|one| {
                    format!("{}: {}", named(&one.guest), one.cause.as_deref().unwrap_or("?"))
                })
                .collect();
            format!(
                "{} of {} are backed up; failed: {}",
                all.len() - failed.len(),
                counted(all.len(), "guest"),
                who.join("; ")
            )
        }
    }
}

/// The call that checks a new backup.
fn next_of(result: &Result) -> Option<(&'static str, serde_json::Value)> {
    result.label.contains(':').then_some(())?;
    let time = result.volume.as_ref()?.created.map(rfc3339)?;
    Some(("backup_verify", json!({"guest": result.guest.at.to_string(), "time": time})))
}

/// What a run left of each of its guests.
async fn outcome_of(run: Run, outcome: &StepOutcome, notes: &mut Vec<String>) -> Vec<Result> {
    let started = outcome.upid.as_ref().map(Upid::started);
    let said = match (&outcome.failed, &outcome.upid) {
        (Some(_), Some(upid)) => causes(&run.member, upid).await,
        _ => BTreeMap::new(),
    };
    let kind = Some(&ContentKind::Backup);
    let listed =
        run.member.client.call(storage::content(&run.node, &run.storage, kind, None)).await;
    let volumes = listed.unwrap_or_else(|error| {
        let why = stdx::Chain(&error);
        notes.push(format!("the backups on {} cannot be read back: {why}", run.storage));
        Vec::new()
    });
    let label = label(run.place.as_ref(), &run.storage);
    let mut results = Vec::new();
    for guest in run.guests {
        let vmid = guest.at.vmid;
        let is_new = |volume: &&Volume| {
            let made = volume.created.map(Timestamp::as_second);
            volume.vmid == Some(vmid)
                && made.zip(started).is_some_and(|(made, at)| made >= at.as_second() - SKEW_SECS)
        };
        let volume = volumes.iter().filter(is_new).max_by_key(|one| one.created).cloned();
        let cause = match (&outcome.failed, said.get(&vmid)) {
            (None, _) | (Some(_), Some(log::Result::Done)) => None,
            (Some(_), Some(log::Result::Failed(cause))) => Some(clean_cause(cause)),
            // It was not reached, or its log cannot be read.
            (Some(cause), None) => Some(clean_cause(cause)),
        };
        let volume = volume.filter(|_| cause.is_none());
        results.push(Result { guest, label: label.clone(), volume, cause });
    }
    results
}

/// What the log of a run says of each guest.
async fn causes(member: &Pve, upid: &Upid) -> BTreeMap<VmId, log::Result> {
    let request = tasks::log(upid, 0, Some(LOG_LINES));
    let lines = member.operator.call(request).await.unwrap_or_default();
    log::read(lines.iter().map(|line| line.text.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_escaped_as_pve_reads_them() {
        assert_eq!(template(None), "{{guestname}}");
        assert_eq!(template(Some("a\\b\nc {{vmid}}")), "a\\\\b\\nc {{vmid}}");
    }
}
