//! The catalogue of tools, resources and prompts over a fleet of Proxmox endpoints.
//!
//! A tool is data first (name, title, description, schemas, access tier) and behavior second: it
//! reads the [`fleet::Fleet`] and returns a [`report::Report`]; one place renders, redacts and
//! marks it.
//!
//! *Invariant:* no transport, no settings, no environment: the embedder brings a [`fleet::Fleet`].
//! *Invariant:* a tool never guesses which guest, node or storage is meant, and never leaves out
//! silently what did not answer.

pub mod address;
mod app;
mod completion;
mod consent;
pub mod cursor;
pub mod error;
pub mod explain;
pub mod facts;
pub mod fleet;
pub mod follow;
pub mod gate;
pub mod jobs;
pub mod journal;
pub mod needs;
mod offer;
pub mod permissions;
pub mod plan;
pub mod process;
mod prompts;
mod reading;
pub mod redaction;
pub mod report;
mod resources;
pub mod schema;
pub mod sight;
#[cfg(test)]
mod testing;
pub mod tool;
pub mod tools;
pub mod view;
pub mod watch;

pub use app::{AppError, DEFAULT_CEILING, Options, build_app, chosen};
