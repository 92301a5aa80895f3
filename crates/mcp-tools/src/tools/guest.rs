//! `guest_get`: one guest in depth.
//!
//! A guest that was seen before and is addressed as `cluster/vmid` costs one call for its status;
//! when it is no longer where it was, it is looked for again.

mod addresses;
mod config;
pub(crate) mod snapshots;
mod status;

use std::sync::Arc;

use api_core::Error;
use async_trait::async_trait;
use estate::{Access, GuestKind, GuestRef, VmId};
use mcp_protocol::JsonObject;
use pve_client::{guest::Snapshot, lxc, qemu};
use serde::Deserialize;
use serde_json::json;

use self::{config::Config, status::Now};
use crate::{
    address::Purpose,
    error::ToolError,
    fleet::{Place, Pve},
    report::{Report, Unreachable},
    schema::{Input, Output},
    tool::{Cx, Definition, EstateTool},
    tools::parts,
    view::{Guest, GuestStatus},
};

const NAME: &str = "guest_get";
const PARTS: &[&str] = &["status", "config", "snapshots", "addresses", "backup"];
const DEFAULT_PARTS: &[&str] = &["status", "config", "addresses"];

/// Shows one guest.
pub struct GuestGet;

#[derive(Debug, Deserialize)]
struct Args {
    guest: String,
    include: Option<Vec<String>>,
}

/// Where to ask, and how that is known.
struct Spot {
    member: Arc<Pve>,
    vmid: VmId,
    place: Place,
    /// What the cluster's list says, if it was read just now.
    row: Option<Guest>,
    notes: Vec<String>,
}

/// What was read; each part beside the status can be missing on its own.
struct Parts {
    now: Now,
    config: Option<Result<Config, Error>>,
    snapshots: Option<Result<Vec<Snapshot>, Error>>,
}

#[async_trait]
impl EstateTool for GuestGet {
    fn definition(&self) -> Definition {
        Definition {
            name: NAME,
            title: "Show a guest",
            description: "One VM or container in depth. Default: status, config, addresses.",
            input: Input::new().guest().choices("include", PARTS, ""),
            output: Output::new()
                .fact("guest", "string")
                .fact("name", "string")
                .fact("kind", "string")
                .fact("node", "string")
                .fact("status", "string")
                .table("disks")
                .table("nets")
                .table("addresses")
                .table("snapshots"),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let args: Args = cx.args(args)?;
        let wanted = |part: &str| match &args.include {
            Some(parts) if !parts.is_empty() => parts.iter().any(|wanted| wanted == part),
            _ => DEFAULT_PARTS.contains(&part),
        };
        let mut spot = match remembered(cx, &args.guest)? {
            Some(spot) => spot,
            None => found(cx, &args.guest).await?,
        };
        let mut read = read(&spot, &wanted).await;
        if spot.row.is_none() && read.as_ref().is_err_and(|error| !error.is_permission_denied()) {
            // It moved, it is gone, or its node is: the cluster knows.
            spot.member.forget(spot.vmid);
            spot = found(cx, &args.guest).await?;
            read = self::read(&spot, &wanted).await;
        }
        let parts = match read {
            Ok(parts) => parts,
            Err(error) => return away(&spot, &error),
        };
        // Large with all its parts: on the heap, not in every caller.
        Ok(Box::pin(report(cx, &spot, parts, &wanted)).await)
    }
}

/// The guest as `cluster/vmid`, if it was seen before.
fn remembered(cx: &Cx, text: &str) -> Result<Option<Spot>, ToolError> {
    let Ok(at) = text.trim().parse::<GuestRef>() else { return Ok(None) };
    let members = cx.fleet.pve(Some(at.cluster.as_str()))?;
    let spot = members.into_iter().find_map(|member| {
        let place = member.place(at.vmid)?;
        Some(Spot { member, vmid: at.vmid, place, row: None, notes: Vec::new() })
    });
    Ok(spot)
}

async fn found(cx: &Cx, text: &str) -> Result<Spot, ToolError> {
    let found = cx.fleet.find_guest(text, Purpose::Read).await?;
    let place = Place { node: found.guest.node.clone(), kind: found.guest.kind };
    Ok(Spot {
        member: found.member,
        vmid: found.guest.at.vmid,
        place,
        row: Some(found.guest),
        notes: found.notes,
    })
}

async fn read(spot: &Spot, wanted: &impl Fn(&str) -> bool) -> Result<Parts, Error> {
    let Spot { member, vmid, place: Place { node, kind }, .. } = spot;
    let (client, vmid, kind) = (&member.client, *vmid, *kind);
    let now = async {
        match kind {
            GuestKind::Qemu => client.call(qemu::status(node, vmid)).await.map(Now::from),
            GuestKind::Lxc => client.call(lxc::status(node, vmid)).await.map(Now::from),
        }
    };
    let config = async {
        if !wanted("config") {
            return None;
        }
        Some(config::read(client, node, kind, vmid).await)
    };
    let snapshots = async {
        if !wanted("snapshots") {
            return None;
        }
        Some(match kind {
            GuestKind::Qemu => client.call(qemu::snapshots(node, vmid)).await,
            GuestKind::Lxc => client.call(lxc::snapshots(node, vmid)).await,
        })
    };
    let (now, config, snapshots) = futures::join!(now, config, snapshots);
    Ok(Parts { now: now?, config, snapshots })
}

async fn report(cx: &Cx, spot: &Spot, parts: Parts, wanted: &impl Fn(&str) -> bool) -> Report {
    let at = GuestRef { cluster: spot.member.key.clone(), vmid: spot.vmid };
    let Parts { now, config, snapshots } = parts;
    let mut report = status::lead(&at, &spot.place, &now);
    if wanted("status") {
        report = status::tell(report, &now, spot.row.as_ref());
    }
    let agent = match &config {
        Some(Ok(config)) => config.agent_enabled(),
        _ => now.agent,
    };
    report = match config {
        Some(Ok(config)) => config.tell(report, &at),
        Some(Err(error)) => parts::missing(report, "the configuration", &error),
        None => report,
    };
    report = match snapshots {
        Some(Ok(snapshots)) => snapshots::tell(report, &at, &snapshots, cx.now()),
        Some(Err(error)) => parts::missing(report, "the snapshots", &error),
        None => report,
    };
    if wanted("addresses") {
        report = addresses::tell(report, spot, &now, agent).await;
    }
    if wanted("backup") {
        report = Box::pin(parts::backup(report, cx, &spot.member, &spot.place, &at)).await;
    }
    if now.lock.is_some() {
        report = report.next("tasks_list", json!({"guest": at.to_string()}));
    }
    report.notes.extend(spot.notes.iter().cloned());
    report
}

/// The guest is there, but what its node would say cannot be had.
fn away(spot: &Spot, error: &Error) -> Result<Report, ToolError> {
    let at = GuestRef { cluster: spot.member.key.clone(), vmid: spot.vmid };
    let is_silent = error.is_unreachable();
    let gone = match &spot.row {
        Some(row) if is_silent || row.status == GuestStatus::Unknown => row,
        _ => return Err(ToolError::api(format_args!("read guest {at}"), error)),
    };
    let what = format!("{}/{}", spot.member.key, gone.node);
    let why = stdx::Chain(error).to_string();
    let name = super::power::named(gone);
    let kind = gone.kind_word();
    let mut report = Report::new(if is_silent {
        format!("{name}: {kind} of unknown state, because its node {} does not answer", gone.node)
    } else {
        format!("{name}: {kind} of unknown state on {}: {why}", gone.node)
    })
    .fact("guest", at.to_string())
    .fact("name", &*gone.name)
    .fact("kind", gone.kind_word())
    .fact("node", gone.node.as_str())
    .fact("status", GuestStatus::Unknown.as_str())
    .next("cluster_status", json!({"cluster": at.cluster.as_str()}));
    if is_silent {
        report.unreachable.push(Unreachable { what, why });
    }
    report.notes.extend(spot.notes.iter().cloned());
    Ok(report)
}

#[cfg(test)]
mod tests;
