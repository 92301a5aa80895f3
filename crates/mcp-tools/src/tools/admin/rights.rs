//! Who may do what, worked out from the access control list as the servers do.
//!
//! On the way from the root to a path, the deepest level that says something about a principal
//! decides, and replaces what comes from above. On one level, a line that names the user goes
//! before lines of its groups. `NoAccess` takes away all that the level gives. A line without
//! propagation counts on its own path only. A PVE guest or storage in a pool also gets what is held
//! on the pool, unless `NoAccess` stands in the way. A token with rights of its own has at most what
//! its user has. `root@pam` may do everything.
//!
//! *Invariant:* pure. The tests hold it against the simulator's own decisions.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

/// The role that takes everything away.
const NO_ACCESS: &str = "NoAccess";
const ROOT: &str = "root@pam";

/// Everything that decides who may do what on one server.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    pub(super) lines: Vec<Line>,
    /// Privileges by role.
    pub(super) roles: BTreeMap<String, BTreeSet<String>>,
    /// Members by group.
    pub(super) groups: BTreeMap<String, BTreeSet<String>>,
    pub(super) users: BTreeMap<String, Account>,
    /// The pools that lend to a path such as `/vms/100`.
    pub(super) pools: BTreeMap<String, BTreeSet<String>>,
}

/// A line of the access control list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Line {
    pub(super) path: String,
    /// A user, a token (`user@realm!name`), or a group.
    pub(super) who: String,
    pub(super) is_group: bool,
    pub(super) role: String,
    pub(super) propagate: bool,
}

/// A user.
#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    pub(super) enabled: bool,
    pub(super) expires: Option<Timestamp>,
    /// By the part after `!`.
    pub(super) tokens: BTreeMap<String, TokenFacts>,
}

/// A token.
#[derive(Clone, Debug, Default)]
pub(super) struct TokenFacts {
    /// Whether it has lines of its own instead of its user's.
    pub(super) separate: bool,
    pub(super) expires: Option<Timestamp>,
    pub(super) disabled: bool,
}

/// What somebody may do on one path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rights {
    /// Privilege, and whether it reaches further down.
    pub(super) privileges: BTreeMap<String, bool>,
    /// The lines that decide.
    pub(super) through: Vec<Through>,
    /// What the token's own lines give and its user lacks.
    pub(super) capped: BTreeSet<String>,
    /// Whether `NoAccess` decided.
    pub(super) none: bool,
}

/// A line that decides, and how it comes to do so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Through {
    pub(super) line: Line,
    /// The pool that lends it.
    pub(super) pool: Option<String>,
}

// === impl Book ===

impl Book {
    /// Users and tokens, as the server writes them, also those that only lines speak of.
    pub(super) fn principals(&self) -> BTreeSet<String> {
        let mut all: BTreeSet<String> = BTreeSet::new();
        for (user, account) in &self.users {
            all.insert(user.clone());
            all.extend(account.tokens.keys().map(|token| format!("{user}!{token}")));
        }
        let named = self.lines.iter().filter(|line| !line.is_group);
        all.extend(named.map(|line| line.who.clone()));
        all
    }

    /// The paths on which something changes for somebody, with the roots of the tree.
    pub(super) fn paths(&self) -> BTreeSet<String> {
        let roots = ["/", "/access", "/nodes", "/pool", "/storage", "/vms"].map(str::to_owned);
        let mut all: BTreeSet<String> = roots.into_iter().collect();
        all.extend(self.lines.iter().map(|line| line.path.clone()));
        all.extend(self.pools.keys().cloned());
        all
    }

    /// What `who` may do on `path`.
    pub(super) fn rights(&self, who: &str, path: &str) -> Rights {
        let Some((user, token)) = who.split_once('!') else {
            return if who == ROOT { self.everything() } else { self.direct(who, path) };
        };
        let of_user = self.rights(user, path);
        let separate = self
            .users
            .get(user)
            .and_then(|account| account.tokens.get(token))
            .is_none_or(|token| token.separate);
        if !separate {
            return of_user;
        }
        let mut own = self.direct(who, path);
        let all = std::mem::take(&mut own.privileges);
        for (privilege, below) in all {
            match of_user.privileges.get(&privilege) {
                Some(user_below) => {
                    own.privileges.insert(privilege, below && *user_below);
                }
                None => {
                    own.capped.insert(privilege);
                }
            }
        }
        own
    }

    /// The superuser's rights.
    fn everything(&self) -> Rights {
        let all = self.roles.values().flatten().map(|privilege| (privilege.clone(), true));
        Rights { privileges: all.collect(), ..Rights::default() }
    }

    /// What the lines give to `who` itself.
    fn direct(&self, who: &str, path: &str) -> Rights {
        let mut lines: Vec<Through> =
            self.deciding(who, path).into_iter().map(Through::of).collect();
        let is_none = |lines: &[Through]| lines.iter().any(|it| it.line.role == NO_ACCESS);
        for pool in self.pools.get(path).into_iter().flatten() {
            if is_none(&lines) {
                break;
            }
            let lent = self.deciding(who, &format!("/pool/{pool}"));
            let lent: Vec<Through> = lent
                .into_iter()
                .map(|line| Through { line: line.clone(), pool: Some(pool.clone()) })
                .collect();
            if is_none(&lent) {
                lines = lent;
            } else {
                // What decides here anyway need not be lent.
                let new = |it: &Through| !lines.iter().any(|known| known.line == it.line);
                let new: Vec<Through> = lent.into_iter().filter(new).collect();
                lines.extend(new);
            }
        }
        if is_none(&lines) {
            lines.retain(|it| it.line.role == NO_ACCESS);
            return Rights { through: lines, none: true, ..Rights::default() };
        }
        let mut rights = Rights::default();
        for it in &lines {
            // What a pool lends reaches no further.
            let below = it.line.propagate && it.pool.is_none();
            for privilege in self.roles.get(&it.line.role).into_iter().flatten() {
                *rights.privileges.entry(privilege.clone()).or_default() |= below;
            }
        }
        rights.through = lines;
        rights
    }

    /// The lines of the deepest level that says something about `who`.
    fn deciding(&self, who: &str, path: &str) -> Vec<&Line> {
        let mut found: Vec<&Line> = Vec::new();
        for level in levels(path) {
            let at_level = |line: &&Line| line.path == level && (line.propagate || level == path);
            let own = |line: &&Line| !line.is_group && line.who == who;
            let of_group = |line: &&Line| {
                line.is_group && self.groups.get(&line.who).is_some_and(|group| group.contains(who))
            };
            let lines = || self.lines.iter().filter(at_level);
            let mut here: Vec<&Line> = lines().filter(own).collect();
            if here.is_empty() {
                here = lines().filter(of_group).collect();
            }
            if !here.is_empty() {
                found = here;
            }
        }
        found
    }

    /// Users and tokens for whom a line of `who` counts: itself with its tokens, or a group's members
    /// with theirs.
    pub(super) fn concerned(&self, who: &str, is_group: bool) -> BTreeSet<String> {
        let users: BTreeSet<String> = if is_group {
            self.groups.get(who).into_iter().flatten().cloned().collect()
        } else {
            [who.to_owned()].into()
        };
        let mut all = users.clone();
        for user in users.iter().filter(|user| !user.contains('!')) {
            let tokens = self.users.get(user).into_iter().flat_map(|account| account.tokens.keys());
            all.extend(tokens.map(|token| format!("{user}!{token}")));
        }
        all
    }

    /// The known paths on which a line of `path` can count.
    pub(super) fn reach(&self, path: &str) -> BTreeSet<String> {
        let below = format!("{}/", path.trim_end_matches('/'));
        let lends = path == "/" || path == "/pool" || path.starts_with("/pool/");
        let mut all: BTreeSet<String> = self
            .paths()
            .into_iter()
            .filter(|it| it.starts_with(&below) || lends && self.pools.contains_key(it))
            .collect();
        all.insert(path.to_owned());
        all
    }

    /// Whether somebody can log in or be used, and why not.
    pub(super) fn barred(&self, who: &str, now: Timestamp) -> Option<&'static str> {
        let (user, token) = who.split_once('!').map_or((who, None), |(u, t)| (u, Some(t)));
        let Some(account) = self.users.get(user) else { return Some("does not exist") };
        let is_over = |end: Option<Timestamp>| end.is_some_and(|end| end <= now);
        if !account.enabled {
            return Some("the user is disabled");
        }
        if is_over(account.expires) {
            return Some("the user has expired");
        }
        let token = account.tokens.get(token?)?;
        if token.disabled {
            return Some("the token is disabled");
        }
        is_over(token.expires).then_some("the token has expired")
    }
}

/// What a change means for somebody on a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shift {
    pub(super) who: String,
    pub(super) path: String,
    pub(super) gained: BTreeSet<String>,
    pub(super) lost: BTreeSet<String>,
}

/// Who gains and who loses what, of these principals on these paths.
pub(super) fn shifts(
    before: &Book,
    after: &Book,
    principals: &BTreeSet<String>,
    paths: &BTreeSet<String>,
) -> Vec<Shift> {
    let mut all = Vec::new();
    for who in principals {
        for path in paths {
            let (was, is) =
                (before.rights(who, path).privileges, after.rights(who, path).privileges);
            let only = |a: &BTreeMap<String, bool>, b: &BTreeMap<String, bool>| {
                a.keys().filter(|it| !b.contains_key(*it)).cloned().collect::<BTreeSet<String>>()
            };
            let (gained, lost) = (only(&is, &was), only(&was, &is));
            if !gained.is_empty() || !lost.is_empty() {
                all.push(Shift { who: who.clone(), path: path.clone(), gained, lost });
            }
        }
    }
    all
}

/// The levels from the root to the path: `/`, `/vms`, `/vms/100`.
fn levels(path: &str) -> Vec<&str> {
    let mut all = vec!["/"];
    if path == "/" {
        return all;
    }
    let ends = path.char_indices().skip(1).filter(|(_, c)| *c == '/').map(|(at, _)| at);
    all.extend(ends.map(|at| &path[..at]));
    all.push(path);
    all
}

/// The path as the servers write it: one slash between parts, none at the end.
pub(super) fn clean(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.trim().is_empty()).collect();
    format!("/{}", parts.join("/"))
}

// === impl Through ===

impl Through {
    fn of(line: &Line) -> Self {
        Self { line: line.clone(), pool: None }
    }

    /// `PVEVMUser on /pool/lab by group developers, lent by the pool`
    pub(super) fn sentence(&self) -> String {
        let Line { path, who, is_group, role, propagate } = &self.line;
        let group = if *is_group { format!(" by group {who}") } else { String::new() };
        let pool = if self.pool.is_some() { ", lent by the pool" } else { "" };
        let alone = if *propagate { "" } else { ", this path only" };
        format!("{role} on {path}{group}{pool}{alone}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(path: &str, who: &str, role: &str, propagate: bool) -> Line {
        let is_group = !who.contains('@');
        Line { path: path.into(), who: who.into(), is_group, role: role.into(), propagate }
    }

    fn book(lines: &[Line]) -> Book {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let token = |separate| TokenFacts { separate, ..TokenFacts::default() };
        let anna = Account {
            enabled: true,
            tokens: [("own".to_owned(), token(true)), ("same".to_owned(), token(false))].into(),
            ..Account::default()
        };
        Book {
            lines: lines.to_vec(),
            roles: [
                ("Admin".to_owned(), set(&["Sys.Audit", "VM.Audit", "VM.PowerMgmt"])),
                ("Audit".to_owned(), set(&["Sys.Audit", "VM.Audit"])),
                ("User".to_owned(), set(&["VM.Audit", "VM.PowerMgmt"])),
                (NO_ACCESS.to_owned(), BTreeSet::new()),
            ]
            .into(),
            groups: [("dev".to_owned(), set(&["anna@pve"]))].into(),
            users: [("anna@pve".to_owned(), anna)].into(),
            pools: [("/vms/100".to_owned(), set(&["lab"]))].into(),
        }
    }

    fn held(lines: &[Line], who: &str, path: &str) -> String {
        let rights = book(lines).rights(who, path);
        let names: Vec<&str> = rights.privileges.keys().map(String::as_str).collect();
        names.join(" ")
    }

    #[test]
    fn the_deepest_level_replaces_what_comes_from_above() {
        let lines =
            [line("/", "anna@pve", "Admin", true), line("/vms/102", "anna@pve", "Audit", true)];
        assert_eq!(held(&lines, "anna@pve", "/vms/101"), "Sys.Audit VM.Audit VM.PowerMgmt");
        assert_eq!(held(&lines, "anna@pve", "/vms/102"), "Sys.Audit VM.Audit");
        // Without propagation it counts on its own path only.
        let lines = [line("/vms", "anna@pve", "User", false)];
        assert_eq!(held(&lines, "anna@pve", "/vms"), "VM.Audit VM.PowerMgmt");
        assert_eq!(held(&lines, "anna@pve", "/vms/100"), "");
    }

    #[test]
    fn a_users_own_line_goes_before_its_groups_and_no_access_before_all() {
        let lines = [line("/vms", "dev", "User", true), line("/vms", "anna@pve", "Audit", true)];
        assert_eq!(held(&lines, "anna@pve", "/vms/7"), "Sys.Audit VM.Audit");
        let lines = [line("/", "anna@pve", "Admin", true), line("/vms", "dev", "User", true)];
        assert_eq!(held(&lines, "anna@pve", "/vms/7"), "VM.Audit VM.PowerMgmt");
        let lines =
            [line("/vms", "anna@pve", "User", true), line("/vms", "anna@pve", NO_ACCESS, true)];
        assert_eq!(held(&lines, "anna@pve", "/vms/7"), "");
        assert!(book(&lines).rights("anna@pve", "/vms/7").none);
    }

    #[test]
    fn pools_lend_to_their_guests() {
        let lines = [line("/pool/lab", "dev", "User", true)];
        assert_eq!(held(&lines, "anna@pve", "/vms/100"), "VM.Audit VM.PowerMgmt");
        assert!(!book(&lines).rights("anna@pve", "/vms/100").privileges["VM.Audit"]);
        assert_eq!(held(&lines, "anna@pve", "/vms/101"), "");
        let lines = [lines[0].clone(), line("/vms/100", "anna@pve", NO_ACCESS, true)];
        assert_eq!(held(&lines, "anna@pve", "/vms/100"), "");
    }

    #[test]
    fn a_token_has_at_most_what_its_user_has() {
        let lines = [line("/", "anna@pve", "Audit", true), line("/", "anna@pve!own", "User", true)];
        assert_eq!(held(&lines, "anna@pve!own", "/vms/1"), "VM.Audit");
        let rights = book(&lines).rights("anna@pve!own", "/vms/1");
        assert!(rights.capped.contains("VM.PowerMgmt"));
        assert_eq!(held(&lines, "anna@pve!same", "/vms/1"), "Sys.Audit VM.Audit");
        assert_eq!(held(&lines[..1], "anna@pve!own", "/vms/1"), "");
        assert!(held(&lines, ROOT, "/").contains("VM.PowerMgmt"));
    }

    #[test]
    fn paths_are_cleaned() {
        assert_eq!(clean("vms//100/"), "/vms/100");
        assert_eq!(clean("/"), "/");
        assert_eq!(levels("/vms/100"), ["/", "/vms", "/vms/100"]);
    }
}
