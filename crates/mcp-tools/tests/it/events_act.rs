//! What people and models do about incidents, by the way of every change.

use std::sync::Arc;

use guard::{Scope, ports::ApprovalState, ports::Freezes};
use mcp_protocol::CallContext;
use mcp_tools::gate::Ran;
use serde_json::{Value, json};

use crate::{
    fake_desk::{BACKUP, FakeDesk, NODE},
    guard_house::House,
};

async fn house() -> (House, Arc<FakeDesk>) {
    let mut house = House::start().await;
    let desk = FakeDesk::sample(house.fleet_now());
    house.options.events = Some(desk.clone());
    (house, desk)
}

fn silence(more: Value) -> Value {
    let mut args = json!({
        "silence": "nightly", "reason": "the vault is moved", "until": "2h", "cluster": "lab",
    });
    let Value::Object(more) = more else { panic!("an object") };
    args.as_object_mut().unwrap().extend(more);
    args
}

#[tokio::test(flavor = "multi_thread")]
async fn taking_an_incident_runs_and_is_written_down() {
    let (house, desk) = house().await;
    let answer = house.call("incident_acknowledge", json!({"incident": "0f1e"})).await;
    assert!(!answer.failed, "{}", answer.text);
    assert!(answer.text.starts_with("incident 0f1e2d3c is acknowledged"), "{}", answer.text);
    assert_eq!(answer.object["incident"], BACKUP);
    assert_eq!(desk.books().incidents[0].0.acknowledged.as_ref().unwrap().by, "local:0");
    assert_eq!(
        house.diary.lines(),
        ["local:0 incident_acknowledge.begin 0f1e", "local:0 incident_acknowledge.done 0f1e"]
    );
    let again = house.call("incident_acknowledge", json!({"incident": BACKUP})).await;
    assert!(again.text.starts_with("local:0 acknowledged incident 0f1e2d3c"), "{}", again.text);
    // Of the worst, somebody is asked.
    let id = house.asks("incident_acknowledge", json!({"incident": NODE})).await;
    house.decide(id, "ann", true).await;
    let Ok(Ran::Run(ran)) = house.gate().run_approved(id).await else { panic!("it runs") };
    assert_eq!(ran.state, ApprovalState::Done);
    assert!(desk.books().incidents[1].0.acknowledged.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_an_incident_asks_and_is_void_if_it_moved() {
    let (house, desk) = house().await;
    let planned = house.call("incident_resolve", json!({"incident": "0f1e", "plan": true})).await;
    assert!(planned.text.contains("POST_/event-pipeline/incidents/0f1e"), "{}", planned.text);
    assert!(planned.text.contains("decision: ask (default.operate)"), "{}", planned.text);
    let id = house.asks("incident_resolve", json!({"incident": "0f1e"})).await;
    assert!(desk.books().incidents[0].0.is_open);
    let question = house.approval(id).await.summary;
    assert!(question.contains("end of incident 0f1e2d3c (backup.failed)"), "{question}");
    house.decide(id, "ann", true).await;
    // It is worse by now than what was agreed to.
    "critical".clone_into(&mut desk.books().incidents[0].0.severity);
    let Ok(Ran::Moved { void, next }) = house.gate().run_approved(id).await else {
        panic!("it must not run")
    };
    let why = void.void_reason.unwrap();
    assert!(why.contains("severity") && desk.books().incidents[0].0.is_open, "{why}");
    let next = next.expect("a new question").id;
    house.decide(next, "ann", true).await;
    let Ok(Ran::Run(_)) = house.gate().run_approved(next).await else { panic!("it runs") };
    let closed = desk.books().incidents[0].0.clone();
    assert!(!closed.is_open && closed.closed.unwrap().by == "local:0");
    let lines = house.diary.lines();
    assert!(lines.contains(&"local:0 incident_resolve.done 0f1e".to_owned()), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silence_is_asked_for_bounded_and_taken_back() {
    let (house, desk) = house().await;
    let args = silence(json!({"kinds": ["backup"], "when": "event.vmid == 104 // the database"}));
    let id = house.asks("silence_set", args).await;
    let question = house.approval(id).await.summary;
    for line in [
        "nobody is told for 2h of what is described here, unless it is critical",
        "cluster: lab",
        "kinds: backup",
        "when: event.vmid == 104 // the database",
        "reason: the vault is moved",
    ] {
        assert!(question.contains(&format!("- {line}\n")), "{line}: {question}");
    }
    assert_eq!(desk.books().silences.len(), 1);
    house.decide(id, "ann", true).await;
    let Ok(Ran::Run(ran)) = house.gate().run_approved(id).await else { panic!("it runs") };
    assert_eq!(ran.state, ApprovalState::Done);
    let set = desk.books().silences[1].clone();
    assert_eq!((set.name.as_str(), set.author.as_str()), ("nightly", "local:0"));
    let when = set.when.unwrap();
    assert_eq!(
        when,
        "event.severity != 'critical' && !(event.family in ['auth', 'user', 'change', 'monitor', \
         'input', 'output']) && event.cluster == 'lab' && (event.family == 'backup') && \
         (\nevent.vmid == 104 // the database\n)"
    );
    let opening = house.diary.payload("silence_set.begin");
    assert_eq!(opening["arguments"]["reason"], "the vault is moved");
    // One's own is ended without a question; that of somebody else is not.
    let ended = house.call("silence_end", json!({"silence": "nightly"})).await;
    assert!(ended.text.starts_with("silence nightly has ended"), "{}", ended.text);
    house.asks("silence_end", json!({"silence": "disk_swap"})).await;
    assert_eq!(desk.books().silences.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_silence_covers_more_than_it_may() {
    let (house, desk) = house().await;
    for (more, why) in [
        (json!({"until": "25h"}), "24 h at most"),
        (json!({"until": "2020-01-01T00:00:00Z"}), "is over already"),
        (json!({"cluster": ""}), "would hide everything"),
        (json!({"kinds": ["auth"]}), "no tool silences `auth`"),
        (json!({"kinds": ["change.made"]}), "no tool silences `change.made`"),
        (json!({"when": "true) || (true"}), "`when` cannot be meant"),
        (json!({"when": "event."}), "`when` cannot be meant"),
        (json!({"cluster": "nowhere"}), "no cluster or backup server is called"),
        (json!({"reason": " "}), "the reason is empty"),
        (json!({"silence": "a b"}), "no name of a silence"),
        (json!({"silence": "disk_swap"}), "holds already"),
    ] {
        let answer = house.call("silence_set", silence(more.clone())).await;
        assert!(answer.failed && answer.text.contains(why), "{more}: {}", answer.text);
    }
    assert_eq!(desk.books().silences.len(), 1);
    // What nobody may change, nobody may hide.
    let freeze = guard::ports::Freeze {
        by: guard::Principal::local(4711),
        since: house.fleet_now(),
        until: None,
        reason: "an audit".to_owned(),
    };
    house.ports.freeze(freeze).await.unwrap();
    let answer = house.call("silence_set", silence(json!({}))).await;
    assert!(answer.failed && answer.text.contains("an audit"), "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_silences_its_own_cluster_alone() {
    let (mut house, desk) = house().await;
    let scope: Scope = "operate,cluster:lab".parse().unwrap();
    house.options.scope = Some(scope);
    let answer = house.call("silence_set", silence(json!({"cluster": "", "kinds": ["gc"]}))).await;
    assert!(answer.failed && answer.text.contains("silences one of them"), "{}", answer.text);
    let answer = house.call("silence_set", silence(json!({"cluster": "edge"}))).await;
    assert!(answer.failed && !answer.text.contains("give one of edge"), "{}", answer.text);
    house.asks("silence_set", silence(json!({}))).await;
    // What it does not see it neither takes nor ends.
    for tool in ["incident_acknowledge", "incident_resolve"] {
        let answer = house.call(tool, json!({"incident": NODE})).await;
        assert!(
            answer.failed && answer.text.contains("there is none of that name"),
            "{}",
            answer.text
        );
    }
    let answer = house.call("silence_end", json!({"silence": "disk_swap"})).await;
    assert!(answer.failed && answer.text.contains("no silence is called"), "{}", answer.text);
    assert_eq!(desk.books().silences.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_goes_out_without_secrets_and_under_both_names() {
    let (house, desk) = house().await;
    let secret = "glpat-abcdefghij0123456789KLMNOP";
    let text = format!("the token is {secret}\nmore");
    let sent = house.call("notification_send", json!({"text": text, "severity": "warning"})).await;
    assert!(sent.text.contains("on its way over discord, mail"), "{}", sent.text);
    let args = json!({"message": "hello", "title": "", "severity": "info"});
    let sent = house.call("send_notification", args).await;
    assert!(!sent.failed && sent.object["sent"] == true, "{}", sent.text);
    {
        let books = desk.books();
        let [(first, by), (second, _)] = books.sent.as_slice() else { panic!("two are sent") };
        assert!(!first.text.contains(secret) && !first.title.contains(secret), "{first:?}");
        assert_eq!((first.severity.as_str(), by.as_str()), ("warning", "local:0"));
        assert_eq!((second.title.as_str(), second.text.as_str()), ("hello", "hello"));
    }
    for (args, why) in [
        (json!({"text": "x", "outputs": ["pager"]}), "no output is called pager"),
        (json!({"text": " "}), "there is nothing to send"),
        (json!({"text": "x".repeat(5000)}), "more than 4000 characters"),
    ] {
        let answer = house.call("notification_send", args).await;
        assert!(answer.failed && answer.text.contains(why), "{}", answer.text);
    }
    desk.books().outputs.clear();
    let answer = house.call("send_notification", json!({"message": "hello"})).await;
    assert!(answer.failed && answer.text.contains("no output is configured"), "{}", answer.text);
    assert_eq!(answer.object["sent"], false);
    // A line of the policy that speaks of the one name speaks of the other, too.
    let said = house.explained("local:0", "send_notification", json!({"message": "hello"})).await;
    assert!(said.contains("call      send_notification"), "{said}");
    assert!(said.contains("notification over all outputs"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_only_reads_is_not_offered_what_acts() {
    let (mut house, _desk) = house().await;
    house.options.mode = guard::Mode::ReadOnly;
    house.options.toolsets = vec!["events".to_owned()];
    let names: Vec<String> = house.app().tool_specs().map(|spec| spec.name.clone()).collect();
    let reads = [
        "events_search",
        "events_wait",
        "events_stats",
        "incidents_list",
        "incident_get",
        "silences_list",
    ];
    assert!(reads.iter().all(|name| names.iter().any(|it| it == name)), "{names:?}");
    assert!(!names.iter().any(|name| name == "silence_set"), "{names:?}");
    let cx = CallContext::detached(house.app().caller().clone());
    let refused = house.app().call_tool(&cx, "silence_set", mcp_protocol::JsonObject::new()).await;
    assert!(refused.is_err());
}
