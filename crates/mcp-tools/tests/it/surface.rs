//! The catalogue as clients get it: schemas as goldens, suggestions that work, secrets that stay.

use std::{sync::Arc, time::Duration};

use mcp_protocol::{App, CallContext, JsonObject, Outcome};
use mcp_tools::{Options, build_app, fleet::Fleet, redaction::Redaction};
use serde_json::{Value, json};

use crate::estate::Estate;

pub(crate) fn options(toolset: &str) -> Options {
    Options {
        mode: guard::Mode::Trusted,
        toolsets: vec![toolset.to_owned()],
        ceiling: mcp_tools::DEFAULT_CEILING,
        task_wait: Duration::from_secs(45),
        version: "0.0.0".to_owned(),
        principal: guard::Principal::local(0),
        redaction: Redaction::default(),
        journal: None,
        jobs: None,
        scope: None,
        guard: mcp_tools::gate::Guard::default(),
        process: mcp_tools::process::Process::new(),
        observer: None,
        exec_allow: Vec::new(),
    }
}

fn app(fleet: Arc<Fleet>) -> App {
    build_app(fleet, &options("all")).expect("the catalogue is consistent")
}

#[test]
fn each_tool_is_what_its_golden_says() {
    let fleet = Arc::new(Fleet::new(stdx::SystemClock::shared()));
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tools");
    let mut names = Vec::new();
    for spec in app(fleet).tool_specs() {
        let hints = spec.annotations;
        let golden = json!({
            "name": spec.name, "title": spec.title, "description": spec.description,
            "inputSchema": spec.input_schema, "outputSchema": spec.output_schema,
            "annotations": {
                "readOnly": hints.read_only, "destructive": hints.destructive,
                "idempotent": hints.idempotent, "openWorld": hints.open_world,
            },
        });
        let text = format!("{}\n", serde_json::to_string_pretty(&golden).unwrap());
        expect_test::expect_file![folder.join(format!("{}.json", spec.name))].assert_eq(&text);
        names.push(format!("{}.json", spec.name));
        // What clients choke on: references and alternatives at the root, nested objects.
        let properties = spec.input_schema["properties"].as_object().unwrap();
        assert!(
            !spec.input_schema.contains_key("$ref") && !spec.input_schema.contains_key("oneOf")
        );
        // An object of anything is taken by all of them; one with properties of its own is not.
        assert!(
            properties.values().all(|property| property["properties"].is_null()),
            "{}",
            spec.name
        );
    }
    for entry in std::fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(names.contains(&name), "{name} is the golden of no tool");
    }
}

/// Calls, and follows what the answer suggests, twice deep: a suggestion that is refused for its
/// arguments would send a model astray.
#[tokio::test(flavor = "multi_thread")]
async fn every_suggestion_is_a_call_that_works() {
    let estate = Estate::start("agent").await;
    let app = app(Arc::clone(&estate.cx.fleet));
    let ask = async |tool: &str, args: JsonObject| {
        let cx = CallContext::detached(app.caller().clone());
        app.call_tool(&cx, tool, args).await.unwrap_or_else(|error| panic!("{tool}: {error}"))
    };
    let mut queue: Vec<(String, JsonObject, u8)> = Vec::new();
    for (tool, args) in [
        ("fleet_overview", json!({})),
        ("guests_list", json!({"limit": 5})),
        (
            "guest_get",
            json!({"guest": "lab/104", "include": ["status", "config", "snapshots", "addresses", "backup"]}),
        ),
        ("snapshot_list", json!({"guest": "lab/104"})),
        ("nodes_list", json!({})),
        ("node_get", json!({"node": "lab/alder"})),
        ("storage_list", json!({"cluster": "lab", "storage": "nas"})),
        ("tasks_list", json!({"limit": 3})),
        ("backup_status", json!({"limit": 3})),
        ("backup_snapshots", json!({"limit": 3})),
        ("network_list", json!({"node": "lab/alder"})),
        ("cluster_status", json!({})),
        ("log_recent", json!({"limit": 3})),
        ("guest_get", json!({"guest": "104"})),
        ("guest_get", json!({"guest": "lab/99999"})),
    ] {
        queue.push((tool.to_owned(), mcp_protocol::schema_object(args), 0));
    }
    let mut followed = 0;
    while let Some((tool, args, depth)) = queue.pop() {
        let shown = format!("{tool} {}", json!(args));
        let outcome = ask(&tool, args).await;
        let answer = outcome.answer().unwrap_or_else(|| panic!("{shown} asks"));
        let text = answer.plain_text();
        assert!(!text.contains("was not called"), "{shown}: {text}");
        if depth > 0 {
            assert!(matches!(outcome, Outcome::Done(_)), "{shown}: {text}");
            followed += 1;
        }
        let next = answer.structured.as_ref().and_then(|object| object.get("next"));
        for call in next.and_then(Value::as_array).into_iter().flatten().filter(|_| depth < 2) {
            let args = mcp_protocol::schema_object(call["args"].clone());
            queue.push((call["tool"].as_str().unwrap().to_owned(), args, depth + 1));
        }
    }
    assert!(followed >= 8, "only {followed} suggestions were met");
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_read_and_unknown_ones_do_not() {
    let estate = Estate::start("readonly").await;
    let app = app(Arc::clone(&estate.cx.fleet));
    let cx = CallContext::detached(app.caller().clone());
    let resources = app.resources().expect("there are resources");
    for resource in resources.list(&cx).await.unwrap() {
        let contents = resources.read(&cx, &resource.uri).await.unwrap();
        let mcp_protocol::ResourceBody::Text(text) = &contents[0].body else { panic!("no text") };
        let value: Value = serde_json::from_str(text).unwrap();
        assert!(value.is_object(), "{}", resource.uri);
    }
    let guest = resources.read(&cx, "proxmox://guest/lab/104").await.unwrap();
    let mcp_protocol::ResourceBody::Text(text) = &guest[0].body else { panic!("no text") };
    assert!(text.contains("db-main"), "{text}");
    for uri in [
        "proxmox://nothing",
        "proxmox://guest/lab",
        "proxmox://guest/lab/99999",
        "proxmox://guest/nowhere/104",
        "http://lab/",
        "proxmox://guest/lab/104/config",
    ] {
        let error = resources.read(&cx, uri).await.expect_err(uri);
        assert!(matches!(error, mcp_protocol::ResourceError::NotFound { .. }), "{uri}: {error}");
    }
    // Nobody answers for it, so nobody knows that it is not there.
    estate.sim.levers().node_offline("edge", "alder", true).unwrap();
    for uri in ["proxmox://guest/edge/99999", "proxmox://node/edge/alder"] {
        let error = resources.read(&cx, uri).await.expect_err(uri);
        let is_away = matches!(error, mcp_protocol::ResourceError::Unavailable { .. });
        assert!(is_away, "{uri}: {error}");
    }
}
