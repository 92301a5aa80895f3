//! What tools are of use with, where one privilege of several does, on whatever path it is held.
//!
//! Reviewed against the permission checks that the products publish. A tool that is refused for a
//! single privilege on a fixed path is in [`crate::needs`] instead.

use crate::{needs::Product, permissions::Permissions};

/// Tools that are of use to whoever holds one of these privileges somewhere.
pub(super) struct Use {
    pub(super) product: Product,
    pub(super) privileges: &'static [&'static str],
    /// Whether it must be the token for changes that holds it.
    pub(super) operate: bool,
    pub(super) tools: &'static [&'static str],
}

const fn reads(
    product: Product,
    privileges: &'static [&'static str],
    tools: &'static [&'static str],
) -> Use {
    Use { product, privileges, operate: false, tools }
}

const fn changes(
    product: Product,
    privileges: &'static [&'static str],
    tools: &'static [&'static str],
) -> Use {
    Use { product, privileges, operate: true, tools }
}

/// The table.
#[rustfmt::skip]
pub(super) static USES: &[Use] = &[
    // Guests can be made in a pool alone.
    changes(Product::Pve, &["VM.Allocate"], &["guest_create", "container_create"]),
    changes(Product::Pve, &["Sys.Modify", "VM.Config.Network"], &["firewall_rule_change", "firewall_options_change"]),
    // Backup files are less than volumes.
    changes(Product::Pve, &["Datastore.Allocate", "Datastore.AllocateSpace"], &["volume_delete", "backup_prune", "backup_annotate"]),
    changes(Product::Pve, &["Sys.Modify"], &["backup_job_change"]),
    changes(Product::Pbs, &["Datastore.Prune", "Datastore.Modify"], &["backup_prune"]),
    changes(Product::Pbs, &["Datastore.Modify", "Datastore.Backup"], &["backup_annotate", "group_owner_change"]),
    changes(Product::Pbs, &["Datastore.Modify", "Datastore.Verify", "Datastore.Backup"], &["backup_job_change"]),
    changes(Product::Pbs, &["Datastore.Modify"], &["namespace_change"]),

    reads(Product::Pve, &["VM.Audit"], &[
        "execute_vm_command", "execute_lxc_command", "replication_list", "tags_list", "backup_status",
        "backup_overdue", "backup_copies", "get_backup_info",
    ]),
    reads(Product::Pve, &["Sys.Audit"], &[
        "cluster_status", "get_cluster_status", "node_get", "get_node_status", "check_node_health",
        "ha_list", "disks_list", "services_list", "backup_jobs",
    ]),
    reads(Product::Pve, &["Sys.Audit", "Datastore.Audit"], &["ceph_health"]),
    reads(Product::Pve, &["Sys.Audit", "VM.Audit"], &["firewall_get", "firewall_match"]),
    reads(Product::Pve, &["SDN.Audit", "SDN.Allocate"], &["sdn_list"]),
    reads(Product::Pve, &["Sys.Modify"], &["updates_list"]),
    reads(Product::Pve, &["Sys.Syslog"], &["node_journal"]),
    reads(Product::Pve, &["Datastore.Audit", "Datastore.AllocateSpace"], &["storage_forecast"]),
    reads(Product::Pve, &["Datastore.Allocate", "Datastore.AllocateSpace"], &["backup_files", "backup_file_get"]),

    reads(Product::Pbs, &["Sys.Audit"], &["disks_list", "services_list", "updates_list", "node_journal"]),
    reads(Product::Pbs, &["Datastore.Audit"], &["datastore_gc", "storage_forecast"]),
    reads(Product::Pbs, &["Datastore.Audit", "Datastore.Verify", "Datastore.Backup"], &["backup_jobs"]),
    reads(Product::Pbs, &["Datastore.Read", "Datastore.Backup"], &["backup_files", "backup_file_get"]),
];

/// Tools that tell something to everybody who can log in: what they are asked for is open, or they
/// show at least what is the caller's own.
#[cfg(test)]
pub(super) const OPEN: &[&str] = &[
    "fleet_overview",
    "nodes_list",
    "get_nodes",
    "tasks_list",
    "task_get",
    "task_wait",
    "get_node_tasks",
    "network_list",
    "network_get",
    "get_network_info",
    "certificates_list",
    "users_list",
    "access_explain",
    "api_find",
    "api_describe",
    "api_read",
    "api_call",
    "send_notification",
    "events_search",
    "events_wait",
    "events_stats",
    "incidents_list",
    "incident_get",
    "incident_acknowledge",
    "incident_resolve",
    "silences_list",
    "silence_set",
    "silence_end",
    "notification_send",
    "approval_wait",
    "approvals_list",
    "freeze",
    "undo",
    "change_confirm",
];

// === impl Use ===

impl Use {
    /// Whether a token that reads this and changes that can use it. What reads may be read with
    /// either: backups are listed with the token for changes where the other one may not.
    pub(super) fn is_of_use(&self, reads: &Permissions, changes: &Permissions) -> bool {
        self.privileges.iter().any(|privilege| {
            changes.has_anywhere(privilege) || !self.operate && reads.has_anywhere(privilege)
        })
    }
}
