//! Several endpoints of one cluster as one transport.
//!
//! Asks the endpoint that answered last; goes on to the next when one cannot be used or cannot
//! reach the node that should do the work. An endpoint that is down is left alone and probed in the
//! background, with growing pauses, while requests keep coming; nothing runs when nobody asks.
//!
//! *Invariant:* a request of which any byte may have arrived is sent again only if it is
//! idempotent.

mod decide;
mod health;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use estate::NodeName;
use futures::StreamExt;
use http::{Request, Response};
use stdx::{Backoff, Chain, Clock};
use tokio::time::{self, Instant};
use tracing::{debug, info};

use self::{
    decide::{Attempt, Next, Outcome, Standing, Verdict},
    health::State,
};
use crate::{
    Body, RequestMeta, Retry, Sent, Transport, TransportError, TransportErrorKind as Kind,
    limits::{Limits, Permit},
    transport::copy,
};

pub use health::{EndpointHealth, Health};

/// How long a node that no endpoint could reach is taken as lost before all are asked again.
const NODE_LOST: Duration = Duration::from_secs(15);
/// The first and the longest pause between probes of an endpoint that is down.
const PROBE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// How long an endpoint may owe an answer before giving up on it speaks against it.
const DOUBTFUL: Duration = Duration::from_secs(3);
/// How long a probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// Several endpoints of one cluster, or the only one of a server.
#[derive(Clone)]
pub struct Failover(Arc<Inner>);

/// How a [`Failover`] behaves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FailoverOptions {
    /// The whole time of a request without a deadline of its own.
    pub deadline: Duration,
    /// How many requests may be under way to one endpoint.
    pub per_endpoint: usize,
    /// How many privileged requests may be under way on one node.
    pub protected_per_node: usize,
    /// The path that tells whether an endpoint is back: one that needs no login.
    pub probe_path: &'static str,
}

/// One of the endpoints.
pub struct Endpoint {
    /// What it is called in errors and health: its address.
    pub name: String,
    /// How it is reached.
    pub transport: Arc<dyn Transport>,
}

struct Inner {
    endpoints: Vec<Endpoint>,
    options: FailoverOptions,
    clock: Arc<dyn Clock>,
    limits: Limits,
    shared: Mutex<Shared>,
}

struct Shared {
    preferred: usize,
    states: Vec<State>,
    lost_nodes: HashMap<NodeName, Instant>,
}

/// Held while an endpoint owes an answer. Dropped unsettled, because the time was up or the caller
/// went away, it lets the next request ask another endpoint: our patience proves nothing, but one
/// that hangs must not be asked first for ever.
struct Doubt<'a> {
    failover: &'a Failover,
    index: usize,
    since: Instant,
    settled: bool,
}

/// No endpoint gave an answer.
#[derive(Debug, thiserror::Error)]
#[error("no endpoint answered; {}", .others.join("; "))]
struct NoneAnswered {
    others: Vec<String>,
    #[source]
    worst: TransportError,
}

// === impl FailoverOptions ===

impl Default for FailoverOptions {
    fn default() -> Self {
        Self {
            deadline: Duration::from_mins(1),
            per_endpoint: 8,
            protected_per_node: 3,
            probe_path: "/",
        }
    }
}

// === impl Failover ===

impl Failover {
    /// Joins the endpoints; the first is preferred until another answers better.
    ///
    /// # Panics
    ///
    /// Without any endpoint.
    pub fn new(endpoints: Vec<Endpoint>, options: FailoverOptions, clock: Arc<dyn Clock>) -> Self {
        assert!(!endpoints.is_empty(), "failover needs an endpoint");
        let limits = Limits::new(endpoints.len(), options.per_endpoint, options.protected_per_node);
        let states = endpoints.iter().map(|_| State::default()).collect();
        let shared = Shared { preferred: 0, states, lost_nodes: HashMap::new() };
        Self(Arc::new(Inner { endpoints, options, clock, limits, shared: Mutex::new(shared) }))
    }

    /// How the endpoints stand.
    pub fn health(&self) -> Health {
        let shared = self.0.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let endpoints = self.0.endpoints.iter().zip(&shared.states);
        Health {
            preferred: self.0.endpoints[shared.preferred].name.clone(),
            endpoints: endpoints.map(|(endpoint, state)| state.health(&endpoint.name)).collect(),
        }
    }

    /// The endpoints to ask, in order; starts the probes that are due.
    fn plan(&self) -> Vec<usize> {
        let now = Instant::now();
        let mut due = Vec::new();
        let order = {
            let mut shared = self.0.shared.lock().unwrap_or_else(PoisonError::into_inner);
            let standings: Vec<Standing> =
                shared.states.iter().map(|state| state.standing(now)).collect();
            let order = decide::order(shared.preferred, &standings);
            for (index, state) in shared.states.iter_mut().enumerate() {
                // What this request asks anyway needs no probe.
                if !order.contains(&index) && state.begin_probe(now) {
                    due.push(index);
                }
            }
            order
        };
        for index in due {
            let failover = self.clone();
            tokio::spawn(async move { failover.probe(index).await });
        }
        order
    }

    async fn probe(&self, index: usize) {
        let endpoint = &self.0.endpoints[index];
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = http::Uri::from_static(self.0.options.probe_path);
        let answer = time::timeout(PROBE_TIMEOUT, endpoint.transport.send(request)).await;
        let failure = match answer {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error),
            Err(_) => Some(TransportError::new(Kind::Timeout, Sent::No, &*endpoint.name)),
        };
        match failure {
            None => self.learn(index, Verdict::Alive, None),
            Some(error) => self.learn(index, Verdict::Down, Some(&error)),
        }
    }

    fn learn(&self, index: usize, verdict: Verdict, error: Option<&TransportError>) {
        let name = &self.0.endpoints[index].name;
        let (instant, now) = (Instant::now(), self.0.clock.now());
        let mut shared = self.0.shared.lock().unwrap_or_else(PoisonError::into_inner);
        match verdict {
            Verdict::Unclear => {}
            Verdict::Good | Verdict::Alive => {
                if shared.states[index].up(now) {
                    info!(endpoint = %name, "endpoint answers again");
                }
                if verdict == Verdict::Good {
                    shared.preferred = index;
                }
            }
            Verdict::Down => {
                let why = error.map(|error| Chain(error).to_string()).unwrap_or_default();
                if shared.states[index].down(now, instant, &why) {
                    info!(endpoint = %name, error = %why, "endpoint is down");
                }
            }
        }
    }

    /// Prefers the next endpoint that is not down, if this one is preferred.
    fn step_aside(&self, index: usize) {
        let mut shared = self.0.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.preferred != index {
            return;
        }
        let (now, count) = (Instant::now(), shared.states.len());
        let mut others = (1..count).map(|step| (index + step) % count);
        let next = others.find(|other| shared.states[*other].standing(now) == Standing::Up);
        shared.preferred = next.unwrap_or(index);
    }

    fn node_lost(&self, node: Option<&NodeName>) -> bool {
        let Some(node) = node else { return false };
        let shared = self.0.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.lost_nodes.get(node).is_some_and(|since| since.elapsed() < NODE_LOST)
    }

    fn note_node(&self, node: Option<&NodeName>, lost: bool) {
        let Some(node) = node else { return };
        let mut shared = self.0.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if lost {
            shared.lost_nodes.insert(node.clone(), Instant::now());
        } else if !shared.lost_nodes.is_empty() {
            shared.lost_nodes.remove(node);
        }
    }

    async fn run(
        &self,
        request: Request<Body>,
        meta: &RequestMeta,
        deadline: Instant,
    ) -> Result<Response<Body>, TransportError> {
        let too_late = |sent, name: &str| TransportError::new(Kind::Timeout, sent, name);
        let node_permit = if meta.protected {
            let waiting = self.0.limits.node(meta.node.as_ref());
            Some(time::timeout_at(deadline, waiting).await.map_err(|_| too_late(Sent::No, ""))?)
        } else {
            None
        };
        let mut permits: Vec<Permit> = node_permit.into_iter().collect();

        let order = self.plan();
        let node_lost = self.node_lost(meta.node.as_ref());
        let mut remaining = Some(request);
        let mut answer = None;
        let mut failures: Vec<TransportError> = Vec::new();
        let (mut place, mut again) = (0, false);
        while place < order.len() {
            let index = order[place];
            let name = &self.0.endpoints[index].name;
            let Some(request) = remaining.take() else { break };
            let copy = copy(&request);
            let attempt =
                Attempt { retry: meta.retry, repeatable: copy.is_some(), again, node_lost };
            remaining = copy;

            let waiting = self.0.limits.endpoint(index);
            let Ok(permit) = time::timeout_at(deadline, waiting).await else {
                failures.push(too_late(Sent::No, name));
                break;
            };
            let sending = self.0.endpoints[index].transport.send(request);
            let mut doubt = Doubt { failover: self, index, since: Instant::now(), settled: false };
            let Ok(result) = time::timeout_at(deadline, sending).await else {
                failures.push(too_late(Sent::Maybe, name));
                break;
            };
            doubt.settled = true;
            let outcome = match &result {
                Ok(response) => Outcome::Answered(response.status().as_u16()),
                Err(error) => Outcome::Failed(error.kind(), error.sent()),
            };
            self.learn(index, decide::verdict(attempt, outcome), result.as_ref().err());
            let next = decide::next(attempt, outcome);
            match result {
                Ok(response) => answer = Some((response, permit)),
                Err(error) => {
                    debug!(endpoint = %name, error = %Chain(&error), ?next, "request failed");
                    failures.push(error);
                }
            }
            match next {
                Next::Return => break,
                Next::Again => again = true,
                Next::Other => {
                    place += 1;
                    again = false;
                }
            }
        }

        let failed_last = match &answer {
            // An answer stands even if a later endpoint gave none: it says more.
            Some((response, _)) => matches!(response.status().as_u16(), 595 | 596),
            None => return Err(worst(failures)),
        };
        self.note_node(meta.node.as_ref(), failed_last && failures.is_empty());
        let Some((response, permit)) = answer else { return Err(worst(failures)) };
        permits.push(permit);
        Ok(response.map(|body| hold(body, permits)))
    }
}

#[async_trait]
impl Transport for Failover {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, TransportError> {
        let meta = request.extensions().get::<RequestMeta>().cloned();
        let meta = meta.unwrap_or_else(|| RequestMeta {
            node: None,
            protected: false,
            retry: if request.method().is_safe() { Retry::Idempotent } else { Retry::Unsent },
            deadline: None,
        });
        let deadline = Instant::now() + meta.deadline.unwrap_or(self.0.options.deadline);
        self.run(request, &meta, deadline).await
    }
}

impl fmt::Debug for Failover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Failover").field(&self.health()).finish()
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endpoint").field(&self.name).finish()
    }
}

// === impl Doubt ===

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if !self.settled && self.since.elapsed() >= DOUBTFUL {
            self.failover.step_aside(self.index);
        }
    }
}

/// Of all failures the one that says most; the others are named around it. That something may have
/// arrived is never lost.
fn worst(mut failures: Vec<TransportError>) -> TransportError {
    let sent = if failures.iter().any(|failure| failure.sent() == Sent::Maybe) {
        Sent::Maybe
    } else {
        Sent::No
    };
    let told = failures.iter().enumerate();
    let most = told.max_by_key(|(at, failure)| (decide::tells_more(failure.kind()), *at));
    let Some((at, _)) = most else {
        // Every way out of the loop without an answer leaves a failure behind.
        return TransportError::new(Kind::Protocol, sent, "");
    };
    let worst = failures.swap_remove(at);
    // The same endpoint asked twice is no second opinion.
    failures.retain(|failure| failure.endpoint() != worst.endpoint());
    if failures.is_empty() {
        return worst.with_sent(sent);
    }
    let others = failures.iter().map(|failure| Chain(failure).to_string()).collect();
    TransportError::new(worst.kind(), sent, "").with_source(NoneAnswered { others, worst })
}

/// The body, keeping the permits until its end: the server is busy until then.
fn hold(body: Body, permits: Vec<Permit>) -> Body {
    match body {
        Body::Full(bytes) => Body::Full(bytes),
        Body::Stream(stream, size) => {
            let held = stream.map(move |piece| {
                let _ = &permits;
                piece
            });
            Body::Stream(Box::pin(held), size)
        }
    }
}

impl State {
    fn backoff() -> Backoff {
        Backoff::new(PROBE.0, PROBE.1)
    }
}
