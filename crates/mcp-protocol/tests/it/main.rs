//! Drives `serve_stdio` in memory with raw lines, as clients of both eras write them.

#![expect(
    clippy::unwrap_used,
    clippy::needless_pass_by_value,
    reason = "tests may unwrap, and read better with `json!` given by value"
)]

mod asking;
mod bench;
mod boundary;
mod changes;
mod client;
mod corpus;
mod fixture;
mod http;
mod http_client;
mod http_sessions;
mod http_socket;
mod jobs;
mod lifecycle;
mod lists;
mod spans;
mod tasks;
mod tools;
mod wire;
