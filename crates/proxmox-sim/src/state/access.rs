//! Users, tokens, roles, access control, and what they add up to.

use std::collections::{BTreeMap, BTreeSet};

/// A set of privileges, a bit each.
pub(crate) type Mask = u128;

/// All privileges of both products; the place in the list is the bit.
pub(crate) const PRIVILEGES: &[&str] = &[
    "Datastore.Allocate",
    "Datastore.AllocateSpace",
    "Datastore.AllocateTemplate",
    "Datastore.Audit",
    "Group.Allocate",
    "Mapping.Audit",
    "Mapping.Modify",
    "Mapping.Use",
    "Permissions.Modify",
    "Pool.Allocate",
    "Pool.Audit",
    "Realm.Allocate",
    "Realm.AllocateUser",
    "SDN.Allocate",
    "SDN.Audit",
    "SDN.Use",
    "Sys.AccessNetwork",
    "Sys.Audit",
    "Sys.Console",
    "Sys.Incoming",
    "Sys.Modify",
    "Sys.PowerMgmt",
    "Sys.Syslog",
    "User.Modify",
    "VM.Allocate",
    "VM.Audit",
    "VM.Backup",
    "VM.Clone",
    "VM.Config.CDROM",
    "VM.Config.CPU",
    "VM.Config.Cloudinit",
    "VM.Config.Disk",
    "VM.Config.HWType",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.Options",
    "VM.Console",
    "VM.GuestAgent.Audit",
    "VM.GuestAgent.FileRead",
    "VM.GuestAgent.FileSystemMgmt",
    "VM.GuestAgent.FileWrite",
    "VM.GuestAgent.Unrestricted",
    "VM.Migrate",
    "VM.PowerMgmt",
    "VM.Replicate",
    "VM.Snapshot",
    "VM.Snapshot.Rollback",
    "VM.Monitor",
    // Only PBS has these.
    "Datastore.Backup",
    "Datastore.Modify",
    "Datastore.Prune",
    "Datastore.Read",
    "Datastore.Verify",
    "Remote.Audit",
    "Remote.DatastoreBackup",
    "Remote.DatastoreModify",
    "Remote.DatastorePrune",
    "Remote.Modify",
    "Remote.Read",
    "Sys.PowerManagement",
    "Tape.Audit",
    "Tape.Modify",
    "Tape.Read",
    "Tape.Write",
];

/// Which product's rules hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Realm {
    Pve,
    Pbs,
}

/// Everything about who may do what on one target.
pub(crate) struct Access {
    pub(crate) realm: Realm,
    pub(crate) users: BTreeMap<String, User>,
    /// Role name to privileges and whether it is built in.
    pub(crate) roles: BTreeMap<String, (Mask, bool)>,
    pub(crate) acl: Vec<Entry>,
    /// Only PVE has groups that mean something.
    pub(crate) groups: BTreeMap<String, Group>,
    /// Signs tickets; replaced when a lever expires them all.
    pub(crate) key: String,
}

/// A group of users.
#[derive(Debug, Clone, Default)]
pub(crate) struct Group {
    pub(crate) comment: Option<String>,
    pub(crate) members: BTreeSet<String>,
}

/// One user.
#[derive(Debug, Clone, Default)]
pub(crate) struct User {
    pub(crate) password: Option<String>,
    pub(crate) enabled: bool,
    pub(crate) expire: i64,
    pub(crate) comment: Option<String>,
    pub(crate) email: Option<String>,
    pub(crate) totp: Option<Vec<u8>>,
    /// Too many wrong codes: the second factor is locked.
    pub(crate) totp_locked: bool,
    pub(crate) tokens: BTreeMap<String, Token>,
}

/// One API token.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) secret: String,
    pub(crate) privsep: bool,
    pub(crate) expire: i64,
    pub(crate) enabled: bool,
    pub(crate) comment: Option<String>,
}

/// One line of access control.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) path: String,
    /// User, group or token.
    pub(crate) who: String,
    pub(crate) role: String,
    pub(crate) propagate: bool,
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Principal {
    /// `user@realm`
    pub(crate) user: String,
    pub(crate) token: Option<String>,
}

/// What one caller may do, ready for quick questions.
#[derive(Debug, Clone)]
pub(crate) struct Grants {
    all: bool,
    own: Vec<Grant>,
    /// What the user behind a separated token may do.
    limit: Option<Box<Grants>>,
}

/// A line of access control that is about the caller.
#[derive(Debug, Clone)]
struct Grant {
    path: String,
    mask: Mask,
    propagate: bool,
    /// Through a group: what names the caller itself on the same level goes before.
    group: bool,
    /// `NoAccess`: takes everything else on the level away.
    none: bool,
}

/// Privileges on a path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Rights {
    pub(crate) mask: Mask,
    /// Those of them that reach further down.
    pub(crate) below: Mask,
    /// Whether `NoAccess` decided.
    none: bool,
}

// === impl Access ===

impl Access {
    pub(crate) fn new(realm: Realm) -> Self {
        let mut roles = BTreeMap::new();
        let built_in: &[(&str, &[&str])] = match realm {
            Realm::Pve => PVE_ROLES,
            Realm::Pbs => PBS_ROLES,
        };
        for (name, prefixes) in built_in {
            roles.insert((*name).to_owned(), (expand(realm, prefixes), true));
        }
        let mut users = BTreeMap::new();
        users.insert(
            "root@pam".to_owned(),
            User { password: Some("sim-admin".to_owned()), enabled: true, ..User::default() },
        );
        let key = uuid::Uuid::new_v4().to_string();
        Self { realm, users, roles, acl: Vec::new(), groups: BTreeMap::new(), key }
    }

    /// What `principal` may do.
    pub(crate) fn grants(&self, principal: &Principal) -> Grants {
        let of_user = self.direct(&principal.user);
        match &principal.token {
            None => of_user,
            Some(token) => {
                let separated = self
                    .users
                    .get(&principal.user)
                    .and_then(|user| user.tokens.get(token))
                    .is_none_or(|token| token.privsep);
                if !separated {
                    return of_user;
                }
                let mut own = self.direct(&principal.to_string());
                own.all = false;
                own.limit = Some(Box::new(of_user));
                own
            }
        }
    }

    fn direct(&self, who: &str) -> Grants {
        let own = self.acl.iter().filter_map(|entry| {
            let group = entry.who != who;
            if group && !self.groups.get(&entry.who).is_some_and(|it| it.members.contains(who)) {
                return None;
            }
            Some(Grant {
                path: entry.path.clone(),
                mask: self.roles.get(&entry.role).map_or(0, |role| role.0),
                propagate: entry.propagate,
                group,
                none: entry.role == "NoAccess",
            })
        });
        Grants { all: who == "root@pam", own: own.collect(), limit: None }
    }
}

// === impl Grants ===

impl Grants {
    /// The privileges on `path`.
    pub(crate) fn on(&self, path: &str) -> Mask {
        self.rights(path, &[]).mask
    }

    /// The privileges on `path`, of which these pools have a share.
    pub(crate) fn rights(&self, path: &str, pools: &[String]) -> Rights {
        let mut rights = self.alone(path);
        for pool in pools {
            let of_pool = self.alone(&format!("/pool/{pool}"));
            if rights.none {
                break;
            }
            if of_pool.none {
                rights = of_pool;
            } else {
                // What comes through a pool reaches no further.
                rights.mask |= of_pool.mask;
            }
        }
        let Some(limit) = &self.limit else { return rights };
        let most = limit.rights(path, pools);
        Rights {
            mask: rights.mask & most.mask,
            below: rights.below & most.below,
            none: rights.none || most.none,
        }
    }

    /// What the lines say, pools and the user behind a token left out.
    fn alone(&self, path: &str) -> Rights {
        if self.all {
            return Rights { mask: Mask::MAX, below: Mask::MAX, none: false };
        }
        // The deepest level that says something decides, and what names the caller itself goes
        // before what a group of the caller brings.
        let mut found = Rights::default();
        let mut rank = None;
        for grant in &self.own {
            let at = grant.path.as_str();
            let is_above =
                at == "/" || path.strip_prefix(at).is_some_and(|rest| rest.starts_with('/'));
            if at != path && !(grant.propagate && is_above) {
                continue;
            }
            let level = (if at == "/" { 0 } else { at.len() }, !grant.group);
            if rank.is_some_and(|rank| rank > level) {
                continue;
            }
            if rank != Some(level) {
                rank = Some(level);
                found = Rights::default();
            }
            found.mask |= grant.mask;
            found.none |= grant.none;
            if grant.propagate {
                found.below |= grant.mask;
            }
        }
        if found.none { Rights { none: true, ..Rights::default() } } else { found }
    }

    pub(crate) fn may(&self, path: &str, privilege: &str) -> bool {
        self.on(path) & bit(privilege) != 0
    }

    /// Paths that have an entry of their own.
    pub(crate) fn paths(&self) -> BTreeSet<&str> {
        let mut paths: BTreeSet<&str> = self.own.iter().map(|grant| grant.path.as_str()).collect();
        if let Some(limit) = &self.limit {
            paths.extend(limit.paths());
        }
        paths
    }

    pub(crate) fn is_root(&self) -> bool {
        self.all
    }
}

// === impl Principal ===

impl std::fmt::Display for Principal {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.token {
            None => out.write_str(&self.user),
            Some(token) => write!(out, "{}!{token}", self.user),
        }
    }
}

/// The bit of a privilege; unknown names have none.
pub(crate) fn bit(privilege: &str) -> Mask {
    PRIVILEGES.iter().position(|name| *name == privilege).map_or(0, |at| 1 << at)
}

/// The names in a mask, in order, as far as the product knows them.
pub(crate) fn names(realm: Realm, mask: Mask) -> Vec<&'static str> {
    let mut names: Vec<&str> = PRIVILEGES
        .iter()
        .enumerate()
        .filter(|(at, name)| mask & (1 << at) != 0 && known(realm, name))
        .map(|(_, name)| *name)
        .collect();
    names.sort_unstable();
    names
}

/// Whether the product has such a privilege.
pub(crate) fn known(realm: Realm, name: &str) -> bool {
    let Some(at) = PRIVILEGES.iter().position(|known| *known == name) else { return false };
    let only_pbs = at > PRIVILEGES.iter().position(|name| *name == "VM.Monitor").unwrap_or(0);
    match realm {
        Realm::Pve => !only_pbs,
        Realm::Pbs => {
            only_pbs
                || matches!(
                    name,
                    "Datastore.Allocate"
                        | "Datastore.Audit"
                        | "Permissions.Modify"
                        | "Realm.Allocate"
                        | "Sys.Audit"
                        | "Sys.Console"
                        | "Sys.Modify"
                )
        }
    }
}

/// A mask from names; a trailing `*` stands for all that begin so.
pub(crate) fn expand(realm: Realm, patterns: &[&str]) -> Mask {
    let mut mask = 0;
    for (at, name) in PRIVILEGES.iter().enumerate() {
        let hit = patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(stem) => name.starts_with(stem),
            None => name == pattern,
        });
        if hit && known(realm, name) {
            mask |= 1 << at;
        }
    }
    mask
}

const AUDIT: &[&str] = &[
    "Datastore.Audit",
    "Mapping.Audit",
    "Pool.Audit",
    "SDN.Audit",
    "Sys.Audit",
    "VM.Audit",
    "VM.GuestAgent.Audit",
];

const PVE_ROLES: &[(&str, &[&str])] = &[
    ("Administrator", &["*"]),
    ("NoAccess", &[]),
    (
        "PVEAdmin",
        &[
            "Datastore.*",
            "Group.*",
            "Mapping.Audit",
            "Mapping.Use",
            "Pool.*",
            "Realm.AllocateUser",
            "SDN.*",
            "Sys.Audit",
            "Sys.Console",
            "Sys.Syslog",
            "User.*",
            "VM.*",
        ],
    ),
    ("PVEAuditor", AUDIT),
    ("PVEDatastoreAdmin", &["Datastore.*"]),
    ("PVEDatastoreUser", &["Datastore.AllocateSpace", "Datastore.Audit"]),
    ("PVEMappingAdmin", &["Mapping.*"]),
    ("PVEMappingAuditor", &["Mapping.Audit"]),
    ("PVEMappingUser", &["Mapping.Audit", "Mapping.Use"]),
    ("PVEPoolAdmin", &["Pool.*"]),
    ("PVEPoolUser", &["Pool.Audit"]),
    ("PVESDNAdmin", &["SDN.*"]),
    ("PVESDNUser", &["SDN.Audit", "SDN.Use"]),
    ("PVESysAdmin", &["Sys.Audit", "Sys.Console", "Sys.Syslog"]),
    ("PVETemplateUser", &["VM.Audit", "VM.Clone"]),
    ("PVEUserAdmin", &["Group.Allocate", "Realm.AllocateUser", "User.Modify"]),
    ("PVEVMAdmin", &["VM.*"]),
    (
        "PVEVMUser",
        &[
            "VM.Audit",
            "VM.Backup",
            "VM.Config.CDROM",
            "VM.Config.Cloudinit",
            "VM.Console",
            "VM.GuestAgent.Audit",
            "VM.PowerMgmt",
        ],
    ),
];

const PBS_ROLES: &[(&str, &[&str])] = &[
    ("Admin", &["*"]),
    ("Audit", &["Datastore.Audit", "Remote.Audit", "Sys.Audit", "Tape.Audit"]),
    ("NoAccess", &[]),
    ("DatastoreAdmin", &["Datastore.*"]),
    ("DatastoreAudit", &["Datastore.Audit"]),
    ("DatastoreBackup", &["Datastore.Backup"]),
    ("DatastorePowerUser", &["Datastore.Backup", "Datastore.Prune"]),
    ("DatastoreReader", &["Datastore.Audit", "Datastore.Read"]),
    ("RemoteAdmin", &["Remote.*"]),
    ("RemoteAudit", &["Remote.Audit"]),
    ("RemoteSyncOperator", &["Remote.Audit", "Remote.Read"]),
    ("TapeAdmin", &["Tape.*"]),
    ("TapeAudit", &["Tape.Audit"]),
];
