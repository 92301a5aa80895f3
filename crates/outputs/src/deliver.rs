//! The loop that delivers: from the outbox to one output, in order, until it is told or nothing can be done.
//!
//! Each output has a [`Courier`] of its own, so that a slow one holds nobody up. It tells one delivery at a time; of one
//! incident the earlier first, which the outbox sees to. What fails is sorted by its [`Retry`]: tried again after a pause
//! that grows, not before the service says so, or never. An output that fails again and again is left alone for a while
//! and then tried with one delivery; for how long it has been failing is told once, as [`Word::Down`], for whoever has
//! another output to say it over.
//!
//! *Invariant:* a delivery leaves the outbox only as told or as buried, and both are written down before anything else
//! is told. *Invariant:* what was told is not told again because it could not be written down; that is tried until it is
//! done or the program stops.

mod health;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use event_core::{
    ComponentId, DeliveryKey, EventSink, LogError, Outbox, Queued, Receipt, Retry, SinkError,
};
use futures::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use stdx::{Backoff, Chain, Clock};
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use health::{Gate, Health};

/// The pauses and limits of a courier.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Pace {
    /// The pause after a delivery's first failure; it doubles from there.
    pub first_pause: Duration,
    /// The longest pause, of a delivery and of an output that is left alone.
    pub longest_pause: Duration,
    /// For how long a delivery is tried before it is buried.
    pub give_up_after: Duration,
    /// After how many failures in a row the output is left alone.
    pub failures: u32,
    /// For how long an output fails before that is said over another.
    pub down_after: Duration,
    /// How long one attempt may take, with all its parts.
    pub attempt: Duration,
    /// How often the outbox is looked into when nobody says that something waits.
    pub look_every: Duration,
}

/// What a courier has to say beside its deliveries. Whoever hears it decides whom to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// The output has not told anything for [`Pace::down_after`], though it was tried. Said once.
    Down {
        /// Which output.
        output: ComponentId,
        /// Since when.
        since: Timestamp,
        /// What was the last that went wrong.
        error: String,
    },
    /// It tells again. Only after a [`Word::Down`].
    Up {
        /// Which output.
        output: ComponentId,
        /// Since when it did not.
        since: Timestamp,
    },
    /// This will not be told, unless a person replays it.
    Buried {
        /// Which output.
        output: ComponentId,
        /// Which delivery.
        key: DeliveryKey,
        /// Its title.
        title: String,
        /// Why.
        error: String,
    },
}

/// How an output does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standing {
    /// Since when nothing was told, if it fails.
    pub failing_since: Option<Timestamp>,
    /// Until when it is left alone.
    pub shut_until: Option<Timestamp>,
    /// What was the last that went wrong since something was told.
    pub error: Option<String>,
    /// How many deliveries were told since the start.
    pub told: u64,
    /// How many attempts failed since the start.
    pub failed: u64,
    /// How many deliveries were buried since the start.
    pub buried: u64,
}

/// Delivers to one output.
pub struct Courier {
    sink: Arc<dyn EventSink>,
    outbox: Arc<dyn Outbox>,
    clock: Arc<dyn Clock>,
    pace: Pace,
    say: Box<dyn Fn(Word) + Send + Sync>,
    wake: Arc<Notify>,
    standing: watch::Sender<Standing>,
    health: Health,
    /// When the next of those that failed is due.
    next: Option<Timestamp>,
}

/// What is written down about a delivery.
enum Entry<'a> {
    Told(&'a Receipt),
    Failed { error: &'a str, due: Timestamp, so_far: Option<&'a Receipt> },
    Buried(&'a str),
}

/// What becomes of a delivery that failed.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Again(Timestamp),
    Bury(String),
}

// === impl Pace ===

impl Default for Pace {
    fn default() -> Self {
        Self {
            first_pause: Duration::from_secs(5),
            longest_pause: Duration::from_mins(15),
            give_up_after: Duration::from_hours(72),
            failures: 5,
            down_after: Duration::from_mins(15),
            attempt: Duration::from_mins(5),
            look_every: Duration::from_secs(30),
        }
    }
}

// === impl Courier ===

impl Courier {
    /// Delivers what the outbox has for this output. `say` is called with what there is to say beside that; it must not
    /// wait.
    pub fn new(
        sink: Arc<dyn EventSink>,
        outbox: Arc<dyn Outbox>,
        clock: Arc<dyn Clock>,
        pace: Pace,
        say: impl Fn(Word) + Send + Sync + 'static,
    ) -> Self {
        Self {
            sink,
            outbox,
            clock,
            health: Health::new(&pace),
            pace,
            say: Box::new(say),
            wake: Arc::default(),
            standing: watch::channel(Standing::default()).0,
            next: None,
        }
    }

    /// Told (`notify_one`) when something was put into the outbox.
    pub fn waker(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }

    /// How the output does, as it changes.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Delivers until it is stopped; it can be run again. The delivery that is under way then is told to its end and written down, so that it
    /// is not told again after the next start.
    pub async fn run(&mut self, stop: CancellationToken) {
        let mut away = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        while !stop.is_cancelled() {
            let now = self.clock.now();
            self.say_down(now);
            let limit = match self.health.gate(now) {
                Gate::Shut(until) => {
                    // What is put in meanwhile has to wait as well.
                    self.wait_until(until, false, &stop).await;
                    continue;
                }
                Gate::Probe => 1,
                Gate::Open => 16,
            };
            match self.outbox.due(self.sink.id(), now, limit).await {
                Ok(due) if due.is_empty() => {
                    away.reset();
                    self.next = self.next.filter(|next| *next > now);
                    let look = now + signed(self.pace.look_every);
                    self.wait_until(self.next.unwrap_or(look), true, &stop).await;
                }
                Ok(due) => {
                    away.reset();
                    self.tell_all(due, &stop).await;
                }
                Err(error) => {
                    self.outbox_is_away(&error);
                    self.wait_until(now + signed(away.next_delay()), false, &stop).await;
                }
            }
        }
    }

    async fn tell_all(&mut self, due: Vec<Queued>, stop: &CancellationToken) {
        for queued in due {
            let is_open = matches!(self.health.gate(self.clock.now()), Gate::Open | Gate::Probe);
            if stop.is_cancelled() || !is_open {
                return;
            }
            self.tell(&queued, stop).await;
        }
    }

    /// Tells one, and writes down what became of it.
    async fn tell(&mut self, queued: &Queued, stop: &CancellationToken) {
        let delivery = queued.delivery();
        // A fault of an output is a failure like others: what comes behind it is told all the same.
        let telling = AssertUnwindSafe(self.sink.deliver(&delivery)).catch_unwind();
        let told = timeout(self.pace.attempt, telling).await;
        let broken = |why: &str| {
            let said = format!("tell `{}`: {why}", self.sink.id());
            SinkError::new(Retry::Backoff, said).maybe_sent()
        };
        let told = match told {
            Ok(Ok(told)) => told,
            Ok(Err(_)) => Err(broken("it broke off by a fault of this program, see its log")),
            Err(_) => Err(broken("it did not end in time")),
        };
        let now = self.clock.now();
        match told {
            Ok(receipt) => self.is_told(queued, &receipt, now, stop).await,
            Err(error) => self.has_failed(queued, &error, now, stop).await,
        }
    }

    async fn is_told(
        &mut self,
        queued: &Queued,
        receipt: &Receipt,
        now: Timestamp,
        stop: &CancellationToken,
    ) {
        let output = self.sink.id().clone();
        if let Some(since) = self.health.works() {
            tracing::info!(sink = %output, %since, "an output tells again");
            (self.say)(Word::Up { output, since });
        }
        self.show(|standing| standing.told += 1);
        self.write(&queued.key, &Entry::Told(receipt), now, stop).await;
    }

    async fn has_failed(
        &mut self,
        queued: &Queued,
        error: &SinkError,
        now: Timestamp,
        stop: &CancellationToken,
    ) {
        let output = self.sink.id().clone();
        let said = Chain(error).to_string();
        self.health.fails(error.retry(), &said, now);
        let pause =
            Backoff::resumed(self.pace.first_pause, self.pace.longest_pause, queued.attempts)
                .next_delay();
        match verdict(queued, error, &said, now, pause, &self.pace) {
            Verdict::Again(due) => {
                tracing::debug!(sink = %output, attempt = queued.attempts + 1, error = said, %due, "a delivery failed");
                self.next = Some(self.next.map_or(due, |next| next.min(due)));
                self.show(|standing| standing.failed += 1);
                let so_far = error.receipt_so_far();
                let entry = Entry::Failed { error: &said, due, so_far };
                self.write(&queued.key, &entry, now, stop).await;
            }
            Verdict::Bury(why) => {
                tracing::error!(sink = %output, delivery = queued.key.as_str(), error = why, "a delivery was given up");
                self.show(|standing| {
                    standing.failed += 1;
                    standing.buried += 1;
                });
                self.write(&queued.key, &Entry::Buried(&why), now, stop).await;
                let title = queued.message.title.clone();
                (self.say)(Word::Buried { output, key: queued.key.clone(), title, error: why });
            }
        }
        self.say_down(now);
    }

    /// Says once that the output is down, when it has been for long enough.
    fn say_down(&mut self, now: Timestamp) {
        if let Some((since, error)) = self.health.is_overdue(now) {
            let output = self.sink.id().clone();
            tracing::error!(sink = %output, %since, error, "an output is down");
            (self.say)(Word::Down { output, since, error });
        }
    }

    /// Writes down what became of a delivery, however long the outbox is away.
    async fn write(
        &self,
        key: &DeliveryKey,
        entry: &Entry<'_>,
        now: Timestamp,
        stop: &CancellationToken,
    ) {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
        loop {
            let written = match *entry {
                Entry::Told(receipt) => self.outbox.delivered(key, receipt, now).await,
                Entry::Failed { error, due, so_far } => {
                    self.outbox.failed(key, error, due, so_far).await
                }
                Entry::Buried(why) => self.outbox.bury(key, why, now).await,
            };
            let Err(error) = written else { return };
            self.outbox_is_away(&error);
            tokio::select! {
                () = sleep(backoff.next_delay()) => {}
                () = stop.cancelled() => {
                    tracing::error!(
                        sink = %self.sink.id(), error = %Chain(&error),
                        "what became of a delivery could not be written down; it may be told again"
                    );
                    return;
                }
            }
        }
    }

    fn outbox_is_away(&self, error: &LogError) {
        tracing::warn!(sink = %self.sink.id(), error = %Chain(error), "the outbox does not answer");
    }

    /// Waits until then, or until there is something to say, or if it `wakes` until something new may be there.
    async fn wait_until(&self, until: Timestamp, wakes: bool, stop: &CancellationToken) {
        let until = self.health.overdue_at().map_or(until, |overdue| overdue.min(until));
        let pause = Duration::try_from(until.duration_since(self.clock.now())).unwrap_or_default();
        // Never nothing: a clock that stands still must not make this spin. Never long: clocks jump.
        let pause = pause.clamp(Duration::from_millis(10), self.pace.look_every);
        tokio::select! {
            () = sleep(pause) => {}
            () = stop.cancelled() => {}
            () = self.wake.notified(), if wakes => {}
        }
    }

    fn show(&self, change: impl FnOnce(&mut Standing)) {
        self.standing.send_modify(|standing| {
            change(standing);
            standing.failing_since = self.health.failing_since();
            standing.shut_until = self.health.shut_until();
            standing.error = self.health.error().map(str::to_owned);
        });
    }
}

impl std::fmt::Debug for Courier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Courier").field("output", self.sink.id()).finish_non_exhaustive()
    }
}

/// What becomes of a delivery that failed with this error now.
fn verdict(
    queued: &Queued,
    error: &SinkError,
    said: &str,
    now: Timestamp,
    pause: Duration,
    pace: &Pace,
) -> Verdict {
    let due = match error.retry() {
        Retry::Never => return Verdict::Bury(said.to_owned()),
        Retry::Backoff => now + signed(pause),
        Retry::After(asked) => now + signed(asked.max(Duration::from_secs(1))),
    };
    if now.duration_since(queued.made) >= signed(pace.give_up_after) {
        let hours = pace.give_up_after.as_secs() / 3600;
        return Verdict::Bury(format!("given up after {hours} hours; the last time: {said}"));
    }
    Verdict::Again(due)
}

/// A duration as timestamps count it; none here is longer than days.
fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::from_hours(24 * 365))
}
