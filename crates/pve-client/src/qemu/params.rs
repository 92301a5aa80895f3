//! What machines are made of and changed by.

use api_core::{
    de::{CommaList, Extra},
    params,
};
use estate::{NodeName, StorageName, VmId};
use secrecy::SecretString;

params! {
    /// Settings of a machine. Numbered keys (`net0`, `scsi0`, …) and what has no field here go into
    /// `extra`.
    pub struct QemuSettings {
        pub name: Option<String>,
        pub description: Option<String>,
        /// Separated by semicolons.
        pub tags: Option<String>,
        /// In MiB.
        pub memory_mib: Option<u64> = "memory",
        pub balloon_mib: Option<u64> = "balloon",
        pub cores: Option<u32>,
        pub sockets: Option<u32>,
        pub vcpus: Option<u32>,
        pub cpu: Option<String>,
        pub cpu_limit: Option<f64> = "cpulimit",
        pub cpu_units: Option<u64> = "cpuunits",
        pub numa: Option<bool>,
        pub machine: Option<String>,
        pub bios: Option<String>,
        pub os_type: Option<String> = "ostype",
        pub scsi_controller: Option<String> = "scsihw",
        pub boot: Option<String>,
        pub on_boot: Option<bool> = "onboot",
        pub startup: Option<String>,
        pub protection: Option<bool>,
        pub agent: Option<String>,
        pub hotplug: Option<String>,
        pub vga: Option<String>,
        pub name_server: Option<String> = "nameserver",
        pub search_domain: Option<String> = "searchdomain",
        pub ci_user: Option<String> = "ciuser",
        pub ci_password: Option<SecretString> = "cipassword",
        /// URL-encoded, one key a line.
        pub ssh_keys: Option<String> = "sshkeys",
        pub extra: Extra = "",
    }
}

params! {
    /// A change of a machine's configuration.
    pub struct QemuConfigParams {
        pub settings: QemuSettings = "",
        /// Keys to take away.
        pub delete: CommaList,
        /// Waiting changes to drop.
        pub revert: CommaList,
        /// Only if the configuration is still the one with this digest.
        pub digest: Option<String>,
        /// Lets a disk that is taken away be destroyed.
        pub force: Option<bool>,
        /// Only root.
        pub skip_lock: Option<bool> = "skiplock",
    }
}

params! {
    /// A new machine, or one restored from a backup.
    pub struct QemuCreateParams {
        pub settings: QemuSettings = "",
        pub pool: Option<String>,
        pub storage: Option<StorageName>,
        pub start: Option<bool>,
        /// The backup to restore.
        pub archive: Option<String>,
        /// Let a restore replace an existing machine.
        pub force: Option<bool>,
        /// Give a restored machine new addresses.
        pub unique: Option<bool>,
        pub live_restore: Option<bool> = "live-restore",
        pub bwlimit: Option<u64>,
        /// Since 9.
        pub ha_managed: Option<bool> = "ha-managed",
    }
}

params! {
    /// How a machine is cloned.
    pub struct QemuCloneParams {
        pub name: Option<String>,
        pub description: Option<String>,
        /// A copy of its own; templates are linked without.
        pub full: Option<bool>,
        /// Where copies of the disks go.
        pub storage: Option<StorageName>,
        pub format: Option<String>,
        pub pool: Option<String>,
        /// The snapshot to clone.
        pub snapshot: Option<String> = "snapname",
        /// The node for the clone, where the storage is shared.
        pub target: Option<NodeName>,
        pub bwlimit: Option<u64>,
    }
}

params! {
    /// How a machine is moved to another node.
    pub struct QemuMigrateParams {
        /// Without stopping it.
        pub online: Option<bool>,
        pub with_local_disks: Option<bool> = "with-local-disks",
        /// `target`, or `source:target` pairs.
        pub target_storage: Option<String> = "targetstorage",
        pub migration_network: Option<String>,
        pub migration_type: Option<String>,
        pub bwlimit: Option<u64>,
        pub force: Option<bool>,
        /// Since 9.
        pub with_conntrack_state: Option<bool> = "with-conntrack-state",
    }
}

params! {
    /// Where a disk goes.
    pub struct QemuMoveDiskParams {
        pub storage: Option<StorageName>,
        pub format: Option<String>,
        /// Delete the original.
        pub delete: Option<bool>,
        pub target_vmid: Option<VmId> = "target-vmid",
        pub target_disk: Option<String> = "target-disk",
        pub digest: Option<String>,
        pub target_digest: Option<String> = "target-digest",
        pub bwlimit: Option<u64>,
    }
}

params! {
    /// What goes with a machine.
    pub struct QemuDeleteParams {
        /// Also take it out of jobs, replication and HA.
        pub purge: Option<bool>,
        pub destroy_unreferenced_disks: Option<bool> = "destroy-unreferenced-disks",
        /// Only root.
        pub skip_lock: Option<bool> = "skiplock",
    }
}

params! {
    /// A new snapshot.
    pub struct QemuSnapshotParams {
        pub description: Option<String>,
        /// Whether the memory is to be in it.
        pub with_memory: Option<bool> = "vmstate",
    }
}
