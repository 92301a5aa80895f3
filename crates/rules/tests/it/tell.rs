//! What people are told of what happens, and when.

use std::sync::Arc;

use event_core::{Event, Kind, Severity};
use expect_test::{Expect, expect};
use jiff::SignedDuration;
use rules::{Config, Input, Limit, MuteConfig, MuteTime, OutputConfig, RuleConfig};

use crate::{
    reports::{Report, at, days, later, well, wrong},
    world::World,
};

fn failed(time: &str) -> Report {
    wrong(Kind::BackupFailed, at(time)).guest(104).title("backup of 104 failed")
}

fn finished(time: &str) -> Report {
    well(Kind::BackupFinished, at(time)).guest(104).title("backup of 104 finished")
}

fn check(world: &mut World, expected: &Expect) {
    expected.assert_eq(&world.said());
}

fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default().outputs(["ops"]);
    change(&mut config);
    config
}

fn rule(config: &mut Config, name: &str, rule: RuleConfig) {
    config.rules.insert(name.to_owned(), rule);
}

fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

#[test]
fn a_fact_is_told_once_and_so_is_its_end() {
    let mut world = World::plain(at("13:00:00"));
    world.hear(failed("13:00:00").heard());
    world.hear(failed("13:00:02").source("webhook").heard());
    world.pass(60);
    world.hear(failed("13:00:03").source("email").heard_after(90));
    world.pass(600);
    world.hear(finished("15:00:00").heard());
    world.pass(600);
    check(
        &mut world,
        &expect![[r#"
        00:00:11 ops new: error backup of 104 failed
        00:05:11 ops update quietly: error backup of 104 failed
        02:00:01 ops resolved quietly: error backup of 104 failed
    "#]],
    );
}

#[test]
fn what_gets_worse_is_said_aloud() {
    let mut world = World::plain(at("13:00:00"));
    let full = |time, severity, title| {
        let report = wrong(Kind::StorageFull, at(time)).node("alder").severity(severity);
        report.title(title).heard()
    };
    world.hear(full("13:00:00", Severity::Warning, "local is 86 % full"));
    world.pass(60);
    world.hear(full("13:05:00", Severity::Error, "local is 96 % full"));
    world.pass(60);
    check(
        &mut world,
        &expect![[r#"
        00:00:11 ops new: warning local is 86 % full
        00:05:01 ops worse: error local is 96 % full
    "#]],
    );
}

#[test]
fn what_is_over_at_once_is_not_told() {
    let mut world = World::plain(at("13:00:00"));
    let offline = |time| wrong(Kind::NodeOffline, at(time)).node("alder").heard();
    let online = |time| well(Kind::NodeOnline, at(time)).node("alder").heard();
    world.hear(offline("13:00:00"));
    world.hear(online("13:02:00"));
    world.pass(3600);
    world.hear(offline("15:00:00"));
    world.hear(online("15:04:00"));
    world.pass(3600);
    check(
        &mut world,
        &expect![[r#"
            00:02:01 f06e1087 passed untold
            02:03:01 ops new: error node.offline lab/alder
            02:04:01 ops resolved quietly: error node.offline lab/alder
        "#]],
    );
}

#[test]
fn what_comes_and_goes_is_told_once() {
    let mut world = World::plain(at("13:00:00"));
    for round in 0..6 {
        let start = later(at("13:00:00"), round * 300);
        world.hear(wrong(Kind::NodeOffline, start).node("alder").heard());
        world.hear(well(Kind::NodeOnline, later(start, 60)).node("alder").heard());
    }
    world.pass(7200);
    check(
        &mut world,
        &expect![[r#"
            00:01:01 f06e1087 passed untold
            00:06:01 f06e1087 passed untold
            00:11:01 ops new: error node.offline lab/alder
            00:16:01 ops update quietly: error node.offline lab/alder
            00:21:01 ops update quietly: error node.offline lab/alder
            00:26:01 ops update quietly: error node.offline lab/alder
            00:31:01 ops update quietly: error node.offline lab/alder
            00:56:00 ops resolved quietly: error node.offline lab/alder
        "#]],
    );
}

#[test]
fn the_third_night_in_a_row_is_told_again() {
    let mut world = World::plain(at("13:00:00"));
    for night in 1..4 {
        let time = days(at("01:30:00"), night);
        world
            .hear(wrong(Kind::BackupFailed, time).guest(104).title("backup of 104 failed").heard());
        world.pass(60);
    }
    let times = world.delivered.iter().filter(|it| it.incident.is_some());
    let times: Vec<_> = times
        .map(|it| it.message.fields.iter().find(|(name, _)| name == "times").map(|it| it.1.clone()))
        .collect();
    assert_eq!(times, [None, Some("2".to_owned()), Some("3".to_owned())]);
    check(
        &mut world,
        &expect![[r#"
        19:00:00 ops digest quietly: info all is well
        1d 12:30:11 ops new: error backup of 104 failed
        1d 19:00:00 ops digest quietly: notice 1 open, 0 over since yesterday
        2d 12:30:01 ops again: error backup of 104 failed
        2d 19:00:00 ops digest quietly: notice 1 open, 0 over since yesterday
        3d 12:30:01 ops again: error backup of 104 failed
    "#]],
    );
}

#[test]
fn people_who_have_it_are_not_asked_again() {
    let line = RuleConfig {
        route: vec!["ops".to_owned()],
        repeat: Some(minutes(30)),
        escalate: vec![rules::Escalation { after: minutes(15), to: vec!["boss".to_owned()] }],
        ..RuleConfig::default()
    };
    let config = config(|config| {
        *config = config.clone().outputs(["boss"]);
        rule(config, "backups", line);
    });
    let mut world = World::new(&config, at("13:00:00"));
    world.hear(failed("13:00:00").heard());
    world.pass(3700);
    let incident = world.delivered[0].incident.expect("of an incident");
    world.put(Input::Acknowledge { incident, by: "local:1000".to_owned() });
    world.pass(7200);
    world.hear(finished("17:00:00").heard());
    world.pass(60);
    check(
        &mut world,
        &expect![[r#"
        00:00:11 ops new: error backup of 104 failed
        00:15:11 boss escalated: error backup of 104 failed
        00:30:11 ops escalated: error backup of 104 failed
        00:45:11 boss escalated: error backup of 104 failed
        01:00:11 ops escalated: error backup of 104 failed
        01:01:41 boss acknowledged quietly: error backup of 104 failed
        01:01:41 ops acknowledged quietly: error backup of 104 failed
        04:00:01 boss resolved quietly: error backup of 104 failed
        04:00:01 ops resolved quietly: error backup of 104 failed
    "#]],
    );
}

#[test]
fn silences_and_maintenance_hold_back_until_they_end() {
    let config = config(|config| {
        let weekly = MuteConfig {
            when: Some("event.node == 'birch'".to_owned()),
            time: MuteTime::Weekly("sat/14:00-15:00@Europe/Berlin".parse().expect("valid")),
            author: "settings".to_owned(),
            reason: "kernel".to_owned(),
        };
        config.maintenance.insert("kernel".to_owned(), weekly);
    });
    // 13:00 UTC on Saturday is 14:00 in Berlin.
    let mut world = World::new(&config, at("12:50:00"));
    let silence = MuteConfig {
        when: Some("event.vmid == 104".to_owned()),
        time: MuteTime::Once { from: at("12:00:00"), until: at("16:00:00") },
        author: "local:1000".to_owned(),
        reason: "moving its disks".to_owned(),
    };
    world.put(Input::Mute { name: "disks".to_owned(), mute: silence });
    world.hear(failed("13:10:00").heard());
    world.hear(wrong(Kind::PoolDegraded, at("13:20:00")).node("birch").title("pool").heard());
    world.hear(wrong(Kind::PoolDegraded, at("13:20:00")).node("alder").title("other pool").heard());
    world.pass(7200);
    world.put(Input::Unmute { name: "disks".to_owned() });
    world.pass(600);
    check(
        &mut world,
        &expect![[r#"
            00:20:11 ops held of 379b2252: silence disks of local:1000, until 2026-11-21T16:00:00Z
            00:30:11 ops new: error other pool
            00:30:11 ops held of d4ea71e2: silence kernel of settings, until 2026-11-21T14:00:00Z
            01:10:00 ops new: error pool
            02:30:01 ops new: error backup of 104 failed
        "#]],
    );
}

#[test]
fn what_follows_from_a_cluster_out_of_reach_is_not_told() {
    let mut world = World::plain(at("13:00:00"));
    let on = |kind, time: &str| wrong(kind, at(time));
    world.hear(on(Kind::NodeOffline, "13:00:00").node("alder").title("alder is offline").heard());
    world.hear(on(Kind::ClusterUnreachable, "13:00:20").title("lab is out of reach").heard());
    world.hear(on(Kind::GuestStopped, "13:00:30").guest(104).title("104 stopped").heard());
    world.hear(
        on(Kind::GuestStopped, "13:00:30").guest(109).cluster("edge").title("edge's").heard(),
    );
    world.pass(3600);
    // It is back, one of its nodes as well, and the guest stays down.
    world.hear(well(Kind::ClusterReachable, at("14:30:00")).heard());
    world.hear(well(Kind::NodeOnline, at("14:30:30")).node("alder").heard());
    world.pass(600);
    check(
        &mut world,
        &expect![[r#"
            00:00:41 ops new: error edge's
            00:00:41 ops held of 9ce69484: default.cluster: follows from 57368009
            00:01:21 ops new: error lab is out of reach
            00:03:01 ops held of f06e1087: default.cluster: follows from 57368009
            01:30:01 ops resolved quietly: error lab is out of reach
            01:30:31 f06e1087 passed untold
            01:32:01 ops new: error 104 stopped
        "#]],
    );
}

#[test]
fn quiet_hours_hold_back_what_can_wait() {
    let config = config(|config| {
        let hours = "22:00-07:00@Europe/Berlin".parse().expect("valid");
        let quiet = OutputConfig { quiet_hours: vec![hours], ..OutputConfig::default() };
        config.outputs.insert("ops".to_owned(), quiet);
    });
    let mut world = World::new(&config, at("22:30:00"));
    world.hear(failed("22:30:00").heard());
    world.hear(wrong(Kind::QuorumLost, at("22:31:00")).title("no quorum").heard());
    let dying = wrong(Kind::SystemMail, at("22:32:00")).node("alder").severity(Severity::Critical);
    world.hear(dying.title("smartd").heard());
    world.hear(wrong(Kind::GcFailed, at("22:33:00")).node("birch").title("gc").heard());
    world.hear(well(Kind::GcFinished, at("23:33:00")).node("birch").heard());
    world.until(days(at("06:30:00"), 0));
    check(
        &mut world,
        &expect![[r#"
            00:00:11 ops held of 2fd8216e: quiet hours, until 2026-11-22T06:00:00Z
            00:01:11 ops new: error no quorum
            00:02:11 ops new: critical smartd
            00:03:11 ops held of b9572c6b: quiet hours, until 2026-11-22T06:00:00Z
            01:03:01 b9572c6b passed untold
            07:30:00 ops new: error backup of 104 failed
        "#]],
    );
}

fn guests(count: u32, time: &str) -> Vec<Arc<Event>> {
    let stopped = |vmid: u32| {
        let title = Box::leak(format!("{vmid} stopped").into_boxed_str());
        wrong(Kind::GuestStopped, at(time)).guest(100 + vmid).title(title).heard()
    };
    (0..count).map(stopped).collect()
}

#[test]
fn a_flood_is_one_list() {
    let config = config(|config| {
        let flood = Limit { count: 3, per: minutes(5) };
        config.outputs.insert("ops".to_owned(), OutputConfig { flood, ..OutputConfig::default() });
    });
    let mut world = World::new(&config, at("13:00:00"));
    for event in guests(8, "13:00:00") {
        world.hear(event);
    }
    world.pass(600);
    // Of one that was only in the list the end is in the daily digest.
    world.hear(well(Kind::GuestStarted, at("13:20:00")).guest(107).heard());
    world.pass(600);
    check(
        &mut world,
        &expect![[r#"
            00:00:11 ops new: error 0 stopped
            00:00:11 ops new: error 2 stopped
            00:00:11 ops new: error 1 stopped
            00:00:11 ops held of 52f2b90d: too many messages (output)
            00:00:11 ops held of 5f0e17a2: too many messages (output)
            00:00:11 ops held of 8259148d: too many messages (output)
            00:00:11 ops held of c8090cb0: too many messages (output)
            00:00:11 ops held of d42762b9: too many messages (output)
            00:05:11 ops digest: error 5 more incidents
        "#]],
    );
}

#[test]
fn a_line_can_have_a_limit_and_a_group() {
    let limited = config(|config| {
        let throttle = Some(Limit { count: 1, per: minutes(60) });
        let route = vec!["ops".to_owned()];
        rule(config, "guests", RuleConfig { throttle, route, ..RuleConfig::default() });
    });
    let mut world = World::new(&limited, at("13:00:00"));
    for event in guests(3, "13:00:00") {
        world.hear(event);
    }
    world.pass(3700);
    check(
        &mut world,
        &expect![[r#"
            00:00:11 ops new: error 0 stopped
            00:00:11 ops held of 294cc1e1: too many messages (guests)
            00:00:11 ops held of 362a1b6a: too many messages (guests)
            01:00:11 ops digest: error 2 more incidents
        "#]],
    );

    let grouped = config(|config| {
        let group_by = vec!["cluster".to_owned(), "kind".to_owned()];
        rule(config, "guests", RuleConfig { group_by, ..RuleConfig::default() });
    });
    let mut world = World::new(&grouped, at("13:00:00"));
    for event in guests(3, "13:00:00") {
        world.hear(event);
    }
    world.pass(600);
    for vmid in 100..103 {
        world.hear(well(Kind::GuestStarted, at("13:30:00")).guest(vmid).heard());
    }
    world.pass(600);
    check(
        &mut world,
        &expect![[r#"
        00:00:11 ops new: error 0 stopped (and 2 more)
        00:30:01 ops resolved quietly: error 0 stopped (and 2 more)
    "#]],
    );
}

#[test]
fn the_present_state_is_told_in_one_message() {
    let mut world = World::plain(at("13:00:00"));
    let upid = "UPID:alder:000002D6:000C8274:6B023E90:vzdump::root@pam:";
    let old = wrong(Kind::BackupFailed, days(at("01:30:00"), -3)).node("alder").upid(upid);
    let degraded =
        wrong(Kind::PoolDegraded, at("12:00:00")).node("alder").title("rpool is degraded");
    for report in [old.title("vzdump failed"), degraded] {
        world.put(Input::Existing(report.heard()));
    }
    world.pass(30);
    world.put(Input::ExistingEnd);
    world.pass(600);
    world.hear(well(Kind::PoolRestored, at("13:30:00")).node("alder").heard());
    world.pass(60);
    check(
        &mut world,
        &expect![[r#"
        00:00:30 ops digest: error watching; 1 wrong already
    "#]],
    );
    let digest = world.delivered[0].message.text.clone();
    expect![[r#"
        Wrong now:
        - error: rpool is degraded
    "#]]
    .assert_eq(&digest);
}

#[test]
fn the_daily_digest_comes_also_when_all_is_well() {
    let config = config(|config| {
        config.zone = jiff::tz::TimeZone::get("Europe/Berlin").expect("known");
    });
    let mut world = World::new(&config, at("13:00:00"));
    world.until(days(at("07:00:01"), 0));
    for (time, vmid) in [("12:10:00", 104), ("12:20:00", 105), ("12:30:00", 106)] {
        let time = days(at(time), 1);
        world.hear(well(Kind::BackupFinished, time).guest(vmid).heard());
    }
    world.hear(wrong(Kind::GcFailed, days(at("13:00:00"), 1)).node("alder").title("gc").heard());
    world.hear(
        wrong(Kind::PoolDegraded, days(at("13:00:00"), 1)).node("birch").title("pool").heard(),
    );
    world.pass(60);
    world.hear(well(Kind::GcFinished, days(at("14:00:00"), 1)).node("alder").heard());
    world.until(days(at("07:00:01"), 1));
    let digests = world.delivered.iter().filter(|it| it.incident.is_none());
    let texts: Vec<String> =
        digests.map(|it| format!("{}\n{}", it.message.title, it.message.text)).collect();
    check(
        &mut world,
        &expect![[r#"
        18:00:00 ops digest quietly: info all is well
        1d 00:00:11 ops new: error gc
        1d 00:00:11 ops new: error pool
        1d 01:00:01 ops resolved quietly: error gc
        1d 18:00:00 ops digest quietly: notice 1 open, 1 over since yesterday
    "#]],
    );
    expect![[r#"
        all is well
        --
        1 open, 1 over since yesterday
        Open:
        - error: pool
        Over since the last digest:
        - error: gc
        What went on:
        - 3 x backup.finished
        - 1 x gc.finished
    "#]]
    .assert_eq(&texts.join("--\n"));
}

/// The node's log says 14:00 when it is 13:00, and its backup server's clock is right.
#[test]
fn a_clock_that_is_ahead_keeps_nothing_open() {
    let mut world = World::plain(at("13:00:00"));
    world.hear(failed("14:00:00").source("syslog").heard_after(-3600));
    world.pass(60);
    world.hear(finished("13:30:00").heard());
    world.pass(60);
    check(
        &mut world,
        &expect![[r#"
        00:00:10 ops new: error backup of 104 failed
        00:30:01 ops resolved quietly: error backup of 104 failed
    "#]],
    );
}

/// The log has the originals, and mails can hold a megabyte.
#[test]
fn what_is_remembered_is_small() {
    let mut world = World::plain(at("13:00:00"));
    let long = "ä".repeat(4000);
    for report in [failed("13:00:00"), finished("13:00:05")] {
        let mut event = Event::clone(&report.heard());
        event.message.clone_from(&long);
        event.raw = Some(event_core::Raw::of(long.as_bytes()));
        world.hear(Arc::new(event));
    }
    world.pass(60);
    let incidents = world.state.incidents();
    let reports = incidents.iter().flat_map(rules::Incident::reports);
    let mut sizes: Vec<_> = reports.map(|it| (it.message.len(), it.raw.is_some())).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [(512, false), (8000, false)]);
}

/// Lines of hosts of which nobody has said whose they are have nothing in common.
#[test]
fn of_notes_that_stand_alone_the_number_is_remembered() {
    let mut world = World::plain(at("13:00:00"));
    let source = "lines".parse().expect("valid");
    for number in 0..5000 {
        let time = later(at("13:00:00"), number / 10);
        let kind = Kind::other("syslog.app");
        let event = Event::builder(&source, "syslog", format!("run/{number}"), kind, time);
        world.hear(Arc::new(event.severity(Severity::Info).build(later(time, 1))));
    }
    assert_eq!(world.state.incidents().iter().count(), 0);
    world.until(later(at("07:00:01"), 24 * 3600));
    let digest = world.delivered.last().expect("there is a digest");
    assert!(digest.message.text.contains("- 5000 x other.syslog.app"), "{}", digest.message.text);
}

/// By the clock on the wall, on the days on which it is moved as well.
#[test]
fn the_daily_digest_is_at_the_same_hour_all_year() {
    let config = config(|config| {
        config.zone = jiff::tz::TimeZone::get("Europe/Berlin").expect("known");
    });
    for (start, expected) in [
        ("2026-03-27T12:00:00Z", ["28T07:00:00Z", "29T06:00:00Z", "30T06:00:00Z"]),
        ("2026-10-23T12:00:00Z", ["24T06:00:00Z", "25T07:00:00Z", "26T07:00:00Z"]),
    ] {
        let start: jiff::Timestamp = start.parse().expect("valid");
        let mut world = World::new(&config, start);
        world.until(days(start, 3));
        let times = world.delivered.iter().map(|it| it.message.written.to_string());
        let times: Vec<String> = times.map(|it| it[8..].to_owned()).collect();
        assert_eq!(times, expected);
    }
}

/// Both were told before a third report says that they are one.
#[test]
fn of_two_that_become_one_the_second_says_where_it_goes_on() {
    let mut world = World::plain(at("01:30:00"));
    world.hear(failed("01:30:00").source("syslog").heard());
    let tasks = wrong(Kind::BackupFailed, at("01:30:00")).node("alder").title("vzdump failed");
    world.hear(tasks.heard_after(20));
    world.pass(60);
    let both = wrong(Kind::BackupFailed, at("01:30:04")).source("webhook").node("alder");
    world.hear(both.about_guest(104).title("backup failed").heard_after(300));
    world.pass(600);
    check(
        &mut world,
        &expect![[r#"
            00:00:11 ops new: error backup of 104 failed
            00:00:30 ops new: error vzdump failed
            00:05:04 bb62049e is part of 5b5790e9 now
            00:05:04 ops update quietly: error backup of 104 failed
            00:05:11 ops update quietly: error backup of 104 failed
        "#]],
    );
}

#[test]
fn what_a_line_drops_is_not_told_and_what_it_mends_is_mended() {
    let config = config(|config| {
        let when = Some("event.kind == 'backup.finished'".to_owned());
        rule(config, "successes", RuleConfig { when, drop: true, ..RuleConfig::default() });
    });
    let mut world = World::new(&config, at("13:00:00"));
    world.hear(failed("13:00:00").heard());
    world.pass(60);
    world.hear(finished("14:00:00").heard());
    world.pass(60);
    check(
        &mut world,
        &expect![[r#"
            00:00:11 ops new: error backup of 104 failed
            01:00:01 backup.finished/lab/guest/104/2026-11-21T14:00:00Z of tasks dropped by successes
            01:00:01 ops resolved quietly: error backup of 104 failed
        "#]],
    );
}
