//! What is remembered of a cluster or server between looks, and what one look has seen.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use estate::{DatastoreName, GuestKind, NodeName, StorageName, TaskStatus, Upid, VmId};
use event_core::{Kind, Severity, Subject};
use jiff::Timestamp;

/// What is remembered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// The guests, without templates.
    pub guests: BTreeMap<VmId, Guest>,
    /// What is not as it should be, by the part that was looked at and by [`Condition::id`].
    pub wrong: BTreeMap<String, BTreeMap<String, Condition>>,
}

/// A guest as it is remembered.
#[derive(Clone, Debug, PartialEq)]
pub struct Guest {
    /// What it is.
    pub kind: GuestKind,
    /// Its name, where it has one.
    pub name: Option<String>,
    /// Where it is.
    pub node: NodeName,
    /// Whether it runs; without, whatever is seen next is as it should be.
    pub state: Option<State>,
    /// Until then what is seen may be from before the last task's end.
    pub settles: Option<Timestamp>,
    /// Whether its node did not tell at the last look.
    pub is_silent: bool,
    /// What was seen instead, and since when, while nobody knows yet whether a task explains it.
    pub doubt: Option<Doubt>,
}

/// Whether a guest runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It does, paused or not.
    Running,
    /// It does not.
    Stopped,
}

/// Something that was seen and is not explained yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Doubt {
    /// The state that was seen.
    pub state: State,
    /// The node that was seen.
    pub node: NodeName,
    /// Since when.
    pub since: Timestamp,
}

/// Something that is not as it should be, for as long as it is seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// What it is.
    pub kind: Kind,
    /// How bad.
    pub severity: Severity,
    /// Where.
    pub place: Place,
    /// What tells it apart from others of its kind and place.
    pub what: Option<String>,
    /// One line.
    pub title: String,
    /// The rest.
    pub message: String,
}

/// Where within the cluster or server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Place {
    /// The node.
    pub node: Option<NodeName>,
    /// The guest.
    pub vmid: Option<VmId>,
    /// The storage.
    pub storage: Option<StorageName>,
    /// The datastore.
    pub datastore: Option<DatastoreName>,
    /// The job.
    pub job: Option<String>,
}

/// What one look has seen. A part that could not be seen is absent, and stays as it is remembered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Look {
    /// Every guest that is there; `None` if that could not be seen.
    pub guests: Option<Vec<Sighting>>,
    /// What is wrong, by the parts that were looked at: those in which nothing is, are empty.
    pub wrong: BTreeMap<String, BTreeMap<String, Condition>>,
    /// Guests at which a task works.
    pub busy: BTreeSet<VmId>,
    /// Nodes at whose guests a task works, one after another.
    pub busy_nodes: BTreeSet<NodeName>,
    /// Guests that may be off at any time.
    pub expected_off: BTreeSet<VmId>,
}

/// One guest as it was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Sighting {
    /// Its id.
    pub vmid: VmId,
    /// What it is.
    pub kind: GuestKind,
    /// Its name.
    pub name: Option<String>,
    /// Where it is.
    pub node: NodeName,
    /// Whether it runs; without, its node does not tell.
    pub state: Option<State>,
    /// Whether something holds its lock.
    pub is_locked: bool,
    /// Whether HA looks after it.
    pub is_ha: bool,
}

// === impl View ===

impl View {
    /// Takes note of what a task that ended has made of its guest, so that the change is no news when it is seen. What
    /// is seen before `settles` may be older than the end.
    pub fn heed(&mut self, upid: &Upid, status: &TaskStatus, settles: Timestamp) {
        let is_guests = upid.kind().starts_with("qm") || upid.kind().starts_with("vz");
        let vmid = upid.id().parse().ok().filter(|_| is_guests && upid.kind() != "vzdump");
        let Some(guest) = vmid.and_then(|vmid: VmId| self.guests.get_mut(&vmid)) else { return };
        let state = match &upid.kind()[2..] {
            "start" | "reboot" | "reset" if status.is_success() => Some(State::Running),
            "stop" | "shutdown" if status.is_success() => Some(State::Stopped),
            // Where a start or stop failed, where it moved to, what a restore or rollback left: as it is seen.
            _ => None,
        };
        guest.state = state;
        guest.doubt = None;
        guest.settles = Some(settles);
    }

    /// Whether something is to be looked at again soon.
    pub(super) fn is_unsettled(&self) -> bool {
        self.guests.values().any(|guest| guest.doubt.is_some())
    }
}

// === impl Condition ===

impl Condition {
    /// What it is known by within its part.
    pub fn id(&self) -> String {
        let what = self.what.as_deref().unwrap_or_default();
        format!("{} {} {what}", self.kind, self.place)
    }

    /// What says that it is over; none where nothing does.
    pub fn well(&self) -> Option<Kind> {
        match self.kind {
            Kind::NodeOffline => Some(Kind::NodeOnline),
            Kind::QuorumLost => Some(Kind::QuorumRegained),
            Kind::HaError => Some(Kind::HaStarted),
            Kind::ReplicationFailed => Some(Kind::ReplicationFinished),
            Kind::StorageError => Some(Kind::StorageFreed),
            Kind::PoolDegraded => Some(Kind::PoolRestored),
            Kind::CephWarning | Kind::CephError => Some(Kind::CephOk),
            Kind::CertificateExpiring => Some(Kind::CertificateRenewed),
            _ => None,
        }
    }
}

// === impl Place ===

impl Place {
    /// A node.
    pub fn node(node: &NodeName) -> Self {
        Self { node: Some(node.clone()), ..Self::default() }
    }

    /// Puts it into a subject.
    pub(super) fn describe(&self, subject: &mut Subject) {
        if self.node.is_some() {
            subject.node.clone_from(&self.node);
        }
        subject.vmid = self.vmid;
        subject.storage.clone_from(&self.storage);
        subject.datastore.clone_from(&self.datastore);
        subject.job.clone_from(&self.job);
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut subject = Subject::default();
        self.describe(&mut subject);
        f.write_str(&subject.address())
    }
}
