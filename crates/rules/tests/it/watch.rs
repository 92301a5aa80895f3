//! What is expected and does not come, and an estate of which nothing answers.

use estate::VmId;
use event_core::{Kind, Subject};
use expect_test::expect;
use jiff::SignedDuration;
use rules::{Estate, Input, Job, Measured, Room, Work};

use crate::{
    reports::{at, cluster, days, later, well, wrong},
    world::World,
};

fn guest(vmid: u32) -> Subject {
    Subject { vmid: Some(VmId::try_new(vmid).expect("valid")), ..cluster("lab") }
}

/// A nightly backup of guests 104 and 105, which takes 20 minutes, and the clusters.
fn estate(night: i64) -> Estate {
    let job = Job {
        work: Work::Backup,
        subject: Subject { job: Some("nightly".to_owned()), ..cluster("lab") },
        guests: vec![guest(104), guest(105)],
        next: days(at("01:00:00"), night),
        usual: SignedDuration::from_mins(20),
    };
    let clusters = ["lab", "edge"].map(|name| name.parse().expect("valid")).into();
    Estate { clusters, jobs: vec![job], uncovered: vec![guest(900)] }
}

#[test]
fn a_backup_that_does_not_come_is_missing_and_one_that_failed_is_not() {
    let mut world = World::plain(at("13:00:00"));
    world.put(Input::Estate(estate(0)));
    world.hear(well(Kind::BackupFinished, at("01:10:00")).guest(104).heard());
    world.put(Input::Estate(estate(1)));
    world.until(at("04:00:00"));
    expect![[r#"
        13:00:00 raised backup.missing: no backup of lab/105
        13:00:10 ops new: error no backup of lab/105
    "#]]
    .assert_eq(&world.said());

    world.put(Input::Estate(estate(1)));
    world.hear(wrong(Kind::BackupFailed, days(at("01:10:00"), 1)).guest(104).heard());
    world.hear(well(Kind::BackupFinished, days(at("01:15:00"), 1)).guest(105).heard());
    world.until(days(at("04:00:00"), 1));
    expect![[r#"
        19:00:00 ops digest quietly: notice 1 open, 0 over since yesterday
        1d 12:10:11 ops new: error backup.failed lab/104
        1d 12:15:01 ops resolved quietly: error no backup of lab/105
    "#]]
    .assert_eq(&world.said());

    // The success of the whole job is one of each guest.
    world.put(Input::Estate(estate(2)));
    world.hear(well(Kind::BackupFinished, days(at("01:20:00"), 2)).job("nightly").heard());
    world.until(days(at("04:00:00"), 2));
    expect![[r#"
        1d 19:00:00 ops digest quietly: notice 1 open, 1 over since yesterday
    "#]]
    .assert_eq(&world.said());
}

#[test]
fn a_run_whose_length_nobody_knows_has_hours() {
    let mut world = World::plain(at("13:00:00"));
    let mut unknown = estate(0);
    unknown.jobs[0].usual = SignedDuration::ZERO;
    world.put(Input::Estate(unknown));
    world.until(at("06:59:00"));
    assert_eq!(world.said(), "");
    world.until(at("08:00:00"));
    expect![[r#"
        18:00:00 raised backup.missing: no backup of lab/104
        18:00:00 raised backup.missing: no backup of lab/105
        18:00:10 ops new: error no backup of lab/104
        18:00:10 ops new: error no backup of lab/105
        19:00:00 ops digest quietly: notice 2 open, 0 over since yesterday
    "#]]
    .assert_eq(&world.said());
}

#[test]
fn what_is_no_longer_planned_is_not_missing() {
    let mut world = World::plain(at("13:00:00"));
    world.put(Input::Estate(estate(0)));
    world.put(Input::Estate(Estate { jobs: Vec::new(), ..estate(0) }));
    world.until(at("06:00:00"));
    assert_eq!(world.said(), "");
}

#[test]
fn nothing_is_missing_of_what_is_out_of_reach() {
    let mut world = World::plain(at("13:00:00"));
    world.put(Input::Estate(estate(0)));
    world.hear(wrong(Kind::ClusterUnreachable, at("00:30:00")).title("lab is away").heard());
    world.until(at("05:00:00"));
    world.hear(well(Kind::ClusterReachable, at("05:00:00")).heard());
    // Its task list has it: both ran.
    for (vmid, end) in [(104, "01:10:00"), (105, "01:19:00")] {
        world.hear(well(Kind::BackupFinished, at(end)).guest(vmid).heard_after(14500));
    }
    world.until(at("06:00:00"));
    expect![[r#"
        11:31:01 ops new: error lab is away
        16:00:01 ops resolved quietly: error lab is away
    "#]]
    .assert_eq(&world.said());
}

#[test]
fn when_nothing_answers_it_is_we_who_see_nothing() {
    let mut world = World::plain(at("13:00:00"));
    world.put(Input::Estate(estate(0)));
    let away = |name: &str, seconds| {
        let title = if name == "lab" { "lab is away" } else { "edge is away" };
        wrong(Kind::ClusterUnreachable, later(at("13:00:00"), seconds)).cluster(name).title(title)
    };
    world.hear(away("lab", 0).heard());
    world.hear(away("edge", 20).heard());
    world.pass(3600);
    world.hear(well(Kind::ClusterReachable, at("14:30:00")).heard());
    world.pass(600);
    world.hear(well(Kind::ClusterReachable, at("14:45:00")).cluster("edge").heard());
    world.pass(600);
    expect![[r#"
        00:00:21 raised monitor.blind: nothing of the estate answers: 2 (edge, lab)
        00:01:01 ops held of a2ddb5af: default.blind: follows from 81d20d9a
        00:01:21 ops new: critical nothing of the estate answers: 2 (edge, lab)
        00:01:21 ops held of e9dfaf2e: default.blind: follows from 81d20d9a
        01:30:01 a2ddb5af passed untold
        01:30:01 raised monitor.sees: the estate answers again
        01:30:01 ops resolved quietly: critical nothing of the estate answers: 2 (edge, lab)
        01:32:01 ops new: error edge is away
        01:45:01 ops resolved quietly: error edge is away
    "#]]
    .assert_eq(&world.said());
}

#[test]
fn guests_in_no_job_are_named_once_a_week() {
    let mut world = World::plain(at("13:00:00"));
    world.put(Input::Estate(Estate { jobs: Vec::new(), ..estate(0) }));
    world.until(days(at("09:00:00"), 8));
    let named: Vec<bool> =
        world.delivered.iter().map(|it| it.message.text.contains("- lab/900")).collect();
    // Sunday first.
    assert_eq!(named, [false, true, false, false, false, false, false, false, true]);
}

#[test]
fn what_wavers_around_a_threshold_is_told_once() {
    let start = at("13:00:00");
    let mut world = World::plain(start);
    let subject = Subject { storage: Some("local".parse().expect("valid")), ..cluster("lab") };
    let measured = [70.0, 86.0, 84.0, 86.0, 83.0, 95.5, 93.0, 96.0, 90.0, 81.0];
    for (round, percent) in (0..).zip(measured) {
        let at = later(start, round * 600);
        world.until(at);
        let subject = subject.clone();
        world.put(Input::Measured(Measured { what: Room::Storage, subject, percent, at }));
    }
    world.pass(60);
    expect![[r#"
        00:10:00 raised storage.full: lab/local is 86 % full
        00:10:10 ops new: warning lab/local is 86 % full
        00:50:00 raised storage.full: lab/local is 96 % full
        00:50:00 ops worse: error lab/local is 96 % full
        01:30:00 raised storage.freed: lab/local is 81 % full
        01:30:00 ops resolved quietly: error lab/local is 96 % full
    "#]]
    .assert_eq(&world.said());
}
