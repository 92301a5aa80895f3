//! `backup_copies`: every copy of one guest's backups, wherever it lies.

use std::collections::BTreeSet;

use async_trait::async_trait;
use estate::{Access, GuestKind};
use jiff::Timestamp;
use mcp_protocol::JsonObject;
use pbs_client::snapshots::Snapshot;
use pve_client::storage;
use serde::Deserialize;
use serde_json::json;

use super::{
    find,
    offsite::{self, At},
    overdue::{is_of, verdict},
};
use crate::{
    error::ToolError,
    fleet::GATHER_DEADLINE,
    report::{Cell, Report, Table, age, bytes, rfc3339},
    schema::{Input, Output},
    tool::{Cx, Definition, EstateTool},
    tools::{backups::Place, tally::counted},
};

/// The tool.
pub struct BackupCopies;

#[derive(Deserialize)]
struct Args {
    guest: String,
}

/// Where a copy is from, as far as its place tells.
enum Origin {
    /// A storage of the guest's cluster points there.
    Own,
    /// A sync job copies there from such a place.
    Synced(String),
    /// Neither.
    Unattributed(String),
}

#[async_trait]
impl EstateTool for BackupCopies {
    fn definition(&self) -> Definition {
        Definition {
            name: "backup_copies",
            title: "All copies of a guest",
            description: "Every backup of one guest on PVE storages, PBS namespaces and sync targets: age, size, verified (of that copy), protected, owner, notes. Same id elsewhere: unattributed.",
            input: Input::new().guest().fields(),
            output: Output::new()
                .fact("guest", "string")
                .fact("count", "integer")
                .fact("places", "integer")
                .table("copies")
                .table("unattributed"),
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
        let whose = find::whose(cx, &args.guest).await?;
        let (search, routes, index, entries) = futures::join!(
            whose.copies(cx, None),
            offsite::routes(&cx.fleet),
            offsite::index(&cx.fleet, |_, _| true),
            pointing(cx),
        );
        let search = search?;
        let (own, others, mut notes) = entries.split(whose.member.key.as_str());
        // An id that is gone can have been of either kind.
        let kinds: Vec<GuestKind> = match &whose.guest {
            Some(guest) => vec![guest.kind],
            None => vec![GuestKind::Qemu, GuestKind::Lxc],
        };
        let id = whose.at.vmid.to_string();
        let mut rows: Vec<(Timestamp, String, Vec<Cell>)> = Vec::new();
        let mut strange: Vec<(Timestamp, String, Vec<Cell>)> = Vec::new();
        let mut seen = BTreeSet::new();
        let mut taken = BTreeSet::new();
        for (at, list) in &index.places {
            let origin = origin(at, &own, &others, &routes.all);
            for one in list.iter().filter(|one| kinds.iter().any(|kind| is_of(one, *kind, &id))) {
                match &origin {
                    Origin::Own | Origin::Synced(_) => {
                        taken.insert((at.label(), one.time));
                        seen.insert(at.label());
                        let kind = match &origin {
                            Origin::Synced(from) => format!("sync of {from}"),
                            _ => "backup server".to_owned(),
                        };
                        rows.push((one.time, at.label(), of_snapshot(at, one, kind, now)));
                    }
                    Origin::Unattributed(why) => {
                        strange.push((
                            one.time,
                            at.label(),
                            of_snapshot(at, one, why.clone(), now),
                        ));
                    }
                }
            }
        }
        for copy in &search.copies {
            let (Some(time), label) = (copy.volume.created, copy.label()) else { continue };
            if taken.contains(&(label.clone(), time)) {
                continue;
            }
            if let Some(place) = &copy.place
                && let Some(other) = others.iter().find(|(at, _)| *at == At::of(place))
            {
                notes.push(format!(
                    "{label} is used by {} as well: what lies there could be of either",
                    other.1
                ));
            }
            seen.insert(label.clone());
            let checked = copy.volume.verification.as_ref().and_then(|check| check.upid.as_deref());
            let checked = checked.and_then(|upid| upid.parse::<estate::Upid>().ok());
            let checked = checked.map(|upid| upid.started());
            rows.push((
                time,
                label.clone(),
                vec![
                    Cell::with(rfc3339(time), age(time, now)),
                    Cell::text(label),
                    Cell::text("storage"),
                    Cell::with(copy.volume.size_bytes, bytes(copy.volume.size_bytes)),
                    verdict(copy.verified(), checked, now),
                    Cell::with(
                        copy.volume.protected,
                        if copy.volume.protected { "yes" } else { "no" },
                    ),
                    Cell::none(),
                    Cell::opt(copy.volume.notes.as_deref().map(Cell::foreign)),
                ],
            ));
        }
        let (copies, places) = (rows.len(), seen.len());
        let name = whose.name();
        let mut lead =
            format!("{name}: {} in {}", plural(copies, "copy", "copies"), counted(places, "place"));
        if !strange.is_empty() {
            lead = format!("{lead}; {} under the same id unattributed", strange.len());
        }
        let is_partial = !index.unreachable.is_empty() || !routes.unreachable.is_empty();
        if is_partial {
            lead = format!("{lead}, as far as could be seen");
        }
        let mut report = Report::new(lead)
            .fact("guest", whose.at.to_string())
            .fact("count", copies)
            .fact("places", places)
            .table(table("copies", "kind", rows));
        if !strange.is_empty() {
            report = report.table(table("unattributed", "why", strange)).note(
                "unattributed copies are in places that no storage of this guest's cluster points at: they can be of another guest",
            );
        }
        notes.extend(whose.notes.iter().cloned());
        notes.extend(search.notes);
        notes.extend(routes.notes);
        notes.extend(index.notes);
        let mut told = BTreeSet::new();
        report.notes.extend(notes.into_iter().filter(|note| told.insert(note.clone())));
        for part in
            routes.unreachable.into_iter().chain(index.unreachable).chain(entries_silent(&entries))
        {
            if !report.unreachable.contains(&part) {
                report.unreachable.push(part);
            }
        }
        if copies == 0 {
            return Ok(report);
        }
        Ok(report.next("backup_files", json!({"guest": whose.at.to_string()})))
    }
}

/// Where the storages of all clusters point.
struct Entries {
    all: Vec<(String, Result<At, String>)>,
    unreachable: Vec<crate::report::Unreachable>,
    refused: Vec<String>,
}

async fn pointing(cx: &Cx) -> Entries {
    let members = cx.fleet.pve(None).unwrap_or_default();
    let ask = |member: std::sync::Arc<crate::fleet::Pve>| async move {
        member.client.call(storage::configs(Some("pbs"))).await
    };
    let gathered = cx.fleet.gather(members, GATHER_DEADLINE, ask).await;
    let mut all = Vec::new();
    for (member, entries) in &gathered.answers {
        for entry in entries.iter().filter(|entry| entry.kind == "pbs" && !entry.disabled) {
            let place = Place::of(&cx.fleet, entry).map(|place| At::of(&place));
            all.push((member.key.to_string(), place));
        }
    }
    let refused = gathered.refused.iter().map(|(key, why)| {
        format!("{key}: which backup servers its storages point at is not seen: {why}")
    });
    Entries { all, refused: refused.collect(), unreachable: gathered.unreachable }
}

fn entries_silent(entries: &Entries) -> Vec<crate::report::Unreachable> {
    entries.unreachable.clone()
}

// === impl Entries ===

impl Entries {
    /// The places of one cluster, those of the others with their cluster, and what is not known.
    fn split(&self, key: &str) -> (Vec<At>, Vec<(At, String)>, Vec<String>) {
        let (mut own, mut others) = (Vec::new(), Vec::new());
        let mut notes = self.refused.clone();
        for (cluster, place) in &self.all {
            match place {
                Ok(at) if cluster == key => own.push(at.clone()),
                Ok(at) => others.push((at.clone(), cluster.clone())),
                Err(why) if cluster == key => notes.push(format!("{cluster}: unattributed: {why}")),
                Err(_) => {}
            }
        }
        (own, others, notes)
    }
}

fn origin(at: &At, own: &[At], others: &[(At, String)], routes: &[offsite::Route]) -> Origin {
    let rival = others.iter().find(|(other, _)| other == at).map(|(_, cluster)| cluster);
    match (own.contains(at), rival) {
        (true, None) => return Origin::Own,
        (true, Some(cluster)) => {
            return Origin::Unattributed(format!("shared with {cluster}"));
        }
        (false, Some(cluster)) => return Origin::Unattributed(format!("{cluster} backs up there")),
        (false, None) => {}
    }
    for route in routes {
        if let Some(from) = own.iter().find(|from| route.lands(from).as_ref() == Some(at)) {
            return Origin::Synced(from.label());
        }
    }
    match routes.iter().find(|route| route.writes(at)) {
        Some(route) => Origin::Unattributed(format!("brought by {}", route.job)),
        None => Origin::Unattributed("no storage points there".to_owned()),
    }
}

fn of_snapshot(at: &At, one: &Snapshot, kind: String, now: Timestamp) -> Vec<Cell> {
    let state = one.verification.as_ref().map(|check| check.state.to_string());
    let checked = one.verification.as_ref().and_then(|check| check.upid.as_ref());
    vec![
        Cell::with(rfc3339(one.time), age(one.time, now)),
        Cell::text(at.label()),
        Cell::text(kind),
        Cell::opt(one.size_bytes.map(|size| Cell::with(size, bytes(size)))),
        verdict(state.as_deref(), checked.map(estate::Upid::started), now),
        Cell::with(one.protected, if one.protected { "yes" } else { "no" }),
        Cell::opt(one.owner.clone()),
        Cell::opt(one.comment.as_deref().map(Cell::foreign)),
    ]
}

/// Newest first; copies of one moment beside each other.
fn table(
    name: &'static str,
    kind: &'static str,
    mut rows: Vec<(Timestamp, String, Vec<Cell>)>,
) -> Table {
    rows.sort_by(|a, b| (std::cmp::Reverse(a.0), &a.1).cmp(&(std::cmp::Reverse(b.0), &b.1)));
    let mut table = Table::new(
        name,
        &["time", "where", kind, "size", "verified", "protected", "owner", "notes"],
    );
    for (_, _, row) in rows {
        table.push(row);
    }
    table
}

fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
