//! What becomes of events.

mod correlate;
mod day;
mod lines;
mod replay;
mod reports;
mod stage;
mod tell;
mod watch;
mod world;
