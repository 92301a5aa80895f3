//! One target with its queue: offers are taken or dropped at once, a task delivers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use stdx::Backoff;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::Copy;

/// How many copies wait at most for one target.
const QUEUE: usize = 1000;
/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// How a message gets to its target.
#[async_trait]
pub(crate) trait Transport: Send + Sync + 'static {
    /// How often one message is tried.
    fn attempts(&self) -> u32;

    /// Delivers a record.
    async fn send(&self, copy: &Copy) -> Result<(), String>;

    /// Tells the receiver that so many records did not reach it.
    async fn tell_dropped(&self, count: u64, last: &Copy) -> Result<(), String>;
}

/// A target.
#[derive(Debug)]
pub(crate) struct Lane {
    name: String,
    queue: mpsc::Sender<Arc<Copy>>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// In the queue or under way.
    waiting: AtomicU64,
    /// Dropped since the start.
    dropped: AtomicU64,
    /// Dropped and not yet told to the receiver.
    untold: AtomicU64,
    idle: Notify,
}

// === impl Lane ===

impl Lane {
    pub(crate) fn start(name: String, transport: impl Transport) -> Self {
        let (queue, copies) = mpsc::channel(QUEUE);
        let state = Arc::new(State::default());
        tokio::spawn(deliver(name.clone(), copies, Arc::clone(&state), transport));
        Self { name, queue, state }
    }

    /// Queues it, or drops it if the queue is full.
    pub(crate) fn offer(&self, copy: Arc<Copy>) {
        self.state.waiting.fetch_add(1, SeqCst);
        if self.queue.try_send(copy).is_err() {
            self.state.drop_one(&self.name, "the queue is full");
            self.state.done();
        }
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.state.dropped.load(SeqCst)
    }

    /// Waits until nothing waits, and says how much does at the end of time.
    pub(crate) async fn finish(&self, end: Instant) -> u64 {
        let idle = async {
            loop {
                // Asked for before looking, so that no word is missed.
                let notified = self.state.idle.notified();
                if self.state.waiting.load(SeqCst) == 0 {
                    return;
                }
                notified.await;
            }
        };
        let _ = timeout_at(end, idle).await;
        let left = self.state.waiting.load(SeqCst);
        if left > 0 {
            tracing::warn!(sink = %self.name, left, "copies of audit records were left");
        }
        left
    }
}

// === impl State ===

impl State {
    fn done(&self) {
        if self.waiting.fetch_sub(1, SeqCst) == 1 {
            self.idle.notify_waiters();
        }
    }

    /// Counts one that is lost. The first of a row is said at once; how many it became is said when
    /// the target is reached again.
    fn drop_one(&self, name: &str, why: &str) {
        self.dropped.fetch_add(1, SeqCst);
        if self.untold.fetch_add(1, SeqCst) == 0 {
            tracing::warn!(sink = %name, why, "a copy of an audit record was dropped");
        }
    }
}

async fn deliver(
    name: String,
    mut copies: mpsc::Receiver<Arc<Copy>>,
    state: Arc<State>,
    transport: impl Transport,
) {
    while let Some(copy) = copies.recv().await {
        match with_attempts(&transport, &copy).await {
            Ok(()) => tell_dropped(&name, &state, &transport, &copy).await,
            Err(why) => state.drop_one(&name, &why),
        }
        state.done();
    }
}

async fn with_attempts(transport: &impl Transport, copy: &Copy) -> Result<(), String> {
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    loop {
        let attempt = timeout(ATTEMPT, transport.send(copy)).await;
        let why = match attempt {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(why)) => why,
            Err(_) => format!("it did not answer within {} s", ATTEMPT.as_secs()),
        };
        if backoff.attempts() + 1 >= transport.attempts() {
            return Err(why);
        }
        sleep(backoff.next_delay()).await;
    }
}

/// Says how many were lost before this one, here and there.
async fn tell_dropped(name: &str, state: &State, transport: &impl Transport, last: &Copy) {
    let count = state.untold.swap(0, SeqCst);
    if count == 0 {
        return;
    }
    tracing::warn!(sink = %name, count, "copies of audit records were dropped");
    let told = timeout(ATTEMPT, transport.tell_dropped(count, last)).await;
    if !matches!(told, Ok(Ok(()))) {
        // With the next one, then.
        state.untold.fetch_add(count, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Takes messages while it is up, and remembers them.
    #[derive(Clone, Default)]
    struct Fake {
        seen: Arc<Mutex<Vec<String>>>,
        tried: Arc<AtomicU64>,
        /// This many attempts fail first.
        failing: Arc<AtomicU64>,
        hangs: bool,
    }

    #[async_trait]
    impl Transport for Fake {
        fn attempts(&self) -> u32 {
            3
        }

        async fn send(&self, copy: &Copy) -> Result<(), String> {
            self.tried.fetch_add(1, SeqCst);
            if self.hangs {
                std::future::pending::<()>().await;
            }
            if self.failing.load(SeqCst) > 0 {
                self.failing.fetch_sub(1, SeqCst);
                return Err("it is down".to_owned());
            }
            self.seen.lock().unwrap().push(copy.line.clone());
            Ok(())
        }

        async fn tell_dropped(&self, count: u64, _last: &Copy) -> Result<(), String> {
            self.seen.lock().unwrap().push(format!("{count} dropped"));
            Ok(())
        }
    }

    fn copy(number: usize) -> Arc<Copy> {
        let time = jiff::Timestamp::UNIX_EPOCH;
        Arc::new(Copy { time, hash: "ab".to_owned(), line: number.to_string() })
    }

    async fn finish(lane: &Lane) -> u64 {
        lane.finish(Instant::now() + Duration::from_hours(1)).await
    }

    #[tokio::test(start_paused = true)]
    async fn in_order_and_again_after_a_failure() {
        let fake = Fake::default();
        fake.failing.store(2, SeqCst);
        let lane = Lane::start("fake".to_owned(), fake.clone());
        (0..3).for_each(|number| lane.offer(copy(number)));
        assert_eq!(finish(&lane).await, 0);
        assert_eq!(*fake.seen.lock().unwrap(), ["0", "1", "2"]);
        assert_eq!((fake.tried.load(SeqCst), lane.dropped()), (5, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_dropped_is_counted_and_told() {
        let fake = Fake::default();
        fake.failing.store(6, SeqCst);
        let lane = Lane::start("fake".to_owned(), fake.clone());
        (0..4).for_each(|number| lane.offer(copy(number)));
        assert_eq!(finish(&lane).await, 0);
        assert_eq!(lane.dropped(), 2, "three attempts each, and then the next one");
        assert_eq!(*fake.seen.lock().unwrap(), ["2", "2 dropped", "3"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_target_that_hangs_holds_up_nobody() {
        let fake = Fake { hangs: true, ..Fake::default() };
        let lane = Lane::start("fake".to_owned(), fake.clone());
        let before = Instant::now();
        (0..QUEUE + 50).for_each(|number| lane.offer(copy(number)));
        assert_eq!(Instant::now(), before, "no time has gone by");
        assert_eq!(lane.dropped(), 50);
        let left = lane.finish(before + Duration::from_secs(5)).await;
        assert_eq!(left, QUEUE as u64);
        assert_eq!(before.elapsed(), Duration::from_secs(5));
        assert_eq!(fake.tried.load(SeqCst), 1);
    }
}
