//! One request by itself: from its message to its answer.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use rmcp::RoleServer;
use rmcp::model::{ClientJsonRpcMessage, InitializeRequestParams, ProtocolVersion};
use rmcp::service::{RunningService, serve_directly_with_ct};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::message::status_of;
use super::wire::Single;
use super::{AT_ONCE, Carried, Reply, ending};
use crate::adapter::ask::Sealer;
use crate::adapter::handler::Server;
use crate::adapter::session::Session;
use crate::http::body::HttpBody;
use crate::http::feed::{self, Event, Feed, Kind, Opening, Reading};
use crate::http::reply;

/// What a request is served with.
pub(super) struct Setting<'a> {
    pub(super) carried: Carried,
    pub(super) state: Arc<Session>,
    pub(super) sealer: Arc<Sealer>,
    /// The version of an older client, which the message does not carry.
    pub(super) version: Option<String>,
    /// Whether the message's metadata is complete; `None` if errors have no status of their own.
    pub(super) complete: Option<bool>,
    pub(super) keep_alive: Duration,
    pub(super) shutdown: &'a CancellationToken,
}

/// Stops the work of a request when the client is gone.
struct Work {
    /// Dropped, it cancels.
    _running: RunningService<RoleServer, Server>,
}

/// Serves the request and answers with its answer, or with the stream on which that will come.
pub(super) async fn run(
    mut message: Box<ClientJsonRpcMessage>,
    id: &Value,
    setting: Setting<'_>,
) -> Reply {
    let Setting { carried, state, sealer, version, complete, keep_alive, shutdown } = setting;
    let app = carried.app.clone();
    carry(&mut message, carried);
    let feed = Arc::new(Feed::new(None));
    let transport = Single::new(message, Arc::clone(&feed), Arc::clone(&state));
    let peer = version.and_then(|version| serde_json::from_value(Value::String(version)).ok()).map(
        |version: ProtocolVersion| {
            let mut peer = InitializeRequestParams::default();
            peer.protocol_version = version;
            peer
        },
    );
    let server = Server::new(app, state).with_sealer(sealer);
    let running = serve_directly_with_ct(server, transport, peer, shutdown.child_token());
    // From here on a client that goes away, which drops this future or the body, ends the work.
    let work = Work { _running: running };
    match feed.opening(AT_ONCE).await {
        Opening::Whole(Event { kind, data, .. }) => {
            let status = match (kind, complete) {
                (Kind::Answer(Some(code)), Some(complete)) => status_of(code, complete),
                _ => StatusCode::OK,
            };
            reply::json(status, data)
        }
        Opening::Events => {
            let reading = Reading { after: None, primed: false, keep_alive };
            reply::events(HttpBody::events(feed::events(feed, reading, work)))
        }
        Opening::Nothing => ending(id),
    }
}

/// Gives a message what the handler has to know of where it comes from.
pub(super) fn carry(message: &mut ClientJsonRpcMessage, carried: Carried) {
    use rmcp::model::GetExtensions as _;
    match message {
        ClientJsonRpcMessage::Request(request) => {
            request.request.extensions_mut().insert(carried);
        }
        ClientJsonRpcMessage::Notification(notification) => {
            notification.notification.extensions_mut().insert(carried);
        }
        _ => {}
    }
}
