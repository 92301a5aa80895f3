//! The one reader of the log that decides: events in, incidents and deliveries out.
//!
//! It reads behind its mark, steps the rules at the times at which events were heard, and keeps what
//! followed together with the mark. What waits for a time is looked at a moment late ([`LAG`]), so
//! that an event which was heard before that time and is still on its way comes first, now and when
//! the log is read again.
//!
//! *Invariant:* nothing is told before the step that made it is on disk. *Invariant:* whoever tells
//! the rules something is answered when it is kept.

use std::sync::Arc;
use std::time::Duration;

use event_core::{Seq, Stage as _};
use jiff::{SignedDuration, Timestamp};
use rules::{Decision, IncidentId, Input, Rules, State};
use stdx::{Backoff, Clock};
use store::{Mark, NewEntry, Silence, SilenceChange, Store};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::draft::{Draft, READER, Written};
use super::figures::Tally;
use super::history::{self, Remembered};
use super::recent::Tail;
use super::told::Told;
use super::{Change, EventsError};

/// How late timers are looked at.
const LAG: SignedDuration = SignedDuration::from_secs(1);

/// How long the first start waits for further sources before what is so already is summed up.
const GATHER: Duration = Duration::from_secs(20);

/// The most events of one step.
const MOST: u32 = 1024;

/// After how many events others have their turn: those who keep what comes in.
const TURN: usize = 32;

/// A page that is so long is of a rush, in which more is waited for so long: what follows costs a sync of the disk, which
/// the next events need.
const RUSH: (usize, Duration) = (256, Duration::from_millis(30));

/// The longest sleep: the clock may be set, and tests move it.
const NAP: Duration = Duration::from_secs(1);

/// The pauses while the store is away.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// After how long the mark is kept although nothing followed from what was read.
const MARK_EVERY: SignedDuration = SignedDuration::from_secs(60);

/// What the judge is told.
pub(crate) enum Order {
    /// Something for the rules; whoever waits for it is answered when it is kept.
    Tell(Box<Told>, Option<oneshot::Sender<()>>),
    /// A source has told for the first time what is so already.
    Synced,
    /// The rules are these from now on.
    Rules(Arc<Rules>),
}

/// What the judge works with.
pub(crate) struct Judge {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) tail: Tail,
    pub(crate) rules: Arc<Rules>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) changes: broadcast::Sender<Change>,
    pub(crate) tally: Tally,
}

/// One run of it.
struct Court<'a> {
    judge: &'a mut Judge,
    state: State,
    seq: Seq,
    /// The last time that was stepped to.
    time: Timestamp,
    marked: Timestamp,
    written: Written,
    draft: Draft,
    due: Option<Timestamp>,
    synced: Option<Instant>,
    estate: Option<rules::Estate>,
    answers: Vec<oneshot::Sender<()>>,
    /// When the events were heard of which nothing is kept yet.
    heard: Vec<Timestamp>,
}

// === impl Judge ===

impl Judge {
    /// Judges until it is stopped.
    ///
    /// # Errors
    /// What was kept cannot be read.
    pub(crate) async fn run(
        &mut self,
        orders: &mut mpsc::Receiver<Order>,
        mut kept: watch::Receiver<Seq>,
        stop: &CancellationToken,
    ) -> Result<(), EventsError> {
        let remembered = history::read(self.store.as_ref(), &self.rules, self.clock.now()).await?;
        let is_first = remembered.seq == Seq(0);
        let mut court = Court::new(self, remembered);
        if !is_first {
            // At the time of the last step: nothing that has become due since then is done before.
            court.tell(&Told::Started, court.time);
        }
        loop {
            if stop.is_cancelled() {
                return Ok(());
            }
            kept.borrow_and_update();
            if court.read(stop).await? {
                // Nobody has to wait until a flood is over.
                if let Ok(order) = orders.try_recv() {
                    court.obey(order, orders, stop).await?;
                }
                continue;
            }
            court.pass_time(stop).await?;
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => court.obey(order, orders, stop).await?,
                    None => return Ok(()),
                },
                _ = kept.changed() => {}
                () = tokio::time::sleep(court.nap()) => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
    }
}

// === impl Court ===

impl<'a> Court<'a> {
    fn new(judge: &'a mut Judge, remembered: Remembered) -> Self {
        let Remembered { state, seq, time } = remembered;
        let marked = Timestamp::MIN;
        Self {
            judge,
            state,
            seq,
            time,
            marked,
            written: Written::default(),
            draft: Draft::default(),
            due: Some(time),
            synced: None,
            estate: None,
            answers: Vec::new(),
            heard: Vec::new(),
        }
    }

    /// Steps the rules.
    fn step(&mut self, at: Timestamp, input: Option<Input>) -> Vec<Decision> {
        self.time = self.time.max(at);
        let rules = Arc::clone(&self.judge.rules);
        let (decisions, due) = rules.step(&mut self.state, self.time, input);
        self.due = due;
        decisions
    }

    /// Reads what is new in the log; whether there was anything.
    async fn read(&mut self, stop: &CancellationToken) -> Result<bool, EventsError> {
        let page = match self.judge.tail.after(self.seq, MOST).await {
            Ok(page) => page,
            // It is said by who writes into it; here it is only tried again.
            Err(error) if error.kind() == event_core::LogErrorKind::Unavailable => {
                tracing::debug!(error = %stdx::Chain(&error), "the log cannot be read now");
                stop.run_until_cancelled(tokio::time::sleep(NAP)).await;
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        };
        if page.is_empty() {
            return Ok(false);
        }
        let is_rush = page.len() >= RUSH.0;
        for (number, (seq, event)) in page.into_iter().enumerate() {
            if number % TURN == TURN - 1 {
                tokio::task::yield_now().await;
            }
            self.seq = seq;
            let at = event.received;
            self.heard.push(at);
            let decisions = self.step(at, Some(history::input(event)));
            self.draft.take(decisions);
        }
        self.keep(stop).await?;
        if is_rush {
            stop.run_until_cancelled(tokio::time::sleep(RUSH.1)).await;
        }
        Ok(true)
    }

    /// Does what is due by now.
    async fn pass_time(&mut self, stop: &CancellationToken) -> Result<(), EventsError> {
        let now = self.judge.clock.now();
        if self.synced.is_some_and(|at| at.elapsed() >= GATHER) {
            self.synced = None;
            self.tell(&Told::ExistingEnd, now);
        }
        let late = now.checked_sub(LAG).unwrap_or(now);
        if self.due.is_some_and(|due| due <= late) {
            let decisions = self.step(late, None);
            self.draft.take(decisions);
        }
        self.keep(stop).await
    }

    /// Does what it is told, and whatever else has been said by now.
    async fn obey(
        &mut self,
        first: Order,
        orders: &mut mpsc::Receiver<Order>,
        stop: &CancellationToken,
    ) -> Result<(), EventsError> {
        let mut next = Some(first);
        while let Some(order) = next {
            match order {
                Order::Tell(told, answer) => {
                    self.tell(&told, self.judge.clock.now());
                    self.answers.extend(answer);
                }
                Order::Synced => self.synced = Some(Instant::now()),
                Order::Rules(rules) => self.judge.rules = rules,
            }
            next = orders.try_recv().ok();
        }
        self.keep(stop).await
    }

    /// Tells the rules something; the journal has what they could not be told again otherwise.
    fn tell(&mut self, told: &Told, now: Timestamp) {
        let after = self.seq;
        let decisions = self.step(now, Some(told.input()));
        let is_news = match told {
            // Measurements come all the time; those that change nothing are not needed again.
            Told::Measured(_) => decisions.iter().any(|it| matches!(it, Decision::Raise(_))),
            Told::Estate(estate) => self.estate.replace(estate.clone()).as_ref() != Some(estate),
            _ => true,
        };
        self.draft.take(decisions);
        let step = &mut self.draft.step;
        match told {
            Told::Acknowledge { incident, .. } | Told::Close { incident, .. } => {
                let incident: IncidentId = *incident;
                self.draft.touch(incident);
            }
            Told::Mute { name, silence } => step.silences.push(SilenceChange::Put(Silence {
                name: name.clone(),
                until: silence.until,
                author: silence.author.clone(),
                reason: silence.reason.clone(),
                doc: silence.doc(),
            })),
            Told::Unmute { name } => step.silences.push(SilenceChange::Drop(name.clone())),
            _ => {}
        }
        if is_news {
            let entry = NewEntry { after, time: self.time, doc: told.doc() };
            self.draft.step.journal.push(entry);
        }
    }

    /// Keeps what followed, however long that takes; then tells who waits for it.
    async fn keep(&mut self, stop: &CancellationToken) -> Result<(), EventsError> {
        let is_old = self.time.duration_since(self.marked) >= MARK_EVERY;
        self.draft.look_at(self.state.incidents(), &mut self.written, self.time);
        self.judge.tally.open(self.state.incidents().open().count());
        if self.draft.is_empty() && self.answers.is_empty() && !is_old {
            self.settled();
            return Ok(());
        }
        let Draft { mut step, dropped, .. } = std::mem::take(&mut self.draft);
        step.mark = Some(Mark { consumer: READER.to_owned(), seq: self.seq, time: self.time });
        let change = Change {
            seq: self.seq,
            incidents: step.incidents.iter().map(|it| it.id.clone()).collect(),
            outputs: step.deliveries.iter().map(|it| it.output.clone()).collect(),
        };
        for event in dropped {
            tracing::debug!(%event, "a line of the rules dropped an event");
        }
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        loop {
            match self.judge.store.commit_step(step.clone()).await {
                Ok(_) => break,
                Err(error) if error.kind() == store::ErrorKind::Unavailable => {
                    let pause = backoff.next_delay();
                    tracing::warn!(error = %stdx::Chain(&error), pause_ms = pause.as_millis(), "what followed from events is not kept yet");
                    if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                        // It is made again from the log at the next start.
                        return Ok(());
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.marked = self.time;
        self.settled();
        for answer in self.answers.drain(..) {
            // Whoever asked may have gone.
            let _ = answer.send(());
        }
        // Nobody may listen.
        let _ = self.judge.changes.send(change);
        Ok(())
    }

    /// Counts how long it took until what follows from events was kept.
    fn settled(&mut self) {
        if !self.heard.is_empty() {
            self.judge.tally.settled(self.heard.drain(..), self.judge.clock.now());
        }
    }

    /// How long there is nothing to do.
    fn nap(&self) -> Duration {
        let now = self.judge.clock.now();
        let until = self.due.and_then(|due| due.checked_add(LAG).ok());
        let wait =
            until.map(|until| until.duration_since(now).max(SignedDuration::ZERO).unsigned_abs());
        wait.unwrap_or(NAP).min(NAP)
    }
}
