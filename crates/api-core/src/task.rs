//! Following a task to its end: its status, its log, and the truth about both.
//!
//! The course is a plain state machine (`Course`) that says what to ask next and what it all
//! means; [`follow`] asks. Being out of reach for a while is no end: the task runs on without us.

mod course;

use std::{collections::VecDeque, time::Duration};

use estate::Upid;
use serde::Deserialize;
use tokio::time::{self, Instant};

use self::course::{Course, Step};
use crate::{ApiClient, Error, ErrorKind, Request};

/// How long to follow, how often to ask.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WaitOptions {
    /// How long to follow the task.
    pub deadline: Duration,
    /// The first pause between two looks; pauses grow from there.
    pub first_poll: Duration,
    /// The longest pause.
    pub longest_poll: Duration,
    /// Whether the log is read while the task runs. If not, only the end of a log that tells of
    /// trouble is fetched.
    pub follow_log: bool,
}

/// Where a task stood when following it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskOutcome {
    /// The task.
    pub upid: Upid,
    /// How it ended, or that it has not.
    pub state: TaskEnd,
    /// The last lines of its log, at most [`TaskOutcome::TAIL`].
    pub log_tail: Vec<String>,
}

/// How a task ended, or that it has not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskEnd {
    /// It still runs, as far as we know.
    Running {
        /// Why its state could not be read lately, if it could not.
        unreachable: Option<String>,
    },
    /// Done.
    Ok,
    /// Done, with this many warnings.
    Warnings(u32),
    /// Failed, for the cause that the server gives.
    Failed(String),
    /// The server knows nothing of it (any more).
    Unknown(String),
}

/// How a product is asked about tasks.
#[derive(Clone, Copy, Debug)]
pub struct TaskCalls {
    /// The task's status.
    pub status: fn(&Upid) -> Request<TaskStatusReply>,
    /// Lines of its log from the given offset on, at most so many.
    pub log: fn(&Upid, u64, u64) -> Request<Vec<TaskLogLine>>,
}

/// What is read of a status.
#[derive(Clone, Debug, Deserialize)]
pub struct TaskStatusReply {
    status: String,
    exitstatus: Option<String>,
}

/// What is read of a log.
#[derive(Clone, Debug, Deserialize)]
pub struct TaskLogLine {
    n: u64,
    t: String,
}

/// How many lines of log are asked for at once.
const LOG_LINES: u64 = 500;

// === impl WaitOptions ===

impl Default for WaitOptions {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(45),
            first_poll: Duration::from_millis(200),
            longest_poll: Duration::from_secs(2),
            follow_log: true,
        }
    }
}

impl WaitOptions {
    /// The defaults with this deadline.
    pub fn within(deadline: Duration) -> Self {
        Self { deadline, ..Self::default() }
    }

    /// Reads the log only where it tells of trouble.
    #[must_use]
    pub fn without_log(mut self) -> Self {
        self.follow_log = false;
        self
    }
}

// === impl TaskOutcome ===

impl TaskOutcome {
    /// How many lines of log are kept.
    pub const TAIL: usize = 20;

    /// Whether the work was done, warnings or not.
    pub fn is_success(&self) -> bool {
        matches!(self.state, TaskEnd::Ok | TaskEnd::Warnings(_))
    }

    /// Whether it still runs, as far as we know.
    pub fn is_running(&self) -> bool {
        matches!(self.state, TaskEnd::Running { .. })
    }
}

/// Follows the task until it ends or the deadline passes; gives each line of its log to `on_log`
/// once, in order.
///
/// # Errors
///
/// When the server refuses to tell: a missing privilege, refused credentials, an answer that cannot
/// be read. That the task or its node is out of reach is no error but part of the outcome.
pub async fn follow(
    client: &ApiClient,
    calls: TaskCalls,
    upid: &Upid,
    options: &WaitOptions,
    mut on_log: impl FnMut(&str) + Send,
) -> Result<TaskOutcome, Error> {
    let end = Instant::now() + options.deadline;
    let mut course = Course::new(options);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match course.step(left) {
            Step::Status => {
                let request = (calls.status)(upid).deadline(patience(left));
                match client.call(request).await {
                    Ok(reply) => course.status(&reply),
                    Err(error) => trouble(&mut course, error)?,
                }
            }
            Step::Log { start } => {
                let request = (calls.log)(upid, start, LOG_LINES).deadline(patience(left));
                match client.call(request).await {
                    Ok(lines) => course.log(lines, LOG_LINES).iter().for_each(|line| on_log(line)),
                    Err(error) => log_trouble(&mut course, error)?,
                }
            }
            Step::LogSize => {
                let request = (calls.log)(upid, 0, 1).deadline(patience(left));
                match client.call_page(request).await {
                    Ok(page) => course.log_size(page.total),
                    Err(error) => log_trouble(&mut course, error)?,
                }
            }
            Step::Sleep(pause) => time::sleep(pause).await,
            Step::Done(state, tail) => {
                return Ok(TaskOutcome { upid: upid.clone(), state, log_tail: tail });
            }
        }
    }
}

/// What a single look may take: enough for a slow server, no more than a proxied call can take, and
/// little once the time is up.
fn patience(left: Duration) -> Duration {
    left.clamp(Duration::from_secs(2), Duration::from_secs(35))
}

/// A look failed: part of the story, or an error to hand on.
fn trouble(course: &mut Course, error: Error) -> Result<(), Error> {
    match error.kind() {
        ErrorKind::NotFound => course.gone(error.message()),
        // A 5xx while a node restarts its services is out of reach in other words.
        ErrorKind::Server | ErrorKind::Busy | ErrorKind::NoQuorum => course.missed(&error),
        _ if error.is_unreachable() => course.missed(&error),
        _ => return Err(error),
    }
    Ok(())
}

/// The log could not be read. How the task ended is known without it.
fn log_trouble(course: &mut Course, error: Error) -> Result<(), Error> {
    if course.has_ended() {
        course.log_lost();
        return Ok(());
    }
    trouble(course, error)
}

/// The last lines of a log.
#[derive(Debug, Default)]
struct Tail(VecDeque<String>);

impl Tail {
    fn push(&mut self, line: String) {
        if self.0.len() == TaskOutcome::TAIL {
            self.0.pop_front();
        }
        self.0.push_back(line);
    }
}
