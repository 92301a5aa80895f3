//! Which storage is meant, and on which node it is worked with.

use std::sync::Arc;

use estate::StorageName;
use serde_json::json;

use crate::{
    address::{Purpose, give_cluster, not_found, quoted},
    error::{Kind, ToolError},
    fleet::{GATHER_DEADLINE, Gathered, Pve},
    permissions::Permissions,
    report::{Cell, Report, Table, Unreachable},
    sight,
    tool::Cx,
    tools::power::object,
    view::{Storage, View},
};

/// A storage that was found.
pub(super) struct Spot {
    /// The cluster that has it.
    pub(super) member: Arc<Pve>,
    /// The cluster's resources.
    pub(super) view: View,
    /// Its name.
    pub(super) name: StorageName,
    /// One row for each node that has it, or only that of the node that was named.
    pub(super) rows: Vec<Storage>,
    /// What the token for reads may do, if that can be read.
    pub(super) held: Option<Arc<Permissions>>,
    /// Who was silent while it was looked for.
    pub(super) unreachable: Vec<Unreachable>,
}

/// Splits `cluster/name`, as answers print it, where no cluster is given beside.
fn split<'a>(cluster: Option<&'a str>, text: &'a str) -> (Option<&'a str>, &'a str) {
    let text = text.trim();
    match (cluster, text.split_once('/')) {
        (None, Some((cluster, name))) => (Some(cluster), name),
        (Some(key), Some((cluster, name))) if key == cluster => (Some(key), name),
        _ => (cluster, text),
    }
}

// === impl Spot ===

impl Spot {
    /// Finds the only storage of that name.
    pub(super) async fn find(
        cx: &Cx,
        cluster: Option<&str>,
        storage: &str,
        node: Option<&str>,
        purpose: Purpose,
    ) -> Result<Self, ToolError> {
        let cluster = cluster.map(str::trim).filter(|text| !text.is_empty());
        let (cluster, name) = split(cluster, storage);
        let node = node.map(str::trim).filter(|node| !node.is_empty());
        let (cluster, node) = match node {
            Some(node) => {
                let (cluster, node) = split(cluster, node);
                (cluster, Some(node))
            }
            None => (cluster, None),
        };
        let members = cx.fleet.pve(cluster)?;
        let gathered = cx.fleet.gather(members, GATHER_DEADLINE, View::load).await;
        if let Some(node) = node {
            crate::address::node_among(&gathered, |view| view, node)?;
        }
        let mut found: Vec<&(Arc<Pve>, View)> = gathered
            .answers
            .iter()
            .filter(|(_, view)| {
                view.storages
                    .iter()
                    .any(|row| row.name == *name && node.is_none_or(|node| row.node == *node))
            })
            .collect();
        if found.len() > 1 {
            return Err(several(&found, name).with_silence(&gathered));
        }
        let Some((member, view)) = found.pop() else {
            return Err(missing(&gathered, name, node));
        };
        if purpose == Purpose::Write && cluster.is_none() && gathered.is_partial() {
            let lead = format!(
                "{} has a storage {}, and so could who does not answer",
                member.key,
                quoted(name)
            );
            return Err(ToolError::new(lead)
                .of_kind(Kind::Ambiguous)
                .hint("give cluster")
                .with_silence(&gathered));
        }
        let rows: Vec<Storage> = view
            .storages
            .iter()
            .filter(|row| row.name == *name && node.is_none_or(|node| row.node == *node))
            .cloned()
            .collect();
        let held = match purpose {
            Purpose::Read => sight::of_pve(member, cx.now()).await,
            Purpose::Write => sight::of_pve_operator(member, cx.now()).await,
        };
        let Some(first) = rows.first() else { return Err(missing(&gathered, name, node)) };
        Ok(Self {
            member: Arc::clone(member),
            view: view.clone(),
            name: first.name.clone(),
            rows,
            held,
            unreachable: gathered.unreachable.clone(),
        })
    }

    /// `lab/local`: how answers print it.
    pub(super) fn at(&self) -> String {
        format!("{}/{}", self.member.key, self.name)
    }

    /// The nodes to ask: one that is up speaks for all where it is shared.
    pub(super) fn asked(&self) -> Vec<&Storage> {
        let mut rows: Vec<&Storage> = self.rows.iter().collect();
        if rows.iter().any(|row| row.shared) {
            rows.sort_by_key(|row| (!self.is_up(row), row.node.clone()));
            rows.truncate(1);
        }
        rows
    }

    fn is_up(&self, row: &Storage) -> bool {
        let node = self.view.nodes.iter().find(|node| node.name == row.node);
        row.is_available() && node.is_some_and(crate::view::Node::is_online)
    }

    /// The one node on which something is done with it.
    pub(super) fn one(&self) -> Result<&Storage, ToolError> {
        match self.asked().as_slice() {
            [one] if self.is_up(one) => Ok(one),
            [one] => {
                let key = &self.member.key;
                let node = self.view.nodes.iter().find(|node| node.name == one.node);
                let why = match node {
                    Some(node) if !node.is_online() => {
                        format!("node {key}/{} is {}", node.name, node.status)
                    }
                    _ => format!("storage {} on {key}/{} is {}", self.name, one.node, one.status),
                };
                Err(ToolError::new(format!("{why}: nothing can be done there"))
                    .of_kind(Kind::Unavailable)
                    .next("nodes_list", object(json!({"cluster": key.as_str()}))))
            }
            _ => {
                let mut table = Table::new("nodes", &["node", "status"]);
                for row in &self.rows {
                    table.push(vec![Cell::text(row.node.as_str()), Cell::text(&*row.status)]);
                }
                let count = self.rows.len();
                Err(ToolError::new(format!(
                    "{} is another storage on each of {count} nodes",
                    self.at()
                ))
                .of_kind(Kind::Ambiguous)
                .hint("give node")
                .choices(table))
            }
        }
    }

    /// Refuses where the token lacks one of these: privileges of which any does, and their path.
    pub(super) fn need(&self, what: &str, needs: &[(&[&str], String)]) -> Result<(), ToolError> {
        let Some(held) = self.held.as_deref() else { return Ok(()) };
        let lacks = needs.iter().filter(|(any, path)| !any.iter().any(|it| held.has(path, it)));
        let lacks: Vec<String> =
            lacks.map(|(any, path)| format!("{} on {path}", any.join(" or "))).collect();
        if lacks.is_empty() {
            return Ok(());
        }
        let lead = format!(
            "{what} was not tried: the token of {} lacks {}",
            self.member.key,
            lacks.join(", ")
        );
        let report = Report::new(lead).fact("error", "permission_denied").fact("status", "refused");
        Err(ToolError::from_report(report)
            .hint("grant them to the token and, if its privileges are separated, to its user"))
    }
}

fn several(found: &[&(Arc<Pve>, View)], name: &str) -> ToolError {
    let mut table = Table::new("storages", &["storage", "type"]);
    for (member, view) in found.iter().copied() {
        let plugin = view.storages.iter().find(|row| row.name == *name);
        let plugin = plugin.map(|row| row.plugin.clone());
        table.push(vec![Cell::text(format!("{}/{name}", member.key)), Cell::opt(plugin)]);
    }
    ToolError::new(format!("storage {} is in {} clusters", quoted(name), found.len()))
        .of_kind(Kind::Ambiguous)
        .hint(give_cluster(found.iter().map(|(member, _)| member)))
        .choices(table)
}

fn missing(gathered: &Gathered<Pve, View>, name: &str, node: Option<&str>) -> ToolError {
    let mut table = Table::new("storages", &["storage", "type"]);
    for (member, view) in &gathered.answers {
        let mut last = None;
        for row in &view.storages {
            if last.replace(&row.name) != Some(&row.name) {
                let at = format!("{}/{}", member.key, row.name);
                table.push(vec![Cell::text(at), Cell::text(&*row.plugin)]);
            }
        }
    }
    let on = node.map(|node| format!(" on node {}", quoted(node))).unwrap_or_default();
    let what = format!("storage {}{on}", quoted(name));
    let mut error = not_found(gathered, &what, || format!("there is no {what}"));
    if table.rows.is_empty() {
        error = error.hint("the token may see none: it needs Datastore.Audit");
    }
    error.choices(table).with_silence(gathered)
}
