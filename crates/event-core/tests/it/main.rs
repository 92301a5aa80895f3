//! What others depend on: the wire form and its schema, and that nothing is acknowledged before it
//! is kept.

mod dispatch;
mod message;
mod wire;
