//! Whether the login sees what the offered tools need, and the line that lets it.

use mcp_tools::{
    needs::{NEEDS, Need, Product},
    permissions::Permissions,
};
use stdx::Chain;
use tokio::time::{Instant, timeout};

use crate::{
    finding::Finding,
    plan::Cx,
    product::{Client, Table},
};

const CHECK: &str = "permissions";

/// Needs that are better left unmet by most: too wide a privilege for what it brings.
const BY_TASTE: &[&str] = &["updates", "permissions", "pbs_certificates", "pbs_permissions"];

/// Which needs count for a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Those of reads.
    Reads,
    /// Those of changes.
    Changes,
    /// Both.
    Both,
}

/// Lines for the server's shell, each thing granted once.
pub(super) struct Grants<'a> {
    who: &'a str,
    at_root: bool,
    given: Vec<(&'static str, &'static str)>,
}

/// Asks what the login may do, and judges.
pub(super) async fn check(cx: &Cx<'_>, table: &Table, client: &Client) -> Finding {
    let key = table.key();
    let start = Instant::now();
    let held = match timeout(cx.deadline, client.permissions()).await {
        Ok(Ok(held)) => held,
        Ok(Err(error)) => {
            return Finding::fail(key, CHECK, Chain(&error).to_string())
                .hint("every login may ask for its own permissions: see the server's log")
                .took(start.elapsed());
        }
        Err(_) => {
            let detail = format!("no answer within {} s", cx.deadline.as_secs());
            return Finding::fail(key, CHECK, detail)
                .hint("try again with a larger --timeout")
                .took(start.elapsed());
        }
    };
    let options = table.options();
    let scope = match (cx.mode, &options.operate) {
        (guard::Mode::Trusted, None) => Scope::Both,
        _ => Scope::Reads,
    };
    let needs = needed(cx, table.product(), scope);
    judge(key, CHECK, options.credential.id(), &needs, &held).took(start.elapsed())
}

/// The needs of the offered tools.
pub(super) fn needed(cx: &Cx<'_>, product: Product, scope: Scope) -> Vec<&'static Need> {
    let counts = |need: &&Need| {
        need.product == product
            && need.tools.iter().any(|tool| cx.tools.contains(*tool))
            && match scope {
                Scope::Reads => !need.operate,
                Scope::Changes => need.operate,
                Scope::Both => true,
            }
    };
    NEEDS.iter().filter(counts).collect()
}

/// The verdict on what is held. `who` is a token or user.
pub(super) fn judge(
    key: &str,
    check: &'static str,
    who: &str,
    needs: &[&'static Need],
    held: &Permissions,
) -> Finding {
    let mut grants = Grants::new(who, held);
    if held.is_empty() {
        let basic: Vec<_> = needs.iter().copied().filter(|need| need.role.is_some()).collect();
        let basic = if basic.is_empty() { needs.to_vec() } else { basic };
        let finding = Finding::fail(key, check, format!("{who} has no privileges at all"));
        let finding = if grants.is_token() {
            finding.hint(
                "a token needs a grant of its own and one for its user; on the server's shell:",
            )
        } else {
            finding.hint("on the server's shell:")
        };
        return finding
            .hints(basic.into_iter().filter_map(|need| grants.line(need)).collect::<Vec<_>>());
    }
    let unmet: Vec<_> = needs.iter().copied().filter(|need| !need.is_met(held)).collect();
    let (taste, missing): (Vec<_>, Vec<_>) =
        unmet.into_iter().partition(|need| BY_TASTE.contains(&need.id));
    let fatal = missing.iter().any(|need| need.role.is_some() && !need.is_partly_met(held));
    let finding = if missing.is_empty() {
        Finding::pass(key, check, format!("{who} has what the tools need"))
    } else {
        let lacks: Vec<_> = missing.iter().map(|need| lack(need, held)).collect();
        let detail = format!("{who} lacks {}", lacks.join(", "));
        if fatal { Finding::fail(key, check, detail) } else { Finding::warn(key, check, detail) }
    };
    let finding = finding.hints(grants.explained("", &missing));
    finding.hints(grants.explained("optional: ", &taste))
}

fn lack(need: &Need, held: &Permissions) -> String {
    let privilege = need.privileges[0];
    if need.is_partly_met(held) {
        format!("{privilege} on parts of {}", need.path)
    } else {
        format!("{privilege} on {}", need.path)
    }
}

// === impl Grants ===

impl<'a> Grants<'a> {
    pub(super) fn new(who: &'a str, held: &Permissions) -> Self {
        // What is granted further down replaces what comes from above, in both products. So a new
        // role goes where the others are: onto the root, if anything is held there.
        let at_root = held.privileges().iter().any(|privilege| held.has("/", privilege));
        Self { who, at_root, given: Vec::new() }
    }

    fn is_token(&self) -> bool {
        self.who.contains('!')
    }

    /// The line for the server's shell, unless one that was given before does it.
    pub(super) fn line(&mut self, need: &'static Need) -> Option<String> {
        let path = if self.at_root { "/" } else { need.path };
        let covered = need.role.is_some_and(|role| {
            self.given.iter().any(|(at, given)| *given == role && (*at == "/" || *at == path))
        });
        if covered {
            return None;
        }
        self.given.extend(need.role.map(|role| (path, role)));
        Some(need.grant(self.who, path))
    }

    /// What each need is for, and its line; needs for the same thing share a hint.
    fn explained(&mut self, prefix: &str, needs: &[&'static Need]) -> Vec<String> {
        let mut groups: Vec<(&str, Vec<String>)> = Vec::new();
        for need in needs {
            let line = self.line(need);
            match groups.iter_mut().find(|(without, _)| *without == need.without) {
                Some((_, lines)) => lines.extend(line),
                None => groups.push((need.without, line.into_iter().collect())),
            }
        }
        let hints = groups.into_iter().map(|(without, lines)| match lines[..] {
            [] => format!("{prefix}for {without}: a line above does"),
            _ => format!("{prefix}for {without}: {}", lines.join("; ")),
        });
        hints.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::finding::Status;

    const AUDITOR: &[&str] =
        &["Sys.Audit", "VM.Audit", "Datastore.Audit", "Pool.Audit", "VM.GuestAgent.Audit"];
    const AGENT: &[&str] = &[
        "Sys.Audit",
        "VM.Audit",
        "Datastore.Audit",
        "Pool.Audit",
        "VM.GuestAgent.Audit",
        "Sys.Syslog",
        "Datastore.AllocateSpace",
        "VM.Backup",
    ];

    fn held(paths: &[(&str, &[&str])]) -> Permissions {
        let paths = paths.iter().map(|(path, privileges)| {
            let privileges = privileges.iter().map(|name| ((*name).to_owned(), true));
            ((*path).to_owned(), privileges.collect::<BTreeMap<_, _>>())
        });
        Permissions::from(paths.collect::<BTreeMap<_, _>>())
    }

    fn told(product: Product, who: &str, held: &Permissions) -> String {
        let needs: Vec<_> =
            NEEDS.iter().filter(|need| need.product == product && !need.operate).collect();
        let finding = judge("lab", CHECK, who, &needs, held);
        let hints: Vec<_> = finding.hints.iter().map(|hint| format!("\n  - {hint}")).collect();
        format!("{:?} {}{}\n", finding.status, finding.detail, hints.concat())
    }

    #[test]
    fn what_is_missing_comes_with_the_line_that_grants_it() {
        let pve = [
            told(Product::Pve, "mcp@pve!agent", &held(&[("/", AGENT)])),
            told(Product::Pve, "mcp@pve!agent", &held(&[("/", AUDITOR)])),
            told(Product::Pve, "mcp@pve!agent", &held(&[("/vms/100", &["VM.Audit", "VM.Backup"])])),
            told(Product::Pve, "mcp@pve!agent", &held(&[])),
            told(Product::Pve, "mcp@pve", &held(&[("/", &[])])),
        ];
        let pbs = [
            told(
                Product::Pbs,
                "mcp@pbs!agent",
                &held(&[("/datastore/main", &["Datastore.Audit"])]),
            ),
            told(Product::Pbs, "mcp@pbs!agent", &held(&[("/", &["Datastore.Audit"])])),
            told(Product::Pbs, "mcp@pbs", &held(&[])),
        ];
        expect_test::expect![[r#"
            Pass mcp@pve!agent has what the tools need
              - optional: for pending package updates (a wide privilege: leave it out unless you need them here): pveum role add McpSysModify --privs Sys.Modify; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpSysModify
            Warn mcp@pve!agent lacks Datastore.AllocateSpace on /storage, VM.Backup on /vms, Sys.Syslog on /
              - for backup files on PVE storages (tasks and backup servers are used instead): pveum role add McpDatastoreAllocateSpace --privs Datastore.AllocateSpace; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpDatastoreAllocateSpace; pveum role add McpVMBackup --privs VM.Backup; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpVMBackup
              - for node logs, and cluster log entries of others: pveum role add McpSysSyslog --privs Sys.Syslog; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpSysSyslog
              - optional: for pending package updates (a wide privilege: leave it out unless you need them here): pveum role add McpSysModify --privs Sys.Modify; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpSysModify
            Fail mcp@pve!agent lacks Sys.Audit on /, VM.Audit on parts of /vms, Datastore.Audit on /storage, Datastore.AllocateSpace on /storage, VM.Backup on parts of /vms, VM.GuestAgent.Audit on /vms, Sys.Syslog on /, Sys.Audit on /access, Pool.Audit on /pool
              - for quorum, HA, backup jobs, node status and the tasks of others: pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles PVEAuditor
              - for guests: a line above does
              - for storages and how full they are: a line above does
              - for backup files on PVE storages (tasks and backup servers are used instead): pveum role add McpDatastoreAllocateSpace --privs Datastore.AllocateSpace; pveum acl modify /storage --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpDatastoreAllocateSpace; pveum role add McpVMBackup --privs VM.Backup; pveum acl modify /vms --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpVMBackup
              - for addresses of virtual machines (from the guest agent): pveum role add McpVMGuestAgentAudit --privs VM.GuestAgent.Audit; pveum acl modify /vms --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpVMGuestAgentAudit
              - for node logs, and cluster log entries of others: pveum role add McpSysSyslog --privs Sys.Syslog; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpSysSyslog
              - for users, groups and access control of others: a line above does
              - for pools: a line above does
              - optional: for pending package updates (a wide privilege: leave it out unless you need them here): pveum role add McpSysModify --privs Sys.Modify; pveum acl modify /nodes --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpSysModify
            Fail mcp@pve!agent has no privileges at all
              - a token needs a grant of its own and one for its user; on the server's shell:
              - pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles PVEAuditor
            Fail mcp@pve has no privileges at all
              - on the server's shell:
              - pveum acl modify / --users 'mcp@pve' --roles PVEAuditor
            Fail mcp@pbs!agent lacks Datastore.Audit on parts of /datastore, Sys.Audit on /system, Sys.Audit on /access, Sys.Audit on /, Remote.Audit on /remote
              - for datastores, their backups and jobs: proxmox-backup-manager acl update /datastore DatastoreAudit --auth-id 'mcp@pbs' && proxmox-backup-manager acl update /datastore DatastoreAudit --auth-id 'mcp@pbs!agent'
              - for the server's status and the tasks of others: proxmox-backup-manager acl update /system Audit --auth-id 'mcp@pbs' && proxmox-backup-manager acl update /system Audit --auth-id 'mcp@pbs!agent'
              - for users and access control of others: proxmox-backup-manager acl update /access Audit --auth-id 'mcp@pbs' && proxmox-backup-manager acl update /access Audit --auth-id 'mcp@pbs!agent'
              - for pending package updates: proxmox-backup-manager acl update / Audit --auth-id 'mcp@pbs' && proxmox-backup-manager acl update / Audit --auth-id 'mcp@pbs!agent'
              - for sync jobs that pull from remotes: proxmox-backup-manager acl update /remote RemoteAudit --auth-id 'mcp@pbs' && proxmox-backup-manager acl update /remote RemoteAudit --auth-id 'mcp@pbs!agent'
              - optional: for the server's certificates (a wide privilege: leave it out unless you need them here): proxmox-backup-manager acl update /system Admin --auth-id 'mcp@pbs' && proxmox-backup-manager acl update /system Admin --auth-id 'mcp@pbs!agent'
            Fail mcp@pbs!agent lacks Sys.Audit on /system, Sys.Audit on /access, Sys.Audit on /, Remote.Audit on /remote
              - for the server's status and the tasks of others: proxmox-backup-manager acl update / Audit --auth-id 'mcp@pbs' && proxmox-backup-manager acl update / Audit --auth-id 'mcp@pbs!agent'
              - for users and access control of others: a line above does
              - for pending package updates: a line above does
              - for sync jobs that pull from remotes: proxmox-backup-manager acl update / RemoteAudit --auth-id 'mcp@pbs' && proxmox-backup-manager acl update / RemoteAudit --auth-id 'mcp@pbs!agent'
              - optional: for the server's certificates (a wide privilege: leave it out unless you need them here): proxmox-backup-manager acl update / Admin --auth-id 'mcp@pbs' && proxmox-backup-manager acl update / Admin --auth-id 'mcp@pbs!agent'
            Fail mcp@pbs has no privileges at all
              - on the server's shell:
              - proxmox-backup-manager acl update /datastore DatastoreAudit --auth-id 'mcp@pbs'
              - proxmox-backup-manager acl update /system Audit --auth-id 'mcp@pbs'
              - proxmox-backup-manager acl update /access Audit --auth-id 'mcp@pbs'
              - proxmox-backup-manager acl update / Audit --auth-id 'mcp@pbs'
              - proxmox-backup-manager acl update /remote RemoteAudit --auth-id 'mcp@pbs'
        "#]].assert_eq(&(pve.concat() + &pbs.concat()));
    }

    #[test]
    fn what_is_left_to_taste_is_in_the_table() {
        for id in BY_TASTE {
            let need = mcp_tools::needs::need(id).expect("it is in the table");
            assert!(need.role.is_none(), "{id}");
        }
        assert_eq!(judge("a", CHECK, "b", &[], &held(&[("/", AGENT)])).status, Status::Pass);
    }
}
