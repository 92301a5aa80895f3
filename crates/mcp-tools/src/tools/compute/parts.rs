//! What a guest consists of, as its configuration says: volumes, bridges, addresses, marks.

use std::collections::BTreeMap;

use estate::{GuestKind, StorageName};
use pve_client::{guest::Properties, lxc, qemu};
use serde_json::Value;

use super::create::finish::size_of;
use crate::{
    error::ToolError,
    fleet::Pve,
    tools::power::{named, object},
    view::Guest,
};

/// A volume that a configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Volume {
    /// `scsi0`, `rootfs`, `unused0`, …
    pub(crate) key: String,
    /// The volume's id.
    pub(crate) id: String,
    pub(crate) storage: StorageName,
    /// Bytes; 0 where the configuration does not say.
    pub(crate) size: u64,
    /// Whether it is in a drive, not a disk.
    pub(crate) is_medium: bool,
    /// Whether a backup of the guest has it.
    pub(crate) is_backed_up: bool,
}

/// What a guest consists of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parts {
    pub(crate) digest: String,
    pub(crate) lock: Option<String>,
    pub(crate) protection: bool,
    pub(crate) volumes: Vec<Volume>,
    /// Bridges with their VLANs.
    pub(crate) bridges: Vec<(String, Option<u16>)>,
    addresses: Vec<String>,
}

// === impl Parts ===

impl Parts {
    /// Reads the guest's configuration.
    pub(crate) async fn read(member: &Pve, guest: &Guest) -> Result<Self, ToolError> {
        let (node, vmid) = (&guest.node, guest.at.vmid);
        let failed = |error: api_core::Error| {
            ToolError::api(format!("read the configuration of {}", named(guest)), &error)
        };
        Ok(match guest.kind {
            GuestKind::Qemu => Self::of_machine(
                &member.client.call(qemu::config(node, vmid)).await.map_err(failed)?,
            ),
            GuestKind::Lxc => Self::of_container(
                &member.client.call(lxc::config(node, vmid)).await.map_err(failed)?,
            ),
        })
    }

    fn of_machine(config: &qemu::QemuConfig) -> Self {
        let mut volumes: Vec<Volume> = config
            .disks()
            .chain(config.unused())
            .filter_map(|(key, text)| volume(key, text))
            .collect();
        let special = [("efidisk0", &config.efi_disk), ("tpmstate0", &config.tpm_state)];
        for (key, text) in special {
            volumes.extend(text.as_deref().and_then(|text| volume(key, text)));
        }
        Self {
            digest: config.digest.clone().unwrap_or_default(),
            lock: config.lock.clone(),
            protection: config.protection,
            volumes,
            bridges: bridges(config.nets()),
            addresses: config.ip_configs().filter_map(|(_, text)| fixed(text)).collect(),
        }
    }

    fn of_container(config: &lxc::LxcConfig) -> Self {
        let root = config.rootfs.as_deref().map(|text| ("rootfs", text));
        let all = root.into_iter().chain(config.mount_points()).chain(config.unused());
        Self {
            digest: config.digest.clone().unwrap_or_default(),
            lock: config.lock.clone(),
            protection: config.protection,
            volumes: all.filter_map(|(key, text)| volume(key, text)).collect(),
            bridges: bridges(config.nets()),
            addresses: config.nets().filter_map(|(_, text)| fixed(text)).collect(),
        }
    }

    /// Its disks: media in drives are not, and neither is the drive of cloud-init.
    pub(crate) fn disks(&self) -> impl Iterator<Item = &Volume> {
        self.volumes.iter().filter(|volume| !volume.is_medium)
    }

    /// An address that is written down, if there is one.
    pub(crate) fn fixed_address(&self) -> Option<&str> {
        self.addresses.first().map(String::as_str)
    }

    /// Refuses where something is at work on the guest.
    pub(crate) fn is_free(&self, guest: &Guest, what: &str) -> Result<(), ToolError> {
        let Some(lock) = &self.lock else { return Ok(()) };
        let name = named(guest);
        let mut args = BTreeMap::new();
        args.insert("guest", Value::from(guest.at.to_string()));
        args.insert("state", Value::from("running"));
        Err(ToolError::new(format!(
            "{what} of {name} was not tried: it is locked ({lock}): something is at work on it, or was broken off"
        ))
        .hint("look at its running tasks, and try again when they are done")
        .next("tasks_list", object(serde_json::json!(args))))
    }
}

fn volume(key: &str, text: &str) -> Option<Volume> {
    let properties = Properties::parse(text);
    let id =
        properties.head.or_else(|| properties.get("file")).or_else(|| properties.get("volume"))?;
    let storage = properties.storage()?;
    let is_medium = properties.get("media") == Some("cdrom");
    let size = properties.size().and_then(size_of).unwrap_or_default();
    let marked = properties.get("backup");
    // Of mount points only those that are marked are in a backup, of disks all that are not left
    // out; what is unused never is.
    let is_backed_up = match key.trim_end_matches(|c: char| c.is_ascii_digit()) {
        "unused" => false,
        "mp" => marked == Some("1"),
        _ => marked != Some("0"),
    };
    Some(Volume { key: key.to_owned(), id: id.to_owned(), storage, size, is_medium, is_backed_up })
}

fn bridges<'a>(nets: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<(String, Option<u16>)> {
    nets.filter_map(|(_, text)| {
        let properties = Properties::parse(text);
        let vlan = properties.get("tag").and_then(|tag| tag.parse().ok());
        Some((properties.get("bridge")?.to_owned(), vlan))
    })
    .collect()
}

/// The fixed address of a network's or an address' property string.
fn fixed(text: &str) -> Option<String> {
    let properties = Properties::parse(text);
    let address = ["ip", "ip6"]
        .iter()
        .find_map(|key| properties.get(key).filter(|value| value.contains('/')))?;
    Some(address.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_media_and_addresses_are_told_apart() {
        let config: qemu::QemuConfig = serde_json::from_str(
            r#"{"scsi0": "a:vm-1-disk-0,size=32G", "ide2": "a:vm-1-cloudinit,media=cdrom,size=4M", "ide0": "none,media=cdrom",
                "unused0": "b:vm-1-disk-1", "efidisk0": "a:vm-1-disk-2,size=4M", "net0": "virtio=BC:24:11:00:00:01,bridge=vmbr0,tag=7",
                "ipconfig0": "ip=192.0.2.7/24,gw=192.0.2.1", "protection": 1}"#,
        )
        .unwrap();
        let parts = Parts::of_machine(&config);
        let disks: Vec<&str> = parts.disks().map(|volume| volume.key.as_str()).collect();
        assert_eq!(disks, ["scsi0", "unused0", "efidisk0"]);
        assert_eq!(parts.volumes.len(), 4);
        assert_eq!(parts.bridges, [("vmbr0".to_owned(), Some(7))]);
        assert_eq!(parts.fixed_address(), Some("192.0.2.7/24"));
        assert!(parts.protection);
    }

    #[test]
    fn what_a_backup_leaves_out_is_known() {
        let config: qemu::QemuConfig = serde_json::from_str(
            r#"{"scsi0": "a:vm-1-disk-0,size=32G", "scsi1": "a:vm-1-disk-1,backup=0,size=1T", "unused0": "b:vm-1-disk-2"}"#,
        )
        .unwrap();
        let backed_up = |parts: &Parts| -> Vec<String> {
            let disks = parts.disks().filter(|disk| disk.is_backed_up);
            disks.map(|disk| disk.key.clone()).collect()
        };
        assert_eq!(backed_up(&Parts::of_machine(&config)), ["scsi0"]);
        let config: lxc::LxcConfig = serde_json::from_str(
            r#"{"rootfs": "a:vm-2-disk-0,size=8G", "mp0": "a:vm-2-disk-1,mp=/data,size=1G", "mp1": "a:vm-2-disk-2,mp=/db,backup=1,size=1G"}"#,
        )
        .unwrap();
        assert_eq!(backed_up(&Parts::of_container(&config)), ["rootfs", "mp1"]);
    }
}
