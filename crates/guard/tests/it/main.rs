//! The table of risks against everything that both products publish, and the ports' contract.

mod ports;
mod risk;
