//! What is wrong with a condition, where, and what to do about it.

use std::fmt;

use cel::ParseErrors;

/// Why a condition was refused when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionError {
    line: usize,
    column: usize,
    reason: String,
    hint: String,
}

/// Why a condition could not be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// A value that it needs is not there.
    #[error("the condition needs `{0}`, which is not there")]
    Missing(String),
    /// A value is longer or deeper than conditions take.
    #[error("`{0}` is too large to be looked at by a condition")]
    TooLarge(String),
    /// Values cannot be used so: of another type than the condition takes, or out of range.
    #[error("the condition cannot be told: {0}")]
    Failed(String),
}

// === impl ConditionError ===

impl ConditionError {
    /// At a place that is counted in characters from the beginning.
    pub(crate) fn at(
        source: &str,
        offset: usize,
        reason: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        let before: Vec<char> = source.chars().take(offset).collect();
        let line = before.iter().filter(|c| **c == '\n').count() + 1;
        let column = before.iter().rev().take_while(|c| **c != '\n').count() + 1;
        Self { line, column, reason: reason.into(), hint: hint.into() }
    }

    pub(crate) fn parse(source: &str, errors: &ParseErrors) -> Self {
        let hint = "conditions are written in CEL, for example `tool == 'a' && size(tags) > 0`";
        let Some(first) = errors.errors.first() else {
            return Self::at(source, 0, "is no expression", hint);
        };
        let place = |value: isize| usize::try_from(value).unwrap_or(1).max(1);
        let (reason, hint) = plain(&first.msg).unwrap_or_else(|| {
            let said = first.msg.chars().map(|c| if c.is_control() { ' ' } else { c });
            let said: String = said.take(80).collect();
            (format!("does not parse: {}", said.trim()), hint.to_owned())
        });
        Self { line: place(first.pos.0), column: place(first.pos.1), reason, hint }
    }

    /// The line, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column, from 1, in characters.
    pub fn column(&self) -> usize {
        self.column
    }

    /// What is wrong.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// What to do about it.
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

/// The parser's commonest complaints in plain words, with what to do.
fn plain(said: &str) -> Option<(String, String)> {
    let quoted = |from: &str| {
        let (_, rest) = said.split_once(from)?;
        let (word, _) = rest.split_once('\'')?;
        let word: String = word.chars().filter(|c| !c.is_control()).take(20).collect();
        Some(word.trim().to_owned())
    };
    let word = quoted("input '").or_else(|| quoted("error at: '"))?;
    Some(match word.as_str() {
        "<EOF>" => {
            let hint = "something must follow: a value, a name or a closing bracket";
            ("ends too early".to_owned(), hint.to_owned())
        }
        "=" => ("has a single `=`".to_owned(), "compare with `==`".to_owned()),
        word => {
            let hint = "conditions are CEL, such as `tool == 'a' && size(tags) > 0`";
            (format!("does not parse at `{word}`"), hint.to_owned())
        }
    })
}

impl fmt::Display for ConditionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, reason, hint } = self;
        match line {
            1 => write!(f, "at column {column}: {reason}: {hint}"),
            _ => write!(f, "at line {line}, column {column}: {reason}: {hint}"),
        }
    }
}

impl std::error::Error for ConditionError {}
