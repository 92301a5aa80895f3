//! The least HTTP server that can carry the endpoint.

use std::convert::Infallible;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use mcp_protocol::http::HttpService;
use mcp_protocol::{App, Caller};
use tokio::net::TcpListener;

/// Accepts connections for ever.
pub(crate) async fn serve(listener: TcpListener, service: HttpService, app: App) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        // An event is a small write, which must not wait for the acknowledgment of the one before.
        if stream.set_nodelay(true).is_err() {
            continue;
        }
        let (service, app) = (service.clone(), app.clone());
        tokio::spawn(async move {
            let answer = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                let (service, app) = (service.clone(), app.clone());
                async move {
                    let caller = Caller::new("anonymous");
                    Ok::<_, Infallible>(service.handle(&app, caller, request).await)
                }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), answer);
            // A client that goes away in the middle is nothing to tell.
            let _ = connection.await;
        });
    }
}
