//! The cluster and its keepers: HA, replication, Ceph, pools, access, certificates, updates, disks, services, logs.

pub mod access;
mod ask;
mod book;
pub mod ceph;
pub mod certificates;
pub mod disks;
pub mod ha;
pub mod journal;
mod moment;
mod page;
pub mod pools;
pub mod replication;
mod rights;
pub mod services;
mod smart;
pub mod tags;
pub mod updates;
pub mod users;
mod versions;

use crate::tool::EstateTool;

/// The tools, in the order of their list.
pub(super) static TOOLS: &[&dyn EstateTool] = &[
    &ha::HaList,
    &replication::ReplicationList,
    &ceph::CephHealth,
    &pools::PoolsList,
    &tags::TagsList,
    &users::UsersList,
    &access::AccessExplain,
    &certificates::CertificatesList,
    &updates::UpdatesList,
    &disks::DisksList,
    &services::ServicesList,
    &journal::NodeJournal,
];
