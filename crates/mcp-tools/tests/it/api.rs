//! The four tools over the whole API: against the simulator, and against servers that publish what
//! real ones publish.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod call;
mod describe;
mod fake;
mod hostile;
mod library;
mod read;
mod secrets;
