//! Serving an app over a pair of byte streams.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::adapter;
use crate::app::App;

/// Why serving ended before its time.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The task that serves died.
    #[error("serve the protocol")]
    Task(#[source] tokio::task::JoinError),
}

/// Serves `app` until the input ends or `shutdown` is cancelled.
///
/// Both eras of the protocol are spoken, in any order, one JSON message per line of at most 4 MiB. Nothing but messages is
/// written to `output`. With nothing in flight it returns at once when the input ends; requests in flight get a short grace
/// (see [`crate::AppBuilder::end_of_input_grace`]) and are cancelled then. A client that stops reading is the same as one
/// that is gone.
///
/// # Errors
///
/// [`ServeError`] if the serving task dies, which is a fault in this program; a client that misbehaves is answered instead.
pub async fn serve_stdio<R, W>(
    app: App,
    input: R,
    output: W,
    shutdown: CancellationToken,
) -> Result<(), ServeError>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    adapter::serve(app, input, output, shutdown).await
}
