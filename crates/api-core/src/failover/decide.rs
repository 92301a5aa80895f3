//! What to do next, decided without doing anything: which endpoints to ask in which order, and
//! whether an outcome ends the matter.

use std::time::Duration;

use crate::{Retry, Sent, TransportErrorKind as Kind};

/// What came of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// An answer with this status.
    Answered(u16),
    /// No answer.
    Failed(Kind, Sent),
}

/// What to do after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// This is what the caller gets.
    Return,
    /// Once more, at once, to the same endpoint.
    Again,
    /// The next endpoint, if there is one.
    Other,
}

/// What an attempt says of its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It answered for itself: prefer it.
    Good,
    /// It answered, but could not reach who should do the work: it lives.
    Alive,
    /// It could not be used.
    Down,
    /// Nothing new.
    Unclear,
}

/// What is known before an attempt's outcome is judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    pub(crate) retry: Retry,
    /// Whether the request can be sent again at all: a body that streams cannot.
    pub(crate) repeatable: bool,
    /// Whether this was already the second try at this endpoint.
    pub(crate) again: bool,
    /// Whether every endpoint said a moment ago that the target node is out of reach.
    pub(crate) node_lost: bool,
}

/// Decides after an attempt.
#[expect(clippy::match_same_arms, reason = "a table: each line stands for itself")]
pub(crate) fn next(attempt: Attempt, outcome: Outcome) -> Next {
    let harmless = attempt.retry == Retry::Idempotent;
    let wanted = match outcome {
        // The endpoint could not connect to the node: nothing ran. Another endpoint may have a way,
        // unless all were asked just now.
        Outcome::Answered(595) if attempt.node_lost => Next::Return,
        Outcome::Answered(595) => Next::Other,
        // The node took too long and may be at it still.
        Outcome::Answered(596) if harmless && !attempt.node_lost => Next::Other,
        Outcome::Answered(_) => Next::Return,
        Outcome::Failed(Kind::TooLarge | Kind::RequestBody, _) => Next::Return,
        Outcome::Failed(_, Sent::No) => Next::Other,
        // A kept connection that the server had closed meanwhile looks like this.
        Outcome::Failed(Kind::Closed, Sent::Maybe) if harmless && !attempt.again => Next::Again,
        Outcome::Failed(_, Sent::Maybe) if harmless => Next::Other,
        Outcome::Failed(_, Sent::Maybe) => Next::Return,
    };
    if attempt.repeatable { wanted } else { Next::Return }
}

/// What the outcome says of the endpoint.
#[expect(clippy::match_same_arms, reason = "a table: each line stands for itself")]
pub(crate) fn verdict(attempt: Attempt, outcome: Outcome) -> Verdict {
    match outcome {
        Outcome::Answered(595 | 596 | 599) => Verdict::Alive,
        Outcome::Answered(_) => Verdict::Good,
        // The first time it may have been no more than a stale connection.
        Outcome::Failed(Kind::Closed, Sent::Maybe) if !attempt.again => Verdict::Unclear,
        Outcome::Failed(Kind::TooLarge, _) => Verdict::Alive,
        // Our own failure says nothing of the other side.
        Outcome::Failed(Kind::RequestBody, _) => Verdict::Unclear,
        Outcome::Failed(..) => Verdict::Down,
    }
}

/// How an endpoint stands, for choosing the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Not known to be down.
    Up,
    /// Down; probed again in this long.
    Down(Duration),
}

/// The endpoints to ask, in order: the preferred one, then the others as configured; those that
/// are down are left out while any is up. When all are down, all are asked, the one that is due
/// soonest first: memory must not keep a request from trying.
pub(crate) fn order(preferred: usize, standings: &[Standing]) -> Vec<usize> {
    let up = |index: &usize| standings[*index] == Standing::Up;
    let others = (0..standings.len()).filter(|index| *index != preferred);
    let all: Vec<usize> = std::iter::once(preferred).chain(others).collect();
    let mut chosen: Vec<usize> = all.iter().copied().filter(up).collect();
    if chosen.is_empty() {
        chosen = all;
        chosen.sort_by_key(|index| match standings[*index] {
            Standing::Up => Duration::ZERO,
            Standing::Down(due) => due,
        });
    }
    chosen
}

/// Which of two failures says more to a person who must act: a wrong certificate before a slow
/// server before one that is not there.
pub(crate) fn tells_more(kind: Kind) -> u8 {
    match kind {
        Kind::RequestBody => 6,
        Kind::Tls => 5,
        Kind::Protocol | Kind::TooLarge => 4,
        Kind::Timeout => 3,
        Kind::Closed => 2,
        Kind::Connect => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Attempt =
        Attempt { retry: Retry::Idempotent, repeatable: true, again: false, node_lost: false };
    const WRITE: Attempt = Attempt { retry: Retry::Unsent, ..READ };
    const READ_AGAIN: Attempt = Attempt { again: true, ..READ };
    const STREAM: Attempt = Attempt { repeatable: false, ..READ };
    const LOST: Attempt = Attempt { node_lost: true, ..READ };

    #[test]
    fn what_may_have_arrived_is_sent_again_only_if_harmless() {
        use {Next::*, Outcome::*, Verdict::*};
        for (attempt, outcome, step, says) in [
            (READ, Answered(200), Return, Good),
            (READ, Answered(401), Return, Good),
            (READ, Answered(500), Return, Good),
            (READ, Answered(595), Other, Alive),
            (WRITE, Answered(595), Other, Alive),
            (LOST, Answered(595), Return, Alive),
            (READ, Answered(596), Other, Alive),
            (LOST, Answered(596), Return, Alive),
            (WRITE, Answered(596), Return, Alive),
            (READ, Answered(599), Return, Alive),
            (READ, Failed(Kind::Connect, Sent::No), Other, Down),
            (WRITE, Failed(Kind::Connect, Sent::No), Other, Down),
            (WRITE, Failed(Kind::Tls, Sent::No), Other, Down),
            (READ, Failed(Kind::Timeout, Sent::Maybe), Other, Down),
            (WRITE, Failed(Kind::Timeout, Sent::Maybe), Return, Down),
            (READ, Failed(Kind::Closed, Sent::Maybe), Again, Unclear),
            (READ_AGAIN, Failed(Kind::Closed, Sent::Maybe), Other, Down),
            (WRITE, Failed(Kind::Closed, Sent::Maybe), Return, Unclear),
            (READ, Failed(Kind::Protocol, Sent::Maybe), Other, Down),
            (READ, Failed(Kind::TooLarge, Sent::Maybe), Return, Alive),
            (STREAM, Failed(Kind::Connect, Sent::No), Return, Down),
            (STREAM, Answered(595), Return, Alive),
            (STREAM, Failed(Kind::RequestBody, Sent::Maybe), Return, Unclear),
        ] {
            assert_eq!(
                (next(attempt, outcome), verdict(attempt, outcome)),
                (step, says),
                "{attempt:?} {outcome:?}"
            );
        }
    }

    #[test]
    fn the_preferred_first_and_the_dead_only_when_all_are() {
        use Standing::*;
        let due = |seconds| Down(Duration::from_secs(seconds));
        for (preferred, standings, expected) in [
            (0, &[Up, Up, Up][..], &[0, 1, 2][..]),
            (2, &[Up, Up, Up], &[2, 0, 1]),
            (0, &[due(1), Up, Up], &[1, 2]),
            (1, &[Up, due(9), due(1)], &[0]),
            (0, &[due(9), due(1), due(5)], &[1, 2, 0]),
            (0, &[due(9)], &[0]),
        ] {
            assert_eq!(order(preferred, standings), expected, "{preferred} {standings:?}");
        }
    }
}
