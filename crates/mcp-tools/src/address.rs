//! Finds what an argument means, and never guesses.
//!
//! A guest is `cluster/vmid`; a bare id or a name is taken when exactly one guest of the estate
//! fits. Several are an error that lists them. A change by bare id is refused while any cluster is
//! silent, because the one that is silent may hold the same id.

use std::{collections::BTreeSet, sync::Arc};

use estate::{NodeName, VmId};

use crate::{
    error::{Kind, ToolError},
    fleet::{Fleet, GATHER_DEADLINE, Gathered, Member, Pve},
    report::{Cell, Report, Table, Unreachable},
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

/// How a caller can say which of several is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// The address takes its cluster: `lab/104`.
    Address,
    /// The address is a number, and the cluster an argument of its own.
    Argument,
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
    /// Who was silent while a bare name was looked for.
    pub unreachable: Vec<Unreachable>,
    /// What the answer should add: that those who were silent could have such a node, too.
    pub notes: Vec<String>,
}

impl Fleet {
    /// The guest that `text` means: `cluster/vmid`, `cluster/name`, or an id or name that only one
    /// guest of the estate has.
    pub async fn find_guest(&self, text: &str, purpose: Purpose) -> Result<FoundGuest, ToolError> {
        self.find_guest_as(text, purpose, Advice::Address).await
    }

    /// As [`Fleet::find_guest`], with the words that help this caller.
    pub async fn find_guest_as(
        &self,
        text: &str,
        purpose: Purpose,
        advice: Advice,
    ) -> Result<FoundGuest, ToolError> {
        let text = text.trim();
        let (cluster, wanted) = match text.split_once('/') {
            Some((cluster, wanted)) => (Some(cluster.trim()), wanted.trim()),
            None => (None, text),
        };
        if wanted.is_empty() {
            return Err(ToolError::new("no guest is named: `guest` is empty")
                .hint("address it as cluster/vmid; guests_list shows them"));
        }
        let members = self.pve(cluster)?;
        let gathered = self.gather(members, GATHER_DEADLINE, View::load).await;
        let found = matching(&gathered, |guest| is_meant(guest, wanted));
        if cluster.is_none() && purpose == Purpose::Write && gathered.is_partial() {
            let hint = match advice {
                Advice::Address => "address the guest as cluster/vmid".to_owned(),
                Advice::Argument => give_cluster(found.iter().map(|(member, _)| *member)),
            };
            return Err(silent(&gathered, text).hint(hint).with_silence(&gathered));
        }
        match found.as_slice() {
            [(member, guest)] => {
                let notes = gathered.unreachable.iter().map(|part| {
                    format!("{} was silent and could hold another {wanted:?}", part.what)
                });
                let refused = gathered.refused.iter().map(|(key, why)| {
                    format!("{key} did not say and could hold another {wanted:?}: {why}")
                });
                Ok(FoundGuest {
                    member: Arc::clone(member),
                    guest: (*guest).clone(),
                    notes: notes.chain(refused).collect(),
                })
            }
            [] => {
                let mut error = no_such_guest(&gathered, text);
                for (member, _) in &gathered.answers {
                    let held = sight::of_pve(member, self.now()).await;
                    let key = member.key.as_str();
                    error =
                        error.map(|report| sight::tell(report, key, held.as_deref(), &["guests"]));
                }
                Err(error)
            }
            several => {
                let hint = match advice {
                    Advice::Address => "name one as cluster/vmid".to_owned(),
                    Advice::Argument => give_cluster(several.iter().map(|(member, _)| *member)),
                };
                Err(ambiguous_guest(several, text).hint(hint).with_silence(&gathered))
            }
        }
    }

    /// The node that `name` means, in `cluster` or wherever only one has it.
    pub async fn find_node(
        &self,
        cluster: Option<&str>,
        name: &str,
        purpose: Purpose,
    ) -> Result<FoundNode, ToolError> {
        let name = name.trim();
        // `cluster/node` is how answers print a node, so it is taken as well.
        let (cluster, name) = match (cluster, name.split_once('/')) {
            (None, Some((cluster, name))) => (Some(cluster), name),
            _ => (cluster, name),
        };
        let gathered = self.gather(self.pve(cluster)?, GATHER_DEADLINE, View::load).await;
        let found = node_among(&gathered, |view| view, name)?;
        if cluster.is_none() && purpose == Purpose::Write && gathered.is_partial() {
            let hint = give_cluster(std::iter::once(&found.member));
            return Err(silent(&gathered, name).hint(hint).with_silence(&gathered));
        }
        Ok(found)
    }

    /// The node, if the argument is given; an empty one is not.
    pub async fn find_opt_node(
        &self,
        cluster: Option<&str>,
        name: Option<&str>,
        purpose: Purpose,
    ) -> Result<Option<FoundNode>, ToolError> {
        match name.filter(|name| !name.trim().is_empty()) {
            Some(name) => Ok(Some(self.find_node(cluster, name, purpose).await?)),
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

    /// Says who was silent while it was looked for.
    pub fn tell(&self, mut report: Report) -> Report {
        report.unreachable.extend(self.unreachable.iter().cloned());
        report.notes.extend(self.notes.iter().cloned());
        report
    }
}

/// The node called `name` among the clusters that answered; `view` takes a cluster's rows out of
/// its answer.
///
/// # Errors
/// There is none, or there are several; the error lists what to choose from.
pub fn node_among<T>(
    gathered: &Gathered<Pve, T>,
    view: impl Fn(&T) -> &View,
    name: &str,
) -> Result<FoundNode, ToolError> {
    if name.is_empty() {
        return Err(ToolError::new("no node is named: `node` is empty")
            .hint("nodes_list shows their names"));
    }
    let views = gathered.answers.iter().map(|(member, answer)| (member, view(answer)));
    let all = views.flat_map(|(member, view)| view.nodes.iter().map(move |node| (member, node)));
    let all: Vec<(&Arc<Pve>, &Node)> = all.collect();
    let found: Vec<_> = all.iter().copied().filter(|(_, node)| node.name == *name).collect();
    let list = |nodes: &[(&Arc<Pve>, &Node)]| {
        let mut table = Table::new("nodes", &["node", "status"]);
        for (member, node) in nodes {
            let at = format!("{}/{}", member.key, node.name);
            table.push(vec![Cell::text(at), Cell::text(&*node.status)]);
        }
        table
    };
    let error = match found.as_slice() {
        [(member, node)] => {
            let silent = gathered.unreachable.iter().map(|part| part.what.clone());
            let silent =
                silent.map(|what| format!("{what} was silent and could have a {name}, too"));
            let refused = gathered
                .refused
                .iter()
                .map(|(key, why)| format!("{key} did not say and could have a {name}, too: {why}"));
            return Ok(FoundNode {
                member: Arc::clone(member),
                node: (*node).clone(),
                unreachable: gathered.unreachable.clone(),
                notes: silent.chain(refused).collect(),
            });
        }
        [] => not_found(gathered, &format!("node {}", quoted(name)), || {
            format!("no node is called {}", quoted(name))
        })
        .choices(list(&all)),
        several => {
            let count = several.len();
            ToolError::new(format!("node {} is in {count} clusters", quoted(name)))
                .of_kind(Kind::Ambiguous)
                .hint(give_cluster(several.iter().map(|(member, _)| *member)))
                .choices(list(several))
        }
    };
    Err(error.with_silence(gathered))
}

/// That something is not there, as far as that is known: `absent` where all answered.
pub(crate) fn not_found<M: Member, T>(
    gathered: &Gathered<M, T>,
    what: &str,
    absent: impl FnOnce() -> String,
) -> ToolError {
    let asked = gathered.answers.iter().map(|(member, _)| member.key().as_str());
    not_found_in(asked, gathered.is_partial(), what, absent)
}

/// As [`not_found`], where `asked` answered.
pub(crate) fn not_found_in<'a>(
    asked: impl Iterator<Item = &'a str>,
    is_partial: bool,
    what: &str,
    absent: impl FnOnce() -> String,
) -> ToolError {
    if !is_partial {
        return ToolError::not_found(absent());
    }
    let asked: Vec<_> = asked.collect();
    let error = ToolError::new(if asked.is_empty() {
        format!("{what} cannot be looked for: {}", sight::NOBODY)
    } else {
        format!("{what} is not found in what answered ({})", asked.join(", "))
    });
    error.of_kind(Kind::Unavailable)
}

/// `give cluster=lab or cluster=edge`
pub(crate) fn give_cluster<'a>(members: impl Iterator<Item = &'a Arc<Pve>>) -> String {
    let members = members.map(|member| format!("cluster={}", member.key)).collect::<BTreeSet<_>>();
    let members = members.into_iter().collect::<Vec<_>>().join(" or ");
    if members.is_empty() { "give cluster".to_owned() } else { format!("give {members}") }
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
    ToolError::new(format!(
        "nothing is changed by the bare name {} while {} cannot be asked: it could be there too",
        quoted(text),
        who.join(", ")
    ))
    .of_kind(Kind::Unavailable)
}

fn no_such_guest(gathered: &Gathered<Pve, View>, text: &str) -> ToolError {
    let asked: Vec<_> = gathered.answers.iter().map(|(member, _)| member.key.as_str()).collect();
    let error = not_found(gathered, &format!("guest {}", quoted(text)), || {
        if asked.is_empty() {
            return format!("no guest {}: the settings have no PVE cluster", quoted(text));
        }
        format!("no guest {} in {}, as far as the token sees", quoted(text), asked.join(", "))
    });
    error.next("guests_list", serde_json::Map::new()).with_silence(gathered)
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
        .of_kind(Kind::Ambiguous)
        .choices(table)
}

/// The caller's own words, short and clean.
pub(crate) fn quoted(text: &str) -> String {
    let text = stdx::untrusted::line(text, 60);
    format!("`{}`", text.replace('`', "'"))
}
