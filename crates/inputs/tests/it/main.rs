//! What channels bring, and what becomes of it.
#![expect(clippy::unwrap_used, reason = "helpers stand outside test functions")]

mod console;
mod contract;
mod corpus;
mod discord;
mod fakes;
mod feeds;
mod imap;
mod mail;
mod mailserver;
mod notifications;
mod peers;
mod receiver;
mod smtp;
mod sockets;
mod streams;
mod tasks;
mod webhooks;
