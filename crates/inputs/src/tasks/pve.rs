//! One look at a Proxmox VE cluster.

use std::collections::BTreeSet;

use api_core::{Error, Request};
use estate::{GuestKind, NodeName, TaskStatus, Upid, VmId};
use event_core::Subject;
use jiff::{SignedDuration, Timestamp};
use pve_client::{
    Client, ceph,
    cluster::{
        self, ClusterTask, LogEntry, Resource, ResourceKind,
        backup::{self, BackupJob, IncludedVolumes},
        replication,
    },
    disks, ha, nodes,
    tasks::{self, Task, TaskListParams, TaskSource},
};
use serde::de::DeserializeOwned;

use super::{
    conditions,
    cursor::Memory,
    facts,
    list::TaskRow,
    look::{LOG_ENTRIES, MAX_LINES, MAX_ROWS, Seen, Silence, Wants},
    observe,
    view::{Look, Sighting, State},
};
use crate::recognize::syslog::Entry;

/// The client, and what it could not see.
pub(super) struct Eyes {
    pub(super) client: Client,
    pub(super) silence: Silence,
}

// === impl Eyes ===

impl Eyes {
    /// Looks. States first and tasks after them, so that what the states show is explained by the tasks; so is the
    /// cluster's log.
    pub(super) async fn look(
        &self,
        memory: &Memory,
        wants: Wants,
        base: &Subject,
        at: Timestamp,
    ) -> Result<Seen, Error> {
        let resources = self.client.call(cluster::resources(None)).await?;
        let status = self.maybe("the cluster's status", cluster::status()).await;
        let ha = self.maybe("HA", ha::manager_status()).await;
        let mut seen = Seen { log: self.log_entries(memory).await, ..Seen::default() };
        let wrong = &mut seen.look.wrong;
        wrong.insert("nodes".to_owned(), conditions::nodes(&resources, ha.as_ref()));
        wrong.insert("storages".to_owned(), conditions::storages(&resources));
        if let Some(status) = &status {
            wrong.insert("quorum".to_owned(), conditions::quorum(status));
        }
        if let Some(ha) = &ha {
            wrong.insert("ha".to_owned(), conditions::ha(ha));
        }
        let guests: Vec<Sighting> = resources.iter().filter_map(sighting).collect();
        if let Some(cluster) = &base.cluster {
            seen.parts = facts::of_cluster(cluster, &resources, &guests);
        }
        seen.look.guests = Some(guests);
        let online: Vec<NodeName> = online(&resources).cloned().collect();
        self.parts(&online, wants, &mut seen.look, at).await;
        if wants.often {
            seen.measured = observe::storages(&resources, base, at);
        }
        if wants.pools {
            for node in &online {
                if let Some(pools) = self.maybe("thin pools", disks::thin_pools(node)).await {
                    let of_node = Subject { node: Some(node.clone()), ..base.clone() };
                    seen.measured.extend(observe::thin_pools(&pools, &of_node, at));
                }
            }
        }
        if wants.jobs {
            seen.estate = self.jobs(&resources, &online, base, at).await;
        }
        self.tasks(memory, wants, &online, &mut seen).await?;
        Ok(seen)
    }

    async fn parts(&self, online: &[NodeName], wants: Wants, look: &mut Look, at: Timestamp) {
        let wrong = &mut look.wrong;
        let replicates = wants.often
            && self
                .maybe("replication", replication::jobs())
                .await
                .is_some_and(|jobs| !jobs.is_empty());
        for node in online {
            let mut put = |part: &str, found| wrong.insert(format!("{part}/{node}"), found);
            if replicates
                && let Some(jobs) = self.maybe("replication", replication::status(node, None)).await
            {
                put("replication", conditions::replication(node, &jobs));
            }
            if wants.pools
                && let Some(pools) = self.maybe("ZFS pools", disks::zfs(node)).await
            {
                put("zfs", conditions::zfs(node, &pools));
            }
            if wants.disks
                && let Some(disks) = self.maybe("disks", disks::list(node, false)).await
            {
                put("disks", conditions::disks(node, &disks));
            }
            if wants.seldom {
                if let Some(list) = self.maybe("certificates", nodes::certificates(node)).await {
                    let ends = list.iter().map(|it| (it.filename.as_str(), it.not_after));
                    put("certificates", conditions::certificates(node, ends, at));
                }
                if let Some(list) = self.maybe("updates", nodes::updates(node)).await {
                    let names: Vec<&str> = list.iter().map(|it| it.package.as_str()).collect();
                    put("updates", conditions::updates(node, &names));
                }
            }
        }
        if wants.pools
            && let Some(status) = self.maybe("Ceph", ceph::status()).await
        {
            wrong.insert("ceph".to_owned(), conditions::ceph(&status));
        }
    }

    async fn tasks(
        &self,
        memory: &Memory,
        wants: Wants,
        online: &[NodeName],
        seen: &mut Seen,
    ) -> Result<(), Error> {
        let known = &memory.known;
        let recent = self.client.call(cluster::tasks()).await?;
        let mut rows: Vec<TaskRow> = recent.iter().filter_map(of_cluster).collect();
        let gaps = known.gaps(&rows);
        let was_offline = |node: &NodeName| {
            let nodes = memory.view.wrong.get("nodes").into_iter().flatten();
            nodes.into_iter().any(|(_, it)| it.place.node.as_ref() == Some(node))
        };
        for node in online {
            let Some(floor) = known.floor(node) else { continue };
            if wants.relist || gaps.contains(node) || was_offline(node) {
                let list = TaskListParams {
                    since: Some(floor),
                    source: Some(TaskSource::All),
                    limit: Some(MAX_ROWS),
                    ..TaskListParams::default()
                };
                let list = self.maybe("a node's tasks", tasks::list(node, list)).await;
                rows.extend(list.iter().flatten().filter_map(of_node));
            }
        }
        for upid in known.missing(&rows) {
            if !online.contains(upid.node()) {
                continue;
            }
            match self.client.call(tasks::list(upid.node(), exactly(upid.started()))).await {
                Ok(list) => match list.iter().find(|task| task.upid == upid) {
                    Some(task) => rows.extend(of_node(task)),
                    None => seen.gone.push(upid),
                },
                Err(error) => self.silence.note("a task that ended unseen", &error),
            }
        }
        seen.rows = rows;
        Ok(())
    }

    async fn jobs(
        &self,
        resources: &[Resource],
        online: &[NodeName],
        base: &Subject,
        at: Timestamp,
    ) -> Option<rules::Estate> {
        let jobs = self.maybe("backup jobs", backup::jobs()).await?;
        let uncovered = self.maybe("guests in no backup job", backup::not_backed_up()).await?;
        let templates: BTreeSet<VmId> =
            resources.iter().filter(|row| row.template).filter_map(|row| row.vmid).collect();
        let mut covered: Vec<(BackupJob, Option<IncludedVolumes>)> = Vec::new();
        for job in jobs {
            let included = self.maybe("a job's guests", backup::included_volumes(&job.id)).await;
            covered.push((job, included));
        }
        let mut runs = Vec::new();
        for node in online {
            let list = TaskListParams {
                kind: Some("vzdump".to_owned()),
                since: at.checked_sub(observe::LATELY).ok(),
                source: Some(TaskSource::Archive),
                limit: Some(MAX_ROWS),
                ..TaskListParams::default()
            };
            let list = self.maybe("a node's backups", tasks::list(node, list)).await;
            runs.extend(list.into_iter().flatten().map(|task| (task.started, task.ended)));
        }
        Some(observe::backups(&covered, &uncovered, &templates, observe::longest(runs), base))
    }

    /// The log of a task, as far as it is read.
    pub(super) async fn log(&self, upid: &Upid) -> Vec<String> {
        let lines = self.maybe("the log of a backup", tasks::log(upid, 0, Some(MAX_LINES))).await;
        lines.into_iter().flatten().map(|line| line.text).collect()
    }

    /// The latest entries of the cluster's log: so many that nothing is missing since the last look, if it can be.
    async fn log_entries(&self, memory: &Memory) -> Option<Vec<Entry>> {
        let ask = async |most| {
            let entries = self.maybe("the cluster's log", cluster::log(Some(most))).await?;
            Some((entries.len(), entries.into_iter().filter_map(entry).collect::<Vec<Entry>>()))
        };
        let (count, entries) = ask(LOG_ENTRIES.0).await?;
        let is_whole = count < LOG_ENTRIES.0 as usize || !memory.journal.is_gap(&entries);
        if is_whole { Some(entries) } else { Some(ask(LOG_ENTRIES.1).await?.1) }
    }

    async fn maybe<T: DeserializeOwned>(
        &self,
        what: &'static str,
        request: Request<T>,
    ) -> Option<T> {
        match self.client.call(request).await {
            Ok(reply) => Some(reply),
            Err(error) => {
                self.silence.note(what, &error);
                None
            }
        }
    }
}

fn entry(line: LogEntry) -> Option<Entry> {
    Some(Entry {
        node: line.node?,
        pid: line.pid.unwrap_or_default(),
        uid: line.uid?,
        time: line.time?,
        priority: line.priority,
        tag: line.tag,
        user: line.user,
        message: line.message,
    })
}

fn exactly(started: Timestamp) -> TaskListParams {
    TaskListParams {
        since: Some(started),
        until: started.checked_add(SignedDuration::from_secs(1)).ok(),
        source: Some(TaskSource::All),
        limit: Some(MAX_ROWS),
        ..TaskListParams::default()
    }
}

fn online(resources: &[Resource]) -> impl Iterator<Item = &NodeName> {
    let nodes = resources.iter().filter(|row| row.kind == ResourceKind::Node);
    nodes.filter(|row| row.status == "online").filter_map(|row| row.node.as_ref())
}

fn sighting(row: &Resource) -> Option<Sighting> {
    let kind = match row.kind {
        ResourceKind::Qemu => GuestKind::Qemu,
        ResourceKind::Lxc => GuestKind::Lxc,
        _ => return None,
    };
    if row.template {
        return None;
    }
    let state = match row.status.as_str() {
        "unknown" | "" => None,
        "stopped" => Some(State::Stopped),
        _ => Some(State::Running),
    };
    Some(Sighting {
        vmid: row.vmid?,
        kind,
        name: row.name.clone(),
        node: row.node.clone()?,
        state,
        is_locked: row.lock.as_deref().is_some_and(|lock| !lock.is_empty()),
        is_ha: row.ha_state.is_some(),
    })
}

fn of_cluster(task: &ClusterTask) -> Option<TaskRow> {
    let end = match (task.ended, task.status.as_deref()) {
        (Some(at), status) => Some((at, TaskStatus::parse(status.unwrap_or("unknown")))),
        (None, None | Some("RUNNING")) => None,
        // An end without a time: the list of its node has it.
        (None, Some(_)) => return None,
    };
    Some(TaskRow { upid: task.upid.clone(), end })
}

fn of_node(task: &Task) -> Option<TaskRow> {
    let end = match (task.ended, task.outcome()) {
        (Some(at), outcome) => {
            Some((at, outcome.unwrap_or_else(|| TaskStatus::Failed("unknown".to_owned()))))
        }
        (None, None) => None,
        (None, Some(_)) => return None,
    };
    Some(TaskRow { upid: task.upid.clone(), end })
}
