//! The contract of a stage: pure, deterministic, and indifferent to how time is cut into steps.

use std::sync::Arc;

use event_core::{Event, Kind, Stage as _};
use jiff::Timestamp;
use proptest::prelude::*;
use rules::{Config, Decision, Input, Rules, State};

use crate::reports::{at, later, well, wrong};

/// What was told, in an order that says when.
fn told(rules: &Rules, steps: &[(Timestamp, Option<Arc<Event>>)]) -> Vec<String> {
    let mut state = State::default();
    let mut told = Vec::new();
    for (now, event) in steps {
        let (decisions, next) = rules.step(&mut state, *now, event.clone().map(Input::Event));
        assert!(next.is_none_or(|next| next > *now));
        for it in decisions.iter().filter_map(Decision::delivered) {
            told.push(format!("{} {} {}", it.message.written, it.message.stand, it.key.as_str()));
        }
        // Time that does not move gives nothing new.
        let (again, _) = rules.step(&mut state, *now, None);
        assert!(again.is_empty(), "{again:?}");
    }
    told
}

/// A few hours of a few things that break and mend.
fn story() -> impl Strategy<Value = Vec<Arc<Event>>> {
    let one = (0..6_u32, prop::bool::ANY, 1..2000_i64);
    proptest::collection::vec(one, 1..25).prop_map(|all| {
        let mut now = at("13:00:00");
        let event = |(thing, bad, pause): (u32, bool, i64)| {
            now = later(now, pause);
            let guest = 100 + thing / 2;
            let report = match (thing % 2, bad) {
                (0, true) => wrong(Kind::BackupFailed, now).guest(guest),
                (0, false) => well(Kind::BackupFinished, now).guest(guest),
                (_, true) => wrong(Kind::NodeOffline, now).node("alder"),
                (_, false) => well(Kind::NodeOnline, now).node("alder"),
            };
            report.heard_after(0)
        };
        all.into_iter().map(event).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn one_long_step_does_what_many_short_ones_do(
        events in story(), ticks in proptest::collection::vec(0..100_000_i64, 0..30),
    ) {
        let rules = Rules::try_new(&Config::default().outputs(["ops", "log"])).expect("valid");
        let end = later(at("13:00:00"), 200_000);
        let plain: Vec<_> = events.iter().map(|it| (it.received, Some(Arc::clone(it)))).collect();
        let mut ticked = plain.clone();
        ticked.extend(ticks.into_iter().map(|it| (later(at("13:00:00"), 1 + it), None)));
        ticked.sort_by_key(|(now, event)| (*now, event.is_some()));
        let finish = |mut steps: Vec<_>| {
            // Both begin at the same moment, from which the daily digest is counted.
            steps.insert(0, (at("13:00:00"), None));
            steps.push((end, None));
            told(&rules, &steps)
        };
        let (plain, ticked) = (finish(plain), finish(ticked));
        prop_assert_eq!(&plain, &ticked);
        // No key twice.
        let mut keys: Vec<_> = plain.iter().filter_map(|it| it.rsplit(' ').next()).collect();
        let count = keys.len();
        keys.sort_unstable();
        keys.dedup();
        prop_assert_eq!(keys.len(), count);
    }
}
