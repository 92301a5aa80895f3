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
