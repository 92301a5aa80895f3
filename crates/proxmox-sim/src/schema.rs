//! What the simulated servers accept: the embedded tables of methods, parameter checking in the
//! servers' own words, and the published schema.

pub(crate) mod check;
mod kind;
mod publish;
mod table;

pub(crate) use kind::Kind;
pub(crate) use publish::apidoc;
pub(crate) use table::{Clause, Method, Permission, Table};
