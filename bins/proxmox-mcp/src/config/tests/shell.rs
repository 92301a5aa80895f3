//! `config add --print`: the commands for the server's shell.

use expect_test::{Expect, expect};

use super::{Scripted, run};

async fn check(args: &[&str], expected: Expect) {
    let mut terminal = Scripted::default().absent();
    let args = [&["add", "--print", "--out", "/etc/proxmox-mcp"], args].concat();
    assert_eq!(run(&mut terminal, &args).await, 0, "{}", terminal.err);
    assert_eq!(terminal.err, "");
    expected.assert_eq(&terminal.out);
}

#[tokio::test]
async fn a_cluster() {
    check(
        &["https://pve1.lan:8006", "--key", "home"],
        expect![[r##"
            # For a root shell on pve1.lan. Nothing was contacted and nothing was changed.
            pveum user add mcp@pve --comment "proxmox-mcp"
            pveum role add McpRead --privs "Sys.Syslog"
            # The next line prints the token's secret, once.
            pveum user token add mcp@pve agent --privsep 1 --output-format json
            pveum acl modify / --users mcp@pve --tokens 'mcp@pve!agent' --roles PVEAuditor
            pveum acl modify / --users mcp@pve --tokens 'mcp@pve!agent' --roles McpRead
            # The certificate's fingerprint, for the table below:
            pvenode cert info

            # Left out:
            # starting, stopping and snapshotting guests:
            #   pveum role add McpOperate --privs "VM.PowerMgmt VM.Snapshot"
            #   pveum acl modify / --users mcp@pve --tokens 'mcp@pve!agent' --roles McpOperate
            # listing backup files on PVE storages, whose privileges can make and delete backups, too:
            #   pveum role add McpBackupList --privs "Datastore.AllocateSpace VM.Backup"
            #   pveum acl modify / --users mcp@pve --tokens 'mcp@pve!agent' --roles McpBackupList

            # On the machine of proxmox-mcp: the secret alone into a file that only you can read.
            mkdir -p /etc/proxmox-mcp/conf.d
            install -d -m 700 /etc/proxmox-mcp/secrets
            (umask 077; cat > /etc/proxmox-mcp/secrets/home.token)    # paste the secret, Enter, Ctrl-D

            # And this into /etc/proxmox-mcp/conf.d/home.toml:
            # Added by `proxmox-mcp config add`.
            [pve.home]
            endpoints = ["https://pve1.lan:8006"]
            token_id = "mcp@pve!agent"
            token_file = "../secrets/home.token"
            fingerprint = "AB:CD:…"
        "##]],
    )
    .await;
}

#[tokio::test]
async fn a_cluster_that_is_read_only_and_lists_backups() {
    check(
        &["pve1.lan:8006", "--backup-lists", "--token-name", "reader"],
        expect![[r#"
            # For a root shell on pve1.lan. Nothing was contacted and nothing was changed.
            pveum user add mcp@pve --comment "proxmox-mcp"
            pveum role add McpRead --privs "Sys.Syslog"
            pveum role add McpBackupList --privs "Datastore.AllocateSpace VM.Backup"
            # The next line prints the token's secret, once.
            pveum user token add mcp@pve reader --privsep 1 --output-format json
            pveum acl modify / --users mcp@pve --tokens 'mcp@pve!reader' --roles PVEAuditor
            pveum acl modify / --users mcp@pve --tokens 'mcp@pve!reader' --roles McpRead
            pveum acl modify / --users mcp@pve --tokens 'mcp@pve!reader' --roles McpBackupList
            # The certificate's fingerprint, for the table below:
            pvenode cert info

            # Left out:
            # starting, stopping and snapshotting guests:
            #   pveum role add McpOperate --privs "VM.PowerMgmt VM.Snapshot"
            #   pveum acl modify / --users mcp@pve --tokens 'mcp@pve!reader' --roles McpOperate

            # On the machine of proxmox-mcp: the secret alone into a file that only you can read.
            mkdir -p /etc/proxmox-mcp/conf.d
            install -d -m 700 /etc/proxmox-mcp/secrets
            (umask 077; cat > /etc/proxmox-mcp/secrets/pve1.token)    # paste the secret, Enter, Ctrl-D

            # And this into /etc/proxmox-mcp/conf.d/pve1.toml:
            # Added by `proxmox-mcp config add`.
            [pve.pve1]
            endpoints = ["https://pve1.lan:8006"]
            token_id = "mcp@pve!reader"
            token_file = "../secrets/pve1.token"
            fingerprint = "AB:CD:…"
        "#]],
    )
    .await;
}

#[tokio::test]
async fn a_backup_server() {
    check(
        &["https://pbs1.lan:8007", "--key", "vault"],
        expect![[r#"
        # For a root shell on pbs1.lan. Nothing was contacted and nothing was changed.
        proxmox-backup-manager user create mcp@pbs --comment "proxmox-mcp"
        # The next line prints the token's secret, once.
        proxmox-backup-manager user generate-token mcp@pbs agent
        proxmox-backup-manager acl update / Audit --auth-id 'mcp@pbs'
        proxmox-backup-manager acl update / Audit --auth-id 'mcp@pbs!agent'
        # The certificate's fingerprint, for the table below:
        proxmox-backup-manager cert info

        # On the machine of proxmox-mcp: the secret alone into a file that only you can read.
        mkdir -p /etc/proxmox-mcp/conf.d
        install -d -m 700 /etc/proxmox-mcp/secrets
        (umask 077; cat > /etc/proxmox-mcp/secrets/vault.token)    # paste the secret, Enter, Ctrl-D

        # And this into /etc/proxmox-mcp/conf.d/vault.toml:
        # Added by `proxmox-mcp config add`.
        [pbs.vault]
        endpoints = ["https://pbs1.lan:8007"]
        token_id = "mcp@pbs!agent"
        token_file = "../secrets/vault.token"
        fingerprint = "AB:CD:…"
    "#]],
    )
    .await;
}

#[tokio::test]
async fn what_cannot_be_understood_is_refused_before_anything_is_asked() {
    let mut text = String::new();
    for args in [
        &["https://pve1.lan"][..],
        &["https://pve1.lan:443", "--admin", "root"],
        &["https://192.0.2.1:8006"],
        &["http://pve1.lan:8006"],
        &["https://root:hunter2@pve1.lan:8006"],
        &["https://pve1.lan:8006", "--key", "My-Home"],
        &["https://pve1.lan:8006", "--token-name", "it's"],
        &["https://pve1.lan:8006", "--fingerprint", "AB:CD"],
        &["https://pve1.lan:8006", "--admin", "root"],
    ] {
        let mut terminal = Scripted::default();
        assert_eq!(run(&mut terminal, &[&["add"], args].concat()).await, 2);
        text.push_str(&terminal.everything());
    }
    assert!(!text.contains("hunter2"), "{text}");
    expect![[r#"
        error: https://pve1.lan does not tell which product answers there; add --product pve or --product pbs
        error: https://pve1.lan:443 does not tell which product answers there; add --product pve or --product pbs
        error: an address is no name for the settings table; add --key NAME, such as --key home
        error: the address: "http://pve1.lan:8006" is not https; the API is served over HTTPS only; for a certificate that no authority signed use fingerprints or ca_file
        error: the address: an address carries a user name or password; use token_id and token_file, and an address without them
        error: use --key: cluster key "My-Home" is not valid: use a-z, 0-9 and _ only, at most 40 characters
        error: --token-name "it's" is not a token's name: a letter, then letters, digits, dots, - or _
        error: read --fingerprint: not a SHA-256 fingerprint (64 hex digits, colons between pairs allowed): "AB:CD"
        error: --admin "root" is not a user with its realm; write root@pam
    "#]].assert_eq(&text);
}
