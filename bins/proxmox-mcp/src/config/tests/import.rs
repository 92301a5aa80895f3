//! `config import`: what comes out for each topology, and what is written.

use std::path::Path;

use expect_test::{Expect, expect};

use super::{Scripted, mode, read, run};

const STANDALONE: &str = "\
LAB_CONFIGURATION=STANDALONE
PVE_NODES=pve-1,attic
PVE_1_HOST=192.0.2.11
PVE_1_USER=root@pam
PVE_1_TOKEN_NAME=mcp
PVE_1_TOKEN_VALUE=secret-one
ATTIC_HOST=attic.lan
ATTIC_USER=monitor@pve
ATTIC_TOKEN_NAME=full
ATTIC_TOKEN_VALUE=00123
PBS_NODES=pbs1
PBS1_HOST=pbs1.lan
PBS1_USER=root@pam
PBS1_TOKEN_NAME=mcp
PBS1_TOKEN_VALUE=secret-three
VERIFY_SSL=false
LOG_LEVEL=INFO
";

const CLUSTERED: &str = "\
LAB_CONFIGURATION=CLUSTERED
PVE_CLUSTER_NAME=Home Lab
PVE_CLUSTER_PRIMARY_HOST=alder.lan
PVE_CLUSTER_PRIMARY_USER=mcp@pve
PVE_CLUSTER_PRIMARY_TOKEN_NAME=agent
PVE_CLUSTER_PRIMARY_TOKEN_VALUE=secret-one
PVE_CLUSTER_SUBNODES=birch,cedar
BIRCH_HOST=birch.lan
ENABLE_EVENT_LISTENERS=true
ENABLED_EVENT_LISTENERS=SYSLOG
EVENT_SYSLOG_ENABLED=true
";

const MIXED: &str = "\
LAB_CONFIGURATION=MIXED
PVE_CLUSTER_NAME=lab
PVE_CLUSTER_PRIMARY_HOST=192.0.2.1
PVE_CLUSTER_PRIMARY_USER=mcp@pve
PVE_CLUSTER_PRIMARY_TOKEN_NAME=agent
PVE_CLUSTER_PRIMARY_TOKEN_VALUE=secret-one
PVE_NODES=edge
EDGE_HOST=192.0.2.5:8006
EDGE_USER=mcp@pve
EDGE_TOKEN_NAME=agent
EDGE_TOKEN_VALUE=secret-two
PBS_NODES=vault
VAULT_HOST=vault.lan
VAULT_USER=mcp@pbs
VAULT_TOKEN_NAME=agent
VAULT_TOKEN_VALUE=secret-three
VERIFY_SSL=true
";

/// The printed settings and warnings; the same must be written, load, and keep what was there.
async fn check(env: &str, expected: Expect) {
    let folder = tempfile::tempdir().unwrap();
    let env_file = folder.path().join("lab.env");
    std::fs::write(&env_file, env).unwrap();
    let env_file = env_file.to_str().unwrap();
    let base = format!("{}/", folder.path().display());

    let mut printed = Scripted::default();
    assert_eq!(run(&mut printed, &["import", env_file]).await, 0, "{}", printed.err);
    assert!(!printed.everything().contains("secret-"), "{}", printed.everything());

    let out = folder.path().join("etc/proxmox-mcp");
    let import = ["import", env_file, "--out", out.to_str().unwrap()];
    let mut written = Scripted::default();
    assert_eq!(run(&mut written, &import).await, 0, "{}", written.err);
    assert!(!written.everything().contains("secret-"), "{}", written.everything());
    assert_eq!(read(&out.join("config.toml")), printed.out);
    expected.assert_eq(&format!("{}---\n{}", printed.out, written.everything()).replace(&base, ""));

    assert_eq!(mode(&out.join("secrets")), 0o700);
    for file in std::fs::read_dir(out.join("secrets")).unwrap() {
        let file = file.unwrap().path();
        assert_eq!(mode(&file), 0o600, "{}", file.display());
        assert!(env.contains(&format!("={}", read(&file))), "{}", file.display());
    }
    let main = out.join("config.toml");
    let mut checked = Scripted::default();
    assert_eq!(
        run(&mut checked, &["check", "--config", main.to_str().unwrap()]).await,
        0,
        "{}",
        checked.err
    );

    let mut again = Scripted::default();
    assert_eq!(run(&mut again, &import).await, 1);
    assert!(again.err.contains("exists; nothing was written"), "{}", again.err);
}

#[tokio::test]
async fn standalone_nodes() {
    check(STANDALONE, expect![[r#"
        # Made from lab.env of the earlier server.

        [server]
        declared_topology = "standalone"

        [log]
        level = "info"

        # pve-1 of PVE_NODES
        [pve.pve_1]
        endpoints = ["https://192.0.2.11:8006"]
        token_id = "root@pam!mcp"
        token_file = "secrets/pve_1.token"
        insecure = true

        # attic of PVE_NODES
        [pve.attic]
        endpoints = ["https://attic.lan:8006"]
        token_id = "monitor@pve!full"
        token_file = "secrets/attic.token"
        insecure = true

        # pbs1 of PBS_NODES
        [pbs.pbs1]
        endpoints = ["https://pbs1.lan:8007"]
        token_id = "root@pam!mcp"
        token_file = "secrets/pbs1.token"
        insecure = true
        ---
        etc/proxmox-mcp/config.toml
        etc/proxmox-mcp/secrets/pve_1.token
        etc/proxmox-mcp/secrets/attic.token
        etc/proxmox-mcp/secrets/pbs1.token
        warning: lab.env:16: VERIFY_SSL switches off the checking of certificates (insecure = true); put `fingerprint` or `ca_file` in its place: `proxmox-mcp test` shows the fingerprints that it sees
        Next: proxmox-mcp test --config etc/proxmox-mcp/config.toml
    "#]]).await;
}

#[tokio::test]
async fn a_cluster() {
    check(CLUSTERED, expect![[r#"
        # Made from lab.env of the earlier server.

        [server]
        declared_topology = "clustered"

        # PVE_CLUSTER_…
        [pve.home_lab]
        endpoints = ["https://alder.lan:8006", "https://birch.lan:8006"]
        token_id = "mcp@pve!agent"
        token_file = "secrets/home_lab.token"

        [input.syslog]
        type = "syslog"
        listen = ["udp://0.0.0.0:514", "tcp://0.0.0.0:514"]
        cluster = "home_lab"
        ---
        etc/proxmox-mcp/config.toml
        etc/proxmox-mcp/secrets/home_lab.token
        warning: lab.env:7: PVE_CLUSTER_SUBNODES names cedar, of which there is no CEDAR_HOST; members are discovered through the primary; add the address to `endpoints` to be able to fail over to it
        Next: proxmox-mcp test --config etc/proxmox-mcp/config.toml
    "#]]).await;
}

#[tokio::test]
async fn both() {
    check(
        MIXED,
        expect![[r#"
        # Made from lab.env of the earlier server.

        [server]
        declared_topology = "mixed"

        # PVE_CLUSTER_…
        [pve.lab]
        endpoints = ["https://192.0.2.1:8006"]
        token_id = "mcp@pve!agent"
        token_file = "secrets/lab.token"

        # edge of PVE_NODES
        [pve.edge]
        endpoints = ["https://192.0.2.5:8006"]
        token_id = "mcp@pve!agent"
        token_file = "secrets/edge.token"

        # vault of PBS_NODES
        [pbs.vault]
        endpoints = ["https://vault.lan:8007"]
        token_id = "mcp@pbs!agent"
        token_file = "secrets/vault.token"
        ---
        etc/proxmox-mcp/config.toml
        etc/proxmox-mcp/secrets/lab.token
        etc/proxmox-mcp/secrets/edge.token
        etc/proxmox-mcp/secrets/vault.token
        Next: proxmox-mcp test --config etc/proxmox-mcp/config.toml
    "#]],
    )
    .await;
}

#[tokio::test]
async fn nothing_is_written_while_something_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let env_file = folder.path().join(".env");
    std::fs::write(&env_file, "PVE_NODES=a\nA_HOST=192.0.2.1\nA_TOKEN_VALUE=secret-one\n").unwrap();
    let out = folder.path().join("out");
    let args = ["import", env_file.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let mut terminal = Scripted::default();
    assert_eq!(run(&mut terminal, &args).await, 1);
    assert!(!out.exists());
    assert!(terminal.err.contains("A_USER"), "{}", terminal.err);

    let mut absent = Scripted::default();
    assert_eq!(run(&mut absent, &["import", "/nonexistent/.env"]).await, 2);
    assert!(!Path::new("/nonexistent").exists());
}
