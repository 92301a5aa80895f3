//! The whole program.

#![expect(clippy::unwrap_used, reason = "a test whose program cannot be started has failed")]

mod http;
mod jobs;
mod planted;
mod policy;
mod serve;
mod setup;
mod tester;
mod tokens;
