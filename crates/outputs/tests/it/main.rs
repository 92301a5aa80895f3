//! The outputs against services that keep their documented rules.

#![expect(clippy::unwrap_used, reason = "helpers of tests stand outside test functions")]

mod deliver;
mod discord;
mod email;
mod fake;
mod gotify;
mod heartbeat;
mod lines;
mod messages;
mod ntfy;
mod peers;
mod slack;
mod webhook;
