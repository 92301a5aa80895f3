//! Which privilege each answer really needs, and the line that grants it.
//!
//! The published schema says less than the servers check, and lists leave out instead of refusing.
//! This table is reviewed by hand against the products' permission checks: `stricter` marks where
//! the real need is more than the schema declares. Tools use it to say what a token cannot see, the
//! tester to print what would change that.

mod table;

pub use estate::Product;

pub use self::table::NEEDS;
use crate::permissions::Permissions;

/// One privilege that answers depend on.
#[derive(Debug, PartialEq, Eq)]
pub struct Need {
    /// A stable word for it.
    pub id: &'static str,
    /// Whose.
    pub product: Product,
    /// Any one of these does; several names are the same right in several releases.
    pub privileges: &'static [&'static str],
    /// Where it must be held: this path and all below.
    pub path: &'static str,
    /// What the answers lack without it.
    pub without: &'static str,
    /// The tools that lack it then.
    pub tools: &'static [&'static str],
    /// A role that ships with the product and is no wider than needed, if there is one.
    pub role: Option<&'static str>,
    /// Whether the schema declares less than this.
    pub stricter: bool,
    /// Whether it is for changes, and so of no use in a mode that only reads.
    pub operate: bool,
    /// The tools that are of no use where it is held nowhere: they are not listed if no member is
    /// left for them.
    pub hides: &'static [&'static str],
}

/// The needs of `product` that the token does not fully meet.
pub fn unmet(product: Product, held: &Permissions) -> impl Iterator<Item = &'static Need> {
    NEEDS.iter().filter(move |need| need.product == product && !need.is_met(held))
}

/// The need called `id`.
pub fn need(id: &str) -> Option<&'static Need> {
    NEEDS.iter().find(|need| need.id == id)
}

// === impl Need ===

impl Need {
    /// Whether the token holds it everywhere it counts.
    pub fn is_met(&self, held: &Permissions) -> bool {
        self.privileges.iter().any(|privilege| held.has_everywhere(self.path, privilege))
    }

    /// Whether the token holds it at least somewhere.
    pub fn is_partly_met(&self, held: &Permissions) -> bool {
        self.privileges.iter().any(|privilege| !held.paths_with(self.path, privilege).is_empty())
            || self.is_met(held)
    }

    /// What an answer says when the token lacks it.
    pub fn note(&self, cluster: &str, held: &Permissions) -> String {
        let privilege = self.privileges[0];
        let path = self.path;
        if self.is_partly_met(held) {
            format!(
                "{cluster}: the token has {privilege} on parts of {path} only, so some {} may be missing",
                self.without
            )
        } else {
            format!(
                "{cluster}: the token lacks {privilege} on {path}, so this shows no {}",
                self.without
            )
        }
    }

    /// The line for the server's shell that grants it to `who`, a token or a user, on `path`.
    ///
    /// The path is the caller's choice because a role further down replaces what comes from above
    /// in both products: where something is held on `/`, this has to go there too. A role of the
    /// product is used where one is no wider than needed. A token with privilege separation holds
    /// at most what its user holds, so both get the line.
    pub fn grant(&self, who: &str, path: &str) -> String {
        let (user, token) = match who.split_once('!') {
            Some((user, _)) => (user, Some(who)),
            None => (who, None),
        };
        match self.product {
            Product::Pbs => {
                // Its roles are fixed, and only one of them changes the system.
                let changes = |it: &&str| it.ends_with("Modify") || it.ends_with("Management");
                let is_wide = self.privileges.iter().any(changes);
                let role = self.role.unwrap_or(if is_wide { "Admin" } else { "Audit" });
                let lines = [Some(user), token].into_iter().flatten().map(|id| {
                    format!("proxmox-backup-manager acl update {path} {role} --auth-id '{id}'")
                });
                lines.collect::<Vec<_>>().join(" && ")
            }
            Product::Pve => {
                let privilege = self.privileges[0];
                let (make, role) = match self.role {
                    Some(role) => (String::new(), role.to_owned()),
                    None => {
                        let role = format!("Mcp{}", privilege.replace('.', ""));
                        (format!("pveum role add {role} --privs {privilege}; "), role)
                    }
                };
                let tokens = token.map(|token| format!(" --tokens '{token}'")).unwrap_or_default();
                format!("{make}pveum acl modify {path} --users '{user}'{tokens} --roles {role}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn held(path: &str, privileges: &[&str]) -> Permissions {
        let privileges: BTreeMap<String, bool> =
            privileges.iter().map(|p| ((*p).to_owned(), true)).collect();
        Permissions::from(BTreeMap::from([(path.to_owned(), privileges)]))
    }

    #[test]
    fn an_auditor_lacks_only_what_is_stricter_than_it_looks() {
        let auditor = held(
            "/",
            &[
                "Sys.Audit",
                "VM.Audit",
                "Datastore.Audit",
                "Pool.Audit",
                "SDN.Audit",
                "VM.GuestAgent.Audit",
            ],
        );
        let unmet: Vec<_> = unmet(Product::Pve, &auditor).map(|need| need.id).collect();
        assert_eq!(
            unmet,
            [
                "backup_volumes_storage",
                "backup_volumes_guest",
                "syslog",
                "updates",
                "ha",
                "replicate",
                "pool_changes",
                "permissions",
                "system",
                "node_power",
                "network_changes",
                "power",
                "allocate",
                "clone",
                "bridges",
                "disks",
                "images",
                "fetch",
                "configure",
                "guest_disks",
                "migrate",
                "rollback",
                "exec",
                "console",
                "snapshot",
                "backup",
                "backup_space",
                "restore",
                "prune_storage",
            ]
        );
    }

    #[test]
    fn a_grant_is_a_line_to_paste() {
        let need = need("syslog").expect("it is in the table");
        assert_eq!(
            need.grant("mcp@pve!agent", "/"),
            "pveum role add McpSysSyslog --privs Sys.Syslog; pveum acl modify / --users 'mcp@pve' \
             --tokens 'mcp@pve!agent' --roles McpSysSyslog"
        );
        let part = held("/vms/100", &["VM.Audit"]);
        let guests = super::need("guests").expect("it is in the table");
        assert!(guests.note("home", &part).contains("on parts of /vms only"));
        assert!(!guests.is_met(&part));
    }

    #[test]
    fn ids_are_unique() {
        let ids: BTreeSet<_> = NEEDS.iter().map(|need| need.id).collect();
        assert_eq!(ids.len(), NEEDS.len());
        assert!(NEEDS.iter().all(|need| !need.privileges.is_empty() && !need.tools.is_empty()));
    }
}
