//! Whether the estate is what somebody said it is, and whether no cluster stands there twice.

use crate::{finding::Finding, product::Table, table::PveIdentity};

const SUBJECT: &str = "estate";
const CHECK: &str = "topology";

/// What the estate is meant to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// Single nodes, no cluster.
    Standalone,
    /// One cluster or several, no single nodes.
    Clustered,
    /// Both.
    Mixed,
}

/// Whether there is anything to say.
pub(crate) fn is_asked(declared: Option<Topology>, tables: &[Table]) -> bool {
    let pve = tables.iter().filter(|table| matches!(table, Table::Pve(_))).count();
    declared.is_some() && pve > 0 || pve > 1
}

/// The verdict, from what each PVE table turned out to be; `None` for one that did not say.
/// Backup servers stand alone, so they make an estate of clusters a mixed one too.
pub(crate) fn judge(
    declared: Option<Topology>,
    answers: &[(String, Option<PveIdentity>)],
    has_pbs: bool,
) -> Finding {
    if let Some(finding) = twice(answers) {
        return finding;
    }
    let kind = |wanted: bool| {
        let of_kind = answers.iter().filter(move |(_, identity)| {
            identity.as_ref().and_then(PveIdentity::is_cluster) == Some(wanted)
        });
        of_kind.map(|(key, _)| key.as_str()).collect::<Vec<_>>()
    };
    let (clusters, singles) = (kind(true), kind(false));
    let open = answers.len() - clusters.len() - singles.len();
    let seen = seen(&clusters, &singles, open);
    let Some(declared) = declared else { return Finding::pass(SUBJECT, CHECK, seen) };
    let (word, contradiction) = match declared {
        Topology::Standalone => ("STANDALONE", !clusters.is_empty()),
        Topology::Clustered => ("CLUSTERED", !singles.is_empty()),
        Topology::Mixed => {
            ("MIXED", open == 0 && (clusters.is_empty() || singles.is_empty() && !has_pbs))
        }
    };
    if contradiction {
        return Finding::warn(SUBJECT, CHECK, format!("declared {word}, but {seen}")).hint(format!(
            "set declared_topology = \"{}\" in [server] (LAB_CONFIGURATION in an .env), or correct the endpoints",
            fitting(!clusters.is_empty(), !singles.is_empty())
        ));
    }
    if open > 0 {
        return Finding::skip(SUBJECT, CHECK, format!("declared {word}; {seen}"));
    }
    Finding::pass(SUBJECT, CHECK, format!("{word} as declared: {seen}"))
}

fn fitting(clusters: bool, singles: bool) -> &'static str {
    match (clusters, singles) {
        (true, true) => "mixed",
        (true, false) => "clustered",
        _ => "standalone",
    }
}

fn seen(clusters: &[&str], singles: &[&str], open: usize) -> String {
    let mut parts = Vec::new();
    for (keys, one, many) in [
        (clusters, "is a cluster", "are clusters"),
        (singles, "is a standalone node", "are standalone nodes"),
    ] {
        match keys {
            [] => {}
            [key] => parts.push(format!("{key} {one}")),
            keys => parts.push(format!("{} {many}", keys.join(", "))),
        }
    }
    match open {
        0 => {}
        1 => parts.push("1 table did not say".to_owned()),
        open => parts.push(format!("{open} tables did not say")),
    }
    parts.join("; ")
}

/// The finding for a cluster that has two tables: everything in it would be listed twice.
fn twice(answers: &[(String, Option<PveIdentity>)]) -> Option<Finding> {
    let known: Vec<_> =
        answers.iter().filter_map(|(key, identity)| Some((key, identity.as_ref()?))).collect();
    for (at, (key, one)) in known.iter().enumerate() {
        for (other_key, other) in &known[at + 1..] {
            let proven = one.nodes.iter().any(|(name, member)| {
                member.fingerprint.is_some()
                    && other.nodes.get(name).map(|other| &other.fingerprint)
                        == Some(&member.fingerprint)
            });
            if proven && one.differs(other).is_none() {
                let detail = format!("{key} and {other_key} are the same: {}", one.describe());
                return Some(Finding::warn(SUBJECT, CHECK, detail).hint(format!(
                    "its guests would be listed twice: put the endpoints of [pve.{other_key}] into [pve.{key}] and remove [pve.{other_key}]"
                )));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Status;

    #[expect(clippy::unnecessary_wraps, reason = "as the function under test takes it")]
    fn identity(cluster: Option<&str>, node: &str) -> Option<PveIdentity> {
        let member = crate::table::Member {
            online: Some(true),
            fingerprint: Some(format!("fingerprint of {node}")),
        };
        Some(PveIdentity {
            cluster: cluster.map(str::to_owned),
            told: true,
            nodes: [(node.to_owned(), member)].into(),
            ..PveIdentity::default()
        })
    }

    #[test]
    fn what_was_declared_is_held_against_what_answers() {
        use Topology::{Clustered, Mixed, Standalone};
        let cluster = || ("lab".to_owned(), identity(Some("lab"), "a"));
        let single = || ("edge".to_owned(), identity(None, "b"));
        let silent = || ("far".to_owned(), None);
        for (declared, answers, status, detail) in [
            (
                Some(Standalone),
                vec![single()],
                Status::Pass,
                "STANDALONE as declared: edge is a standalone node",
            ),
            (
                Some(Standalone),
                vec![cluster()],
                Status::Warn,
                "declared STANDALONE, but lab is a cluster",
            ),
            (
                Some(Clustered),
                vec![cluster(), silent()],
                Status::Skip,
                "declared CLUSTERED; lab is a cluster; 1 table did not say",
            ),
            (
                Some(Clustered),
                vec![single(), silent()],
                Status::Warn,
                "declared CLUSTERED, but edge is a standalone node; 1 table did not say",
            ),
            (
                Some(Mixed),
                vec![cluster(), single()],
                Status::Pass,
                "MIXED as declared: lab is a cluster; edge is a standalone node",
            ),
            (Some(Mixed), vec![cluster()], Status::Warn, "declared MIXED, but lab is a cluster"),
            (
                None,
                vec![cluster(), single()],
                Status::Pass,
                "lab is a cluster; edge is a standalone node",
            ),
            (
                None,
                vec![cluster(), ("copy".to_owned(), identity(Some("lab"), "a"))],
                Status::Warn,
                "lab and copy are the same: cluster lab (a)",
            ),
        ] {
            let finding = judge(declared, &answers, false);
            assert_eq!((finding.status, finding.detail.as_str()), (status, detail));
            assert_eq!(finding.hints.is_empty(), status != Status::Warn);
        }
        assert_eq!(judge(Some(Mixed), &[cluster()], true).status, Status::Pass);
    }
}
