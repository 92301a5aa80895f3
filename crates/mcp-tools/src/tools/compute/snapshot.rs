//! `snapshot_rollback` and `snapshot_delete`.

use std::sync::Arc;

use async_trait::async_trait;
use estate::{Access, GuestKind};
use jiff::Timestamp;
use mcp_protocol::JsonObject;
use pve_client::{guest::Snapshot, lxc, qemu};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    place::{Rights, Site},
    subject::{Subject, plain, shown},
};
use crate::{
    address::quoted,
    error::ToolError,
    fleet::Pve,
    follow::state::State,
    plan::{ActionTool, Done, Plan, Step, Undo},
    report::{Cell, Report, Table, age, rfc3339},
    schema::{Input, Output},
    tool::{Cx, Definition},
    tools::{
        power::{named, object},
        safety::{self, Ground, Kept, Wish},
    },
    view::Guest,
};

/// What a snapshot's configuration has of its own; the guest keeps its description.
const OWN: &[&str] = &[
    "snaptime",
    "parent",
    "vmstate",
    "description",
    "digest",
    "runningcpu",
    "runningmachine",
    "running-nets-host-mtu",
    "snapstate",
    "lock",
    "meta",
];

/// Takes a guest back to a snapshot.
pub(super) struct SnapshotRollback;

/// Removes a snapshot.
pub(super) struct SnapshotDelete;

#[derive(Debug, Deserialize)]
struct RollbackArgs {
    guest: String,
    name: String,
    #[serde(default)]
    start: bool,
    safety: Option<String>,
}

#[derive(Debug, Deserialize)]
struct DeleteArgs {
    guest: String,
    name: String,
}

#[async_trait]
impl ActionTool for SnapshotRollback {
    fn definition(&self) -> Definition {
        Definition {
            name: "snapshot_rollback",
            title: "Roll back to a snapshot",
            description: "Takes disks and configuration of a guest back to a snapshot: what was \
                written since is lost to it, and kept before where that can be. A running guest is \
                stopped.",
            input: safety::argument(
                Input::new()
                    .guest()
                    .text("name", "")
                    .required("name")
                    .boolean("start", "start it afterwards"),
            ),
            output: Output::new()
                .fact("guest", "string")
                .fact("snapshot", "string")
                .fact("kept", "string")
                .fact("state", "string")
                .fact("status", "string")
                .fact("upid", "string")
                .fact("cause", "string"),
            access: Access::Destroy,
            idempotent: false,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Destroy
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: RollbackArgs = cx.args(args)?;
        let subject = Subject::read(cx, &args.guest).await?;
        let all = snapshots(&subject).await?;
        let snapshot = find(&subject, &all, &args.name)?;
        let what = format!("rollback of {} to {}", subject.name(), snapshot.name);
        subject.parts.is_free(&subject.guest, "rollback")?;
        if subject.guest.is_template() {
            return Err(subject.refused(&what, "a template never changes"));
        }
        if let Some(state) = &snapshot.state {
            return Err(subject
                .refused(&what, format!("the snapshot is unfinished ({})", shown(state)))
                .hint("delete it: snapshot_delete"));
        }
        let site = Site::of(cx, Arc::clone(&subject.member)).await?;
        is_newest_where_needed(&subject, &site, &all, snapshot, &what).await?;
        let mut rights = Rights::default();
        let paths = [format!("/vms/{}", subject.guest.at.vmid)];
        let pool = subject.guest.pool.as_ref().map(|pool| format!("/pool/{pool}"));
        // Either of two privileges does; the second is checked where the first is not held.
        let may = |privilege| {
            let held = site.held.as_deref();
            held.is_none_or(|held| paths.iter().chain(&pool).any(|path| held.has(path, privilege)))
        };
        if !may("VM.Snapshot.Rollback") {
            rights.on_guest(subject.guest.at.vmid, subject.guest.pool.as_deref(), "VM.Snapshot");
        }
        if args.start {
            rights.on_guest(subject.guest.at.vmid, subject.guest.pool.as_deref(), "VM.PowerMgmt");
        }
        rights.check(&what, &site)?;
        let will_run = args.start || snapshot.with_memory;
        let (node, vmid) = (&subject.guest.node, subject.guest.at.vmid);
        let start = (args.start && !snapshot.with_memory).then_some(true);
        let request = match subject.guest.kind {
            GuestKind::Qemu => qemu::rollback(node, vmid, &snapshot.name, start),
            GuestKind::Lxc => lxc::rollback(node, vmid, &snapshot.name, start),
        };
        let step = Step::pve(&subject.member, what.as_str(), request)
            .task(&["qmrollback", "vzrollback"], vmid.to_string());
        let names: Vec<&str> = all.iter().map(|one| one.name.as_str()).collect();
        let plan = subject
            .plan(&what)
            .target(subject.guest.at.to_string(), [("snapshots", names.join(","))])
            .fact("snapshot", snapshot.name.as_str());
        let ground = Ground {
            member: &subject.member,
            guest: &subject.guest,
            parts: &subject.parts,
            view: &site.view,
            held: site.held.as_deref(),
        };
        let wish = Wish::read(args.safety.as_deref());
        let (plan, kept) = ground.before_rollback(plan, &wish, &names).await?;
        let undo = undo(&ground, kept.as_ref(), subject.state.status.is_on());
        let mut plan = lost(plan.step(step).undo(undo), &all, snapshot, cx.now());
        if kept.as_ref().is_some_and(|kept| kept.snapshot().is_none()) {
            plan = plan.effect("its snapshots are lost if that backup is restored over it");
        }
        plan = differences(plan, &subject, snapshot).await;
        plan = plan.effect(match (subject.state.status.is_on(), will_run, snapshot.with_memory) {
            (true, true, true) => {
                "the guest is stopped, and goes on as it ran when the snapshot was made"
            }
            (true, true, false) => {
                "the guest is stopped at once, and starts again from the snapshot's disks"
            }
            (true, false, _) => "the guest is stopped at once, and stays off",
            (false, true, true) => {
                "the guest runs afterwards, as it ran when the snapshot was made"
            }
            (false, true, false) => "the guest is started afterwards",
            (false, false, _) => "the guest stays off",
        });
        if subject.state.ha_managed {
            plan = plan.warn("ha", "HA manages it, and may start it as soon as it is stopped");
        }
        let was_on = subject.state.status.is_on();
        let time = snapshot.time;
        let now = cx.now();
        let (member, guest) = (Arc::clone(&subject.member), subject.guest.clone());
        let name = snapshot.name.clone();
        Ok(site.tell_plan(plan).settle(move |_, done| async move {
            let ended = back(member, guest, name, time.map(|time| age(time, now)), was_on, done);
            let told = |report| kept.iter().fold(report, |report, kept| kept.tell(report));
            match ended.await {
                Ok(report) => Ok(told(report)),
                Err(error) => Err(error.map(told)),
            }
        }))
    }
}

#[async_trait]
impl ActionTool for SnapshotDelete {
    fn definition(&self) -> Definition {
        Definition {
            name: "snapshot_delete",
            title: "Delete a snapshot",
            description: "Removes one snapshot of a guest, which stays as it is; the snapshots \
                after it stay, too.",
            input: Input::new().guest().text("name", "").required("name"),
            output: Output::new()
                .fact("guest", "string")
                .fact("snapshot", "string")
                .fact("status", "string")
                .fact("upid", "string")
                .fact("cause", "string"),
            access: Access::Destroy,
            idempotent: false,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Destroy
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: DeleteArgs = cx.args(args)?;
        let subject = Subject::read(cx, &args.guest).await?;
        let all = snapshots(&subject).await?;
        let snapshot = find(&subject, &all, &args.name)?;
        let what = format!("deletion of snapshot {} of {}", snapshot.name, subject.name());
        subject.parts.is_free(&subject.guest, "deletion of a snapshot")?;
        let site = Site::of(cx, Arc::clone(&subject.member)).await?;
        let mut rights = Rights::default();
        rights.on_guest(subject.guest.at.vmid, subject.guest.pool.as_deref(), "VM.Snapshot");
        rights.check(&what, &site)?;
        let (node, vmid) = (&subject.guest.node, subject.guest.at.vmid);
        let request = match subject.guest.kind {
            GuestKind::Qemu => qemu::delete_snapshot(node, vmid, &snapshot.name, false),
            GuestKind::Lxc => lxc::delete_snapshot(node, vmid, &snapshot.name, false),
        };
        let step = Step::pve(&subject.member, what.as_str(), request)
            .task(&["qmdelsnapshot", "vzdelsnapshot"], vmid.to_string());
        let made = snapshot
            .time
            .map(|time| format!(" of {} ({} ago)", rfc3339(time), age(time, cx.now())));
        let after: Vec<&str> = all
            .iter()
            .filter(|one| !one.is_current() && one.parent.as_deref() == Some(&*snapshot.name))
            .map(|one| one.name.as_str())
            .collect();
        let mut plan = subject
            .plan(&what)
            .step(step)
            .fact("snapshot", snapshot.name.as_str())
            .effect(format!("nobody can go back to {}{} any more", snapshot.name, made.unwrap_or_default()))
            .effect("the guest stays as it is; on storages of files the merge can take long and load them")
            .undo(Undo::Never("a snapshot that is deleted is gone".to_owned()));
        if !after.is_empty() {
            plan = plan.effect(format!("the snapshots after it stay: {}", after.join(", ")));
        }
        let (member, guest) = (Arc::clone(&subject.member), subject.guest.clone());
        let name = snapshot.name.clone();
        Ok(site.tell_plan(plan).settle(move |_, done| gone(member, guest, name, done)))
    }
}

async fn read(member: &Pve, guest: &Guest) -> Result<Vec<Snapshot>, api_core::Error> {
    match guest.kind {
        GuestKind::Qemu => member.client.call(qemu::snapshots(&guest.node, guest.at.vmid)).await,
        GuestKind::Lxc => member.client.call(lxc::snapshots(&guest.node, guest.at.vmid)).await,
    }
}

async fn snapshots(subject: &Subject) -> Result<Vec<Snapshot>, ToolError> {
    read(&subject.member, &subject.guest).await.map_err(|error| {
        ToolError::api(format!("list the snapshots of {}", subject.name()), &error)
    })
}

fn find<'a>(subject: &Subject, all: &'a [Snapshot], name: &str) -> Result<&'a Snapshot, ToolError> {
    let mut real = all.iter().filter(|one| !one.is_current());
    if let Some(found) = real.find(|one| one.name == name) {
        return Ok(found);
    }
    let mut table = Table::new("snapshots", &["snapshot", "time"]);
    for one in all.iter().filter(|one| !one.is_current()) {
        table.push(vec![Cell::text(&one.name), Cell::opt(one.time.map(rfc3339))]);
    }
    Err(ToolError::not_found(format!("{} has no snapshot {}", subject.name(), quoted(name)))
        .choices(table))
}

/// The snapshots that were made from `of`, directly or by way of others.
fn descendants<'a>(all: &'a [Snapshot], of: &str) -> Vec<&'a str> {
    let mut found: Vec<&str> = Vec::new();
    let mut open = vec![of];
    while let Some(parent) = open.pop() {
        for one in all.iter().filter(|one| !one.is_current()) {
            let name = one.name.as_str();
            if one.parent.as_deref() == Some(parent) && !found.contains(&name) && name != of {
                found.push(name);
                open.push(name);
            }
        }
    }
    found
}

/// The call that brings back what the guest is now.
fn undo(ground: &Ground<'_>, kept: Option<&Kept>, was_on: bool) -> Undo {
    let Some(kept) = kept else {
        return Undo::Never("what was written since is lost".to_owned());
    };
    let Some(name) = kept.snapshot() else { return ground.restore_over(kept) };
    let mut args = json!({"guest": ground.guest.at.to_string(), "name": name});
    if was_on {
        args["start"] = true.into();
    }
    Undo::Call("snapshot_rollback", object(args))
}

/// Refuses where the storage can only go back to its newest snapshot and this is not it.
async fn is_newest_where_needed(
    subject: &Subject,
    site: &Site,
    all: &[Snapshot],
    snapshot: &Snapshot,
    what: &str,
) -> Result<(), ToolError> {
    let (member, guest) = (&subject.member, &subject.guest);
    let needs = safety::newest_only(member, &site.view, guest, &subject.parts).await;
    let Some((storage, sort)) = needs else { return Ok(()) };
    let newer: Vec<&str> = all
        .iter()
        .filter(|one| !one.is_current() && one.name != snapshot.name && one.time > snapshot.time)
        .map(|one| one.name.as_str())
        .collect();
    if newer.is_empty() {
        return Ok(());
    }
    Err(subject
        .refused(
            what,
            format!(
                "storage {storage} ({sort}) goes back to its newest snapshot only, and newer ones are there: {}",
                newer.join(", ")
            ),
        )
        .hint("delete the newer ones first (snapshot_delete), or clone the guest from this snapshot (guest_clone)"))
}

/// What is lost.
fn lost(mut plan: Plan, all: &[Snapshot], snapshot: &Snapshot, now: Timestamp) -> Plan {
    let since = match snapshot.time {
        Some(time) => format!("since {} ({} ago)", rfc3339(time), age(time, now)),
        None => "since the snapshot".to_owned(),
    };
    plan = plan
        .warn("data_lost", format!("everything that the guest wrote to its disks {since} is lost"));
    let after = descendants(all, &snapshot.name);
    if !after.is_empty() {
        plan = plan.effect(format!(
            "the snapshots made after it stay, and can be gone back to: {}",
            after.join(", ")
        ));
    }
    plan
}

/// Options that are others in the snapshot: the configuration goes back, too.
async fn differences(mut plan: Plan, subject: &Subject, snapshot: &Snapshot) -> Plan {
    let (node, vmid) = (&subject.guest.node, subject.guest.at.vmid);
    let (then, now) = match subject.guest.kind {
        GuestKind::Qemu => (
            qemu::snapshot_config(node, vmid, &snapshot.name).cast::<Map<String, Value>>(),
            qemu::current_config(node, vmid).cast::<Map<String, Value>>(),
        ),
        GuestKind::Lxc => (
            lxc::snapshot_config(node, vmid, &snapshot.name).cast(),
            lxc::current_config(node, vmid).cast(),
        ),
    };
    let client = &subject.member.client;
    let (then, now) = futures::join!(client.call(then), client.call(now));
    let (then, now) = match (then, now) {
        (Ok(then), Ok(now)) => (then, now),
        (Err(error), _) | (_, Err(error)) => {
            return plan.note(format!(
                "what changes in the configuration is not known: {}",
                stdx::Chain(&error)
            ));
        }
    };
    let mut keys: Vec<&String> = then.keys().chain(now.keys()).collect();
    keys.sort();
    keys.dedup();
    for key in keys.into_iter().filter(|key| !OWN.contains(&key.as_str())) {
        // PVE masks a password in the one and not in the other; unused disks stay.
        if key == "cipassword" || key.starts_with("unused") {
            continue;
        }
        let side = |config: &Map<String, Value>| config.get(key).map(plain);
        let (before, after) = (side(&now), side(&then));
        if before != after {
            let words = |value: Option<String>| value.map_or("-".to_owned(), |value| shown(&value));
            plan = plan.change(key.as_str(), words(before), words(after));
        }
    }
    plan
}

async fn back(
    member: Arc<Pve>,
    guest: Guest,
    name: String,
    old: Option<String>,
    was_on: bool,
    done: Done,
) -> Result<Report, ToolError> {
    let (all, state) = futures::join!(
        read(&member, &guest),
        State::read(&member.client, guest.kind, &guest.node, guest.at.vmid),
    );
    let of = named(&guest);
    let ended = done.ended();
    let at = match &all {
        Ok(all) => all.iter().find(|one| one.is_current()).and_then(|one| one.parent.clone()),
        Err(_) => Some(name.clone()),
    };
    if at.as_deref() != Some(&*name) {
        let lead = format!("{of}: the task ended {ended}, but it does not stand after {name}");
        return Err(ToolError::from_report(done.report(lead).fact("status", "failed")));
    }
    let old = old.map(|old| format!(" of {old} ago")).unwrap_or_default();
    let at = guest.at.to_string();
    Ok(match state {
        Ok(state) => {
            let word = state.status.as_str().to_owned();
            let report = done
                .report(format!("{of} is back at {name}{old} and is {word} ({})", done.span()))
                .fact("state", word);
            if was_on && !state.status.is_on() {
                report
                    .note("it ran before, and is off now")
                    .next("guest_power", json!({"guest": at, "action": "start"}))
            } else {
                report.next("guest_get", json!({"guest": at}))
            }
        }
        Err(error) => done
            .report(format!("{of} is back at {name}{old}"))
            .note(format!("whether it runs could not be read: {}", stdx::Chain(&error))),
    })
}

async fn gone(
    member: Arc<Pve>,
    guest: Guest,
    name: String,
    done: Done,
) -> Result<Report, ToolError> {
    let of = named(&guest);
    let next = object(json!({"guest": guest.at.to_string()}));
    let report = match read(&member, &guest).await {
        Ok(all) if all.iter().any(|one| one.name == name) => {
            let lead = format!(
                "snapshot {name} of {of}: the task ended {}, but it is still there",
                done.ended()
            );
            return Err(ToolError::from_report(done.report(lead).fact("status", "failed")));
        }
        Ok(_) => done.report(format!("snapshot {name} of {of} is deleted ({})", done.span())),
        Err(error) => done
            .report(format!("snapshot {name} of {of}: the task ended {}", done.ended()))
            .note(format!("it could not be read back: {}", stdx::Chain(&error))),
    };
    Ok(report.next("snapshot_list", Value::Object(next)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_are_found_through_others() {
        let all: Vec<Snapshot> = serde_json::from_value(json!([
            {"name": "a"}, {"name": "b", "parent": "a"}, {"name": "c", "parent": "b"},
            {"name": "d", "parent": "a"}, {"name": "current", "parent": "c"},
        ]))
        .unwrap();
        let mut found = descendants(&all, "a");
        found.sort_unstable();
        assert_eq!(found, ["b", "c", "d"]);
        assert!(descendants(&all, "c").is_empty());
    }
}
