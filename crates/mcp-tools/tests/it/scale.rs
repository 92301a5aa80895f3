//! What a list costs does not grow with the estate: ten times as many guests, the same bytes.

use std::{collections::BTreeSet, sync::Arc};

use mcp_protocol::{CallContext, Outcome};
use mcp_tools::{build_app, tools::TOOLSETS};
use proxmox_sim::{EstateKind, SimConfig};
use serde_json::{Value, json};

use crate::{estate::Estate, surface::options};

const NODES: u32 = 3;
/// A page of guests, ten pages, and more than anybody reads.
const SIZES: [u32; 3] = [60, 600, 2400];

/// What may be longer where there is more: figures with more digits, a cursor, a line that says how
/// much more there is.
const SLACK: usize = 700;

/// Every tool that lists something, with a question that has an answer in both estates.
fn questions() -> Vec<(&'static str, Value)> {
    vec![
        ("fleet_overview", json!({})),
        ("guests_list", json!({})),
        ("guests_list", json!({"tag": "prod"})),
        ("nodes_list", json!({})),
        ("node_get", json!({"node": "node001"})),
        ("storage_list", json!({})),
        ("storage_list", json!({"storage": "ceph-vm"})),
        ("tasks_list", json!({})),
        ("backup_status", json!({})),
        ("backup_snapshots", json!({})),
        ("network_list", json!({"node": "node001"})),
        ("cluster_status", json!({})),
        ("log_recent", json!({})),
        ("snapshot_list", json!({"guest": "1000"})),
        ("backup_overdue", json!({})),
        ("backup_copies", json!({"guest": "1000"})),
        ("backup_jobs", json!({})),
        ("namespaces_list", json!({})),
        ("storage_content", json!({"storage": "ceph-vm"})),
        ("storage_forecast", json!({})),
        ("network_get", json!({"node": "node001"})),
        ("sdn_list", json!({})),
        ("firewall_get", json!({"cluster": "lab"})),
        ("ha_list", json!({})),
        ("replication_list", json!({})),
        ("ceph_health", json!({})),
        ("pools_list", json!({})),
        ("pools_list", json!({"pool": "production"})),
        ("tags_list", json!({})),
        ("users_list", json!({})),
        ("access_explain", json!({"cluster": "lab", "path": "/vms/1000"})),
        ("certificates_list", json!({})),
        ("updates_list", json!({})),
        ("disks_list", json!({})),
        ("services_list", json!({})),
        ("node_journal", json!({"node": "node001"})),
        ("get_cluster_status", json!({})),
        ("get_nodes", json!({})),
        ("get_node_status", json!({})),
        ("get_vms", json!({})),
        ("get_lxcs", json!({})),
        ("get_storage", json!({})),
        ("get_node_tasks", json!({})),
        ("get_backup_info", json!({})),
        ("get_network_info", json!({})),
        ("check_node_health", json!({})),
        ("api_find", json!({"query": "move a disk"})),
        ("api_read", json!({"cluster": "lab", "path": "/cluster/resources"})),
    ]
}

/// Questions about a part of the estate, which in the smallest one is less than a page; and those with a
/// longer page. They stop growing a little later.
const LATER: &[&str] = &[
    r#"guests_list {"tag":"prod"}"#,
    r#"pools_list {"pool":"production"}"#,
    r#"api_read {"cluster":"lab","path":"/cluster/resources"}"#,
];

/// The earlier server's names: its clients know no cursor, so they get what fits under the ceiling.
const WHOLE: &[&str] = &["get_vms {}", "get_lxcs {}", "get_backup_info {}"];

/// Tools whose answer is about one thing that is named, however large the estate.
const OF_ONE: &[&str] = &[
    "guest_get",
    "task_get",
    "task_wait",
    "firewall_match",
    "api_describe",
    "backup_files",
    "backup_file_get",
    "send_notification",
    "approval_wait",
    "approvals_list",
    "freeze",
    "change_confirm",
    // What they tell is as long as what was heard, whatever the estate is: see `events_look`.
    "events_search",
    "events_wait",
    "events_stats",
    "incidents_list",
    "incident_get",
    "silences_list",
];

/// The longer of an answer's two forms, for each question.
async fn costs(guests: u32) -> Vec<(String, usize)> {
    let kind = EstateKind::Scale { nodes: NODES, guests };
    let config = SimConfig::fast().with_estate(kind);
    let estate = Estate::of(config, "operator", mcp_tools::DEFAULT_CEILING).await;
    let fleet = Arc::clone(&estate.cx.fleet);
    let app = build_app(fleet, &options("all")).expect("the catalogue is consistent");
    let mut costs = Vec::new();
    for (tool, args) in questions() {
        let shown = format!("{tool} {args}");
        let cx = CallContext::detached(app.caller().clone());
        let args = mcp_protocol::schema_object(args);
        let outcome = app.call_tool(&cx, tool, args).await.expect("a known tool");
        // An estate without a backup server has no snapshots to list, and says so.
        let (Outcome::Done(answer) | Outcome::Failed(answer)) = outcome else {
            panic!("{shown} asks")
        };
        let object = answer.structured.clone().unwrap_or_default();
        let longer = answer.plain_text().len().max(Value::Object(object).to_string().len());
        assert!(longer <= mcp_tools::DEFAULT_CEILING, "{shown}: {longer}");
        costs.push((shown, longer));
    }
    costs
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_times_the_guests_cost_the_same_bytes() {
    let [few, many, all] = [costs(SIZES[0]).await, costs(SIZES[1]).await, costs(SIZES[2]).await];
    let mut grown = Vec::new();
    for ((question, few), ((_, many), (_, all))) in few.iter().zip(many.iter().zip(&all)) {
        println!("{few:>6} {many:>6} {all:>6} {question}");
        let is_later = LATER.contains(&question.as_str());
        let is_whole = WHOLE.contains(&question.as_str());
        let grows = *many > *few + SLACK && !is_later || *all > *many + SLACK;
        if grows && !is_whole {
            grown.push(format!("{question}: {few}, {many}, {all} bytes for {SIZES:?} guests"));
        }
    }
    assert!(grown.is_empty(), "{}", grown.join("\n"));

    // A list that joins later has to be looked at too.
    let asked: BTreeSet<&str> = questions().iter().map(|(tool, _)| *tool).collect();
    for tool in TOOLSETS.iter().flat_map(|toolset| toolset.tools) {
        let name = tool.definition().name;
        let is_looked_at = asked.contains(name) || OF_ONE.contains(&name);
        assert!(is_looked_at || tool.as_action().is_some(), "{name} is not asked");
    }
}
