//! What waits in an outbox is read back, and a golden file holds its form still.

use event_core::{Event, Kind, Message, Severity, Stand, Subject, wire::message};
use expect_test::expect_file;
use jiff::Timestamp;
use proptest::prelude::*;

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("valid")
}

fn full() -> Message {
    let subject = Subject {
        cluster: Some("lab".parse().expect("valid")),
        vmid: Some("104".parse().expect("valid")),
        ..Subject::default()
    };
    let source = "hooks".parse().expect("valid");
    let event = Event::builder(&source, "webhook", "k1", Kind::BackupFailed, time(1_795_370_864))
        .subject(subject.clone())
        .title("backup of 104 failed")
        .build(time(1_795_370_866));
    let title = "backup of lab/104 failed";
    let mut full = Message::new(
        Stand::Worse,
        "1a2b3c4d",
        Kind::BackupFailed,
        Severity::Error,
        title,
        time(1_795_370_870),
    );
    full.subject = subject;
    full.text.push_str("no space\nleft");
    full.fields = vec![("Node".to_owned(), "alder".to_owned())];
    full.began = time(1_795_370_864);
    full.link = Some("https://mcp.example/i/1a2b3c4d".to_owned());
    full.events = vec![event];
    full.silent = true;
    full.route = Some("#ops".to_owned());
    full
}

#[test]
fn every_field_has_its_name() {
    let mut value: serde_json::Value = serde_json::from_str(&message::to_text(&full())).unwrap();
    // It is random.
    value["events"][0]["id"] = "ID".into();
    let text = serde_json::to_string_pretty(&value).unwrap();
    expect_file!["../golden/message.json"].assert_eq(&(text + "\n"));
}

#[test]
fn what_is_kept_is_read_back() {
    let full = full();
    assert_eq!(message::from_text(&message::to_text(&full)).unwrap(), full);
    for stand in Stand::ALL {
        let mut bare =
            Message::new(stand, "", Kind::other("x"), Severity::Info, "only a title", time(1));
        bare.events.clear();
        assert_eq!(message::from_text(&message::to_text(&bare)).unwrap(), bare);
    }
}

#[test]
fn what_a_later_program_changes_is_refused() {
    let value: serde_json::Value = serde_json::from_str(&message::to_text(&full())).unwrap();
    for (field, bad, said) in [
        ("v", 2.into(), "version 2"),
        ("stand", "over".into(), "`over` is no stand of a message"),
        ("severity", "bad".into(), "`severity`"),
        ("began", "yesterday".into(), "`began`"),
    ] {
        let mut value = value.clone();
        value[field] = bad;
        let error = message::from_text(&value.to_string()).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    let mut later = value;
    later["weather"] = "fair".into();
    assert!(message::from_text(&later.to_string()).is_ok());
}

proptest! {
    #[test]
    fn any_words_survive(
        title in ".{0,60}", text in ".{0,60}", incident in ".{0,10}",
        fields in prop::collection::vec((".{0,10}", ".{0,20}"), 0..4),
        link in prop::option::of(".{0,20}"), route in prop::option::of(".{0,20}"),
        at in 0..4_000_000_000_i64, silent: bool,
    ) {
        let mut any = full();
        (any.title, any.text, any.incident) = (title, text, incident);
        (any.fields, any.link, any.route) = (fields, link, route);
        (any.written, any.silent) = (time(at), silent);
        prop_assert_eq!(message::from_text(&message::to_text(&any)).unwrap(), any);
    }

    #[test]
    fn no_text_breaks_the_reader(text in ".{0,200}") {
        let _ = message::from_text(&text);
    }
}
