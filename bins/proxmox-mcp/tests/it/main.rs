//! The whole program.

mod tester;
