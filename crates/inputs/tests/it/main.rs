//! What channels bring, and what becomes of it.
#![expect(clippy::unwrap_used, reason = "helpers stand outside test functions")]

mod contract;
mod corpus;
mod fakes;
mod mail;
mod notifications;
mod receiver;
mod smtp;
mod sockets;
mod streams;
mod tasks;
mod webhooks;
