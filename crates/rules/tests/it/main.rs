//! What becomes of events.

mod correlate;
mod reports;
