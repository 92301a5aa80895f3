//! `disks_list`: disks with what SMART says of them, and what is built on them: thin pools, volume
//! groups, pools of ZFS.

use std::sync::Arc;

use api_core::Error;
use async_trait::async_trait;
use estate::{Access, NodeName};
use mcp_protocol::JsonObject;
use serde::Deserialize;

use super::{
    ask::{Missing, Where, everywhere},
    page::{Page, Rows},
    smart,
};
use crate::{
    error::ToolError,
    fleet::{Pbs, Pve},
    report::{Cell, Report, Table, percent},
    schema::{Input, Output},
    tool::{Cx, Definition, EstateTool},
    tools::tally::counted,
};

const NAME: &str = "disks_list";

/// From this share of life left on, in percent, a disk is told as worn.
const WORN_PERCENT: f64 = 10.0;
/// A thin pool whose metadata is full stops, and cannot be saved easily: told early.
const METADATA_FULL: f64 = 0.80;
/// How full a pool may be before it stands out.
const POOL_FULL: f64 = 0.90;

/// Lists disks.
pub struct DisksList;

#[derive(Debug, Deserialize)]
struct Args {
    cluster: Option<String>,
    node: Option<String>,
    disk: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// What one host told; each part can be refused on its own.
#[derive(Debug)]
struct Storage {
    disks: Result<Vec<Disk>, Error>,
    thin: Result<Vec<Thin>, Error>,
    groups: Result<Vec<Group>, Error>,
    zfs: Result<Vec<Zfs>, Error>,
}

#[derive(Clone, Debug)]
struct Disk {
    path: String,
    kind: String,
    size: Option<u64>,
    health: String,
    /// Percent of its life that is left.
    left: Option<f64>,
    used: Option<String>,
    model: Option<String>,
    serial: Option<String>,
}

#[derive(Clone, Debug)]
struct Thin {
    name: String,
    used: u64,
    size: u64,
    metadata_used: u64,
    metadata_size: u64,
}

#[derive(Clone, Debug)]
struct Group {
    name: String,
    size: u64,
    free: u64,
    disks: Vec<String>,
}

#[derive(Clone, Debug)]
struct Zfs {
    name: String,
    health: String,
    size: u64,
    used: u64,
    fragmented: Option<f64>,
    /// Of a pool that is not well: what is wrong with it.
    wrong: Vec<String>,
}

#[async_trait]
impl EstateTool for DisksList {
    fn definition(&self) -> Definition {
        Definition {
            name: NAME,
            title: "List disks",
            description: "Disks with SMART health and wear, LVM, thin pools with metadata fill, ZFS pool health; what is wrong first. disk with node: its SMART values.",
            input: Input::new().cluster().node().text("disk", "/dev/sda").paged(),
            output: Output::new()
                .fact("disk_count", "integer")
                .fact("problem_count", "integer")
                .table("disks")
                .table("thin_pools")
                .table("zfs_pools")
                .table("volume_groups")
                .table("attributes"),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let query = args.clone();
        let args: Args = cx.args(args)?;
        let place = Where { cluster: args.cluster.as_deref(), node: args.node.as_deref() };
        if let Some(disk) = args.disk.as_deref().filter(|disk| !disk.trim().is_empty()) {
            return smart::one(cx, place, disk.trim()).await;
        }
        let page = Page::of(NAME, &query, args.cursor.as_deref(), args.limit)?;
        let asked = everywhere(cx, place, of_node, of_server).await?;
        let (heard, mut missing) = asked.heard("disks", |it| it, |it| it);
        let mut parts = Parts::default();
        let mut others = ["thin pools", "volume groups", "ZFS pools"].map(Missing::new);
        for (at, storage) in &heard {
            match &storage.disks {
                Ok(disks) => disks.iter().for_each(|disk| parts.disk(at, disk)),
                Err(error) => missing.add(at.clone(), error),
            }
            match &storage.thin {
                Ok(pools) => pools.iter().for_each(|pool| parts.thin(at, pool)),
                Err(error) => others[0].add(at.clone(), error),
            }
            match &storage.groups {
                Ok(groups) => groups.iter().for_each(|group| parts.group(at, group)),
                Err(error) => others[1].add(at.clone(), error),
            }
            match &storage.zfs {
                Ok(pools) => pools.iter().for_each(|pool| parts.zfs(at, pool)),
                Err(error) => others[2].add(at.clone(), error),
            }
        }
        let hosts = heard.len();
        let mut report = parts.report(hosts, page);
        for missing in others {
            report = missing.tell(report);
        }
        Ok(asked.tell(missing.tell(report)))
    }
}

/// The rows of all tables.
#[derive(Default)]
struct Parts {
    disks: Rows,
    thin: Rows,
    zfs: Rows,
    groups: Rows,
    notes: Vec<String>,
}

// === impl Parts ===

impl Parts {
    fn disk(&mut self, at: &str, disk: &Disk) {
        let is_sick =
            !matches!(disk.health.to_ascii_uppercase().as_str(), "PASSED" | "OK" | "UNKNOWN");
        let is_worn = disk.left.is_some_and(|left| left <= WORN_PERCENT);
        let problem = match (is_sick, is_worn) {
            (true, _) => Some("replace it: SMART says that it fails"),
            (false, true) => Some("worn: plan to replace it"),
            _ => None,
        };
        let left = disk.left.map_or_else(Cell::none, |left| Cell::with(left, format!("{left}%")));
        self.disks.push(
            problem.is_some(),
            vec![
                Cell::text(at),
                Cell::text(&*disk.path),
                Cell::text(&*disk.kind),
                disk.size.map_or_else(Cell::none, Cell::bytes),
                Cell::text(&*disk.health),
                left,
                Cell::opt(disk.used.clone()),
                Cell::opt(disk.model.clone()),
                Cell::opt(disk.serial.clone()),
                Cell::opt(problem),
            ],
        );
    }

    fn thin(&mut self, at: &str, pool: &Thin) {
        let share = |used: u64, size: u64| if size > 0 { used as f64 / size as f64 } else { 0.0 };
        let (data, metadata) =
            (share(pool.used, pool.size), share(pool.metadata_used, pool.metadata_size));
        let problem = if metadata >= METADATA_FULL {
            Some(
                "metadata nearly full: the pool stops when it is, extend it (lvextend --poolmetadatasize)",
            )
        } else if data >= POOL_FULL {
            Some("nearly full: guests stop when it is")
        } else {
            None
        };
        self.thin.push(
            problem.is_some(),
            vec![
                Cell::text(at),
                Cell::text(&*pool.name),
                Cell::share(data),
                Cell::bytes(pool.size),
                Cell::share(metadata),
                Cell::opt(problem),
            ],
        );
    }

    fn group(&mut self, at: &str, group: &Group) {
        self.groups.push(
            false,
            vec![
                Cell::text(at),
                Cell::text(&*group.name),
                Cell::bytes(group.size),
                Cell::bytes(group.free),
                Cell::words(&group.disks),
            ],
        );
    }

    fn zfs(&mut self, at: &str, pool: &Zfs) {
        let share = if pool.size > 0 { pool.used as f64 / pool.size as f64 } else { 0.0 };
        let problem = match pool.health.as_str() {
            "ONLINE" if share >= POOL_FULL => Some("nearly full".to_owned()),
            "ONLINE" => None,
            _ if pool.wrong.is_empty() => Some("see zpool status".to_owned()),
            _ => Some(pool.wrong.join("; ")),
        };
        let fragmented = pool.fragmented;
        self.zfs.push(
            problem.is_some(),
            vec![
                Cell::text(at),
                Cell::text(&*pool.name),
                Cell::text(&*pool.health),
                Cell::share(share),
                Cell::bytes(pool.size),
                fragmented.map_or_else(Cell::none, |part| Cell::with(part, percent(part / 100.0))),
                Cell::opt(problem),
            ],
        );
    }

    fn report(self, hosts: usize, page: Page) -> Report {
        let count = self.disks.len();
        let problems =
            self.disks.wrong() + self.thin.wrong() + self.zfs.wrong() + self.groups.wrong();
        let lead = match hosts {
            0 => "nobody told of disks".to_owned(),
            _ => format!(
                "{} on {}: {}, {} thin pools, {} ZFS pools",
                counted(count, "disk"),
                counted(hosts, "host"),
                if problems == 0 { "no problems".to_owned() } else { counted(problems, "problem") },
                self.thin.len(),
                self.zfs.len(),
            ),
        };
        let columns = [
            "host",
            "disk",
            "type",
            "size",
            "health",
            "life_left",
            "used",
            "model",
            "serial",
            "problem",
        ];
        let mut disks = Table::new("disks", &columns);
        page.fill(&mut disks, self.disks.into_rows(true));
        let known = (hosts > 0).then_some(count);
        let mut report = Report::new(lead)
            .fact("disk_count", known)
            .fact("problem_count", known.map(|_| problems));
        report.notes = self.notes;
        let mut tables = Vec::new();
        let thin = ["host", "pool", "use", "size", "metadata", "problem"];
        let zfs = ["host", "pool", "health", "use", "size", "fragmented", "problem"];
        let groups = ["host", "group", "size", "free", "disks"];
        for (name, columns, rows) in [
            ("thin_pools", &thin[..], self.thin),
            ("zfs_pools", &zfs[..], self.zfs),
            ("volume_groups", &groups[..], self.groups),
        ] {
            let mut table = Table::new(name, columns);
            table.rows = rows.into_rows(true);
            tables.push(table);
        }
        // What is wrong with a pool matters more than the disks that are well.
        let tables = tables.into_iter().filter(|table| !table.rows.is_empty());
        tables.fold(report, Report::table).table(disks)
    }
}

async fn of_node(member: Arc<Pve>, node: NodeName) -> Result<Storage, Error> {
    use pve_client::disks;

    let client = &member.client;
    let (all, thin, groups, zfs) = futures::join!(
        client.call(disks::list(&node, false)),
        client.call(disks::thin_pools(&node)),
        client.call(disks::lvm(&node)),
        client.call(disks::zfs(&node)),
    );
    if let Err(error) = &all
        && error.is_unreachable()
    {
        return Err(all.expect_err("seen above"));
    }
    let disks = all.map(|all| {
        let whole = all.into_iter().filter(|disk| disk.parent.is_none());
        let disks = whole.map(|disk| Disk {
            path: disk.path,
            kind: disk.kind.unwrap_or_default(),
            size: disk.size_bytes,
            health: disk.health.unwrap_or_else(|| "UNKNOWN".to_owned()),
            left: disk.wearout.map(|left| left as f64),
            used: disk.used,
            model: disk.model,
            serial: disk.serial,
        });
        disks.collect()
    });
    let thin = thin.map(|all| {
        let all = all.into_iter().map(|pool| Thin {
            name: format!("{}/{}", pool.group.unwrap_or_default(), pool.name),
            used: pool.used_bytes,
            size: pool.size_bytes,
            metadata_used: pool.metadata_used_bytes,
            metadata_size: pool.metadata_size_bytes,
        });
        all.collect()
    });
    let groups = groups.map(|tree| {
        let all = tree.children.into_iter().map(|group| Group {
            name: group.name,
            size: group.size_bytes,
            free: group.free_bytes,
            disks: group.children.into_iter().map(|disk| disk.name).collect(),
        });
        all.collect()
    });
    let zfs = match zfs {
        Ok(all) => {
            let mut pools = Vec::new();
            for pool in all {
                let mut wrong = Vec::new();
                if pool.health != "ONLINE"
                    && let Ok(status) = client.call(disks::zfs_pool(&node, &pool.name)).await
                {
                    wrong = status
                        .children
                        .into_iter()
                        .flat_map(|it| Device::from(it).broken())
                        .collect();
                }
                pools.push(Zfs {
                    name: pool.name,
                    health: pool.health,
                    size: pool.size_bytes,
                    used: pool.allocated_bytes,
                    fragmented: pool.fragmentation,
                    wrong,
                });
            }
            Ok(pools)
        }
        // There is no ZFS on this node.
        Err(error) if error.message().contains("not installed") => Ok(Vec::new()),
        Err(error) => Err(error),
    };
    Ok(Storage { disks, thin, groups, zfs })
}

async fn of_server(member: Arc<Pbs>) -> Result<Storage, Error> {
    use pbs_client::node;

    let client = &member.client;
    let (all, zfs) = futures::join!(client.call(node::disks(false)), client.call(node::zfs()));
    if let Err(error) = &all
        && error.is_unreachable()
    {
        return Err(all.expect_err("seen above"));
    }
    let disks = all.map(|all| {
        let disks = all.into_iter().map(|disk| Disk {
            path: disk.path.unwrap_or(disk.name),
            kind: disk.kind.unwrap_or_default(),
            size: disk.size_bytes,
            health: disk.status.unwrap_or_else(|| "unknown".to_owned()),
            left: disk.wearout,
            used: disk.used,
            model: disk.model,
            serial: disk.serial,
        });
        disks.collect()
    });
    let zfs = match zfs {
        Ok(all) => {
            let mut pools = Vec::new();
            for pool in all {
                let mut wrong = Vec::new();
                if pool.health != "ONLINE"
                    && let Ok(status) = client.call(node::zfs_pool(&pool.name)).await
                {
                    wrong = Device::from(status).broken();
                }
                pools.push(Zfs {
                    name: pool.name,
                    health: pool.health,
                    size: pool.size_bytes,
                    used: pool.allocated_bytes,
                    fragmented: pool.fragmentation,
                    wrong,
                });
            }
            Ok(pools)
        }
        // A server without ZFS has no program to ask.
        Err(error) if error.message().contains("No such file or directory") => Ok(Vec::new()),
        Err(error) => Err(error),
    };
    Ok(Storage { disks, thin: Ok(Vec::new()), groups: Ok(Vec::new()), zfs })
}

/// A part of a pool, of either product.
struct Device {
    name: String,
    state: String,
    errors: u64,
    parts: Vec<Self>,
}

impl From<pve_client::disks::ZfsDevice> for Device {
    fn from(it: pve_client::disks::ZfsDevice) -> Self {
        let errors = [it.read_errors, it.write_errors, it.checksum_errors];
        Self {
            name: it.name,
            state: it.state.unwrap_or_default(),
            errors: errors.into_iter().flatten().sum(),
            parts: it.children.into_iter().map(Self::from).collect(),
        }
    }
}

impl From<pbs_client::node::ZfsDevice> for Device {
    fn from(it: pbs_client::node::ZfsDevice) -> Self {
        let errors = [it.read_errors, it.write_errors, it.checksum_errors];
        Self {
            name: it.name,
            state: it.state.unwrap_or_default(),
            errors: errors.into_iter().flatten().sum(),
            parts: it.children.into_iter().map(Self::from).collect(),
        }
    }
}

// === impl Device ===

impl Device {
    /// The leaves that are not well.
    fn broken(&self) -> Vec<String> {
        if !self.parts.is_empty() {
            return self.parts.iter().flat_map(Self::broken).collect();
        }
        let is_well = matches!(self.state.as_str(), "ONLINE" | "AVAIL" | "") && self.errors == 0;
        if is_well {
            Vec::new()
        } else {
            vec![format!("{} {}, {} errors", self.name, self.state, self.errors)]
        }
    }
}
