//! TLS and HTTP clients against real servers on loopback.

mod server;
mod tls;
