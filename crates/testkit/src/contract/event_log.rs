//! The contract of whatever keeps events.

use std::{collections::BTreeSet, sync::Arc};

use event_core::{Appended, ComponentId, Cursor, Event, EventLog, Kind, Seq, Severity, Subject};
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};

/// A moment with nanoseconds, which the log keeps.
pub fn noon() -> Timestamp {
    "2026-11-22T12:00:00.123456789Z".parse().expect("a timestamp")
}

/// So many seconds after [`noon`].
pub fn after(seconds: i64) -> Timestamp {
    noon() + SignedDuration::from_secs(seconds)
}

/// What an input is called.
///
/// # Panics
///
/// When it can be no name.
pub fn component(name: &str) -> ComponentId {
    name.parse().expect("a name of settings")
}

/// A failed backup as this input tells it, with texts that are hard to keep.
///
/// # Panics
///
/// When a name in it is none.
pub fn report(source: &str, key: &str, seconds: i64) -> Event {
    let subject = Subject {
        cluster: Some("lab".parse().expect("a name")),
        node: Some("alder".parse().expect("a name")),
        vmid: Some("104".parse().expect("an id")),
        job: Some("nightly \u{0}é".to_owned()),
        ..Subject::default()
    };
    Event::builder(&component(source), "webhook", key, Kind::BackupFailed, after(seconds))
        .severity(Severity::Error)
        .subject(subject)
        .title(format!("backup of 104 failed: {key}"))
        .message("err -5 on \u{1f4be}\n")
        .label("site", "home")
        .raw(b"{\"message\": \"\\u0000\"} \0 \xff'\"")
        .build(after(seconds + 1))
}

/// Events as a log takes them.
pub fn shared(events: &[Event]) -> Vec<Arc<Event>> {
    events.iter().cloned().map(Arc::new).collect()
}

/// What every log of events does. Wants an empty one.
///
/// # Panics
///
/// Where the contract is broken.
pub async fn event_log(log: &dyn EventLog) {
    assert_eq!(log.head().await.expect("head"), Seq(0));
    assert_eq!(log.after(Seq(0), 10).await.expect("read"), []);
    assert_eq!(log.cursor(&component("hooks")).await.expect("read"), None);
    assert_eq!(log.append(Vec::new(), Vec::new()).await.expect("append"), []);

    keeps(log).await;
    knows_what_it_was_told(log).await;
    takes_any_key(log).await;
    is_one_order(log).await;
}

/// What is kept is read back as it was, with the cursors that came with it.
async fn keeps(log: &dyn EventLog) {
    let events = vec![report("hooks", "1", 1), report("mail", "1", 2), report("hooks", "2", 0)];
    let cursors =
        vec![(component("hooks"), Cursor::new("2 é")), (component("mail"), Cursor::new(""))];
    let appended = log.append(shared(&events), cursors).await.expect("append");
    let new = |seq| Appended::New(Seq(seq));
    assert_eq!(appended, [new(1), new(2), new(3)], "each source has keys of its own");
    assert_eq!(log.head().await.expect("head"), Seq(3));
    let kept = log.after(Seq(0), 10).await.expect("read");
    let read: Vec<&Event> = kept.iter().map(|it| &it.event).collect();
    assert_eq!(read, events.iter().collect::<Vec<_>>(), "in the order in which they were heard");
    assert_eq!(kept.iter().map(|it| it.seq.0).collect::<Vec<_>>(), [1, 2, 3]);
    let some = log.after(Seq(1), 1).await.expect("read");
    assert_eq!(some, kept[1..2], "behind a place, and no more than was asked for");
    assert_eq!(log.after(Seq(3), 10).await.expect("read"), []);
    let cursor = async |name| log.cursor(&component(name)).await.expect("read");
    assert_eq!(cursor("hooks").await, Some(Cursor::new("2 é")));
    assert_eq!(cursor("mail").await, Some(Cursor::new("")));
    assert_eq!(cursor("gotify").await, None);
    let only = vec![(component("hooks"), Cursor::new("3"))];
    assert_eq!(log.append(Vec::new(), only).await.expect("append"), []);
    assert_eq!(cursor("hooks").await, Some(Cursor::new("3")), "a cursor moves without events");
}

/// A source's key is kept once, and the first report stands.
async fn knows_what_it_was_told(log: &dyn EventLog) {
    let again = vec![
        report("hooks", "2", 9),
        report("hooks", "3", 9),
        report("hooks", "3", 10),
        report("mail", "2", 9),
        report("mail", "1", 9),
    ];
    let appended = log.append(shared(&again), Vec::new()).await.expect("append");
    let (new, old) = (|seq| Appended::New(Seq(seq)), |seq| Appended::Duplicate(Seq(seq)));
    assert_eq!(appended, [old(3), new(4), old(4), new(5), old(2)], "no place is left out");
    let kept = log.after(Seq(2), 1).await.expect("read");
    assert_eq!(kept[0].event.time, after(0), "the first report stands");
    assert_eq!(log.head().await.expect("head"), Seq(5));
}

/// No key of a source can keep a batch from being kept.
async fn takes_any_key(log: &dyn EventLog) {
    let long = "k".repeat(100_000);
    let keys = [
        "",
        "a\u{0}b",
        "'; DROP TABLE events; --",
        "\"[1]\\",
        "\u{1f4be}",
        &long,
        &format!("{long}x"),
    ];
    let events: Vec<Event> = keys.iter().map(|key| report("keys", key, 20)).collect();
    let first = log.append(shared(&events), Vec::new()).await.expect("append");
    assert!(first.iter().all(|it| matches!(it, Appended::New(_))), "{first:?}");
    let again = log.append(shared(&events), Vec::new()).await.expect("append");
    let places = |all: &[Appended]| all.iter().map(|it| it.seq()).collect::<Vec<_>>();
    assert!(again.iter().all(|it| matches!(it, Appended::Duplicate(_))), "{again:?}");
    assert_eq!(places(&again), places(&first));
    let kept = log.after(Seq(first[0].seq().0 - 1), 10).await.expect("read");
    assert!(kept.iter().map(|it| &it.event).eq(&events), "they are read back as they were");
}

/// Many at once: every event is there once, and whoever follows sees no place appear behind one
/// that was seen.
async fn is_one_order(log: &dyn EventLog) {
    let head = log.head().await.expect("head");
    let batch = |number: usize| {
        let events = (0..=number % 5).map(|at| report("crowd", &format!("{number}/{at}"), 30));
        let twice = report("crowd", "all tell this", 30);
        events.chain([twice]).map(Arc::new).collect::<Vec<_>>()
    };
    let total: usize = (0..60).map(|number| number % 5 + 1).sum::<usize>() + 1;
    let follow = async {
        let mut seen: Vec<u64> = Vec::new();
        while seen.len() < total {
            let from = Seq(seen.last().copied().unwrap_or(head.0));
            seen.extend(log.after(from, 100).await.expect("follow").iter().map(|it| it.seq.0));
            tokio::task::yield_now().await;
        }
        seen
    };
    let appends = join_all((0..60).map(|number| log.append(batch(number), Vec::new())));
    let (appended, seen) = futures::join!(appends, follow);
    let places: Vec<u64> = (head.0 + 1..).take(total).collect();
    assert_eq!(seen, places, "without gaps, in order");
    let appended: Vec<Appended> = appended.into_iter().flat_map(|it| it.expect("append")).collect();
    let new: Vec<u64> = appended
        .iter()
        .filter_map(|it| match it {
            Appended::New(seq) => Some(seq.0),
            Appended::Duplicate(_) => None,
        })
        .collect();
    assert_eq!(new.len(), total);
    assert_eq!(new.into_iter().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>(), places);
    assert_eq!(log.head().await.expect("head").0, head.0 + total as u64);
}

/// What every log that outlives its process does besides; `open` opens the same one each time.
///
/// # Panics
///
/// Where the contract is broken.
pub async fn durable(open: impl AsyncFn() -> Arc<dyn EventLog>) {
    let (here, there) = (open().await, open().await);
    // Two programs on one log: what one heard the other knows.
    let one = here.append(vec![report("hooks", "1", 1).into()], Vec::new()).await.expect("append");
    let cursor = vec![(component("hooks"), Cursor::new("1"))];
    let two =
        there.append(vec![report("hooks", "1", 2).into()], cursor.clone()).await.expect("append");
    assert_eq!((one[0], two[0]), (Appended::New(Seq(1)), Appended::Duplicate(Seq(1))));
    let logs = [&here, &there];
    let appends = (0..40_usize).map(|number| {
        logs[number % 2].append(vec![report("crowd", &number.to_string(), 3).into()], Vec::new())
    });
    assert!(join_all(appends.collect::<Vec<_>>()).await.iter().all(Result::is_ok));
    drop((here, there));
    let reopened = open().await;
    assert_eq!(reopened.head().await.expect("head"), Seq(41));
    assert_eq!(reopened.after(Seq(0), 100).await.expect("read").len(), 41);
    assert_eq!(reopened.cursor(&cursor[0].0).await.expect("read").as_ref(), Some(&cursor[0].1));
}
