//! Levers for what administrators look after: services, disks, Ceph, replication, certificates.

use super::Levers;
use crate::error::SimError;
use crate::state::admin::{Host, Line};
use crate::state::{Cluster, Home, Node};

fn bad(text: String) -> SimError {
    SimError::BadLever(text)
}

/// The word as the simulator keeps it.
fn word(given: &str, known: &[&'static str]) -> Result<&'static str, SimError> {
    let found = known.iter().find(|word| **word == given).copied();
    found.ok_or_else(|| bad(format!("{given:?} is none of {}", known.join(", "))))
}

// === impl Levers ===

impl Levers {
    pub(super) fn cluster<T>(
        &self,
        target: &str,
        change: impl FnOnce(&mut Cluster) -> Result<T, SimError>,
    ) -> Result<T, SimError> {
        match self.home(target)? {
            Home::Pve(at) => change(&mut self.inner().world.estate().clusters[at]),
            Home::Pbs(_) => Err(bad(format!("{target} is a backup server"))),
        }
    }

    fn node<T>(
        &self,
        target: &str,
        node: &str,
        change: impl FnOnce(&mut Node) -> Result<T, SimError>,
    ) -> Result<T, SimError> {
        self.cluster(target, |cluster| {
            let at = cluster.node(node);
            let missing = || SimError::NoNode { target: target.to_owned(), node: node.to_owned() };
            change(&mut cluster.nodes[at.ok_or_else(missing)?])
        })
    }

    /// The host of a cluster's node, or of a backup server.
    fn host<T>(
        &self,
        target: &str,
        node: &str,
        change: impl FnOnce(&mut Host) -> Result<T, SimError>,
    ) -> Result<T, SimError> {
        match self.home(target)? {
            Home::Pve(_) => self.node(target, node, |node| change(&mut node.host)),
            Home::Pbs(at) => change(&mut self.inner().world.estate().vaults[at].host),
        }
    }

    /// Puts a node on another version than its cluster's, as in the middle of an upgrade; it still
    /// speaks the cluster's API.
    pub fn node_version(&self, target: &str, node: &str, version: &str) -> Result<(), SimError> {
        self.node(target, node, |node| {
            node.version = Some(version.to_owned());
            Ok(())
        })
    }

    /// Makes Ceph say that something is wrong: a code such as `POOL_FULL`, whether it is an error,
    /// and the words; without words it is well again.
    pub fn ceph_check(
        &self,
        target: &str,
        code: &str,
        is_error: bool,
        message: Option<&str>,
    ) -> Result<(), SimError> {
        self.cluster(target, |cluster| {
            let checks = &mut cluster.common.ceph.checks;
            match message {
                Some(text) => checks.insert(code.to_owned(), (is_error, text.to_owned())),
                None => checks.remove(code),
            };
            Ok(())
        })
    }

    /// Takes a daemon of Ceph down, or brings it back.
    pub fn ceph_osd_down(&self, target: &str, osd: usize, down: bool) -> Result<(), SimError> {
        self.cluster(target, |cluster| {
            let held = &mut cluster.common.ceph.down;
            if down {
                held.insert(osd)
            } else {
                held.remove(&osd)
            };
            Ok(())
        })
    }

    /// Sets or takes away a flag of Ceph, such as `noout`.
    pub fn ceph_flag(&self, target: &str, flag: &str, on: bool) -> Result<(), SimError> {
        self.cluster(target, |cluster| {
            let flags = &mut cluster.common.ceph.flags;
            if on {
                flags.insert(flag.to_owned())
            } else {
                flags.remove(flag)
            };
            Ok(())
        })
    }

    /// Sets a service to `running`, `dead` or `failed`.
    pub fn service_state(
        &self,
        target: &str,
        node: &str,
        service: &str,
        state: &str,
    ) -> Result<(), SimError> {
        let state = word(state, &["running", "dead", "failed"])?;
        self.host(target, node, |host| {
            match state {
                "running" => host.services.remove(service),
                _ => host.services.insert(service.to_owned(), state),
            };
            Ok(())
        })
    }

    /// Sets a pool of ZFS to `ONLINE`, `DEGRADED` or `FAULTED`.
    pub fn zfs_health(
        &self,
        target: &str,
        node: &str,
        pool: &str,
        health: &str,
    ) -> Result<(), SimError> {
        let health = word(health, &["ONLINE", "DEGRADED", "FAULTED"])?;
        self.host(target, node, |host| {
            let found = host.pools.iter_mut().find(|found| found.name == pool);
            found.ok_or_else(|| bad(format!("no pool {pool:?} on {node}")))?.set_health(health);
            Ok(())
        })
    }

    /// Sets how full the metadata of a node's thin pool is, 0 to 1.
    pub fn thin_metadata(&self, target: &str, node: &str, share: f64) -> Result<(), SimError> {
        self.host(target, node, |host| {
            host.thin_metadata = Some(share.clamp(0.0, 1.0));
            Ok(())
        })
    }

    /// Sets what a disk says of itself: `PASSED` or `FAILED`, and how much of its life is left.
    pub fn disk_health(
        &self,
        target: &str,
        node: &str,
        disk: &str,
        health: &str,
        life_left: u32,
    ) -> Result<(), SimError> {
        let health = word(health, &["PASSED", "FAILED"])?;
        self.node(target, node, |node| {
            let found = node.disks.iter_mut().find(|found| found.0 == disk);
            let found = found.ok_or_else(|| bad(format!("no disk {disk:?}")))?;
            (found.4, found.5) = (health, life_left);
            Ok(())
        })
    }

    /// Makes a replication job fail from now on, after three failures already; without a cause it
    /// works again from its next run on.
    pub fn replication_fails(
        &self,
        target: &str,
        job: &str,
        cause: Option<&str>,
    ) -> Result<(), SimError> {
        let now = self.inner().world.estate().seconds();
        self.cluster(target, |cluster| {
            let kept = cluster.common.replication.entry(job.to_owned()).or_default();
            kept.cause = cause.map(str::to_owned);
            if cause.is_some() {
                kept.failures = 3;
                kept.last_try = Some(now - 120);
                kept.last_sync = Some(now - 3 * 3600);
            }
            Ok(())
        })
    }

    /// Lets a node's certificate say that it ends in so many days.
    pub fn certificate_ends(&self, target: &str, node: &str, days: i64) -> Result<(), SimError> {
        let end = self.inner().world.estate().seconds() + days * 86_400;
        match self.home(target)? {
            Home::Pve(_) => self.node(target, node, |node| {
                node.not_after = end;
                Ok(())
            }),
            Home::Pbs(at) => {
                self.inner().world.estate().vaults[at].not_after = end;
                Ok(())
            }
        }
    }

    /// Installs a newer kernel that does not run yet, such as `6.17.9-1-pve`.
    pub fn new_kernel(&self, target: &str, node: &str, release: &str) -> Result<(), SimError> {
        let release: &'static str = Box::leak(release.to_owned().into_boxed_str());
        self.host(target, node, |host| {
            host.new_kernel = Some(release);
            Ok(())
        })
    }

    /// Writes a line into a node's journal, as if so many seconds ago.
    pub fn journal_line(
        &self,
        target: &str,
        node: &str,
        unit: &str,
        text: &str,
        secs_ago: i64,
    ) -> Result<(), SimError> {
        let time = self.inner().world.estate().seconds() - secs_ago;
        self.host(target, node, |host| {
            host.journal.push(Line { time, unit: unit.to_owned(), text: text.to_owned() });
            host.journal.sort_by_key(|line| line.time);
            Ok(())
        })
    }
}
