//! Everything that can be read, asked once.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use event_core::{
    Event, Kind, Severity, Subject,
    desk::{SaidBy, SilenceView},
};
use jiff::Timestamp;
use mcp_protocol::{App, CallContext, JsonObject, Outcome, ResourceBody};
use mcp_tools::{build_app, tools::TOOLSETS};
use proxmox_sim::TaskSpec;
use serde_json::{Value, json};

use crate::{estate::Estate, fake_desk::FakeDesk, surface::options};

/// An answer as it leaves.
pub(super) struct Said {
    /// What was asked.
    pub(super) asked: String,
    pub(super) failed: bool,
    pub(super) text: String,
    pub(super) object: Value,
}

/// The estate and the program over it.
pub(super) struct Reader {
    pub(super) estate: Estate,
    pub(super) app: App,
    /// Tasks that failed, one on each product.
    pub(super) tasks: Vec<(&'static str, String)>,
}

/// What is asked of tools that have to be told what about, and of others beside what they say of
/// everything.
const QUESTIONS: &[(&str, &str)] = &[
    ("access_explain", r#"{"cluster": "lab", "path": "/vms/104"}"#),
    ("access_explain", r#"{"cluster": "lab", "who": "mcp@pve"}"#),
    ("api_describe", r#"{"path": "/nodes/{node}/qemu/{vmid}/config", "method": "GET"}"#),
    ("api_find", r#"{"query": "snapshot description"}"#),
    ("api_read", r#"{"cluster": "lab", "path": "/cluster/resources"}"#),
    ("backup_copies", r#"{"guest": "lab/104"}"#),
    (
        "backup_file_get",
        r#"{"guest": "lab/104", "path": "/drive-scsi0.img.fidx/part/1/etc/hostname"}"#,
    ),
    ("backup_files", r#"{"guest": "lab/104"}"#),
    ("backup_files", r#"{"guest": "lab/104", "path": "/drive-scsi0.img.fidx/part/1/etc"}"#),
    ("backup_snapshots", r#"{"group": "vm/104", "cluster": "vault", "datastore": "main"}"#),
    ("backup_status", r#"{"view": "all"}"#),
    ("backup_status", r#"{"view": "jobs"}"#),
    ("backup_overdue", r#"{"all": true}"#),
    ("ceph_health", r#"{"all": true}"#),
    ("check_node_health", r#"{"node": "lab/alder"}"#),
    ("events_search", r#"{"event": "1"}"#),
    ("events_search", r#"{"event": "3"}"#),
    ("events_search", r#"{"limit": 200}"#),
    ("events_wait", r#"{"cursor": "0"}"#),
    ("incident_get", r#"{"incident": "0f1e2d3c"}"#),
    ("disks_list", r#"{"node": "lab/alder", "disk": "/dev/nvme0n1"}"#),
    ("firewall_get", r#"{"cluster": "lab", "guest": "lab/104"}"#),
    ("firewall_get", r#"{"cluster": "lab"}"#),
    ("firewall_match", r#"{"guest": "lab/104", "direction": "in", "proto": "tcp", "port": 22}"#),
    ("get_network_info", r#"{"node": "lab/alder"}"#),
    ("get_node_status", r#"{"node": "lab/alder"}"#),
    ("get_node_tasks", r#"{"node": "lab/alder"}"#),
    (
        "guest_get",
        r#"{"guest": "lab/104", "include": ["status", "config", "snapshots", "addresses", "backup"]}"#,
    ),
    (
        "guest_get",
        r#"{"guest": "lab/121", "include": ["status", "config", "snapshots", "backup"]}"#,
    ),
    ("guests_list", r#"{"cluster": "lab", "limit": 200}"#),
    ("guests_list", r#"{"text": "db", "sort": "name"}"#),
    ("log_recent", r#"{"cluster": "lab", "limit": 200}"#),
    ("network_get", r#"{"node": "lab/alder"}"#),
    ("network_list", r#"{"node": "lab/alder"}"#),
    ("node_get", r#"{"node": "lab/alder"}"#),
    ("node_journal", r#"{"node": "lab/alder", "limit": 100}"#),
    ("pools_list", r#"{"cluster": "lab", "pool": "production"}"#),
    ("services_list", r#"{"all": true}"#),
    ("snapshot_list", r#"{"guest": "lab/104"}"#),
    ("storage_content", r#"{"storage": "nas", "cluster": "lab"}"#),
    ("storage_list", r#"{"cluster": "lab", "storage": "nas"}"#),
    ("tasks_list", r#"{"limit": 100}"#),
    ("tasks_list", r#"{"state": "failed", "limit": 100, "since": "30d"}"#),
];

/// What stands for a parameter of a path, in the order in which it is tried.
const PLACES: &[(&str, &[&str])] = &[
    ("node", &["alder", "birch", "cedar", "vault"]),
    ("vmid", &["104", "9000", "106", "121", "130", "100"]),
    ("snapname", &["weekly-1", "before-upgrade"]),
    ("id", &["backup-production", "113-0", "main-daily", "main-weekly", "main-to-archive"]),
    ("rule", &["db-at-home"]),
    ("storage", &["nas", "local"]),
    ("store", &["main"]),
    ("name", &["hook", "main", "offsite", "default-matcher", "rpool"]),
    ("userid", &["mcp@pve", "mcp@pbs", "root@pam"]),
    ("tokenid", &["agent"]),
    ("token-name", &["agent"]),
    ("groupid", &["admins"]),
    ("roleid", &["PVEAuditor"]),
    ("realm", &["pam"]),
    ("poolid", &["production"]),
    ("service", &["pvedaemon", "proxmox-backup"]),
    ("iface", &["vmbr0"]),
    ("pos", &["0"]),
    ("sid", &["vm:104"]),
    ("group", &["web"]),
];

/// What some paths have to be told: how they end, and what.
const QUERIES: &[(&str, &str)] = &[
    ("/cloudinit/dump", r#"{"type": "user"}"#),
    ("/group-notes", r#"{"backup-type": "vm", "backup-id": "104", "ns": "lab"}"#),
];

/// A pipeline that has heard every attack there is, in every field that others write.
fn hostile(now: Timestamp) -> Arc<FakeDesk> {
    let desk = FakeDesk::sample(now);
    let mut members = vec![1];
    for attack in testkit::hostile::attacks() {
        let text = attack.text.as_str();
        let subject = Subject {
            cluster: Some("lab".parse().expect("a key")),
            vmid: Some("104".parse().expect("an id")),
            guest_name: Some(text.to_owned()),
            job: Some(text.to_owned()),
            user: Some(text.to_owned()),
            namespace: Some(text.to_owned()),
            ..Subject::default()
        };
        let source = "syslog".parse().expect("a name");
        let event = Event::builder(&source, "syslog", text, Kind::TaskFailed, now)
            .severity(Severity::Error)
            .subject(subject)
            .title(text)
            .message(text)
            .raw(text.as_bytes())
            .label("said", text)
            .build(now);
        members.push(desk.keep(event));
        let mut books = desk.books();
        books.silences.push(SilenceView {
            name: text.to_owned(),
            when: Some(text.to_owned()),
            until: now,
            author: text.to_owned(),
            reason: text.to_owned(),
        });
        let view = &mut books.incidents[0].0;
        let said = SaidBy { by: text.to_owned(), at: now };
        (view.title, view.acknowledged, view.closed) =
            (text.to_owned(), Some(said.clone()), Some(said));
        view.held = json!({"discord": text, "mail": text});
        view.problems.push(json!({
            "title": text, "kind": "task.failed", "severity": "error", "where": text,
            "began": now.to_string(), "last": text, "times": 1, "over": null,
        }));
    }
    desk.books().incidents[0].1 = members;
    desk
}

// === impl Reader ===

impl Reader {
    pub(super) async fn start() -> Self {
        let estate = Estate::start("operator").await;
        let mut options = options("all");
        options.events = Some(hostile(estate.cx.now()));
        // Nothing comes that could be waited for.
        options.task_wait = Duration::from_secs(1);
        // Asking for everything fails now and then; nobody runs away here.
        let limits = guard::breaker::Limits { failing: u32::MAX, ..Default::default() };
        options.guard = options.guard.with_limits(limits);
        let app = build_app(Arc::clone(&estate.cx.fleet), &options).expect("a catalogue");
        // A webhook with a secret, as operators have them.
        let hook = json!({
            "cluster": "lab", "method": "POST", "path": "/cluster/notifications/endpoints/webhook",
            "params": {"name": "hook", "method": "post", "url": "https://hook.example/", "secret": ["name=key,value=eA=="]},
        });
        let made = estate.ask("api_call", hook).await;
        assert!(!made.failed, "{}", made.text);
        let levers = estate.sim.levers();
        let mut spec =
            TaskSpec::finished("vzdump", "104", "backup of VM 104 failed - it is planted");
        spec.log = vec!["INFO: starting the backup".to_owned(), "ERROR: it is planted".to_owned()];
        spec.ended_secs_ago = 600;
        let tasks = [("lab", "alder"), ("vault", "vault")].map(|(target, node)| {
            (target, levers.add_task(target, node, &spec).expect("a task is added"))
        });
        Self { estate, app, tasks: tasks.into() }
    }

    /// Calls a tool as a client does.
    pub(super) async fn call(&self, tool: &str, args: JsonObject) -> Said {
        let asked = format!("{tool} {}", json!(args));
        let cx = CallContext::detached(self.app.caller().clone());
        let outcome = self
            .app
            .call_tool(&cx, tool, args)
            .await
            .unwrap_or_else(|error| panic!("{asked}: {error}"));
        let failed = matches!(outcome, Outcome::Failed(_));
        let answer = outcome.answer().unwrap_or_else(|| panic!("{asked} asks back"));
        let object = Value::Object(answer.structured.clone().unwrap_or_default());
        Said { asked, failed, text: answer.plain_text(), object }
    }

    /// Every tool that reads: as it is, and with what it has to be told.
    pub(super) async fn tools(&self) -> Vec<Said> {
        let mut asked = BTreeSet::new();
        let (mut out, mut unfit) = (Vec::new(), Vec::new());
        for (tool, args) in QUESTIONS {
            let args = serde_json::from_str(args).expect("arguments are JSON");
            let said = self.call(tool, args).await;
            if said.failed {
                unfit.push(format!("{}: {}", said.asked, said.text));
            }
            out.push(said);
            asked.insert((*tool).to_owned());
        }
        // Of tasks, those that are there: the failed ones, with logs that say why.
        for (cluster, upid) in &self.tasks {
            for tool in ["task_get", "task_wait"] {
                let args = mcp_protocol::schema_object(json!({"upid": upid, "cluster": cluster}));
                out.push(self.call(tool, args).await);
                asked.insert(tool.to_owned());
            }
        }
        // Those of consent are about this program, and some of them act on it.
        let of_estate = TOOLSETS.iter().filter(|toolset| toolset.name != "guard");
        for tool in of_estate.flat_map(|toolset| toolset.tools) {
            let definition = tool.definition();
            if definition.access != estate::Access::Read {
                continue;
            }
            let schema = definition.input.build();
            let required = schema.get("required").and_then(Value::as_array);
            if required.is_none_or(Vec::is_empty) {
                out.push(self.call(definition.name, JsonObject::new()).await);
                asked.insert(definition.name.to_owned());
            }
            assert!(asked.contains(definition.name), "ask {} something here", definition.name);
        }
        assert!(unfit.is_empty(), "these questions are none any more:\n{}", unfit.join("\n"));
        out
    }

    /// Every path of the API that the simulator answers, through `api_read`.
    pub(super) async fn paths(&self) -> Vec<(String, Said)> {
        let mut out = Vec::new();
        for target in ["lab", "vault"] {
            for template in self.estate.sim.readable(target) {
                for path in self.filled(target, &template) {
                    let query = QUERIES.iter().find(|(end, _)| template.ends_with(end));
                    let query: Value = query.map_or(json!({}), |(_, query)| {
                        serde_json::from_str(query).expect("a query is JSON")
                    });
                    let args =
                        json!({"cluster": target, "path": path, "query": query, "limit": 1000});
                    let said = self.call("api_read", mcp_protocol::schema_object(args)).await;
                    let found = !said.failed;
                    out.push((template.clone(), said));
                    if found {
                        break;
                    }
                }
            }
        }
        out
    }

    /// Every resource, and one of each family.
    pub(super) async fn resources(&self) -> Vec<Said> {
        let cx = CallContext::detached(self.app.caller().clone());
        let resources = self.app.resources().expect("there are resources");
        let listed = resources.list(&cx).await.expect("a list");
        let mut uris: Vec<String> = listed.into_iter().map(|resource| resource.uri).collect();
        for uri in [
            "guest/lab/104",
            "guest/lab/121",
            "node/lab/alder",
            "storage/lab/nas",
            "incident/0f1e2d3c",
            "events/1",
        ] {
            uris.push(format!("proxmox://{uri}"));
        }
        let mut out = Vec::new();
        for uri in uris {
            let contents =
                resources.read(&cx, &uri).await.unwrap_or_else(|error| panic!("{uri}: {error}"));
            let ResourceBody::Text(text) = &contents[0].body else { panic!("{uri} is text") };
            let object = serde_json::from_str(text).expect("a document");
            out.push(Said { asked: uri, failed: false, text: String::new(), object });
        }
        out
    }

    /// A path with its parameters filled in, in every way that may fit.
    fn filled(&self, target: &str, template: &str) -> Vec<String> {
        let upids = self.tasks.iter().filter(|(at, _)| *at == target);
        let upids: Vec<&str> = upids.map(|(_, upid)| upid.as_str()).collect();
        let mut paths = vec![template.to_owned()];
        while let Some(open) = paths[0].find('{') {
            let close = paths[0].find('}').expect("a brace that closes");
            let name = paths[0][open + 1..close].to_owned();
            let places = PLACES.iter().find(|(known, _)| *known == name);
            let places = match name.as_str() {
                "upid" => &upids,
                _ => places.map_or(&["x"][..], |(_, places)| *places),
            };
            let marker = format!("{{{name}}}");
            paths = places
                .iter()
                .flat_map(|place| paths.iter().map(|path| path.replacen(&marker, place, 1)))
                .collect();
        }
        paths
    }
}
