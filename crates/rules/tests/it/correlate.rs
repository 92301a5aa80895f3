//! Reports of one fact make one incident, in any order, with any of them missing or twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
};

use event_core::{Event, Fingerprint, Key, Kind, Severity};
use expect_test::expect;
use jiff::Timestamp;
use proptest::prelude::*;
use rules::{Incident, Incidents, Status, Word};

use crate::reports::{Report, at, days, later, well, wrong};

/// Part of what an incident says: all but its name and when we heard of it.
fn view(incident: &Incident) -> String {
    let mut view = String::new();
    let began = incident.began();
    let now = days(began, 3);
    writeln!(view, "{:?} {} {}", incident.status(now), incident.severity(), incident.lead().title)
        .expect("valid");
    writeln!(view, "from {began} to {:?}", incident.ended().map(|end| end.to_string()))
        .expect("valid");
    for it in incident.problems() {
        let place = it.lead.subject.address();
        let over = it.over.as_ref().map(|event| event.time.to_string());
        writeln!(view, "  {} {place} x{} {} over {over:?}", it.lead.kind, it.times, it.last)
            .expect("valid");
    }
    for event in incident.reports() {
        writeln!(view, "  < {} {}", event.source.id, event.source_key).expect("valid");
    }
    view
}

fn taken(events: impl IntoIterator<Item = Arc<Event>>) -> Incidents {
    let mut incidents = Incidents::default();
    for event in events {
        let taken = incidents.take(&event);
        let incident = incidents.get(taken.incident).expect("it was just taken");
        assert!(incident.reports().any(|it| it.source_key == event.source_key));
    }
    incidents
}

fn views(incidents: &Incidents) -> BTreeSet<String> {
    incidents.iter().map(view).collect()
}

/// A backup of guest 104 failed in the nightly job on alder: what six sources say of it.
pub(crate) fn six() -> [Arc<Event>; 6] {
    let upid = "UPID:alder:000002D6:000C8274:6B023E90:vzdump::root@pam:";
    let ended = at("01:30:00");
    let failed = |time: Timestamp| wrong(Kind::BackupFailed, time).node("alder");
    let webhook = failed(later(ended, 4)).source("webhook").job("nightly").about_guest(104);
    let mail = failed(later(ended, 5)).source("email").about_guest(104);
    let syslog = failed(at("01:24:10")).source("syslog").guest(104);
    let gotify = failed(later(ended, 4)).source("gotify").about_guest(104);
    let cluster_log = failed(later(ended, 1)).source("cluster_log").upid(upid);
    let tasks = failed(ended).source("tasks").upid(upid);
    [
        webhook.title("vzdump backup status (alder): backup failed").heard_after(1),
        mail.title("vzdump backup status (alder.lan): backup failed").heard_after(200),
        syslog.title("backup of 104 failed").heard(),
        gotify.title("vzdump backup status (alder): backup failed").heard(),
        cluster_log.title("vzdump failed").heard_after(9),
        tasks.title("vzdump failed").heard_after(30),
    ]
}

#[test]
fn six_reports_make_one_incident() {
    let incidents = taken(six());
    let all: Vec<String> = incidents.iter().map(view).collect();
    expect![[r#"
        Open error backup of 104 failed
        from 2026-11-22T01:24:10Z to None
          backup.failed lab/guest/104 x1 2026-11-22T01:24:10Z over None
          backup.failed lab/node/alder x1 2026-11-22T01:30:05Z over None
          backup.failed lab/job/nightly x1 2026-11-22T01:30:04Z over None
          < syslog backup.failed/lab/guest/104/2026-11-22T01:24:10Z
          < tasks backup.failed/lab/node/alder/2026-11-22T01:30:00Z
          < cluster_log backup.failed/lab/node/alder/2026-11-22T01:30:01Z
          < gotify backup.failed/lab/node/alder/2026-11-22T01:30:04Z
          < webhook backup.failed/lab/job/nightly/2026-11-22T01:30:04Z
          < email backup.failed/lab/node/alder/2026-11-22T01:30:05Z
    "#]]
    .assert_eq(&all.join("\n"));
}

/// A guest's line without a node and a task without a guest have nothing in common until a webhook
/// names both.
#[test]
fn a_late_report_makes_one_of_two() {
    let time = at("01:30:00");
    let guest = wrong(Kind::BackupFailed, time).source("syslog").guest(104).heard();
    let node = wrong(Kind::BackupFailed, time).node("alder").heard();
    let both = wrong(Kind::BackupFailed, later(time, 4)).source("webhook").node("alder");
    let both = both.job("nightly").about_guest(104).heard_after(300);
    let mut incidents = Incidents::default();
    let (first, second) = (incidents.take(&guest).incident, incidents.take(&node).incident);
    assert_ne!(first, second);
    let third = incidents.take(&both);
    assert_eq!(third.merged.len(), 1);
    assert_eq!(incidents.iter().count(), 1);
    // Whoever was told the other name finds it all the same.
    for name in [first, second] {
        assert_eq!(incidents.get(name).map(Incident::id), Some(third.incident));
    }
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let events = [&guest, &node, &both];
        let again = taken(order.map(|at| Arc::clone(events[at])));
        assert_eq!(views(&again), views(&incidents));
    }
}

/// People know it by the name that they were told, also where the other one was heard first.
#[test]
fn of_two_that_become_one_the_one_that_was_told_stays() {
    let time = at("01:30:00");
    let first = wrong(Kind::BackupFailed, time).guest(104).heard();
    let second = wrong(Kind::BackupFailed, time).source("syslog").node("alder").heard_after(2);
    let both = wrong(Kind::BackupFailed, later(time, 4)).source("webhook").node("alder");
    let mut incidents = Incidents::default();
    let (first, second) = (incidents.take(&first).incident, incidents.take(&second).incident);
    incidents.tell(second, later(time, 10));
    incidents.acknowledge(first, Word { by: "local:1000".to_owned(), at: later(time, 11) });
    let taken = incidents.take(&both.about_guest(104).heard_after(300));
    assert_eq!((taken.incident, taken.merged), (second, vec![first]));
    let by = incidents.get(first).and_then(Incident::acknowledged).map(|word| word.by.as_str());
    assert_eq!(by, Some("local:1000"));
}

#[test]
fn what_a_person_closes_is_open_again_only_with_what_happens_later() {
    let time = at("13:00:00");
    let mail = |seconds| {
        wrong(Kind::SystemMail, later(time, seconds)).node("alder").title("smartd").heard_after(90)
    };
    let mut incidents = taken([mail(0)]);
    let id = incidents.open().next().map(Incident::id).expect("valid");
    incidents.close(id, Word { by: "local:1000".to_owned(), at: later(time, 60) });
    assert_eq!(incidents.open().count(), 0);
    incidents.take(&mail(30));
    assert_eq!(incidents.open().count(), 0);
    incidents.take(&mail(120));
    assert_eq!(incidents.open().count(), 1);
}

#[test]
fn the_same_report_twice_is_one() {
    let [webhook, ..] = six();
    let mut incidents = Incidents::default();
    assert!(!incidents.take(&webhook).known);
    assert!(incidents.take(&webhook).known);
    assert_eq!(incidents.iter().next().map(Incident::count), Some(1));
}

fn status(incidents: &Incidents, now: Timestamp) -> Vec<Status> {
    incidents.iter().map(|it| it.status(now)).filter(|it| *it != Status::Note).collect()
}

#[test]
fn a_later_success_of_the_same_thing_is_the_end() {
    let night = at("01:30:00");
    let failed = || wrong(Kind::BackupFailed, night);
    let finished = |time| well(Kind::BackupFinished, time);
    let next = days(night, 1);
    let cases: [(&str, Vec<Report>, Status); 10] = [
        ("same guest", vec![failed().guest(104), finished(next).guest(104)], Status::Resolved),
        ("another guest", vec![failed().guest(104), finished(next).guest(105)], Status::Open),
        (
            "another estate",
            vec![failed().guest(104), finished(next).guest(104).cluster("edge")],
            Status::Open,
        ),
        (
            "the guest's job",
            vec![failed().guest(104).job("nightly"), finished(next).job("nightly")],
            Status::Resolved,
        ),
        (
            "the node only",
            vec![failed().node("alder").job("a"), finished(next).node("alder")],
            Status::Open,
        ),
        (
            "with warnings, and then without",
            vec![
                failed().guest(104),
                finished(next).guest(104).severity(Severity::Warning),
                finished(days(next, 1)).guest(104),
            ],
            Status::Resolved,
        ),
        (
            "all parts of a run",
            vec![
                failed().node("alder").about_guest(104).about_guest(105),
                failed().guest(104),
                failed().guest(105),
                finished(next).guest(104),
                finished(next).guest(105),
            ],
            Status::Resolved,
        ),
        (
            "a part of a run",
            vec![
                failed().node("alder").about_guest(104).about_guest(105),
                failed().guest(104),
                failed().guest(105),
                finished(next).guest(105),
            ],
            Status::Open,
        ),
        ("before", vec![finished(later(night, -60)).guest(104), failed().guest(104)], Status::Open),
        ("of the same moment", vec![failed().guest(104), finished(night).guest(104)], Status::Open),
    ];
    for (name, reports, expected) in cases {
        let events: Vec<Arc<Event>> = reports.into_iter().map(Report::heard).collect();
        let forward = taken(events.clone());
        let backward = taken(events.into_iter().rev());
        let now = days(night, 3);
        for (order, incidents) in [("forward", forward), ("backward", backward)] {
            let all = status(&incidents, now);
            let is_so = !all.is_empty() && all.iter().all(|it| *it == expected);
            assert!(is_so, "{name}, {order}: {all:?}");
        }
    }
}

#[test]
fn a_failed_task_is_mended_by_one_that_does_the_same() {
    let time = at("13:00:00");
    let task = |kind, time, upid: &str| {
        let report = if kind == Kind::TaskFailed { wrong(kind, time) } else { well(kind, time) };
        report.node("alder").upid(upid).heard()
    };
    let failed = task(
        Kind::TaskFailed,
        time,
        "UPID:alder:000002D6:000C8274:6B0195D0:qmigrate:104:root@pam:",
    );
    let other = task(
        Kind::TaskFinished,
        later(time, 9),
        "UPID:alder:000002D7:000C8275:6B0195D1:qmstart:300:root@pam:",
    );
    let same = task(
        Kind::TaskFinished,
        later(time, 90),
        "UPID:alder:000002D8:000C8276:6B0195D2:qmigrate:104:root@pam:",
    );
    assert_eq!(status(&taken([failed.clone(), other]), later(time, 100)), [Status::Open]);
    assert_eq!(status(&taken([failed, same]), later(time, 100)), [Status::Resolved]);
}

#[test]
fn what_fails_night_after_night_is_one_incident() {
    let nights = |count| (0..count).map(|night| days(at("01:30:00"), night));
    let failed = |time| wrong(Kind::BackupFailed, time).guest(104).heard();
    let incidents = taken(nights(3).map(failed));
    let times: Vec<u32> = incidents.iter().map(Incident::times).collect();
    assert_eq!(times, [3]);
    // A success in between parts them, whenever we hear of it.
    let success = well(Kind::BackupFinished, days(at("03:00:00"), 0)).guest(104).heard();
    let events: Vec<_> = [success].into_iter().chain(nights(3).map(failed)).collect();
    let incidents = taken(events);
    let open: Vec<u32> = incidents.open().map(Incident::times).collect();
    assert_eq!(open, [2]);
}

#[test]
fn what_comes_and_goes_is_one_incident_that_waits() {
    let time = at("13:00:00");
    let mut events = Vec::new();
    for round in 0..3 {
        events.push(wrong(Kind::NodeOffline, later(time, round * 300)).node("alder").heard());
        events.push(well(Kind::NodeOnline, later(time, round * 300 + 60)).node("alder").heard());
    }
    let incidents = taken(events.clone());
    let last = later(time, 660);
    assert_eq!(status(&incidents, last), [Status::Flapping]);
    assert_eq!(status(&incidents, later(last, 1799)), [Status::Flapping]);
    assert_eq!(status(&incidents, later(last, 1800)), [Status::Resolved]);
    events.reverse();
    assert_eq!(views(&taken(events)), views(&incidents));
}

#[test]
fn what_is_over_for_long_is_forgotten_and_what_is_open_is_not() {
    let time = at("13:00:00");
    let mut incidents = taken([
        wrong(Kind::BackupFailed, time).guest(104).heard(),
        wrong(Kind::BackupFailed, time).guest(105).heard(),
        well(Kind::BackupFinished, later(time, 7200)).guest(105).heard(),
        wrong(Kind::SystemMail, time).node("alder").title("smartd").heard(),
    ]);
    // Of 105 there are two: what failed, and as a note that it is well.
    assert_eq!(incidents.iter().count(), 4);
    assert!(incidents.forget(days(time, 2)).is_empty());
    assert_eq!(incidents.iter().count(), 3);
    assert!(incidents.forget(days(time, 4)).is_empty());
    let titles = |incidents: &Incidents| -> Vec<String> {
        incidents
            .open()
            .map(|it| it.lead().title.clone())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    };
    assert_eq!(titles(&incidents), ["backup.failed lab/104", "smartd"]);
    assert_eq!(incidents.iter().count(), 2);
    // Nothing ever says that a mail is over.
    assert_eq!(incidents.forget(days(time, 8)).len(), 1);
    assert_eq!(titles(&incidents), ["backup.failed lab/104"]);
}

/// Somebody tries passwords for hours.
#[test]
fn of_many_reports_of_one_thing_most_are_only_counted() {
    let start = at("13:00:00");
    let tries =
        (0..500).map(|at| wrong(Kind::AuthFailed, later(start, at * 20)).node("alder").heard());
    let incidents = taken(tries);
    let only = incidents.iter().next().expect("it was taken");
    assert_eq!((incidents.iter().count(), only.count(), only.reports().len()), (1, 500, 24));
    assert_eq!(only.began(), start);
    assert_eq!(only.problems()[0].last, later(start, 499 * 20));
}

/// A node writes lines all day, of which no two say the same.
#[test]
fn of_many_notes_most_are_only_counted_in_whatever_order_they_come() {
    let start = at("13:00:00");
    let line = |number: i64| {
        let report = well(Kind::other("syslog.app"), later(start, number)).node("alder");
        let mut event = Event::clone(&report.heard());
        event.fingerprint = Fingerprint::of([number.to_string().as_str()]);
        Arc::new(event)
    };
    let [forth, back] = [taken((0..500).map(line)), taken((0..500).rev().map(line))];
    for incidents in [&forth, &back] {
        let only = incidents.iter().next().expect("it was taken");
        assert_eq!((incidents.iter().count(), only.count(), only.reports().len()), (1, 500, 64));
        assert_eq!(only.began(), start);
        assert_eq!(only.lead().time, later(start, 499));
    }
    assert_eq!(views(&forth), views(&back));
}

/// Events that share some of a few keys, without anything else in common.
fn tangle() -> impl Strategy<Value = Vec<Arc<Event>>> {
    let keys = proptest::collection::btree_set(0..12_u32, 0..4);
    let one = (keys, 0..100_000_i64, prop::bool::ANY);
    proptest::collection::vec(one, 1..14).prop_map(|all| {
        let event = |(number, (keys, second, bad)): (usize, (BTreeSet<u32>, i64, bool))| {
            let time = Timestamp::from_second(1_790_000_000 + second).expect("valid");
            let source = "tasks".parse().expect("valid");
            let severity = if bad { Severity::Error } else { Severity::Info };
            let kind = Kind::other("knot");
            let mut builder = Event::builder(&source, "tasks", number.to_string(), kind, time)
                .severity(severity)
                .told_apart_by(number.to_string());
            for key in keys {
                builder = builder.key(Key::Own(key.to_string()));
            }
            Arc::new(builder.build(time))
        };
        all.into_iter().enumerate().map(event).collect()
    })
}

/// What hangs together by shared keys, found the slow way.
fn components(events: &[Arc<Event>]) -> BTreeSet<BTreeSet<String>> {
    let mut label: Vec<usize> = (0..events.len()).collect();
    loop {
        let before = label.clone();
        for one in 0..events.len() {
            for other in 0..events.len() {
                if !events[one].keys.is_disjoint(&events[other].keys) {
                    label[one] = label[one].min(label[other]);
                }
            }
        }
        if label == before {
            break;
        }
    }
    let mut groups: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for (event, label) in events.iter().zip(label) {
        groups.entry(label).or_default().insert(event.source_key.to_string());
    }
    groups.into_values().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Any subset, in any order, any of them any number of times.
    #[test]
    fn any_order_of_any_of_six_reports_is_one_incident(
        sequence in proptest::collection::vec(0..6_usize, 1..16),
    ) {
        let six = six();
        let heard: BTreeSet<usize> = sequence.iter().copied().collect();
        let incidents = taken(sequence.iter().map(|at| Arc::clone(&six[*at])));
        let plain = taken(heard.iter().map(|at| Arc::clone(&six[*at])));
        prop_assert_eq!(views(&incidents), views(&plain));
        prop_assert_eq!(incidents.iter().count(), 1);
        let only = incidents.iter().next().expect("valid");
        prop_assert_eq!(only.reports().len(), heard.len());
        prop_assert_eq!(only.status(at("02:00:00")), Status::Open);
    }

    /// The same with what comes before and after it: the night before, and the success of the next.
    #[test]
    fn order_does_not_matter_to_what_is_over(
        order in Just((0..9_usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let mut events = six().to_vec();
        let night = at("01:30:00");
        events.push(well(Kind::BackupFinished, days(night, -1)).guest(104).node("alder").heard());
        events.push(well(Kind::BackupFinished, days(night, 1)).node("alder").heard());
        events.push(well(Kind::BackupFinished, days(night, 1)).job("nightly").heard());
        let plain = views(&taken(events.clone()));
        let shuffled = taken(order.iter().map(|at| Arc::clone(&events[*at])));
        prop_assert_eq!(views(&shuffled), plain);
    }

    #[test]
    fn incidents_are_what_hangs_together(
        (events, order) in tangle().prop_flat_map(|events| {
            let order: Vec<usize> = (0..events.len()).collect();
            (Just(events), Just(order).prop_shuffle())
        }),
    ) {
        let incidents = taken(order.iter().map(|at| Arc::clone(&events[*at])));
        let found: BTreeSet<BTreeSet<String>> = incidents
            .iter()
            .map(|it| it.reports().map(|event| event.source_key.to_string()).collect())
            .collect();
        prop_assert_eq!(found, components(&events));
        prop_assert_eq!(views(&incidents), views(&taken(events)));
    }
}
