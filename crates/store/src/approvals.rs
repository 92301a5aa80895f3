//! Consent: asked for once, decided once, used once, and gone when time runs out.

use guard::Principal;
use jiff::Timestamp;

use crate::rows::micros;
use crate::{ApprovalId, Error, ErrorKind, PlanDigest};

/// A person's consent to one plan, or the question for it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Approval {
    /// Its id.
    pub id: ApprovalId,
    /// The plan that it is bound to.
    pub plan_digest: PlanDigest,
    /// Who wants to run the plan.
    pub requested_by: Principal,
    /// When it was asked for.
    pub asked_at: Timestamp,
    /// From when on it is worth nothing, whatever was decided.
    pub expires_at: Timestamp,
    /// The last thing that happened to it; see [`Approval::is_expired`].
    pub state: ApprovalState,
    /// Who decided.
    pub decided_by: Option<Principal>,
    /// When it was decided.
    pub decided_at: Option<Timestamp>,
}

/// What is needed to ask for an approval.
#[derive(Clone, Debug)]
pub struct NewApproval {
    /// The plan that it is for.
    pub plan_digest: PlanDigest,
    /// Who wants to run the plan.
    pub requested_by: Principal,
    /// When it lapses; silence until then is a refusal.
    pub expires_at: Timestamp,
}

/// The last thing that happened to an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ApprovalState {
    /// Nobody has decided.
    Pending,
    /// Consent was given and not used yet.
    Approved,
    /// Consent was refused.
    Refused,
    /// Consent was given and used up.
    Used,
}

/// What a person decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Yes.
    Approve,
    /// No.
    Refuse,
}

/// Where approvals are kept.
#[async_trait::async_trait]
pub trait ApprovalStore: Send + Sync + 'static {
    /// Asks, under a new id.
    async fn ask(&self, approval: NewApproval, now: Timestamp) -> Result<Approval, Error>;

    /// The approval with this id.
    async fn approval(&self, id: ApprovalId) -> Result<Option<Approval>, Error>;

    /// What waits for a decision at `now`, oldest first.
    async fn pending_approvals(&self, now: Timestamp) -> Result<Vec<Approval>, Error>;

    /// Decides a pending approval.
    ///
    /// # Errors
    ///
    /// Not found, or a conflict when it is decided already or has expired.
    async fn decide(
        &self,
        id: ApprovalId,
        decision: Decision,
        by: &Principal,
        now: Timestamp,
    ) -> Result<Approval, Error>;

    /// Uses up the consent to this plan; of any number of callers exactly one succeeds.
    ///
    /// # Errors
    ///
    /// Not found, or a conflict when it is not approved, is used, has expired, or is for another
    /// plan.
    async fn use_approval(
        &self,
        id: ApprovalId,
        plan: PlanDigest,
        now: Timestamp,
    ) -> Result<Approval, Error>;
}

// === impl NewApproval ===

impl NewApproval {
    /// The approval that this asks for.
    pub(crate) fn pending(self, now: Timestamp) -> Approval {
        Approval {
            id: ApprovalId::random(),
            plan_digest: self.plan_digest,
            requested_by: self.requested_by,
            asked_at: micros::floor(now),
            expires_at: micros::floor(self.expires_at),
            state: ApprovalState::Pending,
            decided_by: None,
            decided_at: None,
        }
    }
}

// === impl Approval ===

impl Approval {
    /// Whether its time has run out. A used approval stays used.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.state != ApprovalState::Used && now >= self.expires_at
    }

    /// Why it cannot be decided, or used for `plan`, in words that follow "it".
    fn obstacle(&self, plan: Option<PlanDigest>, now: Timestamp) -> &'static str {
        match self.state {
            _ if self.is_expired(now) => "has expired",
            _ if plan.is_some_and(|plan| plan != self.plan_digest) => "is for another plan",
            ApprovalState::Pending => "is still undecided",
            ApprovalState::Approved => "is already approved",
            ApprovalState::Refused => "was refused",
            ApprovalState::Used => "is already used",
        }
    }
}

// === impl ApprovalState ===

impl ApprovalState {
    const ALL: [Self; 4] = [Self::Pending, Self::Approved, Self::Refused, Self::Used];

    /// The word that the store and answers use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Refused => "refused",
            Self::Used => "used",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

impl From<Decision> for ApprovalState {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Approve => Self::Approved,
            Decision::Refuse => Self::Refused,
        }
    }
}

/// Why an approval could not be decided, or used for `plan`, from what was found.
pub(crate) fn refused(
    operation: &str,
    id: ApprovalId,
    found: Option<&Approval>,
    plan: Option<PlanDigest>,
    now: Timestamp,
) -> Error {
    let Some(found) = found else {
        let message = format!("{operation} approval {id}: there is none");
        return Error::new(ErrorKind::NotFound, message);
    };
    let obstacle = found.obstacle(plan, now);
    Error::new(ErrorKind::Conflict, format!("{operation} approval {id}: it {obstacle}"))
}
