//! What the rules want to know beside events: how full things are, and which jobs the estate has.
//!
//! Nothing here judges: thresholds and absences are the rules'. Pure.

use std::collections::BTreeSet;

use estate::{ClusterKey, DatastoreName, GuestKind, VmId};
use event_core::Subject;
use event_core::live::Looked;
use jiff::{SignedDuration, Timestamp};
use pbs_client::{
    datastores::{DatastoreUsage, GcStatus},
    jobs::{SyncJob, VerifyJob},
};
use pve_client::{
    cluster::{
        Resource, ResourceKind,
        backup::{BackupJob, IncludedVolumes, NotBackedUp},
    },
    disks::ThinPool,
};
use rules::{Estate, Job, Measured, Room, Work};

/// What is seen beside events. Each is told again and again, so one that finds no room is left out.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Observed {
    /// How things are, for the live state.
    Looked(Box<Looked>),
    /// How full something is.
    Measured(Box<Measured>),
    /// The jobs of one cluster or server, and its guests in none; `estate.clusters` has that one alone.
    Estate {
        /// Whose.
        cluster: ClusterKey,
        /// Which.
        estate: Estate,
    },
}

/// How full storages are; one that all nodes share is measured once.
pub(super) fn storages(resources: &[Resource], base: &Subject, at: Timestamp) -> Vec<Measured> {
    let mut shared = BTreeSet::new();
    let rows = resources.iter().filter(|row| row.kind == ResourceKind::Storage);
    rows.filter_map(|row| {
        let storage = row.storage.clone()?;
        let percent = percent(row.disk_bytes?, row.max_disk_bytes?)?;
        if row.shared && !shared.insert(storage.clone()) {
            return None;
        }
        let node = if row.shared { base.node.clone() } else { row.node.clone() };
        let subject = Subject { node, storage: Some(storage), ..base.clone() };
        Some(Measured { what: Room::Storage, subject, percent, at })
    })
    .collect()
}

/// How full datastores are.
pub(super) fn datastores(
    usages: &[DatastoreUsage],
    base: &Subject,
    at: Timestamp,
) -> Vec<Measured> {
    let measured = usages.iter().filter_map(|usage| {
        let percent = percent(usage.used_bytes?, usage.total_bytes?)?;
        let subject = Subject { datastore: Some(usage.name.clone()), ..base.clone() };
        Some(Measured { what: Room::Datastore, subject, percent, at })
    });
    measured.collect()
}

/// How full the metadata of thin pools is. A pool is a storage of its node by the name `<group>_<pool>`.
pub(super) fn thin_pools(pools: &[ThinPool], base: &Subject, at: Timestamp) -> Vec<Measured> {
    let measured = pools.iter().filter_map(|pool| {
        let percent = percent(pool.metadata_used_bytes, pool.metadata_size_bytes)?;
        let name = match &pool.group {
            Some(group) => format!("{group}_{}", pool.name),
            None => pool.name.clone(),
        };
        let subject = Subject { storage: Some(name.parse().ok()?), ..base.clone() };
        Some(Measured { what: Room::ThinpoolMetadata, subject, percent, at })
    });
    measured.collect()
}

fn percent(used: u64, total: u64) -> Option<f64> {
    (total > 0).then(|| used as f64 * 100.0 / total as f64)
}

/// How far back runs tell how long a job usually takes: what runs weekly is among them.
pub(super) const LATELY: SignedDuration = SignedDuration::from_hours(24 * 15);

/// The types of the tasks of verification and sync jobs.
pub(super) const VERIFY: &str = "verificationjob";
pub(super) const SYNC: &str = "syncjob";

/// How long the longest of these runs took; nothing where none has ended.
pub(super) fn longest(
    runs: impl IntoIterator<Item = (Option<Timestamp>, Option<Timestamp>)>,
) -> SignedDuration {
    let length = |(began, ended): (Option<Timestamp>, Option<Timestamp>)| {
        Some(ended?.duration_since(began?))
    };
    runs.into_iter().filter_map(length).max().unwrap_or_default().max(SignedDuration::ZERO)
}

/// The backup jobs of a cluster with their guests, and the guests in none. A job whose guests are not
/// known, or that has none but templates, is not expected to do anything: no task would say that it
/// has. `usual` is how long a run takes; the tasks of a node do not say of which job they are.
pub(super) fn backups(
    jobs: &[(BackupJob, Option<IncludedVolumes>)],
    uncovered: &[NotBackedUp],
    templates: &BTreeSet<VmId>,
    usual: SignedDuration,
    base: &Subject,
) -> Estate {
    let guest = |vmid: VmId, kind: Option<GuestKind>, name: &Option<String>| Subject {
        vmid: Some(vmid),
        guest_kind: kind,
        guest_name: name.clone(),
        ..base.clone()
    };
    let jobs = jobs.iter().filter(|(job, _)| job.is_enabled()).filter_map(|(job, included)| {
        let included = included.iter().flat_map(|included| &included.children);
        let guests: Vec<Subject> = included
            .filter_map(|it| Some((it.vmid.filter(|vmid| !templates.contains(vmid))?, it)))
            .map(|(vmid, it)| guest(vmid, it.kind.parse().ok(), &it.name))
            .collect();
        if guests.is_empty() {
            return None;
        }
        Some(Job {
            work: Work::Backup,
            subject: Subject { job: Some(job.id.clone()), ..base.clone() },
            guests,
            next: job.next_run?,
            usual,
        })
    });
    let uncovered = uncovered.iter().filter(|it| !templates.contains(&it.vmid));
    Estate {
        clusters: base.cluster.iter().cloned().collect(),
        jobs: jobs.collect(),
        uncovered: uncovered.map(|it| guest(it.vmid, it.kind, &it.name)).collect(),
    }
}

/// The jobs of a backup server. `usual` says of the type of a task and the id of a job how long a run
/// takes.
pub(super) fn server_jobs(
    gc: &[GcStatus],
    verify: &[VerifyJob],
    sync: &[SyncJob],
    usual: impl Fn(&str, &str) -> SignedDuration,
    base: &Subject,
) -> Estate {
    let job = |work, datastore: &DatastoreName, id: Option<&str>, next: Option<Timestamp>| {
        Some(Job {
            work,
            subject: Subject {
                datastore: Some(datastore.clone()),
                job: id.map(str::to_owned),
                ..base.clone()
            },
            guests: Vec::new(),
            next: next?,
            usual: SignedDuration::ZERO,
        })
    };
    let gc = gc.iter().filter_map(|it| {
        let usual = i64::try_from(it.duration_secs.unwrap_or(0)).unwrap_or(i64::MAX);
        let job = job(Work::Gc, it.name.as_ref()?, None, it.next_run)?;
        Some(Job { usual: SignedDuration::from_secs(usual), ..job })
    });
    let verify = verify.iter().filter_map(|it| {
        let job = job(Work::Verify, &it.datastore, Some(&it.id), it.next_run)?;
        Some(Job { usual: usual(VERIFY, &it.id), ..job })
    });
    let sync = sync.iter().filter_map(|it| {
        let job = job(Work::Sync, &it.datastore, Some(&it.id), it.next_run)?;
        Some(Job { usual: usual(SYNC, &it.id), ..job })
    });
    Estate {
        clusters: base.cluster.iter().cloned().collect(),
        jobs: gc.chain(verify).chain(sync).collect(),
        uncovered: Vec::new(),
    }
}
