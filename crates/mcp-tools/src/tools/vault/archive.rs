//! The guest inside a backup, as far as it can be read before it is restored.

use std::collections::BTreeMap;

use estate::{GuestKind, NodeName, StorageName};
use pve_client::{guest::Properties, storage, vzdump};
use secrecy::ExposeSecret as _;

use super::find::Copy;
use crate::{
    error::ToolError,
    fleet::Pve,
    plan::Plan,
    report::{Cell, Table, bytes},
    view::View,
};

/// Storages that give a disk all its space at once.
const THICK: &[&str] = &["lvm", "iscsi", "iscsidirect"];

/// A guest's configuration in a backup. Values can be secrets, so it has no `Debug`.
pub(super) struct Archived {
    keys: BTreeMap<String, String>,
    kind: GuestKind,
}

/// A disk that a restore makes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Disk<'a> {
    pub(super) key: &'a str,
    /// Where it was, and comes back if nothing else is said.
    pub(super) storage: Option<StorageName>,
    pub(super) size: u64,
}

// === impl Archived ===

impl Archived {
    /// Reads it out of the backup.
    pub(super) async fn read(
        member: &Pve,
        copy: &Copy,
        kind: GuestKind,
    ) -> Result<Self, api_core::Error> {
        let call = vzdump::extract_config(&copy.node, &copy.volume.id);
        let text = member.operator.call(call).await?;
        Ok(Self::parse(text.expose_secret(), kind))
    }

    fn parse(text: &str, kind: GuestKind) -> Self {
        // What follows a section's head belongs to a snapshot or waits for a restart.
        let lines = text.lines().take_while(|line| !line.starts_with('['));
        let pairs = lines.filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (key, value) = line.split_once(':')?;
            Some((key.trim().to_owned(), value.trim().to_owned()))
        });
        Self { keys: pairs.collect(), kind }
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.keys.get(key).map(String::as_str)
    }

    /// Bytes of memory that it starts with.
    pub(super) fn memory(&self) -> u64 {
        let text = self.get("memory").unwrap_or("512");
        let text = text.strip_prefix("current=").unwrap_or(text);
        text.split(',').next().and_then(|text| text.parse::<u64>().ok()).unwrap_or(512) << 20
    }

    /// Whether its guest agent is turned on.
    pub(super) fn has_agent(&self) -> bool {
        let agent = Properties::parse(self.get("agent").unwrap_or_default());
        matches!(agent.get("enabled").or(agent.head), Some("1" | "on" | "yes" | "true"))
    }

    /// The keys of one kind, such as `net`, with their values.
    pub(super) fn indexed<'a>(
        &'a self,
        prefixes: &'a [&str],
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.keys.iter().filter_map(move |(key, value)| {
            let stem = key.trim_end_matches(|c: char| c.is_ascii_digit());
            (stem.len() < key.len() && prefixes.contains(&stem))
                .then_some((key.as_str(), value.as_str()))
        })
    }

    /// Its disks, without what is only a medium in a drive.
    pub(super) fn disks(&self) -> Vec<Disk<'_>> {
        let prefixes: &[&str] = match self.kind {
            GuestKind::Qemu => &["scsi", "virtio", "sata", "ide", "efidisk", "tpmstate"],
            GuestKind::Lxc => &["mp"],
        };
        let root = self.keys.get_key_value("rootfs").map(|(key, value)| (key.as_str(), &**value));
        let root = root.filter(|_| self.kind == GuestKind::Lxc);
        let all = root.into_iter().chain(self.indexed(prefixes));
        let disks = all.filter_map(|(key, value)| {
            let properties = Properties::parse(value);
            // A drive's medium, a host's folder, and what was left out of the backup.
            let is_disk = properties.get("media") != Some("cdrom")
                && properties.get("backup") != Some("0")
                && properties.storage().is_some();
            let size = properties.size().map_or(0, size_of);
            is_disk.then(|| Disk { key, storage: properties.storage(), size })
        });
        disks.collect()
    }

    /// Drives with a medium that need not be there any more.
    pub(super) fn media(&self) -> Vec<&str> {
        let drives = self.indexed(&["ide", "sata", "scsi"]);
        let media = drives.filter(|(_, value)| {
            let properties = Properties::parse(value);
            let medium = properties.head.unwrap_or_default();
            // The drive of cloud-init is made anew by the restore.
            properties.get("media") == Some("cdrom")
                && medium != "none"
                && !medium.contains("cloudinit")
        });
        media.map(|(key, _)| key).collect()
    }

    /// Devices of the host that it has to itself.
    pub(super) fn passed_through(&self) -> Vec<&str> {
        self.indexed(&["hostpci", "usb", "parallel", "serial", "dev"])
            // A console on a socket and a device of the console are nobody else's.
            .filter(|(_, value)| !matches!(*value, "socket" | "spice"))
            .map(|(key, _)| key)
            .collect()
    }
}

/// `32G` in bytes.
fn size_of(text: &str) -> u64 {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].chars().next() {
        Some('K') => 10,
        Some('M') => 20,
        Some('G') => 30,
        Some('T') => 40,
        _ => 0,
    };
    match digits.parse::<u64>() {
        Ok(number) => number << shift,
        Err(_) => {
            digits.parse::<f64>().map_or(0, |number| (number * (1_u64 << shift) as f64) as u64)
        }
    }
}

/// Checks that the disks have a place on `node`: refuses where there is surely none, warns where
/// they may not fit.
pub(super) async fn check_space(
    mut plan: Plan,
    member: &Pve,
    view: &View,
    node: &NodeName,
    archived: &Archived,
    target: Option<&StorageName>,
) -> Result<Plan, ToolError> {
    let wanted = if archived.kind == GuestKind::Qemu { "images" } else { "rootdir" };
    let mut needed: BTreeMap<StorageName, u64> = BTreeMap::new();
    for disk in archived.disks() {
        if let Some(name) = target.cloned().or(disk.storage) {
            *needed.entry(name).or_default() += disk.size;
        }
    }
    for (name, size) in needed {
        let row = view.storages.iter().find(|row| row.name == name && row.node == *node);
        let fits = row.is_some_and(|row| row.content.iter().any(|word| word == wanted));
        if !fits {
            let lead = format!(
                "the restore was not tried: {}/{node} has no storage {name} that takes {wanted}",
                member.key
            );
            return Err(ToolError::not_found(lead)
                .hint("give storage: where the disks are to go")
                .choices(storages(view, node, wanted)));
        }
        let status = member.client.call(storage::status(node, &name)).await;
        let Ok(status) = status else { continue };
        let Some(free) = status.available_bytes else { continue };
        let is_thick = THICK.contains(&status.kind.as_str());
        if free == 0 || (is_thick && free < size) {
            let lead = format!(
                "the restore was not tried: its disks take {} and {}/{name} has {} free",
                bytes(size),
                member.key,
                bytes(free)
            );
            return Err(ToolError::new(lead)
                .hint("give another storage")
                .choices(storages(view, node, wanted)));
        }
        if free < size {
            let text = format!(
                "{}/{name} has {} free; the disks can grow to {}",
                member.key,
                bytes(free),
                bytes(size)
            );
            plan = plan.warn("space", text);
        }
    }
    Ok(plan)
}

fn storages(view: &View, node: &NodeName, wanted: &str) -> Table {
    let mut table = Table::new("storages", &["storage", "type", "free"]);
    let rows = view.storages.iter().filter(|row| row.node == *node && row.is_available());
    for row in rows.filter(|row| row.content.iter().any(|word| word == wanted)) {
        let free = row.size.saturating_sub(row.used);
        table.push(vec![
            Cell::text(row.name.as_str()),
            Cell::text(&*row.plugin),
            Cell::with(free, bytes(free)),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    const QEMU: &str = "#qmdump#map:scsi0:drive-scsi0:local-lvm:raw:\nagent: enabled=1,fstrim_cloned_disks=1\n\
        boot: order=scsi0\nhostpci0: 0000:01:00.0\nide2: nas:iso/debian.iso,media=cdrom,size=1G\n\
        ide3: local-lvm:vm-104-cloudinit,media=cdrom\nmemory: 4096\nname: web\n\
        net0: virtio=BC:24:11:00:00:01,bridge=vmbr0\nefidisk0: local-lvm:vm-104-disk-1,size=4M\n\
        scsi0: local-lvm:vm-104-disk-0,size=32G\nscsi1: nas:104/vm-104-disk-0.qcow2,backup=0,size=1T\n\
        serial0: socket\n[snap]\nmemory: 8192\n";

    #[test]
    fn a_machine_is_read_from_its_backup() {
        let archived = Archived::parse(QEMU, GuestKind::Qemu);
        assert_eq!((archived.get("name"), archived.memory()), (Some("web"), 4 << 30));
        assert!(archived.has_agent());
        let disks: Vec<_> = archived.disks().iter().map(|disk| (disk.key, disk.size)).collect();
        assert_eq!(disks, [("efidisk0", 4 << 20), ("scsi0", 32 << 30)]);
        assert_eq!(archived.media(), ["ide2"]);
        assert_eq!(archived.passed_through(), ["hostpci0"]);
        let nets: Vec<_> = archived.indexed(&["net"]).map(|(key, _)| key).collect();
        assert_eq!(nets, ["net0"]);
    }

    #[test]
    fn a_container_has_a_root_and_mount_points() {
        let text = "hostname: redis\nmemory: 1024\nmp0: ceph:vm-131-disk-1,mp=/data,size=1.5T\nmp1: /srv,mp=/srv\n\
            net0: name=eth0,bridge=vmbr0\nrootfs: ceph:vm-131-disk-0,size=8G\n";
        let archived = Archived::parse(text, GuestKind::Lxc);
        let disks: Vec<_> = archived.disks().iter().map(|disk| (disk.key, disk.size)).collect();
        assert_eq!(disks, [("rootfs", 8 << 30), ("mp0", 3 << 39)]);
        assert!(!archived.has_agent() && archived.media().is_empty());
    }
}
