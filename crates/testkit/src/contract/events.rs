//! The contract of what the store does with events beside keeping them: finding, forgetting, and
//! what follows from them.

use std::sync::Arc;

use event_core::{Appended, Event, Kind, Message, Seq, Severity, Stand, Subject};
use serde_json::json;
use store::{
    EventFilter, Forgotten, Incident, IncidentFilter, Mark, Merge, NewDelivery, NewEntry, Said,
    Silence, SilenceChange, Step, Stepped, Store,
};

use super::event_log::{after, component, noon, report};

/// The name of an incident that begins so.
fn id(head: &str) -> String {
    format!("{head:0<32}")
}

/// An incident that is open since so many seconds after [`noon`].
pub(super) fn incident(name: &str, updated: i64) -> Incident {
    Incident {
        id: id(name),
        opened: after(0),
        updated: after(updated),
        ended: None,
        is_open: true,
        status: "open".to_owned(),
        severity: Severity::Error,
        kind: "backup.failed".to_owned(),
        title: "backup of 104 \u{0} failed".to_owned(),
        cluster: Some("lab".to_owned()),
        node: None,
        vmid: Some(104),
        reports: 2,
        acknowledged: Some(Said { by: "ada".to_owned(), at: after(3) }),
        closed: None,
        merged_into: None,
        doc: json!({ "more": ["\u{0}", 1.5, null] }),
    }
}

/// A delivery about this incident, in a lane of its own for each.
pub(super) fn delivery(key: &str, output: &str, incident: Option<&str>, made: i64) -> NewDelivery {
    let title = format!("about {key} \u{0}");
    let message =
        Message::new(Stand::New, "1a2b", Kind::BackupFailed, Severity::Error, title, after(made));
    NewDelivery {
        key: key.to_owned().into(),
        output: component(output),
        incident: incident.map(id),
        lane: incident.map_or_else(|| key.to_owned(), id),
        made: after(made),
        due: after(made),
        message,
    }
}

/// Times as they are read back: to the microsecond.
fn floored(mut incident: Incident) -> Incident {
    let floor = |time: jiff::Timestamp| {
        jiff::Timestamp::from_microsecond(time.as_microsecond()).expect("a time")
    };
    incident.opened = floor(incident.opened);
    incident.updated = floor(incident.updated);
    incident.ended = incident.ended.map(floor);
    for said in [&mut incident.acknowledged, &mut incident.closed].into_iter().flatten() {
        said.at = floor(said.at);
    }
    incident
}

/// What every store finds of events. Wants an empty one.
///
/// # Panics
///
/// Where the contract is broken.
pub async fn search(store: &dyn Store) {
    let mut events: Vec<Event> = (0..10).map(|at| report("hooks", &at.to_string(), at)).collect();
    let started = |key: &str, seconds: i64, vmid: &str, node: &str| {
        let subject = Subject {
            cluster: Some("home".parse().expect("a name")),
            node: Some(node.parse().expect("a name")),
            vmid: Some(vmid.parse().expect("an id")),
            ..Subject::default()
        };
        Event::builder(&component("tasks"), "tasks", key, Kind::GuestStarted, after(seconds))
            .subject(subject)
            .title("guest db-main has started")
            .build(after(seconds))
    };
    // Heard late: what happened decides about the order, and of one moment what was heard last.
    events.push(started("a", -5, "105", "birch"));
    events.push(started("b", 4, "104", "birch"));
    let other = Event::builder(&component("tasks"), "tasks", "c", Kind::other("back"), after(4));
    events.push(other.severity(Severity::Critical).title("100%_sdb1").build(after(4)));
    let appended = EventLogOf(store).append(events.clone()).await;
    let found = async |filter: EventFilter| keys(store, &filter).await;

    let all = found(EventFilter::default()).await;
    assert_eq!(all, ["9", "8", "7", "6", "5", "c", "b", "4", "3", "2", "1", "0", "a"]);
    let mut paged = Vec::new();
    let mut cursor = None;
    loop {
        let page = store.find_events(&EventFilter::default(), cursor, 3).await.expect("find");
        assert!(page.events.len() <= 3);
        paged.extend(page.events.iter().map(|it| it.event.source_key.to_string()));
        let Some(next) = page.next else { break };
        cursor = Some(next.to_string().parse().expect("a cursor is read back"));
    }
    assert_eq!(paged, all, "a list goes on where it left off, within one moment too");

    let of = EventFilter::default;
    assert_eq!(found(EventFilter { since: Some(after(8)), ..of() }).await, ["9", "8"]);
    assert_eq!(found(EventFilter { until: Some(after(0)), ..of() }).await, ["a"]);
    let kinds = |kinds: &[&str]| kinds.iter().map(|&it| it.to_owned()).collect::<Vec<_>>();
    assert_eq!(found(EventFilter { kinds: kinds(&["guest"]), ..of() }).await, ["b", "a"]);
    let both = kinds(&["guest.started", "other"]);
    assert_eq!(found(EventFilter { kinds: both, ..of() }).await, ["c", "b", "a"]);
    assert!(found(EventFilter { kinds: kinds(&["gues", "%", "back"]), ..of() }).await.is_empty());
    let least = Some(Severity::Critical);
    assert_eq!(found(EventFilter { min_severity: least, ..of() }).await, ["c"]);
    assert_eq!(found(EventFilter { min_severity: Some(Severity::Error), ..of() }).await.len(), 11);
    assert_eq!(found(EventFilter { cluster: Some("home".into()), ..of() }).await, ["b", "a"]);
    assert_eq!(found(EventFilter { node: Some("alder".into()), ..of() }).await.len(), 10);
    assert_eq!(found(EventFilter { source: Some("tasks".into()), ..of() }).await, ["c", "b", "a"]);
    assert_eq!(found(EventFilter { vmid: Some(104), ..of() }).await.len(), 11);
    // A place is no time: what happened first was heard nearly last.
    let heard = |place: usize| Some(appended[appended.len() - place].seq());
    assert_eq!(found(EventFilter { after: heard(4), ..of() }).await, ["c", "b", "a"]);
    assert!(found(EventFilter { after: heard(1), ..of() }).await.is_empty());
    let guest = EventFilter { vmid: Some(104), node: Some("birch".into()), ..of() };
    assert_eq!(found(guest).await, ["b"]);
    assert_eq!(found(EventFilter { job: Some("nightly".into()), ..of() }).await.len(), 0);

    let one = store.event(events[4].id).await.expect("read").expect("it is there");
    assert_eq!((one.seq, &one.event), (appended[4].seq(), &events[4]));
    assert_eq!(store.event(event_core::EventId::new(noon())).await.expect("read"), None);
    words(store).await;
}

/// Words are found once they are indexed, and no text is an error.
async fn words(store: &dyn Store) {
    let found = async |text: &str| {
        keys(store, &EventFilter { text: Some(text.to_owned()), ..EventFilter::default() }).await
    };
    assert!(found("guest").await.is_empty(), "nothing is indexed yet");
    assert_eq!(store.mark(store::events::INDEXER).await.expect("mark"), None);
    assert_eq!(store.index_events(4).await.expect("index"), 4);
    assert_eq!(store.mark(store::events::INDEXER).await.expect("mark").map(|it| it.seq.0), Some(4));
    assert_eq!(store.index_events(100).await.expect("index"), 9);
    assert_eq!(store.index_events(100).await.expect("index"), 0);
    assert_eq!(found("guest").await, ["b", "a"]);
    assert_eq!(found("MAIN Db").await, ["b", "a"], "words in any order and case");
    assert_eq!(found("db-ma").await, ["b", "a"], "a word's beginning");
    assert_eq!(found("sdb1").await, ["c"]);
    assert_eq!(found("failed").await.len(), 10);
    assert_eq!(found("failed guest").await.len(), 0, "all words");
    assert_eq!(found("ain").await.len(), 0, "not a word's middle");
    assert_eq!(found("u0000").await.len(), 10, "the original is searched");
    for text in
        ["", " ", "%", "_", "*", "\"", "'", "\"\"", "a\"b", "NOT", "AND OR", "NEAR(a b)", "title:x"]
    {
        found(text).await;
    }
    for text in
        ["''::tsquery", "a & | !", "\\", "\u{0}", "(", "^x", "-x", "{a}", "é\u{301}", "ⓐ", "İ"]
    {
        found(text).await;
    }
    assert!(found("\u{0} *").await.is_empty(), "without a word, nothing is found");
    assert_eq!(found("NOT guest").await.len(), 0, "words are words");
}

async fn keys(store: &dyn Store, filter: &EventFilter) -> Vec<String> {
    let page = store.find_events(filter, None, 100).await.expect("find");
    assert_eq!(page.next, None);
    page.events.into_iter().map(|it| it.event.source_key.to_string()).collect()
}

/// The log of a store, for a batch without cursors.
struct EventLogOf<'a>(&'a dyn Store);

impl EventLogOf<'_> {
    async fn append(&self, events: Vec<Event>) -> Vec<Appended> {
        let events = events.into_iter().map(Arc::new).collect();
        event_core::EventLog::append(self.0, events, Vec::new()).await.expect("append")
    }
}

fn mark(seq: u64) -> Mark {
    Mark { consumer: "rules".to_owned(), seq: Seq(seq), time: floor_noon(seq) }
}

fn floor_noon(seconds: u64) -> jiff::Timestamp {
    let micros = noon().as_microsecond() + i64::try_from(seconds).expect("few") * 1_000_000;
    jiff::Timestamp::from_microsecond(micros).expect("a time")
}

/// What every store does with a step. Wants an empty one.
///
/// # Panics
///
/// Where the contract is broken.
pub async fn steps(store: &dyn Store) {
    let events: Vec<Event> = (1..=6).map(|at| report("hooks", &at.to_string(), at)).collect();
    EventLogOf(store).append(events.clone()).await;
    assert_eq!(store.mark("rules").await.expect("mark"), None);

    let (one, two) = (incident("1a2b3c", 5), incident("1a2bff", 7));
    let step = || Step {
        mark: Some(mark(3)),
        raised: vec![report("rules", "raised", 4)],
        incidents: vec![one.clone(), two.clone()],
        reports: vec![
            (events[0].id, one.id.clone()),
            (events[1].id, one.id.clone()),
            (events[2].id, two.id.clone()),
            (event_core::EventId::new(noon()), two.id.clone()),
        ],
        deliveries: vec![
            delivery("d1", "ops", Some("1a2b3c"), 5),
            delivery("d2", "ops", Some("1a2bff"), 7),
        ],
        journal: vec![NewEntry { after: Seq(3), time: after(5), doc: json!({ "said": "\u{0}" }) }],
        silences: vec![SilenceChange::Put(silence("night", 100))],
        ..Step::default()
    };
    let stepped = store.commit_step(step()).await.expect("commit");
    assert_eq!(stepped, Stepped { raised: vec![Appended::New(Seq(7))], deliveries: 2 });
    assert_eq!(store.mark("rules").await.expect("mark"), Some(mark(3)));
    assert_eq!(store.mark("others").await.expect("mark"), None);

    // Read again from before the mark: what was told is not told twice.
    let again = Step { journal: Vec::new(), ..step() };
    let again = store.commit_step(again).await.expect("commit");
    assert_eq!(again, Stepped { raised: vec![Appended::Duplicate(Seq(7))], deliveries: 0 });
    assert_eq!(store.head().await.expect("head"), Seq(7));
    assert_eq!(places(store, &one.id).await, [1, 2]);
    assert_eq!(places(store, &two.id).await, [3]);
    let some = store.incident_events(&one.id, Seq(1), 1).await.expect("read");
    assert_eq!(some.iter().map(|it| &it.event).collect::<Vec<_>>(), [&events[1]]);

    found_by_name(store, &one, &two).await;
    merged(store, &one, &two, &events).await;
    kept_beside(store).await;
}

fn silence(name: &str, until: i64) -> Silence {
    Silence {
        name: name.to_owned(),
        until: after(until),
        author: "ada".to_owned(),
        reason: "a new disk".to_owned(),
        doc: json!({ "vmid": 104 }),
    }
}

async fn places(store: &dyn Store, incident: &str) -> Vec<u64> {
    let events = store.incident_events(incident, Seq(0), 100).await.expect("read");
    events.iter().map(|it| it.seq.0).collect()
}

async fn found_by_name(store: &dyn Store, one: &Incident, two: &Incident) {
    let by = async |name: &str| store.incident(name).await;
    assert_eq!(by(&one.id).await.expect("read"), Some(floored(one.clone())));
    assert_eq!(by("1a2b3").await.expect("read"), Some(floored(one.clone())));
    assert_eq!(by("9").await.expect("read"), None);
    assert_eq!(by("%").await.expect("read"), None);
    let error = by("1a2b").await.expect_err("two begin so");
    assert!(error.is_conflict(), "{error}");
    assert!(error.to_string().contains(&one.id) && error.to_string().contains(&two.id), "{error}");

    let listed = async |filter: IncidentFilter, limit: u32| -> Vec<String> {
        let found = store.incidents(&filter, limit).await.expect("list");
        found.into_iter().map(|it| it.id).collect()
    };
    let all = [two.id.clone(), one.id.clone()];
    let of = IncidentFilter::default;
    assert_eq!(listed(of(), 10).await, all, "the last that changed first");
    assert_eq!(listed(of(), 1).await, all[..1]);
    assert_eq!(listed(IncidentFilter { since: Some(after(6)), ..of() }, 10).await, all[..1]);
    assert_eq!(listed(IncidentFilter { is_open: Some(true), ..of() }, 10).await, all);
    assert_eq!(listed(IncidentFilter { is_open: Some(false), ..of() }, 10).await.len(), 0);
    assert_eq!(listed(IncidentFilter { vmid: Some(105), ..of() }, 10).await.len(), 0);
    assert_eq!(listed(IncidentFilter { cluster: Some("lab".into()), ..of() }, 10).await, all);
    assert_eq!(listed(IncidentFilter { node: Some("alder".into()), ..of() }, 10).await.len(), 0);
    let least = Some(Severity::Critical);
    assert_eq!(listed(IncidentFilter { min_severity: least, ..of() }, 10).await.len(), 0);
}

async fn merged(store: &dyn Store, one: &Incident, two: &Incident, events: &[Event]) {
    let merge = |from: &Incident, into: &Incident| Step {
        merges: vec![Merge { from: from.id.clone(), into: into.id.clone() }],
        ..Step::default()
    };
    let due = async || -> Vec<String> {
        let due = store.due(&component("ops"), after(100), 10).await.expect("due");
        due.into_iter().map(|it| it.key.as_str().to_owned()).collect()
    };
    assert_eq!(due().await, ["d1", "d2"]);
    store.commit_step(merge(one, two)).await.expect("merge");
    assert_eq!(due().await, ["d1"], "both are one lane from now on");
    assert_eq!(places(store, &two.id).await, [1, 2, 3], "its reports are the other's");
    assert!(places(store, &one.id).await.is_empty());
    for name in [one.id.as_str(), "1a2b3", "1a2b"] {
        let found = store.incident(name).await.expect("read").expect("it is there");
        assert_eq!(found.id, two.id, "whoever asks for {name} is given the other one");
    }
    let of_one = EventFilter { incident: Some(one.id.clone()), ..EventFilter::default() };
    assert_eq!(keys(store, &of_one).await, ["3", "2", "1"]);
    let key = "d1".to_owned().into();
    let moved = store.delivery(&key).await.expect("read").expect("it is there");
    assert_eq!(moved.incident.as_ref(), Some(&two.id));
    let listed = store.incidents(&IncidentFilter::default(), 10).await.expect("list");
    assert_eq!(listed.iter().map(|it| &it.id).collect::<Vec<_>>(), [&two.id]);

    // A chain is one step long, and what is read again changes nothing.
    let three = incident("3", 9);
    let put = Step { incidents: vec![three.clone()], ..Step::default() };
    store.commit_step(put).await.expect("put");
    store.commit_step(merge(two, &three)).await.expect("merge");
    store.commit_step(merge(one, two)).await.expect("merge");
    store.commit_step(merge(&three, one)).await.expect("merge");
    let late = Step {
        incidents: vec![one.clone()],
        reports: vec![(events[4].id, one.id.clone())],
        ..Step::default()
    };
    store.commit_step(late).await.expect("report");
    assert_eq!(places(store, &three.id).await, [1, 2, 3, 5]);
    let found = store.incident(&one.id).await.expect("read").expect("it is there");
    assert_eq!(found, floored(three.clone()));
    assert_eq!(store.incidents(&IncidentFilter::default(), 10).await.expect("list"), [found]);
}

async fn kept_beside(store: &dyn Store) {
    let say = |seconds: i64| NewEntry { after: Seq(6), time: after(seconds), doc: json!(seconds) };
    let step = Step {
        journal: vec![say(8), say(6)],
        silences: vec![
            SilenceChange::Put(silence("day", 200)),
            SilenceChange::Put(silence("short", 8)),
            SilenceChange::Put(silence("night", 300)),
            SilenceChange::Drop("nobody".to_owned()),
        ],
        ..Step::default()
    };
    store.commit_step(step).await.expect("commit");
    let said = async |since: i64, behind: u64, limit: u32| -> Vec<serde_json::Value> {
        let entries = store.journal(after(since), behind, limit).await.expect("read");
        assert!(entries.windows(2).all(|pair| pair[0].number < pair[1].number));
        entries.into_iter().map(|it| it.entry.doc).collect()
    };
    let first = json!({ "said": "\u{0}" });
    assert_eq!(said(0, 0, 10).await, [first.clone(), json!(8), json!(6)], "as it was said");
    assert_eq!(said(0, 0, 1).await, [first]);
    assert_eq!(said(7, 0, 10).await, [json!(8)]);
    let entries = store.journal(after(0), 0, 10).await.expect("read");
    assert_eq!(said(0, entries[1].number, 10).await, [json!(6)]);
    assert_eq!((entries[1].entry.after, entries[1].entry.time), (Seq(6), floor_noon(8)));

    let names = async |now: i64| -> Vec<String> {
        let silences = store.silences(after(now)).await.expect("list");
        silences.into_iter().map(|it| it.name).collect()
    };
    assert_eq!(names(7).await, ["day", "night", "short"]);
    assert_eq!(names(200).await, ["night"]);
    let night = store.silences(after(299)).await.expect("list").remove(0);
    assert_eq!((night.author.as_str(), &night.doc), ("ada", &json!({ "vmid": 104 })));
    assert_eq!(night.until, floor_noon(300));
    let drop_it = Step { silences: vec![SilenceChange::Drop("day".to_owned())], ..Step::default() };
    store.commit_step(drop_it).await.expect("drop");
    assert_eq!(names(20).await, ["night"]);
}

/// What every store forgets, and what it keeps. Wants an empty one.
///
/// # Panics
///
/// Where the contract is broken.
pub async fn forgets(store: &dyn Store) {
    let events: Vec<Event> = (1..=8).map(|at| report("hooks", &at.to_string(), at)).collect();
    EventLogOf(store).append(events.clone()).await;
    store.index_events(100).await.expect("index");
    let over = Incident { is_open: false, ..incident("0e", 4) };
    let step = Step {
        mark: Some(mark(6)),
        incidents: vec![over.clone(), incident("0b", 4)],
        reports: vec![
            (events[0].id, over.id.clone()),
            (events[1].id, id("0b")),
            (events[2].id, over.id.clone()),
        ],
        deliveries: vec![
            delivery("over", "ops", Some("0e"), 4),
            delivery("open", "ops", Some("0b"), 4),
            delivery("waits", "gotify", Some("0e"), 4),
            delivery("dead", "mail", None, 4),
        ],
        journal: vec![NewEntry { after: Seq(1), time: after(2), doc: json!(1) }],
        silences: vec![SilenceChange::Put(silence("night", 3))],
        ..Step::default()
    };
    store.commit_step(step).await.expect("commit");
    let receipt = event_core::Receipt { ids: vec!["m1".to_owned()], ..Default::default() };
    for key in ["over", "open"] {
        let told = store::Told { service: "discord", receipt: &receipt };
        assert!(store.delivered(&key.to_owned().into(), told, after(5)).await.expect("told"));
    }
    assert!(store.bury(&"dead".to_owned().into(), "gone", after(5)).await.expect("bury"));

    assert!(store.forget(after(0), 100).await.expect("forget").is_empty());
    // Bounded, and until nothing is left.
    let mut total = Forgotten::default();
    loop {
        let forgotten = store.forget(after(1000), 2).await.expect("forget");
        assert!(forgotten.events <= 2 && forgotten.deliveries <= 2, "{forgotten:?}");
        if forgotten.is_empty() {
            break;
        }
        total.events += forgotten.events;
        total.incidents += forgotten.incidents;
        total.deliveries += forgotten.deliveries;
        total.receipts += forgotten.receipts;
        total.journal += forgotten.journal;
    }
    let expected = Forgotten { events: 5, incidents: 1, deliveries: 1, receipts: 1, journal: 2 };
    assert_eq!(total, expected);
    let kept = store.after(Seq(0), 100).await.expect("read");
    let kept: Vec<u64> = kept.iter().map(|it| it.seq.0).collect();
    assert_eq!(kept, [2, 7, 8], "what an open incident has, and what a reader has not read");
    assert_eq!(store.head().await.expect("head"), Seq(8));
    let by_word = EventFilter { text: Some("failed".into()), ..EventFilter::default() };
    assert_eq!(keys(store, &by_word).await, ["8", "7", "2"]);
    assert!(store.incident("0e").await.expect("read").is_none());
    assert!(store.incident("0b").await.expect("read").is_some());
    for key in ["open", "waits", "dead"] {
        let kept = store.delivery(&key.to_owned().into()).await.expect("read");
        assert!(kept.is_some(), "{key} is kept");
    }

    // When all is forgotten, places are not given again.
    let close = Step {
        incidents: vec![Incident { is_open: false, ..incident("0b", 4) }],
        mark: Some(mark(8)),
        ..Step::default()
    };
    store.commit_step(close).await.expect("close");
    store.drop_mark(store::events::INDEXER).await.expect("drop");
    while !store.forget(after(1000), 100).await.expect("forget").is_empty() {}
    assert_eq!(store.after(Seq(0), 100).await.expect("read"), []);
    let next = EventLogOf(store).append(vec![report("hooks", "1", 9)]).await;
    assert_eq!(next, [Appended::New(Seq(9))], "its key is forgotten, too");
}
