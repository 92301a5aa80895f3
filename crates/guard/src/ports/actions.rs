//! Actions: what was about to be sent is on disk before it is sent.

use async_trait::async_trait;
use estate::{Access, Upid};
use jiff::Timestamp;

use super::{ActionId, ApprovalId, KeptCall, PortError};
use crate::{
    PlanDigest, PlannedCall, Principal,
    budget::{Budget, Spent},
};

/// An action that was begun.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    /// Its id.
    pub id: ActionId,
    /// Who asked.
    pub principal: Principal,
    /// The tool.
    pub tool: String,
    /// What it is about, in words.
    pub target: String,
    /// The plan that runs.
    pub digest: PlanDigest,
    /// The approval under which it runs, if it took one.
    pub approval: Option<ApprovalId>,
    /// The tier of the call.
    pub access: Access,
    /// Whether nobody was asked.
    pub unasked: bool,
    /// How many steps the plan has.
    pub steps: u32,
    /// The process that works on it, as [`NewAction::owner`].
    pub owner: String,
    /// When it was begun.
    pub begun_at: Timestamp,
    /// How far it is.
    pub state: ActionState,
    /// The sentence that it ended with.
    pub lead: Option<String>,
    /// What was about to be sent, and what became of it, in the order of the steps.
    pub intents: Vec<Intent>,
}

/// What is needed to begin.
#[derive(Clone, Debug)]
pub struct NewAction {
    /// Who asks.
    pub principal: Principal,
    /// The tool.
    pub tool: String,
    /// What it is about, in words.
    pub target: String,
    /// The plan that runs.
    pub digest: PlanDigest,
    /// The approval under which it runs.
    pub approval: Option<ApprovalId>,
    /// The tier of the call.
    pub access: Access,
    /// Whether nobody was asked.
    pub unasked: bool,
    /// How many steps the plan has.
    pub steps: u32,
    /// The process that works on it: whoever recovers after a crash knows by this text whether that
    /// process is gone.
    pub owner: String,
    /// The call; sealed where it is kept.
    pub call: KeptCall,
}

/// One step that was about to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Intent {
    /// The step, from 0.
    pub step: u32,
    /// What it does, in words.
    pub what: String,
    /// The calls, secrets as keyed hashes.
    pub calls: Vec<PlannedCall>,
    /// How its task is recognised where the answer that names it is lost.
    pub trace: Option<TaskTrace>,
    /// When it was written, which is before it was sent.
    pub at: Timestamp,
    /// Its task, once known.
    pub upid: Option<Upid>,
    /// How it ended.
    pub end: Option<StepEnd>,
}

/// What the task of a call looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskTrace {
    /// The member's settings key.
    pub member: String,
    /// The node that is asked.
    pub node: String,
    /// The types that it may have.
    pub kinds: Vec<String>,
    /// The id that stands in its UPID.
    pub id: String,
    /// The user that stands in its UPID, where that is known.
    pub user: Option<String>,
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepEnd {
    /// Well.
    Done,
    /// It failed; why.
    Failed(String),
    /// Nobody can tell; why.
    Unknown(String),
    /// It was not sent: a freeze came between, or the caller gave up.
    NotSent(String),
}

/// How far an action is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ActionState {
    /// At work, or its process is gone.
    Running,
    /// Done.
    Done,
    /// Failed.
    Failed,
    /// Nobody can tell; a person looks at it.
    Unknown,
    /// Stopped before it was through.
    Cancelled,
}

/// Which actions are listed.
#[derive(Clone, Debug, Default)]
pub struct ActionFilter {
    /// Only this principal's.
    pub principal: Option<Principal>,
    /// Only those in one of these states; empty for all.
    pub states: Vec<ActionState>,
    /// Only those that were begun at or after this time.
    pub since: Option<Timestamp>,
    /// At most so many; 0 for all.
    pub limit: u32,
}

/// Where actions are kept.
#[async_trait]
pub trait Actions: Send + Sync + 'static {
    /// Begins one, under a new random id.
    ///
    /// # Errors
    /// It cannot be written: then nothing is sent.
    async fn begin(&self, action: NewAction, now: Timestamp) -> Result<ActionId, PortError>;

    /// Begins one if the principal's budget of what it began at or after `since` has room for it. Looking and
    /// beginning are one step: of any number of callers no more begin than there is room for.
    ///
    /// # Errors
    /// It cannot be written: then nothing is sent.
    async fn begin_within(
        &self,
        action: NewAction,
        now: Timestamp,
        since: Timestamp,
        budget: &Budget,
    ) -> Result<Result<ActionId, Spent>, PortError>;

    /// Writes down what is about to be sent. It is on disk when this returns.
    ///
    /// # Errors
    /// There is no such running action, the step was written already, or it cannot be written: then
    /// nothing is sent.
    async fn intend(&self, id: ActionId, intent: Intent) -> Result<(), PortError>;

    /// Notes the task that a step began.
    ///
    /// # Errors
    /// There is no such step, or it cannot be written.
    async fn sent(&self, id: ActionId, step: u32, upid: &Upid) -> Result<(), PortError>;

    /// Notes how a step ended.
    ///
    /// # Errors
    /// There is no such step, or it cannot be written.
    async fn ended(&self, id: ActionId, step: u32, end: StepEnd) -> Result<(), PortError>;

    /// Ends a running action, or settles an unknown one.
    ///
    /// # Errors
    /// There is none, or it has ended otherwise.
    async fn finish(
        &self,
        id: ActionId,
        state: ActionState,
        lead: &str,
        now: Timestamp,
    ) -> Result<(), PortError>;

    /// The action with this id.
    ///
    /// # Errors
    /// It cannot be read.
    async fn action(&self, id: ActionId) -> Result<Option<Action>, PortError>;

    /// The actions that fit, newest first.
    ///
    /// # Errors
    /// They cannot be read.
    async fn actions(&self, filter: &ActionFilter) -> Result<Vec<Action>, PortError>;

    /// How many actions this principal began at or after `since`; only those that nobody was asked
    /// for, if `unasked`.
    ///
    /// # Errors
    /// They cannot be read.
    async fn count(
        &self,
        principal: &Principal,
        since: Timestamp,
        unasked: bool,
    ) -> Result<u64, PortError>;
}

// === impl ActionState ===

impl ActionState {
    /// Every state.
    pub const ALL: [Self; 5] =
        [Self::Running, Self::Done, Self::Failed, Self::Unknown, Self::Cancelled];

    /// The word that stores and answers use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}
