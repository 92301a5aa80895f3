//! A caller's own secrets: what is refused, asked or planned does not repeat them, however they are given.

use estate::Access;
use guard::{
    Grant, Principal, Scope,
    breaker::Limits,
    policy::{Effect, Matchers, Rule},
    ports::{ApprovalFilter, Approvals as _},
};
use mcp_protocol::Caller;
use serde_json::{Value, json};

use crate::guard_house::{House, line};

/// What every planted secret has in it.
const MARK: &str = "pLANT3d";

/// Calls with secrets: by the names of parameters, by what they are at their path, and by what they look like.
fn calls() -> Vec<(&'static str, Value)> {
    let config = "/nodes/alder/qemu/100/config";
    let api = |method: &str, path: &str, params: Value| {
        ("api_call", json!({"cluster": "lab", "method": method, "path": path, "params": params}))
    };
    let long = |text: &str| format!("{}{text}", "long words ".repeat(17));
    vec![
        api("PUT", config, json!({"cipassword": format!("a-{MARK}")})),
        api("PUT", config, json!({"description": format!("key glpat-{MARK}aB3dE6fG9hJ2kL5m")})),
        api("PUT", config, json!({"description": long(&format!("password={MARK}-{MARK}-{MARK}"))})),
        api("PUT", config, json!({"args": format!("-x --token {MARK}aB3dE6fG9hJ2kL5m")})),
        // The guest is elsewhere, and the right path is told.
        api("PUT", "/nodes/birch/qemu/100/config", json!({"cipassword": format!("b-{MARK}")})),
        api(
            "POST",
            "/nodes/birch/qemu/100/agent/file-write",
            json!({"file": "/etc/x", "content": format!("c-{MARK}")}),
        ),
        api(
            "POST",
            "/nodes/alder/qemu/100/agent/file-write",
            json!({"file": "/etc/x", "content": format!("d-{MARK}")}),
        ),
        api(
            "POST",
            "/cluster/acme/plugins",
            json!({"id": "dns1", "type": "dns", "data": format!("e{MARK}")}),
        ),
        // What is wrong with it is told, and not what it is.
        api("POST", "/cluster/acme/plugins", json!({"id": "dns1", "data": [format!("f{MARK}")]})),
        api("PUT", config, json!({"cipassword": {"g": format!("g-{MARK}")}, "cores": "none"})),
        (
            "guest_exec",
            json!({"guest": "lab/100", "command": ["mysql", "--password", format!("h-{MARK}")], "stdin": format!("i-{MARK}")}),
        ),
        (
            "guest_configure",
            json!({"guest": "lab/100", "set": {"cipassword": format!("j-{MARK}"), "cores": 3}}),
        ),
        (
            "guest_configure",
            json!({"guest": "lab/100", "set": {"description": format!("PVEAPIToken=ann@pve!x=0f5a3c1e-9d2b-4a77-8c10-{MARK}")}}),
        ),
    ]
}

/// A house in which any program may be run, and nobody is stopped for calls that fail.
async fn patient_house(rules: Vec<Rule>, is_set_up: bool) -> House {
    let mut house = House::of(rules, is_set_up).await;
    house.options.exec_allow = ["*".to_owned()].into();
    let limits = Limits { identical: u32::MAX, failing: u32::MAX, ..Limits::default() };
    house.options.guard = house.options.guard.with_limits(limits);
    house
}

/// Makes every call, and looks at all that anybody gets to see of it.
async fn nothing_is_told(house: &House, what: &str, plan: bool, caller: Option<&Caller>) {
    for (tool, mut args) in calls() {
        if plan {
            args["plan"] = true.into();
        }
        let answer = match caller {
            Some(caller) => house.call_by(caller.clone(), tool, args.clone()).await,
            None => house.call(tool, args.clone()).await,
        };
        let told = format!("{}\n{}", answer.text, Value::Object(answer.object.clone()));
        assert!(!told.contains(MARK), "{what}: {tool} {args}: {told}");
        assert!(
            !told.contains("is stopped until"),
            "{what}: it is refused for another reason: {told}"
        );
    }
    let diary = house.diary.text();
    assert!(!diary.contains(MARK), "{what}: {diary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_refusal_repeats_what_the_caller_keeps_secret() {
    // Nobody can be asked.
    let mut house = patient_house(Vec::new(), false).await;
    nothing_is_told(&house, "nobody to ask", false, None).await;
    nothing_is_told(&house, "plan", true, None).await;
    // The words that the refusal has instead, and the call where nothing is secret in it.
    let (tool, args) = calls().swap_remove(0);
    let refused = house.call(tool, args).await;
    assert!(refused.failed, "{}", refused.text);
    assert!(refused.text.contains("the same call with plan set to true"), "{}", refused.text);
    let plain = json!({"cluster": "lab", "method": "PUT", "path": "/nodes/alder/qemu/100/config", "params": {"cores": 3}});
    let refused = house.call(tool, plain).await;
    assert!(refused.text.contains(r#""params":{"cores":3},"plan":true"#), "{}", refused.text);

    house.options.guard = house.options.guard.clone().frozen(true);
    nothing_is_told(&house, "frozen", false, None).await;

    let never = vec![line(
        "never",
        1,
        Effect::Deny { reason: Some("never here".to_owned()) },
        Matchers::default(),
    )];
    let house = patient_house(never, true).await;
    nothing_is_told(&house, "denied", false, None).await;
    let principal = Principal::token("reader").unwrap();
    let scope = Scope { access: Access::Read, ..Scope::everything() };
    let grant = Grant::new(principal.clone(), scope);
    let caller = Caller::new(&principal.to_string()).with(grant);
    nothing_is_told(&house, "beyond the scope", false, Some(&caller)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_question_repeats_what_the_caller_keeps_secret() {
    let house = patient_house(Vec::new(), true).await;
    nothing_is_told(&house, "asked", false, None).await;
    let open = house.ports.approvals(&ApprovalFilter::default()).await.unwrap();
    assert!(open.len() >= 6, "people were asked: {}", open.len());
    for approval in open {
        assert!(!approval.summary.contains(MARK), "{}", approval.summary);
    }
}
