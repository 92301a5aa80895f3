//! The whole Proxmox API through four tools that the published schema drives.

use crate::tool::EstateTool;

/// The tools, in the order of their list.
pub(super) static TOOLS: &[&dyn EstateTool] = &[];
