//! What becomes of events.

mod correlate;
mod day;
mod ears;
mod lines;
mod place;
mod replay;
mod reports;
mod stage;
mod tell;
mod watch;
mod week;
mod world;
