//! `guest_delete`: removes a guest with its disks, after saying what goes, what stays and what
//! still names it.

use std::sync::Arc;

use api_core::{Error, ErrorKind};
use async_trait::async_trait;
use estate::{Access, GuestKind};
use futures::{future::join_all, join};
use jiff::Timestamp;
use mcp_protocol::JsonObject;
use pve_client::{
    cluster::{backup, replication},
    guest::Snapshot,
    lxc::{self, LxcDeleteParams},
    qemu::{self, QemuDeleteParams},
    storage::{self, ContentKind, Volume},
};
use serde::Deserialize;
use serde_json::json;

use super::{
    clone::volume_words,
    parts::Parts,
    place::{Rights, Site},
};
use crate::{
    address::Purpose,
    error::ToolError,
    fleet::Pve,
    follow::state::State,
    plan::{ActionTool, Done, Plan, Step, Undo},
    report::{Report, age, bytes},
    schema::{Input, Output},
    tool::{Cx, Definition},
    tools::{
        power::{named, object},
        safety::{self, Ground, Wish},
    },
    view::Guest,
};

/// The most things of one sort that a sentence names.
const NAMED: usize = 10;

/// Removes a guest.
pub(super) struct GuestDelete;

#[derive(Debug, Deserialize)]
struct Args {
    guest: String,
    #[serde(default)]
    purge: bool,
    #[serde(default)]
    unreferenced_disks: bool,
    safety: Option<String>,
}

/// What hangs on the guest.
struct Ties {
    parts: Parts,
    state: State,
    snapshots: Result<Vec<Snapshot>, Error>,
    jobs: Result<Vec<String>, Error>,
    replication: Result<Vec<String>, Error>,
    backups: Vec<Volume>,
    /// Storages that did not tell which backups they hold.
    unseen: Vec<String>,
    clones: Vec<String>,
}

#[async_trait]
impl ActionTool for GuestDelete {
    fn definition(&self) -> Definition {
        Definition {
            name: "guest_delete",
            title: "Delete a guest",
            description: "Deletes a stopped VM or container with its disks and snapshots, for \
                good; it is backed up before where that can be, and backups stay. plan: true lists \
                what goes and what still names it.",
            input: safety::argument(
                Input::new()
                    .guest()
                    .boolean("purge", "also from HA, replication and backup jobs")
                    .boolean("unreferenced_disks", "also disks of its id that it does not name"),
            ),
            output: Output::new()
                .fact("guest", "string")
                .fact("status", "string")
                .fact("upid", "string")
                .fact("cause", "string")
                .fact("kept", "string")
                .fact("backups", "integer"),
            access: Access::Destroy,
            idempotent: false,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Destroy
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        let found = cx.fleet.find_guest(&args.guest, Purpose::Write).await?;
        let guest = found.guest;
        let mut site = Site::of(cx, Arc::clone(&found.member)).await?;
        site.notes = found.notes;
        let ties = Ties::read(&site, &guest).await?;
        let what = format!("deletion of {}", named(&guest));
        ties.allow(&args, &guest, &what)?;
        let mut rights = Rights::default();
        rights.on_guest(guest.at.vmid, guest.pool.as_deref(), "VM.Allocate");
        rights.check(&what, &site)?;
        let plan = Plan::new(what.as_str())
            .target(
                guest.at.to_string(),
                [
                    ("name", guest.name.as_str()),
                    ("digest", ties.parts.digest.as_str()),
                    ("node", guest.node.as_str()),
                    ("status", ties.state.status.as_str()),
                ],
            )
            .fact("guest", guest.at.to_string())
            .fact("backups", ties.backups.len());
        let ground = Ground {
            member: &site.member,
            guest: &guest,
            parts: &ties.parts,
            view: &site.view,
            held: site.held.as_deref(),
        };
        let wish = Wish::read(args.safety.as_deref());
        let (plan, kept) = ground.before_loss(plan, &wish)?;
        let plan = plan.step(step(&site.member, &guest, &args, &what));
        let mut plan = ties.tell(plan, &args, kept.is_some(), cx.now());
        if let Some(kept) = &kept {
            plan = plan
                .undo(safety::restore_deleted(&guest, kept))
                .effect("undo restores that backup; snapshots, permissions, HA, replication and jobs are not in it");
        }
        let gone: Vec<u64> = ties.parts.disks().map(|volume| volume.size).collect();
        let left = ties.left(cx.now());
        let member = Arc::clone(&site.member);
        Ok(site.tell_plan(plan).settle(move |_, done| async move {
            let told = |report| kept.iter().fold(report, |report, kept| kept.tell(report));
            match settle(member, guest, gone, left, done).await {
                Ok(report) => Ok(told(report)),
                Err(error) => Err(error.map(told)),
            }
        }))
    }
}

fn step(member: &Arc<Pve>, guest: &Guest, args: &Args, what: &str) -> Step {
    let (node, vmid) = (&guest.node, guest.at.vmid);
    let (purge, stray) = (args.purge.then_some(true), args.unreferenced_disks.then_some(true));
    let step = match guest.kind {
        GuestKind::Qemu => {
            let options = QemuDeleteParams {
                purge,
                destroy_unreferenced_disks: stray,
                ..QemuDeleteParams::default()
            };
            Step::pve(member, what, qemu::delete(node, vmid, options))
        }
        GuestKind::Lxc => {
            let options = LxcDeleteParams {
                purge,
                destroy_unreferenced_disks: stray,
                ..LxcDeleteParams::default()
            };
            Step::pve(member, what, lxc::delete(node, vmid, options))
        }
    };
    step.task(&["qmdestroy", "vzdestroy"], vmid.to_string())
}

// === impl Ties ===

impl Ties {
    async fn read(site: &Site, guest: &Guest) -> Result<Self, ToolError> {
        let member = &site.member;
        let (node, vmid) = (&guest.node, guest.at.vmid);
        let snapshots = async {
            match guest.kind {
                GuestKind::Qemu => member.client.call(qemu::snapshots(node, vmid)).await,
                GuestKind::Lxc => member.client.call(lxc::snapshots(node, vmid)).await,
            }
        };
        let (parts, state, snapshots, jobs, replication, (backups, unseen)) = join!(
            Parts::read(member, guest),
            State::read(&member.client, guest.kind, node, vmid),
            snapshots,
            member.client.call(backup::jobs()),
            member.client.call(replication::jobs()),
            backups(site, guest),
        );
        let parts = parts?;
        let state = state.map_err(|error| {
            ToolError::api(format!("read the state of {}", named(guest)), &error)
        })?;
        let jobs = jobs.map(|jobs| {
            let of_guest = jobs.into_iter().filter(|job| job.vmids.contains(&vmid));
            of_guest.map(|job| job.id).collect()
        });
        let replication = replication.map(|jobs| {
            jobs.into_iter().filter(|job| job.guest == vmid).map(|job| job.id).collect()
        });
        let clones =
            if guest.is_template() { clones(site, guest, &parts).await } else { Vec::new() };
        Ok(Self { parts, state, snapshots, jobs, replication, backups, unseen, clones })
    }

    /// Refuses what the server would refuse, and says how it goes.
    fn allow(&self, args: &Args, guest: &Guest, what: &str) -> Result<(), ToolError> {
        let at = guest.at.to_string();
        let refused = |why: &str| {
            let report = Report::new(format!("{what} was not tried: {why}"));
            ToolError::from_report(report.fact("status", "refused").fact("guest", at.as_str()))
        };
        self.parts.is_free(guest, "deletion")?;
        if self.parts.protection {
            return Err(refused("it is protected")
                .hint("its protection was turned on by somebody: ask them, then turn it off (guest_configure)"));
        }
        if self.state.status.is_on() {
            let action = json!({"guest": at, "action": "shutdown"});
            return Err(refused(&format!("it is {}", self.state.status.as_str()))
                .hint("shut it down first")
                .next("guest_power", object(action)));
        }
        if !self.clones.is_empty() {
            return Err(refused(&format!(
                "linked clones read from it: {}",
                some(self.clones.iter().map(String::as_str))
            ))
            .hint("delete them first, or make them full clones (move their disks)"));
        }
        let managed = guest.is_ha_managed() || self.state.ha_managed;
        let replicated = self.replication.as_ref().is_ok_and(|jobs| !jobs.is_empty());
        if args.purge || !(managed || replicated) {
            return Ok(());
        }
        let mut by = Vec::new();
        if managed {
            by.push("HA manages it".to_owned());
        }
        if let Ok(jobs) = &self.replication
            && !jobs.is_empty()
        {
            by.push(format!("replication {} copies it", some(jobs.iter().map(String::as_str))));
        }
        let mut again = JsonObject::new();
        again.insert("guest".to_owned(), at.as_str().into());
        again.insert("purge".to_owned(), true.into());
        again.insert("plan".to_owned(), true.into());
        Err(refused(&by.join(" and "))
            .hint("purge=true takes it out of there as well")
            .next("guest_delete", again))
    }

    /// What goes, what stays, and what still names it.
    fn tell(&self, mut plan: Plan, args: &Args, is_kept: bool, now: Timestamp) -> Plan {
        let disks: Vec<String> = self.parts.disks().map(volume_words).collect();
        let total: u64 = self.parts.disks().map(|volume| volume.size).sum();
        if !disks.is_empty() {
            let words = some(disks.iter().map(String::as_str));
            plan =
                plan.effect(format!("disks that are destroyed, {} in all: {words}", bytes(total)));
        }
        match &self.snapshots {
            Ok(all) => {
                let names: Vec<&str> = all
                    .iter()
                    .filter(|one| !one.is_current())
                    .map(|one| one.name.as_str())
                    .collect();
                if !names.is_empty() {
                    let count = names.len();
                    plan = plan.effect(format!(
                        "{count} snapshots go with it: {}",
                        some(names.into_iter())
                    ));
                }
            }
            Err(error) => {
                plan = plan.note(format!("its snapshots are not known: {}", stdx::Chain(error)));
            }
        }
        if args.unreferenced_disks {
            plan = plan.warn(
                "unreferenced_disks",
                "every disk that bears its id on any storage goes, even one that another guest's configuration names; what its own does not name is in no backup",
            );
        }
        plan = plan.effect("its permissions and firewall rules go, too");
        plan = match self.left(now) {
            Some(left) => plan.effect(left),
            None if self.unseen.is_empty() && !is_kept => {
                plan.warn("no_backup", "no backup of it is known: nothing of it will be left")
            }
            None => plan,
        };
        for unseen in &self.unseen {
            plan = plan.note(format!("backups there are not known: {unseen}"));
        }
        let verb = if args.purge { "is taken out of" } else { "stays named in" };
        match &self.jobs {
            Ok(jobs) if !jobs.is_empty() => {
                let words = some(jobs.iter().map(String::as_str));
                plan = plan.effect(format!("it {verb} backup jobs: {words}"));
            }
            Ok(_) => {}
            Err(error) => {
                plan = plan.note(format!(
                    "backup jobs that name it are not known: {}",
                    stdx::Chain(error)
                ));
            }
        }
        match &self.replication {
            Ok(jobs) if !jobs.is_empty() => {
                let words = some(jobs.iter().map(String::as_str));
                plan = plan.effect(format!("it is taken out of replication: {words}"));
            }
            Ok(_) => {}
            Err(error) => {
                plan = plan.note(format!("replication of it is not known: {}", stdx::Chain(error)));
            }
        }
        if self.state.ha_managed {
            plan = plan.effect("it is taken out of HA");
        }
        plan.undo(if self.backups.is_empty() {
            Undo::Never("the disks are destroyed, and no backup is known".to_owned())
        } else {
            Undo::By("restore a backup: what came after it is lost".to_owned())
        })
    }

    /// What backups remain, and which of them was last found to be whole, in a sentence.
    fn left(&self, now: Timestamp) -> Option<String> {
        let newest = self.backups.iter().max_by_key(|volume| volume.created)?;
        let of_age = |volume: &Volume| {
            let old = volume.created.map(|then| format!(" ({} ago)", age(then, now)));
            format!("{}{}", volume.id, old.unwrap_or_default())
        };
        let is_verified =
            |volume: &&Volume| volume.verification.as_ref().is_some_and(|it| it.state == "ok");
        let verified =
            match self.backups.iter().filter(is_verified).max_by_key(|volume| volume.created) {
                None => "none of them is verified".to_owned(),
                Some(it) if it.id == newest.id => "which is verified".to_owned(),
                Some(it) => format!("the newest that is verified {}", of_age(it)),
            };
        let count = self.backups.len();
        let plural = if count == 1 { "backup stays" } else { "backups stay" };
        Some(format!("{count} {plural}, the newest {}, {verified}", of_age(newest)))
    }
}

/// The guest's backups on the storages that its node sees.
async fn backups(site: &Site, guest: &Guest) -> (Vec<Volume>, Vec<String>) {
    let holds = |content: &[String]| content.iter().any(|word| word == "backup");
    let storages = site
        .view
        .storages
        .iter()
        .filter(|storage| storage.node == guest.node && holds(&storage.content));
    let asked = storages.map(|storage| {
        let kind = ContentKind::Backup;
        let call = storage::content(&guest.node, &storage.name, Some(&kind), Some(guest.at.vmid));
        async move { (&storage.name, site.member.client.call(call).await) }
    });
    let (mut found, mut unseen) = (Vec::new(), Vec::new());
    for (name, answer) in join_all(asked).await {
        match answer {
            Ok(volumes) => found.extend(volumes.into_iter().filter(|volume| {
                // Ids of the other kind belong to a guest that is gone.
                volume.vmid == Some(guest.at.vmid)
                    && volume.guest_kind.is_none_or(|kind| kind == guest.kind)
            })),
            Err(error) => unseen.push(format!("{name}: {}", stdx::Chain(&error))),
        }
    }
    (found, unseen)
}

/// The guests whose disks read from a template's.
async fn clones(site: &Site, guest: &Guest, parts: &Parts) -> Vec<String> {
    let mut storages: Vec<_> = parts.disks().map(|volume| &volume.storage).collect();
    storages.sort();
    storages.dedup();
    let asked = storages.into_iter().map(|name| {
        let call = storage::content(&guest.node, name, Some(&ContentKind::Images), None);
        site.member.client.call(call)
    });
    let mark = format!("base-{}-", guest.at.vmid);
    let volumes = join_all(asked).await.into_iter().flatten().flatten();
    let hang = volumes.filter(|volume| {
        volume.vmid != Some(guest.at.vmid)
            && (volume.id.contains(&mark)
                || volume.parent.as_deref().is_some_and(|parent| parent.contains(&mark)))
    });
    let mut found: Vec<String> =
        hang.filter_map(|volume| Some(format!("{}/{}", guest.at.cluster, volume.vmid?))).collect();
    found.sort();
    found.dedup();
    found
}

/// The first of several, and how many more there are.
fn some<'a>(words: impl ExactSizeIterator<Item = &'a str>) -> String {
    let count = words.len();
    let first: Vec<&str> = words.take(NAMED).collect();
    let more = count.saturating_sub(first.len());
    let first = first.join(", ");
    if more == 0 { first } else { format!("{first} and {more} more") }
}

async fn settle(
    member: Arc<Pve>,
    guest: Guest,
    gone: Vec<u64>,
    left: Option<String>,
    done: Done,
) -> Result<Report, ToolError> {
    let name = named(&guest);
    member.forget(guest.at.vmid);
    let state = State::read(&member.client, guest.kind, &guest.node, guest.at.vmid).await;
    match state {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Ok(state) => {
            let lead = format!(
                "{name}: the task ended {}, but the guest is still there and {}",
                done.ended(),
                state.status.as_str()
            );
            let report = done.report(lead).fact("status", "failed");
            return Err(ToolError::from_report(
                report.next("guest_get", json!({"guest": guest.at.to_string()})),
            ));
        }
        Err(error) => {
            let lead = format!("{name}: the task ended {}", done.ended());
            let why = format!("that it is gone could not be seen: {}", stdx::Chain(&error));
            return Ok(done.report(lead).note(why));
        }
    }
    let (count, size) = (gone.len(), gone.iter().sum::<u64>());
    let plural = if count == 1 { "disk" } else { "disks" };
    let lead =
        format!("{name} is deleted with {count} {plural} of {} ({})", bytes(size), done.span());
    let report = done.report(lead);
    Ok(match left {
        Some(left) => report.note(left),
        None => report,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_are_counted() {
        let words: Vec<String> = (0..12).map(|n| n.to_string()).collect();
        assert_eq!(
            some(words.iter().map(String::as_str)),
            "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"
        );
        assert_eq!(some(words[..2].iter().map(String::as_str)), "0, 1");
    }
}
