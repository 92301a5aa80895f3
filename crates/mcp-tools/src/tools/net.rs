//! Networks: interfaces and what is pending, SDN, and the firewall.

use crate::tool::EstateTool;

/// The tools, in the order of their list.
pub(super) static TOOLS: &[&dyn EstateTool] = &[];
