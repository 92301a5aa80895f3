//! The loop that delivers, with time that passes as fast as it can.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use event_core::{
    ComponentId, Delivery, DeliveryKey, EventSink, Kind, Message, Queued, Receipt, Retry, Severity,
    SinkError, Stand,
};
use jiff::{SignedDuration, Timestamp};
use outputs::deliver::{Courier, Pace, Word};
use proptest::prelude::*;
use stdx::Clock;
use testkit::outbox::{Kept, MemoryOutbox};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// Time as the paused runtime has it.
struct Paused {
    start: Timestamp,
    begun: Instant,
}

impl Clock for Paused {
    fn now(&self) -> Timestamp {
        self.start + SignedDuration::try_from(self.begun.elapsed()).unwrap()
    }
}

impl fmt::Debug for Paused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Paused")
    }
}

/// What a service does with one attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Does {
    Takes,
    Breaks,
    Asks(u64),
    Refuses,
    /// Takes one part of two.
    TakesHalf,
    Hangs,
    /// A fault of the program.
    Panics,
}

/// What it does at that time, with that title, at that attempt.
type Script = dyn Fn(Duration, &str, usize) -> Does + Send + Sync;

/// A service that does by time, by title and by attempt what it is told to.
struct Service {
    id: ComponentId,
    begun: Instant,
    does: Box<Script>,
    /// Each attempt: when, what, and what became of it.
    tried: Mutex<Vec<(Duration, String, Does)>>,
}

#[async_trait]
impl EventSink for Service {
    fn id(&self) -> &ComponentId {
        &self.id
    }

    async fn check(&self) -> Result<String, SinkError> {
        Ok("it is there".to_owned())
    }

    async fn deliver(&self, delivery: &Delivery) -> Result<Receipt, SinkError> {
        let title = delivery.message.title.clone();
        let (at, count) = (self.begun.elapsed(), self.tried.lock().unwrap().len());
        let does = (self.does)(at, &title, count);
        self.tried.lock().unwrap().push((at, title.clone(), does));
        let failed = |retry| Err(SinkError::new(retry, format!("tell {title}: {does:?}")));
        let mut ids = delivery.so_far.clone().map_or_else(Vec::new, |receipt| receipt.ids);
        match does {
            Does::Takes => {
                ids.push(title);
                Ok(Receipt { ids, ..Receipt::default() })
            }
            Does::Breaks => failed(Retry::Backoff),
            Does::Asks(seconds) => failed(Retry::After(Duration::from_secs(seconds))),
            Does::Refuses => failed(Retry::Never),
            Does::TakesHalf => {
                ids.push("half".to_owned());
                let so_far = Receipt { ids, ..Receipt::default() };
                Err(SinkError::new(Retry::Backoff, "tell the rest").so_far(so_far))
            }
            Does::Hangs => {
                sleep(Duration::from_hours(10)).await;
                failed(Retry::Backoff)
            }
            Does::Panics => panic!("a fault that tests cause on purpose"),
        }
    }
}

struct Run {
    service: Arc<Service>,
    outbox: Arc<MemoryOutbox>,
    clock: Arc<Paused>,
    words: Arc<Mutex<Vec<Word>>>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    standing: tokio::sync::watch::Receiver<outputs::deliver::Standing>,
    waker: Arc<tokio::sync::Notify>,
}

impl Run {
    fn start(does: impl Fn(Duration, &str, usize) -> Does + Send + Sync + 'static) -> Self {
        let begun = Instant::now();
        let start = "2026-11-22T01:00:00Z".parse().unwrap();
        let clock = Arc::new(Paused { start, begun });
        let service = Arc::new(Service {
            id: "ops".parse().unwrap(),
            begun,
            does: Box::new(does),
            tried: Mutex::default(),
        });
        let (outbox, words) = (Arc::new(MemoryOutbox::default()), Arc::new(Mutex::default()));
        let heard: Arc<Mutex<Vec<Word>>> = Arc::clone(&words);
        let mut courier = Courier::new(
            Arc::clone(&service) as _,
            Arc::clone(&outbox) as _,
            Arc::clone(&clock) as _,
            Pace::default(),
            move |word| heard.lock().unwrap().push(word),
        );
        let (standing, waker) = (courier.standing(), courier.waker());
        let stop = CancellationToken::new();
        let task = tokio::spawn({
            let stop = stop.clone();
            async move { courier.run(stop).await }
        });
        Self { service, outbox, clock, words, stop, task, standing, waker }
    }

    fn put(&self, title: &str, incident: Option<&str>) -> DeliveryKey {
        let key = DeliveryKey::of([title]);
        let made = self.clock.now();
        let kind = Kind::BackupFailed;
        let message = Message::new(Stand::New, "i", kind, Severity::Error, title, made);
        let incident = incident.map(str::to_owned);
        let queued = Queued {
            key: key.clone(),
            incident,
            attempts: 0,
            made,
            prior: None,
            so_far: None,
            message,
        };
        self.outbox.put(&self.service.id, queued);
        self.waker.notify_one();
        key
    }

    fn tried(&self) -> Vec<(Duration, String, Does)> {
        self.service.tried.lock().unwrap().clone()
    }

    /// What was told, in order.
    fn told(&self) -> Vec<String> {
        let told =
            |(_, title, does): (Duration, String, Does)| (does == Does::Takes).then_some(title);
        self.tried().into_iter().filter_map(told).collect()
    }

    fn words(&self) -> Vec<Word> {
        self.words.lock().unwrap().clone()
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_lane_keeps_its_order_and_holds_no_other_up() {
    let run = Run::start(
        |_, title, count| {
            if title == "a1" && count < 4 { Does::Breaks } else { Does::Takes }
        },
    );
    for (title, lane) in [("a1", "a"), ("a2", "a"), ("b1", "b"), ("b2", "b")] {
        run.put(title, Some(lane));
    }
    sleep(Duration::from_mins(2)).await;
    assert_eq!(run.told(), ["b1", "b2", "a1", "a2"]);
    let key = DeliveryKey::of(["a1"]);
    assert!(matches!(run.outbox.kept(&key), Some(Kept::Told(_))));
    run.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_put_in_is_told_at_once() {
    let run = Run::start(|_, _, _| Does::Takes);
    sleep(Duration::from_millis(3_600_123)).await;
    run.put("a1", Some("a"));
    sleep(Duration::from_millis(20)).await;
    let (at, ..) = run.tried()[0];
    assert!(at < Duration::from_millis(3_600_140), "{at:?}");
    run.end().await;
}

/// An hour in which the service is away in every way that it can be.
fn away(at: Duration, count: usize) -> Does {
    match (at < Duration::from_hours(1), count % 4) {
        (false, _) => Does::Takes,
        (_, 0) => Does::Asks(30),
        (_, 1) => Does::Hangs,
        _ => Does::Breaks,
    }
}

#[tokio::test(start_paused = true)]
async fn an_hour_away_loses_nothing_and_is_said_once() {
    let run = Run::start(|at, _, count| away(at, count));
    let mut expected = Vec::new();
    for n in 0..40 {
        let (lane, title) = (format!("lane{}", n % 5), format!("{n:02}"));
        run.put(&title, Some(&lane));
        expected.push(title);
        sleep(Duration::from_secs(30)).await;
    }
    sleep(Duration::from_hours(2)).await;
    let told = run.told();
    let mut sorted = told.clone();
    sorted.sort();
    assert_eq!(sorted, expected, "each was told, and once");
    for lane in 0..5 {
        let of_lane: Vec<&String> =
            told.iter().filter(|title| title.parse::<u32>().unwrap() % 5 == lane).collect();
        assert!(of_lane.is_sorted(), "{of_lane:?}");
    }
    let failed = run.tried().len() - told.len();
    assert!(failed < 30, "{failed} attempts in an hour that it was away");
    match &run.words()[..] {
        [Word::Down { since, error, .. }, Word::Up { since: again, .. }] => {
            assert_eq!(since, again);
            assert!(error.starts_with("tell "), "{error}");
        }
        words => panic!("{words:?}"),
    }
    let first =
        run.tried().iter().find(|(at, _, does)| *does == Does::Takes && !at.is_zero()).unwrap().0;
    assert!(first < Duration::from_mins(76), "back after {first:?}");
    let standing = run.standing.borrow().clone();
    assert_eq!((standing.told, standing.buried, standing.error.clone()), (40, 0, None));
    assert_eq!((standing.failing_since, standing.shut_until), (None, None));
    run.end().await;
}

#[tokio::test(start_paused = true)]
async fn that_it_is_down_is_said_when_it_is_due() {
    let run = Run::start(|_, _, _| Does::Breaks);
    run.put("a1", Some("a"));
    sleep(Duration::from_secs(899)).await;
    assert_eq!(run.words(), []);
    sleep(Duration::from_secs(2)).await;
    assert!(matches!(run.words()[..], [Word::Down { .. }]), "{:?}", run.words());
    assert!(run.standing.borrow().failing_since.is_some());
    run.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_buried_and_its_lane_goes_on() {
    let run = Run::start(|_, title, _| if title == "a1" { Does::Refuses } else { Does::Takes });
    let key = run.put("a1", Some("a"));
    run.put("a2", Some("a"));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(run.told(), ["a2"]);
    assert_eq!(run.outbox.kept(&key), Some(Kept::Buried("tell a1: Refuses".to_owned())));
    match &run.words()[..] {
        [Word::Buried { key: buried, title, error, .. }] => {
            assert_eq!((buried, title.as_str(), error.as_str()), (&key, "a1", "tell a1: Refuses"));
        }
        words => panic!("{words:?}"),
    }
    run.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_an_output_holds_up_nobody_and_is_tried_again() {
    let run = Run::start(|at, title, _| match title {
        "a1" if at < Duration::from_mins(20) => Does::Panics,
        _ => Does::Takes,
    });
    run.put("a1", Some("a"));
    run.put("b1", Some("b"));
    sleep(Duration::from_mins(10)).await;
    assert_eq!(run.told(), ["b1"]);
    let standing = run.standing.borrow().clone();
    assert!(standing.failed > 1 && standing.told == 1, "{standing:?}");
    sleep(Duration::from_mins(50)).await;
    assert_eq!(run.told(), ["b1", "a1"]);
    run.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_revoked_webhook_costs_five_messages_and_not_all_of_them() {
    let run = Run::start(|_, _, _| Does::Refuses);
    for n in 0..50 {
        run.put(&n.to_string(), None);
    }
    sleep(Duration::from_secs(10)).await;
    assert_eq!(run.standing.borrow().buried, 5);
    sleep(Duration::from_hours(1)).await;
    let buried = run.standing.borrow().buried;
    assert!((8..20).contains(&buried), "{buried} in an hour");
    assert!(run.words().iter().any(|word| matches!(word, Word::Down { .. })));
    run.end().await;
}

#[tokio::test(start_paused = true)]
async fn after_three_days_it_is_given_up() {
    let run = Run::start(|_, title, _| if title == "a1" { Does::Breaks } else { Does::Takes });
    let key = run.put("a1", Some("a"));
    sleep(Duration::from_hours(71)).await;
    assert!(matches!(run.outbox.kept(&key), Some(Kept::Waiting(Some(_)))));
    let (_, attempts) = run.outbox.next(&key).unwrap();
    assert!((250..700).contains(&attempts), "{attempts} attempts in 71 hours");
    sleep(Duration::from_hours(2)).await;
    match run.outbox.kept(&key) {
        Some(Kept::Buried(why)) => {
            assert_eq!(why, "given up after 72 hours; the last time: tell a1: Breaks");
        }
        kept => panic!("{kept:?}"),
    }
    run.end().await;
}

#[tokio::test(start_paused = true)]
async fn parts_that_were_taken_are_not_told_again() {
    let run = Run::start(|_, _, count| if count == 0 { Does::TakesHalf } else { Does::Takes });
    let key = run.put("a1", None);
    sleep(Duration::from_mins(1)).await;
    let receipt = Receipt { ids: vec!["half".to_owned(), "a1".to_owned()], ..Receipt::default() };
    assert_eq!(run.outbox.kept(&key), Some(Kept::Told(receipt)));
    run.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_written_down_is_not_told_again() {
    let run = Run::start(|_, _, _| Does::Takes);
    run.outbox.set_away(true);
    let key = run.put("a1", Some("a"));
    sleep(Duration::from_mins(2)).await;
    assert_eq!(run.tried().len(), 0);
    run.outbox.set_away(false);
    // It goes away again between the reading and the writing.
    let outbox = Arc::clone(&run.outbox);
    while run.tried().is_empty() {
        sleep(Duration::from_millis(1)).await;
    }
    outbox.set_away(true);
    run.put("b1", Some("b"));
    sleep(Duration::from_mins(5)).await;
    outbox.set_away(false);
    sleep(Duration::from_mins(5)).await;
    assert_eq!(run.told(), ["a1", "b1"]);
    assert!(matches!(run.outbox.kept(&key), Some(Kept::Told(_))));
    run.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_the_delivery_that_is_under_way() {
    let run = Run::start(|_, _, _| Does::Hangs);
    let key = run.put("a1", None);
    sleep(Duration::from_secs(1)).await;
    let outbox = Arc::clone(&run.outbox);
    run.end().await;
    assert!(matches!(outbox.kept(&key), Some(Kept::Waiting(Some(_)))), "what became of it is kept");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn whatever_a_service_does_each_is_told_once_or_buried_and_in_order(
        script in proptest::collection::vec(0_u8..10, 1..80),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async move {
            let run = Run::start(move |_, _, count| match script.get(count) {
                Some(0..3) | None => Does::Takes,
                Some(3..6) => Does::Breaks,
                Some(6) => Does::Asks(17),
                Some(7) => Does::Refuses,
                Some(8) => Does::TakesHalf,
                Some(_) => Does::Hangs,
            });
            let titles: Vec<String> = (0..30).map(|n| format!("{n:02}")).collect();
            for (n, title) in titles.iter().enumerate() {
                run.put(title, Some(["a", "b", "c"][n % 3]));
            }
            for _ in 0..60 {
                sleep(Duration::from_hours(1)).await;
                let standing = run.standing.borrow().clone();
                if standing.told + standing.buried == 30 {
                    break;
                }
            }
            // Long enough for anything to be told twice that would be.
            sleep(Duration::from_hours(1)).await;
            let mut ended: Vec<String> = run
                .tried()
                .into_iter()
                .filter(|(_, _, does)| matches!(does, Does::Takes | Does::Refuses))
                .map(|(_, title, _)| title)
                .collect();
            for lane in 0..3 {
                let of_lane = |title: &&String| title.parse::<usize>().unwrap() % 3 == lane;
                assert!(ended.iter().filter(of_lane).is_sorted());
            }
            ended.sort();
            assert_eq!(ended, titles);
            run.end().await;
        });
    }
}
