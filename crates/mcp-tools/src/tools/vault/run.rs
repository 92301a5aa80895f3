//! `backup_run`: backs guests up now, follows it to the end, and says what landed where.

mod landed;

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use estate::{Access, NodeName, StorageName};
use futures::future::join_all;
use mcp_protocol::JsonObject;
use pve_client::{
    storage::{self, ContentKind},
    vzdump::{self, BackupMode, VzdumpParams},
};
use serde::Deserialize;
use serde_json::json;

use super::{find::view_of, spot::object};
use crate::{
    address::{Purpose, quoted},
    error::{Kind, ToolError},
    fleet::Pve,
    follow::state::State,
    plan::{ActionTool, Later, Plan, Step, Undo},
    report::{Cell, Report, Table, bytes},
    schema::{Input, Output},
    tool::{Cx, Definition},
    tools::{backups::Place, power::named, tally::counted},
    view::{Guest, GuestStatus, Storage},
};

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

/// How many new backups an undo removes: more of them are better looked through.
const UNDONE: usize = 10;

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
    /// The volume of each guest's new backup.
    volumes: Vec<Later>,
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

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
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
            let number = runs.len() + 1;
            let volume =
                |guest: &Guest| Later::of_step(number, &format!("volume_{}", guest.at.vmid));
            let volumes = guests.iter().map(volume).collect();
            runs.push(Run { member, node, storage: name, guests, what, place, volumes });
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
        plan.later.extend(runs.iter().flat_map(|run| run.volumes.iter().cloned()));
        Ok(plan
            .effect("no older backup is removed")
            .undo(undo(&runs))
            .settle(move |_, done| landed::settle(runs, done)))
    }
}

/// The calls that remove the new backups.
fn undo(runs: &[Run]) -> Undo {
    let calls = runs.iter().flat_map(|run| {
        run.volumes.iter().map(|volume| {
            let args = json!({
                "volume": volume.word(), "cluster": run.member.key.as_str(),
                "node": run.node.as_str(),
            });
            ("volume_delete", object(args))
        })
    });
    let mut calls: Vec<_> = calls.collect();
    match calls.len() {
        1 => {
            let (tool, args) = calls.remove(0);
            Undo::Call(tool, args)
        }
        0..=UNDONE => Undo::Calls(calls),
        _ => Undo::By("remove the new backups where they lie (volume_delete)".to_owned()),
    }
}

type Groups = BTreeMap<(String, NodeName), (Arc<Pve>, Vec<Guest>)>;

/// The guests that are meant, by cluster and node, each once.
async fn grouped(cx: &Cx, guests: &[String]) -> Result<(Groups, Vec<String>), ToolError> {
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
) -> Result<&'a Storage, ToolError> {
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
async fn check_locks(member: &Pve, guests: &[Guest]) -> Result<(), ToolError> {
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
) -> Result<Plan, ToolError> {
    let (status, volumes) = futures::join!(
        member.client.call(storage::status(node, name)),
        member.operator.call(storage::content(node, name, Some(&ContentKind::Backup), None)),
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
        [one] => format!("back up {}", named(one)),
        several => {
            format!("back up {} on {}/{node}", counted(several.len(), "guest"), member.key)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_escaped_as_pve_reads_them() {
        assert_eq!(template(None), "{{guestname}}");
        assert_eq!(template(Some("a\\b\nc {{vmid}}")), "a\\\\b\\nc {{vmid}}");
    }
}
