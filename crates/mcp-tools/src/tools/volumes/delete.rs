//! `volume_delete`: removes one volume for good, after looking whose it is and who uses it.

use std::sync::Arc;

use async_trait::async_trait;
use estate::Access;
use mcp_protocol::JsonObject;
use pve_client::storage::{self, ContentKind, Volume};
use serde::Deserialize;
use serde_json::json;

use super::{refs::Refs, spot::Spot};
use crate::{
    address::{Purpose, quoted},
    error::ToolError,
    plan::{ActionTool, Done, Plan, Step, Undo},
    report::{Report, age, bytes},
    schema::{Input, Output},
    tool::{Cx, Definition},
    tools::power::{named, object},
    view::Guest,
};

/// How many guests' configurations are read to tell who uses a volume.
const CONFIGS: usize = 500;

/// Deletes a volume.
pub(super) struct VolumeDelete;

#[derive(Debug, Deserialize)]
struct Args {
    volume: String,
    cluster: Option<String>,
    node: Option<String>,
}

#[async_trait]
impl ActionTool for VolumeDelete {
    fn definition(&self) -> Definition {
        Definition {
            name: "volume_delete",
            title: "Delete a volume",
            description: "Deletes one volume of a PVE storage for good: a disk no guest uses, a \
                backup, an image. Refuses what is in use or protected.",
            input: Input::new()
                .text("volume", "storage:path or cluster/storage:path")
                .required("volume")
                .cluster()
                .node(),
            output: Output::new()
                .fact("volume", "string")
                .fact("status", "string")
                .fact("upid", "string")
                .fact("bytes", "integer")
                .fact("cause", "string"),
            access: Access::Destroy,
            idempotent: false,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Destroy
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        let Some((storage, path)) = args.volume.trim().split_once(':') else {
            return Err(ToolError::new(format!("{} is no volume", quoted(&args.volume)))
                .hint("write it as storage:path, as storage_content lists it"));
        };
        let (cluster, node) = (args.cluster.as_deref(), args.node.as_deref());
        let spot = Spot::find(cx, cluster, storage, node, Purpose::Write).await?;
        let row = spot.one()?;
        let id = format!("{}:{path}", spot.name);
        let call = storage::content(&row.node, &row.name, None, None);
        let volumes = spot.member.client.call(call).await.map_err(|error| {
            ToolError::api(format!("read the contents of {}", spot.at()), &error)
        })?;
        let Some(volume) = volumes.iter().find(|volume| volume.id == id) else {
            let what = format!("{} has no volume {}", spot.at(), quoted(&id));
            let list = json!({"storage": spot.at()});
            return Err(ToolError::not_found(what).next("storage_content", object(list)));
        };
        let what = format!("deletion of {}/{id}", spot.member.key);
        let path = format!("/storage/{}", spot.name);
        let any: &[&str] = if volume.content == ContentKind::Backup {
            &["Datastore.Allocate", "Datastore.AllocateSpace"]
        } else {
            &["Datastore.Allocate"]
        };
        spot.need(&what, &[(any, path)])?;
        if volume.protected {
            let report = Report::new(format!("{what} was not tried: it is protected"));
            return Err(ToolError::from_report(report.fact("status", "refused"))
                .hint("somebody protected it: ask them, then take the protection off"));
        }
        let mut plan = Plan::new(what.as_str())
            .target(
                format!("{}/{id}", spot.member.key),
                [
                    ("size", volume.size_bytes.to_string()),
                    ("created", volume.created.map(|at| at.to_string()).unwrap_or_default()),
                ],
            )
            .fact("volume", format!("{}/{id}", spot.member.key))
            .fact("bytes", volume.size_bytes);
        plan = match volume.content {
            ContentKind::Backup => backup(cx, &spot, volume, &volumes, plan),
            _ => used(&spot, volume, &volumes, plan, &what).await?,
        };
        let (member, node, name) = (Arc::clone(&spot.member), row.node.clone(), row.name.clone());
        let step = Step::pve(
            &member,
            what.as_str(),
            storage::delete_volume(&node, &name, &volume.id, None),
        )
        .task(&["imgdel"], String::new());
        let size = volume.size_bytes;
        Ok(plan.step(step).settle(move |_, done| async move {
            let left = member.client.call(storage::content(&node, &name, None, None)).await;
            settle(&done, &id, size, left)
        }))
    }
}

fn settle(
    done: &Done,
    id: &str,
    size: u64,
    left: Result<Vec<Volume>, api_core::Error>,
) -> Result<Report, ToolError> {
    match left {
        Ok(volumes) if volumes.iter().any(|volume| volume.id == id) => {
            let lead = format!("{id}: the task ended {}, but it is still there", done.ended());
            Err(ToolError::from_report(done.report(lead).fact("status", "failed")))
        }
        Ok(_) => Ok(done.report(format!("{id} is deleted, {} ({})", bytes(size), done.span()))),
        Err(error) => Ok(done
            .report(format!("{id}: the task ended {}", done.ended()))
            .note(format!("that it is gone could not be seen: {}", stdx::Chain(&error)))),
    }
}

/// What a backup is, and what is left of its guest.
fn backup(cx: &Cx, spot: &Spot, volume: &Volume, all: &[Volume], plan: Plan) -> Plan {
    let when = volume.created.map(|at| format!(", {} old", age(at, cx.now()))).unwrap_or_default();
    let Some(vmid) = volume.vmid else {
        return plan
            .effect(format!("a backup of {}{when} is lost", bytes(volume.size_bytes)))
            .undo(Undo::Never("the backup is destroyed".to_owned()));
    };
    let guest = spot.view.guests.iter().find(|guest| guest.at.vmid == vmid);
    let whose = guest.map_or_else(
        || format!("{}/{vmid}, which is no guest of it any more", spot.member.key),
        named,
    );
    let mut plan =
        plan.effect(format!("a backup of {whose} of {}{when} is lost", bytes(volume.size_bytes)));
    let others: Vec<&Volume> = all
        .iter()
        .filter(|it| {
            it.content == ContentKind::Backup && it.vmid == Some(vmid) && it.id != volume.id
        })
        .collect();
    plan = match others.iter().filter_map(|it| it.created).max() {
        _ if others.is_empty() => {
            plan.warn("last_backup", format!("it is the only backup of {vmid} on {}", spot.at()))
        }
        Some(newest) => {
            let plan = plan.effect(format!(
                "{} of it stay on this storage, the newest {} old",
                crate::tools::tally::counted(others.len(), "backup"),
                age(newest, cx.now())
            ));
            if volume.created.is_some_and(|at| at > newest) {
                plan.warn("newest_backup", "it is the newest backup of the guest on this storage")
            } else {
                plan
            }
        }
        None => plan,
    };
    plan.undo(Undo::Never("the backup is destroyed".to_owned()))
}

/// Refuses what a guest or another volume needs, and says whose the rest is.
async fn used(
    spot: &Spot,
    volume: &Volume,
    all: &[Volume],
    mut plan: Plan,
    what: &str,
) -> Result<Plan, ToolError> {
    let refused = |why: String| {
        let report = Report::new(format!("{what} was not tried: {why}"));
        ToolError::from_report(report.fact("status", "refused"))
    };
    let clones: Vec<String> = all
        .iter()
        .filter(|other| other.parent.as_deref().is_some_and(|it| is_parent(it, &volume.id)))
        .map(|other| other.id.clone())
        .collect();
    if !clones.is_empty() {
        return Err(refused(format!("linked clones read from it: {}", clones.join(", ")))
            .hint("delete them first, or make them full clones (disk_move)"));
    }
    let away: Vec<&str> = spot.view.offline_nodes().map(|node| node.name.as_str()).collect();
    let owner = spot.view.guests.iter().find(|guest| Some(guest.at.vmid) == volume.vmid);
    // The owner first: of many guests not all are read.
    let mut guests: Vec<&Guest> = owner.into_iter().collect();
    guests.extend(spot.view.guests.iter().filter(|guest| Some(guest.at.vmid) != volume.vmid));
    let silent = guests.iter().filter(|guest| away.contains(&guest.node.as_str())).count();
    guests.retain(|guest| !away.contains(&guest.node.as_str()));
    if let Some(owner) = owner
        && away.contains(&owner.node.as_str())
    {
        return Err(refused(format!(
            "node {} of its guest {} does not answer, so whether it is in use is not known",
            owner.node,
            named(owner)
        )));
    }
    let unread = guests.len().saturating_sub(CONFIGS) + silent;
    guests.truncate(CONFIGS);
    let (mine, others): (Vec<&Guest>, Vec<&Guest>) =
        guests.into_iter().partition(|guest| Some(guest.at.vmid) == volume.vmid);
    let (mine, others) = futures::join!(
        Refs::read(&spot.member, mine, true),
        Refs::read(&spot.member, others, false)
    );
    if let Some(why) = mine.unread.first() {
        return Err(refused(format!("the configuration of its guest could not be read: {why}")));
    }
    let uses: Vec<_> = mine.of(&volume.id).iter().chain(others.of(&volume.id)).collect();
    let held: Vec<String> = uses.iter().filter(|it| !it.is_unused()).map(|it| it.words()).collect();
    if !held.is_empty() {
        return Err(refused(format!("it is in use by {}", held.join(", "))).hint(
            "detach it there first (guest_configure), or delete the snapshot that names it",
        ));
    }
    for unused in &uses {
        plan = plan.warn(
            "unused_entry",
            format!(
                "{} still lists it as unused: that entry stays and points to nothing",
                unused.words()
            ),
        );
    }
    let unread = unread + others.unread.len();
    if unread > 0 {
        plan = plan.warn(
            "unread",
            format!("{unread} guest configurations could not be read: one of them could name it"),
        );
    }
    let whose = match (owner, volume.vmid) {
        (Some(guest), _) => format!("it bears the id of {}, which does not name it", named(guest)),
        (None, Some(vmid)) => {
            format!("it bears the id {vmid}, and {} shows no such guest", spot.member.key)
        }
        (None, None) => "it belongs to no guest".to_owned(),
    };
    plan = plan.effect(format!("{} of {} are gone", bytes(volume.size_bytes), volume.content));
    plan = plan.effect(whose);
    let sees_all = spot.held.as_deref().is_none_or(|held| held.has("/vms", "VM.Audit"));
    if !sees_all && owner.is_none() && volume.vmid.is_some() {
        plan = plan.warn("unseen_guests", "the token does not see all guests: one could use it");
    }
    let undo = match volume.content {
        ContentKind::Iso | ContentKind::Template | ContentKind::Import => {
            Undo::By("fetch it again (storage_download)".to_owned())
        }
        _ => Undo::Never("what is on it is destroyed".to_owned()),
    };
    Ok(plan.undo(undo))
}

fn is_parent(parent: &str, volume: &str) -> bool {
    let name = volume.split_once(':').map_or(volume, |(_, name)| name);
    let parent = parent.split('@').next().unwrap_or(parent);
    !name.is_empty()
        && (parent == volume || parent == name || parent.ends_with(&format!("/{name}")))
}
