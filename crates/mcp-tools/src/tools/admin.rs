//! The cluster and its keepers: HA, replication, Ceph, pools, access, certificates, updates, disks, services, logs.

use crate::tool::EstateTool;

/// The tools, in the order of their list.
pub(super) static TOOLS: &[&dyn EstateTool] = &[];
