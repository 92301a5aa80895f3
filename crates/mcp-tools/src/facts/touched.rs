//! What planned calls touch, told by their paths and parameters.

use std::collections::BTreeSet;

use estate::{ClusterKey, Product, VmId};
use guard::{
    PlanForm, PlannedCall,
    policy::{Target, TargetKind},
};

/// One thing that a call names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Touched {
    /// The settings key of its cluster or backup server.
    pub member: ClusterKey,
    /// What it is.
    pub kind: TargetKind,
    /// Its name within the member; empty for the member itself.
    pub name: String,
    /// Its id, if it is a guest.
    pub vmid: Option<VmId>,
    /// The pool that it is put into, where the call says so.
    pub pool: Option<String>,
}

/// Everything that a plan's calls and targets name; `product_of` tells what a settings key is.
pub fn touched(form: &PlanForm, product_of: impl Fn(&str) -> Option<Product>) -> BTreeSet<Touched> {
    let mut found = BTreeSet::new();
    for call in &form.calls {
        let Ok(member) = ClusterKey::try_new(&call.member) else { continue };
        match product_of(&call.member) {
            Some(Product::Pve) => of_pve(&mut found, &member, call),
            Some(Product::Pbs) => of_pbs(&mut found, &member, call),
            None => {}
        }
    }
    for address in form.targets.keys() {
        let (key, rest) = address.split_once('/').unwrap_or((address, ""));
        let Ok(member) = ClusterKey::try_new(key) else { continue };
        match product_of(key) {
            Some(Product::Pve) => found.extend(of_address(&member, rest)),
            Some(Product::Pbs) => {
                let store = rest.split(['/', ':']).next().unwrap_or_default();
                found.insert(Touched::of(&member, TargetKind::Datastore, store));
            }
            None => {}
        }
    }
    // What is touched within a member says more than the member as a whole.
    let within: BTreeSet<ClusterKey> = found
        .iter()
        .filter(|one| one.kind != TargetKind::Cluster)
        .map(|one| one.member.clone())
        .collect();
    found.retain(|one| one.kind != TargetKind::Cluster || !within.contains(&one.member));
    found
}

fn of_pve(found: &mut BTreeSet<Touched>, member: &ClusterKey, call: &PlannedCall) {
    let path: Vec<String> = segments(&call.path);
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let param = |name: &str| {
        let value = call.params.iter().find(|(key, _)| key == name);
        value.map(|(_, value)| value.as_str())
    };
    let mut guest = |id: &str, pool: Option<&str>| {
        if let Ok(vmid) = id.parse::<VmId>() {
            found.insert(Touched::guest(member, vmid, pool));
        }
    };
    match path.as_slice() {
        ["nodes", _, "qemu" | "lxc", vmid, rest @ ..] => {
            guest(vmid, None);
            if let ["clone"] = rest {
                guest(param("newid").unwrap_or_default(), param("pool"));
            }
        }
        ["nodes", _, "qemu" | "lxc"] => guest(param("vmid").unwrap_or_default(), param("pool")),
        ["nodes", _, "storage", storage, rest @ ..] => {
            if let Some(owner) = rest.get(1..).and_then(|rest| owner_of(&rest.join("/"))) {
                guest(&owner, None);
            }
            guest(param("vmid").unwrap_or_default(), None);
            found.insert(Touched::of(member, TargetKind::Storage, storage));
        }
        ["nodes", node, rest @ ..] => {
            let named = list(param("vmid")).chain(list(param("vms")));
            let named: Vec<&str> = named.collect();
            let whole = named.is_empty() || !matches!(rest, ["vzdump"]);
            for id in named {
                guest(id, None);
            }
            if whole {
                found.insert(Touched::of(member, TargetKind::Node, node));
            }
        }
        ["cluster", "ha", "resources", sid, ..] => {
            guest(sid.split_once(':').map_or(*sid, |(_, id)| id), None);
        }
        ["cluster", "ha", "resources"] => {
            let sid = param("sid").unwrap_or_default();
            guest(sid.split_once(':').map_or(sid, |(_, id)| id), None);
        }
        ["cluster", "replication", job, ..] => {
            guest(job.split_once('-').map_or(*job, |(id, _)| id), None);
        }
        ["cluster", "bulk-action", "guest", ..] => {
            list(param("vms")).for_each(|id| guest(id, None));
        }
        ["pools", ..] => list(param("vms")).for_each(|id| guest(id, None)),
        ["storage", storage] => {
            found.insert(Touched::of(member, TargetKind::Storage, storage));
        }
        _ => {}
    }
    // At the least, it is something in this cluster.
    found.insert(Touched::of(member, TargetKind::Cluster, ""));
}

fn of_pbs(found: &mut BTreeSet<Touched>, member: &ClusterKey, call: &PlannedCall) {
    let path: Vec<String> = segments(&call.path);
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["admin" | "config", "datastore", store, ..] => {
            found.insert(Touched::of(member, TargetKind::Datastore, store));
        }
        ["nodes", node, ..] => {
            found.insert(Touched::of(member, TargetKind::Node, node));
        }
        _ => {
            let store = call.params.iter().find(|(key, _)| key == "store");
            if let Some((_, store)) = store {
                found.insert(Touched::of(member, TargetKind::Datastore, store));
            }
        }
    }
    found.insert(Touched::of(member, TargetKind::Cluster, ""));
}

/// What a plan calls a target: `lab/104`, `lab/alder`, `lab/nas:backup/vzdump-qemu-104-….vma.zst`.
fn of_address(member: &ClusterKey, rest: &str) -> Vec<Touched> {
    if let Ok(vmid) = rest.parse::<VmId>() {
        return vec![Touched::guest(member, vmid, None)];
    }
    if let Some((storage, volume)) = rest.split_once(':') {
        let owner = owner_of(volume).and_then(|id| id.parse::<VmId>().ok());
        let owner = owner.map(|vmid| Touched::guest(member, vmid, None));
        let storage = Touched::of(member, TargetKind::Storage, storage);
        return owner.into_iter().chain([storage]).collect();
    }
    vec![Touched::of(member, TargetKind::Cluster, "")]
}

/// The guest whose disk or backup a volume is, by its name.
fn owner_of(volume: &str) -> Option<String> {
    let volume = volume.split_once(':').map_or(volume, |(_, name)| name);
    let parts: Vec<&str> = volume.split('/').collect();
    if let ["backup", "vm" | "ct", id, ..] = parts.as_slice() {
        return Some((*id).to_owned());
    }
    let is_id = |text: &str| text.len() >= 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    // `104/vm-104-disk-0.qcow2`, `vm-104-disk-0`, `base-900-disk-0/vm-104-disk-0`.
    let name = parts.last()?;
    let words: Vec<&str> = name.split(['-', '.']).collect();
    match words.as_slice() {
        ["vm" | "base" | "subvol" | "basevol", id, ..]
        | ["vzdump", "qemu" | "lxc" | "openvz", id, ..]
            if is_id(id) =>
        {
            Some((*id).to_owned())
        }
        _ => None,
    }
}

/// The decoded segments of an escaped path.
fn segments(path: &str) -> Vec<String> {
    let path = path.strip_prefix("/api2/json").unwrap_or(path);
    path.split('/').filter(|segment| !segment.is_empty()).map(decoded).collect()
}

fn decoded(segment: &str) -> String {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = after.get(..2).filter(|_| *first == b'%');
        let value = escaped.and_then(|two| {
            let two = std::str::from_utf8(two).ok()?;
            u8::from_str_radix(two, 16).ok()
        });
        match value {
            Some(value) => {
                bytes.push(value);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn list(value: Option<&str>) -> impl Iterator<Item = &str> {
    value.unwrap_or_default().split([',', ';', ' ']).filter(|part| !part.is_empty())
}

// === impl Touched ===

impl Touched {
    fn of(member: &ClusterKey, kind: TargetKind, name: &str) -> Self {
        let (member, name) = (member.clone(), name.to_owned());
        let kind = if name.is_empty() { TargetKind::Cluster } else { kind };
        Self { member, kind, name, vmid: None, pool: None }
    }

    fn guest(member: &ClusterKey, vmid: VmId, pool: Option<&str>) -> Self {
        let pool = pool.map(str::to_owned).filter(|pool| !pool.is_empty());
        let (member, name) = (member.clone(), vmid.to_string());
        Self { member, kind: TargetKind::Guest, name, vmid: Some(vmid), pool }
    }

    /// Whether more is to be known of it than it says itself.
    pub(super) fn needs_reading(&self) -> bool {
        matches!(self.kind, TargetKind::Guest | TargetKind::Node)
    }

    /// It, with what it says itself.
    pub(super) fn bare(&self) -> Target {
        let address = match self.name.as_str() {
            "" => self.member.to_string(),
            name => format!("{}/{name}", self.member),
        };
        Target {
            node: (self.kind == TargetKind::Node).then(|| self.name.clone()),
            vmid: self.vmid.map(VmId::get),
            pool: self.pool.clone(),
            ..Target::new(self.kind, self.member.as_str(), address)
        }
    }
}
