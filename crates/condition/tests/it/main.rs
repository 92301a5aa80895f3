//! Conditions: what is told, every class of error, bounds, properties, and the fuzzers' corpus.

mod corpus;
mod errors;
mod properties;
mod told;
