//! One session of an older client.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use rmcp::model::{ClientJsonRpcMessage, ClientNotification, GetMeta as _};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::message::{Message, status_of_read};
use super::routes::Routes;
use super::sessions::Sessions;
use super::wire::Queue;
use super::{AT_ONCE, Carried, Reply, exchange};
use crate::adapter::incoming::{self, Incoming};
use crate::adapter::session::Session;
use crate::context::Caller;
use crate::http::body::HttpBody;
use crate::http::feed::{self, Event, Feed, Opening, Reading};
use crate::http::reply::{self, SESSION_ID};

/// So many messages of a client may wait for the loop.
const QUEUE: usize = 32;
/// So many streams may one session have open to hear what belongs to no request.
const MAX_LISTENERS: usize = 8;
/// The first revision whose clients can read an event of no content.
const PRIMED_SINCE: &str = "2025-11-25";

/// One session.
pub(super) struct Live {
    pub(super) id: String,
    pub(super) subject: String,
    incoming: mpsc::Sender<Box<ClientJsonRpcMessage>>,
    state: Arc<Session>,
    routes: Arc<Routes>,
    pub(super) stop: CancellationToken,
    /// The revision that was agreed on.
    version: OnceLock<String>,
    last_used: Mutex<Instant>,
    open: AtomicUsize,
    listeners: AtomicUsize,
}

/// Counts an open stream or a message in the making as use of the session.
struct Use {
    session: Arc<Live>,
    listens: bool,
}

// === impl Live ===

impl Live {
    /// A session of this caller, and the transport for whoever serves it.
    pub(super) fn new(caller: &Caller, stop: CancellationToken) -> (Arc<Self>, Queue) {
        let (incoming, queue) = mpsc::channel(QUEUE);
        let state = Arc::new(Session::new());
        let routes = Arc::new(Routes::new());
        let transport =
            Queue { incoming: queue, routes: Arc::clone(&routes), state: Arc::clone(&state) };
        let session = Self {
            id: uuid::Uuid::new_v4().simple().to_string(),
            subject: caller.subject().to_owned(),
            incoming,
            state,
            routes,
            stop,
            version: OnceLock::new(),
            last_used: Mutex::new(Instant::now()),
            open: AtomicUsize::new(0),
            listeners: AtomicUsize::new(0),
        };
        (Arc::new(session), transport)
    }

    /// Ends the session and all that is done in it.
    pub(super) fn end(&self) {
        self.stop.cancel();
        self.routes.end();
    }

    /// Passes the first message on; if it is answered well, the answer names the session.
    pub(super) async fn initialize(
        self: Arc<Self>,
        carried: Carried,
        message: Message,
        sessions: &Sessions,
    ) -> Reply {
        let _use = self.begin_use(false);
        let id = message.id.clone();
        let mut response = self.request(carried, message, None).await;
        let version = match response.body().as_whole() {
            Some(body) => serde_json::from_slice::<Value>(body).ok().and_then(|body| {
                Some(body.pointer("/result/protocolVersion")?.as_str()?.to_owned())
            }),
            None => None,
        };
        let Some(version) = version else {
            sessions.close(&self);
            return response;
        };
        // Set once: a session is initialized by the request that opened it.
        let _ = self.version.set(version);
        match HeaderValue::from_str(&self.id) {
            Ok(name) => {
                response.headers_mut().insert(SESSION_ID, name);
                response
            }
            Err(_) => {
                reply::refusal(StatusCode::INTERNAL_SERVER_ERROR, &id, "no session could be made")
            }
        }
    }

    /// Serves one message of the session.
    pub(super) async fn post(
        self: Arc<Self>,
        carried: Carried,
        message: Message,
        keep_alive: Duration,
    ) -> Reply {
        let _use = self.begin_use(false);
        if message.is_request() {
            return self.request(carried, message, Some(keep_alive)).await;
        }
        match incoming::read_value(message.value, &self.state) {
            Incoming::Message(mut message) => {
                if let ClientJsonRpcMessage::Notification(notification) = &*message
                    && let ClientNotification::CancelledNotification(cancelled) =
                        &notification.notification
                    && let Some(id) = &cancelled.params.request_id
                {
                    self.routes.cancelled(id);
                }
                exchange::carry(&mut message, carried);
                match self.incoming.send(message).await {
                    Ok(()) => reply::empty(StatusCode::ACCEPTED),
                    Err(_) => gone(&Value::Null),
                }
            }
            Incoming::Ignored => reply::empty(StatusCode::ACCEPTED),
            Incoming::Reply(body) => reply::json(StatusCode::BAD_REQUEST, body),
        }
    }

    /// Passes a request on and answers with its answer, or with the stream on which that will come. Without `keep_alive`
    /// there is no stream.
    async fn request(
        self: &Arc<Self>,
        mut carried: Carried,
        message: Message,
        keep_alive: Option<Duration>,
    ) -> Reply {
        let id = message.id;
        let mut message = match incoming::read_value(message.value, &self.state) {
            Incoming::Message(message) => message,
            Incoming::Reply(body) => return reply::json(status_of_read(&body), body),
            Incoming::Ignored => return reply::empty(StatusCode::ACCEPTED),
        };
        let ClientJsonRpcMessage::Request(request) = &*message else { return gone(&id) };
        let token = request.request.get_meta().get_progress_token();
        let feed = self.routes.register(request.id.clone(), token);
        carried.stream = self.is_primed().then(|| Arc::clone(&feed));
        exchange::carry(&mut message, carried);
        if self.incoming.send(message).await.is_err() {
            return gone(&id);
        }
        let patience = if keep_alive.is_some() { AT_ONCE } else { Duration::MAX };
        match feed.opening(patience).await {
            Opening::Whole(Event { data, .. }) => reply::json(StatusCode::OK, data),
            Opening::Events => self.stream(feed, None, keep_alive.unwrap_or(Duration::MAX), false),
            // Cancelled by another message, which is all the answer there is.
            Opening::Nothing if !self.stop.is_cancelled() => reply::empty(StatusCode::ACCEPTED),
            Opening::Nothing => gone(&id),
        }
    }

    /// Opens a stream for what belongs to no request, or resumes the stream that `last` is an event of.
    pub(super) fn listen(self: Arc<Self>, last: Option<&str>, keep_alive: Duration) -> Reply {
        if self.listeners.load(Ordering::Acquire) >= MAX_LISTENERS {
            let text = "the session has too many streams open";
            return reply::refusal(StatusCode::CONFLICT, &Value::Null, text);
        }
        let Some(last) = last else {
            let feed = self.routes.common();
            return self.stream(feed, None, keep_alive, true);
        };
        let place = last.split_once('-').and_then(|(name, number)| {
            Some((self.routes.feed(name.parse().ok()?)?, number.parse().ok()?))
        });
        match place {
            Some((feed, number)) => self.stream(feed, Some(number), keep_alive, true),
            // Not an error: a client would come back with the same event for ever.
            None => reply::events(HttpBody::empty()),
        }
    }

    fn stream(
        self: &Arc<Self>,
        feed: Arc<Feed>,
        after: Option<u64>,
        keep_alive: Duration,
        listens: bool,
    ) -> Reply {
        let reading = Reading { after, primed: self.is_primed(), keep_alive };
        let guard = self.begin_use(listens);
        reply::events(HttpBody::events(feed::events(feed, reading, guard)))
    }

    /// Whether streams begin with an event from which the client can resume.
    fn is_primed(&self) -> bool {
        self.version.get().is_some_and(|version| version.as_str() >= PRIMED_SINCE)
    }

    fn begin_use(self: &Arc<Self>, listens: bool) -> Use {
        self.open.fetch_add(1, Ordering::AcqRel);
        if listens {
            self.listeners.fetch_add(1, Ordering::AcqRel);
        }
        Use { session: Arc::clone(self), listens }
    }

    /// For how long nobody has used the session; `None` while somebody does.
    pub(super) fn unused_for(&self) -> Option<Duration> {
        let busy = self.open.load(Ordering::Acquire) > 0 || self.state.is_busy();
        let last_used = *self.last_used.lock().unwrap_or_else(PoisonError::into_inner);
        (!busy).then(|| last_used.elapsed())
    }

    /// Resolves when the session has not been used for `limit`.
    pub(super) async fn idle_for(&self, limit: Duration) {
        loop {
            let rest = match self.unused_for() {
                Some(unused) if unused >= limit => return,
                Some(unused) => limit.saturating_sub(unused),
                None => limit,
            };
            tokio::time::sleep(rest).await;
        }
    }
}

// === impl Use ===

impl Drop for Use {
    fn drop(&mut self) {
        *self.session.last_used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        if self.listens {
            self.session.listeners.fetch_sub(1, Ordering::AcqRel);
        }
        self.session.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The session ended while a request was on its way.
fn gone(id: &Value) -> Reply {
    reply::refusal(StatusCode::NOT_FOUND, id, "the session has ended; initialize again")
}
