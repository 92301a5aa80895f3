//! On which stream of a session a message goes out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rmcp::model::{
    GetExtensions as _, ProgressToken, RequestId, ServerJsonRpcMessage, ServerNotification,
};
use rmcp::service::OriginatingRequestId;
use tokio::time::Instant;

use super::wire;
use crate::adapter::session::Session;
use crate::http::feed::{Feed, Kind};

/// An answer that nobody fetched can be resumed for this long.
const KEEP_ANSWER: Duration = Duration::from_mins(1);

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

// === impl Routes ===

impl Routes {
    pub(super) fn new() -> Self {
        Self { common: Arc::new(Feed::new(Some(0))), table: Mutex::default() }
    }

    /// A way out for a request.
    pub(super) fn register(&self, id: RequestId, token: Option<ProgressToken>) -> Arc<Feed> {
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

    /// The feed of what belongs to no request.
    pub(super) fn common(&self) -> Arc<Feed> {
        Arc::clone(&self.common)
    }

    /// The feed of a name, if it is still kept.
    pub(super) fn feed(&self, name: u64) -> Option<Arc<Feed>> {
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
            // What nobody listens for yet is kept, once.
            None if kind == Kind::Note => self.common.push_once(data),
            None if kind == Kind::Question => self.common.push(kind, data),
            // An answer that belongs to no request any more is nobody's.
            None => {}
        }
    }

    /// The request will get no answer.
    pub(super) fn cancelled(&self, id: &RequestId) {
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
