//! What stops everything: the freeze, the budget of a caller, and the breaker.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use guard::{
    Mode, Principal,
    budget::Budget,
    ports::{
        ActionFilter, ActionState, Actions, ApprovalState, Freeze, Freezes, PortError, StepEnd,
    },
};
use jiff::Timestamp;
use mcp_tools::gate::{Guard, Ran};
use serde_json::json;

use crate::guard_house::{House, all, with_freezes};

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_stops_changes_and_only_a_person_lifts_it() {
    let house = House::start().await;
    let stop = json!({"guest": "lab/100", "action": "stop"});
    let id = house.asks("guest_power", stop.clone()).await;
    house.decide(id, "ann", true).await;
    // Anybody may.
    let answer = house.call_as("n8n", "freeze", json!({"reason": "storage is on fire"})).await;
    assert!(!answer.failed, "{}", answer.text);
    assert!(answer.text.starts_with("all changes are stopped until a person lifts it"));
    for (tool, args) in
        [("guest_power", stop), ("snapshot_create", json!({"guest": "lab/125", "name": "a1"}))]
    {
        let answer = house.call(tool, args).await;
        assert!(answer.failed, "{}", answer.text);
        assert!(answer.text.contains("all changes are stopped by token:"), "{}", answer.text);
        assert!(answer.text.contains("storage is on fire"), "{}", answer.text);
    }
    // What was agreed to waits, and reads go on.
    assert!(matches!(house.gate().run_approved(id).await, Ok(Ran::Frozen(_))));
    assert_eq!(house.state(id).await, ApprovalState::Approved);
    assert_eq!(house.status("lab/100").await, "running");
    // A shorter one does not end a longer one.
    let shorter = house.call("freeze", json!({"reason": "x", "until": "10m"})).await;
    assert!(shorter.text.contains("until a person lifts it"), "{}", shorter.text);
    assert!(mcp_tools::tools::TOOLSETS.iter().flat_map(|set| set.tools).all(|tool| {
        let name = tool.definition().name;
        !name.contains("lift") && !name.contains("approve")
    }));
    house.ports.lift(&Principal::local(4711), house.fleet_now()).await.unwrap();
    assert!(matches!(house.gate().run_approved(id).await, Ok(Ran::Run(_))));
    assert!(house.diary.lines().contains(&"token:n8n guard.freeze estate".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_ends_at_its_time() {
    let house = House::start().await;
    let answer = house.call("freeze", json!({"reason": "backup window", "until": "2h"})).await;
    assert!(!answer.failed, "{}", answer.text);
    let snapshot = json!({"guest": "lab/125", "name": "a1"});
    assert!(house.call("snapshot_create", snapshot.clone()).await.failed);
    house.clock.advance(Duration::from_secs(7201));
    let answer = house.call("snapshot_create", snapshot).await;
    assert!(!answer.failed, "{}", answer.text);
    let past = house.call("freeze", json!({"reason": "x", "until": "2020-01-01T00:00:00Z"})).await;
    assert!(past.failed && past.text.contains("is over already"), "{}", past.text);
}

/// Brakes that are pulled after so many looks.
struct After {
    looks: AtomicU32,
    allowed: u32,
}

#[async_trait]
impl Freezes for After {
    async fn freeze(&self, _freeze: Freeze) -> Result<(), PortError> {
        Ok(())
    }

    async fn lift(&self, _by: &Principal, _at: Timestamp) -> Result<bool, PortError> {
        Ok(false)
    }

    async fn frozen(&self, now: Timestamp) -> Result<Option<Freeze>, PortError> {
        let looked = self.looks.fetch_add(1, Ordering::SeqCst);
        Ok((looked >= self.allowed).then(|| Freeze {
            by: Principal::local(4711),
            since: now,
            until: None,
            reason: "enough".to_owned(),
        }))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_in_the_middle_of_a_plan_holds_before_the_next_write() {
    let mut house = House::start().await;
    house.options.mode = Mode::Trusted;
    // One look at the beginning, one for the step, and one for each of two guests.
    let after = Arc::new(After { looks: AtomicU32::new(0), allowed: 4 });
    let ports = with_freezes(&house.ports, after, true);
    house.options.guard = Guard::default().with_ports(ports);
    let args = json!({
        "guests": "lab/100,lab/101,lab/131", "action": "shutdown", "parallel": 1,
    });
    let answer = house.call("guests_power", args).await;
    assert!(answer.text.contains("not_begun"), "{}", answer.text);
    assert!(answer.text.contains("all changes are stopped by local:4711"), "{}", answer.text);
    let mut states = Vec::new();
    for guest in ["lab/100", "lab/101", "lab/131"] {
        states.push(house.status(guest).await);
    }
    assert_eq!(states.iter().filter(|state| *state == "running").count(), 1, "{states:?}");
    let actions = house.ports.actions(&ActionFilter::default()).await.unwrap();
    let ends: Vec<_> = actions[0].intents.iter().map(|intent| intent.end.clone()).collect();
    let withheld = |end: &Option<StepEnd>| matches!(end, Some(StepEnd::NotSent(_)));
    assert_eq!(ends.iter().filter(|end| withheld(end)).count(), 1, "{ends:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_knowing_whether_it_is_frozen_stops_as_well() {
    let house = House::start().await;
    house.ports.set_broken(true);
    let answer = house.call("guest_power", json!({"guest": "lab/125", "action": "start"})).await;
    assert!(answer.failed && answer.text.contains("nobody can tell"), "{}", answer.text);
    house.ports.set_broken(false);
    assert_eq!(house.status("lab/125").await, "stopped");
    assert_eq!(house.ports.actions(&ActionFilter::default()).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_repeats_itself_is_stopped_and_others_are_not() {
    let house = House::start().await;
    let start = json!({"guest": "lab/9000", "action": "start"});
    for _ in 0..6 {
        let answer = house.call("guest_power", start.clone()).await;
        assert!(answer.text.contains("it is a template"), "{}", answer.text);
    }
    let answer = house.call("guest_power", start.clone()).await;
    assert!(answer.failed);
    assert!(answer.text.contains("asked for the same change 6 times in 60 s"), "{}", answer.text);
    let other = json!({"guest": "lab/125", "action": "start"});
    assert!(house.call("guest_power", other.clone()).await.failed, "whatever it is");
    let read = house.call("guest_get", json!({"guest": "lab/125"})).await;
    assert!(!read.failed, "{}", read.text);
    let another = house.call_as("n8n", "guest_power", other.clone()).await;
    assert!(!another.failed, "{}", another.text);
    assert_eq!(house.options.guard.tripped(house.fleet_now()).len(), 1);
    assert!(house.diary.lines().contains(&"local:0 guard.breaker local:0".to_owned()));
    house.clock.advance(Duration::from_secs(301));
    let answer = house.call("guest_power", other).await;
    assert!(!answer.failed, "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_caller_gives_up_on_is_looked_after() {
    let house = House::start().await;
    let running = ActionFilter { states: vec![ActionState::Running], ..ActionFilter::default() };
    let start = house.call("guest_power", json!({"guest": "lab/125", "action": "start"}));
    // Dropped as soon as it is on its way.
    tokio::select! {
        _ = start => panic!("it is done already"),
        () = async {
            loop {
                let actions = house.ports.actions(&running).await.unwrap();
                if actions.iter().any(|it| it.intents.iter().any(|step| step.upid.is_some())) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        } => {}
    }
    testkit::wait_for("the books to be closed", Duration::from_secs(30), async || {
        let open = house.ports.actions(&running).await.unwrap();
        if open.is_empty() {
            testkit::Progress::Ready(())
        } else {
            testkit::Progress::Pending(format!("{open:?}"))
        }
    })
    .await;
    let all = house.ports.actions(&ActionFilter::default()).await.unwrap();
    assert_eq!(all[0].state, ActionState::Done, "{all:?}");
    assert_eq!(house.tasks("qmstart", 125).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_was_stopped_stays_so_in_another_program() {
    let mut house = House::start().await;
    for _ in 0..6 {
        house.call("guest_power", json!({"guest": "lab/9000", "action": "start"})).await;
    }
    // Started anew, it knows what was kept.
    house.options.guard = Guard::default().with_ports(all(&house.ports, true));
    let start = json!({"guest": "lab/125", "action": "start"});
    let answer = house.call("guest_power", start.clone()).await;
    assert!(answer.failed && answer.text.contains("is stopped until"), "{}", answer.text);
    assert_eq!(house.status("lab/125").await, "stopped");
    house.clock.advance(Duration::from_mins(6));
    let answer = house.call("guest_power", start).await;
    assert!(!answer.failed, "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_calls_at_the_same_moment_no_more_run_than_there_is_room_for() {
    let mut house = House::start().await;
    let budget = Budget { unasked_per_hour: Some(1), ..Budget::default() };
    house.options.guard = Guard::default().with_ports(all(&house.ports, true)).with_budget(budget);
    let snapshot = async |guest: &str| {
        house.call("snapshot_create", json!({"guest": guest, "name": "a1"})).await
    };
    tokio::join!(snapshot("lab/125"), snapshot("lab/124"), snapshot("lab/100"));
    let who = &house.options.principal;
    let unasked = house.ports.count(who, Timestamp::MIN, true).await.unwrap();
    assert_eq!(unasked, 1, "one ran, the others were refused or asked");
}
