//! What is wrong with the settings of rules.

use std::fmt;

use event_core::ComponentId;
use jiff::SignedDuration;

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

/// The longest time that settings may give: what is longer is a slip of the pen.
const LONGEST: SignedDuration = SignedDuration::from_hours(366 * 24);

/// That a time of the settings is one that can be meant.
pub(crate) fn span(
    table: &str,
    key: &'static str,
    span: SignedDuration,
    least: SignedDuration,
) -> Result<(), RuleError> {
    if least <= span && span <= LONGEST {
        return Ok(());
    }
    let reason = format!("is {span:#}, which is too short or too long");
    let hint = format!("give it at least {least:#}, and a year at most");
    Err(RuleError::new(table, key, reason, hint))
}

/// That a table has a name that can be one.
pub(crate) fn name(kind: &str, name: &str) -> Result<String, RuleError> {
    let table = format!("{kind}.{name}");
    match name.parse::<ComponentId>() {
        Ok(_) => Ok(table),
        Err(error) => Err(RuleError {
            table,
            key: None,
            reason: error.to_string(),
            hint: "give it another name".to_owned(),
        }),
    }
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
