//! Who is at the other end of the control socket, by the system's word.

use std::fs;
use std::path::Path;

use guard::Principal;
use tokio::net::UnixStream;

/// The account at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its user.
    pub uid: u32,
    /// The group that it runs as.
    pub gid: u32,
    /// The further groups of its user, as this machine's own files list them.
    pub groups: Vec<u32>,
    /// Its process, for the log.
    pub pid: Option<i32>,
}

// === impl Peer ===

impl Peer {
    /// Asks the system; `None` where it does not say, and then nobody is let in.
    pub fn of(stream: &UnixStream) -> Option<Self> {
        let account = stream.peer_cred().ok()?;
        let (uid, gid, pid) = (account.uid(), account.gid(), account.pid());
        Some(Self { uid, gid, groups: Accounts::of_this_machine().groups_of(uid), pid })
    }

    /// Who it is in the audit log.
    pub fn principal(&self) -> Principal {
        Principal::local(self.uid)
    }

    /// Whether it belongs to the group.
    pub fn is_in(&self, group: u32) -> bool {
        self.gid == group || self.groups.contains(&group)
    }
}

/// The users and groups of this machine, as its own files have them. Accounts from a directory
/// service are known by number.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    passwd: String,
    group: String,
}

// === impl Accounts ===

impl Accounts {
    /// As `/etc/passwd` and `/etc/group` are now.
    pub fn of_this_machine() -> Self {
        let read = |path: &str| fs::read_to_string(Path::new(path)).unwrap_or_default();
        Self { passwd: read("/etc/passwd"), group: read("/etc/group") }
    }

    /// The accounts of these two texts.
    pub fn from_texts(passwd: &str, group: &str) -> Self {
        Self { passwd: passwd.to_owned(), group: group.to_owned() }
    }

    /// The number of a user, given by name or number.
    pub fn user(&self, name: &str) -> Option<u32> {
        number(&self.passwd, name)
    }

    /// The number of a group, given by name or number.
    pub fn group(&self, name: &str) -> Option<u32> {
        number(&self.group, name)
    }

    /// The groups that list the user as a member.
    pub fn groups_of(&self, uid: u32) -> Vec<u32> {
        let names: Vec<&str> = rows(&self.passwd)
            .filter(|row| row.get(2).and_then(|id| id.parse().ok()) == Some(uid))
            .map(|row| row[0])
            .collect();
        let lists = |row: &Vec<&str>| {
            let members = row.get(3).copied().unwrap_or_default();
            members.split(',').any(|member| names.contains(&member))
        };
        rows(&self.group).filter(lists).filter_map(|row| row.get(2)?.parse().ok()).collect()
    }
}

fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split(':').collect::<Vec<_>>()).filter(|row| row.len() > 2)
}

fn number(text: &str, name: &str) -> Option<u32> {
    let by_name = rows(text).find(|row| row[0] == name).and_then(|row| row[2].parse().ok());
    by_name.or_else(|| name.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_are_found() {
        let accounts = Accounts::from_texts(
            "root:x:0:0:root:/root:/bin/sh\nada:x:1001:1001::/home/ada:/bin/sh\nbroken\n",
            "root:x:0:\napprovers:x:900:ada,bob\nada:x:1001:\nadmins:x:901:adam\n",
        );
        assert_eq!(accounts.user("ada"), Some(1001));
        assert_eq!(accounts.user("4711"), Some(4711));
        assert_eq!(accounts.user("nobody-here"), None);
        assert_eq!(accounts.group("approvers"), Some(900));
        assert_eq!(accounts.groups_of(1001), [900]);
        assert!(accounts.groups_of(4711).is_empty());
        let peer = Peer { uid: 1001, gid: 1001, groups: accounts.groups_of(1001), pid: None };
        assert!(peer.is_in(900) && peer.is_in(1001) && !peer.is_in(901));
        assert_eq!(peer.principal().to_string(), "local:1001");
    }
}
