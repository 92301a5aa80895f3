//! What stops those who go wild or guess, kept so that starting anew is no way around it.

use async_trait::async_trait;
use jiff::Timestamp;

use super::PortError;
use crate::breaker::Trip;

/// What is known of the one-time codes of an approver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CodeUse {
    /// The number of the newest code that was used: neither it nor an older one is good any more.
    pub used: Option<i64>,
    /// Wrong ones in a row.
    pub wrong: u32,
    /// None is looked at until then.
    pub until: Option<Timestamp>,
}

/// Where trips of the breaker and the use of one-time codes are kept.
#[async_trait]
pub trait Brakes: Send + Sync + 'static {
    /// Keeps a trip until its end.
    ///
    /// # Errors
    /// It cannot be written.
    async fn trip(&self, trip: &Trip, at: Timestamp) -> Result<(), PortError>;

    /// The trips that hold now. Asked before every action, so it is to be quick.
    ///
    /// # Errors
    /// They cannot be read.
    async fn trips(&self, now: Timestamp) -> Result<Vec<Trip>, PortError>;

    /// What is known of an approver's codes; nothing, if none was ever tried.
    ///
    /// # Errors
    /// It cannot be read: then no code is taken.
    async fn code_use(&self, approver: &str) -> Result<CodeUse, PortError>;

    /// Replaces what is known if it is still `before`, and says whether it was: so of any number of callers
    /// with one code a single one uses it.
    ///
    /// # Errors
    /// It cannot be written: then no code is taken.
    async fn set_code_use(
        &self,
        approver: &str,
        before: &CodeUse,
        after: &CodeUse,
    ) -> Result<bool, PortError>;
}
