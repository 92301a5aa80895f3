//! What PBS's methods do.

mod access;
mod datastores;
mod files;
mod jobs;
mod notifications;
pub(crate) mod prune;
mod snapshots;
mod system;
mod tasks;
mod verify;
mod work;

use crate::call::Handlers;

/// The handlers of all modules.
pub(crate) const HANDLERS: &[Handlers] = &[
    access::HANDLERS,
    datastores::HANDLERS,
    files::HANDLERS,
    jobs::HANDLERS,
    notifications::HANDLERS,
    prune::HANDLERS,
    snapshots::HANDLERS,
    system::HANDLERS,
    tasks::HANDLERS,
    verify::HANDLERS,
    work::HANDLERS,
];
