//! Asked, decided, run: and everything that must not get through.

use std::time::Duration;

use expect_test::expect;
use guard::{
    Principal,
    policy::{Effect, Matchers},
    ports::{ApprovalState, Approvals},
};
use mcp_tools::gate::Ran;
use serde_json::json;

use crate::guard_house::{House, line};

fn stop() -> serde_json::Value {
    json!({"guest": "lab/100", "action": "stop"})
}

#[tokio::test(flavor = "multi_thread")]
async fn asked_agreed_run_and_told() {
    let house = House::start().await;
    let answer = house.call("guest_power", stop()).await;
    assert!(!answer.failed, "{}", answer.text);
    let id = answer.object["approval_id"].as_str().unwrap();
    expect![[r#"
        stop of lab/100 web-01 waits for consent, nothing was done yet: any approver was asked, until UNTIL
        note: it runs when they agree, whether or not you wait; silence refuses
        next: approval_wait {"approval_id":"ID"}"#]]
    .assert_eq(
        &answer.text.replace(id, "ID").replace(answer.object["until"].as_str().unwrap(), "UNTIL"),
    );
    // Asking again is no second question, and nothing was done.
    let again = house.asks("guest_power", stop()).await;
    assert_eq!(again.to_string(), id);
    assert_eq!(house.status("lab/100").await, "running");
    let wait = json!({"approval_id": id, "timeout_s": 1});
    let waiting = house.call("approval_wait", wait.clone()).await;
    assert!(waiting.text.starts_with("nobody has decided yet"), "{}", waiting.text);
    assert!(matches!(house.gate().run_approved(again).await, Ok(Ran::Not(_))));

    house.decide(again, "ann", true).await;
    let Ok(Ran::Run(ran)) = house.gate().run_approved(again).await else { panic!("it runs") };
    assert_eq!(ran.state, ApprovalState::Done);
    assert_eq!(house.status("lab/100").await, "stopped");
    let told = house.call("approval_wait", wait.clone()).await;
    assert!(told.text.starts_with("lab/100 web-01 is stopped (stop: OK"), "{}", told.text);
    // It was good once.
    assert!(matches!(house.gate().run_approved(again).await, Ok(Ran::Not(_))));
    assert_eq!(house.tasks("qmstop", 100).await, 1);

    // Whoever else knows the id learns nothing by it.
    let other = house.call_as("n8n", "approval_wait", wait).await;
    assert!(other.failed && other.text.starts_with("you have no approval"), "{}", other.text);
    let list = house.call_as("n8n", "approvals_list", json!({})).await;
    assert!(!list.text.contains(id), "{}", list.text);
    let list = house.call("approvals_list", json!({})).await;
    assert!(list.text.contains(&format!("{id} done guest_power lab/100")), "{}", list.text);

    let begin = house.diary.payload("guest_power.begin");
    assert_eq!((&begin["approval"], &begin["policy"]), (&json!(id), &json!("default.stop")));
    assert_eq!(begin["consents"][0]["by"], "ann");
    assert_eq!(begin["consents"][0]["way"], "peer_uid");
    assert_eq!(
        house.diary.lines(),
        [
            "local:0 guest_power.asked lab/100",
            "local:0 guest_power.begin lab/100",
            "local:0 guest_power.done lab/100",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_and_silence_end_it() {
    let house = House::start().await;
    let id = house.asks("guest_power", stop()).await;
    house.decide(id, "ann", false).await;
    assert!(matches!(house.gate().run_approved(id).await, Ok(Ran::Not(_))));
    let told = house.call("approval_wait", json!({"approval_id": id.to_string()})).await;
    assert!(told.failed);
    assert_eq!(told.text, "nothing was done: ann refused");
    // Refused is not remembered as a no for ever: it can be asked again.
    let id = house.asks("guest_power", stop()).await;
    house.clock.advance(Duration::from_secs(3601));
    let told = house.call("approval_wait", json!({"approval_id": id.to_string()})).await;
    assert!(told.text.starts_with("nothing was done: nobody decided until"), "{}", told.text);
    let late = house.decision("ann", Principal::local(4711), true);
    assert!(house.ports.decide(id, late, house.fleet_now()).await.is_err());
    let expired = house.gate().expire().await.unwrap();
    assert_eq!(expired.iter().map(|it| it.id).collect::<Vec<_>>(), [id]);
    assert_eq!(house.diary.lines().last().unwrap(), "local:0 guest_power.expired lab/100");
    // What was agreed to is worth nothing either when its time is over.
    let id = house.asks("guest_power", stop()).await;
    house.decide(id, "ann", true).await;
    house.clock.advance(Duration::from_secs(3601));
    assert!(matches!(house.gate().run_approved(id).await, Ok(Ran::Not(_))));
    assert_eq!(house.status("lab/100").await, "running");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_was_changed_is_another_one_whatever_the_plan_is_about() {
    let house = House::start().await;
    for (option, value) in [("description", json!("meanwhile")), ("tags", json!("customer"))] {
        let id = house.asks("guest_power", stop()).await;
        house.decide(id, "ann", true).await;
        house.sim.levers().set_option("lab", 100, option, value).unwrap();
        let Ok(Ran::Moved { void, next }) = house.gate().run_approved(id).await else {
            panic!("it must not run: {option}")
        };
        let why = void.void_reason.unwrap();
        assert!(why.contains("digest of lab/100 was "), "{why}");
        assert_eq!(house.status("lab/100").await, "running");
        house.decide(next.expect("a new question").id, "ann", false).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_moved_voids_and_asks_anew() {
    let house = House::start().await;
    let configure = json!({"guest": "lab/125", "set": {"cores": 3}});
    let id = house.asks("guest_configure", configure).await;
    house.decide(id, "ann", true).await;
    // Somebody changes it meanwhile.
    house.sim.levers().set_option("lab", 125, "description", "meanwhile".into()).unwrap();
    let Ok(Ran::Moved { void, next }) = house.gate().run_approved(id).await else {
        panic!("it must not run")
    };
    let next = next.expect("a new question");
    assert_eq!((void.state, void.replaced_by), (ApprovalState::Void, Some(next.id)));
    let why = void.void_reason.unwrap();
    assert!(why.starts_with("digest of lab/125 was "), "{why}");
    let told = house.call("approval_wait", json!({"approval_id": id.to_string()})).await;
    assert!(told.failed, "{}", told.text);
    assert_eq!(told.object["replaced_by"], next.id.to_string());
    // The old consent is worth nothing for the new plan.
    assert!(house.ports.claim(id, &next.digest, house.fleet_now()).await.is_err());
    assert!(house.ports.claim(next.id, &next.digest, house.fleet_now()).await.is_err());
    house.decide(next.id, "ann", true).await;
    let Ok(Ran::Run(ran)) = house.gate().run_approved(next.id).await else { panic!("it runs") };
    assert_eq!(ran.state, ApprovalState::Done);
    // A guest that is protected by now is not touched, whoever agreed before.
    let id = house.asks("guest_power", stop()).await;
    house.decide(id, "ann", true).await;
    house.sim.levers().set_option("lab", 100, "protection", 1.into()).unwrap();
    let Ok(Ran::Moved { void, next: None }) = house.gate().run_approved(id).await else {
        panic!("it must not run")
    };
    assert!(void.void_reason.unwrap().contains("protection flag"));
    assert_eq!(house.status("lab/100").await, "running");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_must_agree_and_never_the_asker() {
    let two = Effect::Ask {
        of: vec!["ann".to_owned(), "bob".to_owned()],
        count: 2,
        within: None,
        client: None,
    };
    let tools = Matchers { tools: vec!["guest_power".parse().unwrap()], ..Matchers::default() };
    let house = House::of(vec![line("two", 1, two, tools)], true).await;
    let id = house.asks("guest_power", stop()).await;
    let asked = house.approval(id).await;
    assert_eq!((asked.needed, asked.rule.as_str()), (2, "two"));
    assert_eq!(house.decide(id, "ann", true).await.state, ApprovalState::Pending);
    let twice = house.decision("ann", Principal::local(4711), true);
    assert!(house.ports.decide(id, twice, house.fleet_now()).await.is_err());
    assert!(matches!(house.gate().run_approved(id).await, Ok(Ran::Not(_))));
    // A row that nobody entitled made: it makes up the number, and is not believed.
    house.decide(id, "mallory", true).await;
    assert_eq!(house.state(id).await, ApprovalState::Approved);
    let Ok(Ran::Moved { void, next: None }) = house.gate().run_approved(id).await else {
        panic!("it must not run")
    };
    assert_eq!(
        void.void_reason.unwrap(),
        "1 of 2 decisions count; that of mallory: mallory is not asked"
    );
    let id = house.asks("guest_power", stop()).await;
    house.decide(id, "ann", true).await;
    let own = house.decision("bob", Principal::local(0), true);
    house.ports.decide(id, own, house.fleet_now()).await.unwrap();
    let Ok(Ran::Moved { void, .. }) = house.gate().run_approved(id).await else {
        panic!("it must not run")
    };
    assert!(void.void_reason.unwrap().contains("the asker cannot decide"));
    let id = house.asks("guest_power", stop()).await;
    house.decide(id, "ann", true).await;
    house.decide(id, "bob", true).await;
    assert!(matches!(house.gate().run_approved(id).await, Ok(Ran::Run(_))));
    assert_eq!(house.tasks("qmstop", 100).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_runners_one_runs() {
    let house = House::start().await;
    let id = house.asks("guest_power", stop()).await;
    house.decide(id, "ann", true).await;
    let gates: Vec<_> = (0..4).map(|_| house.gate()).collect();
    let runs = gates.iter().map(|gate| gate.run_approved(id));
    let ran = futures_join(runs).await;
    assert_eq!(ran.iter().filter(|ran| matches!(ran, Ran::Run(_))).count(), 1, "{ran:?}");
    assert_eq!(house.tasks("qmstop", 100).await, 1);
}

async fn futures_join<F: Future<Output = Result<Ran, guard::ports::PortError>>>(
    runs: impl Iterator<Item = F>,
) -> Vec<Ran> {
    let mut all = Vec::new();
    for ran in futures::future::join_all(runs).await {
        all.push(ran.expect("memory"));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_a_call_are_kept_out_of_everything() {
    let house = House::start().await;
    let args = json!({"guest": "lab/125", "set": {"cipassword": "hunter2-hunter2"}});
    let id = house.asks("guest_configure", args).await;
    let approval = house.approval(id).await;
    assert!(!format!("{approval:?}").contains("hunter2"));
    assert!(!house.diary.text().contains("hunter2"));
    let listed = house.call("approvals_list", json!({})).await;
    assert!(!listed.text.contains("hunter2"));
    // It is kept for the run all the same.
    house.decide(id, "ann", true).await;
    assert!(matches!(house.gate().run_approved(id).await, Ok(Ran::Run(_))));
    assert!(!house.diary.text().contains("hunter2"), "{}", house.diary.text());
}
