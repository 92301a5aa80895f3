//! How each endpoint stands, for the next request and for people.

use jiff::Timestamp;
use stdx::Backoff;
use tokio::time::Instant;

use super::decide::Standing;

/// How the endpoints of a cluster stand.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// The address of the endpoint that is asked first.
    pub preferred: String,
    /// All of them, in the order of the settings.
    pub endpoints: Vec<EndpointHealth>,
}

/// How one endpoint stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointHealth {
    /// Its address.
    pub endpoint: String,
    /// When it last answered; `None` if it never did.
    pub last_answer: Option<Timestamp>,
    /// Since when it has been down; `None` while it is not known to be.
    pub down_since: Option<Timestamp>,
    /// Why it is down; empty while it is not.
    pub why: String,
}

/// What is remembered of an endpoint.
#[derive(Debug, Default)]
pub(super) struct State {
    last_answer: Option<Timestamp>,
    down: Option<Down>,
}

#[derive(Debug)]
struct Down {
    since: Timestamp,
    why: String,
    probe_at: Instant,
    probing: bool,
    backoff: Backoff,
}

// === impl Health ===

impl Health {
    /// Whether every endpoint is down.
    pub fn all_down(&self) -> bool {
        self.endpoints.iter().all(|endpoint| endpoint.down_since.is_some())
    }
}

// === impl State ===

impl State {
    pub(super) fn health(&self, endpoint: &str) -> EndpointHealth {
        EndpointHealth {
            endpoint: endpoint.to_owned(),
            last_answer: self.last_answer,
            down_since: self.down.as_ref().map(|down| down.since),
            why: self.down.as_ref().map(|down| down.why.clone()).unwrap_or_default(),
        }
    }

    pub(super) fn standing(&self, now: Instant) -> Standing {
        match &self.down {
            None => Standing::Up,
            Some(down) => Standing::Down(down.probe_at.saturating_duration_since(now)),
        }
    }

    /// Whether a probe is due; if so it counts as begun.
    pub(super) fn begin_probe(&mut self, now: Instant) -> bool {
        match &mut self.down {
            Some(down) if !down.probing && down.probe_at <= now => {
                down.probing = true;
                true
            }
            _ => false,
        }
    }

    /// It answered. Tells whether that is news.
    pub(super) fn up(&mut self, now: Timestamp) -> bool {
        self.last_answer = Some(now);
        self.down.take().is_some()
    }

    /// It could not be used. Tells whether that is news.
    pub(super) fn down(&mut self, now: Timestamp, instant: Instant, why: &str) -> bool {
        let news = self.down.is_none();
        let down = self.down.get_or_insert_with(|| Down {
            since: now,
            why: String::new(),
            probe_at: instant,
            probing: false,
            backoff: Self::backoff(),
        });
        why.clone_into(&mut down.why);
        down.probing = false;
        down.probe_at = instant + down.backoff.next_delay();
        news
    }
}
