//! Finds what an argument means, and never guesses.
//!
//! A guest is `cluster/vmid`; a bare id or a name is taken when exactly one guest of the estate
//! fits. Several are an error that lists them. A change by bare id is refused while any cluster is
//! silent, because the one that is silent may hold the same id.

use std::sync::Arc;

use estate::{NodeName, VmId};

use crate::{
    error::ToolError,
    fleet::{Fleet, GATHER_DEADLINE, Gathered, Pve},
    report::{Cell, Table},
    sight,
    view::{Guest, Node, View},
};

/// What the address is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Only to look.
    Read,
    /// To change something.
    Write,
}

/// A guest that was found.
#[derive(Clone)]
pub struct FoundGuest {
    /// Its cluster.
    pub member: Arc<Pve>,
    /// What its cluster says of it now.
    pub guest: Guest,
    /// What the answer should add: a cluster that was silent while a bare id was looked for.
    pub notes: Vec<String>,
}

/// A node that was found.
#[derive(Clone)]
pub struct FoundNode {
    /// Its cluster.
    pub member: Arc<Pve>,
    /// What its cluster says of it now.
    pub node: Node,
}

impl Fleet {
    /// The guest that `text` means: `cluster/vmid`, `cluster/name`, or an id or name that only one
    /// guest of the estate has.
    pub async fn find_guest(&self, text: &str, purpose: Purpose) -> Result<FoundGuest, ToolError> {
        let text = text.trim();
        let (cluster, wanted) = match text.split_once('/') {
            Some((cluster, wanted)) => (Some(cluster), wanted),
            None => (None, text),
        };
        let members = self.pve(cluster)?;
        let gathered = self.gather(members, GATHER_DEADLINE, View::load).await;
        let found = matching(&gathered, |guest| is_meant(guest, wanted));
        if cluster.is_none() && purpose == Purpose::Write && gathered.is_partial() {
            return Err(silent(&gathered, text));
        }
        match found.as_slice() {
            [(member, guest)] => {
                let notes = gathered.unreachable.iter().map(|part| {
                    format!("{} was silent and could hold another {wanted:?}", part.what)
                });
                Ok(FoundGuest {
                    member: Arc::clone(member),
                    guest: (*guest).clone(),
                    notes: notes.collect(),
                })
            }
            [] => {
                let mut error = no_such_guest(&gathered, text);
                for (member, _) in &gathered.answers {
                    let held = sight::of_pve(member, self.now()).await;
                    let key = member.key.as_str();
                    let report = error.into_report();
                    let report = sight::tell(report, key, held.as_deref(), &["guests"]);
                    error = ToolError::from_report(report);
                }
                Err(error)
            }
            several => Err(ambiguous_guest(several, text)),
        }
    }

    /// The node that `name` means, in `cluster` or wherever only one has it.
    pub async fn find_node(
        &self,
        cluster: Option<&str>,
        name: &str,
    ) -> Result<FoundNode, ToolError> {
        // `cluster/node` is how answers print a node, so it is taken as well.
        let (cluster, name) = match (cluster, name.split_once('/')) {
            (None, Some((cluster, name))) => (Some(cluster), name),
            _ => (cluster, name),
        };
        let gathered = self.gather(self.pve(cluster)?, GATHER_DEADLINE, View::load).await;
        let views = gathered.answers.iter().map(|(member, view)| (member, view));
        node_among(views, name).map_err(|error| error.with_silence(&gathered))
    }

    /// The node as a path segment, if the argument is given.
    pub async fn find_opt_node(
        &self,
        cluster: Option<&str>,
        name: Option<&str>,
    ) -> Result<Option<FoundNode>, ToolError> {
        match name {
            Some(name) => Ok(Some(self.find_node(cluster, name).await?)),
            None => Ok(None),
        }
    }
}

// === impl FoundNode ===

impl FoundNode {
    /// The name.
    pub fn name(&self) -> &NodeName {
        &self.node.name
    }
}

/// The node called `name` among the clusters that answered.
///
/// # Errors
/// There is none, or there are several; the error lists what to choose from.
pub fn node_among<'a>(
    views: impl Iterator<Item = (&'a Arc<Pve>, &'a View)> + Clone,
    name: &str,
) -> Result<FoundNode, ToolError> {
    let all = views.flat_map(|(member, view)| view.nodes.iter().map(move |node| (member, node)));
    let found: Vec<_> = all.clone().filter(|(_, node)| node.name == *name).collect();
    let list = |nodes: &[(&Arc<Pve>, &Node)]| {
        let mut table = Table::new("nodes", &["node", "status"]);
        for (member, node) in nodes {
            let at = format!("{}/{}", member.key, node.name);
            table.push(vec![Cell::text(at), Cell::text(&*node.status)]);
        }
        table
    };
    match found.as_slice() {
        [(member, node)] => Ok(FoundNode { member: Arc::clone(member), node: (*node).clone() }),
        [] => {
            let all: Vec<_> = all.collect();
            Err(ToolError::new(format!("no node is called {}", quoted(name))).choices(list(&all)))
        }
        several => {
            let count = several.len();
            Err(ToolError::new(format!("node {} is in {count} clusters", quoted(name)))
                .hint("name one as cluster/node, or give cluster")
                .choices(list(several)))
        }
    }
}

fn matching(
    gathered: &Gathered<Pve, View>,
    is_meant: impl Fn(&Guest) -> bool,
) -> Vec<(&Arc<Pve>, &Guest)> {
    let mut found = Vec::new();
    for (member, view) in &gathered.answers {
        found.extend(view.guests.iter().filter(|g| is_meant(g)).map(|guest| (member, guest)));
    }
    found
}

/// A number is an id, never a name, even if a guest is named so.
fn is_meant(guest: &Guest, wanted: &str) -> bool {
    match wanted.parse::<VmId>() {
        Ok(vmid) => guest.at.vmid == vmid,
        Err(_) => guest.name.eq_ignore_ascii_case(wanted),
    }
}

fn silent(gathered: &Gathered<Pve, View>, text: &str) -> ToolError {
    let mut who: Vec<String> = gathered.unreachable.iter().map(|part| part.what.clone()).collect();
    who.extend(gathered.refused.iter().map(|(key, _)| key.to_string()));
    let error = ToolError::new(format!(
        "{} is not changed by its bare name while {} cannot be asked: it could be there too",
        quoted(text),
        who.join(", ")
    ));
    error.hint("address the guest as cluster/vmid").with_silence(gathered)
}

fn no_such_guest(gathered: &Gathered<Pve, View>, text: &str) -> ToolError {
    let asked: Vec<_> = gathered.answers.iter().map(|(member, _)| member.key.as_str()).collect();
    let error = ToolError::new(if asked.is_empty() {
        format!("guest {} cannot be looked for: no cluster answered", quoted(text))
    } else {
        format!("no guest {} in {}, as far as the token sees", quoted(text), asked.join(", "))
    });
    let error = error.next("guests_list", serde_json::Map::new());
    error.with_silence(gathered)
}

fn ambiguous_guest(several: &[(&Arc<Pve>, &Guest)], text: &str) -> ToolError {
    let mut table = Table::new("guests", &["guest", "name", "status"]);
    for (_, guest) in several {
        table.push(vec![
            Cell::text(guest.at.to_string()),
            Cell::text(&*guest.name),
            Cell::text(guest.status.as_str()),
        ]);
    }
    ToolError::new(format!("{} fits {} guests", quoted(text), several.len()))
        .hint("name one as cluster/vmid")
        .choices(table)
}

/// The caller's own words, short and clean.
pub(crate) fn quoted(text: &str) -> String {
    let text = stdx::untrusted::line(text, 60);
    format!("`{text}`")
}
