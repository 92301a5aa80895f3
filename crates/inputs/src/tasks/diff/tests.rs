//! What is news and what is not.

use std::collections::BTreeMap;

use super::*;
use crate::tasks::{
    cursor::Memory,
    view::{Condition, Place},
};
use estate::{GuestKind, TaskStatus};
use event_core::Severity;
use proptest::prelude::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_348_800 + second).unwrap()
}

fn guest(vmid: u32, node: &str, state: Option<State>) -> Sighting {
    Sighting {
        vmid: VmId::try_new(vmid).unwrap(),
        kind: GuestKind::Qemu,
        name: Some(format!("vm{vmid}")),
        node: node.parse().unwrap(),
        state,
        is_locked: false,
        is_ha: false,
    }
}

fn look(guests: Vec<Sighting>) -> Look {
    Look { guests: Some(guests), ..Look::default() }
}

/// Looks at these times, and what each told.
struct Story(View);

impl Story {
    fn new(first: Vec<Sighting>) -> Self {
        let mut story = Self(View::default());
        assert!(story.sees(0, &look(first)).is_empty(), "the first look is the baseline");
        story
    }

    fn sees(&mut self, second: i64, look: &Look) -> Vec<Told> {
        let changes = diff(&self.0, look, at(second), Patience::default());
        changes
            .iter()
            .filter_map(|change| {
                self.0.apply(change);
                match change {
                    Change::Guest { told, .. } => *told,
                    _ => None,
                }
            })
            .collect()
    }
}

const ON: Option<State> = Some(State::Running);
const OFF: Option<State> = Some(State::Stopped);

#[test]
fn what_no_task_explains_is_told_when_it_lasts() {
    let mut story = Story::new(vec![guest(104, "alder", ON)]);
    let off = look(vec![guest(104, "alder", OFF)]);
    assert!(story.sees(15, &off).is_empty());
    assert!(story.0.is_unsettled());
    assert!(story.sees(17, &off).is_empty());
    assert_eq!(story.sees(25, &off), [Told::Stopped]);
    assert!(story.sees(40, &off).is_empty(), "it is told once");
    // Back before anybody was told.
    let on = look(vec![guest(104, "alder", ON)]);
    assert!(story.sees(50, &on).is_empty());
    assert!(story.sees(52, &off).is_empty());
    assert!(story.sees(70, &off).is_empty());
}

#[test]
fn planned_work_is_no_news() {
    let mut story = Story::new(vec![guest(104, "alder", ON), guest(105, "alder", OFF)]);
    // Under a lock, and while a task works at it.
    let mut locked = guest(105, "alder", ON);
    locked.is_locked = true;
    let mut seen = look(vec![guest(104, "alder", OFF), locked]);
    seen.busy.insert("104".parse().unwrap());
    for second in [10, 20, 60, 3600] {
        assert!(story.sees(second, &seen).is_empty());
    }
    // The task ends; a list that is a little old still shows what was before.
    let upid: estate::Upid =
        "UPID:alder:0000AA01:0001BB02:6B033EDA:qmstop:104:root@pam:".parse().unwrap();
    story.0.heed(&upid, &TaskStatus::Ok, at(3640));
    let stale = look(vec![guest(104, "alder", ON), guest(105, "alder", OFF)]);
    assert!(story.sees(3615, &stale).is_empty());
    let real = look(vec![guest(104, "alder", OFF), guest(105, "alder", OFF)]);
    for second in [3620, 3650, 3700] {
        assert!(story.sees(second, &real).is_empty(), "at {second}");
    }
    // What is not so after all, although the task ended well.
    story.0.heed(&upid, &TaskStatus::Ok, at(3800));
    let not = look(vec![guest(104, "alder", ON), guest(105, "alder", OFF)]);
    assert!(story.sees(3790, &not).is_empty() && story.sees(3801, &not).is_empty());
    assert_eq!(story.sees(3812, &not), [Told::Started]);
}

#[test]
fn a_guest_that_may_be_off_and_one_on_a_silent_node_are_no_news() {
    let mut story = Story::new(vec![guest(104, "alder", ON), guest(105, "birch", ON)]);
    let mut seen = look(vec![guest(104, "alder", OFF), guest(105, "birch", None)]);
    seen.expected_off.insert("104".parse().unwrap());
    for second in [10, 30, 90] {
        assert!(story.sees(second, &seen).is_empty());
    }
    // The node is back and the guest is not.
    let back = look(vec![guest(104, "alder", OFF), guest(105, "birch", OFF)]);
    for second in [100, 111, 270, 281] {
        assert!(story.sees(second, &back).is_empty(), "it may start yet, at {second}");
    }
    assert_eq!(story.sees(292, &back), [Told::Stopped]);
    // While it starts its guests, however long it takes.
    let mut starting = look(vec![guest(104, "alder", OFF), guest(105, "birch", ON)]);
    starting.busy_nodes.insert("birch".parse().unwrap());
    for second in [300, 400, 500] {
        assert!(story.sees(second, &starting).is_empty());
    }
}

#[test]
fn moves_without_a_task_are_those_of_ha_or_of_nobody() {
    let mut story = Story::new(vec![guest(104, "alder", ON), guest(105, "alder", ON)]);
    let mut by_ha = guest(104, "birch", ON);
    by_ha.is_ha = true;
    let seen = look(vec![by_ha, guest(105, "birch", ON)]);
    assert!(story.sees(10, &seen).is_empty());
    assert_eq!(story.sees(20, &seen), [Told::Recovered, Told::Moved]);
    let upid: estate::Upid =
        "UPID:birch:0000AA01:0001BB02:6B033EDA:qmigrate:104:root@pam:".parse().unwrap();
    story.0.heed(&upid, &TaskStatus::Ok, at(60));
    let seen = look(vec![guest(104, "cedar", ON), guest(105, "birch", ON)]);
    for second in [30, 61, 80, 100] {
        assert!(story.sees(second, &seen).is_empty(), "a migration explains it");
    }
}

fn condition(kind: Kind, severity: Severity, node: &str, what: Option<&str>) -> Condition {
    let place = Place { node: node.parse().ok(), ..Place::default() };
    let what = what.map(str::to_owned);
    Condition {
        kind,
        severity,
        place,
        what,
        title: "it is wrong".to_owned(),
        message: String::new(),
    }
}

#[test]
fn well_is_told_with_the_last_of_a_place() {
    let pool = |name| condition(Kind::PoolDegraded, Severity::Critical, "alder", Some(name));
    let seen = |pools: Vec<Condition>| {
        let pools = pools.into_iter().map(|it| (it.id(), it)).collect();
        Look { wrong: [("zfs/alder".to_owned(), pools)].into(), ..Look::default() }
    };
    let mut view = View::default();
    let mut told = |look: &Look| {
        let changes = diff(&view, look, at(0), Patience::default());
        for change in &changes {
            view.apply(change);
        }
        changes
            .into_iter()
            .map(|change| match change {
                Change::Begun { condition, .. } => format!("+{}", condition.what.unwrap()),
                Change::Ended { well, .. } => {
                    format!("-{}", well.map_or_else(String::new, |it| it.to_string()))
                }
                Change::Guest { .. } => "guest".to_owned(),
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(told(&seen(vec![pool("rpool"), pool("tank")])), ["+rpool", "+tank"]);
    assert_eq!(told(&seen(vec![pool("tank")])), ["-"], "the other one is not well");
    assert_eq!(told(&Look::default()), Vec::<String>::new(), "what was not seen is as it was");
    assert_eq!(told(&seen(vec![])), ["-pool.restored"]);
    assert_eq!(told(&seen(vec![pool("rpool"), pool("tank")])), ["+rpool", "+tank"]);
    assert_eq!(told(&seen(vec![])), ["-", "-pool.restored"], "once for both");
    // Worse is news, milder is not.
    let certificate = |severity| {
        seen(vec![condition(Kind::CertificateExpiring, severity, "alder", Some("pve-ssl"))])
    };
    assert_eq!(told(&certificate(Severity::Warning)), ["+pve-ssl"]);
    assert_eq!(told(&certificate(Severity::Error)), ["+pve-ssl"]);
    assert!(told(&certificate(Severity::Warning)).is_empty());
}

fn sightings() -> impl Strategy<Value = Vec<Sighting>> {
    let state = prop_oneof![Just(ON), Just(OFF), Just(None)];
    let one = (100..112_u32, 0..3_u8, state, any::<bool>(), any::<bool>());
    proptest::collection::vec(one, 0..10).prop_map(|guests| {
        let by_id: BTreeMap<u32, Sighting> = guests
            .into_iter()
            .map(|(vmid, node, state, is_locked, is_ha)| {
                let seen = guest(vmid, &format!("pve{node}"), state);
                (vmid, Sighting { is_locked, is_ha, ..seen })
            })
            .collect();
        by_id.into_values().collect()
    })
}

fn looks() -> impl Strategy<Value = Look> {
    let wrong = proptest::collection::btree_map(
        "(zfs|ha)",
        proptest::collection::vec((0..3_u8, "[ab]", any::<bool>()), 0..4),
        0..3,
    );
    (proptest::option::of(sightings()), wrong).prop_map(|(guests, wrong)| {
        let wrong = wrong
            .into_iter()
            .map(|(part, list)| {
                let list = list.into_iter().map(|(node, what, is_bad)| {
                    let kind = if is_bad { Kind::PoolDegraded } else { Kind::DiskWorn };
                    let it = condition(kind, Severity::Error, &format!("pve{node}"), Some(&what));
                    (it.id(), it)
                });
                (part, list.collect())
            })
            .collect();
        Look { guests, wrong, ..Look::default() }
    })
}

proptest! {
    #[test]
    fn a_look_that_lasts_comes_to_rest(looks in proptest::collection::vec(looks(), 1..6)) {
        let mut view = View::default();
        let mut now = 0;
        for look in &looks {
            // Seven looks at the same, a minute apart: what was silent or in doubt is settled by the last of them.
            let mut last = Vec::new();
            for _ in 0..7 {
                now += 60;
                last = diff(&view, look, at(now), Patience::default());
                for change in &last {
            view.apply(change);
        }
            }
            prop_assert_eq!(&last, &Vec::new());
            for (part, wrong) in &look.wrong {
                let known = view.wrong.get(part).cloned().unwrap_or_default();
                prop_assert_eq!(&known, wrong);
            }
            let seen = look.guests.iter().flatten();
            for sighting in seen.filter(|it| it.state.is_some() && !it.is_locked) {
                let known = &view.guests[&sighting.vmid];
                prop_assert_eq!((known.state, &known.node), (sighting.state, &sighting.node));
            }
        }
    }

    #[test]
    fn what_is_remembered_is_read_back(looks in proptest::collection::vec(looks(), 1..4), away in any::<bool>()) {
        let mut memory = Memory { away, ..Memory::default() };
        memory.known.since = Some(at(0));
        memory.known.newest.insert("pve1".parse().unwrap(), at(7));
        memory.known.running.insert("UPID:x".to_owned());
        memory.known.ended.insert("UPID:y".to_owned(), at(3));
        for look in &looks {
            // Three times, an hour apart: nothing waits or is in doubt then, which is not kept.
            for second in [0, 3600, 7200] {
                let changes = diff(&memory.view, look, at(second), Patience::default());
                for change in &changes {
            memory.view.apply(change);
        }
            }
        }
        prop_assert_eq!(Memory::read(&memory.cursor()), Some(memory));
    }
}

#[test]
fn another_text_is_no_cursor() {
    for text in ["", "{}", r#"{"v":2}"#, "null", "[1]"] {
        assert_eq!(Memory::read(&event_core::Cursor::new(text)), None, "{text}");
    }
}
