//! The simulator over its own wire: what clients will meet, down to reason phrases.

mod access;
mod console;
mod guests;
mod levers;
mod making;
mod notifications;
mod replay;
mod schema;
mod tasks;
mod transport;
mod vault;
mod wire;
