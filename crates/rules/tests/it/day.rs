//! A day of an estate with a lot of traffic: how many messages a person gets.

use std::{collections::BTreeMap, sync::Arc};

use event_core::{Event, Kind, Severity, Stand};
use expect_test::expect;
use jiff::Timestamp;

use crate::{
    reports::{Report, at, later, well, wrong},
    world::World,
};

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// What three channels say of one thing, some seconds apart.
fn thrice(make: impl Fn(Timestamp) -> Report, time: Timestamp) -> Vec<Arc<Event>> {
    ["tasks", "syslog", "webhook"]
        .into_iter()
        .zip(0..)
        .map(|(source, at)| make(later(time, at)).source(source).heard_after(1 + 7 * at))
        .collect()
}

/// The traffic: what goes well is most of it.
fn traffic(start: Timestamp) -> Vec<Arc<Event>> {
    let mut dice = Dice(42);
    let mut all = Vec::new();
    let moment = |dice: &mut Dice| later(start, i64::try_from(dice.roll(86_000)).expect("small"));
    let vmid = |dice: &mut Dice| 100 + u32::try_from(dice.roll(300)).expect("small");
    // 300 guests are backed up, three channels each; of 4 the backup fails.
    for guest in 100..400 {
        let time = later(start, 3600 + i64::from(guest) * 20);
        let fails = [117, 204, 205, 333].contains(&guest);
        let make = |time| {
            let report = if fails {
                wrong(Kind::BackupFailed, time)
            } else {
                well(Kind::BackupFinished, time)
            };
            report.guest(guest)
        };
        all.extend(thrice(make, time));
    }
    // Tasks, logins, starts and migrations: what goes on all day.
    while all.len() < 9_000 {
        let time = moment(&mut dice);
        let guest = vmid(&mut dice);
        let report = match dice.roll(4) {
            0 => well(Kind::GuestStarted, time).guest(guest),
            1 => well(Kind::GuestMigrated, time).guest(guest),
            2 => well(Kind::AuthSucceeded, time).node("alder"),
            _ => well(Kind::BackupFinished, time).guest(guest),
        };
        all.push(report.heard());
    }
    // A node that is rebooted twice, and one that is out for an hour with its guests.
    for time in [20_000, 50_000] {
        all.extend(thrice(|time| wrong(Kind::NodeOffline, time).node("birch"), later(start, time)));
        all.extend(thrice(
            |time| well(Kind::NodeOnline, time).node("birch"),
            later(start, time + 150),
        ));
    }
    all.extend(thrice(|time| wrong(Kind::NodeOffline, time).node("cedar"), later(start, 30_000)));
    for guest in 300..340 {
        let time = later(start, 30_030);
        all.extend(thrice(|time| wrong(Kind::GuestStopped, time).node("cedar").guest(guest), time));
        let time = later(start, 33_700);
        all.extend(thrice(|time| well(Kind::GuestStarted, time).node("cedar").guest(guest), time));
    }
    all.extend(thrice(|time| well(Kind::NodeOnline, time).node("cedar"), later(start, 33_600)));
    // A link that flaps all afternoon, somebody who tries passwords, a storage that fills.
    for round in 0..60 {
        let time = later(start, 40_000 + round * 240);
        all.push(wrong(Kind::LinkDown, time).node("alder").heard());
        all.push(well(Kind::LinkUp, later(time, 70)).node("alder").heard());
    }
    let warning = |kind, time| wrong(kind, time).severity(Severity::Warning);
    while all.len() < 9_990 {
        let time = later(start, 60_000 + i64::try_from(dice.roll(1_200)).expect("small"));
        all.push(warning(Kind::AuthFailed, time).node("alder").heard());
    }
    for (time, severity) in [(10_000, Severity::Warning), (70_000, Severity::Error)] {
        let full = |time| wrong(Kind::StorageFull, time).node("alder").severity(severity);
        all.extend(thrice(full, later(start, time)));
    }
    let mail = |time| warning(Kind::SystemMail, time).node("alder").title("SMART error on sdb");
    all.extend(thrice(mail, later(start, 15_000)));
    all.push(well(Kind::StorageFreed, later(start, 80_000)).node("alder").heard());
    all.sort_by_key(|event| event.received);
    all
}

#[test]
fn ten_thousand_events_are_a_few_messages() {
    let start = at("13:00:00");
    let traffic = traffic(start);
    assert_eq!(traffic.len(), 10_000);
    let mut world = World::plain(start);
    for event in traffic {
        world.hear(event);
    }
    world.until(later(start, 90_000));
    let mut loud: BTreeMap<String, u32> = BTreeMap::new();
    let mut silent = 0;
    for it in &world.delivered {
        if it.message.silent && it.message.stand != Stand::Digest {
            silent += 1;
        } else {
            *loud.entry(format!("{} {}", it.message.stand, it.message.kind)).or_default() += 1;
        }
    }
    let total: u32 = loud.values().sum();
    let loud: Vec<String> = loud.iter().map(|(what, count)| format!("{count} {what}")).collect();
    let report = format!("{total} messages, {silent} edits\n{}\n", loud.join("\n"));
    expect![[r#"
        13 messages, 149 edits
        2 again link.down
        1 digest other.digest
        1 new auth.failed
        4 new backup.failed
        1 new link.down
        1 new node.offline
        1 new storage.full
        1 new system.mail
        1 worse storage.full
    "#]]
    .assert_eq(&report);
}
