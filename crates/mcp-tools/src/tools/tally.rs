//! Counting guests by what they do, templates apart.

use std::fmt;

use serde_json::{Value, json};

use crate::view::{Guest, GuestStatus};

/// `1 node`, `2 nodes`.
pub(crate) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// How many guests do what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) running: usize,
    pub(crate) paused: usize,
    pub(crate) stopped: usize,
    pub(crate) unknown: usize,
    pub(crate) other: usize,
    pub(crate) templates: usize,
}

// === impl Tally ===

impl Tally {
    /// All guests, templates left out.
    pub(crate) fn guests(&self) -> usize {
        self.running + self.paused + self.stopped + self.unknown + self.other
    }

    /// The same for programs.
    pub(crate) fn value(&self) -> Value {
        json!({
            "running": self.running, "paused": self.paused, "stopped": self.stopped,
            "unknown": self.unknown + self.other, "templates": self.templates,
        })
    }
}

impl<'a> FromIterator<&'a Guest> for Tally {
    fn from_iter<I: IntoIterator<Item = &'a Guest>>(guests: I) -> Self {
        let mut tally = Self::default();
        for guest in guests {
            let count = match guest.status {
                GuestStatus::Running => &mut tally.running,
                GuestStatus::Paused => &mut tally.paused,
                GuestStatus::Stopped => &mut tally.stopped,
                GuestStatus::Template => &mut tally.templates,
                GuestStatus::Unknown => &mut tally.unknown,
                GuestStatus::Other(_) => &mut tally.other,
            };
            *count += 1;
        }
        tally
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let guests = self.guests();
        f.write_str(&counted(guests, "guest"))?;
        let parts = [
            (self.unknown, "unknown"),
            (self.other, "in another state"),
            (self.running, "running"),
            (self.paused, "paused"),
            (self.stopped, "stopped"),
        ];
        let mut before = " (";
        for (count, word) in parts.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, "{before}{count} {word}")?;
            before = ", ";
        }
        if guests > 0 {
            f.write_str(")")?;
        }
        match self.templates {
            0 => Ok(()),
            several => write!(f, " and {}", counted(several, "template")),
        }
    }
}
