//! Which privilege each answer really needs, and the line that grants it.
//!
//! The published schema says less than the servers check, and lists leave out instead of refusing.
//! This table is reviewed by hand against the products' permission checks: `stricter` marks where
//! the real need is more than the schema declares. Tools use it to say what a token cannot see, the
//! tester to print what would change that.

pub use estate::Product;

use crate::permissions::Permissions;

/// One privilege that answers depend on.
#[derive(Debug, PartialEq, Eq)]
pub struct Need {
    /// A stable word for it.
    pub id: &'static str,
    /// Whose.
    pub product: Product,
    /// Any one of these does; several names are the same right in several releases.
    pub privileges: &'static [&'static str],
    /// Where it must be held: this path and all below.
    pub path: &'static str,
    /// What the answers lack without it.
    pub without: &'static str,
    /// The tools that lack it then.
    pub tools: &'static [&'static str],
    /// A role that ships with the product and is no wider than needed, if there is one.
    pub role: Option<&'static str>,
    /// Whether the schema declares less than this.
    pub stricter: bool,
    /// Whether it is for changes, and so of no use in a mode that only reads.
    pub operate: bool,
    /// The tools that are of no use where it is held nowhere: they are not listed if no member is
    /// left for them.
    pub hides: &'static [&'static str],
}

/// The table.
pub static NEEDS: &[Need] = &[
    Need {
        id: "audit",
        product: Product::Pve,
        privileges: &["Sys.Audit"],
        path: "/",
        without: "quorum, HA, backup jobs, node status and the tasks of others",
        tools: &[
            "fleet_overview",
            "cluster_status",
            "ha_list",
            "ceph_health",
            "disks_list",
            "services_list",
            "backup_status",
            "nodes_list",
            "node_get",
            "tasks_list",
            "get_cluster_status",
            "get_nodes",
            "get_node_status",
            "get_node_tasks",
            "get_backup_info",
            "check_node_health",
        ],
        role: Some("PVEAuditor"),
        stricter: true,
        operate: false,
        hides: &[],
    },
    Need {
        id: "guests",
        product: Product::Pve,
        privileges: &["VM.Audit"],
        path: "/vms",
        without: "guests",
        tools: &[
            "fleet_overview",
            "guests_list",
            "guest_get",
            "snapshot_list",
            "get_vms",
            "get_lxcs",
            "execute_vm_command",
            "execute_lxc_command",
        ],
        role: Some("PVEAuditor"),
        stricter: true,
        operate: false,
        hides: &["guests_list", "guest_get", "snapshot_list", "get_vms", "get_lxcs"],
    },
    Need {
        id: "storage",
        product: Product::Pve,
        privileges: &["Datastore.Audit", "Datastore.AllocateSpace"],
        path: "/storage",
        without: "storages and how full they are",
        tools: &[
            "fleet_overview",
            "storage_list",
            "get_storage",
            "storage_content",
            "storage_forecast",
        ],
        role: Some("PVEAuditor"),
        stricter: true,
        operate: false,
        hides: &["storage_list", "get_storage", "storage_content"],
    },
    Need {
        id: "backup_volumes_storage",
        product: Product::Pve,
        privileges: &["Datastore.AllocateSpace"],
        path: "/storage",
        without: "backup files on PVE storages (tasks and backup servers are used instead)",
        tools: &["backup_status", "guest_get", "get_backup_info"],
        role: None,
        stricter: true,
        operate: false,
        hides: &[],
    },
    Need {
        id: "backup_volumes_guest",
        product: Product::Pve,
        privileges: &["VM.Backup"],
        path: "/vms",
        without: "backup files on PVE storages (tasks and backup servers are used instead)",
        tools: &["backup_status", "guest_get", "get_backup_info"],
        role: None,
        stricter: true,
        operate: false,
        hides: &[],
    },
    Need {
        id: "agent",
        product: Product::Pve,
        privileges: &["VM.GuestAgent.Audit", "VM.GuestAgent.Unrestricted", "VM.Monitor"],
        path: "/vms",
        without: "addresses of virtual machines (from the guest agent)",
        tools: &["guest_get"],
        role: None,
        stricter: false,
        operate: false,
        hides: &[],
    },
    Need {
        id: "syslog",
        product: Product::Pve,
        privileges: &["Sys.Syslog"],
        path: "/",
        without: "node logs, and cluster log entries of others",
        tools: &["log_recent", "node_journal"],
        role: None,
        stricter: true,
        operate: false,
        hides: &["log_recent"],
    },
    Need {
        id: "updates",
        product: Product::Pve,
        privileges: &["Sys.Modify"],
        path: "/nodes",
        without: "pending package updates (a wide privilege: leave it out unless you need them here)",
        tools: &["node_get", "updates_list"],
        role: None,
        stricter: true,
        operate: false,
        hides: &[],
    },
    Need {
        id: "access",
        product: Product::Pve,
        privileges: &["Sys.Audit"],
        path: "/access",
        without: "users, groups and access control of others",
        tools: &["users_list", "access_explain", "acl_change"],
        role: Some("PVEAuditor"),
        stricter: true,
        operate: false,
        hides: &[],
    },
    Need {
        id: "pools",
        product: Product::Pve,
        privileges: &["Pool.Audit", "Pool.Allocate"],
        path: "/pool",
        without: "pools",
        tools: &["pools_list", "access_explain", "pool_change"],
        role: Some("PVEAuditor"),
        stricter: true,
        operate: false,
        hides: &["pools_list"],
    },
    Need {
        id: "ha",
        product: Product::Pve,
        privileges: &["Sys.Console"],
        path: "/",
        without: "changes of high availability",
        tools: &["ha_change"],
        role: None,
        stricter: false,
        operate: true,
        hides: &["ha_change"],
    },
    Need {
        id: "replicate",
        product: Product::Pve,
        // Before 9 it was a matter of the storages.
        privileges: &["VM.Replicate", "Datastore.Allocate"],
        path: "/vms",
        without: "running replication jobs",
        tools: &["replication_run"],
        role: None,
        stricter: false,
        operate: true,
        hides: &["replication_run"],
    },
    Need {
        id: "pool_changes",
        product: Product::Pve,
        privileges: &["Pool.Allocate"],
        path: "/pool",
        without: "changes of pools",
        tools: &["pool_change"],
        role: Some("PVEPoolAdmin"),
        stricter: false,
        operate: true,
        hides: &["pool_change"],
    },
    Need {
        id: "permissions",
        product: Product::Pve,
        privileges: &["Permissions.Modify"],
        path: "/",
        without: "changes of who may do what (whoever has it can have everything: leave it out unless you need it here)",
        tools: &["acl_change"],
        role: None,
        stricter: false,
        operate: true,
        hides: &["acl_change"],
    },
    Need {
        id: "system",
        product: Product::Pve,
        privileges: &["Sys.Modify"],
        path: "/nodes",
        without: "restarting services, refreshing package lists",
        tools: &["service_restart", "updates_refresh"],
        role: None,
        stricter: false,
        operate: true,
        hides: &["service_restart", "updates_refresh"],
    },
    Need {
        id: "node_power",
        product: Product::Pve,
        privileges: &["Sys.PowerMgmt"],
        path: "/nodes",
        without: "rebooting and shutting down nodes",
        tools: &["node_power"],
        role: None,
        stricter: false,
        operate: true,
        hides: &["node_power"],
    },
    Need {
        id: "network_changes",
        product: Product::Pve,
        privileges: &["Sys.Modify"],
        path: "/nodes",
        without: "changing the network of nodes",
        tools: &["network_change", "network_apply", "network_revert", "firewall_rule_change"],
        role: None,
        stricter: false,
        operate: true,
        hides: &["network_change", "network_apply", "network_revert"],
    },
    Need {
        id: "power",
        product: Product::Pve,
        privileges: &["VM.PowerMgmt"],
        path: "/vms",
        without: "starting and stopping guests",
        tools: &["guest_power", "guests_power", "execute_vm_command", "execute_lxc_command"],
        role: None,
        stricter: false,
        operate: true,
        hides: &["guest_power", "guests_power"],
    },
    Need {
        id: "allocate",
        product: Product::Pve,
        privileges: &["VM.Allocate"],
        path: "/vms",
        without: "making guests, deleting them and turning them into templates",
        tools: &[
            "guest_create",
            "container_create",
            "guest_clone",
            "guest_template",
            "guest_delete",
        ],
        role: None,
        stricter: false,
        operate: true,
        // Guests can be made in a pool alone, whose paths are others.
        hides: &["guest_template", "guest_delete"],
    },
    Need {
        id: "clone",
        product: Product::Pve,
        privileges: &["VM.Clone"],
        path: "/vms",
        without: "copying guests and making them from templates",
        tools: &["guest_clone", "guest_create"],
        role: None,
        stricter: false,
        operate: true,
        hides: &["guest_clone"],
    },
    Need {
        id: "bridges",
        product: Product::Pve,
        privileges: &["SDN.Use"],
        path: "/sdn/zones",
        without: "giving guests a network",
        tools: &["guest_create", "container_create", "guest_clone"],
        role: None,
        stricter: true,
        operate: true,
        hides: &[],
    },
    Need {
        id: "disks",
        product: Product::Pve,
        privileges: &["Datastore.AllocateSpace"],
        path: "/storage",
        without: "giving guests disks",
        tools: &["guest_create", "container_create", "guest_clone", "disk_move"],
        role: None,
        stricter: true,
        operate: true,
        hides: &[],
    },
    Need {
        id: "images",
        product: Product::Pve,
        privileges: &["Datastore.AllocateTemplate"],
        path: "/storage",
        without: "fetching images and templates",
        tools: &["guest_create", "container_create", "storage_download", "storage_upload"],
        role: None,
        stricter: false,
        operate: true,
        hides: &["storage_download", "storage_upload"],
    },
    Need {
        id: "fetch",
        product: Product::Pve,
        privileges: &["Sys.AccessNetwork", "Sys.Modify"],
        path: "/nodes",
        without: "fetching images by their URL",
        tools: &["guest_create", "storage_download"],
        role: None,
        stricter: false,
        operate: true,
        hides: &[],
    },
    Need {
        id: "configure",
        product: Product::Pve,
        privileges: &[
            "VM.Config.Options",
            "VM.Config.CPU",
            "VM.Config.Memory",
            "VM.Config.Network",
            "VM.Config.Disk",
            "VM.Config.Cloudinit",
            "VM.Config.CDROM",
            "VM.Config.HWType",
        ],
        path: "/vms",
        without: "changing options of guests",
        tools: &["guest_configure"],
        role: None,
        stricter: false,
        operate: true,
        hides: &["guest_configure"],
    },
    Need {
        id: "guest_disks",
        product: Product::Pve,
        privileges: &["VM.Config.Disk"],
        path: "/vms",
        without: "growing and moving disks of guests",
        tools: &["disk_resize", "disk_move"],
        role: None,
        stricter: false,
        operate: true,
        hides: &["disk_resize", "disk_move"],
    },
    Need {
        id: "migrate",
        product: Product::Pve,
        privileges: &["VM.Migrate"],
        path: "/vms",
        without: "moving guests to other nodes",
        tools: &["guest_migrate"],
        role: None,
        stricter: false,
        operate: true,
        hides: &["guest_migrate"],
    },
    Need {
        id: "rollback",
        product: Product::Pve,
        privileges: &["VM.Snapshot", "VM.Snapshot.Rollback"],
        path: "/vms",
        without: "going back to snapshots",
        tools: &["snapshot_rollback"],
        role: None,
        stricter: false,
        operate: true,
        hides: &["snapshot_rollback"],
    },
    Need {
        id: "exec",
        product: Product::Pve,
        privileges: &["VM.GuestAgent.Unrestricted", "VM.Monitor"],
        path: "/vms",
        without: "running programs in VMs",
        tools: &["guest_exec"],
        role: None,
        stricter: false,
        operate: true,
        hides: &["guest_exec"],
    },
    Need {
        id: "console",
        product: Product::Pve,
        privileges: &["VM.Console"],
        path: "/vms",
        without: "looking at consoles of guests",
        tools: &["guest_console"],
        role: None,
        stricter: false,
        operate: true,
        hides: &["guest_console"],
    },
    Need {
        id: "snapshot",
        product: Product::Pve,
        privileges: &["VM.Snapshot"],
        path: "/vms",
        without: "making and deleting snapshots",
        tools: &["snapshot_create", "snapshot_delete"],
        role: None,
        stricter: false,
        operate: true,
        hides: &["snapshot_create", "snapshot_delete"],
    },
    Need {
        id: "backup",
        product: Product::Pve,
        privileges: &["VM.Backup"],
        path: "/vms",
        without: "making backups",
        tools: &["backup_run"],
        role: None,
        stricter: true,
        operate: true,
        hides: &["backup_run"],
    },
    Need {
        id: "backup_space",
        product: Product::Pve,
        privileges: &["Datastore.AllocateSpace"],
        path: "/storage",
        without: "writing backups and restoring disks",
        tools: &["backup_run", "backup_restore", "restore_rehearsal"],
        role: None,
        stricter: true,
        operate: true,
        hides: &["backup_run", "backup_restore", "restore_rehearsal"],
    },
    Need {
        id: "restore",
        product: Product::Pve,
        privileges: &["VM.Allocate"],
        path: "/vms",
        without: "restoring backups to new guests",
        tools: &["backup_restore", "restore_rehearsal"],
        role: None,
        stricter: true,
        operate: true,
        hides: &["restore_rehearsal"],
    },
    Need {
        id: "prune_storage",
        product: Product::Pve,
        privileges: &["Datastore.Allocate"],
        path: "/storage",
        without: "deleting volumes, and pruning a storage for all guests at once (backups of one guest need less)",
        tools: &["backup_prune", "volume_delete"],
        role: None,
        stricter: true,
        operate: true,
        hides: &[],
    },
    Need {
        id: "pbs_datastores",
        product: Product::Pbs,
        privileges: &["Datastore.Audit"],
        path: "/datastore",
        without: "datastores, their backups and jobs",
        tools: &[
            "fleet_overview",
            "backup_status",
            "backup_snapshots",
            "backup_overdue",
            "backup_copies",
            "backup_jobs",
            "namespaces_list",
            "get_backup_info",
        ],
        role: Some("DatastoreAudit"),
        stricter: true,
        operate: false,
        hides: &["backup_snapshots", "namespaces_list"],
    },
    Need {
        id: "pbs_settings",
        product: Product::Pbs,
        privileges: &["Datastore.Modify"],
        path: "/datastore",
        without: "maintenance mode, prune jobs and owners of others' groups",
        tools: &["datastore_maintenance", "backup_job_change", "group_owner_change"],
        role: Some("DatastoreAdmin"),
        stricter: false,
        operate: true,
        hides: &["datastore_maintenance"],
    },
    Need {
        id: "pbs_verify",
        product: Product::Pbs,
        privileges: &["Datastore.Verify", "Datastore.Backup"],
        path: "/datastore",
        without: "verifying backups",
        tools: &["backup_verify"],
        role: Some("DatastoreAdmin"),
        stricter: true,
        operate: true,
        hides: &["backup_verify"],
    },
    Need {
        id: "pbs_prune",
        product: Product::Pbs,
        privileges: &["Datastore.Prune", "Datastore.Modify"],
        path: "/datastore",
        without: "pruning on backup servers",
        tools: &["backup_prune"],
        role: Some("DatastoreAdmin"),
        stricter: true,
        operate: true,
        hides: &[],
    },
    Need {
        id: "pbs_gc",
        product: Product::Pbs,
        privileges: &["Datastore.Modify"],
        path: "/datastore",
        without: "collecting garbage",
        tools: &["datastore_gc"],
        role: Some("DatastoreAdmin"),
        stricter: false,
        operate: true,
        hides: &[],
    },
    Need {
        id: "pbs_annotate",
        product: Product::Pbs,
        privileges: &["Datastore.Modify", "Datastore.Backup"],
        path: "/datastore",
        without: "notes and protection of backups",
        tools: &["backup_annotate"],
        role: Some("DatastoreAdmin"),
        stricter: true,
        operate: true,
        hides: &[],
    },
    Need {
        id: "pbs_sync",
        product: Product::Pbs,
        privileges: &["Datastore.Backup"],
        path: "/datastore",
        without: "running sync jobs",
        tools: &["sync_run"],
        role: Some("DatastoreBackup"),
        stricter: true,
        operate: true,
        hides: &["sync_run"],
    },
    Need {
        id: "pbs_sync_remote",
        product: Product::Pbs,
        privileges: &["Remote.Read"],
        path: "/remote",
        without: "sync jobs that copy from or to a remote",
        tools: &["sync_run"],
        role: Some("RemoteSyncOperator"),
        stricter: true,
        operate: true,
        hides: &[],
    },
    Need {
        id: "pbs_system",
        product: Product::Pbs,
        privileges: &["Sys.Audit"],
        path: "/system",
        without: "the server's status and the tasks of others",
        tools: &["tasks_list", "fleet_overview", "disks_list", "services_list", "node_journal"],
        role: Some("Audit"),
        stricter: true,
        operate: false,
        hides: &[],
    },
    Need {
        id: "pbs_access",
        product: Product::Pbs,
        privileges: &["Sys.Audit"],
        path: "/access",
        without: "users and access control of others",
        tools: &["users_list", "access_explain", "acl_change"],
        role: Some("Audit"),
        stricter: true,
        operate: false,
        hides: &[],
    },
    Need {
        id: "pbs_updates",
        product: Product::Pbs,
        privileges: &["Sys.Audit"],
        path: "/",
        without: "pending package updates",
        tools: &["updates_list"],
        role: Some("Audit"),
        stricter: false,
        operate: false,
        hides: &[],
    },
    Need {
        id: "pbs_certificates",
        product: Product::Pbs,
        privileges: &["Sys.Modify"],
        path: "/system",
        without: "the server's certificates (a wide privilege: leave it out unless you need them here)",
        tools: &["certificates_list"],
        role: None,
        stricter: true,
        operate: false,
        hides: &[],
    },
    Need {
        id: "pbs_system_changes",
        product: Product::Pbs,
        privileges: &["Sys.Modify"],
        path: "/system",
        without: "restarting services, refreshing package lists",
        tools: &["service_restart", "updates_refresh"],
        role: None,
        stricter: false,
        operate: true,
        hides: &["service_restart", "updates_refresh"],
    },
    Need {
        id: "pbs_permissions",
        product: Product::Pbs,
        privileges: &["Permissions.Modify"],
        path: "/access",
        without: "changes of who may do what (whoever has it can have everything: leave it out unless you need it here)",
        tools: &["acl_change"],
        role: None,
        stricter: false,
        operate: true,
        hides: &["acl_change"],
    },
    Need {
        id: "pbs_power",
        product: Product::Pbs,
        privileges: &["Sys.PowerManagement"],
        path: "/system",
        without: "rebooting and shutting down the server",
        tools: &["node_power"],
        role: None,
        stricter: false,
        operate: true,
        hides: &["node_power"],
    },
    Need {
        id: "pbs_remotes",
        product: Product::Pbs,
        privileges: &["Remote.Audit"],
        path: "/remote",
        without: "sync jobs that pull from remotes",
        tools: &["backup_status"],
        role: Some("RemoteAudit"),
        stricter: true,
        operate: false,
        hides: &[],
    },
];

/// The needs of `product` that the token does not fully meet.
pub fn unmet(product: Product, held: &Permissions) -> impl Iterator<Item = &'static Need> {
    NEEDS.iter().filter(move |need| need.product == product && !need.is_met(held))
}

/// The need called `id`.
pub fn need(id: &str) -> Option<&'static Need> {
    NEEDS.iter().find(|need| need.id == id)
}

// === impl Need ===

impl Need {
    /// Whether the token holds it everywhere it counts.
    pub fn is_met(&self, held: &Permissions) -> bool {
        self.privileges.iter().any(|privilege| held.has_everywhere(self.path, privilege))
    }

    /// Whether the token holds it at least somewhere.
    pub fn is_partly_met(&self, held: &Permissions) -> bool {
        self.privileges.iter().any(|privilege| !held.paths_with(self.path, privilege).is_empty())
            || self.is_met(held)
    }

    /// What an answer says when the token lacks it.
    pub fn note(&self, cluster: &str, held: &Permissions) -> String {
        let privilege = self.privileges[0];
        let path = self.path;
        if self.is_partly_met(held) {
            format!(
                "{cluster}: the token has {privilege} on parts of {path} only, so some {} may be missing",
                self.without
            )
        } else {
            format!(
                "{cluster}: the token lacks {privilege} on {path}, so this shows no {}",
                self.without
            )
        }
    }

    /// The line for the server's shell that grants it to `who`, a token or a user, on `path`.
    ///
    /// The path is the caller's choice because a role further down replaces what comes from above
    /// in both products: where something is held on `/`, this has to go there too. A role of the
    /// product is used where one is no wider than needed. A token with privilege separation holds
    /// at most what its user holds, so both get the line.
    pub fn grant(&self, who: &str, path: &str) -> String {
        let (user, token) = match who.split_once('!') {
            Some((user, _)) => (user, Some(who)),
            None => (who, None),
        };
        match self.product {
            Product::Pbs => {
                // Its roles are fixed, and only one of them changes the system.
                let changes = |it: &&str| it.ends_with("Modify") || it.ends_with("Management");
                let is_wide = self.privileges.iter().any(changes);
                let role = self.role.unwrap_or(if is_wide { "Admin" } else { "Audit" });
                let lines = [Some(user), token].into_iter().flatten().map(|id| {
                    format!("proxmox-backup-manager acl update {path} {role} --auth-id '{id}'")
                });
                lines.collect::<Vec<_>>().join(" && ")
            }
            Product::Pve => {
                let privilege = self.privileges[0];
                let (make, role) = match self.role {
                    Some(role) => (String::new(), role.to_owned()),
                    None => {
                        let role = format!("Mcp{}", privilege.replace('.', ""));
                        (format!("pveum role add {role} --privs {privilege}; "), role)
                    }
                };
                let tokens = token.map(|token| format!(" --tokens '{token}'")).unwrap_or_default();
                format!("{make}pveum acl modify {path} --users '{user}'{tokens} --roles {role}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn held(path: &str, privileges: &[&str]) -> Permissions {
        let privileges: BTreeMap<String, bool> =
            privileges.iter().map(|p| ((*p).to_owned(), true)).collect();
        Permissions::from(BTreeMap::from([(path.to_owned(), privileges)]))
    }

    #[test]
    fn an_auditor_lacks_only_what_is_stricter_than_it_looks() {
        let auditor = held(
            "/",
            &[
                "Sys.Audit",
                "VM.Audit",
                "Datastore.Audit",
                "Pool.Audit",
                "SDN.Audit",
                "VM.GuestAgent.Audit",
            ],
        );
        let unmet: Vec<_> = unmet(Product::Pve, &auditor).map(|need| need.id).collect();
        assert_eq!(
            unmet,
            [
                "backup_volumes_storage",
                "backup_volumes_guest",
                "syslog",
                "updates",
                "ha",
                "replicate",
                "pool_changes",
                "permissions",
                "system",
                "node_power",
                "network_changes",
                "power",
                "allocate",
                "clone",
                "bridges",
                "disks",
                "images",
                "fetch",
                "configure",
                "guest_disks",
                "migrate",
                "rollback",
                "exec",
                "console",
                "snapshot",
                "backup",
                "backup_space",
                "restore",
                "prune_storage",
            ]
        );
    }

    #[test]
    fn a_grant_is_a_line_to_paste() {
        let need = need("syslog").expect("it is in the table");
        assert_eq!(
            need.grant("mcp@pve!agent", "/"),
            "pveum role add McpSysSyslog --privs Sys.Syslog; pveum acl modify / --users 'mcp@pve' \
             --tokens 'mcp@pve!agent' --roles McpSysSyslog"
        );
        let part = held("/vms/100", &["VM.Audit"]);
        let guests = super::need("guests").expect("it is in the table");
        assert!(guests.note("home", &part).contains("on parts of /vms only"));
        assert!(!guests.is_met(&part));
    }

    #[test]
    fn ids_are_unique() {
        let ids: BTreeSet<_> = NEEDS.iter().map(|need| need.id).collect();
        assert_eq!(ids.len(), NEEDS.len());
        assert!(NEEDS.iter().all(|need| !need.privileges.is_empty() && !need.tools.is_empty()));
    }
}
