//! Keeps the parts of the manager running: what fails is started again after a growing pause, and
//! everybody can see how it is.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use jiff::Timestamp;
use stdx::{Backoff, Clock};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The first pause after a failure, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
/// What ran for so long is not failing in a row.
const STEADY: Duration = Duration::from_mins(5);

/// One run of a component: ends with the token, or with a reason.
pub type Run = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// Runs components and knows how they are. Cheap to clone.
#[derive(Clone)]
pub struct Supervisor {
    clock: Arc<dyn Clock>,
    parts: Arc<Mutex<BTreeMap<Arc<str>, Part>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// How a component is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// How it is.
    pub state: State,
    /// How often it was started again.
    pub restarts: u32,
    /// Since when it is so.
    pub since: Timestamp,
    /// Why it failed last.
    pub error: Option<String>,
}

/// How a component is, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Running,
    /// It failed, and a pause is under way.
    Waiting,
    /// It has ended.
    Stopped,
}

// === impl Supervisor ===

impl Supervisor {
    /// A supervisor of nothing yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            parts: Arc::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Runs a component until the supervisor stops. `run` is called for every start with the token
    /// that ends it; a component that returns `Ok` before that has ended for good.
    pub fn spawn(
        &self,
        name: impl Into<Arc<str>>,
        run: impl Fn(CancellationToken) -> Run + Send + Sync + 'static,
    ) {
        let name = name.into();
        self.note(&name, State::Running, None);
        let this = self.clone();
        self.tasks.spawn(async move { this.keep_running(&name, run).await });
    }

    async fn keep_running(&self, name: &Arc<str>, run: impl Fn(CancellationToken) -> Run) {
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        loop {
            let begun = tokio::time::Instant::now();
            let ended = std::panic::AssertUnwindSafe(run(self.stop.clone())).catch_unwind().await;
            let error = match ended {
                Ok(Ok(())) => break,
                _ if self.stop.is_cancelled() => break,
                Ok(Err(error)) => error,
                Err(_) => "it failed because of a fault in this program".to_owned(),
            };
            if begun.elapsed() >= STEADY {
                backoff.reset();
            }
            let pause = backoff.next_delay();
            tracing::error!(
                component = %name,
                error,
                pause_secs = pause.as_secs(),
                "component failed"
            );
            self.note(name, State::Waiting, Some(error));
            if self.stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                break;
            }
            self.note(name, State::Running, None);
        }
        self.note(name, State::Stopped, None);
    }

    fn note(&self, name: &Arc<str>, state: State, error: Option<String>) {
        let since = self.clock.now();
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let part = parts.entry(Arc::clone(name));
        let part = part
            .and_modify(|part| {
                part.restarts += u32::from(part.state == State::Waiting && state == State::Running);
                (part.state, part.since) = (state, since);
            })
            .or_insert(Part { state, restarts: 0, since, error: None });
        if error.is_some() {
            part.error = error;
        }
    }

    /// How everything is, by name.
    pub fn parts(&self) -> BTreeMap<Arc<str>, Part> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether anything runs that should: not every part is waiting after a failure.
    pub fn is_alive(&self) -> bool {
        let parts = self.parts();
        parts.is_empty() || parts.values().any(|part| part.state == State::Running)
    }

    /// Tells everything to end, and waits for nothing.
    pub fn cancel(&self) {
        self.stop.cancel();
    }

    /// Tells everything to end, and waits for that until the deadline; returns the names of what
    /// had not ended by then.
    pub async fn stop(&self, deadline: Duration) -> Vec<Arc<str>> {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(deadline, self.tasks.wait()).await.is_ok() {
            return Vec::new();
        }
        let parts = self.parts();
        parts.into_iter().filter(|(_, part)| part.state != State::Stopped).map(|it| it.0).collect()
    }
}

impl std::fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supervisor").field("parts", &self.parts()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use stdx::ManualClock;

    fn supervisor() -> Supervisor {
        Supervisor::new(Arc::new(ManualClock::at(Timestamp::UNIX_EPOCH)))
    }

    async fn settle(ready: impl Fn() -> bool) {
        testkit::wait_for("the supervisor", Duration::from_mins(10), async || {
            if ready() {
                testkit::Progress::Ready(())
            } else {
                testkit::Progress::Pending("not yet".to_owned())
            }
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_is_started_again_and_its_reason_is_kept() {
        let supervisor = supervisor();
        let runs = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&runs);
        supervisor.spawn("part", move |stop| {
            let run = counted.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move {
                match run {
                    0 => Err("the first time".to_owned()),
                    1 => panic!("the second time"),
                    _ => {
                        stop.cancelled().await;
                        Ok(())
                    }
                }
            })
        });
        settle(|| runs.load(Ordering::Relaxed) == 3).await;
        let part = supervisor.parts()["part"].clone();
        assert_eq!((part.state, part.restarts), (State::Running, 2));
        assert!(part.error.unwrap().contains("fault in this program"));
        assert!(supervisor.stop(Duration::from_secs(1)).await.is_empty());
        assert_eq!(supervisor.parts()["part"].state, State::Stopped);
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_end_is_named() {
        let supervisor = supervisor();
        supervisor.spawn("deaf", |_| Box::pin(std::future::pending()));
        supervisor.spawn("short", |_| Box::pin(async { Ok(()) }));
        assert_eq!(supervisor.stop(Duration::from_secs(5)).await, ["deaf".into()]);
    }
}
