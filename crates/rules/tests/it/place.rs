//! Where within an output something is told.

use event_core::{Kind, Severity};
use expect_test::expect;
use jiff::SignedDuration;
use rules::{Config, Escalation, Limit, OutputConfig, Places, RuleConfig, Rules};

use crate::{
    reports::{at, well, wrong},
    world::World,
};

/// An output with two channels, one without any, and one that takes every topic that is short.
fn config(rules: impl IntoIterator<Item = (&'static str, RuleConfig)>) -> Config {
    let mut config = Config::default().outputs(["ops", "log", "phone"]);
    let mut put = |name: &str, places| {
        let output = OutputConfig { places, digest: false, ..OutputConfig::default() };
        config.outputs.insert(name.to_owned(), output);
    };
    put("ops", Places::Named(["storage".to_owned(), "night".to_owned()].into()));
    put("phone", Places::Fitting { what: "a topic", fits: |place| place.len() < 10 });
    put("log", Places::None);
    config.rules = rules.into_iter().map(|(name, rule)| (name.to_owned(), rule)).collect();
    config
}

fn to(when: &str, route: &[&str]) -> RuleConfig {
    let route = route.iter().map(|&it| it.to_owned()).collect();
    RuleConfig { when: Some(when.to_owned()), route, ..RuleConfig::default() }
}

fn failed(source: &'static str) -> crate::reports::Report {
    wrong(Kind::BackupFailed, at("13:00:00"))
        .guest(104)
        .title("backup of 104 failed")
        .source(source)
}

#[test]
fn an_incident_stays_at_the_place_where_it_was_told_first() {
    let worse = RuleConfig { order: 10, ..to("event.level == 5", &["ops:night"]) };
    let mut world = World::new(
        &config([
            ("backups", to("event.family == 'backup'", &["ops:storage", "phone"])),
            ("worse", worse),
        ]),
        at("13:00:00"),
    );
    world.hear(failed("tasks").heard());
    world.pass(60);
    // The rule that names another place speaks too late; what it says of the severity counts.
    world.hear(failed("webhook").severity(Severity::Critical).heard_after(90));
    world.pass(3600);
    world.hear(well(Kind::BackupFinished, at("15:00:00")).guest(104).heard());
    world.pass(60);
    expect![[r#"
        00:00:11 ops:storage new: error backup of 104 failed
        00:00:11 phone new: error backup of 104 failed
        00:01:30 ops:storage worse: critical backup of 104 failed
        00:01:30 phone worse: critical backup of 104 failed
        02:00:01 ops:storage resolved quietly: critical backup of 104 failed
        02:00:01 phone resolved quietly: critical backup of 104 failed
    "#]]
    .assert_eq(&world.said());
}

#[test]
fn the_first_line_that_names_a_place_decides() {
    let later = RuleConfig { order: 10, ..to("event.level >= 4", &["ops:night", "log"]) };
    let plain = RuleConfig { order: 1, ..to("event.level >= 4", &["ops"]) };
    let first = RuleConfig { order: 5, ..to("event.family == 'backup'", &["ops:storage"]) };
    let rules = Rules::try_new(&config([("later", later), ("plain", plain), ("first", first)]));
    let (_, verdict) = rules.expect("valid").judge(&failed("tasks").heard());
    assert_eq!(verdict.fate().to_string(), "told to log, ops:storage");
}

#[test]
fn lists_are_told_in_the_place_of_the_output() {
    let escalate =
        vec![Escalation { after: SignedDuration::from_mins(30), to: vec!["phone".to_owned()] }];
    let throttle = Some(Limit { count: 1, per: SignedDuration::from_mins(5) });
    let mut world = World::new(
        &config([(
            "backups",
            RuleConfig { escalate, throttle, ..to("event.family == 'backup'", &["ops:storage"]) },
        )]),
        at("13:00:00"),
    );
    world.hear(failed("tasks").heard());
    world.hear(wrong(Kind::BackupFailed, at("13:00:01")).guest(105).title("and of 105").heard());
    world.pass(2400);
    world.hear(well(Kind::BackupFinished, at("15:00:00")).guest(104).heard());
    world.hear(well(Kind::BackupFinished, at("15:00:00")).guest(105).heard());
    world.pass(60);
    expect![[r#"
        00:00:11 ops:storage new: error backup of 104 failed
        00:00:12 ops held of ec7fc1b2: too many messages (backups)
        00:05:12 ops digest: error 1 more incidents
        00:30:11 phone escalated: error backup of 104 failed
        00:35:12 phone escalated: error and of 105
        02:00:01 ops:storage resolved quietly: error backup of 104 failed
        02:00:01 phone resolved quietly: error backup of 104 failed
        02:00:01 phone resolved quietly: error and of 105
    "#]]
    .assert_eq(&world.said());
}

#[test]
fn places_that_there_are_not_are_said_with_those_that_there_are() {
    let rules = [
        ("attic", to("true", &["ops:attic"])),
        ("nobody", to("true", &["opps:storage"])),
        ("none", to("true", &["log:storage"])),
        ("long", to("true", &["phone:much_too_long"])),
        ("twice", to("true", &["ops:night", "ops:storage"])),
        (
            "step",
            RuleConfig {
                escalate: vec![Escalation {
                    after: SignedDuration::from_mins(30),
                    to: vec!["ops:night".to_owned()],
                }],
                ..to("true", &["ops"])
            },
        ),
    ];
    let problems = Rules::try_new(&config(rules)).expect_err("they are wrong");
    let mut said: Vec<String> = problems.iter().map(ToString::to_string).collect();
    said.sort();
    expect![[r#"
        `escalate` of [rule.step] names a place of `ops`: name the output alone, or add an output for that place
        `route` of [rule.attic] names `ops:attic`, but `ops` has no route `attic`: add [output.ops.route.attic], or take one of night, storage
        `route` of [rule.long] names `phone:much_too_long`, but `much_too_long` is not a topic: write one, or name `phone` alone
        `route` of [rule.nobody] names `opps`, which is no output: add [output.opps], or take one of log, ops, phone
        `route` of [rule.none] names `log:storage`, but `log` has no places: name `log` alone, or add an output for it
        `route` of [rule.twice] names `ops` twice: an incident is told at one place of an output: add another output with a table of its own for the second one
    "#]].assert_eq(&(said.join("\n") + "\n"));
}
