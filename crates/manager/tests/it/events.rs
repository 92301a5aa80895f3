//! The pipeline as a whole, over a store in memory and a clock that tests move by waiting.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use estate::{Access, Upid};
use event_core::desk::{
    DeadQuery, DeskErrorKind, EventDesk as _, EventQuery, IncidentQuery, NewSilence, Notice,
};
use event_core::{
    Ack, ComponentId, Cursor, Delivery, Event, EventSink, EventSource, Kind, Receipt, Retry,
    RunContext, Severity, Signal, SinkError, SourceError, Stand, Subject,
};
use futures::stream::BoxStream;
use guard::ports::{Actions, Intent, KeptCall, NewAction, TaskTrace};
use guard::{PlanForm, Principal};
use jiff::{SignedDuration, Timestamp};
use manager::Supervisor;
use manager::events::{
    EventParts, Events, EventsError, Input, Output, OwnTasks, RemoteEvents, Silencing,
};
use outputs::deliver::Pace;
use rules::{Config, OutputConfig, Places, RuleConfig, Rules};
use stdx::redact::Redactor;
use stdx::seal::SealKey;
use store::{EventFilter, GuardStore, IncidentFilter, LazyStore, MemoryStore, Store, StoreUrl};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// The machine's clock as tokio's tests have it: it jumps when nothing else is to be done.
#[derive(Debug)]
struct Virtual {
    noon: Timestamp,
    begun: Instant,
}

impl stdx::Clock for Virtual {
    fn now(&self) -> Timestamp {
        self.noon + SignedDuration::try_from(self.begun.elapsed()).unwrap()
    }
}

/// A source that tells what the test hands it.
#[derive(Debug)]
struct Told {
    id: ComponentId,
    existing: Vec<Event>,
    signals: Arc<tokio::sync::Mutex<mpsc::Receiver<(Event, Ack)>>>,
}

#[async_trait]
impl EventSource for Told {
    fn id(&self) -> &ComponentId {
        &self.id
    }

    async fn check(&self) -> Result<String, SourceError> {
        Ok("listens".to_owned())
    }

    fn run(
        &self,
        cx: RunContext,
        _resume: Option<Cursor>,
    ) -> BoxStream<'static, Result<Signal, SourceError>> {
        let (signals, existing) = (Arc::clone(&self.signals), self.existing.clone());
        let begin = std::iter::once(Signal::SyncStarted)
            .chain(existing.into_iter().map(Signal::Existing))
            .chain(std::iter::once(Signal::SyncFinished(Cursor::new("0"))));
        let begin = futures::stream::iter(begin.map(Ok).collect::<Vec<_>>());
        let rest = futures::stream::unfold((signals, cx), |(signals, cx)| async move {
            let next = async { signals.lock().await.recv().await };
            let (event, ack) = cx.stop.run_until_cancelled(next).await??;
            Some((Ok(Signal::Changed { event, cursor: None, ack }), (signals, cx)))
        });
        Box::pin(futures::StreamExt::chain(begin, rest))
    }
}

/// An output that remembers what it was told, and fails while it is to.
#[derive(Debug)]
struct Heard {
    id: ComponentId,
    told: Mutex<Vec<(String, Stand, String)>>,
    /// Where within it, of each.
    places: Mutex<Vec<Option<String>>>,
    /// The facts of the last one.
    facts: Mutex<Vec<(String, String)>>,
    fails: Mutex<Option<Retry>>,
}

#[async_trait]
impl EventSink for Heard {
    fn id(&self) -> &ComponentId {
        &self.id
    }

    async fn check(&self) -> Result<String, SinkError> {
        Ok("listens".to_owned())
    }

    async fn deliver(&self, delivery: &Delivery) -> Result<Receipt, SinkError> {
        if let Some(retry) = *self.fails.lock().unwrap() {
            return Err(SinkError::new(retry, "it is away"));
        }
        let message = &delivery.message;
        let key = delivery.key.as_str().to_owned();
        self.places.lock().unwrap().push(message.route.clone());
        self.facts.lock().unwrap().clone_from(&message.fields);
        self.told.lock().unwrap().push((key.clone(), message.stand, message.title.clone()));
        Ok(Receipt { ids: vec![key], ..Receipt::default() })
    }
}

/// One estate's pipeline, which can be started again over what it kept.
struct Site {
    store: Arc<dyn Store>,
    clock: Arc<Virtual>,
    ops: Arc<Heard>,
    mail: Arc<Heard>,
    existing: Vec<Event>,
    rules: Config,
    own: Option<OwnTasks>,
}

/// A running pipeline.
struct Running {
    events: Events,
    supervisor: Supervisor,
    say: BTreeMap<&'static str, mpsc::Sender<(Event, Ack)>>,
}

const SOURCES: [&str; 3] = ["syslog", "hook", "tasks"];

impl Site {
    fn new() -> Self {
        let heard = |id: &str| {
            let id = id.parse().unwrap();
            let (told, places, fails) = (Mutex::default(), Mutex::default(), Mutex::default());
            Arc::new(Heard { id, told, places, facts: Mutex::default(), fails })
        };
        Self {
            store: Arc::new(MemoryStore::new()),
            clock: Arc::new(Virtual {
                noon: "2026-11-22T12:00:00Z".parse().unwrap(),
                begun: Instant::now(),
            }),
            ops: heard("ops"),
            mail: heard("mail"),
            existing: Vec::new(),
            rules: Config::default().outputs(["ops", "mail"]),
            own: None,
        }
    }

    fn run(&self) -> Running {
        let supervisor = Supervisor::new(self.clock.clone());
        let mut say = BTreeMap::new();
        let inputs = SOURCES.map(|name| {
            let (sender, receiver) = mpsc::channel(64);
            say.insert(name, sender);
            let existing = if name == "tasks" { self.existing.clone() } else { Vec::new() };
            let signals = Arc::new(tokio::sync::Mutex::new(receiver));
            let source = Arc::new(Told { id: name.parse().unwrap(), existing, signals });
            Input { source, kind: "test", echo: None }
        });
        let output = |sink: &Arc<Heard>, fallback: Option<&str>| Output {
            sink: sink.clone(),
            service: "test",
            fallback: fallback.map(|id| id.parse().unwrap()),
            pace: Pace::default(),
        };
        let events = Events::start(
            EventParts {
                store: Arc::clone(&self.store),
                rules: Rules::try_new(&self.rules).unwrap(),
                inputs: inputs.into(),
                outputs: vec![output(&self.ops, Some("mail")), output(&self.mail, None)],
                observed: None,
                spool: None,
                own: self.own.clone(),
                redactor: Redactor::new([] as [&str; 0])
                    .with_values(["correct horse battery".into()]),
                keep: SignedDuration::from_hours(24 * 90),
                clock: self.clock.clone(),
            },
            &supervisor,
        );
        Running { events, supervisor, say }
    }

    fn event(&self, source: &str, key: &str, kind: &Kind, vmid: &str) -> Event {
        let now = stdx::Clock::now(&*self.clock);
        let subject = Subject {
            cluster: Some("lab".parse().unwrap()),
            vmid: Some(vmid.parse().unwrap()),
            ..Subject::default()
        };
        let is_good = *kind == Kind::BackupFinished;
        let severity = if is_good { Severity::Info } else { Severity::Error };
        Event::builder(&source.parse().unwrap(), "test", key, kind.clone(), now)
            .severity(severity)
            .subject(subject)
            .title(format!("{kind} of {vmid}"))
            .build(now)
    }

    fn told(&self) -> Vec<(Stand, String)> {
        let told = self.ops.told.lock().unwrap();
        told.iter().map(|(_, stand, title)| (*stand, title.clone())).collect()
    }
}

impl Running {
    /// Hands an event to its source, and waits until it is kept.
    async fn hears(&self, event: Event) {
        let (ack, kept) = Ack::pair();
        self.say[event.source.id.as_str()].send((event, ack)).await.unwrap();
        assert!(kept.ruling().await.is_kept());
    }

    async fn stop(self) {
        assert_eq!(self.supervisor.stop(Duration::from_secs(30)).await, Vec::<Arc<str>>::new());
    }
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn three_reports_of_one_fact_are_one_message_and_a_success_edits_it() {
    let site = Site::new();
    let running = site.run();
    for source in SOURCES {
        running.hears(site.event(source, "1", &Kind::BackupFailed, "104")).await;
    }
    pass(30).await;
    assert_eq!(site.told(), [(Stand::New, "backup.failed of 104".to_owned())]);
    let open = IncidentFilter { is_open: Some(true), ..IncidentFilter::default() };
    let found = running.events.incidents(&open, 10).await.unwrap();
    assert_eq!((found.len(), found[0].reports, found[0].status.as_str()), (1, 3, "open"));
    let (one, reports) = running.events.incident(&found[0].id[..8], 10).await.unwrap();
    assert_eq!((one.id.as_str(), reports.len()), (found[0].id.as_str(), 3));

    running.hears(site.event("tasks", "2", &Kind::BackupFinished, "104")).await;
    pass(30).await;
    let told = site.told();
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[1].0, Stand::Resolved);
    assert!(running.events.incidents(&open, 10).await.unwrap().is_empty());
    let (over, _) = running.events.incident(&one.id, 1).await.unwrap();
    assert_eq!(over.status, "resolved");
    assert!(over.ended.is_some());

    let words = EventFilter { text: Some("backup 104".to_owned()), ..EventFilter::default() };
    assert_eq!(running.events.find(&words, None, 10).await.unwrap().events.len(), 4);
    let inputs = running.events.inputs();
    assert_eq!(inputs[&"tasks".parse().unwrap()].heard, 2);
    running.hears(site.event("tasks", "2", &Kind::BackupFinished, "104")).await;
    let figures = running.events.figures().await;
    let (tasks, _) = &figures.inputs[&"tasks".parse().unwrap()];
    assert_eq!((tasks.heard, tasks.families["backup"], tasks.duplicates), (3, 3, 1));
    assert!(tasks.is_up());
    assert_eq!((figures.incidents_open, figures.log_failures), (0, 0));
    let ops = &figures.outputs["ops"];
    assert_eq!((ops.health.told, ops.retried, ops.buried), (2, 0, 0));
    assert_eq!(figures.latency.counts.iter().sum::<u64>(), 4, "once for each that was kept");
    let outputs = running.events.outputs().await.unwrap();
    assert_eq!((outputs["ops"].told, outputs["ops"].pending), (2, 0));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_nobody_is_told_twice_and_what_people_said_holds() {
    let site = Site::new();
    let running = site.run();
    running.hears(site.event("hook", "1", &Kind::BackupFailed, "104")).await;
    running.hears(site.event("hook", "2", &Kind::BackupFailed, "105")).await;
    pass(30).await;
    assert_eq!(site.told().len(), 2);
    let open = IncidentFilter { is_open: Some(true), ..IncidentFilter::default() };
    let first = running.events.incidents(&open, 10).await.unwrap()[0].clone();
    let taken = running.events.acknowledge(&first.id[..10], "ann").await.unwrap();
    assert_eq!(taken.acknowledged.unwrap().by, "ann");
    let now = stdx::Clock::now(&*site.clock);
    let silence = Silencing {
        when: Some("event.vmid == 106".to_owned()),
        from: now,
        until: now + SignedDuration::from_hours(2),
        author: "ann".to_owned(),
        reason: "a new disk".to_owned(),
    };
    running.events.silence("disk", silence.clone()).await.unwrap();
    let wrong = Silencing { when: Some("event.nothing".to_owned()), ..silence };
    let refused = running.events.silence("other", wrong).await.unwrap_err();
    assert!(matches!(refused, EventsError::Refused(_)), "{refused}");
    running.stop().await;

    // What is reported again while nobody listens comes afterwards, and is no news.
    let told = site.told();
    let running = site.run();
    pass(120).await;
    assert_eq!(site.told(), told);
    running.hears(site.event("hook", "1", &Kind::BackupFailed, "104")).await;
    running.hears(site.event("hook", "3", &Kind::BackupFailed, "106")).await;
    pass(600).await;
    assert_eq!(site.told(), told, "one is a double, the other is silenced");
    let silences = running.events.silences().await.unwrap();
    assert_eq!((silences.len(), silences[0].name.as_str()), (1, "disk"));
    let again = running.events.incident(&first.id, 1).await.unwrap().0;
    assert_eq!(again.acknowledged.unwrap().by, "ann");
    // The silence ends: what is still wrong is told.
    running.events.unsilence("disk").await.unwrap();
    pass(30).await;
    assert_eq!(site.told().len(), told.len() + 1);
    assert!(matches!(
        running.events.unsilence("disk").await.unwrap_err(),
        EventsError::NotFound(_)
    ));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn where_a_rule_sends_an_incident_its_end_is_told_after_a_restart_as_well() {
    let mut site = Site::new();
    let places = Places::Named(["storage".to_owned()].into());
    let ops = OutputConfig { places, ..OutputConfig::default() };
    site.rules.outputs.insert("ops".to_owned(), ops);
    let rule = RuleConfig {
        when: Some("event.vmid == 104".to_owned()),
        route: vec!["ops:storage".to_owned()],
        ..RuleConfig::default()
    };
    site.rules.rules.insert("databases".to_owned(), rule);
    let running = site.run();
    running.hears(site.event("hook", "1", &Kind::BackupFailed, "104")).await;
    running.hears(site.event("hook", "2", &Kind::BackupFailed, "105")).await;
    pass(30).await;
    running.stop().await;
    let running = site.run();
    running.hears(site.event("hook", "3", &Kind::BackupFinished, "104")).await;
    pass(30).await;
    let told = site.told().into_iter().zip(site.ops.places.lock().unwrap().clone());
    let mut told: Vec<String> =
        told.map(|((stand, title), place)| format!("{stand} {title} at {place:?}")).collect();
    told.sort();
    assert_eq!(
        told,
        [
            "new backup.failed of 104 at Some(\"storage\")",
            "new backup.failed of 105 at None",
            "resolved backup.failed of 104 at Some(\"storage\")",
        ]
    );
    let mail = site.mail.told.lock().unwrap().len();
    assert_eq!(mail, 1, "the rule names one output, everything else goes to both");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_input_that_says_nothing_of_what_the_task_list_saw_is_told_once_across_restarts() {
    let mut site = Site::new();
    site.rules.inputs.insert("hook".parse().unwrap(), ["lab".parse().unwrap()].into());
    let seen = |key: &str, vmid: &str| {
        let mut event = site.event("tasks", key, &Kind::BackupFailed, vmid);
        event.source.kind = "tasks".into();
        event
    };
    let mute = || {
        let told = site.told().into_iter().filter(|(_, title)| title.contains("the input"));
        told.collect::<Vec<_>>()
    };
    let running = site.run();
    for vmid in ["102", "103", "104"] {
        let key = format!("as ever {vmid}");
        running.hears(site.event("hook", &key, &Kind::BackupFailed, vmid)).await;
        running.hears(seen(&key, vmid)).await;
    }
    pass(3600).await;
    running.hears(seen("2", "105")).await;
    pass(300).await;
    running.stop().await;
    // What came in these hours nobody heard: that says nothing of the input.
    pass(7200).await;
    let running = site.run();
    pass(3600).await;
    assert_eq!(mute(), []);
    running.hears(seen("3", "106")).await;
    pass(1200).await;
    let title = "the input hook says nothing of lab".to_owned();
    assert_eq!(mute(), [(Stand::New, title.clone())]);
    running.stop().await;
    let running = site.run();
    running.hears(seen("4", "107")).await;
    pass(3600).await;
    assert_eq!(mute().len(), 1, "it is known");
    running.hears(site.event("hook", "2", &Kind::BackupFinished, "104")).await;
    pass(60).await;
    assert_eq!(mute(), [(Stand::New, title.clone()), (Stand::Resolved, title)]);
    running.stop().await;
}

/// The task of that type and guest that began then, by the manager's token.
fn task(kind: &str, vmid: &str, began: Timestamp) -> Upid {
    let began = began.as_second();
    format!("UPID:alder:000002D6:000C8274:{began:08X}:{kind}:{vmid}:mcp@pve!agent:")
        .parse()
        .unwrap()
}

/// What this program began: a plan of one call for each of these guests, the first two of which know
/// their tasks.
async fn began(actions: &dyn Actions, now: Timestamp, guests: &[&str]) -> String {
    let new = NewAction {
        principal: Principal::local(1000),
        tool: "guest_power".to_owned(),
        target: "lab/104 and others".to_owned(),
        digest: PlanForm::default().digest(),
        approval: None,
        access: Access::Operate,
        unasked: false,
        steps: 3,
        owner: "manager".to_owned(),
        call: KeptCall { tool: "guest_power".to_owned(), arguments: serde_json::Map::default() },
    };
    let action = actions.begin(new, now).await.unwrap();
    for (step, vmid) in (0..).zip(guests) {
        let trace = TaskTrace {
            member: "lab".to_owned(),
            node: "alder".to_owned(),
            kinds: vec!["qmstart".to_owned()],
            id: (*vmid).to_owned(),
            user: Some("mcp@pve!agent".to_owned()),
        };
        let intent = Intent {
            step,
            what: format!("start {vmid}"),
            calls: Vec::new(),
            trace: Some(trace),
            at: now,
            upid: None,
            end: None,
        };
        actions.intend(action, intent).await.unwrap();
        if step < 2 {
            actions.sent(action, step, &task("qmstart", vmid, now)).await.unwrap();
        }
    }
    action.to_string()
}

#[tokio::test(start_paused = true)]
async fn tasks_that_we_began_belong_to_their_run_and_a_failure_is_told_once_with_whose_it_is() {
    let actions =
        Arc::new(GuardStore::new(LazyStore::new(StoreUrl::Memory), SealKey::new(&[3; 32])));
    let mut site = Site::new();
    site.own = Some(OwnTasks {
        actions: Arc::clone(&actions) as Arc<dyn Actions>,
        accounts: ["mcp@pve!agent".to_owned()].into(),
    });
    let now = stdx::Clock::now(&*site.clock);
    let run = began(actions.as_ref(), now, &["104", "105", "106"]).await;
    let event = |kind: Kind, severity, upid: Upid, source: &str| {
        let mut event = site.event(source, upid.as_str(), &kind, upid.id());
        event.severity = severity;
        event.keys.insert(event_core::Key::Upid(upid.to_string()));
        event.subject.upid = Some(upid);
        // A source that says whose it is is not believed.
        event.labels.insert("asked_by".to_owned(), "token:mallory".to_owned());
        event
    };
    let good =
        |vmid| event(Kind::GuestStarted, Severity::Info, task("qmstart", vmid, now), "tasks");
    let bad =
        |vmid, source| event(Kind::TaskFailed, Severity::Error, task("qmstart", vmid, now), source);
    let running = site.run();
    running.hears(good("104")).await;
    running.hears(bad("105", "syslog")).await;
    running.hears(bad("105", "tasks")).await;
    // Its answer is lost: it is known by what was about to be sent.
    running.hears(bad("106", "tasks")).await;
    let stranger = event(Kind::TaskFailed, Severity::Error, task("qmstart", "107", now), "tasks");
    running.hears(stranger).await;
    pass(30).await;
    let told = site.told();
    assert_eq!(
        told.len(),
        2,
        "two of a run that fail are one incident, others' are their own: {told:?}"
    );
    let facts = running.events.store().after(event_core::Seq(0), 10).await.unwrap();
    let marks = |event: &Event| {
        let of = |label: &str| event.labels.get(label).cloned().unwrap_or_default();
        (of("run"), of("asked_by"))
    };
    let ours = (run.clone(), "local:1000".to_owned());
    let nobody = (String::new(), String::new());
    let found: Vec<_> = facts.iter().map(|it| marks(&it.event)).collect();
    assert_eq!(found, [ours.clone(), ours.clone(), ours.clone(), ours, nobody]);
    running.stop().await;

    // Nothing is asked again after a restart: it stands in the log.
    site.own = None;
    let running = site.run();
    running.hears(site.event("hook", "1", &Kind::BackupFailed, "104")).await;
    pass(600).await;
    let open = IncidentFilter { is_open: Some(true), ..IncidentFilter::default() };
    let found = running.events.incidents(&open, 10).await.unwrap();
    assert_eq!(found.len(), 3, "{found:?}");
    let of_run = found.iter().find(|it| it.reports == 4).expect("one of the run with four reports");
    let view = running.events.acknowledge(&of_run.id, "ann").await.unwrap();
    assert_eq!(view.reports, 4);
    pass(30).await;
    let facts = site.ops.facts.lock().unwrap().clone();
    let fact = |name: &str| facts.iter().find(|(it, _)| it == name).map(|(_, value)| value.clone());
    assert_eq!(fact("asked by").as_deref(), Some("local:1000"), "{facts:?}");
    assert_eq!(fact("run"), Some(run));
    assert!(fact("plan").is_some_and(|plan| plan.len() >= 8), "{facts:?}");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn wherever_it_is_broken_off_it_goes_on_there() {
    // What is told with nothing going wrong.
    let script = |site: &Site, at: u32| match at % 3 {
        0 => site.event("hook", &format!("h{at}"), &Kind::BackupFailed, &(100 + at).to_string()),
        1 => site.event("syslog", &format!("s{at}"), &Kind::BackupFailed, &(99 + at).to_string()),
        _ => site.event("tasks", &format!("t{at}"), &Kind::BackupFinished, &(98 + at).to_string()),
    };
    for broken in 0..24 {
        let site = Site::new();
        let mut running = site.run();
        for at in 0..12 {
            running.hears(script(&site, at)).await;
            pass(4).await;
            if at == broken / 2 {
                if broken % 2 == 0 {
                    // Killed: whatever it was at is not finished.
                    running.kill().await;
                } else {
                    running.stop().await;
                }
                running = site.run();
            }
        }
        pass(120).await;
        let keys: Vec<String> =
            site.ops.told.lock().unwrap().iter().map(|(key, ..)| key.clone()).collect();
        let titles: Vec<String> = site.told().into_iter().map(|(_, title)| title).collect();
        let mut once = keys.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), keys.len(), "{broken}: told twice: {titles:?}");
        let failures =
            EventFilter { kinds: vec!["backup.failed".to_owned()], ..EventFilter::default() };
        assert_eq!(running.events.find(&failures, None, 50).await.unwrap().events.len(), 8);
        let incidents = running.events.incidents(&IncidentFilter::default(), 50).await.unwrap();
        assert!(incidents.iter().all(|it| !it.is_open), "{broken}: {incidents:?}");
        assert_eq!(incidents.len(), 4, "{broken}: {incidents:?}");
        running.stop().await;
    }
}

impl Running {
    /// Ends every part at once, as a kill would.
    async fn kill(self) {
        drop(self.events);
        self.supervisor.stop(Duration::ZERO).await;
        // What had not ended by then is of no account: its store's calls are whole or not at all.
        pass(1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_so_at_the_first_start_is_told_once_in_one_message() {
    let mut site = Site::new();
    site.existing =
        ["104", "105"].map(|vmid| site.event("tasks", vmid, &Kind::GuestCrashed, vmid)).into();
    let running = site.run();
    pass(90).await;
    let told = site.told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].0, Stand::Digest);
    running.stop().await;
    // Not at the second.
    let running = site.run();
    pass(90).await;
    assert_eq!(site.told().len(), 1);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_output_that_is_down_is_announced_over_its_fallback_and_loses_nothing() {
    let site = Site::new();
    *site.ops.fails.lock().unwrap() = Some(Retry::Backoff);
    let running = site.run();
    running.hears(site.event("hook", "1", &Kind::BackupFailed, "104")).await;
    pass(3600).await;
    assert!(site.told().is_empty());
    let mail = site.mail.told.lock().unwrap().clone();
    let down = mail.iter().filter(|(_, _, title)| title.contains("the output ops")).count();
    assert_eq!(down, 1, "{mail:?}");
    let health = running.events.outputs().await.unwrap();
    assert_eq!((health["ops"].pending, health["mail"].pending), (1, 0));
    assert!(health["ops"].failing_since.is_some());
    *site.ops.fails.lock().unwrap() = None;
    pass(1800).await;
    assert_eq!(site.told().len(), 1);

    // Something for itself, past the rules.
    let now = stdx::Clock::now(&*site.clock);
    let message = event_core::Message::new(
        Stand::Test,
        "test",
        Kind::other("test"),
        Severity::Info,
        "a test",
        now,
    );
    let to = running.events.send(message.clone(), &["ops".to_owned()]).await.unwrap();
    assert_eq!(to.len(), 1);
    pass(5).await;
    assert_eq!(site.told().last().unwrap().1, "a test");
    let unknown = running.events.send(message, &["pager".to_owned()]).await.unwrap_err();
    assert!(unknown.to_string().contains("there are: mail, ops"), "{unknown}");
    running.stop().await;
}

#[tokio::test]
async fn people_ask_over_the_socket_and_what_they_change_is_written_down() {
    let site = Site::new();
    let pipeline = site.run();
    let events = pipeline.events.clone();
    let door = crate::support::start_with(Some(events));
    let client = control_api::Client::connect(&door.socket, crate::support::VERSION).await.unwrap();
    let changed = client.clone();
    let changed = tokio::spawn(async move { changed.events_changed(30).await });
    pipeline.hears(site.event("hook", "1", &Kind::BackupFailed, "104")).await;
    changed.await.unwrap().unwrap();
    let query = EventQuery { kinds: vec!["backup".to_owned()], ..EventQuery::default() };
    let found = testkit::wait_for("the event", Duration::from_secs(20), async || {
        let found = client.find_events(query.clone()).await.unwrap();
        let is_judged = !client.incidents(IncidentQuery::default()).await.unwrap().is_empty();
        match found.events.first().filter(|_| is_judged) {
            Some(_) => testkit::Progress::Ready(found),
            None => testkit::Progress::Pending("not yet".to_owned()),
        }
    })
    .await;
    assert_eq!(found.events[0].event.title, "backup.failed of 104");

    // A `serve` that is attached asks the same.
    let desk = RemoteEvents::new(door.socket.clone(), crate::support::VERSION);
    let place = found.events[0].seq.0;
    assert!(found.head >= place);
    let before = EventQuery { after: Some(place - 1), ..query.clone() };
    assert_eq!(desk.find(before).await.unwrap().events, found.events);
    let behind = EventQuery { after: Some(place), ..query.clone() };
    assert_eq!(desk.count(behind).await.unwrap().total, 0);
    let counts = desk.count(query.clone()).await.unwrap();
    assert_eq!((counts.total, counts.sorts.len(), counts.is_cut), (1, 1, false));
    assert_eq!(counts.sorts[0].kind, "backup.failed");
    for name in [place.to_string(), found.events[0].event.id.to_string()] {
        assert_eq!(desk.event(&name).await.unwrap(), found.events[0]);
    }
    for name in ["0", "18446744073709551615", "nothing"] {
        let why = desk.event(name).await.unwrap_err();
        assert_eq!(why.kind(), DeskErrorKind::NotFound, "{name}: {why}");
    }
    let open = IncidentQuery { open: Some(true), ..IncidentQuery::default() };
    let incidents = desk.incidents(open).await.unwrap();
    assert_eq!(incidents.len(), 1);
    let id = incidents[0].id.clone();
    let me = format!("local:{}", crate::support::own_uid());
    let why = desk.acknowledge(&id[..8], "whoever").await.unwrap_err();
    assert_eq!(why.kind(), DeskErrorKind::Invalid, "{why}");
    // Which account it was the manager knows by itself, and for whom by what that says.
    let asked = "token:n8n for oauth:https://id.example#ann";
    let taken = desk.acknowledge(&id[..8], asked).await.unwrap();
    let ann = format!("{me} for oauth:https://id.example#ann");
    assert_eq!(taken.acknowledged.unwrap().by, ann);
    let silence = NewSilence {
        name: "disk".to_owned(),
        when: Some("event.vmid == 104".to_owned()),
        for_secs: 3600,
        reason: "a new disk".to_owned(),
    };
    let made = desk.silence(silence.clone(), "token:ann").await.unwrap();
    let token = format!("{me} for token:ann");
    assert_eq!((made.author.as_str(), made.reason.as_str()), (token.as_str(), "a new disk"));
    assert_eq!(desk.silences().await.unwrap().len(), 1);
    let endless = NewSilence { for_secs: u64::MAX, ..silence.clone() };
    let why = desk.silence(endless, &me).await.unwrap_err();
    assert_eq!(why.kind(), DeskErrorKind::Invalid, "{why}");
    let why =
        desk.silence(NewSilence { name: "../x".to_owned(), ..silence }, &me).await.unwrap_err();
    assert!(why.to_string().contains("is no name of a silence"), "{why}");
    let why = desk.incident("zz", 1).await.unwrap_err();
    assert_eq!(why.kind(), DeskErrorKind::NotFound, "{why}");
    let notice = Notice {
        title: "a word".to_owned(),
        text: String::new(),
        severity: "info".to_owned(),
        outputs: vec!["ops".to_owned()],
        is_test: true,
    };
    assert_eq!(desk.send(notice, &me).await.unwrap(), ["ops"]);
    let health = desk.health().await.unwrap();
    assert_eq!((health.runs, health.open, health.inputs.len()), (true, 1, 3));
    // Secrets stay inside, those of the settings and those that look like some.
    let mut leaky = site.event("syslog", "1", &Kind::AuthFailed, "104");
    leaky.title = "login with correct horse battery".to_owned();
    leaky.message = "token=0123456789abcdef0123456789abcdef was tried".to_owned();
    leaky.labels.insert("said".to_owned(), "correct horse battery".to_owned());
    pipeline.hears(leaky).await;
    let auth = EventQuery { kinds: vec!["auth".to_owned()], ..EventQuery::default() };
    let found = client.find_events(auth).await.unwrap().events.remove(0);
    let shown = format!("{found:?} {:?}", client.event(&found.seq.to_string()).await.unwrap());
    assert!(shown.contains("login with"), "{shown}");
    assert!(!shown.contains("horse") && !shown.contains("0123456789abcdef"), "{shown}");
    let kept = pipeline.events.event(found.event.id).await.unwrap().unwrap();
    assert!(kept.event.title.contains("horse"), "the log has it whole");
    let records = client.audit_records(0, 10).await.unwrap().records;
    let kept: Vec<(&str, &str)> =
        records.iter().map(|it| (it.action.as_str(), it.principal.as_str())).collect();
    assert_eq!(
        kept,
        [
            ("incident.acknowledge", ann.as_str()),
            ("silence.set", token.as_str()),
            ("notification.send", me.as_str()),
        ]
    );
    pipeline.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_can_never_be_told_is_listed_replayed_and_purged() {
    let site = Site::new();
    *site.ops.fails.lock().unwrap() = Some(Retry::Never);
    let running = site.run();
    running.hears(site.event("hook", "1", &Kind::BackupFailed, "104")).await;
    pass(60).await;
    let all = DeadQuery::default();
    let dead = running.events.dead(&all).await.unwrap();
    assert_eq!((dead.len(), dead[0].title.as_str()), (1, "backup.failed of 104"));
    assert!(dead[0].error.as_deref().unwrap().contains("it is away"));
    *site.ops.fails.lock().unwrap() = None;
    let of_mail = DeadQuery { output: Some("mail".to_owned()), ..DeadQuery::default() };
    assert_eq!(running.events.replay(&of_mail).await.unwrap(), 0);
    let this = DeadQuery { keys: vec![dead[0].key.clone()], ..DeadQuery::default() };
    assert_eq!(running.events.replay(&this).await.unwrap(), 1);
    pass(60).await;
    assert_eq!(site.told(), [(Stand::New, "backup.failed of 104".to_owned())]);
    assert_eq!(running.events.purge(&all).await.unwrap(), 0);
    running.stop().await;
}
