//! UPIDs: the names of tasks, in the two grammars that the products use.
//!
//! PVE writes `UPID:node:pid:pstart:starttime:type:id:user:`; PBS has one more field, the task id
//! after `pstart`, and escapes its ids in systemd's manner (`-` for `/`, `\xNN` for a byte).
//! Source: pve-common `PVE/UPID.pm`, proxmox-schema `upid.rs`.

use std::{fmt, str::FromStr, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

use crate::NodeName;

/// A task's name. Keeps the text that the server sent, so it prints exactly as it came.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Upid {
    text: Arc<str>,
    node: NodeName,
    grammar: UpidGrammar,
    started: i64,
    // Where the fields lie in `text`: kind, id and user are read often, the rest hardly ever.
    kind: (usize, usize),
    id: (usize, usize),
    user: (usize, usize),
}

/// Which product's grammar a UPID was read by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpidGrammar {
    /// Proxmox VE: eight separators.
    Pve,
    /// Proxmox Backup Server (and the other products in Rust): nine separators.
    Pbs,
}

/// How a finished task ended, from its exit status or the last line of its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskStatus {
    /// `OK`.
    Ok,
    /// `WARNINGS: n`.
    Warnings(u32),
    /// Anything else: the cause.
    Failed(String),
}

/// A text that is no UPID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a UPID: {reason} in {given:?}")]
pub struct InvalidUpid {
    reason: &'static str,
    given: String,
}

// === impl Upid ===

impl Upid {
    /// The text as the server wrote it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The node that runs the task.
    pub fn node(&self) -> &NodeName {
        &self.node
    }

    /// Which product wrote it.
    pub fn grammar(&self) -> UpidGrammar {
        self.grammar
    }

    /// The worker type, such as `qmstart`, `vzdump`, `garbage_collection`: an open set.
    pub fn kind(&self) -> &str {
        &self.text[self.kind.0..self.kind.1]
    }

    /// What the task is about as it is written: a guest id, a datastore, often empty.
    pub fn id(&self) -> &str {
        &self.text[self.id.0..self.id.1]
    }

    /// What the task is about for people: systemd's escapes undone for PBS.
    pub fn display_id(&self) -> String {
        match self.grammar {
            UpidGrammar::Pve => self.id().to_owned(),
            UpidGrammar::Pbs => unescape_unit(self.id()),
        }
    }

    /// Who started it: `user@realm` or `user@realm!token`.
    pub fn user(&self) -> &str {
        &self.text[self.user.0..self.user.1]
    }

    /// When it started.
    pub fn started(&self) -> Timestamp {
        Timestamp::from_second(self.started).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

impl fmt::Display for Upid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Upid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Upid {
    type Err = InvalidUpid;

    fn from_str(text: &str) -> Result<Self, InvalidUpid> {
        let fail = |reason| InvalidUpid { reason, given: text.chars().take(160).collect() };
        if text.len() > 512 {
            return Err(fail("more than 512 bytes"));
        }
        if text.bytes().any(|b| b.is_ascii_control() || b == b' ') {
            return Err(fail("a blank or control character"));
        }
        let fields: Vec<&str> = text.split(':').collect();
        let grammar = match fields.len() {
            9 => UpidGrammar::Pve,
            10 => UpidGrammar::Pbs,
            _ => return Err(fail("not eight or nine colons")),
        };
        if fields[0] != "UPID" {
            return Err(fail("no `UPID:` at the start"));
        }
        let node = NodeName::try_new(fields[1]).map_err(|_| fail("no valid node name"))?;
        if node.as_str().contains('.') {
            return Err(fail("no valid node name"));
        }
        hex(fields[2], 8..=8).ok_or_else(|| fail("no process id of 8 hex digits"))?;
        hex(fields[3], 8..=9).ok_or_else(|| fail("no process start of 8 or 9 hex digits"))?;
        let rest = match grammar {
            UpidGrammar::Pve => &fields[4..],
            UpidGrammar::Pbs => {
                hex(fields[4], 8..=16).ok_or_else(|| fail("no task id of 8 to 16 hex digits"))?;
                &fields[5..]
            }
        };
        let [start, kind, id, user, end] = rest else {
            return Err(fail("not eight or nine colons"));
        };
        let started = hex(start, 8..=8).ok_or_else(|| fail("no start time of 8 hex digits"))?;
        if kind.is_empty() {
            return Err(fail("no type"));
        }
        if grammar == UpidGrammar::Pve && (kind.contains('/') || id.contains('/')) {
            return Err(fail("a slash in type or id"));
        }
        if user.is_empty() || user.contains('/') {
            return Err(fail("no user"));
        }
        if !end.is_empty() {
            return Err(fail("no colon at the end"));
        }
        let span = |field: &str| {
            let start = field.as_ptr() as usize - text.as_ptr() as usize;
            (start, start + field.len())
        };
        Ok(Self {
            text: text.into(),
            node,
            grammar,
            started: i64::try_from(started).map_err(|_| fail("a start time out of range"))?,
            kind: span(kind),
            id: span(id),
            user: span(user),
        })
    }
}

impl<'de> Deserialize<'de> for Upid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

fn hex(field: &str, digits: std::ops::RangeInclusive<usize>) -> Option<u64> {
    if !digits.contains(&field.len()) || !field.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u64::from_str_radix(field, 16).ok()
}

/// Undoes systemd's unit escaping; what is no valid escape stays as it is.
fn unescape_unit(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let escaped = text.get(at..at + 4).and_then(|part| part.strip_prefix("\\x"));
        match (bytes[at], escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'\\', Some(byte)) => {
                out.push(byte);
                at += 4;
                continue;
            }
            (b'-', _) => out.push(b'/'),
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

// === impl TaskStatus ===

impl TaskStatus {
    /// Reads the exit status that the API gives (`OK`, `WARNINGS: 2`, the error's text).
    pub fn parse(text: &str) -> Self {
        if text == "OK" {
            return Self::Ok;
        }
        match text.strip_prefix("WARNINGS: ").and_then(|count| count.parse().ok()) {
            Some(count) => Self::Warnings(count),
            None => Self::Failed(text.to_owned()),
        }
    }

    /// Whether the work was done, warnings or not.
    pub fn is_success(&self) -> bool {
        !matches!(self, Self::Failed(_))
    }
}

impl fmt::Display for TaskStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("OK"),
            Self::Warnings(count) => write!(f, "WARNINGS: {count}"),
            Self::Failed(cause) => f.write_str(cause),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PVE: &str = "UPID:pve1:000002D6:000C8274:6B033EDA:qmcreate:300:root@pam!full:";
    const PBS: &str =
        "UPID:vault:00000301:00001F52:0000000B:6B033F10:backup:main\\x3avm-100:mcp@pbs!agent:";

    #[test]
    fn both_grammars_are_read() {
        let task: Upid = PVE.parse().expect("a PVE task");
        assert_eq!((task.node().as_str(), task.kind(), task.id()), ("pve1", "qmcreate", "300"));
        assert_eq!(task.user(), "root@pam!full");
        assert_eq!(task.grammar(), UpidGrammar::Pve);
        assert_eq!(task.started().as_second(), 0x6B03_3EDA);

        let task: Upid = PBS.parse().expect("a PBS task");
        assert_eq!(task.grammar(), UpidGrammar::Pbs);
        assert_eq!(task.display_id(), "main:vm/100");
    }

    #[test]
    fn what_is_no_upid_says_why() {
        for (text, reason) in [
            ("", "not eight or nine colons"),
            ("UPID:pve1:000002D6:000C8274:6B033EDA:qmcreate:300:root@pam", "not eight or nine"),
            ("UPID:pve1:2D6:000C8274:6B033EDA:qmcreate:300:root@pam:", "process id"),
            ("UPID:pve1:000002D6:000C8274:6B033EDA::300:root@pam:", "no type"),
            ("UPID:../x:000002D6:000C8274:6B033EDA:qmcreate:300:root@pam:", "node name"),
            ("UPID:pve1:000002D6:000C8274:6B033EDA:qmcreate:3/0:root@pam:", "slash"),
            ("UPID:pve1:000002D6:000C8274:6B033EDA:qm create:300:root@pam:", "blank"),
            ("UPID:pve1:000002D6:000C8274:6B033EDA:qmcreate:300:root@pam:x", "colon at the end"),
        ] {
            let error = text.parse::<Upid>().expect_err(text).to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn exit_statuses_are_told_apart() {
        assert_eq!(TaskStatus::parse("OK"), TaskStatus::Ok);
        assert_eq!(TaskStatus::parse("WARNINGS: 3"), TaskStatus::Warnings(3));
        assert_eq!(
            TaskStatus::parse("VM 300 already running"),
            TaskStatus::Failed("VM 300 already running".to_owned())
        );
    }

    proptest! {
        #[test]
        fn a_pve_upid_round_trips(
            node in "[a-zA-Z0-9]([a-zA-Z0-9-]{0,20}[a-zA-Z0-9])?", pid: u32, pstart in 0u64..0xF_FFFF_FFFF,
            start: u32, kind in "[a-z_-]{1,20}", id in "[^:/\\s\\p{C}]{0,20}", user in "[a-z]{1,8}@(pam|pve)(![a-z]{2,8})?",
        ) {
            let text = format!("UPID:{node}:{pid:08X}:{pstart:08X}:{start:08X}:{kind}:{id}:{user}:");
            let task: Upid = text.parse().expect("made by the grammar");
            prop_assert_eq!(task.to_string(), text);
            prop_assert_eq!(task.kind(), kind);
            prop_assert_eq!(task.id(), id);
            prop_assert_eq!(task.user(), user);
            prop_assert_eq!(task.started().as_second(), i64::from(start));
        }

        #[test]
        fn a_pbs_upid_round_trips(
            node in "[a-z]{1,10}", pid: u32, pstart: u32, task_id: u64, start: u32,
            kind in "[a-z_]{1,20}", id in "[a-zA-Z0-9\\\\./-]{0,30}", user in "[a-z]{1,8}@pbs(![a-z]{2,8})?",
        ) {
            let text = format!("UPID:{node}:{pid:08X}:{pstart:08X}:{task_id:08X}:{start:08X}:{kind}:{id}:{user}:");
            let task: Upid = text.parse().expect("made by the grammar");
            prop_assert_eq!(task.to_string(), text);
            prop_assert_eq!(task.id(), id);
        }

        #[test]
        fn no_text_panics(text in ".{0,200}") {
            let _ = text.parse::<Upid>();
            let _ = unescape_unit(&text);
        }
    }
}
