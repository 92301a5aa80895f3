//! The sessions of older clients: whose they are, how many there may be, and when they end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use rmcp::service::serve_directly_with_ct;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::live::Live;
use super::{Carried, Reply};
use crate::adapter::ask::Sealer;
use crate::adapter::handler::Server;
use crate::context::Caller;
use crate::http::HttpOptions;
use crate::http::headers;
use crate::http::reply::{self, SESSION_ID};

/// A session that was used this recently is not ended to make room for another.
const SETTLED: Duration = Duration::from_secs(10);

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
        let (session, transport) = Live::new(&carried.caller, shutdown.child_token());
        self.make_room(&session)?;
        let server = Server::new(carried.app.clone(), Arc::clone(&transport.state))
            .with_sealer(Arc::clone(sealer));
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
            oldest.end();
            let id = oldest.id.clone();
            table.remove(&id);
        }
        table.insert(session.id.clone(), Arc::clone(session));
        Ok(())
    }

    /// Ends a session and all that is done in it.
    pub(super) fn close(&self, session: &Live) {
        self.lock().remove(&session.id);
        session.end();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Live>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
