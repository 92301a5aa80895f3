//! The catalogue as clients get it: schemas as goldens, suggestions that work, secrets that stay.

use std::{sync::Arc, time::Duration};

use estate::Access;
use guard::policy::{Defaults, Effect, Matchers, Policy, Rule};
use mcp_protocol::{App, CallContext, JsonObject, Outcome};
use mcp_tools::{Options, build_app, fleet::Fleet, gate::Guard, redaction::Redaction};
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
        guard: permissive(),
        process: mcp_tools::process::Process::new(),
        observer: None,
        events: None,
        exec_allow: Vec::new(),
    }
}

/// A policy that lets everything run that can be taken back, whoever asks, and
/// asks in the client for the rest: for tests of what comes after the gate.
pub(crate) fn permissive() -> Guard {
    let line = |name: &str, order, effect, matchers| Rule {
        name: name.to_owned(),
        order,
        about: None,
        matchers,
        effect,
    };
    let ask = Effect::Ask { of: Vec::new(), count: 1, within: None, client: Some(true) };
    let tier = |tier| Matchers { tiers: vec![tier], ..Matchers::default() };
    // One that is protected may be named only by itself.
    let one = |vmid: &str| Matchers {
        clusters: vec!["lab".parse().expect("a name")],
        vmids: vec![vmid.parse().expect("an id")],
        protected: true,
        ..tier(Access::Operate)
    };
    let lost = Matchers { protected: true, ..tier(Access::Destroy) };
    let allow = Effect::Allow { per_hour: None };
    let rules = vec![
        line("db_main", 1, allow.clone(), one("104")),
        line("erp", 2, allow.clone(), one("109")),
        line("operate", 3, allow, tier(Access::Operate)),
        line("destroy", 4, ask, lost),
    ];
    let policy = Policy::try_new(rules, Defaults::default()).expect("four lines");
    Guard::new(Arc::new(policy))
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

/// Calls, and follows what the answers suggest, twice deep: a suggestion that is refused for its
/// arguments would send a model astray. What would change something is only planned. Returns the
/// tools that were suggested.
async fn follow(estate: &Estate, roots: Vec<(&str, Value)>) -> Vec<String> {
    let app = app(Arc::clone(&estate.cx.fleet));
    let ask = async |tool: &str, args: JsonObject| {
        let cx = CallContext::detached(app.caller().clone());
        app.call_tool(&cx, tool, args).await.unwrap_or_else(|error| panic!("{tool}: {error}"))
    };
    let mut queue: Vec<(String, JsonObject, u8)> = Vec::new();
    for (tool, args) in roots {
        queue.push((tool.to_owned(), mcp_protocol::schema_object(args), 0));
    }
    let mut followed = Vec::new();
    while let Some((tool, mut args, depth)) = queue.pop() {
        if depth > 0 && crate::estate::tool(&tool).as_action().is_some() {
            args.insert("plan".to_owned(), true.into());
        }
        let shown = format!("{tool} {}", json!(args));
        let outcome = ask(&tool, args).await;
        let answer = outcome.answer().unwrap_or_else(|| panic!("{shown} asks"));
        let text = answer.plain_text();
        assert!(!text.contains("was not called"), "{shown}: {text}");
        if depth > 0 {
            assert!(matches!(outcome, Outcome::Done(_)), "{shown}: {text}");
            followed.push(tool.clone());
        }
        let next = answer.structured.as_ref().and_then(|object| object.get("next"));
        for call in next.and_then(Value::as_array).into_iter().flatten().filter(|_| depth < 2) {
            let args = mcp_protocol::schema_object(call["args"].clone());
            queue.push((call["tool"].as_str().unwrap().to_owned(), args, depth + 1));
        }
    }
    followed
}

#[tokio::test(flavor = "multi_thread")]
async fn every_suggestion_is_a_call_that_works() {
    let estate = Estate::start("agent").await;
    let followed = follow(&estate, vec![
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
    ])
    .await;
    assert!(followed.len() >= 8, "only {followed:?} were met");
}

/// The same for what changes things, and for what it says when it refuses.
#[tokio::test(flavor = "multi_thread")]
async fn every_suggestion_of_an_action_is_a_call_that_works() {
    let estate = Estate::start("operator").await;
    let image = "https://download.example/rocky/Rocky-10-GenericCloud-Base.latest.x86_64.qcow2";
    let guests = follow(
        &estate,
        vec![
            (
                "guest_create",
                json!({"name": "x1", "cluster": "lab", "image": image, "start": false}),
            ),
            ("guest_create", json!({"name": "x2", "cluster": "lab"})),
            (
                "container_create",
                json!({"name": "x3", "cluster": "lab", "template": "alpine-3.23"}),
            ),
            ("container_create", json!({"name": "x4", "cluster": "lab"})),
            ("guest_clone", json!({"guest": "lab/9000", "name": "x5"})),
            ("guest_configure", json!({"guest": "lab/100", "set": {"cores": 6}})),
            (
                "guest_configure",
                json!({"guest": "lab/100", "set": {"cores": 7}, "digest": "0".repeat(40)}),
            ),
            ("disk_resize", json!({"guest": "lab/119", "size": "+1G"})),
            ("disk_move", json!({"guest": "lab/119", "storage": "ceph-vm"})),
            ("guest_migrate", json!({"guest": "lab/106", "target": "cedar"})),
            ("guest_migrate", json!({"guest": "lab/108", "target": "alder"})),
            ("snapshot_rollback", json!({"guest": "lab/104", "name": "weekly"})),
            ("snapshot_delete", json!({"guest": "lab/104", "name": "weekly-1"})),
            ("guest_template", json!({"guest": "lab/100"})),
            ("guest_delete", json!({"guest": "lab/100"})),
            ("guest_exec", json!({"guest": "lab/100", "command": ["cat"]})),
            ("guest_console", json!({"guest": "lab/119"})),
            ("guests_power", json!({"action": "start", "guests": "lab/125,lab/104"})),
        ],
    )
    .await;
    let backup = follow(
        &estate,
        vec![
            ("backup_overdue", json!({})),
            ("backup_copies", json!({"guest": "lab/104"})),
            ("namespaces_list", json!({})),
            ("backup_run", json!({"guests": ["lab/104"], "storage": "vault"})),
            ("backup_restore", json!({"guest": "lab/100", "from": "vault"})),
            ("backup_restore", json!({"guest": "lab/100", "over": true})),
            ("restore_rehearsal", json!({"guest": "lab/104", "from": "vault"})),
            ("backup_verify", json!({"guest": "lab/106", "again": true})),
            ("backup_prune", json!({"guest": "lab/104", "keep_last": 1})),
            (
                "backup_annotate",
                json!({"guest": "lab/104", "from": "vault", "time": "latest", "notes": "x"}),
            ),
            ("datastore_gc", json!({"datastore": "main", "action": "status"})),
            ("sync_run", json!({"job": "main-to-archive"})),
            ("backup_jobs", json!({})),
            (
                "backup_job_change",
                json!({"cluster": "vault", "kind": "prune", "action": "update",
            "job": "main-daily", "set": {"keep-daily": 2}}),
            ),
            ("backup_files", json!({"guest": "lab/104", "from": "vault"})),
            (
                "namespace_change",
                json!({"datastore": "main", "namespace": "a/b", "action": "create"}),
            ),
            ("datastore_maintenance", json!({"datastore": "main", "mode": "read-only"})),
            ("datastore_maintenance", json!({"datastore": "main", "mode": "off"})),
        ],
    )
    .await;
    let others = follow(&estate, vec![
        ("storage_content", json!({"storage": "ceph-vm", "limit": 3})),
        ("storage_forecast", json!({})),
        ("storage_upload", json!({"storage": "lab/local", "node": "alder", "filename": "seed.iso", "text": "x"})),
        ("storage_download", json!({"url": "https://example.org/debian.iso", "storage": "lab/local", "node": "alder"})),
        ("volume_delete", json!({"volume": "lab/local:iso/nothing.iso", "node": "alder"})),
        ("network_get", json!({"node": "lab/birch"})),
        ("network_change", json!({"node": "lab/birch", "interface": "vmbr0", "action": "set", "mtu": 9000})),
        ("network_apply", json!({"node": "lab/birch", "plan": true})),
        ("sdn_list", json!({"cluster": "lab"})),
        ("firewall_get", json!({"guest": "lab/100"})),
        ("firewall_match", json!({"guest": "lab/100", "proto": "tcp", "port": 443})),
        ("firewall_rule_change", json!({"guest": "lab/100", "action": "delete"})),
        ("firewall_rule_change", json!({"guest": "lab/100", "action": "delete", "pos": 77})),
        ("firewall_options_change", json!({"guest": "lab/100", "set": {"dhcp": true}})),
    ])
    .await;
    let api = follow(&estate, vec![
        ("api_find", json!({"query": "resize disk"})),
        ("api_find", json!({"query": "prune", "product": "pbs"})),
        ("api_describe", json!({"path": "/nodes/{node}/qemu/{vmid}/config"})),
        ("api_describe", json!({"path": "/nodes/{node}/qemu/{vmid}/config", "method": "PUT", "param": "nothing"})),
        ("api_describe", json!({"path": "/nodes/x/frobnicate"})),
        ("api_read", json!({"cluster": "lab", "path": "/cluster/resources", "limit": 3})),
        ("api_read", json!({"cluster": "lab", "path": "/nodes/alder/lxc/104/config"})),
        ("api_read", json!({"cluster": "lab", "path": "/cluster/resorces"})),
        ("api_call", json!({"cluster": "lab", "method": "POST",
            "path": "/nodes/birch/qemu/104/snapshot", "params": {"snapname": "before"}})),
        ("api_call", json!({"cluster": "lab", "method": "PUT",
            "path": "/nodes/birch/qemu/104/config", "params": {"coresx": 2}})),
        ("api_call", json!({"cluster": "lab", "method": "POST",
            "path": "/nodes/alder/qemu/104/snapshot", "params": {"snapname": "x1"}})),
    ])
    .await;
    for (toolset, followed) in
        [("guests", guests), ("backup", backup), ("others", others), ("api", api)]
    {
        println!("{toolset}: {followed:?}");
        assert!(followed.len() >= 4, "{toolset}: only {followed:?} were met");
    }
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

/// Columns can be chosen in every list, and the next page keeps the choice.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_cut_to_the_columns_that_are_asked_for() {
    let estate = Estate::start("agent").await;
    let app = app(Arc::clone(&estate.cx.fleet));
    let ask = async |tool: &str, args: Value| {
        let cx = CallContext::detached(app.caller().clone());
        app.call_tool(&cx, tool, mcp_protocol::schema_object(args)).await.unwrap()
    };
    for (tool, table, args, fields) in [
        ("guests_list", "guests", json!({"limit": 3}), "status,guest"),
        ("tasks_list", "tasks", json!({"limit": 3}), "upid,result"),
        ("storage_list", "storages", json!({}), "storage,used"),
        ("backup_snapshots", "groups", json!({"limit": 3}), "group,newest"),
        ("storage_content", "volumes", json!({"storage": "ceph-vm", "limit": 3}), "volume,size"),
    ] {
        let whole = ask(tool, args.clone()).await;
        let whole = whole.answer().unwrap().clone();
        let text = whole.plain_text();
        let mut args = args;
        args["fields"] = fields.into();
        let outcome = ask(tool, args).await;
        let Outcome::Done(answer) = outcome else { panic!("{tool}: {outcome:?}") };
        let object = answer.structured.clone().unwrap();
        assert_eq!(
            object[table]["columns"],
            json!(fields.split(',').collect::<Vec<_>>()),
            "{tool}"
        );
        let rows = object[table]["rows"].as_array().unwrap();
        assert!(!rows.is_empty() && rows.iter().all(|row| row.as_array().unwrap().len() == 2));
        assert_eq!(rows.len(), whole.structured.unwrap()[table]["rows"].as_array().unwrap().len());
        assert!(answer.plain_text().len() < text.len(), "{tool}");
        if let Some(next) = object.get("next").and_then(|next| {
            next.as_array()?.iter().find(|call| call["args"]["cursor"].is_string())
        }) {
            assert_eq!(next["args"]["fields"], fields, "{tool}");
            let more = ask(tool, next["args"].clone()).await;
            let Outcome::Done(more) = more else { panic!("{tool}: {more:?}") };
            assert_eq!(more.structured.unwrap()[table]["columns"], object[table]["columns"]);
        }
    }
    let Outcome::Failed(answer) = ask("guests_list", json!({"fields": "guest,colour"})).await
    else {
        panic!("there is no such column")
    };
    let text = answer.plain_text();
    assert!(
        text.contains("no column is called `colour`") && text.contains("guest, name"),
        "{text}"
    );
    // A limit that is no page of rows is the nearest that is one.
    let Outcome::Done(answer) = ask("guests_list", json!({"limit": 0})).await else { panic!() };
    assert_eq!(answer.structured.unwrap()["guests"]["rows"].as_array().unwrap().len(), 1);
}
