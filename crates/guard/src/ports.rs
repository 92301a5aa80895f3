//! The ports of the guard: what must be remembered so that consent, budgets and undo hold, as traits
//! that whoever runs the work is given.
//!
//! The gate (in `mcp-tools`) decides and calls; behind these traits stand a store, or a manager at
//! the other end of a socket, or memory in tests. Types are plain: they hold what was decided, and
//! know nothing of how it is kept.
//!
//! *Invariant:* every change of state is one step of the implementation, so that of any number of
//! callers exactly one wins. *Invariant:* what is written is durable when a call returns.
//! *Invariant:* the arguments of a call ([`KeptCall`]) are secret: implementations seal them on disk,
//! and `Debug` does not show them.

mod actions;
mod approvals;
mod brakes;
mod consent;
mod ids;
mod undo;

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::Principal;

pub use self::actions::{
    Action, ActionFilter, ActionState, Actions, Intent, NewAction, StepEnd, TaskTrace,
};
pub use self::approvals::{
    Approval, ApprovalFilter, ApprovalState, Approvals, Approvers, DecisionRecord, NewApproval,
    Outcome, Way,
};
pub use self::brakes::{Brakes, CodeUse};
pub use self::consent::{Addressee, Announcement, ConsentChannel, ConsentInbox, Pressed};
pub use self::ids::{ActionId, ApprovalId, ConfirmId, InvalidId, UndoId};
pub use self::undo::{
    Confirm, ConfirmState, Confirms, NewConfirm, NewUndo, Undo, UndoFilter, Undos,
};

/// Why a port did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PortError {
    kind: PortErrorKind,
    message: String,
}

/// What kind of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PortErrorKind {
    /// There is no such record.
    NotFound,
    /// The record is not in a state that allows it; the message says which it is in.
    Conflict,
    /// It cannot be reached, or could not write.
    Unavailable,
}

/// A call of a tool as it was asked for, kept so that it can be planned again and run later.
#[derive(Clone, PartialEq)]
pub struct KeptCall {
    /// The tool.
    pub tool: String,
    /// Its arguments, secrets included.
    pub arguments: Map<String, Value>,
}

/// An order to stop all changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freeze {
    /// Who stopped them.
    pub by: Principal,
    /// Since when.
    pub since: Timestamp,
    /// Until when; without it, until a person lifts it.
    pub until: Option<Timestamp>,
    /// Why.
    pub reason: String,
}

/// Where orders to stop all changes are kept.
#[async_trait]
pub trait Freezes: Send + Sync + 'static {
    /// Stops all changes. One that holds longer than another that is in force wins.
    ///
    /// # Errors
    /// It cannot be written.
    async fn freeze(&self, freeze: Freeze) -> Result<(), PortError>;

    /// Lifts whatever is in force; whether there was anything.
    ///
    /// # Errors
    /// It cannot be written.
    async fn lift(&self, by: &Principal, at: Timestamp) -> Result<bool, PortError>;

    /// What is in force now. Asked before every write, so it is to be quick.
    ///
    /// # Errors
    /// It cannot be read: then nothing is written to the estate either.
    async fn frozen(&self, now: Timestamp) -> Result<Option<Freeze>, PortError>;
}

// === impl PortError ===

impl PortError {
    /// This kind, with what failed, on what and why.
    pub fn new(kind: PortErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// What kind of failure it was.
    pub fn kind(&self) -> PortErrorKind {
        self.kind
    }

    /// Whether there is no such record.
    pub fn is_not_found(&self) -> bool {
        self.kind == PortErrorKind::NotFound
    }

    /// Whether the record is in a state that does not allow it.
    pub fn is_conflict(&self) -> bool {
        self.kind == PortErrorKind::Conflict
    }
}

// === impl KeptCall ===

impl fmt::Debug for KeptCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptCall").field("tool", &self.tool).finish_non_exhaustive()
    }
}

// === impl Freeze ===

impl Freeze {
    /// Whether it holds at this time.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}
