//! What is wrong with the settings of rules.

use std::fmt;

/// A line that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuleError {
    /// The table and its name: `rule.night`.
    pub table: String,
    /// The key that is wrong, if it is one.
    pub key: Option<&'static str>,
    /// What is wrong.
    pub reason: String,
    /// What to do about it.
    pub hint: String,
}

// === impl RuleError ===

impl RuleError {
    pub(crate) fn new(
        table: &str,
        key: &'static str,
        reason: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        let (table, reason, hint) = (table.to_owned(), reason.into(), hint.into());
        Self { table, key: Some(key), reason, hint }
    }
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, key, reason, hint } = self;
        match key {
            Some(key) => write!(f, "`{key}` of [{table}] {reason}: {hint}"),
            None => write!(f, "[{table}] {reason}: {hint}"),
        }
    }
}

impl std::error::Error for RuleError {}
