//! `updates_list`: pending package updates, what is apart within a cluster, who waits for a reboot.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api_core::Error;
use async_trait::async_trait;
use estate::{Access, NodeName};
use mcp_protocol::JsonObject;
use serde::Deserialize;

use super::{
    ask::{Missing, Where, everywhere, few},
    page::Page,
    versions::{compare, kernel_of, kind_of},
};
use crate::{
    error::ToolError,
    fleet::{Member, Pbs, Pve},
    report::{Cell, Report, Table},
    schema::{Input, Output},
    tool::{Cx, Definition, EstateTool},
    tools::tally::counted,
};

const NAME: &str = "updates_list";

/// Packages that should not differ between the nodes of a cluster for long.
const TOGETHER: &[&str] = &["pve-manager", "qemu-server", "pve-cluster", "corosync", "lxc-pve"];

/// The order in which kinds of updates are told.
const KINDS: &[&str] = &["kernel", "security?", "proxmox", "other"];

/// Lists pending updates.
pub struct UpdatesList;

#[derive(Debug, Deserialize)]
struct Args {
    cluster: Option<String>,
    node: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// What one host told of its packages; each half can be refused on its own.
#[derive(Debug)]
struct Packages {
    pending: Result<Vec<Pending>, Error>,
    installed: Result<Installed, Error>,
}

#[derive(Clone, Debug)]
struct Pending {
    package: String,
    old: Option<String>,
    new: String,
    kind: &'static str,
}

#[derive(Clone, Debug, Default)]
struct Installed {
    versions: BTreeMap<String, String>,
    running_kernel: Option<String>,
    newest_kernel: Option<String>,
}

/// One update, and where it waits.
struct Update {
    kind: &'static str,
    package: String,
    old: BTreeSet<String>,
    new: String,
    hosts: Vec<String>,
}

#[async_trait]
impl EstateTool for UpdatesList {
    fn definition(&self) -> Definition {
        Definition {
            name: NAME,
            title: "List updates",
            description: "Pending package updates by host as of the last refresh, likely security first; reboots due; versions apart within a cluster.",
            input: Input::new().cluster().node().paged(),
            output: Output::new()
                .fact("update_count", "integer")
                .fact("reboot_due", "array")
                .table("hosts")
                .table("updates"),
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
        let page = Page::of(NAME, &query, args.cursor.as_deref(), args.limit)?;
        let place = Where { cluster: args.cluster.as_deref(), node: args.node.as_deref() };
        let asked = everywhere(cx, place, of_node, of_server).await?;
        let (heard, mut refused) = asked.heard("updates", |it| it, |it| it);
        let mut unversioned = Missing::new("versions");
        let mut hosts =
            Table::new("hosts", &["host", "pending", "security?", "kernel", "reboot", "version"]);
        let mut updates: BTreeMap<(usize, String, String), Update> = BTreeMap::new();
        let (mut told, mut reboot) = (0, Vec::new());
        for (at, packages) in &heard {
            let pending = match &packages.pending {
                Ok(pending) => {
                    told += 1;
                    for one in pending {
                        add(&mut updates, one, at);
                    }
                    Some(pending)
                }
                Err(error) => {
                    refused.add(at.clone(), error);
                    None
                }
            };
            let installed = match &packages.installed {
                Ok(installed) => installed.clone(),
                Err(error) => {
                    unversioned.add(at.clone(), error);
                    Installed::default()
                }
            };
            if installed.needs_reboot() {
                reboot.push(at.clone());
            }
            hosts.push(host_row(at, pending, &installed));
        }
        let count = updates.len();
        let likely = updates.values().filter(|update| update.kind == "security?").count();
        let lead = match (told, count) {
            (0, _) => "pending updates are not known".to_owned(),
            (hosts, 0) => format!("no updates pending on {}", counted(hosts, "host")),
            (hosts, _) => format!(
                "{} pending on {}, {likely} of them likely for security",
                counted(count, "update"),
                counted(hosts, "host")
            ),
        };
        let mut report = Report::new(lead)
            .fact("update_count", (told > 0).then_some(count))
            .fact("reboot_due", reboot.clone());
        if !reboot.is_empty() {
            report = report.note(format!(
                "{} run an older kernel than the newest that is installed: a reboot is due",
                few(&reboot)
            ));
        }
        for (member, nodes) in &asked.pve.answers {
            let of_node = |answer: &Result<Packages, Error>| {
                Some(answer.as_ref().ok()?.installed.as_ref().ok()?.clone())
            };
            let all = nodes.answers.iter().filter_map(|(node, it)| Some((node, of_node(it)?)));
            report = apart(report, member.key().as_str(), &all.collect::<Vec<_>>());
        }
        let columns = ["package", "kind", "installed", "new", "hosts"];
        let mut table = Table::new("updates", &columns);
        page.fill(&mut table, updates.into_values().map(row).collect());
        let report = report.table(hosts).table(table);
        let report = if count > 0 {
            report.note("lists are as of each host's last refresh (updates_refresh); the API does not say which are for security, `security?` are Debian's stable updates")
        } else {
            report
        };
        Ok(asked.tell(unversioned.tell(refused.tell(report))))
    }
}

async fn of_node(member: Arc<Pve>, node: NodeName) -> Result<Packages, Error> {
    let (pending, installed) = futures::join!(
        member.client.call(pve_client::nodes::updates(&node)),
        member.client.call(pve_client::nodes::package_versions(&node)),
    );
    let pending = pending.map(|all| {
        let all = all.into_iter().map(|it| Pending {
            kind: kind_of(&it.package, &it.version, it.origin.as_deref()),
            package: it.package,
            old: it.old_version,
            new: it.version,
        });
        all.collect()
    });
    let installed = installed.map(|all| {
        let running = all.iter().find_map(|it| it.running_kernel.clone());
        let there = |state: Option<&str>| state.is_none_or(|state| state == "Installed");
        let all = all.into_iter().filter(|it| there(it.state.as_deref()));
        Installed::of(
            all.filter_map(|it| Some((it.package, it.old_version.or(it.version)?))),
            running,
        )
    });
    Ok(Packages { pending, installed })
}

async fn of_server(member: Arc<Pbs>) -> Result<Packages, Error> {
    let (pending, installed) = futures::join!(
        member.client.call(pbs_client::node::updates()),
        member.client.call(pbs_client::node::package_versions()),
    );
    let pending = pending.map(|all| {
        let all = all.into_iter().map(|it| Pending {
            kind: kind_of(&it.package, &it.version, it.origin.as_deref()),
            package: it.package,
            old: it.old_version,
            new: it.version,
        });
        all.collect()
    });
    let installed = installed.map(|all| {
        let running = all
            .iter()
            .find_map(|it| Some(it.extra.as_deref()?.strip_prefix("running kernel: ")?.to_owned()));
        let all = all.into_iter();
        Installed::of(
            all.filter_map(|it| Some((it.package, it.old_version.or(it.version)?))),
            running,
        )
    });
    Ok(Packages { pending, installed })
}

// === impl Installed ===

impl Installed {
    fn of(all: impl Iterator<Item = (String, String)>, running_kernel: Option<String>) -> Self {
        let versions: BTreeMap<String, String> = all.collect();
        let kernels = versions.keys().filter_map(|package| kernel_of(package));
        let newest_kernel = kernels.max_by(|a, b| compare(a, b)).map(str::to_owned);
        Self { versions, running_kernel, newest_kernel }
    }

    /// Whether a newer kernel is installed than the one that runs.
    fn needs_reboot(&self) -> bool {
        match (&self.running_kernel, &self.newest_kernel) {
            (Some(running), Some(newest)) => compare(running, newest) == Ordering::Less,
            _ => false,
        }
    }
}

fn add(updates: &mut BTreeMap<(usize, String, String), Update>, one: &Pending, at: &str) {
    let rank = KINDS.iter().position(|kind| *kind == one.kind).unwrap_or(KINDS.len());
    let update =
        updates.entry((rank, one.package.clone(), one.new.clone())).or_insert_with(|| Update {
            kind: one.kind,
            package: one.package.clone(),
            old: BTreeSet::new(),
            new: one.new.clone(),
            hosts: Vec::new(),
        });
    update.old.extend(one.old.clone());
    update.hosts.push(at.to_owned());
}

fn row(update: Update) -> Vec<Cell> {
    let old: Vec<String> = update.old.into_iter().collect();
    vec![
        Cell::text(update.package),
        Cell::text(update.kind),
        Cell::words(&old),
        Cell::text(update.new),
        Cell::with(update.hosts.clone(), few(&update.hosts).replace(", ", ",")),
    ]
}

fn host_row(at: &str, pending: Option<&Vec<Pending>>, installed: &Installed) -> Vec<Cell> {
    let count = pending.map(|all| all.len() as u64);
    let likely = pending.map(|all| all.iter().filter(|it| it.kind == "security?").count() as u64);
    let reboot = installed.needs_reboot();
    let newest = installed.newest_kernel.as_deref().unwrap_or_default();
    let main = ["pve-manager", "proxmox-backup-server"];
    let version = main.iter().find_map(|name| installed.versions.get(*name));
    vec![
        Cell::text(at),
        Cell::opt(count),
        Cell::opt(likely),
        Cell::opt(installed.running_kernel.clone()),
        if reboot { Cell::with(newest, format!("due:{newest}")) } else { Cell::none() },
        Cell::opt(version.cloned()),
    ]
}

/// Says which packages are not the same on all nodes of a cluster.
fn apart(mut report: Report, key: &str, nodes: &[(&NodeName, Installed)]) -> Report {
    for package in TOGETHER {
        let mut by_version: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (node, installed) in nodes {
            if let Some(version) = installed.versions.get(*package) {
                by_version.entry(version).or_default().push(node.as_str());
            }
        }
        if by_version.len() > 1 {
            let mut parts: Vec<_> = by_version.into_iter().collect();
            parts.sort_by(|a, b| compare(b.0, a.0));
            let parts: Vec<_> = parts
                .iter()
                .map(|(version, nodes)| format!("{version} on {}", few(nodes)))
                .collect();
            report.notes.push(format!("{key}: {package} is apart: {}", parts.join(", ")));
        }
    }
    report
}
