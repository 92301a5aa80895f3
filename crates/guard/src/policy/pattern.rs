//! What a matcher of a line is written as: names with `*`, and ranges of guest ids.

use std::{fmt, str::FromStr};

/// A name in which `*` stands for any characters, none included.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(String);

/// One guest id, or a range of them with both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VmIds {
    /// The first.
    pub first: u32,
    /// The last.
    pub last: u32,
}

/// The text is no matcher.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` {reason}")]
pub struct InvalidPattern {
    given: String,
    reason: &'static str,
}

/// The longest pattern, in bytes.
const MAX: usize = 600;

// === impl Pattern ===

impl Pattern {
    /// Checks and keeps it.
    ///
    /// # Errors
    /// It is empty, too long, or holds control characters.
    pub fn try_new(text: &str) -> Result<Self, InvalidPattern> {
        let fail = |reason| Err(invalid(text, reason));
        if text.is_empty() {
            return fail("is empty: name something, or leave the matcher out");
        }
        if text.len() > MAX {
            return fail("is longer than 600 bytes");
        }
        if text.chars().any(char::is_control) {
            return fail("holds a control character");
        }
        Ok(Self(text.to_owned()))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is one name, without a `*`.
    pub fn is_literal(&self) -> bool {
        !self.0.contains('*')
    }

    /// Whether the name fits.
    pub fn fits(&self, name: &str) -> bool {
        glob(self.0.as_bytes(), name.as_bytes())
    }

    /// Whether every name that fits `other` fits this, as far as that can be told from the texts.
    pub fn covers(&self, other: &Self) -> bool {
        // A pattern is a name in which `*` is a character like others: whoever takes that character
        // by a `*` of their own takes whatever it stands for.
        glob_covers(self.0.as_bytes(), other.0.as_bytes())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Pattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        Self::try_new(text)
    }
}

/// Whether `name` fits; linear in practice, since only the last `*` is returned to.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    walk(pattern, name, |want, is| want == is)
}

/// The same over another pattern, in which a `*` is taken by a `*` only.
fn glob_covers(pattern: &[u8], other: &[u8]) -> bool {
    walk(pattern, other, |want, is| want == is && is != b'*')
}

fn walk(pattern: &[u8], name: &[u8], same: impl Fn(u8, u8) -> bool) -> bool {
    let (mut at, mut in_name) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while in_name < name.len() {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at, in_name));
            at += 1;
        } else if pattern.get(at).is_some_and(|want| same(*want, name[in_name])) {
            at += 1;
            in_name += 1;
        } else if let Some((back, taken)) = star {
            star = Some((back, taken + 1));
            at = back + 1;
            in_name = taken + 1;
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

// === impl VmIds ===

impl VmIds {
    /// One guest.
    pub fn one(id: u32) -> Self {
        Self { first: id, last: id }
    }

    /// Whether it is one guest.
    pub fn is_one(self) -> bool {
        self.first == self.last
    }

    /// Whether the id is in it.
    pub fn contains(self, id: u32) -> bool {
        (self.first..=self.last).contains(&id)
    }

    /// Whether all of `other` is in it.
    pub fn covers(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }
}

impl fmt::Display for VmIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_one() {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl FromStr for VmIds {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let fail = || invalid(text, "is no guest id and no range: write 104 or 100-199");
        let id = |text: &str| {
            let id: estate::VmId = text.trim().parse().map_err(|_| fail())?;
            Ok::<u32, InvalidPattern>(id.get())
        };
        let ids = match text.split_once('-') {
            Some((first, last)) => Self { first: id(first)?, last: id(last)? },
            None => Self::one(id(text)?),
        };
        if ids.first > ids.last {
            return Err(invalid(text, "begins behind its end"));
        }
        Ok(ids)
    }
}

fn invalid(given: &str, reason: &'static str) -> InvalidPattern {
    let given = given.chars().take(60).map(|c| if c.is_control() { '\u{fffd}' } else { c });
    InvalidPattern { given: given.collect(), reason }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reference(pattern: &[u8], name: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((b'*', rest)) => (0..=name.len()).any(|at| reference(rest, &name[at..])),
            Some((first, rest)) => name.first() == Some(first) && reference(rest, &name[1..]),
        }
    }

    proptest! {
        #[test]
        fn a_star_is_any_characters(pattern in "[ab*]{1,8}", name in "[ab]{0,10}") {
            let fits = Pattern::try_new(&pattern).unwrap().fits(&name);
            prop_assert_eq!(fits, reference(pattern.as_bytes(), name.as_bytes()));
        }

        #[test]
        fn what_covers_takes_everything(
            one in "[ab*]{1,6}", other in "[ab*]{1,6}", name in "[ab]{0,8}",
        ) {
            let [one, other] = [one, other].map(|text| Pattern::try_new(&text).unwrap());
            if one.covers(&other) && other.fits(&name) {
                prop_assert!(one.fits(&name), "{} covers {}, but not {}", one, other, name);
            }
        }

        #[test]
        fn ranges_read_back(first in 100_u32..2000, more in 0_u32..2000) {
            let ids = VmIds { first, last: first + more };
            prop_assert_eq!(ids.to_string().parse::<VmIds>(), Ok(ids));
        }
    }

    #[test]
    fn garbage_is_named() {
        for text in ["", "99", "a", "200-100", "100-", "-100", "100-99999999999"] {
            assert!(text.parse::<VmIds>().is_err(), "{text}");
        }
        assert!(Pattern::try_new("a\u{1b}b").is_err());
        assert!(Pattern::try_new("").is_err());
        assert!(Pattern::try_new("guest_*").unwrap().covers(&"guest_power".parse().unwrap()));
        assert!(!Pattern::try_new("guest_power").unwrap().covers(&"guest_*".parse().unwrap()));
    }
}
