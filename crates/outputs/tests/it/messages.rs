//! What the outputs are given to tell.

use event_core::{Delivery, DeliveryKey, Kind, Message, Severity, Stand, Subject};
use jiff::Timestamp;

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn message(stand: Stand, kind: Kind, severity: Severity, title: &str) -> Message {
    let written = at("2026-11-22T01:00:30Z");
    let mut message = Message::new(stand, "7f3a9c1e", kind, severity, title, written);
    message.began = at("2026-11-22T01:00:00Z");
    message.subject = Subject {
        cluster: "home".parse().ok(),
        node: "pve1".parse().ok(),
        vmid: "104".parse().ok(),
        guest_name: Some("db_main".to_owned()),
        ..Subject::default()
    };
    message.silent = stand.edits();
    message.link = Some("https://mcp.example.org/incidents/7f3a9c1e".to_owned());
    message.fields = vec![
        ("where".to_owned(), "home/104 db_main".to_owned()),
        ("began".to_owned(), "2026-11-22 02:00:00 +01:00".to_owned()),
    ];
    message
}

/// A new failure, in words that every markup would like to take for its own.
pub(crate) fn failure() -> Message {
    let title = "backup of 104 failed: <@everyone> *disk*";
    let mut message = message(Stand::New, Kind::BackupFailed, Severity::Error, title);
    message.text.push_str("no space left on device\n# df & co.: [here](http://x.example)");
    message
}

/// More is known of it.
pub(crate) fn update() -> Message {
    let title = "backup of 104 failed (and 2 more)";
    let mut message = message(Stand::Update, Kind::BackupFailed, Severity::Error, title);
    message.text.push_str("- backup of 104 failed\n- backup of 105 failed");
    message.fields.push(("reports".to_owned(), "3 (syslog, webhook)".to_owned()));
    message
}

/// It is over.
pub(crate) fn resolved() -> Message {
    let title = "backup of 104 failed";
    let mut message = message(Stand::Resolved, Kind::BackupFailed, Severity::Error, title);
    message.fields.push(("ended".to_owned(), "2026-11-23 02:03:00 +01:00".to_owned()));
    message
}

/// A list of what went on.
pub(crate) fn digest() -> Message {
    let title = "all is well: 12 backups";
    let kind = Kind::other("digest");
    let mut message = message(Stand::Digest, kind, Severity::Info, title);
    message.subject = Subject::default();
    message.fields.clear();
    message.link = None;
    message.text.push_str("- home: 12 backups finished\n- vault: garbage collection finished");
    message
}

pub(crate) fn delivery(message: Message) -> Delivery {
    let key = DeliveryKey::of(["7f3a9c1e", message.stand.as_str(), "ops"]);
    Delivery { key, prior: None, so_far: None, message }
}

/// All four, in this order, with their names.
pub(crate) fn all() -> [(&'static str, Delivery); 4] {
    [("new", failure()), ("update", update()), ("resolved", resolved()), ("digest", digest())]
        .map(|(name, message)| (name, delivery(message)))
}

/// Holds what a channel sends for each of them against its golden file.
pub(crate) fn golden(channel: &str, name: &str, sent: &str) {
    let path = format!("golden/{channel}-{name}.txt");
    // Relative paths are looked for beside the file that names them.
    expect_test::expect_file![path].assert_eq(sent);
}
