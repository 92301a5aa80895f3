//! What PVE's methods do.

mod access;
mod agent;
mod backup;
mod clone;
mod cluster;
mod config;
mod create;
mod disks;
mod fetch;
mod guests;
mod ha;
mod jobs;
mod lifecycle;
mod nodes;
mod notifications;
mod pools;
mod power;
mod restore;
mod retention;
mod snapshots;
mod storage;
mod system;
mod tasks;

use crate::call::Handlers;

/// The handlers of all modules.
pub(crate) const HANDLERS: &[Handlers] = &[
    access::HANDLERS,
    agent::HANDLERS,
    backup::HANDLERS,
    clone::HANDLERS,
    cluster::HANDLERS,
    config::HANDLERS,
    create::HANDLERS,
    disks::HANDLERS,
    fetch::HANDLERS,
    guests::HANDLERS,
    ha::HANDLERS,
    jobs::HANDLERS,
    lifecycle::HANDLERS,
    nodes::HANDLERS,
    notifications::HANDLERS,
    pools::HANDLERS,
    power::HANDLERS,
    restore::HANDLERS,
    retention::HANDLERS,
    snapshots::HANDLERS,
    storage::HANDLERS,
    system::HANDLERS,
    tasks::HANDLERS,
];
