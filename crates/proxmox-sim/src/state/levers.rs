//! What the levers have set on one target.

use std::collections::VecDeque;
use std::time::Duration;

/// Faults to play.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    pub(crate) latency: Duration,
    /// Replies to give instead of answering: code, reason, how often.
    pub(crate) status_next: Option<(u16, String, u32)>,
    /// Tasks to end otherwise: type or any, warning or failure, message.
    pub(crate) task_ends: VecDeque<TaskEnd>,
    /// Send bodies in small pieces with this pause between them.
    pub(crate) slow_body: Option<Duration>,
    /// How many further bodies to cut off in the middle.
    pub(crate) truncate_bodies: u32,
    /// How many further requests to drop without an answer.
    pub(crate) drop_requests: u32,
}

/// How a task shall end.
#[derive(Debug, Clone)]
pub(crate) struct TaskEnd {
    /// Only tasks of this type.
    pub(crate) kind: Option<String>,
    pub(crate) warn: bool,
    pub(crate) message: String,
}

// === impl Faults ===

impl Faults {
    /// Takes the first end that fits a task of `kind`.
    pub(crate) fn take_end(&mut self, kind: &str) -> Option<TaskEnd> {
        let at =
            self.task_ends.iter().position(|end| end.kind.as_deref().is_none_or(|k| k == kind))?;
        self.task_ends.remove(at)
    }
}
