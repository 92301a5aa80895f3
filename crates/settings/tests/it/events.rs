//! `[events]`, `[rule.…]`, `[maintenance.…]` and `[inhibit.…]`: what is read, and every class of error.

use expect_test::expect;
use jiff::SignedDuration;
use rules::{Config, MuteTime};

use crate::support::{HOME, Setup};

fn setup(text: &str) -> Setup {
    Setup::main(&format!("{HOME}\n{text}"))
}

fn events(setup: &Setup) -> settings::EventsSettings {
    setup.load().unwrap_or_else(|errors| panic!("{errors}")).settings.events
}

#[test]
fn nothing_written_is_what_the_rules_do_by_themselves() {
    let events = events(&setup(""));
    assert!(!events.enabled, "nobody asked for it");
    assert_eq!(events.keep, SignedDuration::from_hours(90 * 24));
    let mut config = events.config;
    config.zone = jiff::tz::TimeZone::UTC;
    assert_eq!(format!("{config:?}"), format!("{:?}", Config::default()));
}

#[test]
fn every_kind_can_be_held_by_a_variable() {
    for (word, _) in event_core::Kind::LIST {
        let name = word.replace('.', "__hold__").replace("__hold__", "_");
        let variable = format!("PROXMOX_MCP_EVENTS__HOLD_SECS__{}", name.to_ascii_uppercase());
        let events = events(&setup("").variable(&variable, "77"));
        assert_eq!(events.config.hold[*word], SignedDuration::from_secs(77), "{word}");
    }
}

#[test]
fn tables_become_rules() {
    let text = r#"
[events]
zone = "Europe/Vienna"
digest_at = "07:30"
hold_secs = { node_offline = 0, "other.my_thing" = 5 }
full_warning_percent = 80

[rule.backups]
order = 10
when = "event.kind == 'backup.failed'"
severity = "critical"
title = "a backup failed"
labels = { team = "storage" }
group_by = ["cluster", "label.site"]
wait_secs = 30
repeat_secs = 14400
throttle = 5
last = true

[maintenance.sunday]
when = "event.node == 'pve2'"
hours = "sun/02:00-06:00"
reason = "updates"

[maintenance.move]
from = 2026-12-05T22:00:00+01:00
until = "2026-12-06 02:00"
author = "alice"

[inhibit.node_down]
source = "event.kind == 'node.offline'"
target = "event.kind == 'backup.failed'"
equal = ["cluster", "node"]
"#;
    let setup = setup(text).variable("PROXMOX_MCP_RULE__QUIET__DROP", "yes");
    let config = events(&setup).config;
    expect![[r#"
        {
            "backups": RuleConfig {
                order: 10,
                when: Some(
                    "event.kind == 'backup.failed'",
                ),
                drop: false,
                severity: Some(
                    Critical,
                ),
                title: Some(
                    "a backup failed",
                ),
                labels: {
                    "team": "storage",
                },
                route: [],
                digest: false,
                group_by: [
                    "cluster",
                    "label.site",
                ],
                wait: Some(
                    30s,
                ),
                repeat: Some(
                    14400s,
                ),
                throttle: Some(
                    Limit {
                        count: 5,
                        per: 300s,
                    },
                ),
                escalate: [],
                last: true,
            },
            "quiet": RuleConfig {
                order: 100,
                when: None,
                drop: true,
                severity: None,
                title: None,
                labels: {},
                route: [],
                digest: false,
                group_by: [],
                wait: None,
                repeat: None,
                throttle: None,
                escalate: [],
                last: false,
            },
        }"#]]
    .assert_eq(&format!("{:#?}", config.rules));
    let MuteTime::Once { from, until } = config.maintenance["move"].time else { panic!() };
    assert_eq!(from.to_string(), "2026-12-05T21:00:00Z");
    assert_eq!(until.to_string(), "2026-12-06T01:00:00Z", "by the clock of the zone");
    assert_eq!(config.maintenance["sunday"].author, "settings");
    assert_eq!(config.hold["node.offline"], SignedDuration::ZERO);
    assert_eq!(config.hold["storage.error"], SignedDuration::from_secs(180), "still held");
    assert_eq!(config.hold["other.my_thing"], SignedDuration::from_secs(5));
    assert_eq!(config.digest.to_string(), "07:30:00");
    assert!((config.full.warning - 80.0).abs() < f64::EPSILON);
    assert_eq!(config.inhibits["node_down"].equal, ["cluster", "node"]);
}

#[test]
fn nobody_is_told_of_nodes_that_are_meant_to_be_off() {
    let text = format!("{HOME}expected_off = [104, \"pve2\", \"pve-3\"]\n");
    let events = events(&Setup::main(&text));
    expect!["event.kind == 'node.offline' && (event.cluster == 'home' && event.node == 'pve2' || event.cluster == 'home' && event.node == 'pve-3')"]
        .assert_eq(events.config.rules["expected_off"].when.as_deref().unwrap());
    let dropped = |node: &str, kind: event_core::Kind| {
        let at = jiff::Timestamp::UNIX_EPOCH;
        let subject = event_core::Subject {
            cluster: "home".parse().ok(),
            node: node.parse().ok(),
            ..event_core::Subject::default()
        };
        let source = "tasks_home".parse().unwrap();
        let event = event_core::Event::builder(&source, "tasks", "1", kind, at).subject(subject);
        events.rules.judge(&event.build(at).into()).1.dropped.is_some()
    };
    assert!(dropped("pve2", event_core::Kind::NodeOffline));
    assert!(dropped("pve-3", event_core::Kind::NodeOffline));
    assert!(!dropped("pve1", event_core::Kind::NodeOffline));
    assert!(!dropped("pve2", event_core::Kind::DiskFailing));
    let taken = Setup::main(&format!("{text}[rule.expected_off]\ndrop = true"));
    assert!(taken.render().contains("rule.expected_off: has a name that is taken"));
}

#[test]
fn what_is_wrong_is_said_at_once_with_its_place() {
    let text = r#"
[events]
zone = "Europe/Viena"
digest_at = "8 o'clock"
hold_secs = { node_ofline = 1, "node.offline" = 2, ceph_error = -1 }
instance = "my cellar"
full_warning_percent = 96
keep_day = 3

[rule.one]
when = "evnt.kind == 'x'"
severity = "bad"
route = ["ops"]
digest = true
throttle_secs = 5
group_by = "pool"

[rule.one.escalate.boss]
to = "boss"
after = 5

[rule.two]
drop = true
digest = true

[rule.three]
escalate = 5

[maintenance.never]

[maintenance.both]
hours = "sun/02:00-06:00"
until = "2026-12-06 02:00"

[maintenance.odd]
from = "tomorrow"
until = "2026-12-06 02:00"

[maintenance.back]
from = "2026-12-06 02:00"
until = "2026-12-05 02:00"

[inhibit.half]
source = "event.kind == 'node.offline'"
equal = "colour"
"#;
    expect![[r#"
        error: /etc/proxmox-mcp/config.toml:9: events.zone: is "Europe/Viena", which is no time zone here; name a zone of the system's list, such as Europe/Vienna or UTC; the list is in the package tzdata
        error: /etc/proxmox-mcp/config.toml:10: events.digest_at: is "8 o'clock"; it takes a time such as 08:00
        error: /etc/proxmox-mcp/config.toml:11: events.hold_secs."node.offline": is no kind of event; did you mean `node_offline`?
        error: /etc/proxmox-mcp/config.toml:11: events.hold_secs.ceph_error: is -1; it takes a number from 0 to 86400
        error: /etc/proxmox-mcp/config.toml:11: events.hold_secs.node_ofline: is no kind of event; did you mean `node_offline`?
        error: /etc/proxmox-mcp/config.toml:12: events.instance: is "my cellar"; use letters, digits, `.`, `_` and `-`, at most 64
        error: /etc/proxmox-mcp/config.toml:13: events.full_warning_percent: is 96, and full_error_percent 95; let the warning come before the error
        error: /etc/proxmox-mcp/config.toml:14: events.keep_day: is not a known key; did you mean `keep_days`?
        error: /etc/proxmox-mcp/config.toml:17: rule.one.when: at column 1: names `evnt`, which is not known; did you mean `event`?
        error: /etc/proxmox-mcp/config.toml:18: rule.one.severity: is "bad"; it takes one of: debug, info, notice, warning, error, critical
        error: /etc/proxmox-mcp/config.toml:19: rule.one.route: names "ops", which is no output; add a table [output.ops]; there is no output yet
        error: /etc/proxmox-mcp/config.toml:21: rule.one.throttle_secs: means nothing without throttle; say with `throttle` how many messages there may be, or take it out
        error: /etc/proxmox-mcp/config.toml:22: rule.one.group_by: names `pool`, which is no field; name kind, family, cluster, node, guest, storage, datastore, job or label.<name>
        error: /etc/proxmox-mcp/config.toml:24: rule.one.escalate.boss.after_secs: is missing; for example after_secs = 1800
        error: /etc/proxmox-mcp/config.toml:25: rule.one.escalate.boss.to: names "boss", which is no output; add a table [output.boss]; there is no output yet
        error: /etc/proxmox-mcp/config.toml:26: rule.one.escalate.boss.after: is not a known key; known keys: after_secs, to
        error: /etc/proxmox-mcp/config.toml:29: rule.two.drop: drops what it also sends to somebody; take out `drop`, or the outputs
        error: /etc/proxmox-mcp/config.toml:33: rule.three.escalate: is not a table; write it as a table: [rule.three.escalate.NAME]
        error: /etc/proxmox-mcp/config.toml:35: maintenance.never: has no time; set hours = "sun/02:00-06:00", or from and until
        error: /etc/proxmox-mcp/config.toml:39: maintenance.both.until: is set, and hours too; a window is weekly or once: keep `hours`, or `from` and `until`
        error: /etc/proxmox-mcp/config.toml:42: maintenance.odd.from: is "tomorrow", which is no moment; write it as 2026-12-05 22:00, or with its offset as 2026-12-05T22:00:00+01:00
        error: /etc/proxmox-mcp/config.toml:47: maintenance.back.until: is before its beginning; let it end after it begins
        error: /etc/proxmox-mcp/config.toml:49: inhibit.half.target: is missing; for example target = "event.kind == 'backup.failed'"
    "#]].assert_eq(&setup(text).render());
}
