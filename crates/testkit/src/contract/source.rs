//! The contract of whatever hears: how a run begins and ends, and when its peer is told that it was heard.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use event_core::{Ack, Event, EventSource, Ruling, RunContext, Signal, SourceError};
use futures::{StreamExt as _, stream::BoxStream};
use stdx::SystemClock;
use tokio::{task::yield_now, time::timeout};
use tokio_util::sync::CancellationToken;

/// Whoever reports to the source that is tested.
#[async_trait]
pub trait Reporter: Send + Sync + 'static {
    /// Waits until the source takes reports, then sends one with this text in it, and says what it was told.
    async fn report(&self, text: &str) -> Told;

    /// Whether this way has answers at all.
    fn is_answered(&self) -> bool;
}

/// What a reporter was told of its report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nothing: this way has no answers.
    Nothing,
    /// That it is kept.
    Kept,
    /// That it is not.
    Refused,
}

/// How long something that must happen may take on a slow machine. Nothing waits for it to pass.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a reporter gets the chance to go on, where it must not.
const CHANCES: usize = 200;

type Stream = BoxStream<'static, Result<Signal, SourceError>>;

/// What every source of reports does.
///
/// # Panics
///
/// Where the contract is broken.
pub async fn source(source: Arc<dyn EventSource>, reporter: Arc<dyn Reporter>) {
    let said = source.check().await.expect("the check of a source that works");
    assert!(!said.is_empty(), "a check says what it found");

    // Twice: a run leaves nothing behind that hinders the next.
    let mut keys = BTreeSet::new();
    for run in 0..2 {
        let stop = CancellationToken::new();
        let mut stream = source.run(RunContext::new(stop.clone(), SystemClock::shared()), None);
        begins(&mut stream).await;
        tells(&*source, &mut stream, &reporter, run, &mut keys).await;
        answers_after_commit(&mut stream, &reporter).await;
        source.check().await.expect("the check of a source that runs");
        ends(stream, &stop).await;
    }

    // Whoever drops the stream has ended the run as well.
    let mut stream =
        source.run(RunContext::new(CancellationToken::new(), SystemClock::shared()), None);
    begins(&mut stream).await;
    drop(stream);
    let stop = CancellationToken::new();
    let mut stream = source.run(RunContext::new(stop.clone(), SystemClock::shared()), None);
    begins(&mut stream).await;
    ends(stream, &stop).await;
}

/// A run says first what is there, and then from where changes follow.
async fn begins(stream: &mut Stream) {
    match next(stream).await {
        Signal::SyncStarted => {}
        other => panic!("a run begins with {other:?}"),
    }
    loop {
        match next(stream).await {
            Signal::Existing(_) | Signal::Idle => {}
            Signal::SyncFinished(_) => return,
            other => panic!("before it has told what is there, a run says {other:?}"),
        }
    }
}

/// Each report is an event of this source, with its original, and no two have one key.
async fn tells(
    source: &dyn EventSource,
    stream: &mut Stream,
    reporter: &Arc<dyn Reporter>,
    run: u32,
    keys: &mut BTreeSet<String>,
) {
    for number in 0..3 {
        let text = format!("report {run}-{number} of the contract");
        let reporting = report(reporter, &text);
        let (event, ack) = changed(stream).await;
        assert_eq!(event.source.id, *source.id(), "an event names its source");
        let raw = event.raw.expect("an event has its original");
        assert!(raw.text.contains(&text), "{:?} holds {text:?}", raw.text);
        assert!(event.title.contains(&text), "{:?} says {text:?}", event.title);
        let key = event.source_key.as_str().to_owned();
        assert!(keys.insert(key), "two reports have the key {}", event.source_key);
        ack.resolve(Ruling::Committed);
        let told = finished(reporting).await;
        assert_ne!(told, Told::Refused, "what is kept is not refused");
    }
}

/// Where a peer is answered, it is told only what is so, and not before it is so.
async fn answers_after_commit(stream: &mut Stream, reporter: &Arc<dyn Reporter>) {
    for (text, ruling, expected) in [
        ("is committed", Some(Ruling::Committed), Told::Kept),
        ("is there already", Some(Ruling::Duplicate), Told::Kept),
        ("is rejected", Some(Ruling::Rejected), Told::Refused),
        ("is forgotten", None, Told::Refused),
    ] {
        let reporting = report(reporter, &format!("a report that {text}"));
        let (_, ack) = changed(stream).await;
        for _ in 0..CHANCES {
            yield_now().await;
            let is_early = reporting.is_finished() && reporter.is_answered();
            assert!(!is_early, "the peer was told before anything was kept");
        }
        match ruling {
            Some(ruling) => ack.resolve(ruling),
            None => drop(ack),
        }
        let told = finished(reporting).await;
        let expected = if reporter.is_answered() { expected } else { Told::Nothing };
        assert_eq!(told, expected, "what the peer was told of what {text}");
    }
}

/// A stopped run ends within a second, whatever it was doing.
async fn ends(mut stream: Stream, stop: &CancellationToken) {
    stop.cancel();
    let ended = timeout(Duration::from_secs(1), async {
        while let Some(signal) = stream.next().await {
            signal.expect("a run that is stopped does not fail");
        }
    });
    ended.await.expect("a run ends within a second of being stopped");
}

fn report(reporter: &Arc<dyn Reporter>, text: &str) -> tokio::task::JoinHandle<Told> {
    let (reporter, text) = (Arc::clone(reporter), text.to_owned());
    tokio::spawn(async move { reporter.report(&text).await })
}

async fn finished(reporting: tokio::task::JoinHandle<Told>) -> Told {
    let told = timeout(PATIENCE, reporting).await.expect("the reporter comes to an end");
    told.expect("the reporter does not panic")
}

async fn next(stream: &mut Stream) -> Signal {
    let signal = timeout(PATIENCE, stream.next()).await.expect("the run says something in time");
    signal.expect("the run goes on").expect("the run does not fail")
}

/// The next news.
async fn changed(stream: &mut Stream) -> (Event, Ack) {
    loop {
        match next(stream).await {
            Signal::Changed { event, ack, .. } => return (event, ack),
            Signal::Idle | Signal::Waiting(_) | Signal::Lost { .. } => {}
            other => panic!("after its beginning, a run says {other:?}"),
        }
    }
}
