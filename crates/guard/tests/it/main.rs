//! The table of risks against everything that both products publish.

mod risk;
