//! The cluster and its keepers: HA, replication, Ceph, pools, access, certificates, updates, disks, services, logs.

pub mod access;
pub mod acl_change;
mod act;
mod ask;
mod book;
pub mod ceph;
pub mod certificates;
pub mod disks;
pub mod ha;
pub mod ha_change;
pub mod journal;
mod moment;
pub mod node_power;
mod page;
pub mod pool_change;
pub mod pools;
pub mod replication;
pub mod replication_run;
mod rights;
pub mod service_restart;
pub mod services;
mod smart;
pub mod tags;
pub mod updates;
pub mod updates_refresh;
pub mod users;
mod versions;

use crate::tool::EstateTool;

/// The tools, in the order of their list.
pub(super) static TOOLS: &[&dyn EstateTool] = &[
    &ha::HaList,
    &ha_change::HaChange,
    &replication::ReplicationList,
    &replication_run::ReplicationRun,
    &ceph::CephHealth,
    &pools::PoolsList,
    &pool_change::PoolChange,
    &tags::TagsList,
    &users::UsersList,
    &access::AccessExplain,
    &acl_change::AclChange,
    &certificates::CertificatesList,
    &updates::UpdatesList,
    &updates_refresh::UpdatesRefresh,
    &disks::DisksList,
    &services::ServicesList,
    &service_restart::ServiceRestart,
    &journal::NodeJournal,
    &node_power::NodePower,
];
