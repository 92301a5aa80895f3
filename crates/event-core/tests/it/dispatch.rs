//! Batches: kept before they are acknowledged, tried again while the log is away, refused in time.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use event_core::{
    Ack, AckReceiver, Appended, ComponentId, Cursor, Event, EventLog, Kind, LogError, LogErrorKind,
    Logged, Ruling, Seq,
    dispatch::{self, Batching, Report, Written},
};
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A log in memory that can be away, and counts how often it was written.
#[derive(Default)]
struct Log(Mutex<State>);

#[derive(Default)]
struct State {
    events: Vec<Arc<Event>>,
    cursors: Vec<(ComponentId, Cursor)>,
    batches: Vec<usize>,
    fails: u32,
}

#[async_trait]
impl EventLog for Log {
    async fn append(
        &self,
        events: Vec<Arc<Event>>,
        cursors: Vec<(ComponentId, Cursor)>,
    ) -> Result<Vec<Appended>, LogError> {
        let mut state = self.0.lock().expect("not poisoned");
        if state.fails > 0 {
            state.fails -= 1;
            return Err(LogError::new(
                LogErrorKind::Unavailable,
                "write the log: the disk is full",
            ));
        }
        state.batches.push(events.len());
        state.cursors.extend(cursors);
        let mut appended = Vec::new();
        for event in events {
            let at = state.events.iter().position(|kept| kept.source_key == event.source_key);
            appended.push(match at {
                Some(at) => Appended::Duplicate(Seq(at as u64 + 1)),
                None => {
                    state.events.push(event);
                    Appended::New(Seq(state.events.len() as u64))
                }
            });
        }
        Ok(appended)
    }

    async fn cursor(&self, source: &ComponentId) -> Result<Option<Cursor>, LogError> {
        let state = self.0.lock().expect("not poisoned");
        let mut cursors = state.cursors.iter().rev();
        Ok(cursors.find(|(id, _)| id == source).map(|(_, cursor)| cursor.clone()))
    }

    async fn after(&self, _: Seq, _: u32) -> Result<Vec<Logged>, LogError> {
        Ok(Vec::new())
    }

    async fn head(&self) -> Result<Seq, LogError> {
        Ok(Seq(self.0.lock().expect("not poisoned").events.len() as u64))
    }
}

fn report(key: &str) -> (Report, AckReceiver) {
    let source: ComponentId = "in".parse().expect("a name");
    let event = Event::builder(&source, "syslog", key, Kind::TaskFailed, Timestamp::UNIX_EPOCH);
    let (ack, receiver) = Ack::pair();
    let event = event.build(Timestamp::UNIX_EPOCH);
    (Report { event, cursor: Some(Cursor::new(key)), ack }, receiver)
}

struct Run {
    log: Arc<Log>,
    sender: mpsc::Sender<Report>,
    stop: CancellationToken,
    writer: tokio::task::JoinHandle<Written>,
}

fn run(fails: u32) -> Run {
    let log = Arc::new(Log::default());
    log.0.lock().expect("not poisoned").fails = fails;
    let (sender, receiver) = mpsc::channel(64);
    let stop = CancellationToken::new();
    let writer = dispatch::write(
        Arc::clone(&log) as Arc<dyn EventLog>,
        receiver,
        Batching::default(),
        stop.clone(),
        |_| {},
    );
    Run { log, sender, stop, writer: tokio::spawn(writer) }
}

#[tokio::test(start_paused = true)]
async fn what_comes_together_is_kept_together() {
    let run = run(0);
    let mut receivers = Vec::new();
    for key in ["a", "b", "a", "c"] {
        let (report, receiver) = report(key);
        run.sender.send(report).await.unwrap();
        receivers.push(receiver);
    }
    let mut rulings = Vec::new();
    for receiver in receivers {
        rulings.push(receiver.ruling().await);
    }
    use Ruling::{Committed, Duplicate};
    assert_eq!(rulings, [Committed, Committed, Duplicate, Committed]);
    assert_eq!(run.log.0.lock().expect("not poisoned").batches, [4]);
    let cursor = run.log.cursor(&"in".parse().unwrap()).await.unwrap();
    assert_eq!(cursor, Some(Cursor::new("c")));
    drop(run.sender);
    let written = run.writer.await.unwrap();
    assert_eq!(written, Written { kept: 3, duplicates: 1, rejected: 0 });
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_away_for_a_moment_loses_nothing() {
    let run = run(3);
    let (report, receiver) = report("a");
    run.sender.send(report).await.unwrap();
    assert_eq!(receiver.ruling().await, Ruling::Committed);
    assert_eq!(run.log.head().await.unwrap(), Seq(1));
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_told_when_it_cannot_be_kept() {
    let run = run(u32::MAX);
    let (report, receiver) = report("a");
    let began = tokio::time::Instant::now();
    run.sender.send(report).await.unwrap();
    let ruling = receiver.ruling().await;
    assert!(!ruling.is_kept());
    // A webhook's sender gives up after ten seconds.
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    run.stop.cancel();
    assert_eq!(run.writer.await.unwrap().rejected, 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_in_before_the_end_is_kept() {
    let run = run(0);
    let mut receivers = Vec::new();
    for key in ["a", "b"] {
        let (report, receiver) = report(key);
        run.sender.send(report).await.unwrap();
        receivers.push(receiver);
    }
    run.stop.cancel();
    assert_eq!(run.writer.await.unwrap().kept, 2);
    for receiver in receivers {
        assert_eq!(receiver.ruling().await, Ruling::Committed);
    }
    assert!(run.sender.send(report("c").0).await.is_err());
}
