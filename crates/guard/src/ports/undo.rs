//! Ways back: what was before, and changes that are reverted unless somebody confirms them.

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;

use super::{ActionId, ConfirmId, KeptCall, PortError, UndoId};
use crate::Principal;

/// A way back from an action.
#[derive(Clone, Debug, PartialEq)]
pub struct Undo {
    /// Its id.
    pub id: UndoId,
    /// The action that it takes back.
    pub action: ActionId,
    /// Who asked for that.
    pub principal: Principal,
    /// By which tool.
    pub tool: String,
    /// The address of what was changed (`lab/104`).
    pub target: String,
    /// What was done, in words.
    pub what: String,
    /// What was before, redacted, for people.
    pub before: Value,
    /// The state right after the action, by name: where it moved since, something newer would be
    /// lost.
    pub after: Value,
    /// When it was kept.
    pub kept_at: Timestamp,
    /// Until when it can be used.
    pub expires_at: Timestamp,
    /// When it was used.
    pub used_at: Option<Timestamp>,
}

/// What is needed to keep a way back.
#[derive(Clone, Debug)]
pub struct NewUndo {
    /// The action.
    pub action: ActionId,
    /// Who asked for it.
    pub principal: Principal,
    /// By which tool.
    pub tool: String,
    /// The address of what was changed.
    pub target: String,
    /// What was done, in words.
    pub what: String,
    /// What was before, redacted.
    pub before: Value,
    /// The state right after.
    pub after: Value,
    /// The calls that put it back, of this server's own tools; sealed where they are kept.
    pub calls: Vec<KeptCall>,
    /// Until when it can be used.
    pub expires_at: Timestamp,
}

/// Which ways back are listed.
#[derive(Clone, Debug, Default)]
pub struct UndoFilter {
    /// Only this principal's.
    pub principal: Option<Principal>,
    /// Only those about this address.
    pub target: Option<String>,
    /// Only those that can still be used at this time.
    pub usable_at: Option<Timestamp>,
    /// At most so many; 0 for all.
    pub limit: u32,
}

/// Where ways back are kept.
#[async_trait]
pub trait Undos: Send + Sync + 'static {
    /// Keeps one, under a new random id.
    ///
    /// # Errors
    /// It cannot be written.
    async fn keep(&self, undo: NewUndo, now: Timestamp) -> Result<Undo, PortError>;

    /// The one with this id.
    ///
    /// # Errors
    /// It cannot be read.
    async fn undo(&self, id: UndoId) -> Result<Option<Undo>, PortError>;

    /// The calls that put it back, in their order.
    ///
    /// # Errors
    /// There is none, or they cannot be opened.
    async fn calls(&self, id: UndoId) -> Result<Vec<KeptCall>, PortError>;

    /// Those that fit, newest first.
    ///
    /// # Errors
    /// They cannot be read.
    async fn undos(&self, filter: &UndoFilter) -> Result<Vec<Undo>, PortError>;

    /// Uses one up; of any number of callers exactly one succeeds.
    ///
    /// # Errors
    /// There is none, it was used, or its time ran out.
    async fn take(&self, id: UndoId, now: Timestamp) -> Result<Undo, PortError>;
}

/// A change that is reverted unless it is confirmed.
#[derive(Clone, Debug, PartialEq)]
pub struct Confirm {
    /// Its id.
    pub id: ConfirmId,
    /// The action that made the change.
    pub action: ActionId,
    /// Who asked for that.
    pub principal: Principal,
    /// What was changed, in words.
    pub what: String,
    /// When it was armed.
    pub armed_at: Timestamp,
    /// When it is reverted.
    pub deadline: Timestamp,
    /// How far it is.
    pub state: ConfirmState,
    /// What the revert said.
    pub lead: Option<String>,
}

/// What is needed to arm a revert.
#[derive(Clone, Debug)]
pub struct NewConfirm {
    /// The action.
    pub action: ActionId,
    /// Who asked for it.
    pub principal: Principal,
    /// What is changed, in words.
    pub what: String,
    /// When it is reverted.
    pub deadline: Timestamp,
    /// The calls that revert it, of this server's own tools; sealed where they are kept.
    pub calls: Vec<KeptCall>,
}

/// How far a change that waits for confirmation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ConfirmState {
    /// Waits.
    Armed,
    /// Somebody confirmed it.
    Confirmed,
    /// Taken for reverting.
    Reverting,
    /// Reverted.
    Reverted,
    /// The revert failed.
    Failed,
    /// Not needed: the change was never made.
    Dropped,
}

/// Where changes that wait for confirmation are kept.
#[async_trait]
pub trait Confirms: Send + Sync + 'static {
    /// Arms a revert, before the change is made, under a new random id.
    ///
    /// # Errors
    /// It cannot be written: then the change is not made.
    async fn arm(&self, confirm: NewConfirm, now: Timestamp) -> Result<Confirm, PortError>;

    /// The one with this id.
    ///
    /// # Errors
    /// It cannot be read.
    async fn confirm_record(&self, id: ConfirmId) -> Result<Option<Confirm>, PortError>;

    /// The calls that revert it.
    ///
    /// # Errors
    /// There is none, or they cannot be opened.
    async fn revert_calls(&self, id: ConfirmId) -> Result<Vec<KeptCall>, PortError>;

    /// Confirms an armed change before its deadline.
    ///
    /// # Errors
    /// There is none, it is not armed, or its deadline is over.
    async fn confirm(&self, id: ConfirmId, now: Timestamp) -> Result<Confirm, PortError>;

    /// Takes what is due for reverting: armed, deadline over. Each is given to one caller only,
    /// and again to whoever asks first after that caller's `lease` is over without a result.
    ///
    /// # Errors
    /// They cannot be written.
    async fn take_due(
        &self,
        now: Timestamp,
        lease: std::time::Duration,
    ) -> Result<Vec<Confirm>, PortError>;

    /// Says how a revert ended, or drops one whose change was never made.
    ///
    /// # Errors
    /// There is none, or it has ended otherwise.
    async fn settle(
        &self,
        id: ConfirmId,
        state: ConfirmState,
        lead: &str,
    ) -> Result<Confirm, PortError>;

    /// Those that are armed or at work, by deadline.
    ///
    /// # Errors
    /// They cannot be read.
    async fn open_confirms(&self) -> Result<Vec<Confirm>, PortError>;
}

// === impl Undo ===

impl Undo {
    /// Whether it can still be used.
    pub fn is_usable(&self, now: Timestamp) -> bool {
        self.used_at.is_none() && now < self.expires_at
    }
}

// === impl ConfirmState ===

impl ConfirmState {
    /// Every state.
    pub const ALL: [Self; 6] = [
        Self::Armed,
        Self::Confirmed,
        Self::Reverting,
        Self::Reverted,
        Self::Failed,
        Self::Dropped,
    ];

    /// The word that stores and answers use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Armed => "armed",
            Self::Confirmed => "confirmed",
            Self::Reverting => "reverting",
            Self::Reverted => "reverted",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }

    /// The state of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}
