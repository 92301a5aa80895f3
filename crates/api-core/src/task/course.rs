//! The course of following a task, without asking anybody.

use std::time::Duration;

use estate::TaskStatus;
use stdx::Chain;

use super::{Tail, TaskEnd, TaskLogLine, TaskOutcome, TaskStatusReply, WaitOptions};
use crate::Error;

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask how it stands.
    Status,
    /// Ask for the log from this offset on.
    Log { start: u64 },
    /// Ask how long the log is.
    LogSize,
    /// Wait.
    Sleep(Duration),
    /// That is all.
    Done(TaskEnd, Vec<String>),
}

/// Where following a task has got to.
#[derive(Debug)]
pub(super) struct Course {
    follow_log: bool,
    pause: Duration,
    longest_pause: Duration,
    phase: Phase,
    ended: Option<TaskEnd>,
    unreachable: Option<String>,
    /// How many lines of the log were read.
    read: u64,
    tail: Tail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Status,
    Log,
    LogSize,
    Sleep,
    Done,
}

// === impl Course ===

impl Course {
    pub(super) fn new(options: &WaitOptions) -> Self {
        Self {
            follow_log: options.follow_log,
            pause: options.first_poll,
            longest_pause: options.longest_poll.max(options.first_poll),
            phase: Phase::Status,
            ended: None,
            unreachable: None,
            read: 0,
            tail: Tail::default(),
        }
    }

    /// What to do, with so much time left. Looks at least once, whatever the time; an end that is
    /// known is told with its log even if the time is up meanwhile.
    pub(super) fn step(&mut self, left: Duration) -> Step {
        match self.phase {
            Phase::Status => Step::Status,
            Phase::Log => Step::Log { start: self.read },
            Phase::LogSize => Step::LogSize,
            Phase::Sleep if left.is_zero() => {
                let unreachable = self.unreachable.take();
                self.done(TaskEnd::Running { unreachable })
            }
            Phase::Sleep => {
                self.phase = Phase::Status;
                let pause = self.pause.min(left);
                self.pause = self.pause.mul_f64(1.5).min(self.longest_pause);
                Step::Sleep(pause)
            }
            Phase::Done => {
                let unreachable = self.unreachable.take();
                let ended = self.ended.take();
                self.done(ended.unwrap_or(TaskEnd::Running { unreachable }))
            }
        }
    }

    fn done(&mut self, state: TaskEnd) -> Step {
        Step::Done(state, std::mem::take(&mut self.tail.0).into())
    }

    /// The server told how it stands.
    pub(super) fn status(&mut self, reply: &TaskStatusReply) {
        self.unreachable = None;
        if reply.status != "running" {
            let exit = reply.exitstatus.as_deref().unwrap_or_default();
            self.ended = Some(match TaskStatus::parse(exit) {
                TaskStatus::Ok => TaskEnd::Ok,
                TaskStatus::Warnings(count) => TaskEnd::Warnings(count),
                TaskStatus::Failed(cause) if cause.is_empty() || cause == "unknown" => {
                    TaskEnd::Unknown("it ended without saying how".to_owned())
                }
                TaskStatus::Failed(cause) => TaskEnd::Failed(cause),
            });
        }
        self.phase = match &self.ended {
            _ if self.follow_log => Phase::Log,
            None => Phase::Sleep,
            Some(TaskEnd::Ok) => Phase::Done,
            Some(_) => Phase::LogSize,
        };
    }

    /// Lines of the log came, as many as were asked for or all that there are; gives those that
    /// are new.
    pub(super) fn log(&mut self, lines: Vec<TaskLogLine>, asked: u64) -> Vec<String> {
        self.unreachable = None;
        let full = lines.len() as u64 >= asked;
        let mut new = Vec::new();
        for line in lines {
            // An empty log is sent as one made-up line, which the first real one will replace.
            if line.n <= self.read || (line.n == 1 && line.t == "no content") {
                continue;
            }
            self.read = line.n;
            self.tail.push(line.t.clone());
            new.push(line.t);
        }
        let more = full && !new.is_empty();
        self.phase = match (&self.ended, more) {
            (_, true) => Phase::Log,
            (Some(_), false) => Phase::Done,
            (None, false) => Phase::Sleep,
        };
        new
    }

    /// How long the log is: its end is read next.
    pub(super) fn log_size(&mut self, total: Option<u64>) {
        self.read = total.unwrap_or(0).saturating_sub(TaskOutcome::TAIL as u64);
        self.phase = Phase::Log;
    }

    /// The log of an ended task cannot be read.
    pub(super) fn log_lost(&mut self) {
        self.phase = Phase::Done;
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// The server could not be asked this time.
    pub(super) fn missed(&mut self, error: &Error) {
        self.unreachable = Some(Chain(error).to_string());
        self.phase = Phase::Sleep;
    }

    /// The server knows nothing of it.
    pub(super) fn gone(&mut self, words: &str) {
        self.ended = Some(TaskEnd::Unknown(words.to_owned()));
        self.phase = Phase::Done;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    const LONG: Duration = Duration::from_mins(1);

    fn course(follow_log: bool) -> Course {
        Course::new(&WaitOptions { follow_log, ..WaitOptions::default() })
    }

    fn status(status: &str, exit: Option<&str>) -> TaskStatusReply {
        TaskStatusReply { status: status.to_owned(), exitstatus: exit.map(str::to_owned) }
    }

    fn lines(numbers: std::ops::RangeInclusive<u64>) -> Vec<TaskLogLine> {
        numbers.map(|n| TaskLogLine { n, t: format!("line {n}") }).collect()
    }

    #[test]
    fn a_task_is_followed_with_its_log_to_the_end() {
        let mut course = course(true);
        assert_eq!(course.step(LONG), Step::Status);
        course.status(&status("running", None));
        assert_eq!(course.step(LONG), Step::Log { start: 0 });
        assert!(course.log(vec![TaskLogLine { n: 1, t: "no content".into() }], 3).is_empty());
        assert_eq!(course.step(LONG), Step::Sleep(Duration::from_millis(200)));
        assert_eq!(course.step(LONG), Step::Status);
        course.status(&status("stopped", Some("got timeout")));
        // More lines than one answer carries.
        assert_eq!(course.step(LONG), Step::Log { start: 0 });
        assert_eq!(course.log(lines(1..=3), 3).len(), 3);
        assert_eq!(course.step(Duration::ZERO), Step::Log { start: 3 });
        assert_eq!(course.log(lines(3..=4), 3), ["line 4"]);
        let tail = (1..=4).map(|n| format!("line {n}")).collect();
        assert_eq!(course.step(LONG), Step::Done(TaskEnd::Failed("got timeout".into()), tail));
    }

    #[test]
    fn only_trouble_is_worth_reading_where_nobody_follows() {
        for (exit, expected, reads) in [
            (Some("OK"), TaskEnd::Ok, false),
            (Some("WARNINGS: 2"), TaskEnd::Warnings(2), true),
            (Some("boom"), TaskEnd::Failed("boom".into()), true),
            (None, TaskEnd::Unknown("it ended without saying how".into()), true),
        ] {
            let mut course = course(false);
            course.status(&status("stopped", exit));
            if reads {
                assert_eq!(course.step(LONG), Step::LogSize);
                course.log_size(Some(100));
                assert_eq!(course.step(LONG), Step::Log { start: 80 });
                course.log(lines(81..=100), 500);
            }
            let Step::Done(state, tail) = course.step(LONG) else { panic!("not done") };
            assert_eq!((state, tail.len()), (expected, if reads { 20 } else { 0 }));
        }
    }

    #[test]
    fn out_of_reach_is_no_end() {
        let mut course = course(false);
        let error =
            Error::new(ErrorKind::NodeUnreachable, "GET /x", "Connection refused").with_status(595);
        let mut slept = Duration::ZERO;
        for _ in 0..50 {
            assert_eq!(course.step(LONG), Step::Status);
            course.missed(&error);
            let Step::Sleep(pause) = course.step(LONG) else { panic!("does not wait") };
            assert!(pause <= Duration::from_secs(2));
            slept += pause;
        }
        assert!(slept > Duration::from_secs(80));
        course.missed(&error);
        let Step::Done(TaskEnd::Running { unreachable }, _) = course.step(Duration::ZERO) else {
            panic!("not given up")
        };
        assert_eq!(unreachable.as_deref(), Some("GET /x: Connection refused (status 595)"));
        course.gone("no such task");
        assert_eq!(course.step(LONG), Step::Done(TaskEnd::Unknown("no such task".into()), vec![]));
    }
}
