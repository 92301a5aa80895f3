//! What PVE's methods do.

mod access;
mod agent;
mod backup;
mod ceph;
mod clone;
mod cluster;
mod config;
mod create;
mod disks;
mod fetch;
mod files;
mod firewall;
mod groups;
mod guests;
mod ha;
mod hardware;
mod jobs;
mod lifecycle;
mod network;
mod nodes;
mod notifications;
mod packages;
mod pools;
mod power;
mod replication;
mod restore;
mod retention;
mod services;
mod snapshots;
mod storage;
mod system;
mod tasks;

use crate::call::Handlers;

pub(crate) use self::hardware::{pool_row, pool_tree};
pub(crate) use self::system::{journal_range, syslog_page};

/// The handlers of all modules.
pub(crate) const HANDLERS: &[Handlers] = &[
    access::HANDLERS,
    agent::HANDLERS,
    backup::HANDLERS,
    ceph::HANDLERS,
    clone::HANDLERS,
    cluster::HANDLERS,
    config::HANDLERS,
    create::HANDLERS,
    disks::HANDLERS,
    fetch::HANDLERS,
    firewall::HANDLERS,
    files::HANDLERS,
    groups::HANDLERS,
    guests::HANDLERS,
    ha::HANDLERS,
    hardware::HANDLERS,
    jobs::HANDLERS,
    lifecycle::HANDLERS,
    nodes::HANDLERS,
    network::HANDLERS,
    notifications::HANDLERS,
    packages::HANDLERS,
    pools::HANDLERS,
    power::HANDLERS,
    replication::HANDLERS,
    restore::HANDLERS,
    retention::HANDLERS,
    services::HANDLERS,
    snapshots::HANDLERS,
    storage::HANDLERS,
    system::HANDLERS,
    tasks::HANDLERS,
];
