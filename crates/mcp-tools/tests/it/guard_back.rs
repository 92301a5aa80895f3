//! Ways back: undo as an action of its own, and the revert of what nobody confirmed.

use std::time::Duration;

use guard::{
    Mode, Principal,
    ports::{ActionId, ConfirmState, Confirms, KeptCall, NewConfirm, Undos},
};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::guard_house::House;

async fn cores(house: &House) -> Value {
    let args = json!({"cluster": "lab", "path": "/nodes/alder/qemu/125/config", "fields": "cores"});
    house.call("api_read", args).await.text.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_is_put_back_once_and_only_with_consent() {
    let mut house = House::start().await;
    house.options.mode = Mode::Trusted;
    let before = cores(&house).await;
    let change = json!({"guest": "lab/125", "set": {"cores": 7}});
    let answer = house.call("guest_configure", change).await;
    assert!(!answer.failed, "{}", answer.text);
    let id = answer.object["undo_id"].as_str().expect("a way back").to_owned();
    assert_ne!(cores(&house).await, before);
    let list = house.call("undo", json!({})).await;
    assert!(list.text.starts_with("1 action can be taken back"), "{}", list.text);
    assert!(list.text.contains(&id), "{}", list.text);
    // Nobody else can.
    let other = house.call_as("n8n", "undo", json!({"undo_id": id})).await;
    assert!(other.failed && other.text.starts_with("nothing of yours"), "{}", other.text);
    // It is an action like any other: planned, judged, asked.
    let plan = house.call("undo", json!({"undo_id": id, "plan": true})).await;
    assert!(plan.text.starts_with("plan of the undo of the "), "{}", plan.text);
    house.options.mode = Mode::Guarded;
    let asked = house.asks("undo", json!({"undo_id": id})).await;
    house.decide(asked, "ann", true).await;
    let ran = house.gate().run_approved(asked).await.unwrap();
    assert!(matches!(ran, mcp_tools::gate::Ran::Run(_)), "{ran:?}");
    assert_eq!(cores(&house).await, before);
    let lines = house.diary.lines();
    assert!(lines.contains(&"local:0 undo.done lab/125".to_owned()), "{lines:?}");
    // Once.
    let again = house.call("undo", json!({"undo_id": id})).await;
    assert!(again.failed && again.text.contains("was taken back"), "{}", again.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_newer_is_not_lost() {
    let mut house = House::start().await;
    house.options.mode = Mode::Trusted;
    let change = json!({"guest": "lab/125", "set": {"cores": 7}});
    let answer = house.call("guest_configure", change).await;
    let id = answer.object["undo_id"].as_str().expect("a way back").to_owned();
    house.sim.levers().set_option("lab", 125, "description", "meanwhile".into()).unwrap();
    let undo = house.call("undo", json!({"undo_id": id})).await;
    assert!(undo.failed, "{}", undo.text);
    assert!(
        undo.text.contains("something newer would be lost: digest of lab/125"),
        "{}",
        undo.text
    );
    let kept = house.ports.undo(id.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(kept.used_at, None);
}

fn start_of_125(house: &House) -> NewConfirm {
    let arguments = json!({"guest": "lab/125", "action": "start"});
    let arguments = arguments.as_object().cloned().unwrap();
    NewConfirm {
        action: ActionId::from_bits(1),
        principal: Principal::local(0),
        what: "shutdown of lab/125".to_owned(),
        deadline: house.fleet_now() + SignedDuration::from_secs(120),
        calls: vec![KeptCall { tool: "guest_power".to_owned(), arguments }],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_confirms_is_put_back_frozen_or_not() {
    let mut house = House::start().await;
    let lost = house.ports.arm(start_of_125(&house), house.fleet_now()).await.unwrap();
    assert_eq!(house.gate().revert_due().await.unwrap(), []);
    house.call("freeze", json!({"reason": "the network is gone"})).await;
    house.clock.advance(Duration::from_secs(121));
    // A crash of ours is no excuse.
    house.restarted();
    let reverted = house.gate().revert_due().await.unwrap();
    assert_eq!(reverted.iter().map(|it| it.id).collect::<Vec<_>>(), [lost.id]);
    assert_eq!(reverted[0].state, ConfirmState::Reverted, "{reverted:?}");
    assert_eq!(house.status("lab/125").await, "running");
    let begin = house.diary.payload("guest_power.begin");
    assert_eq!(begin["policy"], "revert");
    let lines = house.diary.lines();
    let who = "automation:revert for local:0 guest_power.done lab/125".to_owned();
    assert!(lines.contains(&who), "{lines:?}");
    assert_eq!(house.gate().revert_due().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_confirmed_in_time_stays() {
    let house = House::start().await;
    let kept = house.ports.arm(start_of_125(&house), house.fleet_now()).await.unwrap();
    let id = json!({"confirm_id": kept.id.to_string()});
    let other = house.call_as("n8n", "change_confirm", id.clone()).await;
    assert!(other.failed && other.text.starts_with("no change of yours"), "{}", other.text);
    let answer = house.call("change_confirm", id.clone()).await;
    assert_eq!(answer.text, "shutdown of lab/125 is kept");
    assert!(house.call("change_confirm", id).await.failed, "once");
    house.clock.advance(Duration::from_secs(121));
    assert_eq!(house.gate().revert_due().await.unwrap(), []);
    let late = house.ports.arm(start_of_125(&house), house.fleet_now()).await.unwrap();
    house.clock.advance(Duration::from_secs(121));
    let answer = house.call("change_confirm", json!({"confirm_id": late.id.to_string()})).await;
    assert!(answer.failed && answer.text.contains("is over"), "{}", answer.text);
}
