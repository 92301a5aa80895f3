//! The daemon as a process: it starts once, answers, tells the service manager, and ends as it is told; and
//! what people, models and the manager do with each other over it.

#![expect(clippy::unwrap_used, reason = "a test whose program cannot be started has failed")]

mod consent;
mod consoles;
mod daemon;
mod demo;
mod events;
mod links;
mod live;
mod setup;
mod support;
mod waiting;
