//! What decides: a step over a state, without doing anything.

use jiff::Timestamp;

/// One stage of the pipeline: filters, groups, throttles, silences.
///
/// A stage is a pure function over its state: it is told the time, it says what follows and when it
/// wants to be asked again. So a week can be replayed in a moment, and the state can be kept.
///
/// Its contract, which `testkit` holds every implementation to: the same inputs at the same times
/// give the same outputs; time that does not move gives nothing new; a wake-up that it asked for is
/// never in the past.
pub trait Stage: Send + Sync + 'static {
    /// What it remembers; kept between runs.
    type State: Send;
    /// What it is given.
    type Input: Send;
    /// What follows.
    type Output: Send;

    /// Takes one input, or with `None` only the time; gives what follows, and when to ask again.
    fn step(
        &self,
        state: &mut Self::State,
        now: Timestamp,
        input: Option<Self::Input>,
    ) -> (Vec<Self::Output>, Option<Timestamp>);
}
