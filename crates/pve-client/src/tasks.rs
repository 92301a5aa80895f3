//! Tasks of a node: what runs, what ran, how it ended, what it wrote.

use api_core::{Request, de::Done, params, path, reply, words};
use estate::{NodeName, TaskStatus, Upid, VmId};
use jiff::Timestamp;

words! {
    /// Which tasks a list takes.
    pub enum TaskSource {
        /// Those that ended: the server's default.
        Archive = "archive",
        /// Those that run.
        Active = "active",
        /// Both.
        All = "all",
    }
}

words! {
    /// Whether a task runs.
    pub enum RunState {
        /// It runs.
        Running = "running",
        /// It has ended; the exit status says how.
        Stopped = "stopped",
    }
}

reply! {
    /// A task in a list.
    pub struct Task {
        pub upid: Upid,
        pub node: NodeName,
        pub kind: String = "type",
        pub id: Option<String>,
        pub user: String,
        pub started: Option<Timestamp> = "starttime",
        /// Absent while it runs.
        pub ended: Option<Timestamp> = "endtime",
        /// `OK`, `WARNINGS: n` or the error; absent or `RUNNING` while it runs.
        pub status: Option<String>,
        pub token_id: Option<String> = "tokenid",
        pub pid: Option<u32>,
        pub pstart: Option<u64>,
    }
}

reply! {
    /// How a task stands.
    pub struct TaskState {
        pub upid: Upid,
        pub node: NodeName,
        pub kind: String = "type",
        pub id: Option<String>,
        pub user: String,
        pub status: RunState,
        /// Once it has ended: `OK`, `WARNINGS: n` or the error.
        pub exit_status: Option<String> = "exitstatus",
        pub started: Option<Timestamp> = "starttime",
        pub token_id: Option<String> = "tokenid",
        pub pid: Option<u32>,
        pub pstart: Option<u64>,
    }
}

impl TaskState {
    /// How it ended; `None` while it runs.
    pub fn outcome(&self) -> Option<TaskStatus> {
        match self.status {
            RunState::Running => None,
            _ => Some(TaskStatus::parse(self.exit_status.as_deref().unwrap_or("unknown"))),
        }
    }
}

impl Task {
    /// How it ended; `None` while it runs.
    pub fn outcome(&self) -> Option<TaskStatus> {
        let status = self.status.as_deref().filter(|status| *status != "RUNNING")?;
        Some(TaskStatus::parse(status))
    }
}

reply! {
    /// A line of a log.
    pub struct LogLine {
        /// Counts from 1.
        pub number: u64 = "n",
        pub text: String = "t",
    }
}

impl LogLine {
    /// Whether it is the line that PVE makes up for an empty log.
    pub fn is_placeholder(&self) -> bool {
        self.number == 1 && self.text == "no content"
    }
}

params! {
    /// Which tasks to list.
    pub struct TaskListParams {
        /// At which match to begin.
        pub start: Option<u64>,
        /// How many; 50 without.
        pub limit: Option<u64>,
        pub source: Option<TaskSource>,
        pub vmid: Option<VmId>,
        /// Only those of this type, such as `vzdump`.
        pub kind: Option<String> = "typefilter",
        /// Only those of this user, by part of the name.
        pub user: Option<String> = "userfilter",
        /// Only those that failed.
        pub errors: Option<bool>,
        pub since: Option<Timestamp>,
        pub until: Option<Timestamp>,
        /// `ok`, `error`, `warning`, `unknown`, separated by commas.
        pub status: Option<String> = "statusfilter",
    }
}

/// `GET /nodes/{node}/tasks`. Any login sees its own tasks; others' need `Sys.Audit` on the node.
pub fn list(node: &NodeName, options: TaskListParams) -> Request<Vec<Task>> {
    Request::get(path!["nodes", node, "tasks"]).params(options.into()).on(node)
}

/// `GET /nodes/{node}/tasks/{upid}/status`. One's own task, or `Sys.Audit` on the node.
pub fn status(task: &Upid) -> Request<TaskState> {
    Request::get(path!["nodes", task.node(), "tasks", task, "status"]).on(task.node()).protected()
}

/// `GET /nodes/{node}/tasks/{upid}/log`: `limit` lines after the first `start`; 0 for all, 50
/// without. One's own task, or `Sys.Audit` on the node.
pub fn log(task: &Upid, start: u64, limit: Option<u64>) -> Request<Vec<LogLine>> {
    Request::get(path!["nodes", task.node(), "tasks", task, "log"])
        .param("start", start)
        .opt("limit", limit)
        .on(task.node())
        .protected()
}

/// `DELETE /nodes/{node}/tasks/{upid}`: stops it. One's own task, or `Sys.Modify` on the node.
pub fn stop(task: &Upid) -> Request<Done> {
    Request::delete(path!["nodes", task.node(), "tasks", task])
        .on(task.node())
        .protected()
        .idempotent()
}
