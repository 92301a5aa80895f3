//! What an event is about: a closed list, with a way out for what it does not have.

use std::{fmt, str::FromStr, sync::Arc};

/// The text can be no kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no kind of event: take one of the list in the reference, or `other.` with a name of \
     a-z, 0-9, `_` and dots"
)]
pub struct InvalidKind(String);

/// The longest name behind `other.`.
const MAX_OTHER: usize = 60;

macro_rules! kinds {
    ($($variant:ident $word:literal $meaning:literal)*) => {
        /// What an event is about.
        ///
        /// The list is closed, so that rules can be checked when they are written; what it does not
        /// have is `other.<name>`.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Kind {
            $(#[doc = $meaning] $variant,)*
            /// Whatever else a source knows, by the name behind `other.`.
            Other(Arc<str>),
        }

        impl Kind {
            /// The whole list but `other.…`, with the meaning of each: for rules, schema and
            /// reference.
            pub const LIST: &'static [(&'static str, &'static str)] = &[$(($word, $meaning)),*];

            fn listed(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)*
                    _ => None,
                }
            }

            fn word(&self) -> Option<&'static str> {
                match self {
                    $(Self::$variant => Some($word),)*
                    Self::Other(_) => None,
                }
            }
        }
    };
}

kinds! {
    GuestStarted "guest.started" "a guest runs now"
    GuestStopped "guest.stopped" "a guest does not run any more; why is in the message, or unknown"
    GuestCrashed "guest.crashed" "a guest ended by itself, and there is evidence of it"
    GuestMigrated "guest.migrated" "a guest is on another node"
    TaskStarted "task.started" "a task began"
    TaskFinished "task.finished" "a task ended well"
    TaskFailed "task.failed" "a task of a kind that has none of its own ended badly"
    BackupStarted "backup.started" "a backup began"
    BackupFinished "backup.finished" "a backup ended well"
    BackupFailed "backup.failed" "a backup ended badly"
    BackupMissing "backup.missing" "no finished backup within the time that its job promises"
    VerifyFinished "verify.finished" "a verification found everything as it was"
    VerifyFailed "verify.failed" "a verification found damage, or could not be done"
    VerifyMissing "verify.missing" "no verification within the time that its job promises"
    GcFinished "gc.finished" "a garbage collection ended well"
    GcFailed "gc.failed" "a garbage collection ended badly"
    GcMissing "gc.missing" "no garbage collection within the time that its schedule promises"
    PruneFinished "prune.finished" "a pruning ended well"
    PruneFailed "prune.failed" "a pruning ended badly"
    SyncFinished "sync.finished" "a synchronization ended well"
    SyncFailed "sync.failed" "a synchronization ended badly"
    SyncMissing "sync.missing" "no synchronization within the time that its job promises"
    TapeFinished "tape.finished" "a tape backup ended well"
    TapeFailed "tape.failed" "a tape backup ended badly"
    TapeWanted "tape.wanted" "a drive waits for a tape"
    ReplicationFinished "replication.finished" "a replication job runs well again"
    ReplicationFailed "replication.failed" "a replication job fails"
    NodeOnline "node.online" "a node answers again"
    NodeOffline "node.offline" "a node does not answer"
    NodeFenced "node.fenced" "a node was fenced, or is about to be"
    ClusterUnreachable "cluster.unreachable" "no endpoint of a cluster or server answers"
    ClusterReachable "cluster.reachable" "a cluster or server answers again"
    QuorumLost "quorum.lost" "a cluster, or a node's part of it, has no quorum"
    QuorumRegained "quorum.regained" "a cluster has its quorum again"
    LinkDown "link.down" "a cluster link is down"
    LinkUp "link.up" "a cluster link is up again"
    HaStarted "ha.started" "HA started or recovered a service"
    HaError "ha.error" "HA cannot keep a service as it should be"
    StorageFull "storage.full" "a storage is nearly full"
    StorageFreed "storage.freed" "a storage has room again"
    StorageError "storage.error" "a storage does not answer, or slowly"
    DatastoreFull "datastore.full" "a datastore is nearly full"
    DatastoreFreed "datastore.freed" "a datastore has room again"
    ThresholdExceeded "threshold.exceeded" "a counter of a datastore is above its limit"
    PoolDegraded "pool.degraded" "a ZFS pool has lost redundancy or worse"
    PoolRestored "pool.restored" "a ZFS pool is whole again"
    ThinpoolMetadataFull "thinpool.metadata_full" "the metadata of an LVM thin pool is nearly full"
    CephWarning "ceph.warning" "a health check of Ceph warns"
    CephError "ceph.error" "a health check of Ceph fails"
    CephOk "ceph.ok" "Ceph is healthy again"
    DiskFailing "disk.failing" "a disk reports failures"
    DiskWorn "disk.worn" "a solid state disk is near the end of its life"
    AuthFailed "auth.failed" "somebody could not log in"
    AuthSucceeded "auth.succeeded" "somebody logged in"
    UserChanged "user.changed" "a user, password, token or permission was changed"
    UpdatesAvailable "updates.available" "newer packages can be had"
    CertificateExpiring "certificate.expiring" "a certificate ends soon, or could not be renewed"
    CertificateRenewed "certificate.renewed" "a certificate was renewed"
    SystemMail "system.mail" "mail of a node that nothing else explains"
    NotificationFailed "notification.failed" "a node could not tell us something"
    NotificationTest "notification.test" "a test of a notification target"
    ConsoleMatched "console.matched" "a line of a watched console fits a pattern"
    InputMute "input.mute" "an input is silent about what the task list has seen"
    InputHeard "input.heard" "an input tells again of what the task list sees"
    OutputDown "output.down" "an output cannot deliver"
    OutputUp "output.up" "an output delivers again"
    MonitorBlind "monitor.blind" "nothing of the estate answers: what is not heard means nothing"
    MonitorSees "monitor.sees" "the estate answers again"
    MonitorStoreAway "monitor.store_away" "the store of events takes nothing in; what was heard waits beside it"
    MonitorStoreBack "monitor.store_back" "the store of events takes everything in again"
    MonitorStarted "monitor.started" "the present state, taken as the baseline"
    ChangeAsked "change.asked" "a change waits for consent"
    ChangeMade "change.made" "a change was made through this program"
    ChangeReverted "change.reverted" "a change was taken back"
}

// === impl Kind ===

impl Kind {
    /// The dotted word that rules, settings and the wire use.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(name) => name,
            listed => listed.word().unwrap_or_default(),
        }
    }

    /// What the list lacks: `other.` and this name, with everything in it that no kind may hold
    /// turned into `_`.
    pub fn other(name: &str) -> Self {
        let mut word = "other.".to_owned();
        word.extend(name.to_lowercase().chars().take(MAX_OTHER).map(|c| match c {
            'a'..='z' | '0'..='9' | '_' | '.' => c,
            _ => '_',
        }));
        if word == "other." {
            word.push_str("unnamed");
        }
        Self::Other(word.into())
    }

    /// What stands before the first dot: `backup`, `guest`.
    pub fn family(&self) -> &str {
        self.as_str().split('.').next().unwrap_or_default()
    }

    /// The kinds whose incidents this event ends, where it says that something is well again.
    /// Proxmox sends no "resolved": a later success of the same thing is one.
    pub fn resolves(&self) -> &'static [&'static str] {
        match self {
            Self::GuestStarted => &["guest.stopped", "guest.crashed"],
            Self::BackupFinished => &["backup.failed", "backup.missing"],
            Self::VerifyFinished => &["verify.failed", "verify.missing"],
            Self::GcFinished => &["gc.failed", "gc.missing"],
            Self::PruneFinished => &["prune.failed"],
            Self::SyncFinished => &["sync.failed", "sync.missing"],
            Self::TapeFinished => &["tape.failed", "tape.wanted"],
            Self::ReplicationFinished => &["replication.failed"],
            Self::TaskFinished => &["task.failed"],
            Self::NodeOnline => &["node.offline", "node.fenced"],
            Self::ClusterReachable => &["cluster.unreachable"],
            Self::QuorumRegained => &["quorum.lost"],
            Self::LinkUp => &["link.down"],
            Self::HaStarted => &["ha.error"],
            Self::StorageFreed => &["storage.full", "storage.error", "thinpool.metadata_full"],
            Self::DatastoreFreed => &["datastore.full"],
            Self::PoolRestored => &["pool.degraded"],
            Self::CephOk => &["ceph.warning", "ceph.error"],
            Self::CertificateRenewed => &["certificate.expiring"],
            Self::InputHeard => &["input.mute"],
            Self::OutputUp => &["output.down"],
            Self::MonitorSees => &["monitor.blind"],
            Self::MonitorStoreBack => &["monitor.store_away"],
            _ => &[],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = InvalidKind;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(kind) = Self::listed(text) {
            return Ok(kind);
        }
        let plain = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '_' | '.');
        match text.strip_prefix("other.") {
            Some(name)
                if !name.is_empty() && name.len() <= MAX_OTHER && name.chars().all(plain) =>
            {
                Ok(Self::Other(text.into()))
            }
            _ => Err(InvalidKind(text.chars().take(80).collect())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_word_is_read_back_once() {
        let mut words: Vec<&str> = Kind::LIST.iter().map(|(word, _)| *word).collect();
        for word in &words {
            let kind: Kind = word.parse().unwrap();
            assert_eq!(kind.as_str(), *word);
            assert!(word.starts_with(kind.family()) && word.split('.').count() == 2, "{word}");
        }
        let count = words.len();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), count);
    }

    #[test]
    fn what_is_resolved_is_in_the_list_and_never_resolves() {
        for (word, _) in Kind::LIST {
            for resolved in word.parse::<Kind>().unwrap().resolves() {
                let resolved: Kind = resolved.parse().unwrap();
                assert!(resolved.resolves().is_empty(), "{resolved} is resolved by {word}");
            }
        }
    }

    #[test]
    fn what_is_no_kind_is_refused() {
        for text in ["", "backup", "backup.exploded", "other.", "other.A", "OTHER.a", "other.a b"] {
            assert!(text.parse::<Kind>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_name_makes_a_kind_that_is_read_back(name in ".{0,100}") {
            let kind = Kind::other(&name);
            prop_assert_eq!(kind.as_str().parse::<Kind>(), Ok(kind));
        }
    }
}
