//! Tasks of the server: what runs, what ran, how it ended, what it wrote.

use api_core::{Request, de::Done, params, path, reply, words};
use estate::{DatastoreName, TaskStatus, Upid};
use jiff::Timestamp;

use crate::node::NODE;

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
        pub node: String,
        pub kind: String = "worker_type",
        /// What it is about, such as `main:vm/100`.
        pub id: Option<String> = "worker_id",
        pub user: String,
        pub started: Option<Timestamp> = "starttime",
        /// Absent while it runs.
        pub ended: Option<Timestamp> = "endtime",
        /// `OK`, `WARNINGS: n` or the error; absent while it runs.
        pub status: Option<String>,
        pub pid: Option<u32>,
        pub pstart: Option<u64>,
    }
}

impl Task {
    /// How it ended; `None` while it runs.
    pub fn outcome(&self) -> Option<TaskStatus> {
        self.status.as_deref().map(TaskStatus::parse)
    }
}

reply! {
    /// How a task stands.
    pub struct TaskState {
        pub upid: Upid,
        pub node: String,
        pub kind: String = "type",
        pub id: Option<String>,
        pub user: String,
        pub token_name: Option<String> = "tokenid",
        pub status: RunState,
        /// Once it has ended: `OK`, `WARNINGS: n` or the error.
        pub exit_status: Option<String> = "exitstatus",
        pub started: Option<Timestamp> = "starttime",
        pub ended: Option<Timestamp> = "endtime",
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

reply! {
    /// A line of a log.
    pub struct LogLine {
        /// Counts from 1.
        pub number: u64 = "n",
        pub text: String = "t",
    }
}

params! {
    /// Which tasks to list.
    pub struct TaskListParams {
        pub start: Option<u64>,
        /// How many; 50 without, 0 for all.
        pub limit: Option<u64>,
        /// Only those that run.
        pub running: Option<bool>,
        /// Only those that failed.
        pub errors: Option<bool>,
        pub datastore: Option<DatastoreName> = "store",
        pub since: Option<Timestamp>,
        pub until: Option<Timestamp>,
        /// By part of the type, such as `garbage_collection`.
        pub kind: Option<String> = "typefilter",
        /// By part of the name.
        pub user: Option<String> = "userfilter",
        /// `ok`, `warning`, `error`, `unknown`.
        pub statuses: Vec<String> = "statusfilter",
    }
}

/// `GET /nodes/{node}/tasks`. Any login sees its own tasks; others' need `Sys.Audit` on
/// `/system/tasks`. The total beside it is not the grand one where a limit is set.
pub fn list(options: TaskListParams) -> Request<Vec<Task>> {
    Request::get(path!["nodes", NODE, "tasks"]).params(options.into())
}

/// `GET /nodes/{node}/tasks/{upid}/status`. One's own task, or `Sys.Audit` on `/system/tasks`.
pub fn status(task: &Upid) -> Request<TaskState> {
    Request::get(path!["nodes", NODE, "tasks", task, "status"])
}

/// `GET /nodes/{node}/tasks/{upid}/log`: `limit` lines after the first `start`; 0 for all, 50
/// without. One's own task, or `Sys.Audit` on `/system/tasks`.
pub fn log(task: &Upid, start: u64, limit: Option<u64>) -> Request<Vec<LogLine>> {
    Request::get(path!["nodes", NODE, "tasks", task, "log"])
        .param("start", start)
        .opt("limit", limit)
}

/// `DELETE /nodes/{node}/tasks/{upid}`: stops it. One's own task, or `Sys.Modify` on
/// `/system/tasks`.
pub fn stop(task: &Upid) -> Request<Done> {
    Request::delete(path!["nodes", NODE, "tasks", task]).idempotent()
}
