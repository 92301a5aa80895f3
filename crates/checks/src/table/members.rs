//! Which nodes a cluster has: those that are no endpoints, those that are off, and the quorum.

use std::collections::{BTreeMap, BTreeSet};

use api_core::endpoint::ExpectedOff;

use super::PveIdentity;
use crate::finding::Finding;

const CHECK: &str = "members";

/// The verdict, from what each endpoint that answered says.
pub(super) fn judge(
    key: &str,
    seen: &[&PveIdentity],
    endpoints: usize,
    expected_off: &[ExpectedOff],
) -> Finding {
    let Some(first) = seen.first() else {
        return Finding::skip(key, CHECK, "nobody said who is there");
    };
    let is_expected = |name: &str| {
        expected_off
            .iter()
            .any(|off| matches!(off, ExpectedOff::Node(node) if node.as_str() == name))
    };
    let locals: BTreeSet<&str> = seen.iter().filter_map(|one| one.local.as_deref()).collect();
    let mut off = Vec::new();
    let mut meant_off = Vec::new();
    let mut unasked = Vec::new();
    let mut states: BTreeMap<&str, Option<bool>> = BTreeMap::new();
    for (name, member) in seen.iter().flat_map(|one| &one.nodes) {
        // One that sees it suffices.
        let state = states.entry(name).or_default();
        *state = match (*state, member.online) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (None, other) | (other, _) => other,
        };
    }
    for (name, online) in &states {
        match online {
            Some(false) if is_expected(name) => meant_off.push(*name),
            Some(false) => off.push(*name),
            _ if !locals.is_empty() && !locals.contains(name) => unasked.push(*name),
            _ => {}
        }
    }
    let mut detail = match states.len() {
        1 => "1 node".to_owned(),
        count => format!("{count} nodes"),
    };
    if !meant_off.is_empty() {
        detail = format!("{detail}; off as expected: {}", meant_off.join(", "));
    }
    // Those behind an endpoint that failed are its business, and said there.
    if !unasked.is_empty() && seen.len() == endpoints {
        detail = format!("{detail}; reached through the others: {}", unasked.join(", "));
    }
    if first.quorate == Some(false) {
        detail = format!("no quorum; {detail}");
    }
    if !off.is_empty() {
        detail = format!("off: {}; {detail}", off.join(", "));
    }
    let mut finding = if off.is_empty() && first.quorate != Some(false) {
        Finding::pass(key, CHECK, detail)
    } else {
        Finding::warn(key, CHECK, detail)
    };
    if let Some(name) = off.first() {
        finding = finding.hint(format!(
            "turn it on, or say that it is meant to be off: expected_off = [\"{name}\"] in [pve.{key}]"
        ));
    }
    if first.quorate == Some(false) {
        finding = finding
            .hint("nothing can be changed until more than half of the nodes see each other: `pvecm status`");
    }
    finding
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{finding::Status, table::identity::Member};

    #[test]
    fn nodes_that_are_off_are_told_unless_expected() {
        let cluster = |local: &str, off: &[&str], quorate: bool| {
            let nodes = ["alder", "birch", "cedar"].map(|name| {
                let online = Some(!off.contains(&name));
                (name.to_owned(), Member { online, fingerprint: None })
            });
            PveIdentity {
                cluster: Some("lab".to_owned()),
                told: true,
                quorate: Some(quorate),
                local: Some(local.to_owned()),
                nodes: nodes.into(),
            }
        };
        let check = |seen: &[PveIdentity], endpoints: usize, expected: &[&str]| {
            let off: Vec<_> =
                expected.iter().map(|name| ExpectedOff::Node(name.parse().unwrap())).collect();
            let seen: Vec<_> = seen.iter().collect();
            let finding = judge("lab", &seen, endpoints, &off);
            (finding.status, finding.detail)
        };
        let well = cluster("alder", &[], true);
        assert_eq!(
            check(std::slice::from_ref(&well), 1, &[]),
            (Status::Pass, "3 nodes; reached through the others: birch, cedar".to_owned())
        );
        assert_eq!(
            check(
                &[well.clone(), cluster("birch", &[], true), cluster("cedar", &[], true)],
                3,
                &[]
            ),
            (Status::Pass, "3 nodes".to_owned())
        );
        let without = cluster("alder", &["cedar"], true);
        assert_eq!(
            check(&[without.clone(), cluster("birch", &["cedar"], true)], 3, &[]),
            (Status::Warn, "off: cedar; 3 nodes".to_owned())
        );
        assert_eq!(
            check(&[without], 3, &["cedar"]),
            (Status::Pass, "3 nodes; off as expected: cedar".to_owned())
        );
        let lost = cluster("alder", &["birch", "cedar"], false);
        assert_eq!(
            check(&[lost], 3, &[]),
            (Status::Warn, "off: birch, cedar; no quorum; 3 nodes".to_owned())
        );
        assert_eq!(check(&[], 1, &[]).0, Status::Skip);
    }
}
