//! The sessions of older clients: whose they are, how many there may be, when they end, and on which stream of a session
//! a message goes out.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode};
use rmcp::model::{
    ClientJsonRpcMessage, ClientNotification, GetExtensions as _, GetMeta as _, ProgressToken,
    RequestId, ServerJsonRpcMessage, ServerNotification,
};
use rmcp::service::{OriginatingRequestId, serve_directly_with_ct};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::wire::{self, Queue};
use super::{AT_ONCE, Carried, Message, Reply, exchange};
use crate::adapter::ask::Sealer;
use crate::adapter::handler::Server;
use crate::adapter::incoming::{self, Incoming};
use crate::adapter::session::Session;
use crate::context::Caller;
use crate::http::HttpOptions;
use crate::http::body::HttpBody;
use crate::http::feed::{self, Event, Feed, Kind, Opening, Reading};
use crate::http::headers;
use crate::http::reply::{self, SESSION_ID};

/// A session that was used this recently is not ended to make room for another.
const SETTLED: Duration = Duration::from_secs(10);
/// So many messages of a client may wait for the loop.
const QUEUE: usize = 32;
/// So many streams may one session have open to hear what belongs to no request.
const MAX_LISTENERS: usize = 8;
/// An answer that nobody fetched can be resumed for this long.
const KEEP_ANSWER: Duration = Duration::from_mins(1);
/// The first revision whose clients can read an event of no content.
const PRIMED_SINCE: &str = "2025-11-25";

/// All sessions.
pub(super) struct Sessions {
    table: Mutex<HashMap<String, Arc<Live>>>,
    idle: Duration,
    per_caller: usize,
    total: usize,
}

/// There is no room for another session: by what the caller has itself, or by what everybody has.
pub(super) struct Full {
    pub(super) own: bool,
}

/// One session.
pub(super) struct Live {
    id: String,
    subject: String,
    incoming: mpsc::Sender<ClientJsonRpcMessage>,
    state: Arc<Session>,
    routes: Arc<Routes>,
    stop: CancellationToken,
    /// The revision that was agreed on.
    version: OnceLock<String>,
    last_used: Mutex<Instant>,
    open: AtomicUsize,
    listeners: AtomicUsize,
}

/// The ways out of a session.
pub(super) struct Routes {
    /// What belongs to no request.
    common: Arc<Feed>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    last: u64,
    by_request: HashMap<RequestId, u64>,
    by_token: HashMap<ProgressToken, RequestId>,
    feeds: HashMap<u64, Arc<Feed>>,
    /// Feeds whose answer waits for its client, and since when.
    waiting: Vec<(u64, Instant)>,
}

/// Counts an open stream or a message in the making as use of the session.
struct Use {
    session: Arc<Live>,
    listens: bool,
}

// === impl Sessions ===

impl Sessions {
    pub(super) fn new(options: &HttpOptions) -> Self {
        Self {
            table: Mutex::default(),
            idle: options.session_idle,
            per_caller: options.sessions_per_caller,
            total: options.sessions_total,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// The session that a request names, or how to refuse it.
    pub(super) fn find(
        &self,
        headers: &HeaderMap,
        caller: &Caller,
    ) -> Result<Arc<Live>, impl FnOnce(&Value) -> Reply + use<>> {
        let named = headers::single(headers, SESSION_ID.as_str()).ok().flatten();
        let found = named.and_then(|id| self.lock().get(id).cloned());
        let is_named = named.is_some();
        // Whether a session of another caller exists is nobody's business.
        found.filter(|session| session.subject == caller.subject()).ok_or(move |id: &Value| {
            if is_named {
                let text = "there is no such session; initialize again";
                reply::refusal(StatusCode::NOT_FOUND, id, text)
            } else {
                let text = "the header Mcp-Session-Id is missing: initialize first, or send the metadata of 2026-07-28 with every request";
                reply::error(StatusCode::BAD_REQUEST, id, super::INVALID_REQUEST, text, None)
            }
        })
    }

    /// A new session, served from now on.
    pub(super) fn open(
        self: &Arc<Self>,
        carried: &Carried,
        sealer: &Arc<Sealer>,
        shutdown: &CancellationToken,
    ) -> Result<Arc<Live>, Full> {
        let (incoming, queue) = mpsc::channel(QUEUE);
        let session = Arc::new(Live {
            id: uuid::Uuid::new_v4().simple().to_string(),
            subject: carried.caller.subject().to_owned(),
            incoming,
            state: Arc::new(Session::new()),
            routes: Arc::new(Routes::new()),
            stop: shutdown.child_token(),
            version: OnceLock::new(),
            last_used: Mutex::new(Instant::now()),
            open: AtomicUsize::new(0),
            listeners: AtomicUsize::new(0),
        });
        self.make_room(&session)?;
        let server = Server::new(carried.app.clone(), Arc::clone(&session.state))
            .with_sealer(Arc::clone(sealer));
        let transport = Queue {
            incoming: queue,
            routes: Arc::clone(&session.routes),
            state: Arc::clone(&session.state),
        };
        let running = serve_directly_with_ct(server, transport, None, session.stop.clone());
        let sessions = Arc::clone(self);
        let watched = Arc::clone(&session);
        tokio::spawn(async move {
            tokio::select! {
                _ = running.waiting() => {}
                () = watched.idle_for(sessions.idle) => {}
            }
            sessions.close(&watched);
        });
        Ok(session)
    }

    /// Takes the session in, for which the longest unused one of the same caller may have to go.
    fn make_room(&self, session: &Arc<Live>) -> Result<(), Full> {
        let mut table = self.lock();
        let own = table.values().filter(|other| other.subject == session.subject);
        let own_is_full = own.clone().count() >= self.per_caller;
        if own_is_full || table.len() >= self.total {
            let settled = own.filter_map(|other| Some((other.unused_for()?, other)));
            let oldest =
                settled.filter(|(unused, _)| *unused >= SETTLED).max_by_key(|(unused, _)| *unused);
            let Some((_, oldest)) = oldest else { return Err(Full { own: own_is_full }) };
            tracing::debug!(session = oldest.id, "ended an unused session to make room");
            oldest.stop.cancel();
            let id = oldest.id.clone();
            table.remove(&id);
        }
        table.insert(session.id.clone(), Arc::clone(session));
        Ok(())
    }

    /// Ends a session and all that is done in it.
    pub(super) fn close(&self, session: &Live) {
        self.lock().remove(&session.id);
        session.stop.cancel();
        session.routes.end();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Live>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Live ===

impl Live {
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
                match self.incoming.send(*message).await {
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
            Incoming::Message(message) => *message,
            Incoming::Reply(body) => return reply::json(super::status_of_read(&body), body),
            Incoming::Ignored => return reply::empty(StatusCode::ACCEPTED),
        };
        let ClientJsonRpcMessage::Request(request) = &message else { return gone(&id) };
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
            let feed = Arc::clone(&self.routes.common);
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
    fn unused_for(&self) -> Option<Duration> {
        let busy = self.open.load(Ordering::Acquire) > 0 || self.state.is_busy();
        let last_used = *self.last_used.lock().unwrap_or_else(PoisonError::into_inner);
        (!busy).then(|| last_used.elapsed())
    }

    /// Resolves when the session has not been used for `limit`.
    async fn idle_for(&self, limit: Duration) {
        loop {
            let rest = match self.unused_for() {
                Some(unused) if unused >= limit => return,
                Some(unused) => limit - unused,
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

// === impl Routes ===

impl Routes {
    fn new() -> Self {
        Self { common: Arc::new(Feed::new(Some(0))), table: Mutex::default() }
    }

    /// A way out for a request.
    fn register(&self, id: RequestId, token: Option<ProgressToken>) -> Arc<Feed> {
        let mut table = self.lock();
        table.tidy();
        table.last += 1;
        let name = table.last;
        let feed = Arc::new(Feed::new(Some(name)));
        table.feeds.insert(name, Arc::clone(&feed));
        if let Some(token) = token {
            table.by_token.insert(token, id.clone());
        }
        table.by_request.insert(id, name);
        feed
    }

    /// The feed of a name, if it is still kept.
    fn feed(&self, name: u64) -> Option<Arc<Feed>> {
        if name == 0 {
            return Some(Arc::clone(&self.common));
        }
        self.lock().feeds.get(&name).cloned()
    }

    /// Sends a message on the stream that it belongs to.
    pub(super) fn send(&self, message: &ServerJsonRpcMessage, state: &Session) {
        let kind = wire::kind_of(message);
        let data = wire::to_json(message);
        let mut table = self.lock();
        let request = match message {
            ServerJsonRpcMessage::Response(response) => Some(response.id.clone()),
            ServerJsonRpcMessage::Error(error) => error.id.clone(),
            ServerJsonRpcMessage::Request(request) => {
                let origin = request.request.extensions().get::<OriginatingRequestId>();
                origin.map(|origin| origin.0.clone())
            }
            ServerJsonRpcMessage::Notification(notification) => {
                let notification = &notification.notification;
                let origin = notification.extensions().get::<OriginatingRequestId>();
                match (origin, notification) {
                    (Some(origin), _) => Some(origin.0.clone()),
                    (None, ServerNotification::ProgressNotification(progress)) => {
                        table.by_token.get(&progress.params.progress_token).cloned()
                    }
                    _ => None,
                }
            }
        };
        let name = request.as_ref().and_then(|id| table.by_request.get(id)).copied();
        let feed = name.and_then(|name| table.feeds.get(&name)).cloned();
        if let (Kind::Answer(_), Some(id)) = (kind, &request) {
            table.forget(id);
            state.end(id);
        }
        drop(table);
        match feed {
            Some(feed) => feed.push(kind, data),
            // An answer that belongs to no request any more is nobody's.
            None if !matches!(kind, Kind::Answer(_)) => self.common.push(kind, data),
            None => {}
        }
    }

    /// The request will get no answer.
    fn cancelled(&self, id: &RequestId) {
        let mut table = self.lock();
        let name = table.by_request.get(id).copied();
        let feed = name.and_then(|name| table.feeds.remove(&name));
        table.forget(id);
        drop(table);
        if let Some(feed) = feed {
            feed.end();
        }
    }

    /// Ends all streams.
    pub(super) fn end(&self) {
        let mut table = self.lock();
        let feeds: Vec<Arc<Feed>> = table.feeds.drain().map(|(_, feed)| feed).collect();
        table.by_request.clear();
        table.by_token.clear();
        table.waiting.clear();
        drop(table);
        self.common.end();
        for feed in feeds {
            feed.end();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Table ===

impl Table {
    /// The request is answered: its feed stays until somebody has taken the answer, or for a while.
    fn forget(&mut self, id: &RequestId) {
        if let Some(name) = self.by_request.remove(id) {
            self.waiting.push((name, Instant::now()));
        }
        self.by_token.retain(|_, of| of != id);
    }

    fn tidy(&mut self) {
        let feeds = &mut self.feeds;
        self.waiting.retain(|(name, since)| {
            let Some(feed) = feeds.get(name) else { return false };
            let keep = !feed.is_spent() && since.elapsed() < KEEP_ANSWER;
            if !keep {
                feeds.remove(name);
            }
            keep
        });
    }
}

/// The session ended while a request was on its way.
fn gone(id: &Value) -> Reply {
    reply::refusal(StatusCode::NOT_FOUND, id, "the session has ended; initialize again")
}
