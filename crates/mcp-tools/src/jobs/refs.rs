//! What a job stands for, as it is kept: how far it is, who works on it, and its tasks.

use estate::Upid;

/// So many tasks of one step are kept; no step begins more at once.
const KEPT: usize = 64;

/// What a job stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Refs {
    /// The step at work, from 1.
    pub(crate) step: usize,
    /// How many steps there are.
    pub(crate) steps: usize,
    /// The program that works on it; see [`crate::process`].
    pub(crate) by: String,
    /// What the step at work does, for people.
    pub(crate) doing: String,
    /// The tasks of the step at work, after the last one before it.
    pub(crate) tasks: Vec<TaskRef>,
}

/// A task that a step began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TaskRef {
    /// The step, from 1.
    pub(crate) step: usize,
    /// The member that has it.
    pub(crate) member: String,
    /// Its name there.
    pub(crate) upid: Upid,
    /// Whether it may be stopped, and leaves nothing half done then.
    pub(crate) stoppable: bool,
}

// === impl Refs ===

impl Refs {
    /// Those tasks of which anybody will ask: of the step at work, and the last one before.
    pub(crate) fn worth_keeping(step: usize, tasks: &[TaskRef]) -> Vec<TaskRef> {
        let earlier = tasks.iter().rev().find(|task| task.step < step);
        let now: Vec<_> = tasks.iter().filter(|task| task.step == step).collect();
        let now = &now[now.len().saturating_sub(KEPT)..];
        earlier.into_iter().chain(now.iter().copied()).cloned().collect()
    }

    /// The tasks of the step at work.
    pub(crate) fn current(&self) -> impl Iterator<Item = &TaskRef> {
        self.tasks.iter().filter(|task| task.step == self.step)
    }

    pub(crate) fn write(&self) -> Vec<String> {
        let tasks = self.tasks.iter().map(|task| {
            let TaskRef { step, member, upid, stoppable } = task;
            let how = if *stoppable { "stoppable" } else { "kept" };
            format!("task:{step}:{how}:{member}:{upid}")
        });
        let head = [
            format!("step:{}/{}", self.step, self.steps),
            format!("by:{}", self.by),
            format!("doing:{}", self.doing),
        ];
        head.into_iter().chain(tasks).collect()
    }

    /// What cannot be read is left out.
    pub(crate) fn read(refs: &[String]) -> Self {
        let mut out = Self::default();
        for (key, value) in refs.iter().filter_map(|text| text.split_once(':')) {
            match key {
                "step" => {
                    let (step, steps) = value.split_once('/').unwrap_or_default();
                    out.step = step.parse().unwrap_or_default();
                    out.steps = steps.parse().unwrap_or_default();
                }
                "by" => value.clone_into(&mut out.by),
                "doing" => value.clone_into(&mut out.doing),
                "task" => out.tasks.extend(TaskRef::read(value)),
                _ => {}
            }
        }
        out
    }
}

// === impl TaskRef ===

impl TaskRef {
    fn read(text: &str) -> Option<Self> {
        let mut parts = text.splitn(4, ':');
        let mut part = || parts.next();
        let (step, how, member) = (part()?.parse().ok()?, part()?, part()?.to_owned());
        Some(Self { step, member, upid: part()?.parse().ok()?, stoppable: how == "stoppable" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(step: usize, id: u32, stoppable: bool) -> TaskRef {
        let upid = format!("UPID:alder:00000001:00000001:00000001:qmclone:{id}:mcp@pve!agent:");
        let upid = upid.parse().expect("a UPID");
        TaskRef { step, member: "lab".to_owned(), upid, stoppable }
    }

    #[test]
    fn what_is_kept_reads_back() {
        let refs = Refs {
            step: 2,
            steps: 5,
            by: "7f".to_owned(),
            doing: "clone lab/104: slowly".to_owned(),
            tasks: vec![task(1, 103, false), task(2, 104, true)],
        };
        assert_eq!(Refs::read(&refs.write()), refs);
        let garbage = ["step:x", "task:lab", "task:1:kept:lab:no", "task:x:kept:lab:", "other", ""];
        assert_eq!(Refs::read(&garbage.map(str::to_owned)), Refs::default());
    }

    #[test]
    fn only_what_anybody_asks_of_is_kept() {
        let mut tasks = vec![task(1, 1, false), task(1, 2, false)];
        assert_eq!(Refs::worth_keeping(3, &tasks), [task(1, 2, false)]);
        tasks.extend((0..100).map(|id| task(3, id, false)));
        let kept = Refs::worth_keeping(3, &tasks);
        assert_eq!((kept.len(), &kept[0], &kept[64]), (65, &tasks[1], &tasks[101]));
    }
}
