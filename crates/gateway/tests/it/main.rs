//! The gateway from outside: over real sockets, as clients, probes and attackers come to it.
#![expect(clippy::unwrap_used, reason = "helpers of tests stand outside of test functions")]

mod auth;
mod client;
mod health;
mod hooks;
mod limits;
mod listen;
mod mcp;
mod metrics;
mod oauth;
mod oauth_limits;
mod openapi;
mod rest;
mod support;
mod tls;
