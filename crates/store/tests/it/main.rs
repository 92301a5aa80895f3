//! Every engine under the same contracts, and what only one engine can get wrong.

mod memory;
mod postgres;
mod sqlite;
