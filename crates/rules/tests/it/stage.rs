//! The contract of a stage: pure, deterministic, and indifferent to how time is cut into steps.

use std::sync::Arc;

use event_core::{Event, Kind, Stage as _};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use rules::{
    Config, Decision, Escalation, Input, Limit, MuteConfig, MuteTime, OutputConfig, RuleConfig,
    Rules, State,
};

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

/// Rules with everything that has to do with time.
fn busy() -> Rules {
    let mut config = Config::default().outputs(["ops", "log", "boss"]);
    let line = RuleConfig {
        route: vec!["ops".to_owned(), "log".to_owned()],
        repeat: Some(SignedDuration::from_mins(45)),
        throttle: Some(Limit { count: 4, per: SignedDuration::from_mins(20) }),
        escalate: vec![Escalation {
            after: SignedDuration::from_mins(25),
            to: vec!["boss".to_owned()],
        }],
        ..RuleConfig::default()
    };
    config.rules.insert("all".to_owned(), line);
    let flood = Limit { count: 2, per: SignedDuration::from_mins(10) };
    let quiet_hours = vec!["15:00-18:30".parse().expect("valid")];
    config.outputs.insert("log".to_owned(), OutputConfig { flood, quiet_hours, digest: false });
    let night = MuteConfig {
        when: Some("event.vmid == 101".to_owned()),
        time: MuteTime::Weekly("14:00-16:00".parse().expect("valid")),
        author: "settings".to_owned(),
        reason: String::new(),
    };
    config.maintenance.insert("night".to_owned(), night);
    Rules::try_new(&config).expect("valid")
}

/// A few hours of a few things that break and mend.
fn story() -> impl Strategy<Value = Vec<Arc<Event>>> {
    let one = (0..6_u32, prop::bool::ANY, 1..2000_i64);
    proptest::collection::vec(one, 1..25).prop_map(|all| {
        let mut now = at("13:00:00");
        let event = |(thing, bad, pause): (u32, bool, i64)| {
            now = later(now, pause);
            let guest = 100 + thing;
            let report = match (thing, bad) {
                (0..3, true) => wrong(Kind::BackupFailed, now).guest(guest),
                (0..3, false) => well(Kind::BackupFinished, now).guest(guest),
                (3, true) => wrong(Kind::NodeOffline, now).node("alder"),
                (3, false) => well(Kind::NodeOnline, now).node("alder"),
                (4, true) => wrong(Kind::ClusterUnreachable, now),
                (4, false) => well(Kind::ClusterReachable, now),
                (_, true) => wrong(Kind::GuestStopped, now).node("alder").guest(guest),
                (_, false) => well(Kind::GuestStarted, now).node("alder").guest(guest),
            };
            report.heard_after(0)
        };
        all.into_iter().map(event).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]

    /// However six channels tell of one fact within the first ten seconds, people are told once.
    #[test]
    fn one_fact_is_one_message(sequence in proptest::collection::vec((0..6_usize, 0..2_i64), 1..9)) {
        let six = crate::correlate::six();
        let mut now = at("01:31:00");
        let mut steps = Vec::new();
        for (which, pause) in sequence {
            now = later(now, pause);
            let mut event = Event::clone(&six[which]);
            event.received = now;
            steps.push((now, Some(Arc::new(event))));
        }
        steps.push((later(now, 7200), None));
        let rules = Rules::try_new(&Config::default().outputs(["ops"])).expect("valid");
        let told = told(&rules, &steps);
        prop_assert_eq!(told.len(), 1, "{:?}", told);
    }

    #[test]
    fn one_long_step_does_what_many_short_ones_do(
        events in story(), ticks in proptest::collection::vec(0..50_000_i64, 0..20),
    ) {
        let rules = busy();
        let end = later(at("13:00:00"), 60_000);
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
