//! Who is told of what: scopes, lines of the policy, documents, and those who watch them.

use std::{sync::Arc, time::Duration};

use event_core::{Kind, Severity, Subject};
use guard::{
    Scope,
    policy::{Effect, Matchers},
};
use mcp_protocol::{CallContext, ResourceBody, ResourceError};
use mcp_tools::{build_app, watch};
use serde_json::{Value, json};

use crate::{
    estate::Estate,
    fake_desk::{BACKUP, FakeDesk, NODE, OUTPUT, incident},
    guard_house::{House, line, with_token},
    surface::options,
    wire::Wire,
};

const QUESTIONS: &[(&str, &str)] = &[
    ("events_search", "{}"),
    ("events_stats", "{}"),
    ("events_wait", r#"{"cursor": "0", "timeout_s": 1}"#),
    ("incidents_list", "{}"),
    ("silences_list", "{}"),
];

async fn house(rules: Vec<guard::policy::Rule>) -> (House, Arc<FakeDesk>) {
    let mut house = House::of(rules, true).await;
    let desk = FakeDesk::sample(house.fleet_now());
    house.options.events = Some(desk.clone());
    (house, desk)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_is_told_of_its_own_clusters_and_what_is_left_out() {
    let (mut house, desk) = house(Vec::new()).await;
    let scope: Scope = "read,cluster:lab,cluster:vault".parse().unwrap();
    house.options.scope = Some(scope);
    for (tool, args) in QUESTIONS {
        let answer = house.call(tool, serde_json::from_str(args).unwrap()).await;
        assert!(!answer.failed, "{tool}: {}", answer.text);
        let hidden = ["edge/", "node.offline", "output.down", "disk_swap"];
        let told = hidden.iter().find(|word| answer.text.contains(*word));
        assert_eq!(told, None, "{tool}: {}", answer.text);
        assert!(
            answer.text.contains("you are told of lab, vault alone"),
            "{tool}: {}",
            answer.text
        );
    }
    for id in [NODE, OUTPUT] {
        let answer = house.call("incident_get", json!({"incident": id})).await;
        assert!(answer.failed && answer.text.contains("none of that name"), "{}", answer.text);
    }
    for event in ["4", "5"] {
        let answer = house.call("events_search", json!({"event": event})).await;
        assert!(answer.failed && answer.object["error"] == "not_found", "{}", answer.text);
    }
    let own = house.call("incident_get", json!({"incident": BACKUP})).await;
    assert!(!own.failed && own.text.contains("backup of 104 failed"), "{}", own.text);
    // An incident of its own with a part that is another's.
    {
        let mut books = desk.books();
        let (view, members) = &mut books.incidents[0];
        members.push(4);
        view.problems.push(json!({
            "title": "a neighbour", "kind": "node.offline", "severity": "error",
            "where": "edge/alder", "began": null, "last": null, "times": 1, "over": null,
        }));
    }
    let own = house.call("incident_get", json!({"incident": BACKUP})).await;
    assert!(!own.text.contains("edge/") && !own.text.contains("neighbour"), "{}", own.text);
    assert!(own.text.contains("1 report of other clusters left out"), "{}", own.text);
}

/// However much others have, one's own is found.
#[tokio::test(flavor = "multi_thread")]
async fn a_scope_is_not_crowded_out() {
    let (mut house, desk) = house(Vec::new()).await;
    let now = house.fleet_now();
    let subject = Subject { cluster: Some("edge".parse().unwrap()), ..Subject::default() };
    for at in 0..300_u32 {
        let kind = Kind::TaskFailed;
        desk.hear("tasks", kind, Severity::Error, subject.clone(), now, "");
        let mut it = incident(&format!("c{at:031x}"), "error", "task.failed", now);
        it.cluster = Some("edge".to_owned());
        desk.books().incidents.push((it, Vec::new()));
    }
    for scope in ["read,cluster:lab", "read,cluster:lab,cluster:vault"] {
        house.options.scope = Some(scope.parse().unwrap());
        let found = house.call("events_search", json!({"kinds": ["backup"]})).await;
        assert!(found.text.starts_with("2 events"), "{scope}: {}", found.text);
        let found = house.call("incidents_list", json!({"limit": 5})).await;
        assert!(found.text.starts_with("1 open incident"), "{scope}: {}", found.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_refuses_a_cluster_refuses_its_events() {
    let edge = Matchers {
        principals: vec!["token:*".parse().unwrap()],
        clusters: vec!["edge".parse().unwrap()],
        ..Matchers::default()
    };
    let deny = Effect::Deny { reason: Some("edge is a customer's".to_owned()) };
    let (house, _desk) = house(vec![line("no_edge", 1, deny, edge)]).await;
    for (tool, args) in QUESTIONS {
        let own = house.call(tool, serde_json::from_str(args).unwrap()).await;
        let told = house.call_as("n8n", tool, serde_json::from_str(args).unwrap()).await;
        assert!(!own.failed && !told.failed, "{tool}: {}", told.text);
        assert!(!told.text.contains("node.offline"), "{tool}: {}", told.text);
        assert!(told.text.contains("unreachable: edge (line `no_edge`"), "{tool}: {}", told.text);
        assert!(!own.text.contains("no_edge"), "{tool}: {}", own.text);
    }
    let told = house.call_as("n8n", "events_search", json!({"cluster": "edge"})).await;
    assert!(told.failed && told.text.contains("no_edge"), "{}", told.text);
    let app = house.app();
    let cx = CallContext::detached(with_token("n8n"));
    let read = app.resources().unwrap().read(&cx, "proxmox://incidents").await.unwrap();
    let ResourceBody::Text(text) = &read[0].body else { panic!("text") };
    assert!(text.contains("backup.failed") && !text.contains("node.offline"), "{text}");
    let read = app.resources().unwrap().read(&cx, "proxmox://live").await.unwrap();
    let ResourceBody::Text(text) = &read[0].body else { panic!("text") };
    assert!(!text.contains("edge"), "{text}");
    let uri = format!("proxmox://incident/{NODE}");
    let error = app.resources().unwrap().read(&cx, &uri).await.unwrap_err();
    assert!(matches!(error, ResourceError::NotFound { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn incidents_and_events_are_documents() {
    let estate = Estate::start("agent").await;
    let desk = FakeDesk::sample(estate.cx.now());
    let mut options = options("events");
    options.events = Some(desk.clone());
    let app = build_app(Arc::clone(&estate.cx.fleet), &options).unwrap();
    let cx = CallContext::detached(app.caller().clone());
    let resources = app.resources().unwrap();
    let read = async |uri: &str| {
        let contents = resources.read(&cx, uri).await.unwrap();
        let ResourceBody::Text(text) = &contents[0].body else { panic!("text") };
        serde_json::from_str::<Value>(text).unwrap()
    };
    let all = read("proxmox://incidents").await;
    assert_eq!(all["incidents"]["rows"].as_array().unwrap().len(), 3);
    assert_eq!(read("proxmox://incident/0f1e").await["incident"], BACKUP);
    assert_eq!(read("proxmox://events/3").await["event"]["kind"], "gc.finished");
    for uri in ["proxmox://incident/ff", "proxmox://events/99", "proxmox://events"] {
        let error = resources.read(&cx, uri).await.unwrap_err();
        assert!(matches!(error, ResourceError::NotFound { .. }), "{uri}: {error}");
    }
    let live = read("proxmox://live").await;
    let facts = live["facts"].as_array().unwrap();
    let offline = facts.iter().find(|it| it["what"] == "node").unwrap();
    assert_eq!(
        (&offline["fact"], &offline["source"]),
        (&"state".into(), &"tasks (node.offline)".into())
    );
    assert!(offline["age_secs"].is_u64() && offline["at"].is_string(), "{offline}");
    // Whom nobody answers is not told that all is well.
    desk.books().is_away = true;
    let away = read("proxmox://incidents").await;
    let note = away["note"].as_str().unwrap();
    assert!(away["incidents"].is_null() && note.contains("connect to the manager"), "{away}");
    assert!(note.contains("start `proxmox-manager`"), "{away}");
    let templates = resources.templates(&cx).await.unwrap();
    let uris: Vec<&str> = templates.iter().map(|it| it.uri_template.as_str()).collect();
    assert!(uris.contains(&"proxmox://incident/{id}") && uris.contains(&"proxmox://events/{id}"));
}

/// The pipeline says that something is new, and the document is read at once: its own time would be
/// in an hour.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_watches_incidents_is_told_when_there_is_one() {
    let estate = Estate::start("agent").await;
    let desk = FakeDesk::sample(estate.cx.now());
    let mut options = options("events");
    options.events = Some(desk.clone());
    let app = build_app(Arc::clone(&estate.cx.fleet), &options).unwrap();
    let hour = Duration::from_hours(1);
    tokio::spawn(watch::watch(&app, hour, options.events.clone()));
    let mut client = Wire::connect(app).await;
    client.ask("resources/subscribe", json!({"uri": "proxmox://incidents"})).await;
    // A change before the first reading is none, so there are some more until one is seen.
    let mut told = None;
    for at in 0..20_u32 {
        let it = incident(&format!("d{at:031x}"), "error", "task.failed", estate.cx.now());
        desk.books().incidents.push((it, Vec::new()));
        desk.tell();
        let hears = client.hear("notifications/resources/updated");
        told = tokio::time::timeout(Duration::from_secs(2), hears).await.ok();
        if told.is_some() {
            break;
        }
    }
    assert_eq!(told.expect("it was told")["uri"], "proxmox://incidents");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_prompt_looks_at_the_incident_that_is_named() {
    let estate = Estate::start("agent").await;
    let app = build_app(Arc::clone(&estate.cx.fleet), &options("events")).unwrap();
    let mut client = Wire::connect(app).await;
    let mut get = async |args: Value| {
        let params = json!({"name": "proxmox_incident_response", "arguments": args});
        client.ask("prompts/get", params).await.to_string()
    };
    let reply = get(json!({"incident": "0f1e"})).await;
    assert!(reply.contains("incident_get with incident"), "{reply}");
    let reply = get(json!({"symptom": "it is slow"})).await;
    assert!(reply.contains("it is slow") && !reply.contains("incident_get with"), "{reply}");
    // Neither of the two is an error.
    assert_eq!(get(json!({})).await, "null");
}
