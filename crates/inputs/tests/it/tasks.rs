//! The tasks input against the simulator, over TLS on loopback.

use std::{sync::Arc, time::Duration};

use api_core::{Request, endpoint::Disk, path};
use async_trait::async_trait;
use estate::{NodeName, Upid};
use event_core::{
    Cursor, Event, EventSource as _, Ruling, RunContext, Severity, Signal, SourceError, wire,
};
use futures::{StreamExt as _, stream::BoxStream};
use inputs::{
    Identity,
    tasks::{Api, Config, Observed, Tasks},
};
use proxmox_sim::{Levers, Sim, SimConfig, SimTarget, TaskSpec};
use rules::{Room, Work};
use serde_json::{Value, json};
use stdx::SystemClock;
use testkit::contract::source::{Reporter, Told, source};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;

/// How long something that must happen may take on a slow machine.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) async fn sim() -> Sim {
    Sim::start(SimConfig::fast()).await.unwrap()
}

fn table(target: &SimTarget, token: &str) -> Value {
    let pins = target
        .nodes
        .iter()
        .map(|node| (node.url.trim_start_matches("https://").to_owned(), json!(node.fingerprint)));
    let token = target.token(token);
    json!({
        "endpoints": target.nodes.iter().map(|node| &node.url).collect::<Vec<_>>(),
        "fingerprints": pins.collect::<serde_json::Map<_, _>>(),
        "token_id": token.id,
        "token": token.secret,
    })
}

pub(crate) fn pve(target: &SimTarget, token: &str) -> pve_client::Client {
    let config: pve_client::Config = serde_json::from_value(table(target, token)).unwrap();
    let options = config.validate(&target.key, &Disk).unwrap().value;
    pve_client::Client::connect(&options).unwrap()
}

fn pbs(target: &SimTarget, token: &str) -> pbs_client::Client {
    let config: pbs_client::Config = serde_json::from_value(table(target, token)).unwrap();
    let options = config.validate(&target.key, &Disk).unwrap().value;
    pbs_client::Client::connect(&options).unwrap()
}

/// Looks all the time.
fn config(cluster: &str) -> Config {
    let mut config = Config::new(Identity { cluster: cluster.parse().ok(), ..Identity::default() });
    config.pace.busy = Duration::from_millis(10);
    config.pace.calm = Duration::from_millis(10);
    config.pace.often = Duration::from_millis(10);
    config.pace.pools = Duration::from_millis(10);
    config.patience.settle = Duration::from_millis(30);
    config
}

fn of_lab(sim: &Sim) -> Tasks {
    let api = Api::Pve(pve(sim.target("lab"), "agent"));
    Tasks::try_new("tasks".parse().unwrap(), api, config("lab")).unwrap()
}

fn of_vault(sim: &Sim) -> Tasks {
    let api = Api::Pbs(pbs(sim.target("vault"), "agent"));
    Tasks::try_new("tasks".parse().unwrap(), api, config("vault")).unwrap()
}

/// One run, and what it has told.
struct Run {
    stream: BoxStream<'static, Result<Signal, SourceError>>,
    stop: CancellationToken,
    existing: Vec<Event>,
    told: Vec<Event>,
    cursor: Cursor,
}

impl Run {
    /// Runs until it has told what is there.
    async fn start(tasks: &Tasks, resume: Option<Cursor>) -> Self {
        let stop = CancellationToken::new();
        let mut stream = tasks.run(RunContext::new(stop.clone(), SystemClock::shared()), resume);
        let mut existing = Vec::new();
        loop {
            match stream.next().await.unwrap().unwrap() {
                Signal::Existing(event) => existing.push(event),
                Signal::SyncFinished(cursor) => {
                    return Self { stream, stop, existing, told: Vec::new(), cursor };
                }
                Signal::SyncStarted | Signal::Idle => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Keeps what it tells, until it tells this. What is told behind it is not kept: as if the program had died there.
    async fn until(&mut self, what: &str, is_it: impl Fn(&Event) -> bool) -> Event {
        loop {
            let signal = timeout(PATIENCE, self.stream.next()).await;
            let Ok(signal) = signal else {
                panic!("{what} is not told: {:#?}", titles(&self.told))
            };
            if let Signal::Changed { event, cursor, ack } = signal.unwrap().unwrap() {
                assert!(event.source_key.as_str().len() < 400, "{}", event.source_key);
                assert_eq!(wire::from_text(&wire::to_text(&event)).unwrap(), event);
                ack.resolve(Ruling::Committed);
                self.told.push(event.clone());
                // What is kept without a cursor is told again after a crash.
                if let Some(cursor) = cursor {
                    self.cursor = cursor;
                }
                if is_it(&event) {
                    return event;
                }
            }
        }
    }

    async fn until_kind(&mut self, kind: &str) -> Event {
        self.until(kind, |event| event.kind.as_str() == kind).await
    }

    async fn end(mut self) -> Cursor {
        self.stop.cancel();
        while self.stream.next().await.is_some() {}
        self.cursor
    }
}

fn titles(events: &[Event]) -> Vec<String> {
    events
        .iter()
        .map(|event| format!("{} {} {}", event.kind, event.severity, event.title))
        .collect()
}

async fn act(sim: &Sim, request: Request<Upid>) -> Upid {
    pve(sim.target("lab"), "operator").call(request).await.unwrap()
}

fn power(node: &str, vmid: u32, action: &str) -> Request<Upid> {
    Request::post(path!["nodes", node, "qemu", vmid.to_string(), "status", action])
}

struct Adder(Levers, &'static str, &'static str);

#[async_trait]
impl Reporter for Adder {
    async fn report(&self, text: &str) -> Told {
        let Self(levers, target, node) = self;
        levers.add_task(target, node, &TaskSpec::finished("aptupdate", "", text)).unwrap();
        Told::Nothing
    }

    fn is_answered(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn the_contract_for_a_cluster() {
    let sim = sim().await;
    source(Arc::new(of_lab(&sim)), Arc::new(Adder(sim.levers(), "lab", "birch"))).await;
}

#[tokio::test]
async fn the_contract_for_a_backup_server() {
    let sim = sim().await;
    let node = sim.target("vault").nodes[0].name.clone();
    let node: &'static str = Box::leak(node.into_boxed_str());
    source(Arc::new(of_vault(&sim)), Arc::new(Adder(sim.levers(), "vault", node))).await;
}

#[tokio::test]
async fn guests_that_people_start_and_stop_are_told_once_and_mildly() {
    let sim = sim().await;
    let mut run = Run::start(&of_lab(&sim), None).await;
    act(&sim, power("alder", 100, "stop")).await;
    let stopped = run.until_kind("guest.stopped").await;
    assert_eq!(
        (stopped.severity, stopped.subject.label().as_str()),
        (Severity::Info, "lab/100 web-01")
    );
    act(&sim, power("alder", 100, "start")).await;
    let started = run.until_kind("guest.started").await;
    assert!(started.subject.upid.is_some());
    act(&sim, power("cedar", 108, "start")).await;
    let failed = run.until_kind("task.failed").await;
    assert_eq!(failed.severity, Severity::Error);
    assert!(failed.title.contains("QEMU exited with code 1"), "{}", failed.title);
    let of_100 = run.told.iter().filter(|event| event.kind.family() == "guest").count();
    assert_eq!(of_100, 2, "{:#?}", titles(&run.told));
    run.end().await;
}

fn line_of_log(levers: &Levers, user: &str, tag: &str, priority: u8, text: &str) {
    levers.cluster_log_line("lab", "cedar", user, tag, priority, text).unwrap();
}

#[tokio::test]
async fn the_clusters_log_is_told_once_and_only_what_the_lists_do_not_have() {
    let sim = sim().await;
    let levers = sim.levers();
    let tasks = of_lab(&sim);
    let failure = "authentication failure; rhost=::ffff:10.0.0.9 user=root@pam msg=no such user";
    line_of_log(&levers, "root@pam", "pvedaemon", 3, failure);
    let mut run = Run::start(&tasks, None).await;
    assert!(run.existing.iter().all(|it| !it.source_key.as_str().starts_with("log/")));
    line_of_log(&levers, "", "cron", 6, "nothing of interest");
    line_of_log(&levers, "root@pam", "pvedaemon", 3, failure);
    let event = run.until_kind("auth.failed").await;
    assert_eq!(
        (event.severity, event.subject.address()),
        (Severity::Warning, "lab/node/cedar".into())
    );
    assert!(event.raw.unwrap().text.contains("no such user"));
    // A task is told by the lists of tasks; its lines in the log add nothing.
    act(&sim, power("alder", 100, "stop")).await;
    run.until_kind("guest.stopped").await;
    // Of a task that is in no list the log is all there is.
    let unlisted = "end task UPID:cedar:0000AA01:0001BB02:6B033EDA:vzdump:104:root@pam: job errors";
    let cursor = run.end().await;
    line_of_log(&levers, "root@pam", "pvedaemon", 3, unlisted);
    line_of_log(&levers, "", "kernel", 2, "words of a kernel");
    let mut run = Run::start(&tasks, Some(cursor)).await;
    let event = run.until_kind("backup.failed").await;
    assert_eq!(event.subject.address(), "lab/guest/104");
    run.until("the kernel's line", |event| event.title == "words of a kernel").await;
    line_of_log(&levers, "", "pvestatd", 4, "status update time (7.412 seconds)");
    run.until_kind("storage.error").await;
    let of_log: Vec<&str> = run
        .told
        .iter()
        .filter(|event| event.source_key.as_str().starts_with("log/"))
        .map(|event| event.kind.as_str())
        .collect();
    assert_eq!(of_log, ["backup.failed", "other.syslog.kernel", "storage.error"]);
    run.end().await;
}

/// One backup that failed, by everything that tells of it: whatever is missing, the rest hangs together.
#[tokio::test]
async fn one_fact_by_six_ways_hangs_together() {
    let upid = "UPID:alder:000002D6:000C8274:6B023E90:vzdump:104:root@pam:";
    let ended = upid.parse::<Upid>().unwrap().started() + jiff::SignedDuration::from_secs(90);
    let identity = Identity { cluster: "lab".parse().ok(), ..Identity::default() };
    let source = "x".parse().unwrap();
    let origin = inputs::Origin::new(&source, "x", &identity, ended);
    let entry = inputs::recognize::syslog::Entry {
        node: "alder".parse().unwrap(),
        pid: 1207,
        uid: "131".to_owned(),
        time: ended,
        priority: 3,
        tag: "pvedaemon".to_owned(),
        user: "root@pam".to_owned(),
        message: format!("end task {upid} job errors"),
    };
    let title = "vzdump backup status (alder.lan): backup failed";
    let body = json!({
        "title": title, "message": "", "severity": "error", "timestamp": ended.as_second(),
        "fields": {"type": "vzdump", "hostname": "alder", "job-id": "backup-1f"},
    });
    let gotify = json!({"id": 3, "appid": 1, "title": title, "message": "", "priority": 9, "date": ended.to_string()});
    let mail = format!(
        "From: vzdump backup tool <root@alder.lan>\r\nSubject: {title}\r\nDate: {}\r\n\r\nDetails\r\n",
        jiff::fmt::rfc2822::to_string(&ended.to_zoned(jiff::tz::TimeZone::UTC)).unwrap(),
    );
    let line =
        format!("<27>1 {ended} alder pvedaemon 1207 - - <root@pam> end task {upid} job errors");
    let webhook = inputs::recognize::webhook::recognize;
    let (auto, posted) =
        (inputs::recognize::webhook::Format::Auto, serde_json::to_vec(&body).unwrap());
    let ways: [(&str, Event); 5] = [
        ("cluster log", inputs::recognize::syslog::recognize_entry(&entry, &origin)),
        ("syslog", inputs::recognize::syslog::recognize(line.as_bytes(), &origin, "1")),
        ("webhook", webhook(&posted, &auto, &origin).remove(0)),
        ("mail", inputs::recognize::mail::recognize(mail.as_bytes(), &origin).remove(0)),
        ("gotify", inputs::recognize::gotify::posted(gotify).unwrap().events(&origin).remove(0)),
    ];
    // The sixth, as the input itself tells it.
    let sim = sim().await;
    let mut run = Run::start(&of_lab(&sim), None).await;
    let spec = TaskSpec::finished("vzdump", "104", "job errors");
    sim.levers().add_task("lab", "alder", &spec).unwrap();
    let task = run.until_kind("backup.failed").await;
    let of_log = {
        let upid = task.subject.upid.clone().unwrap();
        let message = format!("end task {upid} job errors");
        let entry = inputs::recognize::syslog::Entry { message, time: task.time, ..entry.clone() };
        inputs::recognize::syslog::recognize_entry(&entry, &origin)
    };
    assert!(!of_log.keys.is_disjoint(&task.keys), "{:?} {:?}", of_log.keys, task.keys);
    for (one, left) in &ways {
        assert_eq!(left.kind.as_str(), "backup.failed", "{one}");
        for (other, right) in &ways {
            assert!(
                !left.keys.is_disjoint(&right.keys),
                "{one} and {other} have nothing in common"
            );
        }
    }
    run.end().await;
}

#[test]
fn a_login_that_fails_is_one_fact_by_syslog_and_by_the_clusters_log() {
    let identity = Identity { cluster: "lab".parse().ok(), ..Identity::default() };
    let source = "x".parse().unwrap();
    let time: jiff::Timestamp = "2026-11-22T17:55:05Z".parse().unwrap();
    let origin = inputs::Origin::new(&source, "x", &identity, time);
    let words = "authentication failure; rhost=::ffff:10.0.0.9 user=root@pam msg=no such user";
    let entry = inputs::recognize::syslog::Entry {
        node: "alder".parse().unwrap(),
        pid: 1207,
        uid: "131".to_owned(),
        time,
        priority: 3,
        tag: "pvedaemon".to_owned(),
        user: "root@pam".to_owned(),
        message: words.to_owned(),
    };
    let of_log = inputs::recognize::syslog::recognize_entry(&entry, &origin);
    let line = |words: &str| {
        let line = format!("<27>1 2026-11-22T17:55:05Z alder pvedaemon 1207 - - {words}");
        inputs::recognize::syslog::recognize(line.as_bytes(), &origin, "1")
    };
    assert!(!of_log.keys.is_disjoint(&line(words).keys));
    assert!(of_log.keys.is_disjoint(&line(&words.replace("10.0.0.9", "10.0.0.8")).keys));
}

#[tokio::test]
async fn a_guest_that_ends_by_itself_is_a_warning() {
    let sim = sim().await;
    let mut run = Run::start(&of_lab(&sim), None).await;
    sim.levers().guest_ends("lab", 104).unwrap();
    let stopped = run.until_kind("guest.stopped").await;
    assert_eq!(stopped.severity, Severity::Warning);
    assert_eq!(stopped.subject.address(), "lab/guest/104");
    assert!(stopped.title.contains("cause unknown"), "{}", stopped.title);
    act(&sim, power("birch", 104, "start")).await;
    run.until_kind("guest.started").await;
    run.end().await;
}

#[tokio::test]
async fn a_backup_run_tells_what_became_of_each_guest() {
    let sim = sim().await;
    let mut run = Run::start(&of_lab(&sim), None).await;
    let backup = |vmids: &str| {
        Request::post(path!["nodes", "birch", "vzdump"])
            .param("vmid", vmids)
            .param("storage", "vault")
    };
    // 112 fails by nature, 104 and 101 do not.
    act(&sim, backup("101,104")).await;
    let done = run.until("the run", |event| {
        event.kind.as_str() == "backup.finished" && event.subject.vmid.is_none()
    });
    let done = done.await;
    let guests: Vec<&Event> = run
        .told
        .iter()
        .filter(|event| event.subject.vmid.is_some() && event.kind.as_str() == "backup.finished")
        .collect();
    assert_eq!(guests.len(), 2, "{:#?}", titles(&run.told));
    for guest in guests {
        assert!(!guest.keys.is_disjoint(&done.keys), "they are of one run");
    }
    sim.levers().fail_next_task("lab", Some("vzdump"), "no space left on device").unwrap();
    act(&sim, backup("104")).await;
    let failed = run.until_kind("backup.failed").await;
    assert_eq!(failed.subject.address(), "lab/guest/104");
    assert!(failed.title.contains("no space left"), "{}", failed.title);
    sim.levers().warn_next_task("lab", Some("vzdump"), "slow storage").unwrap();
    act(&sim, backup("104")).await;
    let warned = run.until("a warning", |event| event.severity == Severity::Warning).await;
    assert_eq!(warned.kind.as_str(), "backup.finished");
    run.end().await;
}

#[tokio::test]
async fn a_node_that_is_away_says_nothing_of_its_guests() {
    let sim = sim().await;
    let mut run = Run::start(&of_lab(&sim), None).await;
    sim.levers().node_offline("lab", "cedar", true).unwrap();
    let offline = run.until_kind("node.offline").await;
    assert_eq!(offline.subject.address(), "lab/node/cedar");
    sim.levers().node_offline("lab", "cedar", false).unwrap();
    run.until_kind("node.online").await;
    sim.levers().quorum_lost("lab", true).unwrap();
    let lost = run.until_kind("quorum.lost").await;
    assert_eq!(lost.severity, Severity::Critical);
    sim.levers().quorum_lost("lab", false).unwrap();
    run.until_kind("quorum.regained").await;
    let others =
        run.told.iter().filter(|it| matches!(it.kind.family(), "guest" | "storage")).count();
    assert_eq!(others, 0, "{:#?}", titles(&run.told));
    run.end().await;
}

#[tokio::test]
async fn a_cluster_out_of_reach_is_one_event_and_what_it_did_meanwhile_is_told() {
    let sim = sim().await;
    let levers = sim.levers();
    let mut run = Run::start(&of_lab(&sim), None).await;
    for node in ["alder", "birch", "cedar"] {
        levers.node_offline("lab", node, true).unwrap();
    }
    let away = run.until_kind("cluster.unreachable").await;
    assert_eq!(away.subject.address(), "lab");
    levers.add_task("lab", "alder", &TaskSpec::finished("vzdump", "", "job errors")).unwrap();
    for node in ["alder", "birch", "cedar"] {
        levers.node_offline("lab", node, false).unwrap();
    }
    run.until_kind("cluster.reachable").await;
    run.until_kind("backup.failed").await;
    let count = |kind: &str| run.told.iter().filter(|it| it.kind.as_str() == kind).count();
    assert_eq!((count("cluster.unreachable"), count("cluster.reachable")), (1, 1));
    run.end().await;
}

#[tokio::test]
async fn a_run_that_resumes_tells_what_came_between_and_nothing_twice() {
    let sim = sim().await;
    let levers = sim.levers();
    let tasks = of_lab(&sim);
    let run = Run::start(&tasks, None).await;
    assert!(!run.existing.is_empty(), "the history of a day is there");
    let first = run.end().await;
    // More than the cluster's list holds, and a long one that ended meanwhile.
    let upids: Vec<String> = (0..70)
        .map(|at| {
            let task = TaskSpec::finished("aptupdate", "", &format!("meanwhile {at}"));
            levers.add_task("lab", "birch", &task).unwrap()
        })
        .collect();
    let mut run = Run::start(&tasks, Some(first)).await;
    assert!(run.existing.is_empty(), "what is known is not told as new");
    let last = upids.last().unwrap();
    run.until("the first of them", |event| event.title.contains("meanwhile")).await;
    // Dies in the middle, and goes on from its last cursor.
    let (mut told, cursor) = (run.told.clone(), run.cursor.clone());
    drop(run);
    let mut run = Run::start(&tasks, Some(cursor)).await;
    let all = |told: &[Event]| {
        upids.iter().all(|upid| {
            told.iter()
                .any(|it| it.subject.upid.as_ref().is_some_and(|known| known.as_str() == upid))
        })
    };
    while !all(&told) {
        run.until("the rest", |_| true).await;
        told.append(&mut run.told);
    }
    assert!(told.iter().any(|event| event.source_key.as_str().starts_with(last.as_str())));
    // What the second run told again has the key of the first time, by which the log knows it.
    let mut keys: Vec<&str> = told.iter().map(|event| event.source_key.as_str()).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 70, "{:#?}", titles(&told));
    // From here on nothing is told again.
    let cursor = run.end().await;
    let mut run = Run::start(&tasks, Some(cursor)).await;
    levers.add_task("lab", "birch", &TaskSpec::finished("aptupdate", "", "the end")).unwrap();
    run.until("the next one", |event| event.title.contains("the end")).await;
    assert_eq!(run.told.len(), 1, "{:#?}", titles(&run.told));
    run.end().await;
}

#[tokio::test]
async fn a_long_task_that_ends_while_nobody_looks_is_told() {
    let sim = sim().await;
    let levers = sim.levers();
    let tasks = of_lab(&sim);
    let mut run = Run::start(&tasks, None).await;
    let upid = levers.add_task("lab", "birch", &TaskSpec::running("qmclone", "104")).unwrap();
    run.until("its beginning", |event| event.kind.as_str() == "task.started").await;
    let cursor = run.end().await;
    let upid: Upid = upid.parse().unwrap();
    let stop = pve_client::tasks::stop(&upid);
    pve(sim.target("lab"), "operator").operate().call(stop).await.unwrap();
    let mut run = Run::start(&tasks, Some(cursor)).await;
    let ended = run.until_kind("task.failed").await;
    assert_eq!(ended.subject.upid, Some(upid));
    run.end().await;
}

#[tokio::test]
async fn a_backup_servers_work_is_told_by_kind() {
    let sim = sim().await;
    let mut run = Run::start(&of_vault(&sim), None).await;
    let vault = pbs(sim.target("vault"), "operator").operate();
    let main = "main".parse().unwrap();
    vault.call(pbs_client::datastores::start_gc(&main)).await.unwrap();
    let done = run.until_kind("gc.finished").await;
    assert_eq!(done.subject.address(), "vault/datastore/main");
    sim.levers().fail_next_task("vault", None, "chunk store is gone").unwrap();
    vault.call(pbs_client::datastores::start_gc(&main)).await.unwrap();
    let failed = run.until_kind("gc.failed").await;
    assert!(failed.title.contains("chunk store is gone"), "{}", failed.title);
    let jobs = vault.call(pbs_client::jobs::verify_jobs(None)).await.unwrap();
    let job = jobs.first().expect("the demo has a verification job");
    let kind = pbs_client::jobs::JobKind::Verify;
    vault.call(pbs_client::jobs::run(&kind, &job.id)).await.unwrap();
    let verified =
        run.until("a verification", |event| event.kind.as_str().starts_with("verify.")).await;
    let expected = format!("vault/datastore/{}/job/{}", job.datastore, job.id);
    assert_eq!(verified.subject.address(), expected);
    run.end().await;
}

#[tokio::test]
async fn the_rules_are_told_how_full_it_is_and_which_jobs_there_are() {
    let sim = sim().await;
    let (sender, mut observed) = mpsc::channel(256);
    let run = Run::start(&of_lab(&sim).watched_by(sender.clone()), None).await;
    let other = Run::start(&of_vault(&sim).watched_by(sender), None).await;
    let nas =
        |it: &rules::Measured| it.subject.storage.as_ref().is_some_and(|it| it.as_str() == "nas");
    let (mut full, mut backups, mut gc, mut datastore) = (false, None, None, false);
    while !full || backups.is_none() || gc.is_none() || !datastore {
        match timeout(PATIENCE, observed.recv()).await.expect("something is seen").unwrap() {
            Observed::Measured(it) if it.what == Room::Storage && nas(&it) => {
                assert_eq!(it.subject.address(), "lab/storage/nas", "a shared one is one");
                if it.percent < 90.0 {
                    sim.levers().set_storage_usage("lab", "nas", 0.97).unwrap();
                } else {
                    full = true;
                }
            }
            Observed::Measured(it) => datastore |= it.what == Room::Datastore,
            Observed::Estate { cluster, estate } if cluster.as_str() == "lab" => {
                backups = Some(estate);
            }
            Observed::Estate { estate, .. } => gc = Some(estate),
            _ => {}
        }
    }
    let backups = backups.unwrap();
    assert!(
        backups.jobs.iter().all(|job| job.work == Work::Backup && !job.guests.is_empty()),
        "{backups:#?}"
    );
    assert!(!backups.jobs.is_empty());
    // As long as the longest of the last runs that the nodes list.
    assert!(
        backups.jobs.iter().all(|job| job.usual > jiff::SignedDuration::ZERO),
        "{:?}",
        backups.jobs.iter().map(|job| job.usual).collect::<Vec<_>>()
    );
    let templates =
        |subject: &event_core::Subject| subject.vmid.is_some_and(|vmid| vmid.get() >= 9000);
    assert!(!backups.uncovered.iter().any(templates), "templates are in no list");
    let of_vault = gc.unwrap();
    let verifies = of_vault.jobs.iter().filter(|job| job.work == Work::Verify);
    let usual: Vec<_> = verifies.map(|job| job.usual).collect();
    assert!(usual.iter().any(|usual| !usual.is_zero()), "{usual:?}");
    let works: Vec<Work> = of_vault.jobs.iter().map(|job| job.work).collect();
    assert!(works.contains(&Work::Gc) && works.contains(&Work::Verify), "{works:?}");
    run.end().await;
    other.end().await;
}

#[tokio::test]
async fn what_is_wrong_at_the_first_look_is_there_already() {
    let sim = sim().await;
    sim.levers().node_offline("lab", "cedar", true).unwrap();
    let run = Run::start(&of_lab(&sim), None).await;
    let offline = run.existing.iter().find(|event| event.kind.as_str() == "node.offline");
    assert_eq!(offline.unwrap().subject.node, "cedar".parse::<NodeName>().ok());
    assert!(
        run.existing.iter().any(|it| it.kind.as_str() == "disk.worn"),
        "{:#?}",
        titles(&run.existing)
    );
    run.end().await;
}

#[tokio::test]
async fn a_credential_that_is_refused_ends_the_run_and_says_what_to_do() {
    let sim = sim().await;
    let mut wrong = table(sim.target("lab"), "agent");
    wrong["token"] = json!("00000000-0000-4000-8000-000000000000");
    let config_of: pve_client::Config = serde_json::from_value(wrong).unwrap();
    let options = config_of.validate("lab", &Disk).unwrap().value;
    let api = Api::Pve(pve_client::Client::connect(&options).unwrap());
    let tasks = Tasks::try_new("tasks".parse().unwrap(), api, config("lab")).unwrap();
    let error = tasks.check().await.unwrap_err();
    assert!(error.to_string().contains("config add"), "{error}");
    let cx = RunContext::new(CancellationToken::new(), SystemClock::shared());
    let mut stream = tasks.run(cx, None);
    let mut last = None;
    while let Some(signal) = stream.next().await {
        last = Some(signal);
    }
    let error = last.unwrap().unwrap_err();
    assert_eq!(error.kind(), event_core::SourceErrorKind::Settings);
}

#[tokio::test]
async fn disks_are_woken_once_however_often_the_run_begins_again() {
    let sim = sim().await;
    let levers = sim.levers();
    levers.keep_heads();
    let tasks = of_lab(&sim);
    let mut run = Run::start(&tasks, None).await;
    levers.drop_requests("lab", 3).unwrap();
    levers.add_task("lab", "alder", &TaskSpec::finished("aptupdate", "", "one")).unwrap();
    run.until("the first", |event| event.title.contains("one")).await;
    let cursor = run.end().await;
    let mut run = Run::start(&tasks, Some(cursor)).await;
    levers.add_task("lab", "alder", &TaskSpec::finished("aptupdate", "", "two")).unwrap();
    run.until("the second", |event| event.title.contains("two")).await;
    run.end().await;
    let heads = levers.heads();
    let asked = |node: &str| {
        let path = format!("/nodes/{node}/disks/list");
        heads.iter().filter(|head| head.contains(&path)).count()
    };
    assert_eq!([asked("alder"), asked("birch"), asked("cedar")], [1, 1, 1]);
    assert!(heads.iter().filter(|head| head.contains("/cluster/resources")).count() > 3);
}
