//! Lines of the policy that refuse reads: by caller, tool and cluster, in every way to an answer.

use std::collections::BTreeMap;

use estate::Access;
use expect_test::expect;
use guard::policy::{Effect, Matchers, Pattern};
use mcp_protocol::{CallContext, Caller, CompletionRef};
use serde_json::json;

use crate::guard_house::{House, line, with_token};

fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts.iter().map(|text| Pattern::try_new(text).unwrap()).collect()
}

/// Workflows see nothing of `edge`, and nobody at all reads files out of guests.
async fn house() -> House {
    let deny = |reason: &str| Effect::Deny { reason: Some(reason.to_owned()) };
    let edge = Matchers {
        principals: patterns(&["token:*"]),
        clusters: patterns(&["edge"]),
        ..Matchers::default()
    };
    let logs = Matchers {
        tools: patterns(&["log_recent"]),
        tiers: vec![Access::Read],
        ..Matchers::default()
    };
    let rules = vec![
        line("no_edge", 1, deny("edge is a customer's"), edge),
        line("no_logs", 2, deny("logs hold names"), logs),
    ];
    House::of(rules, true).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_line_keeps_back_is_left_out_and_said() {
    let house = house().await;
    let own = house.call("guests_list", json!({"limit": 200})).await;
    assert!(own.text.contains("edge/") && !own.text.contains("no_edge"), "{}", own.text);
    let told = house.call_as("n8n", "guests_list", json!({"limit": 200})).await;
    assert!(!told.failed && told.text.contains("lab/"), "{}", told.text);
    assert!(!told.text.contains("edge/"), "{}", told.text);
    assert_eq!(
        told.object["unreachable"],
        json!([{
            "what": "edge",
            "why": "line `no_edge` refuses it: principal token:*, cluster edge, target edge; edge is a customer's",
        }])
    );
    // What is about another cluster lacks nothing.
    let lab = house.call_as("n8n", "guests_list", json!({"cluster": "lab"})).await;
    assert!(!lab.failed && !lab.text.contains("no_edge"), "{}", lab.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_not_asked() {
    let house = house().await;
    let calls = [
        ("guests_list", json!({"cluster": "edge"})),
        ("guest_get", json!({"guest": "edge/104"})),
        ("node_get", json!({"cluster": "edge", "node": "alder"})),
        ("api_read", json!({"cluster": "edge", "path": "/version"})),
        ("log_recent", json!({"cluster": "lab", "node": "alder"})),
        // A plan is an answer, too.
        ("guest_power", json!({"guest": "edge/104", "action": "start", "plan": true})),
    ];
    let mut said = String::new();
    for (tool, args) in calls {
        let answer = house.call_as("n8n", tool, args).await;
        assert!(answer.failed, "{tool}: {}", answer.text);
        said += answer.text.lines().next().unwrap();
        said.push('\n');
    }
    expect![[r#"
        guests_list: line `no_edge` refuses it: principal token:*, cluster edge, target edge; edge is a customer's
        guest_get: line `no_edge` refuses it: principal token:*, cluster edge, target edge; edge is a customer's
        node_get: line `no_edge` refuses it: principal token:*, cluster edge, target edge; edge is a customer's
        api_read: line `no_edge` refuses it: principal token:*, cluster edge, target edge; edge is a customer's
        log_recent: line `no_logs` refuses it: tool log_recent, tier read, target lab; logs hold names
        guest_power: line `no_edge` refuses it: principal token:*, cluster edge, target edge; edge is a customer's
    "#]].assert_eq(&said);
    // A bare id that only the other one has is not found, and where nobody looked is said.
    let bare = house.call_as("n8n", "guest_get", json!({"guest": "9999"})).await;
    assert!(
        bare.failed && bare.text.contains("edge was not looked at: line `no_edge`"),
        "{}",
        bare.text
    );
    // The local user is not a workflow, but logs are refused to everybody.
    let own = house.call("guest_get", json!({"guest": "edge/104"})).await;
    assert!(!own.failed, "{}", own.text);
    let logs = house.call("log_recent", json!({"cluster": "lab", "node": "alder"})).await;
    assert!(logs.failed, "{}", logs.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_and_completions_keep_to_it_as_well() {
    let house = house().await;
    let app = house.app();
    let resources = app.resources().unwrap();
    let as_token = CallContext::detached(with_token("n8n"));
    let own = CallContext::detached(Caller::new("local:0").with(guard::Principal::local(0)));
    for uri in ["proxmox://config", "proxmox://capabilities", "proxmox://status", "proxmox://nodes"]
    {
        let of = async |cx: &CallContext| {
            let contents = resources.read(cx, uri).await.unwrap();
            format!("{:?}", contents[0].body)
        };
        let (theirs, ours) = (of(&as_token).await, of(&own).await);
        assert!(ours.contains("edge"), "{uri}: {ours}");
        // Where the answer says that it lacks something it says what.
        let lacking = theirs.replace("cluster edge, target edge; edge is a customer's", "");
        let shown = lacking.contains("edge/") || lacking.contains(r#"\"key\":\"edge\""#);
        assert!(!shown, "{uri}: {theirs}");
    }
    let target = CompletionRef::Resource("proxmox://guest/{cluster}/{vmid}".to_owned());
    let offered = async |cx: &CallContext| {
        let completer = app.completer().unwrap();
        completer.complete(cx, &target, "cluster", "", &BTreeMap::new()).await.values
    };
    assert_eq!(offered(&own).await, ["edge", "lab", "vault"]);
    assert_eq!(offered(&as_token).await, ["lab", "vault"]);
    let refused = resources.read(&as_token, "proxmox://guest/edge/104").await;
    assert!(refused.is_err(), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_says_what_a_read_would_go_without() {
    let house = house().await;
    let mut said = String::new();
    for (tool, args) in [
        ("guests_list", json!({})),
        ("guests_list", json!({"cluster": "lab"})),
        ("guest_get", json!({"guest": "edge/104"})),
        ("log_recent", json!({"node": "lab/alder"})),
    ] {
        said += &house.explained("token:n8n", tool, args).await;
        said.push('\n');
    }
    expect![[r#"
        would     run at once
        line      default.read
        because   reads are allowed
        without   edge: line `no_edge` refuses it: principal token:*, cluster edge, target edge; edge is a customer's
        call      guests_list as token:n8n by http in mode guarded, read
        not       for lab: no_edge (cluster), no_logs (tool)
        not       for vault: no_edge (cluster), no_logs (tool)

        would     run at once
        line      default.read
        because   reads are allowed
        call      guests_list as token:n8n by http in mode guarded, read
        not       for lab: no_edge (cluster), no_logs (tool)

        would     be refused
        line      no_edge
        because   line `no_edge` refuses it: principal token:*, cluster edge, target edge; edge is a customer's
        call      guest_get as token:n8n by http in mode guarded, read

        would     be refused
        line      no_logs
        because   line `no_logs` refuses it: tool log_recent, tier read, target lab; logs hold names
        call      log_recent as token:n8n by http in mode guarded, read
        not       for lab: no_edge (cluster)

    "#]].assert_eq(&said);
}
