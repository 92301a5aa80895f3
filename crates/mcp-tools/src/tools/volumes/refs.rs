//! Which guests name a volume in their configurations.

use std::collections::BTreeMap;

use api_core::{Request, path};
use estate::GuestKind;
use futures::{StreamExt as _, future::BoxFuture, stream};
use serde_json::Value;

use crate::{fleet::Pve, view::Guest};

/// How many configurations are read at a time.
const AT_ONCE: usize = 8;

/// Who names what.
#[derive(Debug, Default)]
pub(super) struct Refs {
    /// By the volume: `lab/100 scsi0`.
    named: BTreeMap<String, Vec<Use>>,
    /// Guests whose configuration could not be read.
    pub(super) unread: Vec<String>,
}

/// One mention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Use {
    /// `lab/100`.
    pub(super) guest: String,
    /// `scsi0`, `unused0`.
    pub(super) key: String,
    /// The snapshot whose configuration it is.
    pub(super) snapshot: Option<String>,
}

// === impl Refs ===

impl Refs {
    /// Reads the guests' configurations; `deep` those of their snapshots, too.
    pub(super) async fn read(member: &Pve, guests: Vec<&Guest>, deep: bool) -> Self {
        let mut asked: Vec<BoxFuture<'_, (String, Result<Configs, api_core::Error>)>> = Vec::new();
        for guest in guests {
            asked.push(Box::pin(
                async move { (guest.at.to_string(), read(member, guest, deep).await) },
            ));
        }
        let mut refs = Self::default();
        let mut answers = stream::iter(asked).buffered(AT_ONCE);
        while let Some((guest, answer)) = answers.next().await {
            match answer {
                Ok(configs) => {
                    for (snapshot, config) in configs {
                        refs.add(&guest, snapshot.as_deref(), &config);
                    }
                }
                Err(error) => refs.unread.push(format!("{guest}: {}", stdx::Chain(&error))),
            }
        }
        refs
    }

    fn add(&mut self, guest: &str, snapshot: Option<&str>, config: &Value) {
        for (key, value) in config.as_object().into_iter().flatten() {
            let Some(volume) = value.as_str().and_then(volume_of) else { continue };
            self.named.entry(id_of(volume)).or_default().push(Use {
                guest: guest.to_owned(),
                key: key.clone(),
                snapshot: snapshot.map(str::to_owned),
            });
        }
    }

    /// Who names a volume.
    pub(super) fn of(&self, volume: &str) -> &[Use] {
        self.named.get(&id_of(volume)).map(Vec::as_slice).unwrap_or_default()
    }
}

impl Use {
    /// Whether the guest has only been given it back, and does not use it.
    pub(super) fn is_unused(&self) -> bool {
        self.key.starts_with("unused")
    }

    /// `lab/100 (scsi0, in snapshot before-upgrade)`.
    pub(super) fn words(&self) -> String {
        match &self.snapshot {
            Some(name) => format!("{} ({} in snapshot {name})", self.guest, self.key),
            None => format!("{} ({})", self.guest, self.key),
        }
    }
}

type Configs = Vec<(Option<String>, Value)>;

async fn read(member: &Pve, guest: &Guest, deep: bool) -> Result<Configs, api_core::Error> {
    let kind = match guest.kind {
        GuestKind::Qemu => "qemu",
        GuestKind::Lxc => "lxc",
    };
    let (node, vmid) = (&guest.node, guest.at.vmid);
    let client = &member.client;
    let config: Request<Value> = Request::get(path!["nodes", node, kind, vmid, "config"]).on(node);
    let mut configs = vec![(None, client.call(config).await?)];
    if !deep {
        return Ok(configs);
    }
    let list: Request<Vec<Value>> =
        Request::get(path!["nodes", node, kind, vmid, "snapshot"]).on(node);
    for snapshot in client.call(list).await? {
        let Some(name) = snapshot["name"].as_str().filter(|name| *name != "current") else {
            continue;
        };
        let path = path!["nodes", node, kind, vmid, "snapshot", name, "config"];
        let config: Request<Value> = Request::get(path).on(node);
        configs.push((Some(name.to_owned()), client.call(config).await?));
    }
    Ok(configs)
}

/// The volume that a value of a configuration begins with.
fn volume_of(value: &str) -> Option<&str> {
    let first = value.split(',').next()?;
    // `volume=` and `file=` may stand before it.
    let first =
        first.strip_prefix("volume=").or_else(|| first.strip_prefix("file=")).unwrap_or(first);
    let (storage, name) = first.split_once(':')?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (storage.starts_with(|c: char| c.is_ascii_alphabetic())
        && storage.chars().all(is_name)
        && !name.is_empty()
        && !first.contains(' '))
    .then_some(first)
}

/// A volume as it is compared: a linked clone's disk is written with and without its base.
fn id_of(volume: &str) -> String {
    let Some((storage, name)) = volume.split_once(':') else { return volume.to_owned() };
    let name = match name.rsplit_once('/') {
        // `100/vm-100-disk-0.qcow2` and `base-9-disk-0/vm-100-disk-0`; not `iso/debian.iso`.
        Some((_, last)) if last.starts_with("vm-") || last.starts_with("subvol-") => last,
        _ => name,
    };
    format!("{storage}:{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_name_volumes() {
        for (value, expected) in [
            ("local-lvm:vm-100-disk-0,size=32G", Some("local-lvm:vm-100-disk-0")),
            ("volume=nas:100/vm-100-disk-1.raw,mp=/srv", Some("nas:100/vm-100-disk-1.raw")),
            ("nas:iso/debian.iso,media=cdrom", Some("nas:iso/debian.iso")),
            ("none,media=cdrom", None),
            ("virtio=BC:24:11:00:00:01,bridge=vmbr0", None),
            ("order=scsi0", None),
            ("note: with words", None),
            ("0000:01:00.0", None),
        ] {
            assert_eq!(volume_of(value), expected, "{value}");
        }
        assert_eq!(id_of("t:base-9-disk-0/vm-1-disk-0"), id_of("t:vm-1-disk-0"));
        assert_ne!(id_of("t:iso/a.iso"), id_of("t:a.iso"));
    }
}
