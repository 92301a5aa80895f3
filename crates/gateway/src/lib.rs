//! The only router and listener: authentication → principal, `/mcp`, `/api/v1`, `/metrics` and health.
//!
//! | path | what | who |
//! |---|---|---|
//! | `/mcp` | MCP over Streamable HTTP, both eras | with a grant |
//! | `/api/v1/tools`, `/api/v1/tools/{name}`, `/api/v1/jobs/{id}`, `/api/v1/openapi.json` | the same tools for programs that speak no MCP | with a grant |
//! | `/metrics` | counts for Prometheus | with a grant, or anybody where the operator says so |
//! | `/approve/{link}` | a plan that waits for consent, and the form to decide; only with a manager | whoever holds the link |
//! | `/livez`, `/readyz`, `/healthz` | a status and no more | anybody |
//! | `/.well-known/oauth-protected-resource` | where tokens come from | anybody |
//!
//! A [`Gateway`] is given what to serve as a [`Catalogue`] and who may call as an [`Authenticator`](auth::Authenticator);
//! [`Gateway::bind`] takes the addresses, so that whatever is wrong with them is said before anything runs, and
//! [`Bound::serve`] runs until it is told to stop.
//!
//! *Invariant:* knows no tool and nothing of the pipeline: what is served comes in as an app.
//! *Invariant:* an address that others can reach is not listened on without authentication.
//! *Invariant:* whatever a client does or fails to do, it holds a bounded part of the server for a bounded time.

pub mod auth;
mod body;
mod catalogue;
mod connection;
mod consent;
mod entrance;
mod error;
mod health;
mod hooks;
mod limit;
mod mcp;
mod metrics;
mod options;
mod peer;
mod problem;
mod rest;
mod router;
mod server;
mod shared;
mod slots;
mod stall;
mod tls;
mod unix;

pub use crate::catalogue::{Catalogue, Readiness};

pub use crate::consent::{ConsentPage, ConsentPages};
pub use crate::error::{CertificateError, GatewayError};
pub use crate::hooks::Hooks;
pub use crate::metrics::{Counts, Labels, Metrics, Series, Values};
pub use crate::options::Options;
pub use crate::server::{Bound, Gateway, Listen, Place};
pub use crate::tls::{Certificate, Reload, TlsFiles};
