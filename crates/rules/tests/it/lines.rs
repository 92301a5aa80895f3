//! What the lines make of events, and what is wrong with lines.

use std::fmt::Write as _;

use event_core::{Kind, Severity};
use expect_test::expect;
use jiff::SignedDuration;
use rules::{Config, Escalation, InhibitConfig, Limit, MuteConfig, MuteTime, RuleConfig, Rules};

use crate::reports::{at, well, wrong};

fn line(order: u32, when: &str) -> RuleConfig {
    let when = Some(when.to_owned()).filter(|it| !it.is_empty());
    RuleConfig { order, when, ..RuleConfig::default() }
}

fn to(outputs: &[&str]) -> Vec<String> {
    outputs.iter().map(|&it| it.to_owned()).collect()
}

fn config(lines: impl IntoIterator<Item = (&'static str, RuleConfig)>) -> Config {
    let mut config = Config::default().outputs(["ops", "boss", "log"]);
    config.rules = lines.into_iter().map(|(name, line)| (name.to_owned(), line)).collect();
    config
}

#[test]
fn every_line_that_fits_says_what_it_did() {
    let lab = RuleConfig { drop: true, ..line(1, "event.cluster == 'play'") };
    let customer = RuleConfig {
        labels: [("customer".to_owned(), "acme".to_owned())].into(),
        ..line(2, "event.vmid >= 200 && event.vmid < 300")
    };
    let worse = RuleConfig {
        severity: Some(Severity::Critical),
        title: Some("the shop is down".to_owned()),
        route: to(&["boss"]),
        ..line(
            3,
            "has(event.labels.customer) && event.labels.customer == 'acme' && event.level >= 3",
        )
    };
    let logins = RuleConfig {
        digest: true,
        last: true,
        group_by: to(&["node"]),
        ..line(4, "event.family == 'auth'")
    };
    let all = RuleConfig { route: to(&["log"]), ..line(5, "event.level >= 4") };
    let lines =
        [("play", lab), ("customer", customer), ("shop", worse), ("logins", logins), ("log", all)];
    let rules = Rules::try_new(&config(lines)).expect("valid");
    let events = [
        wrong(Kind::GuestStopped, at("13:00:00")).cluster("play").guest(100),
        wrong(Kind::GuestStopped, at("13:00:00")).guest(100),
        wrong(Kind::GuestStopped, at("13:00:00")).guest(204),
        well(Kind::GuestStarted, at("13:00:00")).guest(204),
        wrong(Kind::AuthFailed, at("13:00:00")).node("alder").severity(Severity::Warning),
        wrong(Kind::UpdatesAvailable, at("13:00:00")).node("alder").severity(Severity::Warning),
        well(Kind::UpdatesAvailable, at("13:00:00")).node("alder"),
        // PBS says "info" of a certificate that could not be renewed.
        well(Kind::CertificateExpiring, at("13:00:00")).node("vault").source("webhook"),
        well(Kind::CertificateExpiring, at("13:00:00")).node("vault").source("tasks"),
    ];
    let mut table = String::new();
    for event in events.map(crate::reports::Report::heard) {
        let (event, verdict) = rules.judge(&event);
        writeln!(table, "{} {} ({})", event.kind, event.subject.address(), event.severity).unwrap();
        for fit in verdict.lines {
            writeln!(table, "  {}: {}", fit.line, fit.did).unwrap();
        }
    }
    expect![[r#"
        guest.stopped play/guest/100 (error)
          play: drops it
        guest.stopped lab/guest/100 (error)
          log: sends it to log
        guest.stopped lab/guest/204 (critical)
          customer: puts on customer
          shop: makes it critical; gives it a title; sends it to boss
          log: sends it to log
        guest.started lab/guest/204 (info)
          customer: puts on customer
          default.digest: is told in the daily digest
        auth.failed lab/node/alder (warning)
          logins: groups by node; tells it in the daily digest
        updates.available lab/node/alder (warning)
          default.alert: is a warning or worse: every output
        updates.available lab/node/alder (info)
          default.digest: is told in the daily digest
        certificate.expiring lab/node/vault (error)
          default.acme: makes it error
          log: sends it to log
        certificate.expiring lab/node/vault (info)
          default.digest: is told in the daily digest
    "#]]
    .assert_eq(&table);
}

#[test]
fn what_is_wrong_with_lines_is_said_with_what_to_do() {
    let short = SignedDuration::from_secs(5);
    let mute = |when: &str, author: &str, until| MuteConfig {
        when: Some(when.to_owned()),
        time: MuteTime::Once { from: at("13:00:00"), until },
        author: author.to_owned(),
        reason: String::new(),
    };
    let lines = [
        ("typo", line(0, "event.kid == 'backup.failed'")),
        ("nobody", RuleConfig { route: to(&["opps"]), ..line(0, "") }),
        ("both", RuleConfig { route: to(&["ops"]), drop: true, ..line(0, "") }),
        ("two_ways", RuleConfig { route: to(&["ops"]), digest: true, ..line(0, "") }),
        ("group", RuleConfig { group_by: to(&["colour"]), ..line(0, "") }),
        ("Rule 1", line(0, "")),
        ("default.mine", line(0, "")),
        ("never", RuleConfig { throttle: Some(Limit { count: 0, per: short }), ..line(0, "") }),
        ("often", RuleConfig { repeat: Some(short), ..line(0, "") }),
        (
            "steps",
            RuleConfig {
                escalate: vec![Escalation { after: short, to: Vec::new() }],
                ..line(0, "")
            },
        ),
    ];
    let mut config = config(lines);
    config.hold.insert("node.offlin".to_owned(), short);
    config.wait = SignedDuration::MAX;
    config.maintenance.insert("backwards".to_owned(), mute("true", "me", at("12:00:00")));
    config.maintenance.insert("unsigned".to_owned(), mute("true", " ", at("14:00:00")));
    let inhibit = InhibitConfig {
        source: "event.level > 'x'".to_owned(),
        target: "true".to_owned(),
        equal: Vec::new(),
    };
    config.inhibits.insert("mixed".to_owned(), inhibit);
    let problems = Rules::try_new(&config).expect_err("they are wrong");
    let mut said: Vec<String> = problems.iter().map(ToString::to_string).collect();
    said.sort();
    expect![[r#"
        [rule.Rule 1] `Rule 1` is not the name of an input, output or rule: a-z, 0-9 and _, at most 40 characters: give it another name
        [rule.default.mine] `default.mine` is not the name of an input, output or rule: a-z, 0-9 and _, at most 40 characters: give it another name
        `author` of [maintenance.unsigned] is empty: say who wants it, so that others can ask
        `digest` of [rule.two_ways] is for the digest only and has outputs as well: take out `digest`, or the outputs
        `drop` of [rule.both] drops what it also sends to somebody: take out `drop`, or the outputs
        `escalate` of [rule.steps] has a step without an output: give each step the outputs that are told, as `to`
        `group_by` of [rule.group] names `colour`, which is no field: name kind, family, cluster, node, guest, storage, datastore, job or label.<name>
        `kind` of [hold] `node.offlin` is no kind of event: take one of the list in the reference, or `other.` with a name of a-z, 0-9, `_` and dots: take a kind of the list in the reference
        `repeat` of [rule.often] is 5s, which is too short or too long: give it at least 1m, and a year at most
        `route` of [rule.nobody] names `opps`, which is no output: add [output.opps], or take one of boss, log, ops
        `source` of [inhibit.mixed] `event.level > 'x'`: at column 13: orders a whole number and text: numbers stand without quotes, texts in quotes
        `throttle` of [rule.never] lets nothing through: let at least one message through, or route to the digest
        `until` of [maintenance.backwards] is before its beginning: let it end after it begins
        `wait` of [rules] is 2562047788015215h 30m 7s 999ms 999µs 999ns, which is too short or too long: give it at least 0s, and a year at most
        `when` of [rule.typo] `event.kid == 'backup.failed'`: at column 6: names the field `kid`, which is not known: did you mean `kind`?
    "#]].assert_eq(&(said.join("\n") + "\n"));
}

#[test]
fn what_is_built_in_needs_no_line() {
    let rules = Rules::try_new(&Config::default().outputs(["ops"]));
    assert!(rules.is_ok(), "{rules:?}");
}
