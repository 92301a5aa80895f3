//! Which of two facts holds, and for how long.

use proptest::prelude::*;

use super::*;
use crate::Subject;

fn lab() -> ClusterKey {
    "lab".parse().unwrap()
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + secs).unwrap()
}

fn event(kind: Kind, vmid: u32, time: i64) -> Event {
    let subject = Subject {
        cluster: Some(lab()),
        vmid: Some(vmid.to_string().parse().unwrap()),
        ..Subject::default()
    };
    let key = format!("{kind} {vmid} {time}");
    let source = "hook".parse().unwrap();
    Event::builder(&source, "webhook", key.as_str(), kind, at(time))
        .subject(subject)
        .build(at(1_000_000))
}

/// A look at guests; without a word one is there and does not tell.
fn look(time: i64, guests: &[(u32, Option<&str>)]) -> Looked {
    let facts = guests.iter().map(|(vmid, state)| {
        let key = Key::new(What::Guest, &lab(), &vmid.to_string(), "state");
        Fact::of(key, state.map(str::to_owned))
    });
    let part = Part { what: What::Guest, facts: facts.collect() };
    let parts = vec![(part, SignedDuration::from_secs(60))];
    Looked { cluster: lab(), at: at(time), source: "look".to_owned(), parts }
}

fn shown(state: &LiveState, now: i64) -> Vec<String> {
    let view = state.snapshot(&LiveQuery::default(), at(now));
    let line = |it: &FactView| {
        let was = it.was.as_ref().map(|was| format!(" (was {was})")).unwrap_or_default();
        format!("{} {}{was} {} s {}", it.name, it.value, it.age_secs, it.source)
    };
    view.facts.iter().map(line).collect()
}

#[test]
fn the_newer_fact_holds_and_old_ones_are_unknown() {
    let mut state = LiveState::default();
    state.looked(look(0, &[(104, Some("running")), (105, Some("running"))]));
    state.heard(&event(Kind::GuestStopped, 104, 5));
    // An old report that comes late.
    state.heard(&event(Kind::GuestStarted, 104, -20));
    assert_eq!(
        shown(&state, 10),
        ["104 stopped 5 s hook (guest.stopped)", "105 running 10 s look"]
    );
    // Its node does not tell: the fact gets old. The other one is gone.
    state.looked(look(20, &[(104, None)]));
    assert_eq!(shown(&state, 20), ["104 stopped 15 s hook (guest.stopped)"]);
    assert_eq!(shown(&state, 66), ["104 unknown (was stopped) 61 s hook (guest.stopped)"]);
    state.looked(look(70, &[(104, Some("running"))]));
    assert_eq!(shown(&state, 70), ["104 running 0 s look"]);
    // A look that was on its way for long says nothing new.
    state.looked(look(60, &[]));
    assert_eq!(shown(&state, 70), ["104 running 0 s look"]);
}

#[test]
fn how_a_job_ended_does_not_get_old() {
    let mut state = LiveState::default();
    let mut failed = event(Kind::BackupFailed, 104, 0);
    failed.subject.job = Some("backup-1".to_owned());
    state.heard(&failed);
    let key = Key::new(What::Job, &lab(), "backup backup-1", "next");
    let facts = vec![Fact::of(key, Some("tomorrow".to_owned()))];
    let parts = vec![(Part { what: What::Job, facts }, SignedDuration::from_secs(60))];
    state.looked(Looked { cluster: lab(), at: at(50), source: "look".to_owned(), parts });
    assert_eq!(
        shown(&state, 90_000),
        [
            "backup backup-1 failed 90000 s hook (backup.failed)",
            "backup backup-1 unknown (was tomorrow) 89950 s look",
        ]
    );
}

#[test]
fn there_is_a_bound() {
    let mut state = LiveState::default();
    for vmid in 0..=u32::try_from(MAX_FACTS).unwrap() {
        state.heard(&event(Kind::GuestStarted, 100 + vmid, 0));
    }
    let view = state.snapshot(&LiveQuery::default(), at(0));
    assert_eq!((view.facts.len(), view.is_cut), (MAX_FACTS, true));
}

proptest! {
    /// Looks come in their order; events come before, between and after them, once or twice, in any order.
    #[test]
    fn events_come_in_any_order(
        looks in prop::collection::vec(
            prop::collection::btree_map(100_u32..103, prop::option::of("[ab]"), 0..3), 1..5),
        events in prop::collection::vec((100_u32..104, any::<bool>(), 0_i64..60), 0..12)
            .prop_flat_map(|events| {
                let twice: Vec<_> = events.iter().chain(&events).copied().collect();
                (Just(events), Just(twice).prop_shuffle())
            }),
        places in prop::collection::vec(0_usize..6, 24),
    ) {
        let (once, shuffled) = events;
        let hear = |state: &mut LiveState, (vmid, runs, time): (u32, bool, i64)| {
            let kind = if runs { Kind::GuestStarted } else { Kind::GuestStopped };
            state.heard(&event(kind, vmid, time));
        };
        let take = |state: &mut LiveState, number: usize| {
            let guests: Vec<_> = looks[number].iter().map(|(vmid, state)| (*vmid, state.as_deref())).collect();
            state.looked(look(10 * i64::try_from(number).unwrap(), &guests));
        };
        let mut first = LiveState::default();
        for number in 0..looks.len() {
            take(&mut first, number);
        }
        for event in &once {
            hear(&mut first, *event);
        }

        let mut second = LiveState::default();
        for number in 0..=looks.len() {
            let here = shuffled.iter().zip(&places).filter(|(_, place)| (**place).min(looks.len()) == number);
            for (event, _) in here {
                hear(&mut second, *event);
            }
            if number < looks.len() {
                take(&mut second, number);
            }
        }
        prop_assert_eq!(shown(&first, 60), shown(&second, 60));
    }
}
