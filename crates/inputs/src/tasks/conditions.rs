//! From replies of the APIs to what is wrong. Pure; each function is one part that is looked at.

use std::collections::BTreeMap;

use estate::{NodeName, VmId};
use event_core::{Kind, Severity};
use jiff::{SignedDuration, Timestamp};
use pbs_client::datastores::DatastoreUsage;
use pve_client::{
    ceph::CephStatus,
    cluster::{ClusterStatus, MemberKind, Resource, ResourceKind, replication::ReplicationStatus},
    disks::{Disk, ZfsPool},
    ha::HaManagerStatus,
};

use super::view::{Condition, Place};

/// What is wrong in one part, by [`Condition::id`].
pub(super) type Wrong = BTreeMap<String, Condition>;

/// A certificate that ends within that time is a warning.
const EXPIRES: SignedDuration = SignedDuration::from_hours(14 * 24);
/// And within that an error.
const EXPIRES_SOON: SignedDuration = SignedDuration::from_hours(3 * 24);
/// A disk with less of its life left, in percent, is worn.
const WORN: i64 = 10;

fn one(kind: Kind, severity: Severity, place: Place, title: String) -> Condition {
    Condition { kind, severity, place, what: None, title, message: String::new() }
}

fn wrong(conditions: impl IntoIterator<Item = Condition>) -> Wrong {
    conditions.into_iter().map(|condition| (condition.id(), condition)).collect()
}

/// Nodes that do not answer. One that HA has in maintenance is where its operator wants it.
pub(super) fn nodes(resources: &[Resource], ha: Option<&HaManagerStatus>) -> Wrong {
    let nodes = resources.iter().filter(|row| row.kind == ResourceKind::Node);
    let offline = nodes.filter(|row| row.status == "offline").filter_map(|row| row.node.as_ref());
    wrong(offline.map(|node| {
        let state = ha.and_then(|ha| ha.manager.nodes.get(node.as_str())).map(String::as_str);
        let (severity, title) = match state {
            Some("maintenance") => {
                (Severity::Info, format!("node {node} does not answer; it is in maintenance"))
            }
            _ => (Severity::Error, format!("node {node} does not answer")),
        };
        one(Kind::NodeOffline, severity, Place::node(node), title)
    }))
}

/// A cluster without quorum.
pub(super) fn quorum(status: &[ClusterStatus]) -> Wrong {
    let cluster = status.iter().find(|row| row.kind == MemberKind::Cluster);
    let lost = cluster.filter(|row| row.quorate == Some(false));
    wrong(lost.map(|row| {
        let title = format!("cluster {} has no quorum", row.name);
        one(Kind::QuorumLost, Severity::Critical, Place::default(), title)
    }))
}

/// Guests that HA cannot keep, and nodes that it fences.
pub(super) fn ha(status: &HaManagerStatus) -> Wrong {
    let services = status.manager.services.iter().filter(|(_, service)| service.state == "error");
    let services = services.map(|(sid, service)| {
        let vmid = sid.split(':').nth(1).and_then(|id| id.parse::<VmId>().ok());
        let place = Place { vmid, node: service.node.clone(), ..Place::default() };
        one(
            Kind::HaError,
            Severity::Error,
            place,
            format!("HA cannot keep {sid} as it should be: its state is error"),
        )
    });
    let fenced = status.manager.nodes.iter().filter(|(_, state)| *state == "fence");
    let fenced = fenced.filter_map(|(node, _)| {
        let node: NodeName = node.parse().ok()?;
        let title = format!("HA fences node {node}");
        Some(one(Kind::NodeFenced, Severity::Critical, Place::node(&node), title))
    });
    wrong(services.chain(fenced))
}

/// Replication jobs of a node's guests that fail.
pub(super) fn replication(node: &NodeName, jobs: &[ReplicationStatus]) -> Wrong {
    let failing = jobs.iter().filter(|job| job.fail_count > 0 && !job.disabled);
    wrong(failing.map(|job| {
        let place = Place {
            vmid: Some(job.guest),
            node: Some(node.clone()),
            job: Some(job.id.clone()),
            ..Place::default()
        };
        let to = job.target.as_ref().map_or_else(String::new, |target| format!(" to {target}"));
        let title = format!("replication {} of guest {}{to} fails", job.id, job.guest);
        let mut condition = one(Kind::ReplicationFailed, Severity::Error, place, title);
        condition.message = job.error.clone().unwrap_or_default();
        condition
    }))
}

/// Storages that do not answer on nodes that do.
pub(super) fn storages(resources: &[Resource]) -> Wrong {
    let is_up = |node: &NodeName| {
        resources.iter().any(|row| {
            row.kind == ResourceKind::Node
                && row.node.as_ref() == Some(node)
                && row.status == "online"
        })
    };
    let silent = resources.iter().filter(|row| {
        row.kind == ResourceKind::Storage
            && !matches!(row.status.as_str(), "available" | "")
            && row.node.as_ref().is_some_and(is_up)
    });
    wrong(silent.filter_map(|row| {
        let (node, storage) = (row.node.as_ref()?, row.storage.as_ref()?);
        let place = Place { storage: Some(storage.clone()), ..Place::node(node) };
        let title = format!("storage {storage} does not answer on {node}: {}", row.status);
        Some(one(Kind::StorageError, Severity::Error, place, title))
    }))
}

/// ZFS pools that are not whole.
pub(super) fn zfs(node: &NodeName, pools: &[ZfsPool]) -> Wrong {
    wrong(pools.iter().filter(|pool| pool.health != "ONLINE").map(|pool| {
        let title = format!("ZFS pool {} on {node} is {}", pool.name, pool.health);
        let mut condition = one(Kind::PoolDegraded, Severity::Critical, Place::node(node), title);
        condition.what = Some(pool.name.clone());
        condition
    }))
}

/// Ceph's health, by its checks.
pub(super) fn ceph(status: &CephStatus) -> Wrong {
    let checks = status.health.checks.iter().filter(|(_, check)| !check.muted);
    wrong(checks.map(|(code, check)| {
        let (kind, severity) = if check.severity == "HEALTH_ERR" {
            (Kind::CephError, Severity::Error)
        } else {
            (Kind::CephWarning, Severity::Warning)
        };
        let says = check.summary.as_ref().map_or("", |summary| summary.message.as_str());
        let mut condition = one(kind, severity, Place::default(), format!("Ceph {code}: {says}"));
        condition.what = Some(code.clone());
        let details: Vec<&str> =
            check.detail.iter().take(50).map(|detail| detail.message.as_str()).collect();
        condition.message = details.join("\n");
        condition
    }))
}

/// Certificates that end soon: names and ends.
pub(super) fn certificates<'a>(
    node: &NodeName,
    certificates: impl IntoIterator<Item = (&'a str, Option<Timestamp>)>,
    at: Timestamp,
) -> Wrong {
    wrong(certificates.into_iter().filter_map(|(name, end)| {
        let left = end?.duration_since(at);
        let severity = match left {
            left if left < EXPIRES_SOON => Severity::Error,
            left if left < EXPIRES => Severity::Warning,
            _ => return None,
        };
        let title = format!("certificate {name} of {node} ends at {}", end?);
        let mut condition = one(Kind::CertificateExpiring, severity, Place::node(node), title);
        condition.what = Some(name.to_owned());
        Some(condition)
    }))
}

/// Newer packages.
pub(super) fn updates(node: &NodeName, packages: &[&str]) -> Wrong {
    let some = (!packages.is_empty()).then(|| {
        let title = format!("{} newer packages for {node}", packages.len());
        let mut condition = one(Kind::UpdatesAvailable, Severity::Info, Place::node(node), title);
        condition.message = packages[..packages.len().min(200)].join("\n");
        condition
    });
    wrong(some)
}

/// Disks that fail or are worn.
pub(super) fn disks(node: &NodeName, disks: &[Disk]) -> Wrong {
    wrong(disks.iter().flat_map(|disk| {
        let name = disk.serial.clone().unwrap_or_else(|| disk.path.clone());
        let model = disk.model.clone().unwrap_or_default();
        let words = format!("disk {} ({model} {name}) of {node}", disk.path);
        let make = |kind, severity, says: String| {
            let title = format!("{words} {says}");
            let mut condition = one(kind, severity, Place::node(node), title);
            condition.what = Some(name.clone());
            condition
        };
        // Other words (UNKNOWN, N/A) mean that the disk does not tell.
        let failing = disk
            .health
            .as_deref()
            .filter(|health| health.to_ascii_uppercase().starts_with("FAIL"))
            .map(|health| make(Kind::DiskFailing, Severity::Error, format!("says {health}")));
        let worn = disk.wearout.filter(|left| *left < WORN).map(|left| {
            let says = format!("has {left} % of its life left");
            make(Kind::DiskWorn, Severity::Warning, says)
        });
        failing.into_iter().chain(worn)
    }))
}

/// Datastores that cannot be read.
pub(super) fn datastores(usages: &[DatastoreUsage]) -> Wrong {
    // One in maintenance is as its operator wants it.
    let broken = usages.iter().filter(|usage| usage.maintenance.is_none());
    wrong(broken.filter_map(|usage| {
        let error = usage.error.as_ref()?;
        let place = Place { datastore: Some(usage.name.clone()), ..Place::default() };
        let title = format!("datastore {} cannot be read: {error}", usage.name);
        Some(one(Kind::StorageError, Severity::Error, place, title))
    }))
}

#[cfg(test)]
mod tests;
