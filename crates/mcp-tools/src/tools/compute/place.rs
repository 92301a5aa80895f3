//! Where a new guest goes: cluster, node, storage and id. What is not said is chosen, and told.

use std::{cmp::Reverse, sync::Arc};

use estate::{NodeName, StorageName, VmId};
use pve_client::cluster;
use serde_json::json;

use crate::{
    address::{Purpose, give_cluster, quoted},
    error::{Kind, ToolError},
    fleet::Pve,
    permissions::Permissions,
    report::{Cell, Report, Table, bytes},
    sight,
    tool::Cx,
    tools::power::{named, object},
    view::{Node, Storage, View},
};

/// The cluster in which something is made, as it is now.
pub(super) struct Site {
    /// The cluster.
    pub(super) member: Arc<Pve>,
    /// Its resources.
    pub(super) view: View,
    /// What the token may do, if that can be read.
    pub(super) held: Option<Arc<Permissions>>,
    /// The node that was named.
    pub(super) named: Option<NodeName>,
    /// What the answer should add.
    pub(super) notes: Vec<String>,
}

/// Privileges that calls need, to be checked together: a refusal that names them all saves the
/// rounds that would bring one after the other to light.
#[derive(Default)]
pub(super) struct Rights(Vec<(Vec<String>, &'static str)>);

// === impl Site ===

impl Site {
    /// The cluster that the arguments mean: the named one, the one that has the named node, or the
    /// only one there is.
    pub(super) async fn find(
        cx: &Cx,
        cluster: Option<&str>,
        node: Option<&str>,
    ) -> Result<Self, ToolError> {
        let node = node.map(str::trim).filter(|node| !node.is_empty());
        let (cluster, node) = match (cluster, node.and_then(|node| node.split_once('/'))) {
            (None, Some((cluster, node))) => (Some(cluster), Some(node)),
            _ => (cluster, node),
        };
        if let (None, Some(name)) = (cluster, node) {
            let found = cx.fleet.find_node(None, name, Purpose::Write).await?;
            let mut site = Self::of(cx, found.member).await?;
            site.named = Some(found.node.name);
            site.notes = found.notes;
            return Ok(site);
        }
        let members = cx.fleet.pve(cluster)?;
        let member = match members.as_slice() {
            [one] => Arc::clone(one),
            [] => {
                return Err(ToolError::new("the settings have no PVE cluster to make it in"));
            }
            several => {
                let mut table = Table::new("clusters", &["cluster"]);
                for member in several {
                    table.push(vec![Cell::text(member.key.as_str())]);
                }
                let count = several.len();
                return Err(ToolError::new(format!("{count} clusters could have it"))
                    .of_kind(Kind::Ambiguous)
                    .hint(give_cluster(several.iter()))
                    .choices(table));
            }
        };
        let mut site = Self::of(cx, member).await?;
        if let Some(name) = node {
            let found = site.view.nodes.iter().find(|node| node.name == *name);
            let Some(found) = found else { return Err(site.no_node(name)) };
            site.named = Some(found.name.clone());
        }
        Ok(site)
    }

    /// The cluster of something that was found already.
    pub(super) async fn of(cx: &Cx, member: Arc<Pve>) -> Result<Self, ToolError> {
        let (view, held) = futures::join!(
            View::load(Arc::clone(&member)),
            sight::of_pve_operator(&member, cx.now())
        );
        let view =
            view.map_err(|error| ToolError::api(format!("read what {} has", member.key), &error))?;
        Ok(Self { member, view, held, named: None, notes: Vec::new() })
    }

    fn no_node(&self, name: &str) -> ToolError {
        let key = &self.member.key;
        let mut table = Table::new("nodes", &["node", "status"]);
        for node in &self.view.nodes {
            table.push(vec![Cell::text(node.name.as_str()), Cell::text(&*node.status)]);
        }
        ToolError::not_found(format!("{key} has no node {}", quoted(name))).choices(table)
    }

    /// The nodes that could take it, the one with the most free memory first.
    pub(super) fn nodes(&self) -> Result<Vec<&Node>, ToolError> {
        let key = &self.member.key;
        let wanted = |node: &&Node| self.named.as_ref().is_none_or(|name| node.name == *name);
        let mut nodes: Vec<&Node> =
            self.view.nodes.iter().filter(wanted).filter(|node| node.is_online()).collect();
        if nodes.is_empty() {
            let what = match &self.named {
                Some(name) => format!("node {key}/{name} does not answer"),
                None => format!("no node of {key} answers"),
            };
            let error = ToolError::new(format!("{what}: nothing can be made there"));
            let error = error.of_kind(Kind::Unavailable);
            return Err(error.next("nodes_list", object(json!({"cluster": key.as_str()}))));
        }
        nodes.sort_by_key(|node| (Reverse(free_memory(node)), node.name.clone()));
        Ok(nodes)
    }

    /// The storage on `node` for `content` with room for `need` bytes: the named one, or the one
    /// with the most room.
    pub(super) fn storage(
        &self,
        node: &NodeName,
        content: &str,
        wanted: Option<&str>,
        need: u64,
    ) -> Result<&Storage, ToolError> {
        let wanted = wanted.map(|name| self.bare(name));
        let holds = |storage: &&Storage| storage.content.iter().any(|kind| kind == content);
        let here = || self.view.storages.iter().filter(|storage| storage.node == *node);
        let at = format!("{}/{node}", self.member.key);
        if let Some(name) = wanted {
            let found = here().find(|storage| storage.name == *name);
            let Some(found) = found else {
                return Err(self.elsewhere(name, node));
            };
            let what = format!("storage {name} on {at}");
            if !holds(&found) {
                let kinds = found.content.join(", ");
                return Err(ToolError::new(format!(
                    "{what} does not hold {}: it holds {kinds}",
                    content_words(content)
                ))
                .choices(table_of(here().filter(holds))));
            }
            if !found.is_available() {
                return Err(ToolError::new(format!("{what} is {}", found.status))
                    .of_kind(Kind::Unavailable));
            }
            if room(found) < need {
                return Err(no_room(&what, room(found), need)
                    .choices(table_of(here().filter(holds).filter(|other| room(other) >= need))));
            }
            return Ok(found);
        }
        let mut fit: Vec<&Storage> =
            here().filter(holds).filter(|storage| storage.is_available()).collect();
        fit.sort_by_key(|storage| (Reverse(room(storage)), storage.name.clone()));
        match fit.first() {
            None => {
                Err(ToolError::new(format!("no storage on {at} holds {}", content_words(content)))
                    .hint(enable(content)))
            }
            Some(best) if room(best) < need => Err(no_room(
                &format!("the emptiest storage on {at}, {},", best.name),
                room(best),
                need,
            )
            .choices(table_of(fit.iter().copied()))),
            Some(best) => Ok(best),
        }
    }

    /// The storage's name without the cluster before it.
    fn bare<'a>(&self, name: &'a str) -> &'a str {
        match name.split_once('/') {
            Some((cluster, name)) if cluster == self.member.key.as_str() => name,
            _ => name,
        }
    }

    fn elsewhere(&self, name: &str, node: &NodeName) -> ToolError {
        let others: Vec<&str> = self
            .view
            .storages
            .iter()
            .filter(|storage| storage.name == *name)
            .map(|storage| storage.node.as_str())
            .collect();
        let here = self.view.storages.iter().filter(|storage| storage.node == *node);
        let at = format!("{}/{node}", self.member.key);
        let error = ToolError::not_found(format!("{at} has no storage {}", quoted(name)));
        let error = error.choices(table_of(here));
        if others.is_empty() {
            error
        } else {
            error.hint(format!("it is on {}", others.join(", ")))
        }
    }

    /// The id for a new guest: the wanted one if it is free, or the lowest free one.
    pub(super) async fn vmid(&self, wanted: Option<u32>) -> Result<VmId, ToolError> {
        let key = &self.member.key;
        let wanted = match wanted {
            Some(id) => Some(VmId::try_new(id).map_err(|error| ToolError::new(error.to_string()))?),
            None => None,
        };
        let taken = |id: VmId| self.view.guests.iter().find(|guest| guest.at.vmid == id);
        if let Some(id) = wanted
            && let Some(guest) = taken(id)
        {
            let name = named(guest);
            return Err(ToolError::new(format!("id {id} is in use: {name}"))
                .hint("leave vmid out: the lowest free one is taken then"));
        }
        match self.member.client.call(cluster::next_id(wanted)).await {
            Ok(id) => Ok(id),
            // The token may not see the guest that has it.
            Err(error) if wanted.is_some() && error.kind() == api_core::ErrorKind::Parameter => {
                let id = wanted.map(|id| id.to_string()).unwrap_or_default();
                Err(ToolError::new(format!("id {id} is in use in {key}"))
                    .hint("leave vmid out: the lowest free one is taken then"))
            }
            Err(error) => Err(ToolError::api(format!("find a free id in {key}"), &error)),
        }
    }

    /// Checks that no guest has the name yet: everything here finds guests by their names, too.
    pub(super) fn name_is_free(&self, name: &str) -> Result<(), ToolError> {
        let found = self.view.guests.iter().find(|guest| guest.name.eq_ignore_ascii_case(name));
        let Some(guest) = found else { return Ok(()) };
        Err(ToolError::new(format!("{} is called {} already", guest.at, quoted(name)))
            .hint("choose another name: two guests of one name cannot be told apart by it")
            .next("guest_get", object(json!({"guest": guest.at.to_string()}))))
    }

    /// Checks that the pool exists, as far as the token sees pools.
    pub(super) fn pool(&self, pool: Option<&str>) -> Result<(), ToolError> {
        let Some(pool) = pool else { return Ok(()) };
        let known = &self.view.pools;
        if known.is_empty() || known.iter().any(|name| name == pool) {
            return Ok(());
        }
        let key = &self.member.key;
        Err(ToolError::not_found(format!("{key} has no pool {}", quoted(pool)))
            .hint(format!("its pools: {}", known.join(", "))))
    }
}

/// Bytes of memory that nothing uses just now.
pub(super) fn free_memory(node: &Node) -> u64 {
    node.max_mem.saturating_sub(node.mem)
}

/// Bytes that are left on a storage; one without figures is taken to have none.
pub(super) fn room(storage: &Storage) -> u64 {
    storage.size.saturating_sub(storage.used)
}

/// A node without a storage that does is passed over, so the reason is worth its words.
pub(super) fn content_words(content: &str) -> &'static str {
    match content {
        "images" => "disks of virtual machines (content images)",
        "rootdir" => "volumes of containers (content rootdir)",
        "import" => "images to import (content import)",
        "iso" => "installation media (content iso)",
        "vztmpl" => "templates of containers (content vztmpl)",
        _ => "that",
    }
}

fn enable(content: &str) -> String {
    let more = if content == "import" { "; import needs Proxmox VE 8.4 or newer" } else { "" };
    format!(
        "an administrator turns it on for a storage of files: Datacenter > Storage > Edit > Content, \
         or `pvesm set STORAGE --content …,{content}`{more}"
    )
}

fn no_room(what: &str, room: u64, need: u64) -> ToolError {
    ToolError::new(format!(
        "{what} has no room: {} are needed and {} are left",
        bytes(need),
        bytes(room)
    ))
    .hint("name another storage, or make room first")
}

fn table_of<'a>(storages: impl Iterator<Item = &'a Storage>) -> Table {
    let mut table = Table::new("storages", &["storage", "type", "free", "content"]);
    for storage in storages {
        table.push(vec![
            Cell::text(storage.name.as_str()),
            Cell::text(&*storage.plugin),
            Cell::bytes(room(storage)),
            Cell::words(&storage.content),
        ]);
    }
    table
}

// === impl Rights ===

impl Rights {
    /// Needs `privilege` on any one of `paths`.
    pub(super) fn need<P: Into<String>>(
        &mut self,
        paths: impl IntoIterator<Item = P>,
        privilege: &'static str,
    ) {
        self.0.push((paths.into_iter().map(Into::into).collect(), privilege));
    }

    /// Needs `privilege` on a guest that is made, or on the pool that takes it.
    pub(super) fn on_guest(&mut self, vmid: VmId, pool: Option<&str>, privilege: &'static str) {
        let pool = pool.map(|pool| format!("/pool/{pool}"));
        self.need(std::iter::once(format!("/vms/{vmid}")).chain(pool), privilege);
    }

    /// Needs to put disks on a storage.
    pub(super) fn on_storage(&mut self, storage: &StorageName) {
        self.need([format!("/storage/{storage}")], "Datastore.AllocateSpace");
    }

    /// Needs to use a bridge.
    pub(super) fn on_bridge(&mut self, bridge: &str, vlan: Option<u16>) {
        let path = match vlan {
            Some(tag) => format!("/sdn/zones/localnet/{bridge}/{tag}"),
            None => format!("/sdn/zones/localnet/{bridge}"),
        };
        // A virtual network of the cluster stands in its own zone, whose name is not known here.
        if bridge.starts_with("vmbr") {
            self.need([path], "SDN.Use");
        }
    }

    /// Refuses, naming all that is missing. Says nothing where the permissions cannot be read: the
    /// server decides then.
    pub(super) fn check(self, what: &str, site: &Site) -> Result<(), ToolError> {
        let Some(held) = site.held.as_deref() else { return Ok(()) };
        let mut missing: Vec<String> = self
            .0
            .iter()
            .filter(|(paths, privilege)| !paths.iter().any(|path| held.has(path, privilege)))
            .map(|(paths, privilege)| format!("{privilege} on {}", paths.join(" or ")))
            .collect();
        missing.dedup();
        if missing.is_empty() {
            return Ok(());
        }
        let key = &site.member.key;
        let report = Report::new(format!(
            "{what} was not tried: the token of {key} lacks {}",
            missing.join(", ")
        ));
        Err(ToolError::from_report(report.fact("error", "permission_denied").fact("status", "refused"))
            .hint("grant them to the token and, if its privileges are separated, to its user: docs/guide/guests.md has a role to paste"))
    }
}

/// A name that PVE and the network take: letters, digits, hyphens, dots between labels.
pub(super) fn check_name(name: &str) -> Result<(), ToolError> {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() <= 253 && name.split('.').all(is_label) {
        return Ok(());
    }
    Err(ToolError::new(format!("{} cannot name a guest", quoted(name)))
        .hint("use letters, digits and hyphens, with dots between labels: web-04"))
}

/// Tags as PVE keeps them, from words with commas, semicolons or blanks between.
pub(super) fn tags(text: Option<&str>) -> Result<Option<String>, ToolError> {
    let Some(text) = text else { return Ok(None) };
    let words: Vec<String> = text
        .split([',', ';', ' '])
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    let is_tag = |word: &String| {
        let mut bytes = word.bytes();
        bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_-+.".contains(&byte))
    };
    match words.iter().find(|word| !is_tag(word)) {
        Some(wrong) => Err(ToolError::new(format!("{} cannot be a tag", quoted(wrong)))
            .hint("use letters, digits, _, -, + and .")),
        None => Ok((!words.is_empty()).then(|| words.join(";"))),
    }
}

/// The bridge of a network device.
pub(super) fn check_bridge(bridge: &str) -> Result<(), ToolError> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !bridge.is_empty() && bridge.len() <= 15 && bridge.bytes().all(is_name) {
        return Ok(());
    }
    Err(ToolError::new(format!("{} is no bridge", quoted(bridge)))
        .hint("network_list shows the bridges of a node"))
}

/// `lab/birch`, as answers print a node.
pub(super) fn node_at(site: &Site, node: &NodeName) -> String {
    format!("{}/{node}", site.member.key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_tags_follow_the_rules() {
        for good in ["a", "web-04", "db.example.org", "9lives"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for wrong in ["", "-a", "a-", "a_b", "a b", "a..b", "é", "a/b", "a,b", &"x".repeat(64)] {
            assert!(check_name(wrong).is_err(), "{wrong}");
        }
        assert_eq!(tags(Some("Web, prod;a+b")).unwrap().as_deref(), Some("web;prod;a+b"));
        assert_eq!(tags(Some(" ")).unwrap(), None);
        assert!(tags(Some("ok,-no")).is_err());
        assert!(check_bridge("vmbr0.5").is_ok() && check_bridge("vmbr0,tag=1").is_err());
    }
}
