//! What the built-in lines make of calls, mode by mode and caller by caller.

use std::fmt::Write as _;

use expect_test::expect;
use guard::Mode;
use mcp_protocol::{
    Answers, CallContext, Caller, ClientCapabilities, InputAnswer, JsonObject, Outcome,
};
use serde_json::{Value, json};

use crate::guard_house::House;

/// Calls that are each judged by another line.
fn calls() -> Vec<(&'static str, Value)> {
    vec![
        ("guest_power", json!({"guest": "lab/125", "action": "start"})),
        ("snapshot_create", json!({"guest": "lab/125", "name": "a1"})),
        ("guest_power", json!({"guest": "lab/100", "action": "reboot"})),
        ("guest_power", json!({"guest": "lab/100", "action": "stop"})),
        ("execute_vm_command", json!({"vmid": 100, "cluster": "lab", "command": "stop"})),
        ("execute_vm_command", json!({"vmid": 100, "cluster": "lab", "command": "status"})),
        ("guest_delete", json!({"guest": "lab/125"})),
        (
            "api_call",
            json!({"cluster": "lab", "method": "POST", "path": "/nodes/alder/qemu/100/status/reset"}),
        ),
        ("guest_power", json!({"guest": "lab/101", "action": "shutdown"})),
    ]
}

/// What `plan: true` says of each call: nothing is done by it.
async fn decisions(house: &House, token: Option<&str>) -> String {
    let mut table = String::new();
    for (tool, mut args) in calls() {
        args["plan"] = true.into();
        let answer = match token {
            Some(token) => house.call_as(token, tool, args.clone()).await,
            None => house.call(tool, args.clone()).await,
        };
        let said = answer.text.lines().find_map(|line| line.strip_prefix("decision: "));
        let said = said.map_or_else(|| "no decision", |said| said.split(':').next().unwrap());
        let what = args.get("action").or_else(|| args.get("command"));
        let what = what.and_then(Value::as_str).unwrap_or_default();
        writeln!(table, "{tool} {what}: {said}").unwrap();
    }
    table
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_of_the_defaults() {
    let mut house = House::start().await;
    house.sim.levers().set_option("lab", 101, "protection", 1.into()).unwrap();
    expect![[r"
        guest_power start: allow (default.additive)
        snapshot_create : allow (default.additive)
        guest_power reboot: ask (default.operate)
        guest_power stop: ask (default.stop)
        execute_vm_command stop: ask (default.stop)
        execute_vm_command status: no decision
        guest_delete : ask (default.destroy)
        api_call : ask (default.stop)
        guest_power shutdown: deny (default.protected)
    "]]
    .assert_eq(&decisions(&house, None).await);
    house.options.mode = Mode::Trusted;
    expect![[r"
        guest_power start: allow (default.trusted)
        snapshot_create : allow (default.trusted)
        guest_power reboot: allow (default.trusted)
        guest_power stop: ask (default.stop)
        execute_vm_command stop: ask (default.stop)
        execute_vm_command status: no decision
        guest_delete : ask (default.destroy)
        api_call : ask (default.stop)
        guest_power shutdown: deny (default.protected)
    "]]
    .assert_eq(&decisions(&house, None).await);
    expect![[r"
        guest_power start: ask (default.http)
        snapshot_create : ask (default.http)
        guest_power reboot: ask (default.http)
        guest_power stop: ask (default.stop)
        execute_vm_command stop: ask (default.stop)
        execute_vm_command status: no decision
        guest_delete : ask (default.destroy)
        api_call : ask (default.stop)
        guest_power shutdown: deny (default.protected)
    "]]
    .assert_eq(&decisions(&house, Some("n8n")).await);
    // Nothing of that was done.
    assert!(house.diary.lines().is_empty(), "{:?}", house.diary.lines());
    assert_eq!(house.status("lab/100").await, "running");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_adds_runs_unasked_so_many_times_an_hour() {
    let house = House::start().await;
    for name in ["a1", "a2", "a3", "a4", "a5"] {
        let answer = house.call("snapshot_create", json!({"guest": "lab/125", "name": name})).await;
        assert!(!answer.failed, "{}", answer.text);
        assert_eq!(answer.object["status"], "ok", "{}", answer.text);
    }
    let begin = house.diary.payload("snapshot_create.begin");
    assert_eq!(begin["policy"], "default.additive");
    let done = house.diary.payload("snapshot_create.done");
    assert_eq!(done["state"], "done");
    assert_eq!(done["calls"][0], "lab POST /nodes/alder/qemu/125/snapshot");
    assert!(done["tasks"][0].as_str().unwrap().contains(":qmsnapshot:125:"), "{done}");
    // The sixth asks; the others' budgets are their own, and time makes room.
    let sixth = json!({"guest": "lab/125", "name": "a6"});
    let answer = house.call("snapshot_create", sixth.clone()).await;
    assert_eq!(answer.object["status"], "pending", "{}", answer.text);
    assert_eq!(answer.object["policy"], "default.budget");
    house.clock.advance(std::time::Duration::from_secs(3601));
    let answer = house.call("snapshot_create", sixth).await;
    assert_eq!(answer.object["status"], "ok", "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_no_dead_end() {
    let house = House::of(Vec::new(), false).await;
    let stop = json!({"guest": "lab/100", "action": "reboot"});
    let answer = house.call("guest_power", stop).await;
    assert!(answer.failed);
    expect![[r#"
        guest_power: nothing was done: the reboot of lab/100 web-01 needs a person's consent (`default.operate`: guest_power changes something, and no line of the policy allows it unasked; `--mode trusted` lets the local user do such things unasked), and nobody can be asked
        note: this client cannot show questions; one that supports elicitation can, and so does `proxmox-mcp call` on a terminal
        note: `proxmox-mcp approver add NAME` on a terminal sets up, once, somebody to ask
        next: guest_power {"guest":"lab/100","action":"reboot","plan":true}"#]]
    .assert_eq(&answer.text);
    assert_eq!(answer.object["error"], "forbidden");
    let mut house = House::start().await;
    house.options.mode = Mode::ReadOnly;
    let tools = mcp_tools::build_app(house.fleet.clone(), &house.options).unwrap();
    let acts = tools.tool_specs().filter(|spec| !spec.annotations.read_only).count();
    assert_eq!(acts, 0);
}

/// Calls as a client that can show questions, and answers what it is asked.
async fn in_client(house: &House, tool: &str, args: Value, yes: bool) -> Outcome {
    let mut capabilities = ClientCapabilities::default();
    capabilities.elicitation_form = true;
    let cx = CallContext::detached(Caller::new("local:0")).with_capabilities(capabilities);
    let asked = house.raw(cx.clone(), tool, args.clone()).await;
    let Outcome::Ask { inputs, state } = asked else { return asked };
    let mut fields = JsonObject::new();
    fields.insert("approve".to_owned(), yes.into());
    let by_key = [(inputs[0].key.clone(), InputAnswer::Accepted(fields))].into();
    house.raw(cx.with_answers(Answers { state, by_key }), tool, args).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_is_asked_where_policy_trusts_it() {
    let house = House::start().await;
    let reboot = json!({"guest": "lab/100", "action": "reboot"});
    let refused = in_client(&house, "guest_power", reboot.clone(), false).await;
    assert!(refused.is_failure());
    let text = refused.answer().unwrap().plain_text();
    assert!(text.contains("a person refused"), "{text}");
    let done = in_client(&house, "guest_power", reboot, true).await;
    assert!(!done.is_failure(), "{}", done.answer().unwrap().plain_text());
    let begin = house.diary.payload("guest_power.begin");
    assert_eq!(begin["consents"][0]["way"], "client");
    assert_eq!(begin["policy"], "default.operate");
    // What may lose something goes to people, not to whoever answers in the client.
    let delete = json!({"guest": "lab/125"});
    let waits = in_client(&house, "guest_delete", delete, true).await;
    let answer = waits.answer().expect("no question in the client");
    assert!(answer.structured.as_ref().unwrap().contains_key("approval_id"), "{answer:?}");
    assert_eq!(house.status("lab/125").await, "stopped");
}
