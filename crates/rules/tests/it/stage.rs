//! The contract of a stage: pure, deterministic, and indifferent to how time is cut into steps.

use std::sync::Arc;

use event_core::{Event, Kind};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use rules::{
    Config, Decision, Escalation, Limit, MuteConfig, MuteTime, OutputConfig, RuleConfig, Rules,
};
use testkit::contract::stage::stage;

use crate::reports::{at, later, well, wrong};

/// What was told, in an order that says when, by rules that keep the contract.
fn told(rules: &Rules, events: &[Arc<Event>], end: Timestamp) -> Vec<String> {
    let inputs: Vec<_> = events.iter().map(|it| (it.received, Arc::clone(it))).collect();
    let say = |decision: &Decision| match decision.delivered() {
        Some(it) => format!("{} {decision} {}", it.message.written, it.key.as_str()),
        None => decision.to_string(),
    };
    let mut all = stage(rules, at("13:00:00"), &inputs, end, say);
    all.retain(|line| line.starts_with("2026-"));
    all
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
    config.outputs.insert(
        "log".to_owned(),
        OutputConfig { flood, quiet_hours, digest: false, ..OutputConfig::default() },
    );
    let night = MuteConfig {
        when: Some("event.vmid == 101".to_owned()),
        time: MuteTime::Weekly("14:00-16:00".parse().expect("valid")),
        author: "settings".to_owned(),
        reason: String::new(),
    };
    config.maintenance.insert("night".to_owned(), night);
    config.inputs.insert("hook".parse().expect("valid"), ["lab".parse().expect("valid")].into());
    Rules::try_new(&config).expect("valid")
}

/// A few hours of a few things that break and mend.
fn story() -> impl Strategy<Value = Vec<Arc<Event>>> {
    let one = (0..8_u32, prop::bool::ANY, 1..2000_i64);
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
                // Two channels of what an input is expected to tell of.
                (6, true) => wrong(Kind::VerifyFailed, now),
                (6, false) => well(Kind::VerifyFinished, now),
                (7, _) => well(Kind::VerifyFinished, now).source("hook"),
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
        let mut events = Vec::new();
        for (which, pause) in sequence {
            now = later(now, pause);
            let mut event = Event::clone(&six[which]);
            event.received = now;
            events.push(Arc::new(event));
        }
        let rules = Rules::try_new(&Config::default().outputs(["ops"])).expect("valid");
        let told = told(&rules, &events, later(now, 7200));
        prop_assert_eq!(told.len(), 1, "{:?}", told);
    }

    #[test]
    fn time_that_is_cut_into_other_steps_gives_the_same(events in story()) {
        let told = told(&busy(), &events, later(at("13:00:00"), 60_000));
        // No key twice.
        let mut keys: Vec<_> = told.iter().filter_map(|it| it.rsplit(' ').next()).collect();
        let count = keys.len();
        keys.sort_unstable();
        keys.dedup();
        prop_assert_eq!(keys.len(), count);
    }
}
