//! Guests as an administrator handles them: made, changed, moved, removed, and commands inside them.

use crate::tool::EstateTool;

/// The tools, in the order of their list.
pub(super) static TOOLS: &[&dyn EstateTool] = &[];
