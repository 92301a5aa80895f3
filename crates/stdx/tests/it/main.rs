//! TLS and HTTP clients against real servers on loopback, and what the fuzzers found.

mod corpus;
mod server;
mod tls;
