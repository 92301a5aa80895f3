//! What PBS's methods do.

mod access;
mod datastores;
mod jobs;
mod snapshots;
mod system;
mod tasks;
mod work;

use crate::call::Handlers;

/// The handlers of all modules.
pub(crate) const HANDLERS: &[Handlers] = &[
    access::HANDLERS,
    datastores::HANDLERS,
    jobs::HANDLERS,
    snapshots::HANDLERS,
    system::HANDLERS,
    tasks::HANDLERS,
    work::HANDLERS,
];
