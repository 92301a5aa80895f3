//! What is wrong with a call, and what would be right.

use std::fmt;

/// The most choices that a message lists.
const CHOICES: usize = 40;

/// One thing that is wrong. It never repeats a value: values can be secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The parameter, `net0.bridge` for a key inside of one; `path` or `method` otherwise.
    pub place: String,
    /// What sort of thing it is.
    pub kind: ProblemKind,
    /// What is wrong and what is allowed.
    pub text: String,
}

/// What sort of thing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProblemKind {
    /// The path is none, or no endpoint has it.
    Path,
    /// The path is there, but not with this method.
    Method,
    /// There is no such parameter.
    Unknown,
    /// A parameter is missing.
    Missing,
    /// It is of another type.
    Type,
    /// A number is too small or too large.
    Range,
    /// A text is too short or too long.
    Length,
    /// It does not match the pattern.
    Pattern,
    /// It is not one of the values that are taken.
    Choice,
    /// Another parameter must be there too.
    Requires,
}

// === impl Problem ===

impl Problem {
    pub(super) fn new(
        place: impl Into<String>,
        kind: ProblemKind,
        text: impl Into<String>,
    ) -> Self {
        Self { place: place.into(), kind, text: text.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// What of `known` is closest to what was written, if anything is close.
pub(super) fn nearest<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let written: String = written.chars().take(64).collect();
    let far = written.chars().count().div_ceil(3).max(1);
    let distance = |word: &str| {
        // Names of several words are often remembered by one of them.
        let part = written.len() > 3
            && (word.contains(&*written) || written.contains(word) && word.len() > 3);
        if part { 1 } else { strsim::osa_distance(&written, word) }
    };
    known
        .map(|word| (distance(word), word))
        .filter(|(away, _)| *away <= far)
        .min()
        .map(|(_, word)| word)
}

/// The choices in a message: `a, b, c`.
pub(super) fn listed<'a>(choices: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = choices.len().saturating_sub(CHOICES);
    let named: Vec<_> = choices.take(CHOICES).collect();
    let named = named.join(", ");
    if more == 0 { named } else { format!("{named} and {more} more") }
}
