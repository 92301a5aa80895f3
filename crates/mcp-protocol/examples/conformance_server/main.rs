//! The fixtures of the official conformance suite, through our boundary alone.
//!
//! `cargo run -p mcp-protocol --example conformance_server -- 127.0.0.1:8000` serves them at any path until it is stopped;
//! `cargo xtask conformance` runs the suite against it. The names, texts and shapes are what the suite looks for.

#![expect(clippy::print_stderr, reason = "says where it listens")]
#![expect(clippy::needless_pass_by_value, reason = "`json!` reads better given by value")]

mod asking;
mod contents;
mod fixture;
mod jobs;
mod library;
mod listener;
mod watching;

use std::sync::Arc;

use mcp_protocol::http::{HttpOptions, HttpService};
use mcp_protocol::{App, BuildError, Changes, Implementation, MemoryJobs, Notifier};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::jobs::Works;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(&address).await?;
    eprintln!("serving http://{}/mcp", listener.local_addr()?);
    let service = HttpService::new(HttpOptions::default(), CancellationToken::new());
    listener::serve(listener, service, app()?).await;
    Ok(())
}

fn app() -> Result<App, BuildError> {
    let notifier = Notifier::new();
    let works = Arc::new(Works::new(notifier.jobs(Arc::new(MemoryJobs::default()))));
    let ours = Implementation::new("conformance", "Conformance server", env!("CARGO_PKG_VERSION"));
    App::builder(ours, "Fixtures of the conformance suite.")
        .tools(contents::tools())
        .tools(asking::tools())
        .tools(watching::tools(&notifier))
        .tools(jobs::tools(&works))
        .resources(Arc::new(library::Shelf))
        .prompts(Arc::new(library::Prompted::new()))
        .completer(Arc::new(library::Suggested))
        .jobs(works.store(), works)
        .notifier(notifier, Changes::ALL)
        .build()
}
