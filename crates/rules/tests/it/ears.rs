//! Inputs that say nothing of what the task list has seen.

use event_core::{Kind, Severity};
use expect_test::{Expect, expect};
use jiff::Timestamp;
use rules::{Config, Input, MuteConfig, MuteTime};

use crate::{
    reports::{Report, at, days, later, well, wrong},
    world::World,
};

/// What tells of it when all is well.
const HOOK: &str = "hook";

/// A webhook for the cluster `lab` and syslog for nothing that the settings name.
fn world(start: Timestamp) -> World {
    let mut config = Config::default().outputs(["ops"]);
    config.outputs.get_mut("ops").expect("just made").digest = false;
    config.inputs.insert(HOOK.parse().expect("valid"), ["lab".parse().expect("valid")].into());
    config.inputs.insert("syslog".parse().expect("valid"), [].into());
    World::new(&config, start)
}

fn finished(time: Timestamp) -> Report {
    well(Kind::BackupFinished, time).node("alder").title("backup on alder finished")
}

fn failed(time: Timestamp) -> Report {
    wrong(Kind::BackupFailed, time)
        .node("alder")
        .title("backup on alder failed")
        .upid("UPID:alder:000002D6:000C8274:6B033EDA:vzdump::root@pam:")
}

/// What the rules say of inputs.
fn check(world: &mut World, expected: &Expect) {
    let said = world.said();
    let lines = said.split_inclusive('\n').filter(|line| line.contains("the input"));
    expected.assert_eq(&lines.collect::<String>());
}

/// A night in which task list and webhook tell of a bad backup.
fn bad_night(world: &mut World, time: Timestamp) {
    world.hear(failed(time).source(HOOK).heard());
    world.hear(failed(time).heard_after(20));
}

/// A night in which both tell of a good one.
fn good_night(world: &mut World, time: Timestamp) {
    world.hear(finished(time).source(HOOK).heard());
    world.hear(finished(time).heard_after(20));
}

#[test]
fn an_input_that_says_nothing_twice_is_mute_until_it_tells_of_anything() {
    let start = at("13:00:00");
    let mut world = world(start);
    good_night(&mut world, start);
    good_night(&mut world, days(start, 1));
    for night in 2..=4 {
        world.hear(finished(days(start, night)).heard_after(20));
    }
    world.until(days(start, 5));
    check(
        &mut world,
        &expect![[r#"
            3d 00:15:20 raised input.mute: the input hook says nothing of lab
            3d 00:15:30 ops new: warning the input hook says nothing of lab
        "#]],
    );
    let message = world.delivered.last().expect("it was told");
    expect![[r#"
        The task list saw:
        - backup on alder finished (2026-11-23 13:00:00 +00:00)
        - backup on alder finished (2026-11-24 13:00:00 +00:00)
        By this input the last report came at 2026-11-22 13:00:01 +00:00. Send a test from there: it shows whether what sends still points here, knows the secret and finds the way."#]].assert_eq(&message.message.text);
    // Whatever it tells of that cluster.
    world.hear(well(Kind::NotificationTest, days(start, 6)).source(HOOK).heard());
    world.pass(60);
    check(
        &mut world,
        &expect![[r#"
            6d 00:00:01 raised input.heard: the input hook tells of lab again
            6d 00:00:01 ops resolved quietly: warning the input hook says nothing of lab
        "#]],
    );
    // And it may become so again.
    good_night(&mut world, days(start, 7));
    world.hear(finished(days(start, 8)).heard_after(20));
    world.hear(finished(days(start, 9)).heard_after(20));
    world.pass(3600);
    check(&mut world, &expect![""]);
}

#[test]
fn a_failure_that_does_not_come_is_enough() {
    let start = at("13:00:00");
    let mut world = world(start);
    // Whoever tells what goes well tells what does not.
    good_night(&mut world, start);
    world.hear(failed(days(start, 1)).heard_after(20));
    world.pass(14 * 60);
    check(&mut world, &expect![[r#""#]]);
    world.pass(2 * 60);
    check(
        &mut world,
        &expect![[r#"
        1d 00:15:20 raised input.mute: the input hook says nothing of lab
        1d 00:15:30 ops new: warning the input hook says nothing of lab
    "#]],
    );
}

#[test]
fn an_input_that_never_told_of_anything_is_expected_to_tell_of_failures_of_its_cluster() {
    let start = at("13:00:00");
    let mut world = world(start);
    // A success may be filtered out where it is sent, and what is no notification is sent by nobody.
    world.hear(finished(start).heard_after(20));
    world.hear(wrong(Kind::GuestStopped, later(start, 60)).guest(104).heard());
    world.hear(failed(later(start, 120)).cluster("edge").heard_after(20));
    world.pass(7200);
    check(&mut world, &expect![[r#""#]]);
    world.hear(failed(later(start, 8000)).heard_after(20));
    world.pass(7200);
    check(
        &mut world,
        &expect![[r#"
        03:13:40 raised input.mute: the input hook says nothing of lab
        03:13:50 ops new: warning the input hook says nothing of lab
    "#]],
    );
}

#[test]
fn what_comes_late_or_early_was_told() {
    let start = at("13:00:00");
    let mut world = world(start);
    bad_night(&mut world, start);
    // The report comes ten minutes late one night, and the task list does in the next.
    world.hear(failed(days(start, 1)).heard_after(20));
    world.hear(failed(days(start, 1)).source(HOOK).heard_after(600));
    world.hear(failed(days(start, 2)).source(HOOK).heard_after(1));
    world.hear(failed(days(start, 2)).heard_after(300));
    good_night(&mut world, later(days(start, 2), 7200));
    world.until(days(start, 4));
    check(&mut world, &expect![[r#""#]]);
}

#[test]
fn a_job_that_tells_nobody_beside_one_that_does_is_no_reason() {
    let start = at("13:00:00");
    let mut world = world(start);
    // Once a week a job that tells, and every night one of the same node that does not.
    for night in 0..21 {
        if night % 7 == 0 {
            good_night(&mut world, days(start, night));
        }
        world.hear(finished(later(days(start, night), 7200)).heard_after(20));
    }
    // Not even when that one fails.
    world.hear(failed(later(days(start, 20), 9000)).heard_after(20));
    world.until(days(start, 22));
    check(&mut world, &expect![[r#""#]]);
}

#[test]
fn what_an_input_never_told_of_is_not_expected_of_it() {
    let start = at("13:00:00");
    let mut world = world(start);
    good_night(&mut world, start);
    world.hear(well(Kind::TaskFinished, start).node("alder").source("syslog").heard());
    for night in 1..5 {
        let time = days(start, night);
        // Of another node, another kind, and of a cluster that it is not for.
        world.hear(finished(time).node("birch").heard_after(20));
        world.hear(well(Kind::GuestStarted, time).node("alder").guest(104).heard());
        world.hear(failed(time).cluster("edge").heard_after(20));
    }
    world.until(days(start, 6));
    check(&mut world, &expect![[r#""#]]);
}

#[test]
fn nothing_is_missing_while_nobody_listens_or_nothing_is_heard() {
    let start = at("13:00:00");
    let mut world = world(start);
    bad_night(&mut world, start);
    // Heard of hours later, after the program was started again.
    world.hear(failed(days(start, 1)).heard_after(7200));
    // Seen, and then the program is started again.
    world.hear(failed(days(start, 2)).heard_after(20));
    world.put(Input::Started);
    world.until(later(days(start, 2), 7200));
    check(&mut world, &expect![[r#""#]]);
    // Work is planned.
    let mute = MuteConfig {
        when: Some("event.cluster == 'lab'".to_owned()),
        time: MuteTime::Once { from: days(start, 3), until: later(days(start, 3), 60) },
        author: "ann".to_owned(),
        reason: String::new(),
    };
    world.put(Input::Mute { name: "work".to_owned(), mute });
    world.hear(failed(days(start, 3)).heard_after(20));
    world.until(later(days(start, 3), 7200));
    check(&mut world, &expect![[r#""#]]);
    // The cluster is out of reach: it is asked again when that is over.
    let time = days(start, 4);
    world.hear(failed(time).heard_after(20));
    world.hear(wrong(Kind::ClusterUnreachable, later(time, 300)).heard());
    world.until(later(time, 7200));
    check(&mut world, &expect![[r#""#]]);
    world.hear(well(Kind::ClusterReachable, later(time, 7300)).heard());
    world.until(later(time, 14_000));
    check(&mut world, &expect![""]);
}

#[test]
fn mail_has_more_time_and_inputs_are_told_apart() {
    let start = at("13:00:00");
    let mut config = Config::default().outputs(["ops"]);
    config.inputs.insert("email".parse().unwrap(), [].into());
    config.inputs.insert(HOOK.parse().unwrap(), [].into());
    let mut world = World::new(&config, start);
    bad_night(&mut world, start);
    world.hear(failed(start).source("email").heard_after(300));
    // "With warnings" is a failure as well.
    let warning = failed(days(start, 1)).severity(Severity::Warning);
    world.hear(warning.heard_after(20));
    world.pass(20 * 60);
    check(
        &mut world,
        &expect![[r#"
        1d 00:15:20 raised input.mute: the input hook says nothing of lab
        1d 00:15:30 ops new: warning the input hook says nothing of lab
    "#]],
    );
    world.pass(45 * 60);
    check(
        &mut world,
        &expect![[r#"
        1d 01:00:20 raised input.mute: the input email says nothing of lab
        1d 01:00:30 ops new: warning the input email says nothing of lab
    "#]],
    );
    world.hear(finished(days(start, 2)).source("email").heard_after(300));
    world.hear(finished(days(start, 2)).heard_after(320));
    world.pass(3600);
    check(
        &mut world,
        &expect![[r#"
        2d 00:05:00 raised input.heard: the input email tells of lab again
        2d 00:05:00 ops resolved quietly: warning the input email says nothing of lab
    "#]],
    );
}
