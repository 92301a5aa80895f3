//! Storage as work: contents, uploads, downloads, what fills and when.

use crate::tool::EstateTool;

/// The tools, in the order of their list.
pub(super) static TOOLS: &[&dyn EstateTool] = &[];
