//! Backups as work: run, restored, verified, pruned; and the evidence of which guests are covered.

mod annotate;
mod archive;
mod find;
mod gc;
mod keep;
mod prune;
mod rehearsal;
mod restore;
mod run;
mod space;
mod spot;
mod sync;
mod verify;

pub use annotate::BackupAnnotate;
pub use gc::DatastoreGc;
pub use prune::BackupPrune;
pub use rehearsal::RestoreRehearsal;
pub use restore::BackupRestore;
pub use run::BackupRun;
pub use sync::SyncRun;
pub use verify::BackupVerify;

use crate::tool::EstateTool;

/// The tools, in the order of their list.
pub(super) static TOOLS: &[&dyn EstateTool] = &[
    &BackupRun,
    &BackupRestore,
    &RestoreRehearsal,
    &BackupVerify,
    &BackupPrune,
    &BackupAnnotate,
    &DatastoreGc,
    &SyncRun,
];
