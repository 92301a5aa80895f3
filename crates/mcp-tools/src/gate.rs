//! The gate: everything between a plan and its execution.
//!
//! freeze and breaker → plan → what it touches → policy → budget → consent → intent → execute →
//! the books. Every call that changes something takes this one way, whoever asks and by whatever
//! tool; what was approved while nobody waited takes it as well ([`Gate::run_approved`]).
//!
//! What has to be remembered stands behind the ports of `guard`. Without them (an embedder that has
//! no store) the gate still decides and asks in the client; it cannot ask anybody else, and forgets
//! at its end.
//!
//! *Invariant:* an approval's id is a name, not a key: whoever knows it can wait, and no more.
//! *Invariant:* what asks is refused where nobody can be asked, and the refusal says how somebody is
//! set up.

mod approved;
mod ask;
mod books;
mod caller;
mod kept;
mod pass;
mod recover;
mod revert;
mod work;

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use estate::Access;
use guard::{
    Principal,
    breaker::{Breaker, Call, Limits, Trip},
    budget::{Budget, Ledger, Spent},
    policy::{Defaults, Policy},
    ports::{Actions, Approvals, Approvers, Brakes, Confirms, Freezes, Undos},
};
use jiff::{Timestamp, tz::TimeZone};
use mcp_protocol::CallContext;

pub use self::approved::Ran;
pub use self::recover::Recovered;
pub(crate) use self::{
    books::journal_trip,
    caller::Who,
    kept::read as read_kept,
    pass::{Next, Passage, told},
    work::{Permit, Sending, Unfinished, Work},
};
use crate::{
    app::Options,
    fleet::Fleet,
    tool::{Cx, Shared},
};

/// The hour that budgets count in.
const HOUR: Duration = Duration::from_hours(1);

/// The minute that calls are counted in.
const MINUTE: Duration = Duration::from_mins(1);

/// How long a change that can cut the operator off waits to be confirmed, unless it is said.
const CONFIRM: Duration = Duration::from_mins(2);

/// How long a person may take to answer in the client, unless it is said.
const CLIENT: Duration = Duration::from_mins(5);

/// For how long what was approved is followed.
const FOLLOW: Duration = Duration::from_hours(24);

/// What is remembered, and who can be asked.
#[derive(Clone)]
pub struct Ports {
    /// Questions to people.
    pub approvals: Arc<dyn Approvals>,
    /// What was begun.
    pub actions: Arc<dyn Actions>,
    /// Ways back.
    pub undos: Arc<dyn Undos>,
    /// Changes that wait for being confirmed.
    pub confirms: Arc<dyn Confirms>,
    /// Orders to stop all changes.
    pub freezes: Arc<dyn Freezes>,
    /// Stops of callers who went wild.
    pub brakes: Arc<dyn Brakes>,
    /// Who may decide.
    pub approvers: Arc<dyn Approvers>,
}

/// What the gate goes by. One per program: clones share what it counts.
#[derive(Clone)]
pub struct Guard {
    policy: Arc<Policy>,
    ports: Option<Ports>,
    zone: TimeZone,
    budget: Budget,
    frozen: bool,
    confirm: Duration,
    client: Duration,
    counts: Arc<Counts>,
}

struct Counts {
    breaker: Mutex<Breaker>,
    /// Whether the trips that were kept have been taken up.
    knows_trips: AtomicBool,
    /// What ran unasked, for where nothing is remembered beyond this program.
    unasked: Mutex<Ledger>,
    changes: Mutex<Ledger>,
    /// Calls in a minute, of credentials that are kept to so many.
    calls: Mutex<Ledger>,
}

/// The gate from the other side: for whoever carries out what was approved, and keeps the times.
#[derive(Clone)]
pub struct Gate {
    fleet: Arc<Fleet>,
    options: Arc<Options>,
    shared: Shared,
}

// === impl Guard ===

impl Guard {
    /// By this policy, with nothing remembered and nobody to be asked but the client.
    pub fn new(policy: Arc<Policy>) -> Self {
        Self {
            policy,
            ports: None,
            zone: TimeZone::UTC,
            budget: Budget::default(),
            frozen: false,
            confirm: CONFIRM,
            client: CLIENT,
            counts: Arc::new(Counts {
                breaker: Mutex::new(Breaker::new(Limits::default())),
                knows_trips: AtomicBool::new(false),
                unasked: Mutex::new(Ledger::new(HOUR)),
                changes: Mutex::new(Ledger::new(HOUR)),
                calls: Mutex::new(Ledger::new(MINUTE)),
            }),
        }
    }

    /// With a memory, and people to ask.
    #[must_use]
    pub fn with_ports(mut self, ports: Ports) -> Self {
        self.ports = Some(ports);
        self
    }

    /// In whose hours the policy is read.
    #[must_use]
    pub fn in_zone(mut self, zone: TimeZone) -> Self {
        self.zone = zone;
        self
    }

    /// What any one caller may change in an hour, whatever its own limits are.
    #[must_use]
    pub fn with_budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// Frozen by the settings: nothing is changed until they say otherwise.
    #[must_use]
    pub fn frozen(mut self, frozen: bool) -> Self {
        self.frozen = frozen;
        self
    }

    /// How long a change that can cut the operator off waits to be confirmed, before it is put back.
    #[must_use]
    pub fn with_commit_confirm(mut self, within: Duration) -> Self {
        self.confirm = within;
        self
    }

    /// How long a person may take to answer in the client.
    #[must_use]
    pub fn with_client_within(mut self, within: Duration) -> Self {
        self.client = within;
        self
    }

    /// How long a person may take to answer in the client.
    pub(crate) fn client_within(&self) -> Duration {
        self.client
    }

    /// When the breaker trips.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        *lock(&self.counts.breaker) = Breaker::new(limits);
        self
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// This moment where the operator lives.
    pub(crate) fn here(&self, now: Timestamp) -> jiff::Zoned {
        now.to_zoned(self.zone.clone())
    }

    /// What is remembered, if anything is.
    pub fn ports(&self) -> Option<&Ports> {
        self.ports.as_ref()
    }

    /// Whether anybody beside the client can be asked.
    pub fn can_ask(&self) -> bool {
        self.ports.as_ref().is_some_and(|ports| ports.approvers.can_be_asked())
    }

    /// Whose calls are stopped since they went wild.
    pub fn tripped(&self, now: Timestamp) -> Vec<Trip> {
        lock(&self.counts.breaker).open(now).cloned().collect()
    }

    /// Whether this caller is not stopped: by this program, by it before it was started anew, or by another one
    /// with the same memory. Reads take up what was kept once, so that they cost nothing.
    pub(crate) async fn admits(
        &self,
        principal: &str,
        access: Access,
        now: Timestamp,
    ) -> Result<(), Trip> {
        lock(&self.counts.breaker).permits(principal, access, now)?;
        let Some(ports) = &self.ports else { return Ok(()) };
        if access == Access::Read && self.counts.knows_trips.load(Ordering::Relaxed) {
            return Ok(());
        }
        match ports.brakes.trips(now).await {
            Ok(trips) => {
                self.counts.knows_trips.store(true, Ordering::Relaxed);
                let mut breaker = lock(&self.counts.breaker);
                for trip in trips {
                    breaker.restore(trip);
                }
                breaker.permits(principal, access, now)
            }
            // Without its memory nothing is changed, and that is said where it is tried.
            Err(error) => {
                tracing::debug!(%error, "cannot tell who was stopped before");
                Ok(())
            }
        }
    }

    /// Takes one of the calls that a credential has in a minute.
    pub(crate) fn take(&self, principal: &str, rate: u32, now: Timestamp) -> Result<(), Spent> {
        lock(&self.counts.calls).take(principal, rate, now)
    }

    /// Counts a call that has ended; what comes back is told to the operator.
    pub(crate) async fn note(&self, call: &Call<'_>, now: Timestamp) -> Option<Trip> {
        let trip = lock(&self.counts.breaker).record(call, now)?;
        if let Some(ports) = &self.ports
            && let Err(error) = ports.brakes.trip(&trip, now).await
        {
            tracing::warn!(principal = trip.principal, %error, "a stop is not kept: it ends with this program");
        }
        Some(trip)
    }
}

impl Default for Guard {
    fn default() -> Self {
        let policy = Policy::try_new(Vec::new(), Defaults::default());
        Self::new(Arc::new(policy.expect("the built-in lines stand by themselves")))
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("remembers", &self.ports.is_some()).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Counts are changed in one step each: a panic leaves at worst one too many.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Gate ===

impl Gate {
    /// Over this estate, as these options say.
    pub fn new(fleet: Arc<Fleet>, options: &Options) -> Self {
        // What runs here has nobody who waits: it is followed to its end, not handed on as a job.
        let options = Options { jobs: None, scope: None, ..options.clone() };
        let shared = Shared { consents: options.process.consents(), ..Shared::default() };
        Self { fleet, options: Arc::new(options), shared }
    }

    fn ports(&self) -> Option<&Ports> {
        self.options.guard.ports()
    }

    /// What a call has at hand that nobody waits for: it is followed for as long as it takes.
    fn cx(&self, call: CallContext, principal: Principal) -> Cx {
        let mut cx = Cx::of(Arc::clone(&self.fleet), call, &self.options, principal);
        cx.task_wait = FOLLOW;
        cx
    }
}
