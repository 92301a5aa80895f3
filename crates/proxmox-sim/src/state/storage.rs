//! Storages and their volumes.

use serde_json::{Map, Value};

/// One storage definition with its content.
#[derive(Debug, Clone)]
pub(crate) struct Storage {
    pub(crate) name: String,
    /// `dir`, `lvmthin`, `rbd`, `nfs`, `pbs`
    pub(crate) plugin: &'static str,
    pub(crate) content: &'static str,
    pub(crate) shared: bool,
    /// Bytes, per node where it is not shared.
    pub(crate) total: u64,
    /// Bytes in use: one figure if shared, else one per node.
    pub(crate) used: Vec<u64>,
    /// What its definition says beyond the above.
    pub(crate) options: Map<String, Value>,
    pub(crate) volumes: Vec<Volume>,
}

/// One volume.
#[derive(Debug, Clone)]
pub(crate) struct Volume {
    pub(crate) volid: String,
    /// The node it lies on; absent on shared storage.
    pub(crate) node: Option<usize>,
    pub(crate) vmid: Option<u32>,
    pub(crate) content: &'static str,
    pub(crate) format: &'static str,
    pub(crate) size: u64,
    pub(crate) ctime: i64,
    pub(crate) notes: Option<String>,
    pub(crate) protected: bool,
    /// State of the last verification, for backups on PBS.
    pub(crate) verified: Option<(bool, String)>,
    /// `qemu` or `lxc`, for backups.
    pub(crate) subtype: Option<&'static str>,
}

// === impl Storage ===

impl Storage {
    pub(crate) fn used_on(&self, node: usize) -> u64 {
        let at = if self.shared { 0 } else { node };
        self.used.get(at).copied().unwrap_or(0).min(self.total)
    }

    pub(crate) fn add_used(&mut self, node: usize, bytes: i64) {
        let at = if self.shared { 0 } else { node };
        if let Some(used) = self.used.get_mut(at) {
            *used = used.saturating_add_signed(bytes).min(self.total);
        }
    }

    /// Volumes that a node sees.
    pub(crate) fn volumes_on(&self, node: usize) -> impl Iterator<Item = &Volume> {
        self.volumes.iter().filter(move |volume| volume.node.is_none_or(|at| at == node))
    }

    pub(crate) fn holds(&self, content: &str) -> bool {
        self.content.split(',').any(|kind| kind == content)
    }
}
