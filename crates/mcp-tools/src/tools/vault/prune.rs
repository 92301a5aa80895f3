//! `backup_prune`: shows what a keep rule holds and what goes, and why; then does exactly that.

mod server;
mod storage;

use std::collections::BTreeMap;

use async_trait::async_trait;
use estate::Access;
use mcp_protocol::JsonObject;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::keep::Keep;
use crate::{
    error::ToolError,
    plan::{ActionTool, Plan},
    schema::{Input, Output},
    tool::{Cx, Definition},
};

/// The tool.
pub struct BackupPrune;

#[derive(Deserialize)]
struct Args {
    cluster: Option<String>,
    datastore: Option<String>,
    namespace: Option<String>,
    group: Option<String>,
    guest: Option<String>,
    storage: Option<String>,
    node: Option<String>,
    keep_last: Option<u32>,
    keep_hourly: Option<u32>,
    keep_daily: Option<u32>,
    keep_weekly: Option<u32>,
    keep_monthly: Option<u32>,
    keep_yearly: Option<u32>,
}

#[async_trait]
impl ActionTool for BackupPrune {
    fn definition(&self) -> Definition {
        let keep = 0..=10_000;
        Definition {
            name: "backup_prune",
            title: "Prune backups",
            description: "Removes what the keep rules do not hold. plan:true lists what goes, what stays and why, \
                and when the space comes back. On PBS: a group, guest, namespace or datastore; on PVE: a storage.",
            input: Input::new()
                .text("cluster", "PBS key; with storage the PVE key")
                .text("datastore", "")
                .text("namespace", "")
                .text("group", "such as vm/104")
                .text("guest", "cluster/vmid")
                .text("storage", "on PVE")
                .node()
                .integer("keep_last", keep.clone(), "")
                .integer("keep_hourly", keep.clone(), "")
                .integer("keep_daily", keep.clone(), "")
                .integer("keep_weekly", keep.clone(), "")
                .integer("keep_monthly", keep.clone(), "")
                .integer("keep_yearly", keep, ""),
            output: Output::new()
                .fact("place", "string")
                .fact("tally", "object")
                .fact("status", "string")
                .fact("upid", "string")
                .table("snapshots")
                .table("groups"),
            access: Access::Destroy,
            idempotent: false,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Destroy
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        if args.group.is_some() && args.guest.is_some() {
            return Err(ToolError::new("group and guest both say what is meant: give one"));
        }
        if args.storage.is_some() {
            if args.datastore.is_some() || args.namespace.is_some() || args.group.is_some() {
                return Err(ToolError::new(
                    "storage is on PVE, datastore, namespace and group on PBS",
                )
                .hint("give either storage with cluster or guest, or the place on PBS"));
            }
            return storage::plan(cx, &args).await;
        }
        server::plan(cx, &args).await
    }
}

// === impl Args ===

impl Args {
    fn keep(&self) -> Keep {
        Keep {
            last: self.keep_last.unwrap_or(0),
            hourly: self.keep_hourly.unwrap_or(0),
            daily: self.keep_daily.unwrap_or(0),
            weekly: self.keep_weekly.unwrap_or(0),
            monthly: self.keep_monthly.unwrap_or(0),
            yearly: self.keep_yearly.unwrap_or(0),
        }
    }
}

/// The most lines with which a person is told what goes.
const TOLD: usize = 8;

/// What goes, for the question to a person: by group, its times.
fn told(gone: impl IntoIterator<Item = (String, String)>) -> Vec<String> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (group, time) in gone {
        groups.entry(group).or_default().push(time);
    }
    let more = groups.len().saturating_sub(TOLD);
    let mut lines: Vec<String> = groups
        .into_iter()
        .take(TOLD)
        .map(|(group, times)| match times.len() {
            0..=TOLD => format!("goes of {group}: {}", times.join(", ")),
            count => format!("goes of {group}: {count}, from {} to {}", times[count - 1], times[0]),
        })
        .collect();
    if more > 0 {
        lines.push(format!("and snapshots of {more} more groups"));
    }
    lines
}

/// A short fingerprint of all that was there, so that a plan fits only what it was made for.
fn fingerprint(lines: impl IntoIterator<Item = String>) -> String {
    let mut hasher = Sha256::new();
    for line in lines {
        hasher.update(line.as_bytes());
        hasher.update(b"\n");
    }
    let head =
        hasher.finalize().iter().take(8).fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
    format!("{head:016x}")
}
