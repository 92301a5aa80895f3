//! From a task of the estate, and from what is posted, to a message; through a kill and a new start.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Output;
use std::sync::{Arc, Mutex};

use event_core::Event;
use event_core::desk::{EventQuery, IncidentQuery};
use proxmox_sim::TaskSpec;
use serde_json::{Value, json};
use testkit::{Progress, wait_for};

use crate::support::{Account, House, LONG, can_run_mcp, said};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Somebody who is told: bodies as they came.
#[derive(Clone, Default)]
pub(crate) struct Ops(Arc<Mutex<Vec<Value>>>);

impl Ops {
    /// Listens on a port of its own, for as long as the test runs.
    pub(crate) fn listen() -> (Self, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let ops = Self::default();
        let told = ops.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let told = told.clone();
                std::thread::spawn(move || told.answer(stream.unwrap()));
            }
        });
        (ops, port)
    }

    fn answer(&self, mut stream: TcpStream) {
        loop {
            let Some((head, body)) = read_request(&mut stream) else { return };
            if head.starts_with("POST") {
                self.0.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
            }
            if stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").is_err() {
                return;
            }
        }
    }

    /// What was told, as `stand title`.
    fn told(&self) -> Vec<String> {
        let told = self.0.lock().unwrap();
        let line = |it: &Value| {
            let text = |key: &str| it[key].as_str().unwrap_or_default().to_owned();
            format!("{} {}", text("stand"), text("title"))
        };
        told.iter().map(line).collect()
    }

    pub(crate) async fn wait_for(&self, what: &str) {
        wait_for(what, LONG, async || {
            let told = self.told();
            if told.iter().any(|line| line.contains(what)) {
                Progress::Ready(())
            } else {
                Progress::Pending(format!("{told:?}"))
            }
        })
        .await;
    }
}

fn read_request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
            });
            let whole = end + 4 + length.unwrap_or(0);
            if bytes.len() >= whole {
                return Some((head, bytes[end + 4..whole].to_vec()));
            }
        }
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&buffer[..count]);
    }
}

/// Posts, and gives the status.
fn post(port: u16, secret: &str, body: &Value) -> u16 {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let body = body.to_string();
    let head = format!(
        "POST /hooks/hook/lab HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {secret}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// What the manager counts, by name and labels, without the prefix of all names.
fn metrics(port: u16) -> BTreeMap<String, f64> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let of_us = answer.lines().filter_map(|line| line.strip_prefix("proxmox_mcp_"));
    let samples = of_us.filter_map(|line| line.rsplit_once(' '));
    samples.map(|(series, value)| (series.to_owned(), value.parse().unwrap())).collect()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn run(house: &House, args: &[&str]) -> (i32, String) {
    let mut command = house.mcp(Account::Own, args);
    let output: Output =
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    said(&output)
}

#[tokio::test(flavor = "multi_thread")]
async fn from_a_failed_backup_to_a_message_and_through_a_kill() {
    if !can_run_mcp() {
        return;
    }
    let (ops, told_at) = Ops::listen();
    let listen = free_port();
    let house = House::new("http = true\n").await;
    let secret = house.write_private(Account::Own, "hook.secret", SECRET);
    house.add_settings(&format!(
        "[http]\nlisten = \"127.0.0.1:{listen}\"\nmetrics_public = true\n\
         [events]\nwait_secs = 1\nupdate_secs = 1\nzone = \"UTC\"\n\
         [input.look]\ntype = \"tasks\"\nbusy_secs = 1\ncalm_secs = 1\n\
         [input.hook]\ntype = \"webhook\"\n\
         [input.hook.hook.lab]\nsecret_file = \"{}\"\ncluster = \"lab\"\n\
         [output.ops]\ntype = \"webhook\"\nurl = \"http://127.0.0.1:{told_at}/\"\n",
        secret.display()
    ));
    let (manager, client) = house.start().await;
    // It has looked once: what happens from now on is news.
    wait_for("the first look", LONG, async || {
        let health = client.events_health().await.unwrap();
        let looks = |it: &&event_core::desk::InputView| it.kind == "tasks";
        if health.inputs.iter().filter(looks).all(|it| it.alive.is_some()) {
            Progress::Ready(())
        } else {
            Progress::Pending(format!("{health:?}"))
        }
    })
    .await;
    let levers = house.sim.levers();
    levers.add_task("lab", "alder", &TaskSpec::finished("vzdump", "104", "job errors")).unwrap();
    ops.wait_for("new vzdump of 104 failed").await;

    let (code, text) = run(&house, &["incidents", "list"]).await;
    assert!(code == 0 && text.contains("open") && text.contains("vzdump of 104 failed"), "{text}");
    let query = IncidentQuery { open: Some(true), ..IncidentQuery::default() };
    let open = client.incidents(query).await.unwrap();
    let ours = open.iter().find(|it| it.title.contains("vzdump of 104 failed")).unwrap();
    let (code, text) = run(&house, &["incidents", "ack", &ours.id[..8]]).await;
    assert!(code == 0 && text.contains("is yours"), "{text}");
    // What would become of a change to it is said with what the manager knows.
    let which = format!("incident={}", &ours.id[..8]);
    let explain = ["policy", "explain", "--tool", "incident_resolve", &which];
    let (_, text) = run(&house, &explain).await;
    assert!(text.contains("end of incident") && text.contains("touches   lab"), "{text}");
    let (_, text) = run(&house, &["incidents", "show", &ours.id]).await;
    assert!(text.contains("acknowledged") && text.contains("backup.failed"), "{text}");

    // Posted: with the secret, and without.
    let body = json!({
        "title": "Package updates available (cedar)", "message": "3 of them", "severity": "info",
        "timestamp": 1_796_000_000, "fields": {"type": "package-updates", "hostname": "cedar"},
    });
    let blocking = |secret: &'static str, body: Value| {
        tokio::task::spawn_blocking(move || post(listen, secret, &body))
    };
    assert_eq!(blocking("a guess", body.clone()).await.unwrap(), 401);
    assert_eq!(blocking(SECRET, body).await.unwrap(), 200);
    let shown = tokio::task::spawn_blocking(move || metrics(listen)).await.unwrap();
    for (series, least) in [
        (r#"events_received_total{input="hook",family="updates"}"#, 1.0),
        (r#"events_received_total{input="look_lab",family="backup"}"#, 1.0),
        (r#"events_duplicate_total{input="hook"}"#, 0.0),
        (r#"events_echoed_total{input="hook"}"#, 0.0),
        (r#"events_refused_total{input="hook"}"#, 0.0),
        (r#"input_up{input="hook",kind="webhook"}"#, 1.0),
        ("store_away", 0.0),
        ("spool_events", 0.0),
        ("spool_bytes", 0.0),
        ("spool_max_bytes", 1.0),
        ("events_put_aside_total", 0.0),
        (r#"messages_total{output="ops",outcome="delivered"}"#, 1.0),
        (r#"messages_total{output="ops",outcome="dead"}"#, 0.0),
        (r#"outbox_messages{output="ops"}"#, 0.0),
        (r#"outbox_oldest_seconds{output="ops"}"#, 0.0),
        (r#"outbox_dead_letters{output="ops"}"#, 0.0),
        (r#"output_up{output="ops"}"#, 1.0),
        ("incidents_open", 1.0),
        ("event_log_failures_total", 0.0),
        ("event_latency_seconds_count", 2.0),
        (r#"event_latency_seconds_bucket{le="+Inf"}"#, 2.0),
    ] {
        let value = shown.get(series).unwrap_or_else(|| panic!("no {series} in {shown:?}"));
        assert!(*value >= least, "{series} is {value}");
    }
    let listed = include_str!("../../../../docs/guide/http.md");
    for series in shown.keys() {
        let name = series.split('{').next().unwrap();
        let is_listed = |name: &str| listed.contains(&format!("`proxmox_mcp_{name}`"));
        let parts = ["_bucket", "_sum", "_count"].map(|part| name.strip_suffix(part));
        let is_part = parts.into_iter().flatten().any(is_listed);
        assert!(is_listed(name) || is_part, "{name} is missing in docs/guide/http.md");
    }
    let (code, text) = run(&house, &["events", "list", "--kind", "updates", "--limit", "5"]).await;
    assert!(code == 0 && text.contains("updates.available"), "{text}");
    let (code, text) = run(&house, &["events", "status"]).await;
    assert!(code == 0 && text.contains("ops") && text.contains("tells"), "{text}");

    // Killed and started again, it tells nobody twice, and hears what came meanwhile.
    let before = ops.told();
    manager.signal("KILL");
    manager.ended().await;
    levers.add_task("lab", "alder", &TaskSpec::finished("vzdump", "104", "OK")).unwrap();
    let (manager, client) = house.start().await;
    ops.wait_for("resolved Resolved: vzdump of 104 failed").await;
    let news = |line: &&String| line.starts_with("new ");
    assert_eq!(
        ops.told().iter().filter(news).count(),
        before.iter().filter(news).count(),
        "{:?}",
        ops.told()
    );
    let found = EventQuery { kinds: vec!["backup.failed".to_owned()], ..EventQuery::default() };
    let found = client.find_events(found).await.unwrap().events;
    let ours = |it: &&event_core::Logged| it.event.title.contains("vzdump of 104 failed");
    assert_eq!(found.iter().filter(ours).count(), 1, "{found:?}");

    // The rules are read anew, and what is told by hand goes out.
    manager.signal("HUP");
    let (code, text) = run(&house, &["events", "send", "maintenance at ten", "--to", "ops"]).await;
    assert!(code == 0 && text.contains("in the outbox of ops"), "{text}");
    ops.wait_for("new maintenance at ten").await;
    let (code, text) = run(&house, &["rules", "replay", "--since", "1d"]).await;
    assert!(code == 0 && text.contains("events:"), "{text}");
    manager.signal("TERM");
    let output = manager.ended().await;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_we_began_is_known_as_ours_and_its_failure_says_who_asked() {
    if !can_run_mcp() {
        return;
    }
    let (ops, told_at) = Ops::listen();
    let house = House::new("").await;
    house.add_settings(&format!(
        "[events]\nwait_secs = 1\nzone = \"UTC\"\n\
         [input.look]\ntype = \"tasks\"\nbusy_secs = 1\ncalm_secs = 1\n\
         [output.ops]\ntype = \"webhook\"\nurl = \"http://127.0.0.1:{told_at}/\"\n\
         [policy.tests]\norder = 1\ndecision = \"allow\"\nprincipal = \"local:*\"\n\
         tier = [\"read\", \"operate\"]\n"
    ));
    let (manager, client) = house.start().await;
    wait_for("the first look", LONG, async || {
        let health = client.events_health().await.unwrap();
        let mut looks = health.inputs.iter().filter(|it| it.kind == "tasks");
        if looks.all(|it| it.alive.is_some()) {
            Progress::Ready(())
        } else {
            Progress::Pending(format!("{health:?}"))
        }
    })
    .await;
    let shutdown = ["call", "guest_power", "guest=lab/124", "action=shutdown"];
    house
        .sim
        .levers()
        .fail_next_task("lab", Some("qmshutdown"), "VM quit/powerdown failed")
        .unwrap();
    let (code, text) = run(&house, &shutdown).await;
    assert!(code != 0 && text.contains("powerdown failed"), "{text}");
    ops.wait_for("124").await;
    let event = async |kind: &str| -> Event {
        let kinds = vec![kind.to_owned()];
        let query = EventQuery { kinds, vmid: Some(124), ..EventQuery::default() };
        wait_for(kind, LONG, async || {
            let found = client.find_events(query.clone()).await.unwrap().events;
            match found.into_iter().next() {
                Some(logged) => Progress::Ready(logged.event),
                None => Progress::Pending("nothing yet".to_owned()),
            }
        })
        .await
    };
    let failed = event("task.failed").await;
    let me = format!("local:{}", Account::Own.uid());
    assert_eq!(failed.labels.get("asked_by"), Some(&me), "{failed:?}");
    let plan = failed.labels.get("plan").cloned().unwrap_or_default();
    let run_id = failed.labels.get("run").cloned().unwrap_or_default();
    let told = ops.0.lock().unwrap().clone();
    let of_it = told.iter().find(|it| it["title"].as_str().unwrap_or_default().contains("124"));
    let fields = of_it.unwrap()["fields"].to_string();
    for part in [&me, &plan, &run_id] {
        assert!(!part.is_empty() && fields.contains(part.as_str()), "{part} in {fields}");
    }
    // What goes well is known as ours, and no news.
    let before = ops.told().len();
    let (code, text) = run(&house, &shutdown).await;
    assert_eq!(code, 0, "{text}");
    let stopped = event("guest.stopped").await;
    assert_eq!(stopped.labels.get("asked_by"), Some(&me), "{stopped:?}");
    assert_ne!(stopped.labels.get("run"), Some(&run_id));
    let news = ops.told().split_off(before).into_iter().filter(|it| it.starts_with("new "));
    assert_eq!(news.collect::<Vec<_>>(), [""; 0]);
    manager.signal("TERM");
    assert_eq!(manager.ended().await.status.code(), Some(0));
}
