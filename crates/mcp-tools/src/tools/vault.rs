//! Backups as work: run, restored, verified, pruned; and the evidence of which guests are covered.

use crate::tool::EstateTool;

/// The tools, in the order of their list.
pub(super) static TOOLS: &[&dyn EstateTool] = &[];
