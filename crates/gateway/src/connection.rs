//! One connection: HTTP/1.1 with a deadline for everything that a client may be slow at.

use std::pin::pin;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tower_service::Service as _;

use crate::options::Options;
use crate::peer::Peer;
use crate::stall::Stall;

/// The most bytes of a request's head.
const MAX_HEAD: usize = 64 * 1024;

/// Serves requests until the client goes or `stop` says that the one under way is the last.
pub(crate) async fn serve<S>(
    stream: S,
    peer: Peer,
    router: Router,
    options: Arc<Options>,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        // A router is always ready.
        router.clone().call(request.map(Body::new))
    });
    let stream = TokioIo::new(Stall::new(stream, options.write_timeout));
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(options.head_timeout)
            .max_buf_size(MAX_HEAD)
            .serve_connection(stream, service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = %stdx::Chain(&error), "connection ended");
    }
}
