//! Accepts connections on the control socket and hands each to the JSON-RPC library with its peer.

use std::task::{Context, Poll};
use std::time::Duration;

use http::Request;
use jsonrpsee::server::{ServerConfig, serve_with_graceful_shutdown, stop_channel};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

use crate::desk::Desk;
use crate::peer::Peer;
use crate::socket::ControlSocket;

/// Each `serve` process that is attached holds one.
const CONNECTIONS: u32 = 256;
/// Calls of tools that are under way, and approvals that are watched, by one connection.
const SUBSCRIPTIONS: u32 = 256;
/// A call's arguments can hold a file's text.
const REQUEST: u32 = 4 * 1024 * 1024;
/// An answer goes as text and as an object, below a ceiling of its own.
const RESPONSE: u32 = 16 * 1024 * 1024;
/// How long connections may take to close at the end.
const CLOSING: Duration = Duration::from_secs(2);
/// How long to wait when no connection can be accepted, for want of open files as a rule.
const BREATH: Duration = Duration::from_millis(100);

/// Adds to every request of a connection who is at its other end.
#[derive(Clone)]
struct WithPeer<S> {
    inner: S,
    peer: Peer,
}

/// Answers the control API until `stop`.
pub async fn serve(socket: ControlSocket, desk: Desk, stop: CancellationToken) {
    let config = ServerConfig::builder()
        .max_connections(CONNECTIONS)
        .max_subscriptions_per_connection(SUBSCRIPTIONS)
        .max_request_body_size(REQUEST)
        .max_response_body_size(RESPONSE)
        .build();
    let builder = jsonrpsee::server::Server::builder().set_config(config).to_service_builder();
    let methods = desk.into_methods();
    let (stopped, handle) = stop_channel();
    let tasks = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = socket.listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection on the control socket");
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        let Some(peer) = Peer::of(&stream) else {
            tracing::warn!("the system does not say who is at the control socket; not let in");
            continue;
        };
        tracing::debug!(uid = peer.uid, pid = peer.pid, "connection on the control socket");
        let inner = builder.clone().build(methods.clone(), stopped.clone());
        let service = WithPeer { inner, peer };
        let stopped = stopped.clone();
        tasks.spawn(async move {
            let served = serve_with_graceful_shutdown(stream, service, stopped.shutdown()).await;
            if let Err(error) = served {
                tracing::debug!(error, "a connection on the control socket broke");
            }
        });
    }
    // The socket goes first: whoever comes now elects anew rather than waits for an answer.
    drop(socket);
    // Fails only where it has been stopped already.
    let _ = handle.stop();
    drop(stopped);
    tasks.close();
    if tokio::time::timeout(CLOSING, tasks.wait()).await.is_err() {
        tracing::info!(left = tasks.len(), "connections on the control socket were cut");
    }
}

impl<S, B> Service<Request<B>> for WithPeer<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        request.extensions_mut().insert(self.peer.clone());
        self.inner.call(request)
    }
}
