//! Every engine under the same contracts, and what only one engine can get wrong.

#![expect(clippy::unwrap_used, reason = "helpers of tests stand outside test functions")]

mod audit;
mod away;
mod crash;
mod memory;
mod ports;
mod postgres;
mod spool;
mod sqlite;
mod upgrade;
mod words;
