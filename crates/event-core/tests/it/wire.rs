//! The wire form is read back, and a golden file holds it still.

use std::collections::BTreeMap;

use event_core::{Event, Key, Kind, Severity, Subject, wire};
use expect_test::{expect, expect_file};
use jiff::Timestamp;
use proptest::prelude::*;

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("valid")
}

fn full() -> Event {
    let subject = Subject {
        cluster: Some("lab".parse().expect("valid")),
        node: Some("alder".parse().expect("valid")),
        guest_kind: Some(estate::GuestKind::Qemu),
        vmid: Some("104".parse().expect("valid")),
        guest_name: Some("db-main".to_owned()),
        storage: Some("vault".parse().expect("valid")),
        datastore: Some("main".parse().expect("valid")),
        namespace: Some("prod".to_owned()),
        upid: Some(
            "UPID:alder:000002D6:000C8274:6B033EDA:vzdump:104:root@pam:".parse().expect("valid"),
        ),
        job: Some("backup-1a2b".to_owned()),
        user: Some("root@pam".to_owned()),
    };
    let source = "hooks".parse().expect("valid");
    Event::builder(&source, "webhook", "k1", Kind::BackupFailed, time(1_795_370_864))
        .severity(Severity::Error)
        .subject(subject)
        .title("vzdump backup status (alder): backup failed")
        .message("job failed with err -5")
        .label("site", "home")
        .raw(b"{}")
        .key(Key::Own("mail:1".to_owned()))
        .build(time(1_795_370_866))
}

#[test]
fn the_schema_stands_still() {
    let schema = serde_json::to_string_pretty(&wire::schema()).unwrap();
    expect_file!["../golden/event.schema.json"].assert_eq(&(schema + "\n"));
}

#[test]
fn every_field_has_its_name() {
    let mut value = wire::to_json(&full());
    // It is random.
    value["id"] = "ID".into();
    let text = serde_json::to_string_pretty(&value).unwrap();
    expect_file!["../golden/event.json"].assert_eq(&(text + "\n"));
}

#[test]
fn what_is_kept_is_read_back() {
    let event = full();
    assert_eq!(wire::from_text(&wire::to_text(&event)).unwrap(), event);
    let bare = Event::builder(&"a".parse().unwrap(), "tasks", "1", Kind::other("x y"), time(0));
    let bare = bare.build(time(0));
    assert_eq!(wire::from_json(wire::to_json(&bare)).unwrap(), bare);
}

#[test]
fn what_a_later_program_adds_is_passed_over_and_what_it_changes_is_refused() {
    let mut value = wire::to_json(&full());
    value["weather"] = "fair".into();
    value["subject"]["rack"] = 4.into();
    assert_eq!(wire::from_json(value.clone()).unwrap(), full_like(&value));
    let mut refusals = BTreeMap::new();
    for (field, bad) in [
        ("v", 2.into()),
        ("kind", "backup.exploded".into()),
        ("severity", "bad".into()),
        ("fingerprint", "xyz".into()),
        ("id", "1".into()),
        ("correlation", serde_json::json!(["v9:x"])),
        ("time", "yesterday".into()),
    ] {
        let mut value = value.clone();
        value[field] = bad;
        let error = wire::from_json(value).unwrap_err();
        refusals.insert(field, error.to_string());
    }
    expect![[r#"
        {
            "correlation": "read the field `correlation` of an event: `v9:x` is not a correlation key",
            "fingerprint": "read the field `fingerprint` of an event: `xyz` is not a fingerprint of 32 hexadecimal digits",
            "id": "read the field `id` of an event: `1` is not the id of an event",
            "kind": "read the field `kind` of an event: `backup.exploded` is no kind of event: take one of the list in the reference, or `other.` with a name of a-z, 0-9, `_` and dots",
            "severity": "read the field `severity` of an event: `bad` is not a severity: use debug, info, notice, warning, error or critical",
            "time": "read the field `time` of an event: failed to parse four digit integer as year: invalid digit, expected 0-9 but got y",
            "v": "read an event of version 2: this program knows version 1, so update it",
        }
    "#]]
    .assert_debug_eq(&refusals);
}

fn full_like(value: &serde_json::Value) -> Event {
    let mut event = full();
    event.id = value["id"].as_str().expect("a text").parse().expect("an id");
    event
}

proptest! {
    #[test]
    fn any_words_survive(
        title in ".{0,80}", message in ".{0,80}", label in ".{0,20}", name in ".{0,20}",
        key in ".{0,40}", raw in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let source = "a".parse().unwrap();
        let subject = Subject { guest_name: Some(name), job: Some(key.clone()), ..Subject::default() };
        let event = Event::builder(&source, "mail", key.as_str(), Kind::other(&label), time(5))
            .subject(subject)
            .title(title)
            .message(message)
            .label(label, key)
            .raw(&raw)
            .build(time(6));
        prop_assert_eq!(wire::from_text(&wire::to_text(&event)).unwrap(), event);
    }

    #[test]
    fn no_text_breaks_the_reader(text in ".{0,200}") {
        let _ = wire::from_text(&text);
    }
}
