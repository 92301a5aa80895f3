//! What goes over the wire. Both ends are of one version, so a form may change with [`crate::REVISION`].

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a client says first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// The client's version.
    pub version: String,
    /// The interface that it speaks.
    pub revision: u32,
}

/// What the manager says first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The manager's version.
    pub version: String,
    /// The interface that it speaks.
    pub revision: u32,
    /// Its process.
    pub pid: u32,
    /// Who the caller is to it, for example `local:1000`.
    pub principal: String,
    /// What the caller may see and do besides what is its own.
    pub standing: Standing,
}

/// What a peer is to the manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Standing {
    /// It sees and does what is its own.
    Caller,
    /// Root, or the account that the manager runs as: it sees everything.
    Owner,
    /// Its account, or a group of it, is an approver's: it sees everything, and may decide what
    /// others have asked for.
    Approver {
        /// The approver's name.
        name: String,
    },
}

/// How the manager is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Since when it runs.
    #[serde(with = "crate::at")]
    pub started: Timestamp,
    /// How far it goes for any caller.
    pub mode: String,
    /// The clusters and servers that it has credentials for.
    pub members: Vec<String>,
    /// Whether changes are stopped.
    pub frozen: Option<Freeze>,
    /// How many approvals wait for a decision.
    pub approvals_pending: u64,
    /// How many actions are under way.
    pub actions_running: u64,
    /// How many actions ended in a way that is not known and wait for a person to say.
    pub actions_unknown: u64,
    /// How many changes wait to be confirmed.
    pub confirms_waiting: u64,
    /// The names of those who can approve.
    pub approvers: Vec<String>,
    /// What runs inside.
    pub components: Vec<Component>,
}

/// One supervised part of the manager.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Component {
    /// Its name.
    pub name: String,
    /// How it is.
    pub state: ComponentState,
    /// How often it was started again.
    pub restarts: u32,
    /// Since when it is as it is.
    #[serde(with = "crate::at")]
    pub since: Timestamp,
    /// Why it failed last.
    pub error: Option<String>,
}

/// How a component is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ComponentState {
    /// It runs.
    Running,
    /// It failed, and is started again after a while.
    Waiting,
    /// It has ended.
    Stopped,
}

/// Which approvals.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalFilter {
    /// In these states only; in any, if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<String>,
    /// At most so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// One approval, as lists show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Approval {
    /// What it is known by. It is no secret, and approves nothing by itself.
    pub id: String,
    /// The digest of the plan that consent is asked for.
    pub digest: String,
    /// Who asks.
    pub requested_by: String,
    /// When it was asked for.
    #[serde(with = "crate::at")]
    pub asked_at: Timestamp,
    /// When silence becomes a refusal.
    #[serde(with = "crate::at")]
    pub expires_at: Timestamp,
    /// The line of the policy that asks.
    pub rule: String,
    /// The tool that would run.
    pub tool: String,
    /// What would happen, in a sentence.
    pub summary: String,
    /// `pending`, `approved`, `running`, `done`, `failed`, `unknown`, `refused`, `expired` or `void`.
    pub state: String,
    /// How many have to agree.
    pub needed: u32,
    /// Who may: names or groups; anybody who is an approver, if empty.
    pub of: Vec<String>,
    /// What has been decided so far.
    pub decisions: Vec<Decided>,
    /// The answer of the work, when it is over.
    pub result: Option<Value>,
    /// Why the plan cannot be used any more.
    pub void_reason: Option<String>,
    /// The approval of the plan that took its place.
    pub replaced_by: Option<String>,
}

/// One decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decided {
    /// Who decided.
    pub approver: String,
    /// In which way.
    pub way: String,
    /// Whether it was a yes.
    pub approve: bool,
    /// When.
    #[serde(with = "crate::at")]
    pub at: Timestamp,
    /// What was said beside.
    pub note: Option<String>,
}

/// One approval with everything that a person wants to see before deciding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApprovalDetail {
    /// The approval.
    pub approval: Approval,
    /// The plan for people, in lines; what guests and others wrote is in it as data.
    pub text: String,
    /// The canonical plan: what the digest was taken of.
    pub form: Value,
}

/// A decision, and what proves whose it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecisionParams {
    /// The approval.
    pub id: String,
    /// The digest of the plan that was looked at; another one is refused.
    pub digest: String,
    /// Yes or no.
    pub approve: bool,
    /// Whose decision it is.
    pub proof: Proof,
    /// What is said beside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What proves that a person decided.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Proof {
    /// The account at the other end of the socket, which the system vouches for.
    Peer,
    /// A signature by the approver's key.
    Signature {
        /// The approver.
        approver: String,
        /// When it was made; it stands in what is signed.
        #[serde(with = "crate::at")]
        at: Timestamp,
        /// In base64.
        signature: String,
    },
    /// A one-time code of the approver.
    Code {
        /// The approver.
        approver: String,
        /// The digits.
        code: String,
    },
}

/// That changes are stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// Who stopped them.
    pub by: String,
    /// Since when.
    #[serde(with = "crate::at")]
    pub since: Timestamp,
    /// Until when; until a person lifts it, if nothing is said.
    #[serde(with = "crate::at::option")]
    pub until: Option<Timestamp>,
    /// Why.
    pub reason: Option<String>,
}

/// How to stop changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FreezeParams {
    /// For so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_secs: Option<u64>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Who lifts a freeze.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiftParams {
    /// The start of the freeze that is meant: a later one is not lifted by an earlier decision.
    #[serde(with = "crate::at")]
    pub since: Timestamp,
    /// Whose decision it is.
    pub proof: Proof,
}

/// A change that is reverted unless it is confirmed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Confirm {
    /// What it is known by.
    pub id: String,
    /// What was changed.
    pub what: String,
    /// Who asked for the change.
    pub principal: String,
    /// When it is reverted.
    #[serde(with = "crate::at")]
    pub deadline: Timestamp,
    /// `armed`, `confirmed`, `reverting`, `reverted` or `failed`.
    pub state: String,
}

/// Which actions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionFilter {
    /// In these states only; in any, if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<String>,
    /// At most so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Something that was or is being done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// What it is known by.
    pub id: String,
    /// `running`, `done`, `failed`, `unknown` or `cancelled`.
    pub state: String,
    /// Who asked for it.
    pub principal: String,
    /// The tool.
    pub tool: String,
    /// What it was done to.
    pub target: String,
    /// When it began.
    #[serde(with = "crate::at")]
    pub begun: Timestamp,
    /// The digest of its plan.
    pub digest: String,
    /// The approval that it ran under.
    pub approval: Option<String>,
    /// Whether nobody was asked.
    pub unasked: bool,
    /// How it ended, in a sentence.
    pub lead: Option<String>,
    /// How many steps its plan has.
    pub steps_planned: u32,
    /// What was about to be sent, and what became of it.
    pub steps: Vec<ActionStep>,
}

/// One step of an action that was about to be sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActionStep {
    /// Which one, from 0.
    pub step: u32,
    /// What it does, in words.
    pub what: String,
    /// The calls.
    pub calls: Vec<ActionCall>,
    /// When it was written down, which is before it was sent.
    #[serde(with = "crate::at")]
    pub at: Timestamp,
    /// Its task, once known.
    pub upid: Option<String>,
    /// How far it is, in words.
    pub end: String,
}

/// A call of an action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionCall {
    /// The settings key of the cluster or server.
    pub member: String,
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
}

/// How an action ended whose end is not known, and who says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettleParams {
    /// The action.
    pub id: String,
    /// How it ended: `done`, `failed` or `cancelled`.
    pub end: String,
    /// What the person found.
    pub note: String,
    /// Who says so.
    pub proof: Proof,
}

/// The newest record of the audit chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditHead {
    /// Its number.
    pub seq: u64,
    /// Its hash, in hexadecimal digits.
    pub hash: String,
}

/// Records of the audit chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditPage {
    /// The records, oldest first.
    pub records: Vec<AuditEntry>,
    /// Whether there are more.
    pub more: bool,
}

/// One record of the audit chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Its number.
    pub seq: u64,
    /// When.
    #[serde(with = "crate::at")]
    pub time: Timestamp,
    /// Who.
    pub principal: String,
    /// What.
    pub action: String,
    /// To what.
    pub target: String,
    /// The rest.
    pub payload: Value,
    /// Its hash, in hexadecimal digits.
    pub hash: String,
}

/// The tools that a caller may use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Toolbox {
    /// What a model is told at the start.
    pub instructions: String,
    /// The tools, in their order.
    pub tools: Vec<ToolInfo>,
}

/// What is said of a tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolInfo {
    /// Its name.
    pub name: String,
    /// For people.
    pub title: String,
    /// For models.
    pub description: String,
    /// The schema of its arguments.
    pub input_schema: Map<String, Value>,
    /// The schema of the structured answer.
    pub output_schema: Option<Map<String, Value>>,
    /// It changes nothing.
    pub read_only: bool,
    /// It may destroy something.
    pub destructive: bool,
    /// Calling it twice does no more than calling it once.
    pub idempotent: bool,
    /// It reaches beyond the estate.
    pub open_world: bool,
}

/// A call of a tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolCallParams {
    /// The tool.
    pub name: String,
    /// Its arguments.
    pub arguments: Map<String, Value>,
    /// Whether progress is wanted.
    pub progress: bool,
}

/// What happens in the course of a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToolEvent {
    /// It gets on.
    Progress {
        /// How far it is.
        current: f64,
        /// Of how much.
        total: Option<f64>,
        /// In words.
        message: Option<String>,
    },
    /// It has ended; nothing follows.
    Ended {
        /// Whether it failed.
        failed: bool,
        /// The answer, in the form that job stores keep.
        answer: Value,
    },
    /// It was not called at all; nothing follows.
    Refused {
        /// Why.
        message: String,
    },
}

// === impl ApprovalFilter ===

impl ApprovalFilter {
    /// What waits for a decision.
    pub fn pending() -> Self {
        Self { states: vec!["pending".to_owned()], limit: None }
    }
}

// === impl Approval ===

impl Approval {
    /// Whether nothing will happen to it any more.
    pub fn is_over(&self) -> bool {
        !matches!(self.state.as_str(), "pending" | "approved" | "running")
    }
}

// === impl Proof ===

impl std::fmt::Debug for Proof {
    /// Without the code: it could be used for as long as it is good.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Peer => f.write_str("Peer"),
            Self::Signature { approver, at, .. } => {
                f.debug_struct("Signature").field("approver", approver).field("at", at).finish()
            }
            Self::Code { approver, .. } => {
                f.debug_struct("Code").field("approver", approver).finish_non_exhaustive()
            }
        }
    }
}
