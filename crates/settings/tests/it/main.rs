//! Settings from every layer, every class of error with its place, and the earlier `.env`.

mod audit;
mod documents;
mod env_file;
mod errors;
mod events;
mod inputs;
mod layers;
mod outputs;
mod policy;
mod support;
mod websockets;
