//! After a crash: what was sent is found, what cannot be told is unknown, nothing is sent twice.

use estate::Access;
use guard::{
    PlannedCall, Principal,
    ports::{
        ActionFilter, ActionId, ActionState, Actions, ApprovalState, Approvals, Intent, KeptCall,
        NewAction, TaskTrace,
    },
};
use mcp_tools::gate::Ran;
use proxmox_sim::TaskSpec;
use serde_json::json;

use crate::guard_house::House;

/// An action of a program that is gone.
fn left(approval: Option<guard::ports::ApprovalId>) -> NewAction {
    NewAction {
        principal: Principal::local(0),
        tool: "guest_power".to_owned(),
        target: "start of lab/125".to_owned(),
        digest: guard::PlanForm::default().digest(),
        approval,
        access: Access::Operate,
        unasked: true,
        steps: 1,
        owner: "a program that is gone".to_owned(),
        call: KeptCall { tool: "guest_power".to_owned(), arguments: serde_json::Map::default() },
    }
}

fn start_of_125(house: &House) -> Intent {
    Intent {
        step: 0,
        what: "start of lab/125".to_owned(),
        calls: vec![PlannedCall {
            member: "lab".to_owned(),
            method: "POST".to_owned(),
            path: "/nodes/alder/qemu/125/status/start".to_owned(),
            params: Vec::new(),
        }],
        trace: Some(TaskTrace {
            member: "lab".to_owned(),
            node: "alder".to_owned(),
            kinds: vec!["qmstart".to_owned()],
            id: "125".to_owned(),
            user: None,
        }),
        at: house.fleet_now(),
        upid: None,
        end: None,
    }
}

async fn state(house: &House, id: ActionId) -> ActionState {
    house.ports.action(id).await.unwrap().unwrap().state
}

#[tokio::test(flavor = "multi_thread")]
async fn the_task_of_a_lost_answer_is_found() {
    let house = House::start().await;
    let id = house.ports.begin(left(None), house.fleet_now()).await.unwrap();
    house.ports.intend(id, start_of_125(&house)).await.unwrap();
    // It was sent; the program was killed before it heard of that.
    house
        .sim
        .levers()
        .add_task("lab", "alder", &TaskSpec::finished("qmstart", "125", "OK"))
        .unwrap();
    let recovered = house.gate().recover().await.unwrap();
    assert_eq!(recovered.settled, [(id, ActionState::Done)]);
    let action = house.ports.action(id).await.unwrap().unwrap();
    assert!(action.intents[0].upid.as_ref().unwrap().kind() == "qmstart");
    assert_eq!(house.tasks("qmstart", 125).await, 1, "nothing is sent twice");
    assert!(house.diary.lines().contains(&"local:0 guest_power.recovered start of lab/125".into()));
    // One look is enough.
    assert_eq!(house.gate().recover().await.unwrap().settled, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_told_is_unknown_and_counted() {
    let house = House::start().await;
    let no_task = house.ports.begin(left(None), house.fleet_now()).await.unwrap();
    house.ports.intend(no_task, start_of_125(&house)).await.unwrap();
    let no_trace = house.ports.begin(left(None), house.fleet_now()).await.unwrap();
    let intent = Intent { trace: None, ..start_of_125(&house) };
    house.ports.intend(no_trace, intent).await.unwrap();
    let nothing = house.ports.begin(left(None), house.fleet_now()).await.unwrap();
    let recovered = house.gate().recover().await.unwrap();
    assert_eq!(recovered.unknown, 2);
    assert_eq!(state(&house, no_task).await, ActionState::Unknown);
    assert_eq!(state(&house, no_trace).await, ActionState::Unknown);
    assert_eq!(state(&house, nothing).await, ActionState::Cancelled);
    let listed = house.call("approvals_list", json!({})).await;
    assert_eq!(listed.object["unknown"], 2, "{}", listed.text);
    // Two that could be its are as bad as none.
    let id = house.ports.begin(left(None), house.fleet_now()).await.unwrap();
    house.ports.intend(id, start_of_125(&house)).await.unwrap();
    for status in ["OK", "failed"] {
        let task = TaskSpec::finished("qmstart", "125", status);
        house.sim.levers().add_task("lab", "alder", &task).unwrap();
    }
    house.gate().recover().await.unwrap();
    assert_eq!(state(&house, id).await, ActionState::Unknown);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_away_is_waited_for() {
    let house = House::start().await;
    let id = house.ports.begin(left(None), house.fleet_now()).await.unwrap();
    house.ports.intend(id, start_of_125(&house)).await.unwrap();
    let task = TaskSpec::finished("qmstart", "125", "OK");
    house.sim.levers().add_task("lab", "alder", &task).unwrap();
    house.sim.levers().node_offline("lab", "alder", true).unwrap();
    let recovered = house.gate().recover().await.unwrap();
    assert_eq!((recovered.open, recovered.settled.len()), (vec![id], 0));
    house.sim.levers().node_offline("lab", "alder", false).unwrap();
    let recovered = house.gate().recover().await.unwrap();
    assert_eq!(recovered.settled, [(id, ActionState::Done)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_approved_is_lost() {
    let mut house = House::start().await;
    let stop = json!({"guest": "lab/100", "action": "stop"});
    let id = house.asks("guest_power", stop).await;
    house.decide(id, "ann", true).await;
    // Claimed, and killed before anything was sent.
    let approval = house.approval(id).await;
    let gone = house.ports.begin(left(Some(id)), house.fleet_now()).await.unwrap();
    house.ports.claim(id, &approval.digest, house.fleet_now()).await.unwrap();
    house.restarted();
    let recovered = house.gate().recover().await.unwrap();
    assert_eq!(recovered.settled, [(gone, ActionState::Cancelled)]);
    assert_eq!(recovered.released, [id]);
    let Ok(Ran::Run(ran)) = house.gate().run_approved(id).await else { panic!("it runs") };
    assert_eq!(ran.state, ApprovalState::Done);
    assert_eq!(house.tasks("qmstop", 100).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approved_action_that_was_sent_is_settled_for_its_asker() {
    let mut house = House::start().await;
    let start = json!({"guest": "lab/125", "action": "start"});
    let id = {
        let asked = house.call_as("n8n", "guest_power", start).await;
        asked.object["approval_id"].as_str().unwrap().parse().unwrap()
    };
    house.decide(id, "ann", true).await;
    let approval = house.approval(id).await;
    let gone = house.ports.begin(left(Some(id)), house.fleet_now()).await.unwrap();
    house.ports.claim(id, &approval.digest, house.fleet_now()).await.unwrap();
    house.ports.intend(gone, start_of_125(&house)).await.unwrap();
    let task = TaskSpec::finished("qmstart", "125", "start failed: no space");
    house.sim.levers().add_task("lab", "alder", &task).unwrap();
    house.restarted();
    house.gate().recover().await.unwrap();
    assert_eq!(house.state(id).await, ApprovalState::Failed);
    let told = house.call_as("n8n", "approval_wait", json!({"approval_id": id.to_string()})).await;
    assert!(told.failed && told.text.contains("start failed: no space"), "{}", told.text);
    assert!(matches!(house.gate().run_approved(id).await, Ok(Ran::Not(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_books_hold_every_step_and_nothing_runs_without_them() {
    let house = House::start().await;
    let start = json!({"guest": "lab/125", "action": "start"});
    house.ports.set_broken(true);
    let answer = house.call("guest_power", start.clone()).await;
    assert!(answer.failed && answer.text.contains("out of order"), "{}", answer.text);
    house.ports.set_broken(false);
    assert_eq!(house.status("lab/125").await, "stopped");
    let answer = house.call("guest_power", start).await;
    assert!(!answer.failed, "{}", answer.text);
    let actions = house.ports.actions(&ActionFilter::default()).await.unwrap();
    let [action] = actions.as_slice() else { panic!("{actions:?}") };
    assert_eq!((action.state, action.unasked), (ActionState::Done, true));
    let intent = &action.intents[0];
    assert_eq!(intent.end, Some(guard::ports::StepEnd::Done));
    assert_eq!(intent.calls[0].path, "/nodes/alder/qemu/125/status/start");
    assert!(answer.object["upid"] == intent.upid.as_ref().unwrap().as_str());
}
