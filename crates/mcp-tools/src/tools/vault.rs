//! Backups as work: run, restored, verified, pruned; and the evidence of which guests are covered.

mod annotate;
mod archive;
mod copies;
mod files;
mod find;
mod gc;
mod jobs;
mod jobs_change;
mod keep;
mod maintenance;
mod namespace;
mod namespaces;
mod offsite;
mod overdue;
mod owner;
mod prune;
mod rehearsal;
mod restore;
mod run;
mod space;
mod spot;
mod sync;
mod verify;

pub use annotate::BackupAnnotate;
pub use copies::BackupCopies;
pub use files::{BackupFileGet, BackupFiles};
pub use gc::DatastoreGc;
pub use jobs::BackupJobs;
pub use jobs_change::BackupJobChange;
pub use maintenance::DatastoreMaintenance;
pub use namespace::NamespaceChange;
pub use namespaces::NamespacesList;
pub use overdue::BackupOverdue;
pub use owner::GroupOwnerChange;
pub use prune::BackupPrune;
pub use rehearsal::RestoreRehearsal;
pub use restore::BackupRestore;
pub use run::BackupRun;
pub use sync::SyncRun;
pub use verify::BackupVerify;

use crate::tool::EstateTool;

/// The tools, in the order of their list.
pub(super) static TOOLS: &[&dyn EstateTool] = &[
    &BackupOverdue,
    &BackupCopies,
    &NamespacesList,
    &BackupRun,
    &BackupRestore,
    &RestoreRehearsal,
    &BackupVerify,
    &BackupPrune,
    &BackupAnnotate,
    &DatastoreGc,
    &SyncRun,
    &BackupJobs,
    &BackupJobChange,
    &BackupFiles,
    &BackupFileGet,
    &NamespaceChange,
    &GroupOwnerChange,
    &DatastoreMaintenance,
];
