//! Copies of audit records, from the store's log to the targets that the settings name.

use std::sync::Arc;

use audit_copies::{Copies, Copy, Sender};
use settings::AuditSettings;
use store::AuditRecord;
use store::audit::AuditCopies;

/// The targets of the settings as the log knows them.
pub(crate) struct ToTargets(pub(crate) Arc<Copies>);

impl AuditCopies for ToTargets {
    fn copy(&self, record: &AuditRecord) {
        let (time, hash, line) = (record.time, record.hash.clone(), record.to_line());
        self.0.copy(&Copy { time, hash, line });
    }
}

/// Starts what the settings name, if they name anything.
pub(crate) fn start(audit: &AuditSettings) -> anyhow::Result<Option<Arc<Copies>>> {
    let targets = audit.targets();
    if targets.is_empty() {
        return Ok(None);
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let sender = Sender::new(host.trim(), std::process::id());
    Ok(Some(Arc::new(Copies::start(targets, &sender)?)))
}
