//! The table of risks against everything that both products publish, and the ports' contract.

mod endpoints;
mod ports;
mod risk;
