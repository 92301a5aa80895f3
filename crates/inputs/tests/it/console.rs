//! The console input against the simulator: what a guest shows, whoever it runs on, and what becomes of one that is off.

use std::{sync::Arc, time::Duration};

use api_core::{Request, path};
use async_trait::async_trait;
use estate::Upid;
use event_core::{
    Event, EventSource, Ruling, RunContext, Severity, Signal, SourceError, SourceErrorKind,
};
use futures::{StreamExt as _, stream::BoxStream};
use inputs::{
    Identity,
    websocket::console::{Config, Console, Pattern, Place},
};
use proxmox_sim::{Levers, Sim};
use serde_json::{Value, json};
use stdx::SystemClock;
use testkit::contract::source::{Reporter, Told, source};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::tasks::{pve, sim};

/// How long something that must happen may take on a slow machine.
const PATIENCE: Duration = Duration::from_mins(1);

fn config(place: Place) -> Config {
    let identity = Identity { cluster: "lab".parse().ok(), ..Identity::default() };
    let mut config = Config::new(identity, place);
    config.look = Duration::from_millis(10);
    config.linger = Duration::from_millis(100);
    config
}

fn guest(vmid: u32) -> Place {
    Place::Guest(estate::VmId::try_new(vmid).unwrap())
}

fn console(sim: &Sim, config: Config) -> Console {
    let lab = sim.target("lab");
    let (reader, opener) = (pve(lab, "agent"), pve(lab, "operator"));
    Console::try_new("con".parse().unwrap(), reader, opener, config).unwrap()
}

fn serial(levers: &Levers, vmid: u32) {
    levers.set_option("lab", vmid, "serial0", json!("socket")).unwrap();
}

/// Waits until somebody watches.
async fn watched(levers: &Levers, whose: &str) {
    let is_watched = async {
        while levers.open_consoles("lab", whose).unwrap() == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, is_watched).await.expect("the console is watched in time");
}

struct Run(BoxStream<'static, Result<Signal, SourceError>>);

impl Run {
    fn start(console: &Console) -> Self {
        Self(console.run(RunContext::new(CancellationToken::new(), SystemClock::shared()), None))
    }

    async fn signal(&mut self) -> Result<Signal, SourceError> {
        timeout(PATIENCE, self.0.next()).await.expect("it says something in time").unwrap()
    }

    async fn event(&mut self) -> Event {
        loop {
            if let Signal::Changed { event, cursor, ack } = self.signal().await.unwrap() {
                assert_eq!(cursor, None, "there is no going back to what a console has shown");
                ack.resolve(Ruling::Committed);
                return event;
            }
        }
    }

    async fn waiting(&mut self) -> String {
        loop {
            if let Signal::Waiting(why) = self.signal().await.unwrap() {
                return why;
            }
        }
    }
}

struct Screen(Levers);

#[async_trait]
impl Reporter for Screen {
    async fn report(&self, text: &str) -> Told {
        // A run before this one may not have hung up yet.
        if text.contains("-0 ") {
            self.0.consoles_end("lab", "100").unwrap();
        }
        watched(&self.0, "100").await;
        self.0.console_shows("lab", "100", &format!("{text}\r\n")).unwrap();
        Told::Nothing
    }

    fn is_answered(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn the_contract() {
    let sim = sim().await;
    serial(&sim.levers(), 100);
    let mut config = config(guest(100));
    config.patterns = vec![Pattern::try_new("report", "report").unwrap()];
    config.window = Duration::ZERO;
    source(Arc::new(console(&sim, config)), Arc::new(Screen(sim.levers()))).await;
}

#[tokio::test]
async fn a_kernel_that_panics_is_told_with_what_it_said_around_it() {
    let sim = sim().await;
    let levers = sim.levers();
    serial(&levers, 100);
    let mut run = Run::start(&console(&sim, config(guest(100))));
    watched_by(&mut run, &levers, "100").await;
    let shown = "[   12.0] \u{1b}[31mEXT4-fs: unable to read superblock\u{1b}[0m\r\n\
        [   12.1] Kernel panic - not syncing: VFS: Unable to mount root fs\r\n\
        [   12.2] CPU: 0 PID: 1 Comm: swapper/0\r\n";
    for piece in shown.as_bytes().chunks(7) {
        levers.console_shows("lab", "100", std::str::from_utf8(piece).unwrap()).unwrap();
    }
    let event = run.event().await;
    assert_eq!((event.kind.as_str(), event.severity), ("guest.crashed", Severity::Critical));
    assert_eq!(event.subject.label(), "lab/100 web-01");
    assert_eq!(event.subject.node.as_ref().unwrap().as_str(), "alder");
    assert_eq!(event.title, "[   12.1] Kernel panic - not syncing: VFS: Unable to mount root fs");
    let labels = [("pattern", "kernel_panic")];
    assert!(labels.iter().all(|(key, value)| event.labels[*key] == *value), "{:?}", event.labels);
    assert_eq!((event.source.kind.as_ref(), event.source.id.as_str()), ("websocket", "con"));
    let raw = event.raw.unwrap().text;
    for part in ["unable to read superblock", "Kernel panic", "swapper/0"] {
        assert!(raw.contains(part), "{raw}");
    }
    assert!(!raw.contains('\u{1b}'));
}

#[tokio::test]
async fn a_storm_is_one_event_and_part_of_a_line_is_looked_at_as_it_is() {
    let sim = sim().await;
    let levers = sim.levers();
    serial(&levers, 100);
    let mut settings = config(guest(100));
    let mut ups = Pattern::try_new("ups", "(?i)on BATTERY").unwrap();
    ups.title = Some("the UPS runs on battery".to_owned());
    ups.severity = Severity::Critical;
    settings.patterns.insert(0, ups);
    let mut run = Run::start(&console(&sim, settings));
    watched_by(&mut run, &levers, "100").await;
    for sector in 0..500 {
        let line = format!("[ 7.{sector}] I/O error, dev sda, sector {sector}\r\n");
        // The simulator keeps some hundred texts for who is slow.
        levers.console_shows("lab", "100", &line).unwrap();
        tokio::task::yield_now().await;
    }
    let event = run.event().await;
    assert_eq!((event.kind.as_str(), &*event.labels["pattern"]), ("console.matched", "disk"));
    // A console that broke off is opened again, and the storm goes on as the same one.
    levers.consoles_end("lab", "100").unwrap();
    watched_by(&mut run, &levers, "100").await;
    levers.console_shows("lab", "100", "I/O error, dev sda\r\nups: On battery").unwrap();
    let event = run.event().await;
    assert_eq!(
        (event.title.as_str(), event.severity),
        ("the UPS runs on battery", Severity::Critical)
    );
    assert_eq!(event.labels["line"], "ups: On battery");
}

#[tokio::test]
async fn what_is_off_or_has_no_terminal_is_waited_for() {
    let sim = sim().await;
    let levers = sim.levers();
    serial(&levers, 119);
    let off = console(&sim, config(guest(119)));
    assert!(off.check().await.unwrap().contains("does not run"));
    let mut run = Run::start(&off);
    assert_eq!(
        run.waiting().await,
        "guest lab/119 does not run; its console is watched as soon as it does"
    );
    let row = sim_guest(&sim, 119).await;
    let start = Request::<Upid>::post(path!["nodes", &row, "qemu", "119", "status", "start"]);
    pve(sim.target("lab"), "operator").call(start).await.unwrap();
    watched_by(&mut run, &levers, "119").await;
    levers.console_shows("lab", "119", "Out of memory: Killed process 1 (a)\r\n").unwrap();
    assert_eq!(run.event().await.labels["pattern"], "oom");

    levers.set_option("lab", 101, "serial0", Value::Null).unwrap();
    let bare = console(&sim, config(guest(101)));
    let error = bare.check().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Settings);
    assert!(error.to_string().contains("serial0=socket"), "{error}");
    let mut run = Run::start(&bare);
    assert!(run.waiting().await.contains("has no serial terminal"));
    serial(&levers, 101);
    watched_by(&mut run, &levers, "101").await;
}

/// Reads on until somebody watches.
async fn watched_by(run: &mut Run, levers: &Levers, whose: &str) {
    let reads = async {
        loop {
            run.signal().await.unwrap();
        }
    };
    tokio::select! {
        () = reads => {}
        () = watched(levers, whose) => {}
    }
}

/// The node that has a guest.
async fn sim_guest(sim: &Sim, vmid: u32) -> String {
    let rows = pve(sim.target("lab"), "agent").call(pve_client::cluster::resources(None)).await;
    let rows = rows.unwrap();
    let row = rows.iter().find(|row| row.vmid.is_some_and(|it| it.get() == vmid)).unwrap();
    row.node.as_ref().unwrap().to_string()
}

#[tokio::test]
async fn one_of_several_serial_ports_can_be_watched_and_a_node() {
    let sim = sim().await;
    let levers = sim.levers();
    serial(&levers, 100);
    let mut other = config(guest(100));
    other.serial = Some(1);
    let other = console(&sim, other);
    assert!(other.check().await.unwrap_err().to_string().contains("serial1=socket"));
    levers.set_option("lab", 100, "serial1", json!("socket")).unwrap();
    assert!(other.check().await.unwrap().contains("lab/100"));

    let node = console(&sim, config(Place::Node("birch".parse().unwrap())));
    let mut run = Run::start(&node);
    watched_by(&mut run, &levers, "birch").await;
    levers.console_shows("lab", "birch", "Kernel panic - not syncing\r\n").unwrap();
    let event = run.event().await;
    assert_eq!(
        (event.kind.as_str(), event.subject.label().as_str()),
        ("console.matched", "lab/birch")
    );
}

#[tokio::test]
async fn what_a_person_has_to_change_is_said() {
    let sim = sim().await;
    serial(&sim.levers(), 100);
    let lab = sim.target("lab");
    // A login that may look and nothing else.
    let (reader, opener) = (pve(lab, "agent"), pve(lab, "nothing"));
    let source =
        Console::try_new("con".parse().unwrap(), reader, opener, config(guest(100))).unwrap();
    let error = source.check().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Settings);
    assert!(error.to_string().contains("VM.Console"), "{error}");

    let absent = console(&sim, config(guest(999)));
    let error = absent.check().await.unwrap_err();
    assert!(error.to_string().contains("find guest lab/999: it is not there"), "{error}");
    let mut run = Run::start(&absent);
    let error = loop {
        match run.signal().await {
            Ok(Signal::SyncStarted | Signal::SyncFinished(_)) => {}
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), SourceErrorKind::Settings);
}

#[test]
fn settings_that_cannot_be_used_are_refused() {
    let says = |config: &Config, part: &str| {
        let error = config.check().unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    says(&Config::new(Identity::default(), guest(100)), "no cluster");
    let mut bad = config(guest(100));
    bad.serial = Some(4);
    says(&bad, "0 to 3");
    bad.serial = None;
    bad.patterns.clear();
    says(&bad, "no pattern");
    let mut node = config(Place::Node("birch".parse().unwrap()));
    node.serial = Some(0);
    says(&node, "no serial port");
}
