//! Pruning of a storage through PVE, whose own preview is asked.

use std::{collections::BTreeMap, sync::Arc};

use estate::{GuestKind, NodeName, StorageName, VmId};
use jiff::{Timestamp, tz::TimeZone};
use pve_client::storage::{self, ContentKind, PruneMark, PruneParams, Volume};
use serde_json::json;

use super::{
    super::{
        find::{self, view_of},
        keep::{Fate, Item, Keep, decide},
        space,
    },
    Args, fingerprint, told,
};
use crate::{
    address::quoted,
    error::{Kind, ToolError},
    fleet::Pve,
    plan::{Done, Plan, Step, Undo},
    report::{Cell, Report, Table, age, bytes, rfc3339},
    tool::Cx,
    tools::{backups::Place, tally::counted},
    view::View,
};

/// What is pruned.
#[derive(Clone)]
struct Scope {
    member: Arc<Pve>,
    node: NodeName,
    storage: StorageName,
    vmid: Option<VmId>,
    kind: Option<GuestKind>,
    keep: Option<String>,
}

pub(super) async fn plan(cx: &Cx, args: &Args) -> Result<Plan, ToolError> {
    let (scope, notes) = scope(cx, args).await?;
    let label = scope.label();
    let (marks, volumes) = futures::join!(
        scope.member.operator.call(storage::prune_preview(
            &scope.node,
            &scope.storage,
            scope.params()
        )),
        scope.member.operator.call(storage::content(
            &scope.node,
            &scope.storage,
            Some(&ContentKind::Backup),
            scope.vmid,
        )),
    );
    let marks = marks
        .map_err(|error| ToolError::api(format!("ask what pruning {label} would do"), &error))?;
    let volumes = volumes.unwrap_or_default();
    let table = table(&marks, &volumes, &args.keep(), cx.now());
    let gone: Vec<&PruneMark> = marks.iter().filter(|mark| mark.mark == "remove").collect();
    let tally = json!({
        "snapshots": marks.len(), "go": gone.len(), "stay": marks.len() - gone.len(),
        "protected": marks.iter().filter(|mark| mark.mark == "protected").count(),
    });
    let rule = scope.keep.clone().unwrap_or_else(|| "the storage's own rule".to_owned());
    if gone.is_empty() {
        let lead = format!("{label}: {rule} holds all {}", counted(marks.len(), "backup"));
        let mut report = Report::new(lead)
            .fact("place", label.as_str())
            .fact("status", "unchanged")
            .fact("tally", tally)
            .table(table);
        report.notes.extend(notes);
        return Ok(Plan::already(report));
    }
    let size = |id: &str| volumes.iter().find(|one| one.id == id).map_or(0, |one| one.size_bytes);
    let total: u64 = gone.iter().map(|mark| size(&mark.volume)).sum();
    let mut state: Vec<String> =
        marks.iter().map(|mark| format!("{} {}", mark.volume, mark.mark)).collect();
    state.sort();
    let what = format!("pruning of {label}");
    let mut plan = Plan::new(what.as_str())
        .fact("place", label.as_str())
        .fact("tally", tally)
        .effect(format!(
            "{} of {} go for good ({}), by {rule}",
            gone.len(),
            counted(marks.len(), "backup"),
            bytes(total)
        ))
        .undo(Undo::Never("a removed backup is gone".to_owned()))
        .target(label.as_str(), [("backups", fingerprint(state))])
        .table(table);
    let lines = gone.iter().map(|mark| {
        let guest = mark.vmid.map_or_else(|| "?".to_owned(), |vmid| vmid.to_string());
        (format!("guest {guest}"), mark.created.map(rfc3339).unwrap_or_default())
    });
    plan.effects.extend(told(lines));
    plan.notes = notes;
    let newest = gone.iter().filter_map(|mark| mark.created).max();
    plan = plan.note(scope.back(cx, newest).await);
    let gone: Vec<String> = gone.iter().map(|mark| mark.volume.clone()).collect();
    let request = storage::prune(&scope.node, &scope.storage, scope.params());
    let id = match scope.vmid {
        Some(vmid) => format!("{vmid}@{}", scope.storage),
        None => scope.storage.to_string(),
    };
    let step =
        Step::pve(&scope.member, format!("prune {label}"), request).task(&["prunebackups"], id);
    Ok(plan.step(step).settle(move |_, done| settle(scope, gone, done)))
}

async fn scope(cx: &Cx, args: &Args) -> Result<(Scope, Vec<String>), ToolError> {
    let name = args.storage.as_deref().unwrap_or_default();
    let (member, view, vmid, kind, notes) = match &args.guest {
        Some(guest) => {
            let whose = find::whose(cx, guest).await?;
            if args.cluster.as_deref().is_some_and(|key| key != whose.member.key.as_str()) {
                return Err(ToolError::new("guest and cluster name different clusters"));
            }
            let kind = whose.guest.as_ref().map(|guest| guest.kind);
            (whose.member, whose.view, Some(whose.at.vmid), kind, whose.notes)
        }
        None => {
            let mut members = cx.fleet.pve(args.cluster.as_deref())?;
            if members.len() != 1 {
                let keys: Vec<&str> = members.iter().map(|member| member.key.as_str()).collect();
                return Err(ToolError::new(format!(
                    "which cluster's storage {} is not said",
                    quoted(name)
                ))
                .of_kind(Kind::Ambiguous)
                .hint(format!("give cluster: {}", keys.join(" or "))));
            }
            let member = members.remove(0);
            let view = view_of(cx, &member).await?;
            (member, view, None, None, Vec::new())
        }
    };
    let (node, storage) = place(&view, &member, name, args.node.as_deref())?;
    let keep = args.keep();
    let keep = keep.keeps_something().then(|| keep.text());
    Ok((Scope { member, node, storage, vmid, kind, keep }, notes))
}

/// The storage, and the node to ask: any for a shared one, the only one or the named for a local one.
fn place(
    view: &View,
    member: &Pve,
    name: &str,
    node: Option<&str>,
) -> Result<(NodeName, StorageName), ToolError> {
    let online = |node: &NodeName| view.nodes.iter().any(|n| n.name == *node && n.is_online());
    let rows: Vec<_> = view
        .storages
        .iter()
        .filter(|row| row.name.as_str() == name)
        .filter(|row| row.content.iter().any(|word| word == "backup"))
        .collect();
    let key = &member.key;
    if rows.is_empty() {
        let lead = format!("{key} has no storage {} with backups", quoted(name));
        return Err(ToolError::not_found(lead).hint("storage_list shows them"));
    }
    let mut fits: Vec<_> = rows
        .iter()
        .filter(|row| online(&row.node) && node.is_none_or(|node| row.node == *node))
        .collect();
    fits.sort_by_key(|row| std::cmp::Reverse(row.is_available()));
    let Some(first) = fits.first() else {
        let lead = format!("no node that is online has {}", quoted(name));
        return Err(ToolError::new(lead).of_kind(Kind::Unavailable));
    };
    let is_shared = first.shared || first.plugin == "pbs";
    if !is_shared && fits.len() > 1 {
        let nodes: Vec<&str> = fits.iter().map(|row| row.node.as_str()).collect();
        let lead = format!("{key}/{name} is another one on each node");
        return Err(ToolError::new(lead)
            .of_kind(Kind::Ambiguous)
            .hint(format!("give node: {}", nodes.join(" or "))));
    }
    Ok((first.node.clone(), first.name.clone()))
}

/// What becomes of each. PVE tells only that a backup is kept; which rule keeps it is worked out
/// here, and left open where that does not come to the same.
fn table(marks: &[PruneMark], volumes: &[Volume], keep: &Keep, now: Timestamp) -> Table {
    let reasons = reasons(marks, keep);
    let mut table =
        Table::new("snapshots", &["guest", "time", "age", "size", "fate", "why", "volume"]);
    let mut rows: Vec<&PruneMark> = marks.iter().collect();
    rows.sort_by_key(|mark| (mark.vmid, std::cmp::Reverse(mark.created)));
    for mark in rows {
        let volume = volumes.iter().find(|one| one.id == mark.volume);
        let why = match mark.mark.as_str() {
            "remove" => None,
            "protected" => Some("protected".to_owned()),
            "renamed" => Some("renamed".to_owned()),
            _ => Some(reasons.get(&mark.volume).cloned().unwrap_or_else(|| "rule".to_owned())),
        };
        table.push(vec![
            Cell::opt(mark.vmid.map(|vmid| vmid.to_string())),
            Cell::opt(mark.created.map(rfc3339)),
            Cell::opt(mark.created.map(|made| age(made, now))),
            Cell::opt(volume.map(|one| Cell::with(one.size_bytes, bytes(one.size_bytes)))),
            Cell::text(if mark.mark == "remove" { "goes" } else { "stays" }),
            Cell::opt(why),
            Cell::text(&*mark.volume),
        ]);
    }
    table
}

/// Which rule keeps a backup, for groups where the same comes out here.
fn reasons(marks: &[PruneMark], keep: &Keep) -> BTreeMap<String, String> {
    let mut groups: BTreeMap<String, Vec<(&PruneMark, Timestamp)>> = BTreeMap::new();
    for mark in marks.iter().filter(|mark| mark.mark != "renamed") {
        let Some(made) = mark.created else { continue };
        let name = format!("{:?} {:?}", mark.kind, mark.vmid);
        groups.entry(name).or_default().push((mark, made));
    }
    let mut reasons = BTreeMap::new();
    for mut members in groups.into_values() {
        members.sort_by_key(|(_, made)| std::cmp::Reverse(*made));
        let items: Vec<Item> = members
            .iter()
            .map(|(mark, time)| {
                let protected = mark.mark == "protected";
                Item { time: *time, protected, finished: true }
            })
            .collect();
        let fates = decide(keep, &TimeZone::UTC, &items);
        let agrees = members
            .iter()
            .zip(&fates)
            .all(|((mark, _), fate)| (mark.mark == "remove") == (*fate == Fate::Goes));
        if !agrees || !keep.keeps_something() {
            continue;
        }
        for ((mark, _), fate) in members.iter().zip(fates) {
            if let Fate::Stays(why) = fate {
                reasons.insert(mark.volume.clone(), why);
            }
        }
    }
    reasons
}

// === impl Scope ===

impl Scope {
    fn label(&self) -> String {
        match self.vmid {
            Some(vmid) => format!("{}/{} of guest {vmid}", self.member.key, self.storage),
            None => format!("{}/{}", self.member.key, self.storage),
        }
    }

    fn params(&self) -> PruneParams {
        let kind = self.kind.map(|kind| kind.to_string());
        PruneParams { keep: self.keep.clone(), kind, vmid: self.vmid }
    }

    /// When the space comes back.
    async fn back(&self, cx: &Cx, touched: Option<Timestamp>) -> String {
        let entries = self.member.client.call(storage::configs(Some("pbs"))).await;
        let entries = entries.unwrap_or_default();
        let Some(entry) = entries.iter().find(|entry| entry.storage == self.storage) else {
            return "space comes back at once".to_owned();
        };
        let place = match Place::of(&cx.fleet, entry) {
            Ok(place) => place,
            Err(why) => {
                return format!(
                    "space comes back only with a garbage collection of the backup server ({}: unattributed: {why})",
                    self.member.key
                );
            }
        };
        let client = &place.server.client;
        let (gc, config) = futures::join!(
            client.call(pbs_client::datastores::gc_status(&place.store)),
            client.call(pbs_client::datastores::config(&place.store)),
        );
        match gc {
            Ok(gc) => {
                let cutoff = space::cutoff_mins(config.ok().as_ref());
                space::sentence(&gc, touched, cutoff, cx.now())
            }
            Err(error) => format!(
                "space comes back only with a garbage collection of {}: {}",
                place.label(),
                stdx::Chain(&error)
            ),
        }
    }
}

/// What is really gone.
async fn settle(scope: Scope, gone: Vec<String>, done: Done) -> Result<Report, ToolError> {
    let label = scope.label();
    let kind = Some(&ContentKind::Backup);
    let call = storage::content(&scope.node, &scope.storage, kind, scope.vmid);
    let left = match scope.member.operator.call(call).await {
        Ok(left) => left,
        Err(error) => {
            let why = stdx::Chain(&error);
            return Ok(done
                .report(format!("{label}: the task ended {}", done.ended()))
                .note(format!("what is left cannot be read: {why}")));
        }
    };
    let still = gone.iter().filter(|id| left.iter().any(|one| one.id == **id)).count();
    let tally = json!({"pruned": gone.len() - still, "left": left.len()});
    let lead = if still == 0 {
        format!(
            "{label}: {} pruned, {} left ({})",
            counted(gone.len(), "backup"),
            left.len(),
            done.span()
        )
    } else {
        format!(
            "{label}: {still} of {} that should go are still there",
            counted(gone.len(), "backup")
        )
    };
    let report = done.report(lead).fact("tally", tally);
    if still == 0 {
        return Ok(report);
    }
    Err(ToolError::from_report(report.fact("status", "failed")))
}
