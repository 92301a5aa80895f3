//! What a caller does about consent: waits for it, stops all changes, takes back, confirms.
//!
//! *Invariant:* none of these decides anything: there is no tool that approves, and none that lifts
//! a freeze.

mod approvals;
mod confirm;
mod freeze;
mod undo;

pub use approvals::{ApprovalWait, ApprovalsList};
pub use confirm::ChangeConfirm;
pub use freeze::Freeze;
pub use undo::Undo;

use crate::{
    error::{Kind, ToolError},
    gate::Ports,
    tool::{Cx, EstateTool},
};

/// The tools, in the order of their list.
pub(crate) static TOOLS: &[&dyn EstateTool] =
    &[&ApprovalWait, &ApprovalsList, &Freeze, &Undo, &ChangeConfirm];

/// What is remembered; an error where nothing is.
fn ports(cx: &Cx) -> Result<&Ports, ToolError> {
    cx.guard().and_then(|guard| guard.ports()).ok_or_else(|| {
        ToolError::new("this server remembers nothing from call to call: it has no store")
            .of_kind(Kind::Unavailable)
    })
}

/// What is remembered cannot be read or written.
fn closed(doing: &str, error: &guard::ports::PortError) -> ToolError {
    let kind = if error.is_not_found() { Kind::NotFound } else { Kind::Unavailable };
    ToolError::new(format!("cannot {doing}: {error}")).of_kind(kind)
}
