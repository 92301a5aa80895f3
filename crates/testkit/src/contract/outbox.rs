//! The contract of where deliveries wait: in order, without holding each other up, and for good.

use event_core::{
    ComponentId, DeliveryKey, Kind, Message, Outbox, Queued, Receipt, Severity, Stand,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

fn after(seconds: i64) -> Timestamp {
    let noon: Timestamp = "2026-11-22T12:00:00Z".parse().expect("a timestamp");
    noon + SignedDuration::from_secs(seconds)
}

fn key(name: &str) -> DeliveryKey {
    DeliveryKey::of(["contract", name])
}

/// One that was made so many seconds after noon.
fn queued(name: &str, incident: Option<&str>, seconds: i64) -> Queued {
    let made = after(seconds);
    let kind = Kind::BackupFailed;
    let thread = incident.unwrap_or("none");
    let mut message = Message::new(Stand::New, thread, kind, Severity::Error, name, made);
    message.text.push_str("no space left on device\né");
    message.fields.push(("where".to_owned(), "lab/104".to_owned()));
    let incident = incident.map(str::to_owned);
    Queued { key: key(name), incident, attempts: 0, made, prior: None, so_far: None, message }
}

fn receipt(id: &str) -> Receipt {
    Receipt { ids: vec![id.to_owned(), "é".to_owned()], extra: json!({ "thread": "7" }) }
}

async fn titles(
    outbox: &dyn Outbox,
    output: &ComponentId,
    seconds: i64,
    limit: u32,
) -> Vec<String> {
    let due = outbox.due(output, after(seconds), limit).await.expect("read what is due");
    due.into_iter().map(|queued| queued.message.title).collect()
}

/// What every outbox does. Wants an empty one, and how a delivery gets in.
///
/// # Panics
///
/// Where the contract is broken.
pub async fn outbox(outbox: &dyn Outbox, put: impl AsyncFn(ComponentId, Queued)) {
    let ops: ComponentId = "ops".parse().expect("a name");
    let mail: ComponentId = "mail".parse().expect("a name");
    assert_eq!(titles(outbox, &ops, 0, 10).await, [""; 0]);

    for (name, incident, seconds) in [
        ("a1", Some("a"), 0),
        ("a2", Some("a"), 1),
        ("b1", Some("b"), 2),
        ("d1", None, 3),
        ("d2", None, 4),
    ] {
        put(ops.clone(), queued(name, incident, seconds)).await;
    }
    put(mail.clone(), queued("m1", Some("a"), 0)).await;

    // The first of each lane; those without an incident hold nobody up. Asking changes nothing.
    assert_eq!(titles(outbox, &ops, 10, 10).await, ["a1", "b1", "d1", "d2"]);
    assert_eq!(titles(outbox, &ops, 10, 2).await, ["a1", "b1"]);
    assert_eq!(titles(outbox, &mail, 10, 10).await, ["m1"]);
    let first = outbox.due(&ops, after(10), 1).await.expect("due").remove(0);
    let given = queued("a1", Some("a"), 0);
    assert_eq!(
        (&first.key, &first.incident, first.made),
        (&given.key, &given.incident, given.made)
    );
    assert_eq!((first.attempts, &first.prior, &first.so_far), (0, &None, &None));
    assert_eq!(
        (&first.message.text, &first.message.fields),
        (&given.message.text, &given.message.fields)
    );
    assert_eq!((first.message.stand, first.message.severity), (Stand::New, Severity::Error));

    // A lane whose first has to wait waits as a whole, and what was taken of it is kept.
    let failed = outbox.failed(&key("a1"), "it is away", after(60), Some(&receipt("part"))).await;
    failed.expect("say that it failed");
    assert_eq!(titles(outbox, &ops, 59, 10).await, ["b1", "d1", "d2"]);
    assert_eq!(titles(outbox, &ops, 60, 10).await, ["a1", "b1", "d1", "d2"]);
    outbox.failed(&key("a1"), "again", after(70), None).await.expect("say that it failed");
    let again = outbox.due(&ops, after(70), 1).await.expect("due").remove(0);
    assert_eq!((again.attempts, again.so_far), (2, Some(receipt("part"))));

    // What is told makes room for the next of its lane, which learns what was said.
    outbox.delivered(&key("a1"), &receipt("one"), after(71)).await.expect("say that it is told");
    let next = outbox.due(&ops, after(71), 1).await.expect("due").remove(0);
    assert_eq!((next.message.title.as_str(), next.prior), ("a2", Some(receipt("one"))));
    let other = outbox.due(&mail, after(71), 1).await.expect("due").remove(0);
    assert_eq!(other.prior, None, "another output was told nothing");

    // What is buried makes room as well, and says nothing to the next.
    outbox.bury(&key("a2"), "the webhook is gone", after(72)).await.expect("bury");
    put(ops.clone(), queued("a3", Some("a"), 73)).await;
    let next = outbox.due(&ops, after(74), 10).await.expect("due");
    let next = next.into_iter().find(|it| it.key == key("a3")).expect("the lane goes on");
    assert_eq!(next.prior, Some(receipt("one")));

    // What is over stays over, whatever is said of it, and a key is taken once.
    outbox.failed(&key("a1"), "late", after(75), None).await.expect("nothing");
    outbox.bury(&key("a1"), "late", after(75)).await.expect("nothing");
    outbox.delivered(&key("a2"), &receipt("late"), after(75)).await.expect("nothing");
    put(ops.clone(), queued("a1", Some("a"), 76)).await;
    let stranger = DeliveryKey::of(["stranger"]);
    outbox.delivered(&stranger, &receipt("late"), after(75)).await.expect("nothing");
    assert_eq!(titles(outbox, &ops, 100, 10).await, ["b1", "d1", "d2", "a3"]);
    let next = outbox.due(&ops, after(100), 10).await.expect("due").remove(3);
    assert_eq!(next.prior, Some(receipt("one")));
}
