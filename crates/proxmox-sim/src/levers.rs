//! Levers: what a test, the demo or the control endpoint can do to a running simulator.

mod admin;
mod guests;
mod notify;
mod vault;

use std::sync::Arc;
use std::time::Duration;

use crate::error::SimError;
use crate::holds::Moment;
use crate::plants::{Place, Planted};
use crate::server::{Port, World};
use crate::state::levers::{Faults, TaskEnd};
use crate::state::task::Past;
use crate::state::{Home, Outcome, Plan};
use crate::tls::Authority;

/// A cheap handle on a running simulator.
#[derive(Clone)]
pub struct Levers {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) world: Arc<World>,
    pub(crate) ports: Vec<Port>,
    /// By target key.
    pub(crate) authorities: Vec<(String, Authority)>,
}

/// A task to add to a target's list.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TaskSpec {
    /// Task type, such as `vzdump`.
    pub kind: String,
    /// Worker id, such as a guest id; may be empty.
    pub id: String,
    /// User or token.
    pub user: String,
    /// How it ended (`OK`, `WARNINGS: 1`, a cause), or `None` for one that runs until it is stopped.
    pub status: Option<String>,
    /// Log lines without the last one.
    pub log: Vec<String>,
    /// How long ago it ended, in seconds.
    pub ended_secs_ago: i64,
}

// === impl TaskSpec ===

impl TaskSpec {
    /// A finished task of `root@pam`.
    pub fn finished(kind: &str, id: &str, status: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            id: id.to_owned(),
            user: "root@pam".to_owned(),
            status: Some(status.to_owned()),
            log: Vec::new(),
            ended_secs_ago: 0,
        }
    }

    /// A task of `root@pam` that keeps running.
    pub fn running(kind: &str, id: &str) -> Self {
        Self { status: None, ..Self::finished(kind, id, "OK") }
    }
}

// === impl Levers ===

impl Levers {
    pub(crate) fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    fn home(&self, target: &str) -> Result<Home, SimError> {
        let home = self.inner.world.estate().home(target);
        home.ok_or_else(|| SimError::NoTarget(target.to_owned()))
    }

    fn faults(&self, target: &str, change: impl FnOnce(&mut Faults)) -> Result<(), SimError> {
        let mut estate = self.inner.world.estate();
        match estate.home(target) {
            Some(Home::Pve(at)) => change(&mut estate.clusters[at].faults),
            Some(Home::Pbs(at)) => change(&mut estate.vaults[at].faults),
            None => return Err(SimError::NoTarget(target.to_owned())),
        }
        Ok(())
    }

    fn port(&self, target: &str, node: &str) -> Result<&Port, SimError> {
        let home = self.home(target)?;
        let estate = self.inner.world.estate();
        let named = |port: &&Port| {
            port.home == home
                && match home {
                    Home::Pve(at) => estate.clusters[at].nodes[port.node].name == node,
                    Home::Pbs(at) => estate.vaults[at].node == node,
                }
        };
        self.inner
            .ports
            .iter()
            .find(named)
            .ok_or_else(|| SimError::NoNode { target: target.to_owned(), node: node.to_owned() })
    }

    /// Takes a node off the network, or brings it back: it refuses connections, its peers answer 595 for it.
    pub fn node_offline(&self, target: &str, node: &str, offline: bool) -> Result<(), SimError> {
        let port = self.port(target, node)?;
        {
            let mut estate = self.inner.world.estate();
            match port.home {
                Home::Pve(at) => estate.clusters[at].nodes[port.node].online = !offline,
                Home::Pbs(at) => estate.vaults[at].online = !offline,
            }
        }
        port.gate.send_modify(|gate| gate.offline = offline);
        Ok(())
    }

    /// Makes a cluster lose its quorum, or regain it.
    pub fn quorum_lost(&self, target: &str, lost: bool) -> Result<(), SimError> {
        match self.home(target)? {
            Home::Pve(at) => self.inner.world.estate().clusters[at].quorate = !lost,
            Home::Pbs(_) => {
                return Err(SimError::BadLever("a backup server has no quorum".to_owned()));
            }
        }
        Ok(())
    }

    /// Makes the next task (of a type) fail with `message`.
    pub fn fail_next_task(
        &self,
        target: &str,
        kind: Option<&str>,
        message: &str,
    ) -> Result<(), SimError> {
        self.end_next(target, kind, message, false)
    }

    /// Makes the next task (of a type) end with one warning.
    pub fn warn_next_task(
        &self,
        target: &str,
        kind: Option<&str>,
        message: &str,
    ) -> Result<(), SimError> {
        self.end_next(target, kind, message, true)
    }

    fn end_next(
        &self,
        target: &str,
        kind: Option<&str>,
        message: &str,
        warn: bool,
    ) -> Result<(), SimError> {
        let end = TaskEnd { kind: kind.map(str::to_owned), warn, message: message.to_owned() };
        self.faults(target, |faults| faults.task_ends.push_back(end))
    }

    /// Keeps the head of every request to any target from now on.
    pub fn keep_heads(&self) {
        *self.inner.world.heads() = Some(Vec::new());
    }

    /// The heads of the requests since [`Levers::keep_heads`]: method, address and every header.
    pub fn heads(&self) -> Vec<String> {
        self.inner.world.heads().clone().unwrap_or_default()
    }

    /// Passes every reply to a GET through `planter`, wherever a field holds text that guests and
    /// users control or a secret that servers return as it is: what it gives stands there then.
    pub fn plant(&self, planter: impl Fn(&Place, &str) -> Option<String> + Send + Sync + 'static) {
        self.inner.world.plants().planter = Some(Arc::new(planter));
    }

    /// What was planted since the start, and how often it was served.
    pub fn planted(&self) -> Vec<Planted> {
        self.inner.world.plants().served()
    }

    /// Delays every reply of a target.
    pub fn latency(&self, target: &str, latency: Duration) -> Result<(), SimError> {
        self.faults(target, |faults| faults.latency = latency)
    }

    /// Answers the next `count` requests with a status and a reason; 595 and above have no body.
    pub fn status_next(
        &self,
        target: &str,
        code: u16,
        reason: &str,
        count: u32,
    ) -> Result<(), SimError> {
        if !(200..1000).contains(&code) {
            return Err(SimError::BadLever(format!("{code} is no status code to answer with")));
        }
        let next = (count > 0).then(|| (code, reason.to_owned(), count));
        self.faults(target, |faults| faults.status_next = next)
    }

    /// Makes all tickets of a target invalid.
    pub fn expire_tickets(&self, target: &str) -> Result<(), SimError> {
        let key = uuid::Uuid::new_v4().to_string();
        let mut estate = self.inner.world.estate();
        match estate.home(target) {
            Some(Home::Pve(at)) => estate.clusters[at].access.key = key,
            Some(Home::Pbs(at)) => estate.vaults[at].access.key = key,
            None => return Err(SimError::NoTarget(target.to_owned())),
        }
        Ok(())
    }

    /// Gives a node a new certificate from the same authority; the next connection sees it. Returns its fingerprint.
    pub fn rotate_certificate(&self, target: &str, node: &str) -> Result<String, SimError> {
        let port = self.port(target, node)?;
        let authority = self.inner.authorities.iter().find(|(key, _)| key == target);
        let (_, authority) = authority.ok_or_else(|| SimError::NoTarget(target.to_owned()))?;
        let issued = authority.issue(node, &port.address.ip().to_string())?;
        port.slot.replace(&issued);
        let mut estate = self.inner.world.estate();
        match port.home {
            Home::Pve(at) => {
                let node = &mut estate.clusters[at].nodes[port.node];
                node.fingerprint.clone_from(&issued.fingerprint);
                node.pem = issued.pem;
            }
            Home::Pbs(at) => {
                estate.vaults[at].fingerprint.clone_from(&issued.fingerprint);
                estate.vaults[at].pem = issued.pem;
            }
        }
        Ok(issued.fingerprint)
    }

    /// Sends bodies in eight pieces with this pause before each; `None` ends it.
    pub fn slow_body(&self, target: &str, pause: Option<Duration>) -> Result<(), SimError> {
        self.faults(target, |faults| faults.slow_body = pause)
    }

    /// Cuts the next `count` bodies off in the middle.
    pub fn truncate_body(&self, target: &str, count: u32) -> Result<(), SimError> {
        self.faults(target, |faults| faults.truncate_bodies = count)
    }

    /// Drops the next `count` requests without an answer, after they have been read.
    pub fn drop_requests(&self, target: &str, count: u32) -> Result<(), SimError> {
        self.faults(target, |faults| faults.drop_requests = count)
    }

    /// Holds the next request of this method whose path contains `path`, until [`Levers::release`]. It is done in the
    /// end, even if whoever sent it is gone by then.
    pub fn hold(
        &self,
        target: &str,
        method: &str,
        path: &str,
        moment: Moment,
    ) -> Result<(), SimError> {
        self.inner.world.holds.want(self.home(target)?, method, path, moment);
        Ok(())
    }

    /// How many requests are held now.
    pub fn held(&self) -> usize {
        self.inner.world.holds.held()
    }

    /// Lets held requests go on; those that have not come yet are held when they do.
    pub fn release(&self) {
        self.inner.world.holds.release();
    }

    /// Ends all connections of a target that are open now.
    pub fn drop_connections(&self, target: &str) -> Result<(), SimError> {
        let home = self.home(target)?;
        for port in self.inner.ports.iter().filter(|port| port.home == home) {
            port.gate.send_modify(|gate| gate.epoch += 1);
        }
        Ok(())
    }

    /// Adds a task to a node's list and returns its UPID.
    pub fn add_task(&self, target: &str, node: &str, task: &TaskSpec) -> Result<String, SimError> {
        let port = self.port(target, node)?;
        let mut estate = self.inner.world.estate();
        let (home, at) = (port.home, port.node);
        let Some(status) = &task.status else {
            // Ends when somebody stops it, or in a hundred years.
            let never = 3.0e12 * estate.speed;
            let kind: &'static str = Box::leak(task.kind.clone().into_boxed_str());
            let plan = Plan::new(kind, &task.id, never, |_| Outcome::ok()).lines(task.log.clone());
            return Ok(estate.start_task(home, at, &task.user, plan));
        };
        let (name, booted) = match home {
            Home::Pve(cluster) => {
                let node = &estate.clusters[cluster].nodes[at];
                (node.name.clone(), node.booted)
            }
            Home::Pbs(vault) => (estate.vaults[vault].node.clone(), estate.vaults[vault].booted),
        };
        let start = estate.seconds() - task.ended_secs_ago - 1;
        Ok(estate.tasks(home).past(Past {
            node: &name,
            booted,
            kind: &task.kind,
            id: &task.id,
            user: &task.user,
            start,
            seconds: 1,
            status,
            log: task.log.clone(),
        }))
    }

    /// Sets how full a storage is (PVE: on all nodes; PBS: a datastore), 0.0 to 1.0.
    pub fn set_storage_usage(
        &self,
        target: &str,
        storage: &str,
        share: f64,
    ) -> Result<(), SimError> {
        let missing = || SimError::BadLever(format!("no storage {storage:?} in target {target:?}"));
        let share = share.clamp(0.0, 1.0);
        let mut estate = self.inner.world.estate();
        match estate.home(target) {
            Some(Home::Pve(at)) => {
                let found = estate.clusters[at].storage_mut(storage).ok_or_else(missing)?;
                let used = (found.total as f64 * share) as u64;
                found.used.iter_mut().for_each(|slot| *slot = used);
            }
            Some(Home::Pbs(at)) => {
                let store = estate.vaults[at].store_mut(storage).ok_or_else(missing)?;
                store.used = (store.total as f64 * share) as u64;
            }
            None => return Err(SimError::NoTarget(target.to_owned())),
        }
        Ok(())
    }

    /// Undoes latency, pending statuses, spoilt bodies and task ends of a target.
    pub fn clear(&self, target: &str) -> Result<(), SimError> {
        self.faults(target, |faults| *faults = Faults::default())
    }
}
