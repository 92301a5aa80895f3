//! Entries of a cluster's own log, which a node answers with when it is asked: the lines of the catalogue without syslog
//! around them, and with a node that can be believed.

use std::borrow::Cow;

use estate::NodeName;
use event_core::{Event, Severity};
use jiff::Timestamp;
use serde_json::json;

use super::{Line, event};
use crate::{Identity, Origin};

/// An entry of the cluster's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The node that wrote it.
    pub node: NodeName,
    /// The process that wrote it.
    pub pid: u32,
    /// Its number on the node.
    pub uid: String,
    /// When it was written.
    pub time: Timestamp,
    /// The priority of syslog: 0 emergency to 7 debug.
    pub priority: u8,
    /// The program.
    pub tag: String,
    /// Who it is about; empty for the daemons' own.
    pub user: String,
    /// The message.
    pub message: String,
}

/// The event of an entry. The same entry is the same event, whenever it is read.
pub fn recognize_entry(entry: &Entry, origin: &Origin<'_>) -> Event {
    // The node is the cluster's own word, so it is known before the line is read.
    let identity = Identity { node: Some(entry.node.clone()), ..origin.identity.clone() };
    let origin = Origin { identity: &identity, ..*origin };
    let message = unescaped(&entry.message);
    let line = Line {
        severity: Severity::from_syslog(entry.priority),
        time: entry.time,
        host: Some(entry.node.as_str()),
        program: Some(entry.tag.as_str()).filter(|tag| !tag.is_empty()),
        message: message.trim(),
    };
    let original = json!({
        "node": entry.node.as_str(), "pid": entry.pid, "uid": &entry.uid, "time": entry.time.as_second(),
        "pri": entry.priority, "tag": &entry.tag, "user": &entry.user, "msg": message,
    });
    event(&line, original.to_string().as_bytes(), &origin, entry.key())
}

/// The cluster's log is of plain ASCII: anything else is written as `\uXXXX`, and arrives as that where it was escaped
/// twice on the way.
fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains("\\u") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\\u") {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let mut units = Vec::new();
        while let Some(unit) = unit(rest) {
            units.push(unit);
            rest = &rest[6..];
        }
        if units.is_empty() {
            out.push_str("\\u");
            rest = &rest[2..];
        }
        out.push_str(&String::from_utf16_lossy(&units));
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex { u16::from_str_radix(digits, 16).ok() } else { None }
}

// === impl Entry ===

impl Entry {
    /// What no other entry has.
    pub fn key(&self) -> String {
        let Self { node, pid, uid, time, .. } = self;
        format!("log/{node}/{pid}/{uid}/{}", time.as_second())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recognize::syslog::is_known;
    use expect_test::expect;
    use proptest::prelude::*;
    use std::fmt::Write as _;

    fn entry(tag: &str, priority: u8, message: &str) -> Entry {
        Entry {
            node: "alder".parse().unwrap(),
            pid: 1207,
            uid: "130".to_owned(),
            time: Timestamp::from_second(1_795_372_643).unwrap(),
            priority,
            tag: tag.to_owned(),
            user: "root@pam".to_owned(),
            message: message.to_owned(),
        }
    }

    fn read(entry: &Entry) -> Event {
        let (source, identity) = (
            "tasks_lab".parse().unwrap(),
            Identity { cluster: "lab".parse().ok(), ..Identity::default() },
        );
        recognize_entry(entry, &Origin::new(&source, "tasks", &identity, entry.time))
    }

    #[test]
    fn entries_are_what_the_same_lines_of_syslog_are_with_a_node_that_is_known() {
        let mut shown = String::new();
        for (tag, priority, message) in [
            (
                "pvedaemon",
                6,
                "starting task UPID:alder:0000AA01:0001BB02:6B033EDA:vzdump:104:root@pam:",
            ),
            (
                "pvedaemon",
                3,
                "end task UPID:alder:0000AA01:0001BB02:6B033EDA:vzdump:104:root@pam: job errors",
            ),
            ("pvedaemon", 6, "successful auth for user 'root@pam'"),
            ("pvedaemon", 3, "authentication failure; rhost=::ffff:10.0.0.9 user=root@pam msg=no"),
            ("pvestatd", 4, "status update time (7.412 seconds)"),
            (
                "pve-ha-crm",
                3,
                "service 'vm:104' is in an error state and needs manual intervention",
            ),
            ("cron", 4, "caf\\u00e9 \\ud83d\\ude00 \\u12 \\uzzzz"),
            ("", 9, ""),
        ] {
            let event = read(&entry(tag, priority, message));
            assert_eq!(event.source_key.as_str(), "log/alder/1207/130/1795372643");
            assert!(event.raw.is_some());
            let (known, address) = (is_known(&event), event.subject.address());
            let _ = writeln!(
                shown,
                "{} {} {address} {known} {}",
                event.severity, event.kind, event.title
            );
        }
        expect![[r#"
            info backup.started lab/guest/104 true starting task UPID:alder:0000AA01:0001BB02:6B033EDA:vzdump:104:root@pam:
            error backup.failed lab/guest/104 true end task UPID:alder:0000AA01:0001BB02:6B033EDA:vzdump:104:root@pam: job errors
            info auth.succeeded lab/node/alder true successful auth for user 'root@pam'
            warning auth.failed lab/node/alder true authentication failure; rhost=::ffff:10.0.0.9 user=root@pam msg=no
            warning storage.error lab/node/alder true status update time (7.412 seconds)
            error ha.error lab/guest/104 true service 'vm:104' is in an error state and needs manual intervention
            warning other.syslog.cron lab/node/alder false café 😀 \u12 \uzzzz
            debug other.syslog.unnamed lab/node/alder false empty line
        "#]].assert_eq(&shown);
    }

    proptest! {
        #[test]
        fn any_text_is_read_and_plain_text_stays(plain in "[ -\\[\\]-~]{0,40}", any in ".{0,40}") {
            prop_assert_eq!(unescaped(&plain), plain.as_str());
            let _ = read(&entry(&any, 3, &format!("{any}\\u{plain}")));
        }
    }
}
