//! Transports, credentials, settings and tasks, against fakes and real sockets on loopback.

mod auth;
mod config;
mod corpus;
mod failover;
mod fake;
mod schema;
mod script;
mod task;
mod wire;
