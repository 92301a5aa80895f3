//! What a token may do, as `/access/permissions` tells.
//!
//! Lists of PVE and PBS do not refuse, they leave out: an empty list means "none" only to a token
//! that may see all. This is how the difference is told.

use std::collections::{BTreeMap, BTreeSet};

/// Privileges by path, with whether they reach below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    paths: BTreeMap<String, BTreeMap<String, bool>>,
}

// === impl Permissions ===

impl Permissions {
    /// Whether the privilege is held on exactly this path, directly or from above.
    pub fn has(&self, path: &str, privilege: &str) -> bool {
        if let Some(privileges) = self.paths.get(path) {
            // The server lists the effective privileges of each path that it names.
            return privileges.contains_key(privilege);
        }
        let mut above = path;
        while let Some(end) = above.rfind('/') {
            above = if end == 0 { "/" } else { &above[..end] };
            if let Some(privileges) = self.paths.get(above) {
                return privileges.get(privilege) == Some(&true);
            }
            if above == "/" {
                break;
            }
        }
        false
    }

    /// Whether the privilege is held anywhere at all.
    pub fn has_anywhere(&self, privilege: &str) -> bool {
        self.paths.values().any(|privileges| privileges.contains_key(privilege))
    }

    /// Whether the privilege is held on every guest, storage and node: on the root or on `path` with
    /// everything below.
    pub fn has_everywhere(&self, path: &str, privilege: &str) -> bool {
        let reaches = |path: &str| {
            self.paths.get(path).and_then(|p| p.get(privilege)).copied().unwrap_or(false)
        };
        (reaches(path) || (!self.paths.contains_key(path) && reaches("/")))
            && self.paths.iter().all(|(below, privileges)| {
                !is_below(below, path) || privileges.contains_key(privilege)
            })
    }

    /// The paths directly or deeper below `path` on which the privilege is held.
    pub fn paths_with<'a>(&'a self, path: &'a str, privilege: &'a str) -> Vec<&'a str> {
        let found = self.paths.iter().filter(|(below, privileges)| {
            is_below(below, path) && privileges.contains_key(privilege)
        });
        found.map(|(below, _)| below.as_str()).collect()
    }

    /// Every privilege that is held somewhere.
    pub fn privileges(&self) -> BTreeSet<&str> {
        self.paths.values().flat_map(BTreeMap::keys).map(String::as_str).collect()
    }

    /// Whether the token may do nothing anywhere.
    pub fn is_empty(&self) -> bool {
        self.paths.values().all(BTreeMap::is_empty)
    }
}

fn is_below(path: &str, above: &str) -> bool {
    above == "/"
        || path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl<P, Q> From<BTreeMap<String, BTreeMap<P, Q>>> for Permissions
where
    P: Into<String>,
    Q: Into<bool>,
{
    fn from(paths: BTreeMap<String, BTreeMap<P, Q>>) -> Self {
        let paths = paths.into_iter().map(|(path, privileges)| {
            let privileges = privileges.into_iter().map(|(p, below)| (p.into(), below.into()));
            (path, privileges.collect())
        });
        Self { paths: paths.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permissions(paths: &[(&str, &[(&str, bool)])]) -> Permissions {
        let paths = paths.iter().map(|(path, privileges)| {
            let privileges = privileges.iter().map(|(p, below)| ((*p).to_owned(), *below));
            ((*path).to_owned(), privileges.collect::<BTreeMap<_, _>>())
        });
        Permissions::from(paths.collect::<BTreeMap<_, _>>())
    }

    #[test]
    fn privileges_reach_down_where_they_propagate() {
        let held = permissions(&[
            ("/", &[("Sys.Audit", true), ("VM.Audit", false)]),
            ("/vms/100", &[("VM.PowerMgmt", true)]),
        ]);
        assert!(held.has("/", "VM.Audit") && !held.has("/vms/101", "VM.Audit"));
        assert!(held.has("/nodes/a", "Sys.Audit"));
        assert!(held.has("/vms/100", "VM.PowerMgmt") && !held.has("/vms/100", "Sys.Audit"));
        assert!(held.has_anywhere("VM.PowerMgmt") && !held.has_anywhere("VM.Backup"));
        assert!(held.has_everywhere("/nodes", "Sys.Audit"));
        assert!(!held.has_everywhere("/vms", "VM.PowerMgmt"));
        assert_eq!(held.paths_with("/vms", "VM.PowerMgmt"), ["/vms/100"]);
        assert!(permissions(&[("/", &[])]).is_empty());
    }
}
