//! What the holder of the lock does all day: runs what was approved, ends what ran out of time, takes
//! back what nobody confirmed, and tells people what waits for them.
//!
//! *Invariant:* looks at the store again and again rather than rely on being told: other processes
//! write to it, too. *Invariant:* work that was begun is not dropped: it ends, or the process does,
//! and then the store knows what was about to be sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use guard::ports::{
    Addressee, Announcement, Approval, ApprovalFilter, ApprovalId, ApprovalState, Approvals,
    ConsentChannel, PortError,
};
use stdx::{Chain, Clock};
use tokio::sync::{Notify, broadcast};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::approve::{Book, Links};
use crate::supervise::Supervisor;

/// How often the store is looked at when nobody says that there is something new.
const LOOK: Duration = Duration::from_secs(2);
/// How often reverts that are due are looked for.
const REVERTS: Duration = Duration::from_secs(1);
/// How long to leave alone what could not be begun.
const AGAIN: Duration = Duration::from_secs(30);
/// How many changes of approvals a slow listener may fall behind.
const BEHIND: usize = 256;

/// What became of approved work.
#[derive(Clone, Debug, PartialEq)]
pub enum Ran {
    /// It ran to its end, which the approval says.
    Ended(Approval),
    /// What it was about has moved: another question took its place, if it is still possible.
    Moved(Option<Approval>),
    /// It was not for us to run.
    Not,
    /// Changes are stopped; it waits.
    Frozen,
}

/// What was found after a crash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// What was settled, a line for each.
    pub settled: Vec<String>,
    /// How many actions of programs that are gone have something at work still: they are looked at again.
    pub open: usize,
    /// How many actions ended in a way that is not known.
    pub unknown: usize,
}

/// Does the work. The programs implement it over the gate; tests have their own.
#[async_trait]
pub trait Worker: Send + Sync + 'static {
    /// Settles what a crash left, and never sends anything twice.
    ///
    /// # Errors
    /// What is remembered cannot be read or written.
    async fn recover(&self) -> Result<Recovered, PortError>;

    /// Runs what was approved, if it is still what people agreed to.
    ///
    /// # Errors
    /// There is none, or what is remembered cannot be read or written.
    async fn run_approved(&self, id: ApprovalId) -> Result<Ran, PortError>;

    /// Ends what ran out of time.
    ///
    /// # Errors
    /// It cannot be written.
    async fn expire(&self) -> Result<(), PortError>;

    /// Takes back what was not confirmed in time; how many changes that were.
    ///
    /// # Errors
    /// What is remembered cannot be read or written.
    async fn revert_due(&self) -> Result<usize, PortError>;
}

/// The engine. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    worker: Arc<dyn Worker>,
    approvals: Arc<dyn Approvals>,
    channels: Vec<Arc<dyn ConsentChannel>>,
    book: Book,
    links: Option<Arc<Links>>,
    clock: Arc<dyn Clock>,
    news: Notify,
    changes: broadcast::Sender<Arc<Approval>>,
    tasks: TaskTracker,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What runs now.
    running: BTreeSet<ApprovalId>,
    /// What could not be begun, and when it is tried again.
    later: BTreeMap<ApprovalId, Instant>,
    /// What was last said of each that is not over.
    told: BTreeMap<ApprovalId, (ApprovalState, usize)>,
    /// Whether what a crash left is still at work.
    is_open: bool,
    /// What still has to be shown, by the channel's place in the list.
    unshown: BTreeSet<(ApprovalId, usize)>,
}

/// What the engine is made of.
pub struct Parts {
    /// Does the work.
    pub worker: Arc<dyn Worker>,
    /// Where approvals are kept.
    pub approvals: Arc<dyn Approvals>,
    /// Where questions are shown.
    pub channels: Vec<Arc<dyn ConsentChannel>>,
    /// Who may decide.
    pub book: Book,
    /// Makes links, where the manager has an address that people reach.
    pub links: Option<Arc<Links>>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

// === impl Engine ===

impl Engine {
    /// An engine that does nothing yet.
    pub fn new(parts: Parts) -> Self {
        let Parts { worker, approvals, channels, book, links, clock } = parts;
        let inner = Inner {
            worker,
            approvals,
            channels,
            book,
            links,
            clock,
            news: Notify::new(),
            changes: broadcast::Sender::new(BEHIND),
            tasks: TaskTracker::new(),
            state: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Settles what a crash left; comes before everything else.
    ///
    /// # Errors
    /// What is remembered cannot be read or written.
    pub async fn recover(&self) -> Result<Recovered, PortError> {
        let recovered = self.inner.worker.recover().await?;
        self.inner.state().is_open = recovered.open > 0;
        Ok(recovered)
    }

    /// Runs the engine's parts under this supervisor.
    pub fn start(&self, supervisor: &Supervisor) {
        let this = self.clone();
        supervisor.spawn("approvals", move |stop| {
            let this = this.clone();
            Box::pin(async move { this.run(stop).await.map_err(|error| error.to_string()) })
        });
        let this = self.clone();
        supervisor.spawn("reverts", move |stop| {
            let this = this.clone();
            Box::pin(async move { this.revert(stop).await.map_err(|error| error.to_string()) })
        });
    }

    /// Says that something may have changed, so that nobody waits for the next look.
    pub fn news(&self) {
        self.inner.news.notify_one();
    }

    /// Approvals as they change.
    pub fn changes(&self) -> broadcast::Receiver<Arc<Approval>> {
        self.inner.changes.subscribe()
    }

    /// What runs now.
    pub fn running(&self) -> Vec<ApprovalId> {
        self.inner.state().running.iter().copied().collect()
    }

    /// Waits until nothing runs any more, or the deadline has passed; returns what still runs then.
    pub async fn drain(&self, deadline: Duration) -> Vec<ApprovalId> {
        self.inner.tasks.close();
        let _ = tokio::time::timeout(deadline, self.inner.tasks.wait()).await;
        self.running()
    }

    async fn run(&self, stop: CancellationToken) -> Result<(), PortError> {
        loop {
            self.look().await?;
            tokio::select! {
                () = self.inner.news.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    async fn revert(&self, stop: CancellationToken) -> Result<(), PortError> {
        loop {
            let reverted = self.inner.worker.revert_due().await?;
            if reverted > 0 {
                tracing::warn!(reverted, "changes that nobody confirmed were taken back");
            }
            if stop.run_until_cancelled(tokio::time::sleep(REVERTS)).await.is_none() {
                return Ok(());
            }
        }
    }

    /// One look at what there is to do.
    async fn look(&self) -> Result<(), PortError> {
        let inner = &self.inner;
        inner.worker.expire().await?;
        if inner.state().is_open {
            for line in self.recover().await?.settled {
                tracing::warn!("{line}");
            }
        }
        let states = vec![ApprovalState::Pending, ApprovalState::Approved, ApprovalState::Running];
        let filter = ApprovalFilter { states, ..ApprovalFilter::default() };
        let open = inner.approvals.approvals(&filter).await?;
        inner.forget_all_but(&open).await;
        for approval in open.iter().rev() {
            inner.tell(approval);
            if approval.state == ApprovalState::Approved {
                self.begin(approval.id);
            }
        }
        inner.show(&open).await;
        Ok(())
    }

    /// Runs what was approved, unless it runs already or has to wait.
    fn begin(&self, id: ApprovalId) {
        {
            let mut state = self.inner.state();
            let waits = state.later.get(&id).is_some_and(|until| Instant::now() < *until);
            if waits || !state.running.insert(id) {
                return;
            }
            state.later.remove(&id);
        }
        let this = self.clone();
        self.inner.tasks.spawn(async move {
            let ended = this.inner.worker.run_approved(id).await;
            let mut state = this.inner.state();
            state.running.remove(&id);
            match ended {
                Ok(Ran::Ended(_) | Ran::Moved(_) | Ran::Not) => {}
                Ok(Ran::Frozen) => {
                    state.later.insert(id, Instant::now() + LOOK);
                }
                Err(error) => {
                    tracing::error!(approval = %id, error = %Chain(&error), "approved work could not begin");
                    state.later.insert(id, Instant::now() + AGAIN);
                }
            }
            drop(state);
            this.news();
        });
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("running", &self.running()).finish_non_exhaustive()
    }
}

// === impl Inner ===

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one insertion or removal; a panic elsewhere leaves them whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells listeners of an approval that is not as it was.
    fn tell(&self, approval: &Approval) {
        let now = (approval.state, approval.decisions.len());
        let mut state = self.state();
        let before = state.told.insert(approval.id, now);
        if before.is_none() && approval.state == ApprovalState::Pending {
            state.unshown.extend((0..self.channels.len()).map(|index| (approval.id, index)));
        }
        drop(state);
        if before != Some(now) {
            // Nobody may be listening.
            let _ = self.changes.send(Arc::new(approval.clone()));
        }
    }

    /// Tells the end of those that are not open any more.
    async fn forget_all_but(&self, open: &[Approval]) {
        let is_open = |id: &ApprovalId| open.iter().any(|approval| approval.id == *id);
        let gone: Vec<ApprovalId> = {
            let mut state = self.state();
            state.later.retain(|id, _| is_open(id));
            state.unshown.retain(|(id, _)| is_open(id));
            let gone = state.told.keys().filter(|id| !is_open(id)).copied().collect::<Vec<_>>();
            for id in &gone {
                state.told.remove(id);
            }
            gone
        };
        for id in gone {
            let Ok(Some(approval)) = self.approvals.approval(id).await else { continue };
            for channel in &self.channels {
                if let Err(why) = channel.settled(&approval).await {
                    tracing::warn!(channel = channel.name(), approval = %id, why, "what was decided could not be told");
                }
            }
            let _ = self.changes.send(Arc::new(approval));
        }
    }

    /// Shows what was not shown yet.
    async fn show(&self, open: &[Approval]) {
        let unshown: Vec<(ApprovalId, usize)> = self.state().unshown.iter().copied().collect();
        for (id, index) in unshown {
            let Some(approval) = open.iter().find(|approval| approval.id == id) else { continue };
            let channel = &self.channels[index];
            match channel.announce(&self.announcement(approval)).await {
                Ok(()) => {
                    self.state().unshown.remove(&(id, index));
                }
                Err(why) => {
                    tracing::warn!(channel = channel.name(), approval = %id, why, "a question could not be shown; it is tried again");
                }
            }
        }
    }

    fn announcement(&self, approval: &Approval) -> Announcement {
        let asked = self.book.all().into_iter().map(|entry| entry.approver);
        let asked = asked.filter(|approver| approver.is_one_of(&approval.of));
        let to = asked.map(|approver| Addressee {
            link: self.links.as_ref().map(|links| links.link(approval, &approver.name)),
            identities: approver.principals.into_iter().collect(),
            approver: approver.name,
        });
        Announcement { approval: approval.clone(), to: to.collect() }
    }

    /// Now.
    fn now(&self) -> jiff::Timestamp {
        self.clock.now()
    }
}

impl Engine {
    /// The time that the engine goes by.
    pub(crate) fn now(&self) -> jiff::Timestamp {
        self.inner.now()
    }

    /// The links, where there are any.
    pub(crate) fn links(&self) -> Option<&Arc<Links>> {
        self.inner.links.as_ref()
    }

    /// Who may decide.
    pub(crate) fn book(&self) -> &Book {
        &self.inner.book
    }

    /// Where approvals are kept.
    pub(crate) fn approvals(&self) -> &Arc<dyn Approvals> {
        &self.inner.approvals
    }
}

/// Shows questions in the log, where nothing else does. Links are secrets of those to whom they
/// are sent, so they are not in it.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogChannel;

#[async_trait]
impl ConsentChannel for LogChannel {
    fn name(&self) -> &'static str {
        "log"
    }

    async fn announce(&self, announcement: &Announcement) -> Result<(), String> {
        let Announcement { approval, to } = announcement;
        let to: Vec<&str> = to.iter().map(|it| it.approver.as_str()).collect();
        tracing::warn!(
            approval = %approval.id,
            asker = %approval.requested_by,
            rule = approval.rule,
            until = %approval.expires_at,
            to = to.join(", "),
            "a plan waits for consent: `proxmox-mcp approve` shows it"
        );
        Ok(())
    }

    async fn settled(&self, approval: &Approval) -> Result<(), String> {
        tracing::info!(approval = %approval.id, state = approval.state.as_str(), "an approval is over");
        Ok(())
    }
}
