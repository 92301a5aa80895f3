//! How long one part of an answer is waited for, so that the others still arrive.

use std::{fmt, time::Duration};

use api_core::Error;
use stdx::Chain;
use tokio::time::Instant;

use crate::report::Unreachable;

/// The time that an answer has, shared out among its parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    since: Instant,
    whole: Duration,
}

/// Why a part is missing.
#[derive(Debug)]
pub(super) enum Lack {
    /// It was not there in time.
    Late(Duration),
    /// It failed or was refused.
    Failed(Error),
}

// === impl Patience ===

impl Patience {
    /// From now on.
    pub(super) fn new(whole: Duration) -> Self {
        Self { since: Instant::now(), whole }
    }

    /// When so many percent of the time are over.
    pub(super) fn until(self, percent: u32) -> Limit {
        Limit(self.since + self.whole * percent / 100)
    }
}

/// A moment after which nothing is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit(Instant);

// === impl Limit ===

impl Limit {
    /// Whether it has passed.
    pub(super) fn is_over(self) -> bool {
        self.0 <= Instant::now()
    }

    /// Waits for `call`, but not longer than this.
    pub(super) async fn wait<T>(
        self,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Lack> {
        let begun = Instant::now();
        match tokio::time::timeout_at(self.0, call).await {
            Ok(answer) => answer.map_err(Lack::Failed),
            Err(_) => Err(Lack::Late(begun.elapsed())),
        }
    }
}

// === impl Lack ===

impl Lack {
    /// Puts it where it belongs: `what` is unreachable, or there is a note that `part` is not shown.
    pub(super) fn tell(
        &self,
        what: String,
        part: &str,
        notes: &mut Vec<String>,
        unreachable: &mut Vec<Unreachable>,
    ) {
        let is_absent = match self {
            Self::Late(_) => true,
            Self::Failed(error) => error.is_unreachable(),
        };
        if is_absent {
            unreachable.push(Unreachable { what, why: format!("{part}: {self}") });
        } else {
            notes.push(format!("{what}: {part} not shown: {self}"));
        }
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late(waited) if waited.as_secs() == 0 => f.write_str("no answer in time"),
            Self::Late(waited) => write!(f, "no answer within {:.0} s", waited.as_secs_f64()),
            Self::Failed(error) => write!(f, "{}", Chain(error)),
        }
    }
}
