//! Parts of an answer that come late: each is given up on its own, and holds nothing else up.

use std::time::Duration;

use api_core::{Error, ErrorKind};
use tokio::time::{Instant, timeout_at};

use crate::fleet::Fleet;

/// What a part says that did not come.
pub(crate) const LATE: &str = "no answer in time";

/// When the parts of an answer are given up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Until {
    end: Instant,
    whole: Duration,
}

impl Until {
    /// A moment before the fleet gives up a whole member, so that what came is not lost with what
    /// did not.
    pub(crate) fn of(fleet: &Fleet) -> Self {
        let whole = fleet.deadline();
        Self { end: Instant::now() + whole * 9 / 10, whole }
    }

    /// The same after something had to be found first, which may have taken all of it: a quarter is
    /// always left.
    pub(crate) fn after_search(self) -> Self {
        Self { end: self.end.max(Instant::now() + self.whole / 4), ..self }
    }

    /// The answer, or an error that says that it is late.
    pub(crate) async fn wait<T>(
        self,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let late = |_| Err(Error::new(ErrorKind::Timeout, "a part", LATE));
        timeout_at(self.end, call).await.unwrap_or_else(late)
    }
}

/// Whether the answer is only late: nothing is known of what it would have said.
pub(crate) fn is_late(error: &Error) -> bool {
    error.kind() == ErrorKind::Timeout
}
