//! The whole program.

mod serve;
mod tester;
