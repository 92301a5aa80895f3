//! What containers are made of and changed by.

use api_core::{
    de::{CommaList, Extra},
    params,
};
use estate::{NodeName, StorageName, VmId};
use secrecy::SecretString;

params! {
    /// Settings of a container. Numbered keys (`net0`, `mp0`, …) and what has no field here go into
    /// `extra`.
    pub struct LxcSettings {
        pub hostname: Option<String>,
        pub description: Option<String>,
        /// Separated by semicolons.
        pub tags: Option<String>,
        pub memory_mib: Option<u64> = "memory",
        pub swap_mib: Option<u64> = "swap",
        pub cores: Option<u32>,
        pub cpu_limit: Option<f64> = "cpulimit",
        pub cpu_units: Option<u64> = "cpuunits",
        pub rootfs: Option<String>,
        pub os_type: Option<String> = "ostype",
        pub on_boot: Option<bool> = "onboot",
        pub startup: Option<String>,
        pub protection: Option<bool>,
        pub unprivileged: Option<bool>,
        pub features: Option<String>,
        pub timezone: Option<String>,
        pub name_server: Option<String> = "nameserver",
        pub search_domain: Option<String> = "searchdomain",
        pub extra: Extra = "",
    }
}

params! {
    /// A change of a container's configuration.
    pub struct LxcConfigParams {
        pub settings: LxcSettings = "",
        /// Keys to take away.
        pub delete: CommaList,
        /// Waiting changes to drop.
        pub revert: CommaList,
        /// Only if the configuration is still the one with this digest.
        pub digest: Option<String>,
    }
}

params! {
    /// A new container, or one restored from a backup.
    pub struct LxcCreateParams {
        pub settings: LxcSettings = "",
        pub pool: Option<String>,
        pub storage: Option<StorageName>,
        pub password: Option<SecretString>,
        pub ssh_public_keys: Option<String> = "ssh-public-keys",
        pub start: Option<bool>,
        /// Whether the template is a backup to restore.
        pub restore: Option<bool>,
        /// Let a restore replace an existing container.
        pub force: Option<bool>,
        /// Give a restored container new addresses.
        pub unique: Option<bool>,
        pub ignore_unpack_errors: Option<bool> = "ignore-unpack-errors",
        pub bwlimit: Option<f64>,
        /// Since 9.
        pub ha_managed: Option<bool> = "ha-managed",
    }
}

params! {
    /// How a container is cloned.
    pub struct LxcCloneParams {
        pub hostname: Option<String>,
        pub description: Option<String>,
        /// A copy of its own; templates are linked without.
        pub full: Option<bool>,
        /// Where copies of the volumes go.
        pub storage: Option<StorageName>,
        pub pool: Option<String>,
        /// The snapshot to clone.
        pub snapshot: Option<String> = "snapname",
        /// The node for the clone, where the storage is shared.
        pub target: Option<NodeName>,
        pub bwlimit: Option<f64>,
    }
}

params! {
    /// How a container is moved to another node.
    pub struct LxcMigrateParams {
        /// Stop it, move it, start it.
        pub restart: Option<bool>,
        pub online: Option<bool>,
        /// Seconds that the shutdown may take.
        pub timeout: Option<u64>,
        /// `target`, or `source:target` pairs.
        pub target_storage: Option<String> = "target-storage",
        pub bwlimit: Option<f64>,
    }
}

params! {
    /// Where a volume goes.
    pub struct LxcMoveVolumeParams {
        pub storage: Option<StorageName>,
        /// Delete the original.
        pub delete: Option<bool>,
        pub target_vmid: Option<VmId> = "target-vmid",
        pub target_volume: Option<String> = "target-volume",
        pub digest: Option<String>,
        pub target_digest: Option<String> = "target-digest",
        pub bwlimit: Option<f64>,
    }
}

params! {
    /// What goes with a container.
    pub struct LxcDeleteParams {
        /// Also take it out of jobs, replication and HA.
        pub purge: Option<bool>,
        /// Even if it runs.
        pub force: Option<bool>,
        pub destroy_unreferenced_disks: Option<bool> = "destroy-unreferenced-disks",
    }
}
