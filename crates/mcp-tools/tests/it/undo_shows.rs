//! Undo from end to end: what was changed, gone back on or deleted comes back through `undo`, with a
//! plan, consent and an entry in the audit log of its own. With `--nocapture` the conversation is
//! printed.

#![expect(clippy::print_stdout, reason = "whoever asks for the conversation reads it")]

use mcp_tools::gate::Ran;
use serde_json::{Value, json};

use crate::{estate::Answer, guard_house::House, safety::seen};

/// Prints a call and its answer as a client would show them.
fn show(tool: &str, args: &Value, answer: &Answer) {
    println!("> {tool} {args}\n{}\n", answer.text);
}

async fn call(house: &House, tool: &str, args: Value) -> Answer {
    let answer = house.call(tool, args.clone()).await;
    show(tool, &args, &answer);
    answer
}

/// Calls, lets people agree, and returns what it came to.
async fn agreed(house: &House, tool: &str, args: Value) -> Answer {
    let asked = call(house, tool, args).await;
    assert!(!asked.failed, "{}", asked.text);
    let id = asked.object["approval_id"].as_str().expect("people are asked").parse().unwrap();
    house.decide(id, "ann", true).await;
    println!("(ann agrees)\n");
    let ran = house.gate().run_approved(id).await.unwrap();
    assert!(matches!(ran, Ran::Run(_)), "{ran:?}");
    let answer = call(house, "approval_wait", json!({"approval_id": id.to_string()})).await;
    assert!(!answer.failed, "{}", answer.text);
    answer
}

fn undo_of(answer: &Answer) -> Value {
    let id = answer.object.get("undo_id").and_then(Value::as_str);
    json!({"undo_id": id.unwrap_or_else(|| panic!("no way back: {}", answer.text))})
}

/// Takes it back: the plan, the question, the work.
async fn taken_back(house: &House, done: &Answer) -> Answer {
    let undo = undo_of(done);
    let mut planned = undo.clone();
    planned["plan"] = true.into();
    let plan = call(house, "undo", planned).await;
    assert!(plan.text.starts_with("plan of the undo of the "), "{}", plan.text);
    agreed(house, "undo", undo).await
}

/// The pools of three guests.
async fn pools(house: &House) -> Vec<Option<String>> {
    let mut pools = Vec::new();
    for vmid in [125, 119, 120] {
        pools.push(seen(&house.fleet, vmid).await.pool);
    }
    pools
}

/// Whether a guest has the tag that its snapshots do not have.
async fn has_tag(house: &House, vmid: u32) -> bool {
    seen(&house.fleet, vmid).await.tags.iter().any(|tag| tag == "unsaved")
}

async fn config(house: &House, guest: &str) -> String {
    house.call("guest_get", json!({"guest": guest, "include": ["config"]})).await.text
}

fn entries(house: &House) -> Vec<String> {
    let lines = house.diary.lines();
    println!("audit:\n{}\n", lines.join("\n"));
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn undo_shows_a_config_change() {
    let house = House::start().await;
    let set = json!({"cores": 7, "tags": "dev;big", "description": "for the build"});
    let before = config(&house, "lab/125").await;
    let done = agreed(&house, "guest_configure", json!({"guest": "lab/125", "set": set})).await;
    let changed = config(&house, "lab/125").await;
    assert!(changed.contains("cores: 7") && changed.contains("for the build"), "{changed}");
    taken_back(&house, &done).await;
    assert_eq!(config(&house, "lab/125").await, before);
    let lines = entries(&house);
    assert!(lines.iter().any(|line| line.ends_with("undo.done lab/125")), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn undo_shows_a_rollback() {
    let house = House::start().await;
    house.sim.levers().set_option("lab", 124, "tags", json!("dev;unsaved")).unwrap();
    let args = json!({"guest": "lab/124", "name": "clean", "plan": true});
    call(&house, "snapshot_rollback", args).await;
    let done =
        agreed(&house, "snapshot_rollback", json!({"guest": "lab/124", "name": "clean"})).await;
    assert_eq!(done.object["kept"], "safety-1", "{}", done.text);
    assert!(!has_tag(&house, 124).await);
    assert_eq!(house.status("lab/124").await, "stopped");
    taken_back(&house, &done).await;
    assert!(has_tag(&house, 124).await);
    assert_eq!(house.status("lab/124").await, "running");
    let lines = entries(&house);
    assert!(lines.iter().any(|line| line.ends_with("undo.done lab/124")), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn undo_shows_a_deletion() {
    let house = House::start().await;
    let before = config(&house, "lab/125").await;
    call(&house, "guest_delete", json!({"guest": "lab/125", "plan": true})).await;
    let done = agreed(&house, "guest_delete", json!({"guest": "lab/125"})).await;
    let kept = done.object["kept"].as_str().expect("a backup").to_owned();
    assert!(house.call("guest_get", json!({"guest": "lab/125"})).await.failed);
    let back = taken_back(&house, &done).await;
    assert!(back.text.starts_with("lab/125 dev-bela is restored"), "{}", back.text);
    assert_eq!(back.object["volume"], kept.as_str(), "{}", back.text);
    let after = config(&house, "lab/125").await;
    let of = |text: &str| {
        let lines = text
            .lines()
            .filter(|line| ["memory:", "cores:", "net0 "].iter().any(|key| line.starts_with(key)));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!((of(&before), of(&before).is_empty()), (of(&after), false));
    assert_eq!(pools(&house).await[0].as_deref(), Some("lab"));
    let lines = entries(&house);
    for done in ["guest_delete.done lab/125", "undo.done lab/125 vault:backup/vm/125/"] {
        assert!(lines.iter().any(|line| line.contains(done)), "{done}: {lines:?}");
    }
    // Once.
    let again = house.call("undo", undo_of(&done)).await;
    assert!(again.failed && again.text.contains("was taken back"), "{}", again.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_was_taken_meanwhile_is_not_overwritten() {
    let house = House::start().await;
    let done = agreed(&house, "guest_delete", json!({"guest": "lab/125"})).await;
    let other = json!({"guest": "lab/9000", "name": "newcomer", "vmid": 125});
    agreed(&house, "guest_clone", other).await;
    let undo = house.call("undo", undo_of(&done)).await;
    assert!(undo.failed && undo.text.contains("lab/125 is taken"), "{}", undo.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_back_of_several_calls_is_gone_as_one_action() {
    let house = House::start().await;
    let before = pools(&house).await;
    assert_eq!(before, [Some("lab".to_owned()), None, Some("staging".to_owned())]);
    // One from each pool, and one from none.
    let args = json!({"pool": "lab/production", "action": "add", "guests": ["125", "119", "120"]});
    let done = agreed(&house, "pool_change", args).await;
    let undo = undo_of(&done);
    assert_eq!(pools(&house).await, vec![Some("production".to_owned()); 3]);
    let back = taken_back(&house, &done).await;
    assert_eq!(back.text.matches("is done").count(), 3, "{}", back.text);
    assert_eq!(pools(&house).await, before);
    let lines = entries(&house);
    let ends = lines.iter().filter(|line| line.contains("undo.done")).count();
    assert_eq!(ends, 1, "{lines:?}");
    assert!(house.call("undo", undo).await.text.contains("was taken back"));
    // What moved since is not overwritten by any of them.
    let args = json!({"pool": "lab/production", "action": "add", "guests": ["125", "120"]});
    let done = agreed(&house, "pool_change", args).await;
    let out = json!({"pool": "lab/production", "action": "remove", "guests": ["120"]});
    agreed(&house, "pool_change", out).await;
    let undo = house.call("undo", undo_of(&done)).await;
    assert!(undo.failed && undo.text.contains("something newer would be lost"), "{}", undo.text);
}
