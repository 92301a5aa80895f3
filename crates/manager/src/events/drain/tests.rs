//! A store that goes away and comes back, over a log in memory that can be told to.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use event_core::dispatch::Report;
use event_core::{Ack, AckReceiver, Appended, Cursor, LogError, LogErrorKind, Logged, Ruling, Seq};
use jiff::SignedDuration;
use store::{MemoryStore, Store};
use testkit::contract;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::super::recent::Recent;
use super::*;
use crate::events::kept::{CAME, KeptLog};
use crate::events::promise;

/// The time as tokio's tests have it.
#[derive(Debug)]
struct Virtual(Instant);

impl Clock for Virtual {
    fn now(&self) -> Timestamp {
        contract::event_log::noon() + SignedDuration::try_from(self.0.elapsed()).unwrap()
    }
}

/// How the log is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Well,
    Refuses,
    /// It takes everything in and never says so.
    Silent,
}

/// A log in memory that says what it does itself.
struct Moody {
    inner: Arc<dyn EventLog>,
    mood: Mutex<Mood>,
    /// Goes away after so many further appends.
    left: AtomicU64,
}

#[async_trait::async_trait]
impl EventLog for Moody {
    async fn append(
        &self,
        events: Vec<Arc<Event>>,
        cursors: Vec<(ComponentId, Cursor)>,
    ) -> Result<Vec<Appended>, LogError> {
        let mood = *self.mood.lock().unwrap();
        if mood == Mood::Refuses || self.left.fetch_sub(1, Ordering::Relaxed) == 0 {
            *self.mood.lock().unwrap() = Mood::Refuses;
            return Err(LogError::new(LogErrorKind::Unavailable, "keep events: it is gone"));
        }
        let appended = self.inner.append(events, cursors).await;
        if mood == Mood::Silent {
            std::future::pending::<()>().await;
        }
        appended
    }

    async fn cursor(&self, source: &ComponentId) -> Result<Option<Cursor>, LogError> {
        self.inner.cursor(source).await
    }

    async fn after(&self, seq: Seq, limit: u32) -> Result<Vec<Logged>, LogError> {
        self.inner.after(seq, limit).await
    }

    async fn head(&self) -> Result<Seq, LogError> {
        self.inner.head().await
    }
}

/// A run over a store and a folder that outlive it.
struct Run {
    log: Arc<Moody>,
    side: Side,
    reports: mpsc::Sender<Report>,
    stop: CancellationToken,
    tasks: [tokio::task::JoinHandle<()>; 2],
}

struct Site {
    store: Arc<dyn Store>,
    folder: tempfile::TempDir,
    clock: Arc<dyn Clock>,
}

impl Site {
    fn new() -> Self {
        Self {
            store: Arc::new(MemoryStore::new()),
            folder: tempfile::tempdir().unwrap(),
            clock: Arc::new(Virtual(Instant::now())),
        }
    }

    fn run(&self, mood: Mood, room: u64) -> Run {
        let away = Away::default();
        let (kept, _) = watch::channel(Seq(0));
        let clock = Arc::clone(&self.clock);
        let inner =
            KeptLog::new(Arc::clone(&self.store), away.clone(), clock, kept, Recent::default());
        let log = Arc::new(Moody {
            inner: Arc::new(inner),
            mood: Mutex::new(mood),
            left: AtomicU64::new(u64::MAX),
        });
        let spool = Some(Spool::open(self.folder.path(), room).unwrap());
        let clock = Arc::clone(&self.clock);
        let health = Health::default();
        health.know(&"hooks".parse().unwrap(), "webhook");
        let side = Side { log: log.clone(), spool, away, health, clock };
        let (reports, mut promised) = mpsc::channel(64);
        let stop = CancellationToken::new();
        let tasks = [
            tokio::spawn({
                let (side, stop) = (side.clone(), stop.clone());
                async move { promise::write(&side, &mut promised, stop).await }
            }),
            tokio::spawn(side.clone().drain(stop.clone())),
        ];
        Run { log, side, reports, stop, tasks }
    }

    fn event(&self, key: &str) -> Event {
        let event = contract::event_log::report("hooks", key, 0);
        let now = self.clock.now();
        let kind = event.kind.clone();
        Event::builder(&event.source.id, "webhook", key, kind, now).title("a backup").build(now)
    }

    /// What is in the store, by kind or, of what was heard, by key.
    async fn kept(&self) -> Vec<String> {
        let kept = self.store.after(Seq(0), 1000).await.unwrap();
        let name = |event: &Event| match event.kind.family() {
            "monitor" => event.kind.to_string(),
            _ => event.source_key.to_string(),
        };
        kept.iter().map(|logged| name(&logged.event)).collect()
    }
}

impl Run {
    fn be(&self, mood: Mood) {
        *self.log.mood.lock().unwrap() = mood;
    }

    async fn tell(&self, event: Event) -> AckReceiver {
        let (ack, ruling) = Ack::promise();
        self.reports.send(Report { event, cursor: None, ack }).await.unwrap();
        ruling
    }

    async fn rules(&self, event: Event) -> Ruling {
        self.tell(event).await.ruling().await
    }

    fn waiting(&self) -> u64 {
        self.side.spool.as_ref().unwrap().level().events
    }

    async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            task.await.unwrap();
        }
    }

    /// Ended at once, whatever it was at.
    async fn kill(self) {
        for task in self.tasks {
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled());
        }
    }
}

const ROOM: u64 = 1024 * 1024;
const AWAY_AND_BACK: [&str; 2] = ["monitor.store_away", "monitor.store_back"];

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_peer_was_promised_waits_and_is_in_the_log_once_in_its_order() {
    for gone in [Mood::Refuses, Mood::Silent] {
        let site = Site::new();
        let run = site.run(Mood::Well, ROOM);
        assert_eq!(run.rules(site.event("1")).await, Ruling::Committed);
        assert_eq!(run.rules(site.event("1")).await, Ruling::Duplicate);
        run.be(gone);
        let begun = Instant::now();
        assert_eq!(run.rules(site.event("2")).await, Ruling::Aside);
        assert!(begun.elapsed() < Duration::from_secs(8), "before a peer goes away");
        run.be(Mood::Refuses);
        for key in ["3", "4", "2"] {
            assert_eq!(run.rules(site.event(key)).await, Ruling::Aside);
        }
        assert_eq!(run.waiting(), 4);
        pass(600).await;
        assert!(run.side.away.since().is_some());
        run.be(Mood::Well);
        pass(10).await;
        assert_eq!(run.waiting(), 0);
        assert_eq!(run.side.away.since(), None);
        assert_eq!(run.rules(site.event("5")).await, Ruling::Committed);
        pass(60).await;
        let kept = site.kept().await;
        let [away, back] = AWAY_AND_BACK;
        // A log that was silent had taken it in.
        match gone {
            Mood::Silent => assert_eq!(kept, ["1", "2", away, "3", "4", "5", back]),
            _ => assert_eq!(kept, ["1", away, "2", "3", "4", "5", back]),
        }
        let told = site.store.after(Seq(0), 100).await.unwrap();
        let third = told.iter().find(|it| it.event.source_key.as_str() == "3").unwrap();
        let came: Timestamp = third.event.labels[CAME].parse().unwrap();
        assert_eq!(came, third.event.time, "when it came is kept");
        assert!(third.event.received > came, "it is heard when it is kept");
        let back = &told.last().unwrap().event;
        assert!(back.message.starts_with("4 reports were put aside"), "{}", back.message);
        assert_eq!(run.side.away.absence(), None);
        run.stop().await;
        assert!(Spool::open(site.folder.path(), ROOM).unwrap().marked().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_outlives_the_program_wherever_it_is_broken_off() {
    // So many appends succeed before the store is gone again and the program is killed.
    for left in 0..5 {
        let site = Site::new();
        let run = site.run(Mood::Refuses, ROOM);
        for key in ["1", "2", "3"] {
            assert_eq!(run.rules(site.event(key)).await, Ruling::Aside);
        }
        run.log.left.store(left, Ordering::Relaxed);
        run.be(Mood::Well);
        pass(20).await;
        run.kill().await;
        let run = site.run(Mood::Well, ROOM);
        assert!(run.rules(site.event("4")).await.is_kept());
        pass(60).await;
        assert_eq!(run.waiting(), 0);
        run.stop().await;
        let mut kept = site.kept().await;
        kept.sort();
        let [away, back] = AWAY_AND_BACK;
        assert_eq!(kept, ["1", "2", "3", "4", away, back], "after {left} appends");
    }
}

#[tokio::test(start_paused = true)]
async fn without_room_the_sender_is_refused_and_that_is_said() {
    let site = Site::new();
    let run = site.run(Mood::Refuses, 1100);
    let mut rulings = Vec::new();
    for key in ["1", "2", "3", "4"] {
        rulings.push(run.rules(site.event(key)).await);
    }
    let kept = rulings.iter().filter(|ruling| ruling.is_kept()).count();
    assert!((1..4).contains(&kept), "{rulings:?}");
    assert_eq!(rulings[kept..], vec![Ruling::Rejected; 4 - kept]);
    let view = run.side.away.view();
    assert_eq!((view.put, view.refused), (kept as u64, 4 - kept as u64));
    let hooks = run.side.health.all().remove(&"hooks".parse().unwrap()).unwrap_or_default();
    assert_eq!(hooks.refused, 4 - kept as u64, "it is known whose they were");
    run.be(Mood::Well);
    pass(60).await;
    let told = site.store.after(Seq(0), 100).await.unwrap();
    assert_eq!(told.len(), kept + 2);
    let back = &told.last().unwrap().event.message;
    assert!(back.contains(&format!("{} were refused", 4 - kept)), "{back}");
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_comes_and_goes_is_away_once() {
    let site = Site::new();
    let run = site.run(Mood::Well, ROOM);
    for round in 0..3 {
        run.be(Mood::Refuses);
        assert_eq!(run.rules(site.event(&format!("away {round}"))).await, Ruling::Aside);
        pass(20).await;
        run.be(Mood::Well);
        pass(15).await;
        assert_eq!(run.rules(site.event(&format!("well {round}"))).await, Ruling::Committed);
    }
    pass(60).await;
    let kept = site.kept().await;
    let told = kept.iter().filter(|name| name.starts_with("monitor")).count();
    assert_eq!((kept.len(), told), (8, 2), "{kept:?}");
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_moment_is_waited_for() {
    let site = Site::new();
    let run = site.run(Mood::Refuses, ROOM);
    let ruling = run.tell(site.event("1")).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    run.be(Mood::Well);
    assert_eq!(ruling.ruling().await, Ruling::Committed);
    run.stop().await;
    assert_eq!(site.kept().await, ["1"]);
}

#[tokio::test]
async fn the_log_that_the_writers_see_is_one() {
    let clock = Arc::new(stdx::ManualClock::at(contract::event_log::noon()));
    let (kept, follow) = watch::channel(Seq(0));
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let log = KeptLog::new(Arc::clone(&store), Away::default(), clock, kept, Recent::default());
    contract::event_log::event_log(&log).await;
    assert_eq!(*follow.borrow(), log.head().await.unwrap(), "who follows is told of the last");
}
