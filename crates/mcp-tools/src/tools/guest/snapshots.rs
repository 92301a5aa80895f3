//! A guest's snapshots as the tree that they are.

use std::fmt::Write as _;

use estate::GuestRef;
use jiff::Timestamp;
use pve_client::guest::Snapshot;

use crate::report::{Cell, Report, Table};

/// Adds the snapshots, parents before children, and where the guest stands among them.
pub(crate) fn tell(report: Report, at: &GuestRef, all: &[Snapshot], now: Timestamp) -> Report {
    let mut table = Table::new("snapshots", &["snapshot", "parent", "time", "memory", "state"]);
    let mut texts = String::new();
    for snapshot in in_tree_order(all) {
        table.push(vec![
            Cell::text(&*snapshot.name),
            Cell::opt(snapshot.parent.clone()),
            Cell::opt(snapshot.time.map(|time| Cell::moment(time, now))),
            Cell::with(snapshot.with_memory, if snapshot.with_memory { "yes" } else { "no" }),
            Cell::opt(snapshot.state.clone()),
        ]);
        if let Some(text) = snapshot.description.as_deref().filter(|text| !text.trim().is_empty()) {
            let _ = writeln!(texts, "{}: {}", snapshot.name, text.trim());
        }
    }
    let current = all.iter().find(|snapshot| snapshot.is_current());
    let parent = current.and_then(|current| current.parent.clone());
    let count = table.rows.len();
    let mut report = report.fact("snapshot_count", count).detail(
        "snapshots_now",
        match (count, parent) {
            (0, _) => "none".to_owned(),
            (count, Some(parent)) => format!("{count}, the guest stands after {parent}"),
            (count, None) => count.to_string(),
        },
    );
    report = report.table(table);
    if texts.is_empty() {
        return report;
    }
    report.untrusted(format!("snapshot descriptions of {at}"), texts)
}

/// Depth first, children by time. A snapshot whose parent is gone counts as a root.
fn in_tree_order(all: &[Snapshot]) -> Vec<&Snapshot> {
    let snapshots: Vec<&Snapshot> = all.iter().filter(|snapshot| !snapshot.is_current()).collect();
    let exists = |name: &str| snapshots.iter().any(|snapshot| snapshot.name == name);
    let mut children: Vec<(Option<&str>, &Snapshot)> = snapshots
        .iter()
        .map(|snapshot| {
            let parent = snapshot.parent.as_deref();
            (parent.filter(|parent| exists(parent) && *parent != snapshot.name), *snapshot)
        })
        .collect();
    // The last is taken first, so the newest lies at the bottom of the pile.
    children.sort_by_key(|(_, snapshot)| std::cmp::Reverse(snapshot.time));
    let mut order: Vec<&Snapshot> = Vec::new();
    let mut pile: Vec<&Snapshot> = Vec::new();
    pile.extend(children.iter().filter(|(of, _)| of.is_none()).map(|(_, child)| *child));
    while let Some(snapshot) = pile.pop() {
        order.push(snapshot);
        let name = Some(snapshot.name.as_str());
        pile.extend(children.iter().filter(|(of, _)| *of == name).map(|(_, child)| *child));
    }
    // A ring of parents has no root; better out of order than left out.
    for snapshot in snapshots {
        if !order.iter().any(|known| known.name == snapshot.name) {
            order.push(snapshot);
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_stand_before_children_and_rings_are_not_lost() {
        let all: Vec<Snapshot> = serde_json::from_value(serde_json::json!([
            {"name": "b2", "parent": "b", "snaptime": 30}, {"name": "a", "snaptime": 10},
            {"name": "b1", "parent": "b", "snaptime": 25}, {"name": "b", "parent": "a", "snaptime": 20},
            {"name": "x", "parent": "y", "snaptime": 1}, {"name": "y", "parent": "x", "snaptime": 2},
            {"name": "lost", "parent": "gone", "snaptime": 5}, {"name": "current", "parent": "b2"},
        ]))
        .unwrap();
        let order: Vec<_> = in_tree_order(&all).iter().map(|s| s.name.as_str()).collect();
        assert_eq!(order, ["lost", "a", "b", "b1", "b2", "x", "y"]);
    }
}
