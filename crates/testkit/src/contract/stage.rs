//! The contract of whatever decides: pure, the same again, and indifferent to how time is cut.

use event_core::Stage;
use jiff::Timestamp;

/// What every stage does with these inputs, in the order of their times, and with the time until
/// `end`; `say` is what an output says of itself, with its own time if it has one.
///
/// The first step is taken at `start` without an input. Gives what came out.
///
/// # Panics
///
/// Where the contract is broken.
pub fn stage<S, I>(
    stage: &S,
    start: Timestamp,
    inputs: &[(Timestamp, I)],
    end: Timestamp,
    say: impl Fn(&S::Output) -> String,
) -> Vec<String>
where
    S: Stage,
    S::State: Default,
    S::Input: From<I>,
    I: Clone,
{
    let mut long = Run::begin(stage, start, &say);
    let mut again = Run::begin(stage, start, &say);
    let mut awake = Run::begin(stage, start, &say);
    for (now, input) in inputs {
        long.step(*now, Some(input.clone().into()));
        again.step(*now, Some(input.clone().into()));
        awake.wake(*now);
        awake.step(*now, Some(input.clone().into()));
    }
    long.step(end, None);
    again.step(end, None);
    awake.wake(end);
    awake.step(end, None);
    assert_eq!(again.said, long.said, "the same inputs at the same times gave something else");
    assert_eq!(awake.said, long.said, "who is asked when it wants to be says something else");
    long.said
}

struct Run<'a, S: Stage, F> {
    stage: &'a S,
    state: S::State,
    next: Option<Timestamp>,
    say: &'a F,
    said: Vec<String>,
}

// === impl Run ===

impl<'a, S, F> Run<'a, S, F>
where
    S: Stage,
    S::State: Default,
    F: Fn(&S::Output) -> String,
{
    fn begin(stage: &'a S, start: Timestamp, say: &'a F) -> Self {
        let mut run = Self { stage, state: S::State::default(), next: None, say, said: Vec::new() };
        run.step(start, None);
        run
    }

    /// One step, and one more at the same moment.
    fn step(&mut self, now: Timestamp, input: Option<S::Input>) {
        let (outputs, next) = self.stage.step(&mut self.state, now, input);
        assert!(next.is_none_or(|next| next > now), "at {now} it wants to be asked at {next:?}");
        self.said.extend(outputs.iter().map(self.say));
        let (outputs, again) = self.stage.step(&mut self.state, now, None);
        let said: Vec<String> = outputs.iter().map(self.say).collect();
        assert!(said.is_empty(), "time that does not move gave {said:?} at {now}");
        assert_eq!(again, next, "time that does not move changed when it wants to be asked");
        self.next = next;
    }

    /// Asks it whenever it wants to be, before `until`.
    fn wake(&mut self, until: Timestamp) {
        while let Some(at) = self.next.filter(|at| *at < until) {
            self.step(at, None);
        }
    }
}
