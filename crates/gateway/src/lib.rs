//! The only router and listener: authentication → principal, `/mcp`, `/api/v1`, `/metrics` and health.
//!
//! *Invariant:* knows no tool and nothing of the pipeline: what is served comes in as an app.

pub mod auth;
