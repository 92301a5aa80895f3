//! Virtual machines: what they are and how they do.

use std::collections::BTreeMap;

use api_core::{Request, path, reply};
use estate::{NodeName, VmId};
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::Value;

use crate::guest::{
    Feature, GuestHa, GuestState, PendingValue, Properties, Snapshot, guest_path, indexed,
};

mod actions;
mod params;
mod power;

pub use actions::*;
pub use params::*;
pub use power::*;

reply! {
    /// A machine in its node's list.
    pub struct QemuGuest {
        pub vmid: VmId,
        pub name: Option<String>,
        pub status: GuestState,
        /// Finer than the status (`paused`, `prelaunch`, …); only with `full`.
        pub qmp_status: Option<String> = "qmpstatus",
        pub template: bool,
        pub tags: Vec<String>,
        pub lock: Option<String>,
        /// Share of `cpus` in use, 0 to 1.
        pub cpu: Option<f64>,
        pub cpus: Option<f64>,
        pub memory_bytes: Option<u64> = "mem",
        pub max_memory_bytes: Option<u64> = "maxmem",
        /// What it costs on the host (since 9).
        pub host_memory_bytes: Option<u64> = "memhost",
        pub disk_bytes: Option<u64> = "disk",
        pub max_disk_bytes: Option<u64> = "maxdisk",
        pub disk_read_bytes: Option<u64> = "diskread",
        pub disk_write_bytes: Option<u64> = "diskwrite",
        pub network_in_bytes: Option<u64> = "netin",
        pub network_out_bytes: Option<u64> = "netout",
        pub uptime_secs: Option<u64> = "uptime",
        pub pid: Option<u32>,
        pub serial: Option<bool>,
        pub running_machine: Option<String> = "running-machine",
        pub running_qemu: Option<String> = "running-qemu",
        pub pressure_cpu_some: Option<f64> = "pressurecpusome",
        pub pressure_cpu_full: Option<f64> = "pressurecpufull",
        pub pressure_io_some: Option<f64> = "pressureiosome",
        pub pressure_io_full: Option<f64> = "pressureiofull",
        pub pressure_memory_some: Option<f64> = "pressurememorysome",
        pub pressure_memory_full: Option<f64> = "pressurememoryfull",
    }
}

reply! {
    /// A machine's state just now.
    pub struct QemuStatus {
        pub vmid: VmId,
        pub name: Option<String>,
        pub status: GuestState,
        /// Finer than the status: `running`, `paused`, `prelaunch`, `stopped`, …
        pub qmp_status: Option<String> = "qmpstatus",
        pub template: bool,
        pub tags: Vec<String>,
        pub lock: Option<String>,
        pub ha: Option<GuestHa>,
        /// Whether the guest agent is turned on in the configuration.
        pub agent: bool,
        pub cpu: Option<f64>,
        pub cpus: Option<f64>,
        pub memory_bytes: Option<u64> = "mem",
        pub max_memory_bytes: Option<u64> = "maxmem",
        /// Since 9.
        pub host_memory_bytes: Option<u64> = "memhost",
        pub free_memory_bytes: Option<u64> = "freemem",
        pub balloon_bytes: Option<u64> = "balloon",
        pub balloon_min_bytes: Option<u64> = "balloon_min",
        pub balloon_info: Option<Value> = "ballooninfo",
        pub shares: Option<u64>,
        pub disk_bytes: Option<u64> = "disk",
        pub max_disk_bytes: Option<u64> = "maxdisk",
        pub disk_read_bytes: Option<u64> = "diskread",
        pub disk_write_bytes: Option<u64> = "diskwrite",
        pub block_stats: BTreeMap<String, Value> = "blockstat",
        pub network_in_bytes: Option<u64> = "netin",
        pub network_out_bytes: Option<u64> = "netout",
        /// By tap device.
        pub nics: BTreeMap<String, NicCounters>,
        pub uptime_secs: Option<u64> = "uptime",
        pub pid: Option<u32>,
        pub spice: bool,
        pub serial: Option<bool>,
        pub clipboard: Option<String>,
        pub running_machine: Option<String> = "running-machine",
        pub running_qemu: Option<String> = "running-qemu",
        pub support: Option<Value> = "proxmox-support",
        pub pressure_cpu_some: Option<f64> = "pressurecpusome",
        pub pressure_cpu_full: Option<f64> = "pressurecpufull",
        pub pressure_io_some: Option<f64> = "pressureiosome",
        pub pressure_io_full: Option<f64> = "pressureiofull",
        pub pressure_memory_some: Option<f64> = "pressurememorysome",
        pub pressure_memory_full: Option<f64> = "pressurememoryfull",
    }
}

reply! {
    /// What went through an interface.
    pub struct NicCounters {
        pub in_bytes: u64 = "netin",
        pub out_bytes: u64 = "netout",
    }
}

reply! {
    /// A machine's configuration. What is not set is absent and has PVE's default. Interfaces,
    /// drives and passed-through devices stay under their numbered keys in `rest`: see
    /// [`QemuConfig::nets`] and [`QemuConfig::disks`].
    pub struct QemuConfig {
        pub name: Option<String>,
        pub description: Option<String>,
        pub tags: Vec<String>,
        /// For optimistic locking.
        pub digest: Option<String>,
        /// In MiB; 9 also writes `current=…` (see [`QemuConfig::memory_mib`]).
        pub memory: Option<String>,
        /// In MiB; 0 turns ballooning off.
        pub balloon_mib: Option<u64> = "balloon",
        pub shares: Option<u64>,
        pub cores: Option<u32>,
        pub sockets: Option<u32>,
        pub vcpus: Option<u32>,
        pub cpu: Option<String>,
        pub cpu_limit: Option<f64> = "cpulimit",
        pub cpu_units: Option<u64> = "cpuunits",
        pub affinity: Option<String>,
        pub numa: Option<bool>,
        pub machine: Option<String>,
        pub bios: Option<String>,
        pub arch: Option<String>,
        pub kvm: Option<bool>,
        pub acpi: Option<bool>,
        pub args: Option<String>,
        pub os_type: Option<String> = "ostype",
        pub boot: Option<String>,
        pub boot_disk: Option<String> = "bootdisk",
        pub on_boot: Option<bool> = "onboot",
        pub startup: Option<String>,
        pub start_date: Option<String> = "startdate",
        pub autostart: Option<bool>,
        pub reboot: Option<bool>,
        pub freeze: Option<bool>,
        pub protection: bool,
        pub template: bool,
        pub lock: Option<String>,
        pub agent: Option<String>,
        pub hotplug: Option<String>,
        pub hookscript: Option<String>,
        pub hugepages: Option<String>,
        pub keep_hugepages: Option<bool> = "keephugepages",
        pub allow_ksm: Option<bool> = "allow-ksm",
        pub local_time: Option<bool> = "localtime",
        pub tablet: Option<bool>,
        pub tdf: Option<bool>,
        pub keyboard: Option<String>,
        pub vga: Option<String>,
        pub audio: Option<String> = "audio0",
        pub watchdog: Option<String>,
        pub rng: Option<String> = "rng0",
        pub scsi_controller: Option<String> = "scsihw",
        pub cdrom: Option<String>,
        pub efi_disk: Option<String> = "efidisk0",
        pub tpm_state: Option<String> = "tpmstate0",
        pub ivshmem: Option<String>,
        pub spice_enhancements: Option<String>,
        pub amd_sev: Option<String> = "amd-sev",
        pub intel_tdx: Option<String> = "intel-tdx",
        pub smbios: Option<String> = "smbios1",
        pub generation_id: Option<String> = "vmgenid",
        pub meta: Option<String>,
        pub migrate_downtime_secs: Option<f64> = "migrate_downtime",
        pub migrate_speed: Option<u64>,
        pub vm_state_storage: Option<String> = "vmstatestorage",
        pub name_server: Option<String> = "nameserver",
        pub search_domain: Option<String> = "searchdomain",
        pub ci_user: Option<String> = "ciuser",
        /// Masked by `/config`, in clear text from a snapshot's configuration.
        pub ci_password: Option<SecretString> = "cipassword",
        pub ci_type: Option<String> = "citype",
        pub ci_custom: Option<String> = "cicustom",
        pub ci_upgrade: Option<bool> = "ciupgrade",
        pub ssh_keys: Option<String> = "sshkeys",
        /// In a snapshot's configuration: the snapshot before it.
        pub parent: Option<String>,
        /// In a snapshot's configuration: when it was made.
        pub snapshot_time: Option<Timestamp> = "snaptime",
        pub vm_state: Option<String> = "vmstate",
        pub running_cpu: Option<String> = "runningcpu",
        pub running_machine: Option<String> = "runningmachine",
        ..rest
    }
}

impl QemuConfig {
    /// The memory in MiB.
    pub fn memory_mib(&self) -> Option<u64> {
        let text = self.memory.as_deref()?;
        text.parse().ok().or_else(|| Properties::parse(text).get("current")?.parse().ok())
    }

    /// The network interfaces: `net0`, … with their property strings.
    pub fn nets(&self) -> impl Iterator<Item = (&str, &str)> {
        indexed(&self.rest, &["net"])
    }

    /// The drives, CD-ROMs included: `scsi0`, `ide2`, … with their property strings.
    pub fn disks(&self) -> impl Iterator<Item = (&str, &str)> {
        indexed(&self.rest, &["scsi", "virtio", "sata", "ide"])
    }

    /// The addresses that cloud-init gives: `ipconfig0`, …
    pub fn ip_configs(&self) -> impl Iterator<Item = (&str, &str)> {
        indexed(&self.rest, &["ipconfig"])
    }

    /// Volumes that belong to the machine without being attached.
    pub fn unused(&self) -> impl Iterator<Item = (&str, &str)> {
        indexed(&self.rest, &["unused"])
    }

    /// Whether the guest agent is turned on.
    pub fn agent_enabled(&self) -> bool {
        let Some(agent) = self.agent.as_deref() else { return false };
        let agent = Properties::parse(agent);
        matches!(agent.get("enabled").or(agent.head), Some("1" | "on" | "yes" | "true"))
    }
}

reply! {
    /// What stands in the way of a machine's move.
    pub struct QemuMigrateCheck {
        pub running: bool,
        pub allowed_nodes: Vec<NodeName>,
        /// Why not, by node.
        pub not_allowed_nodes: BTreeMap<String, Value>,
        pub local_disks: Vec<LocalDisk>,
        pub local_resources: Vec<String>,
        pub mapped_resources: Vec<String> = "mapped-resources",
        pub mapped_resource_info: BTreeMap<String, Value> = "mapped-resource-info",
        pub dependent_ha_resources: Vec<String> = "dependent-ha-resources",
        pub has_dbus_vmstate: bool = "has-dbus-vmstate",
    }
}

reply! {
    /// A disk that a move has to copy.
    pub struct LocalDisk {
        pub volume: String = "volid",
        pub size_bytes: Option<u64> = "size",
        pub drive: Option<String> = "drivename",
        pub cdrom: bool,
        pub shared: bool,
        pub replicate: bool,
        pub attached: bool = "is_attached",
        pub unused: bool = "is_unused",
        pub cloud_init: bool = "is_cloudinit",
        pub tpm_state: bool = "is_tpmstate",
        pub vm_state: bool = "is_vmstate",
    }
}

/// `GET /nodes/{node}/qemu`: `full` asks each machine. Any login; shows what it may audit.
pub fn list(node: &NodeName, full: bool) -> Request<Vec<QemuGuest>> {
    Request::get(path!["nodes", node, "qemu"])
        .flag("full", full.then_some(true))
        .on(node)
        .protected()
}

/// `GET /nodes/{node}/qemu/{vmid}/status/current`. Needs `VM.Audit` on the guest.
pub fn status(node: &NodeName, vmid: VmId) -> Request<QemuStatus> {
    Request::get(guest_path(node, "qemu", vmid).push("status").push("current")).on(node).protected()
}

/// `GET /nodes/{node}/qemu/{vmid}/config`: with what waits for the next start already in; see
/// [`current_config`]. Needs `VM.Audit` on the guest.
pub fn config(node: &NodeName, vmid: VmId) -> Request<QemuConfig> {
    Request::get(guest_path(node, "qemu", vmid).push("config")).on(node)
}

/// `GET /nodes/{node}/qemu/{vmid}/config?current=1`: what is in force. Needs `VM.Audit` on the
/// guest.
pub fn current_config(node: &NodeName, vmid: VmId) -> Request<QemuConfig> {
    config(node, vmid).param("current", 1)
}

/// `GET /nodes/{node}/qemu/{vmid}/pending`. Needs `VM.Audit` on the guest.
pub fn pending(node: &NodeName, vmid: VmId) -> Request<Vec<PendingValue>> {
    Request::get(guest_path(node, "qemu", vmid).push("pending")).on(node)
}

/// `GET /nodes/{node}/qemu/{vmid}/cloudinit`: as [`pending`], of cloud-init. Needs `VM.Audit` on
/// the guest.
pub fn cloudinit_pending(node: &NodeName, vmid: VmId) -> Request<Vec<PendingValue>> {
    Request::get(guest_path(node, "qemu", vmid).push("cloudinit")).on(node)
}

/// `GET /nodes/{node}/qemu/{vmid}/cloudinit/dump`: `kind` is `user`, `network` or `meta`. Holds
/// passwords. Needs `VM.Audit` on the guest.
pub fn cloudinit_dump(node: &NodeName, vmid: VmId, kind: &str) -> Request<SecretString> {
    Request::get(guest_path(node, "qemu", vmid).push("cloudinit").push("dump"))
        .param("type", kind)
        .on(node)
}

/// `GET /nodes/{node}/qemu/{vmid}/snapshot`. Needs `VM.Audit` on the guest.
pub fn snapshots(node: &NodeName, vmid: VmId) -> Request<Vec<Snapshot>> {
    Request::get(guest_path(node, "qemu", vmid).push("snapshot")).on(node).protected()
}

/// `GET /nodes/{node}/qemu/{vmid}/snapshot/{snapname}/config`. Holds passwords in clear text. Needs
/// `VM.Snapshot`, `VM.Snapshot.Rollback` or `VM.Audit` on the guest.
pub fn snapshot_config(node: &NodeName, vmid: VmId, name: &str) -> Request<QemuConfig> {
    Request::get(guest_path(node, "qemu", vmid).push("snapshot").push(name).push("config")).on(node)
}

/// `GET /nodes/{node}/qemu/{vmid}/migrate`: what stands in the way of a move. Needs `VM.Migrate` on
/// the guest.
pub fn migrate_check(
    node: &NodeName,
    vmid: VmId,
    target: Option<&NodeName>,
) -> Request<QemuMigrateCheck> {
    Request::get(guest_path(node, "qemu", vmid).push("migrate"))
        .opt("target", target)
        .on(node)
        .protected()
}

/// `GET /nodes/{node}/qemu/{vmid}/feature`: `feature` is `snapshot`, `clone` or `copy`. Needs
/// `VM.Audit` on the guest.
pub fn feature(node: &NodeName, vmid: VmId, feature: &str) -> Request<Feature> {
    Request::get(guest_path(node, "qemu", vmid).push("feature"))
        .param("feature", feature)
        .on(node)
        .protected()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_gives_its_numbered_keys() {
        let config: QemuConfig = serde_json::from_str(
            r#"{"memory": "current=2048", "agent": "1,fstrim_cloned_disks=1", "net0": "virtio=BC:24:11:00:00:01,bridge=vmbr0",
                "scsi0": "local-lvm:vm-100-disk-0,size=32G", "ide2": "none,media=cdrom", "scsihw": "virtio-scsi-single", "numa0": "cpus=0"}"#,
        )
        .expect("a configuration");
        assert_eq!((config.memory_mib(), config.agent_enabled()), (Some(2048), true));
        assert_eq!(config.nets().map(|(key, _)| key).collect::<Vec<_>>(), ["net0"]);
        assert_eq!(config.disks().map(|(key, _)| key).collect::<Vec<_>>(), ["ide2", "scsi0"]);
    }
}
