//! Approvals: asked for once, decided finally, used once.

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;

use super::{ApprovalId, KeptCall, PortError};
use crate::{PlanDigest, PlanForm, Principal};

/// A question to people, and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Approval {
    /// Its id.
    pub id: ApprovalId,
    /// The plan that it is for.
    pub digest: PlanDigest,
    /// That plan; what moved is found by comparing with it.
    pub form: PlanForm,
    /// Who asked.
    pub requested_by: Principal,
    /// When it was asked.
    pub asked_at: Timestamp,
    /// From when on it is worth nothing.
    pub expires_at: Timestamp,
    /// The line of policy that asks.
    pub rule: String,
    /// How many different approvers must agree.
    pub needed: u32,
    /// Who may decide: names of approvers or of groups; empty for any approver.
    pub of: Vec<String>,
    /// Whether an answer in the asking client counts.
    pub client_counts: bool,
    /// The plan in words, redacted, for those who decide.
    pub summary: String,
    /// How far it is.
    pub state: ApprovalState,
    /// What was decided so far, oldest first.
    pub decisions: Vec<DecisionRecord>,
    /// What the work answered, for the asker.
    pub result: Option<Value>,
    /// Why it is void, if it is.
    pub void_reason: Option<String>,
    /// The approval that took its place.
    pub replaced_by: Option<ApprovalId>,
}

/// What is needed to ask.
#[derive(Clone, Debug)]
pub struct NewApproval {
    /// The plan.
    pub form: PlanForm,
    /// Who asks.
    pub requested_by: Principal,
    /// When silence becomes a refusal.
    pub expires_at: Timestamp,
    /// The line of policy that asks.
    pub rule: String,
    /// How many different approvers must agree.
    pub needed: u32,
    /// Who may decide; empty for any approver.
    pub of: Vec<String>,
    /// Whether an answer in the asking client counts.
    pub client_counts: bool,
    /// The plan in words, redacted.
    pub summary: String,
    /// The call to plan again and to run; sealed where it is kept.
    pub call: KeptCall,
}

/// How far an approval is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ApprovalState {
    /// Not enough have decided.
    Pending,
    /// Enough agreed; the work has not begun.
    Approved,
    /// The work was begun by the one who claimed it.
    Running,
    /// The work is done.
    Done,
    /// The work failed.
    Failed,
    /// Nobody can tell what became of the work.
    Unknown,
    /// Somebody refused.
    Refused,
    /// Time ran out.
    Expired,
    /// What it was about moved.
    Void,
}

/// By which way a decision came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Way {
    /// A question that the asking client showed to its person.
    Client,
    /// The control socket, by the peer's uid.
    PeerUid,
    /// A passphrase typed on a terminal, by which the decision was signed.
    Passphrase,
    /// A one-time code typed on a terminal.
    OneTimeCode,
    /// A signed link.
    Link,
    /// An identity on a messaging channel.
    Channel,
}

/// One decision, made by one person. It is final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionRecord {
    /// The approver's name in the settings.
    pub approver: String,
    /// As whom they were seen.
    pub principal: Principal,
    /// How it came.
    pub way: Way,
    /// Whether they agree.
    pub agrees: bool,
    /// When.
    pub at: Timestamp,
    /// What they said about it.
    pub note: Option<String>,
    /// What proves that it is theirs, where the way gives such a proof.
    pub signature: Option<String>,
}

/// How the work of an approval ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// It failed.
    Failed,
    /// Nobody can tell.
    Unknown,
}

/// Which approvals are listed.
#[derive(Clone, Debug, Default)]
pub struct ApprovalFilter {
    /// Only this principal's.
    pub requested_by: Option<Principal>,
    /// Only those in one of these states; empty for all.
    pub states: Vec<ApprovalState>,
    /// At most so many; 0 for all.
    pub limit: u32,
}

/// Where approvals are kept.
///
/// A state is left only as `pending → approved → running → done|failed|unknown`,
/// `pending → refused|expired|void` and `approved → void|expired`, and goes back only by
/// [`Approvals::release`]; what is asked for otherwise is a conflict. Time that ran out counts at once, whether or not [`Approvals::expire`] has come by.
#[async_trait]
pub trait Approvals: Send + Sync + 'static {
    /// Asks, under a new random id.
    ///
    /// # Errors
    /// It cannot be written.
    async fn ask(&self, approval: NewApproval, now: Timestamp) -> Result<Approval, PortError>;

    /// The approval with this id.
    ///
    /// # Errors
    /// It cannot be read.
    async fn approval(&self, id: ApprovalId) -> Result<Option<Approval>, PortError>;

    /// The approvals that fit, newest first.
    ///
    /// # Errors
    /// They cannot be read.
    async fn approvals(&self, filter: &ApprovalFilter) -> Result<Vec<Approval>, PortError>;

    /// The call that an approval is for.
    ///
    /// # Errors
    /// There is none, or it cannot be opened.
    async fn kept_call(&self, id: ApprovalId) -> Result<KeptCall, PortError>;

    /// Adds a decision. One refusal refuses; agreement counts once per approver's name. Whether the
    /// approver may decide is settled before, by [`Approvers::may_decide`].
    ///
    /// # Errors
    /// There is none, it is not pending any more, or this approver has decided already.
    async fn decide(
        &self,
        id: ApprovalId,
        decision: DecisionRecord,
        now: Timestamp,
    ) -> Result<Approval, PortError>;

    /// Takes an approved plan for running; of any number of callers exactly one succeeds.
    ///
    /// # Errors
    /// There is none, it is not approved, has expired, or is for another plan.
    async fn claim(
        &self,
        id: ApprovalId,
        digest: &PlanDigest,
        now: Timestamp,
    ) -> Result<Approval, PortError>;

    /// Gives back what was claimed by a program that is gone and has sent nothing: it is approved
    /// again, for as long as its time lasts.
    ///
    /// # Errors
    /// There is none, or it is not running.
    async fn release(&self, id: ApprovalId, now: Timestamp) -> Result<Approval, PortError>;

    /// Says how the work that was claimed ended, and keeps its answer for the asker.
    ///
    /// # Errors
    /// There is none, or it is not running.
    async fn finish(
        &self,
        id: ApprovalId,
        outcome: Outcome,
        result: Value,
        now: Timestamp,
    ) -> Result<Approval, PortError>;

    /// Voids one that is pending or approved, and asks its successor in the same step; that comes
    /// back second.
    ///
    /// # Errors
    /// There is none, or it is neither pending nor approved.
    async fn void(
        &self,
        id: ApprovalId,
        reason: &str,
        successor: Option<NewApproval>,
        now: Timestamp,
    ) -> Result<(Approval, Option<Approval>), PortError>;

    /// Marks those whose time has run out, and returns them.
    ///
    /// # Errors
    /// They cannot be written.
    async fn expire(&self, now: Timestamp) -> Result<Vec<Approval>, PortError>;
}

/// Who may decide: what the settings say of approvers. No I/O.
pub trait Approvers: Send + Sync + 'static {
    /// Whether there is any way to ask anybody but the client; if not, what asks is refused with the
    /// one-time set-up.
    fn can_be_asked(&self) -> bool;

    /// Whom a question goes to, in words; `of` as in [`Approval::of`].
    fn asked(&self, of: &[String]) -> String;

    /// Whether this decision counts for this approval: who, by which way, and, where the way gives
    /// one, whether the proof is right. Checked when it is made, and again before the work runs.
    ///
    /// # Errors
    /// Why it does not count.
    fn may_decide(&self, approval: &Approval, decision: &DecisionRecord) -> Result<(), String>;
}

// === impl Approval ===

impl Approval {
    /// Whether its time ran out before it was used.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        matches!(self.state, ApprovalState::Pending | ApprovalState::Approved)
            && now >= self.expires_at
    }

    /// Its state at this time: what ran out is expired, whether or not that was written down yet.
    pub fn state_at(&self, now: Timestamp) -> ApprovalState {
        if self.is_expired(now) { ApprovalState::Expired } else { self.state }
    }
}

// === impl ApprovalState ===

impl ApprovalState {
    /// Every state.
    pub const ALL: [Self; 9] = [
        Self::Pending,
        Self::Approved,
        Self::Running,
        Self::Done,
        Self::Failed,
        Self::Unknown,
        Self::Refused,
        Self::Expired,
        Self::Void,
    ];

    /// The word that stores and answers use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Refused => "refused",
            Self::Expired => "expired",
            Self::Void => "void",
        }
    }

    /// The state of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether nothing more can come of it.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Approved | Self::Running)
    }
}

// === impl Way ===

impl Way {
    /// Every way.
    pub const ALL: [Self; 6] = [
        Self::Client,
        Self::PeerUid,
        Self::Passphrase,
        Self::OneTimeCode,
        Self::Link,
        Self::Channel,
    ];

    /// The word that stores and answers use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::PeerUid => "peer_uid",
            Self::Passphrase => "passphrase",
            Self::OneTimeCode => "one_time_code",
            Self::Link => "link",
            Self::Channel => "channel",
        }
    }

    /// The way of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|way| way.as_str() == word)
    }
}

// === impl Outcome ===

impl From<Outcome> for ApprovalState {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::Done,
            Outcome::Failed => Self::Failed,
            Outcome::Unknown => Self::Unknown,
        }
    }
}
