//! Names of events, of components, and of places in a stream.

use std::{fmt, str::FromStr, sync::Arc};

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// The longest component name, in bytes.
const MAX_COMPONENT: usize = 40;

/// The name of one event: a UUID of version 7, so that names sort by the time they were given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(Uuid);

/// The place of an event in the local log: 1, 2, 3, … What cursors of readers count in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

/// The settings name of an input, output or rule (`[input.<name>]`): `[a-z0-9_]`, at most 40 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComponentId(Arc<str>);

/// How far a source has read, in words of its own. Kept with the events that it stands for, and
/// given back when the source runs again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(String);

/// What makes two reports the same thing: kind, subject and whatever else tells them apart, hashed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 16]);

/// The text is no such id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not {what}")]
pub struct InvalidId {
    given: String,
    what: &'static str,
}

pub(crate) fn invalid(given: &str, what: &'static str) -> InvalidId {
    InvalidId { given: given.chars().take(80).collect(), what }
}

// === impl EventId ===

impl EventId {
    /// A name for an event that is heard now; the lower bits are random, so two in one millisecond
    /// differ.
    pub fn new(now: Timestamp) -> Self {
        let millis = u64::try_from(now.as_millisecond()).unwrap_or_default();
        let (seconds, rest) = (millis / 1000, u32::try_from(millis % 1000).unwrap_or_default());
        let time = uuid::Timestamp::from_unix(uuid::NoContext, seconds, rest * 1_000_000);
        Self(Uuid::new_v7(time))
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for EventId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::try_parse(text).map(Self).map_err(|_| invalid(text, "the id of an event"))
    }
}

// === impl Seq ===

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl ComponentId ===

impl ComponentId {
    /// The name as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ComponentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ComponentId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |c: u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'_');
        if text.is_empty() || text.len() > MAX_COMPONENT || !text.bytes().all(plain) {
            let what =
                "the name of an input, output or rule: a-z, 0-9 and _, at most 40 characters";
            return Err(invalid(text, what));
        }
        Ok(Self(text.into()))
    }
}

// === impl Cursor ===

impl Cursor {
    /// In the source's own words.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The source's own words.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// === impl Fingerprint ===

impl Fingerprint {
    /// Of these parts in this order. Each is hashed behind its length, so that no two lists of
    /// parts run into one.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(b"proxmox-mcp/fingerprint/v1\0");
        for part in parts {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hasher.finalize()[..16]);
        Self(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = || invalid(text, "a fingerprint of 32 hexadecimal digits");
        if text.len() != 32 || !text.is_ascii() {
            return Err(fail());
        }
        let mut bytes = [0; 16];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).map_err(|_| fail())?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_events_sort_by_time_and_are_read_back() {
        let at = |millis| EventId::new(Timestamp::from_millisecond(millis).unwrap());
        let (early, late) = (at(1_700_000_000_000), at(1_700_000_000_001));
        assert!(early < late);
        assert_ne!(at(5), at(5));
        assert_eq!(early.to_string().parse(), Ok(early));
        assert!("x".parse::<EventId>().is_err());
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(Fingerprint::of(["ab", "c"]), Fingerprint::of(["a", "bc"]));
        assert_ne!(Fingerprint::of(["ab"]), Fingerprint::of(["ab", ""]));
        let print = Fingerprint::of(["backup.failed", "lab/guest/104"]);
        assert_eq!(print.to_string().parse(), Ok(print));
        assert!("zz".repeat(16).parse::<Fingerprint>().is_err());
        assert!("é".repeat(16).parse::<Fingerprint>().is_err());
    }

    #[test]
    fn components_have_names_of_settings() {
        assert!("ops_2".parse::<ComponentId>().is_ok());
        for text in ["", "Ops", "a-b", "a.b", "ä", &"a".repeat(41)] {
            assert!(text.parse::<ComponentId>().is_err(), "{text}");
        }
    }
}
