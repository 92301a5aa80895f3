//! The one place that names the SDK: our transport and our handler on its service loop.
//!
//! The loop is started without the SDK's own handshake, because that one ends the connection at the first message that it
//! does not expect and, once a modern request has come, refuses a client that then initializes. Which era a request
//! belongs to is decided here, request by request: by its `_meta`, else by whether `initialize` has come.

mod answer;
mod ask;
mod call;
mod handler;
pub(crate) mod http;
mod incoming;
mod listen;
mod outlet;
mod session;
mod tasks;
mod transport;

use std::sync::Arc;

use rmcp::service::serve_directly_with_ct;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use self::handler::Server;
use self::session::Session;
use self::transport::LineTransport;
use crate::app::App;
use crate::serve::ServeError;

/// Serves `app` until the input ends or `shutdown` is cancelled.
pub(crate) async fn serve<R, W>(
    app: App,
    input: R,
    output: W,
    shutdown: CancellationToken,
) -> Result<(), ServeError>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    // The SDK cancels the token that it is given when it is done; the caller's own token must not feel that.
    let stop = shutdown.child_token();
    let session = Arc::new(Session::new());
    let transport = LineTransport::new(input, output, Arc::clone(&session), app.inner.end_grace);
    let server = Server::new(app, session);
    let running = serve_directly_with_ct(server, transport, None, stop);
    running.waiting().await.map(|_reason| ()).map_err(ServeError::Task)
}

/// Reads one line as a server would: for fuzzers.
pub(crate) fn fuzz_line(line: &[u8]) {
    let session = Session::new();
    if let incoming::Incoming::Reply(reply) = incoming::read(line, &session) {
        let reply: serde_json::Value = serde_json::from_slice(&reply).expect("a reply is JSON");
        assert_eq!(reply["jsonrpc"], "2.0", "a reply is a message");
    }
}
