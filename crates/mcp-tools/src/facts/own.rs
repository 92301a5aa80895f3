//! The guest that this server itself runs in: nothing is done to it, nor to the power of its node.
//!
//! A machine knows its hardware's UUID (which only root may read), its own id (which the first start
//! of a virtual machine often takes from that) and the addresses of its network cards; a cluster
//! knows the same of its guests. Who has one of them is us.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use estate::{ClusterKey, GuestKind, GuestRef};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use pve_client::{guest::Properties, lxc, qemu};
use tokio::sync::Mutex;

use super::AT_ONCE;
use crate::{
    fleet::{Fleet, GATHER_DEADLINE, Pve},
    view::{Guest, GuestStatus, View},
};

/// How soon clusters that were silent are asked again.
const AGAIN_SECS: i64 = 60;

/// What this machine knows of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// UUIDs of the hardware and of the system, as 32 small hexadecimal digits.
    pub uuids: Vec<String>,
    /// Hardware addresses of its network cards, as 12 small hexadecimal digits.
    pub macs: Vec<String>,
}

/// How the guest that this server runs in is known.
#[derive(Clone, Debug)]
pub struct Own(Arc<How>);

#[derive(Debug)]
enum How {
    /// It runs in none, or nobody wants to know.
    None,
    /// The operator says so.
    Set(GuestRef),
    /// By what the machine knows of itself.
    Found { identity: Identity, kept: Mutex<Kept> },
}

#[derive(Debug, Default)]
struct Kept {
    found: Option<GuestRef>,
    /// Clusters in which it is not.
    elsewhere: BTreeSet<ClusterKey>,
    /// Clusters that did not say, and when they were asked.
    silent: BTreeMap<ClusterKey, Timestamp>,
}

/// What is known of the guest that this server runs in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OwnGuest {
    /// None of those that could be asked.
    #[default]
    None,
    /// The operator says it is this one.
    Set(GuestRef),
    /// This one has an address or an id of this machine.
    Found(GuestRef),
}

// === impl OwnGuest ===

impl OwnGuest {
    /// The guest, if there is one.
    pub fn guest(&self) -> Option<&GuestRef> {
        match self {
            Self::None => None,
            Self::Set(guest) | Self::Found(guest) => Some(guest),
        }
    }
}

// === impl Identity ===

impl Identity {
    /// From the texts as the system writes them; what is no UUID or hardware address is left out.
    pub fn new<'a>(
        uuids: impl IntoIterator<Item = &'a str>,
        macs: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let mut uuids: Vec<_> = uuids.into_iter().filter_map(|text| hex(text, 32)).collect();
        let mut macs: Vec<_> = macs.into_iter().filter_map(|text| hex(text, 12)).collect();
        uuids.dedup();
        macs.retain(|mac| mac.bytes().any(|byte| byte != b'0'));
        Self { uuids, macs }
    }

    /// Whether there is nothing to know it by.
    pub fn is_empty(&self) -> bool {
        self.uuids.is_empty() && self.macs.is_empty()
    }

    fn is_that_of(&self, smbios: Option<&str>, nets: &[&str]) -> bool {
        let uuid = smbios.and_then(|text| hex(Properties::parse(text).get("uuid")?, 32));
        let by_uuid = uuid.is_some_and(|uuid| self.uuids.contains(&uuid));
        by_uuid || nets.iter().any(|net| cards(net).any(|mac| self.macs.contains(&mac)))
    }
}

/// The hardware addresses in a network card's properties: `virtio=BC:24:11:…`, `hwaddr=BC:24:11:…`.
fn cards(net: &str) -> impl Iterator<Item = String> {
    net.split(',').filter_map(|part| {
        let (_, value) = part.split_once('=')?;
        (value.split(':').count() == 6).then(|| hex(value, 12)).flatten()
    })
}

/// The hexadecimal digits without what stands between them, if there are so many.
fn hex(text: &str, digits: usize) -> Option<String> {
    let plain: String = text.trim().chars().filter(|c| !"-:".contains(*c)).collect();
    let fits = plain.len() == digits && plain.bytes().all(|byte| byte.is_ascii_hexdigit());
    fits.then(|| plain.to_ascii_lowercase())
}

// === impl Own ===

impl Own {
    /// It runs in none of the estate's guests.
    pub fn none() -> Self {
        Self(Arc::new(How::None))
    }

    /// It runs in this one.
    pub fn set(guest: GuestRef) -> Self {
        Self(Arc::new(How::Set(guest)))
    }

    /// It is to be found by what the machine knows of itself.
    pub fn found_by(identity: Identity) -> Self {
        if identity.is_empty() {
            return Self::none();
        }
        Self(Arc::new(How::Found { identity, kept: Mutex::default() }))
    }

    /// Looks for the guest in this fleet; each cluster is asked once, and one that was silent again
    /// after a while.
    pub async fn look(&self, fleet: &Fleet) -> OwnGuest {
        let (identity, kept) = match &*self.0 {
            How::None => return OwnGuest::None,
            How::Set(guest) => return OwnGuest::Set(guest.clone()),
            How::Found { identity, kept } => (identity, kept),
        };
        // Whoever comes meanwhile waits for the first to find out.
        let mut kept = kept.lock().await;
        if kept.found.is_none() {
            let now = fleet.now();
            let is_due = |member: &Arc<Pve>| {
                let silent = kept.silent.get(&member.key);
                let is_fresh =
                    silent.is_some_and(|at| now.duration_since(*at).as_secs().abs() < AGAIN_SECS);
                !is_fresh && !kept.elsewhere.contains(&member.key)
            };
            let members = fleet.pve(None).unwrap_or_default();
            let due: Vec<_> = members.into_iter().filter(is_due).collect();
            let keys: Vec<_> = due.iter().map(|member| member.key.clone()).collect();
            let (found, told) = find(fleet, due, identity).await;
            kept.found = found;
            for key in keys {
                if told.contains(&key) {
                    kept.elsewhere.insert(key);
                } else {
                    kept.silent.insert(key, now);
                }
            }
        }
        kept.found.clone().map_or(OwnGuest::None, OwnGuest::Found)
    }
}

/// The guest with this identity, and the clusters that told of all their guests.
async fn find(
    fleet: &Fleet,
    members: Vec<Arc<Pve>>,
    identity: &Identity,
) -> (Option<GuestRef>, BTreeSet<ClusterKey>) {
    let mut told = BTreeSet::new();
    let gathered = fleet.gather(members, GATHER_DEADLINE, View::load).await;
    for (member, view) in &gathered.answers {
        let mut is_told = true;
        let mut asks = Vec::new();
        for guest in &view.guests {
            // It runs, or nobody would ask.
            if guest.status == GuestStatus::Running {
                asks.push(ask(member, guest, identity));
            }
        }
        let mut asked = stream::iter(asks).buffer_unordered(AT_ONCE);
        while let Some((guest, answer)) = asked.next().await {
            match answer {
                Ok(true) => return (Some(guest.at.clone()), told),
                Ok(false) => {}
                // A guest that the token may not even look at is not changed with it.
                Err(error) if error.is_permission_denied() => {}
                Err(_) => is_told = false,
            }
        }
        if is_told {
            told.insert(member.key.clone());
        }
    }
    (None, told)
}

async fn ask<'a>(
    member: &'a Pve,
    guest: &'a Guest,
    identity: &'a Identity,
) -> (&'a Guest, Result<bool, api_core::Error>) {
    (guest, is_us(member, guest, identity).await)
}

async fn is_us(member: &Pve, guest: &Guest, identity: &Identity) -> Result<bool, api_core::Error> {
    let (client, node, vmid) = (&member.client, &guest.node, guest.at.vmid);
    Ok(match guest.kind {
        GuestKind::Qemu => {
            let config = client.call(qemu::current_config(node, vmid)).await?;
            let nets: Vec<&str> = config.nets().map(|(_, net)| net).collect();
            identity.is_that_of(config.smbios.as_deref(), &nets)
        }
        GuestKind::Lxc => {
            let config = client.call(lxc::current_config(node, vmid)).await?;
            let nets: Vec<&str> = config.nets().map(|(_, net)| net).collect();
            identity.is_that_of(None, &nets)
        }
    })
}
