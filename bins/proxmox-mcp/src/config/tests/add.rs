//! `config add` against the simulator: what is made, what is written, and every way to stop.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use estate::NodeName;
use expect_test::expect;
use mcp_tools::needs;
use mcp_tools::permissions::Permissions;
use proxmox_sim::{PveRelease, Sim, SimConfig, SimTarget};
use settings::Sources;
use stdx::Clock as _;

use super::{Scripted, add, mode, read};

const PASSWORD: &str = "sim-admin";

async fn sim() -> Sim {
    Sim::start(SimConfig::fast()).await.unwrap()
}

/// The members of a target where they listen; `lost` ones where nobody does.
fn addresses(
    target: &SimTarget,
    lost: &[&str],
) -> impl Fn(&NodeName, IpAddr, u16) -> SocketAddr + Send + Sync + use<> {
    let known: BTreeMap<String, SocketAddr> = target
        .nodes
        .iter()
        .map(|node| (node.name.clone(), node.url.trim_start_matches("https://").parse().unwrap()))
        .collect();
    let lost: Vec<String> = lost.iter().map(|&name| name.to_owned()).collect();
    move |name, _, _| {
        if lost.iter().any(|lost| lost == name.as_str()) {
            return SocketAddr::from(([127, 0, 0, 1], 1));
        }
        known[name.as_str()]
    }
}

/// The text without what differs from run to run.
fn masked(text: &str, target: &SimTarget, folder: &Path) -> String {
    let mut text = text.replace(&folder.display().to_string(), "OUT");
    for node in &target.nodes {
        let address = node.url.trim_start_matches("https://");
        let port = address.rsplit(':').next().unwrap_or_default();
        text = text.replace(&node.fingerprint, &format!("PRINT-{}", node.name));
        text = text.replace(&format!(":{port}"), &format!(":PORT-{}", node.name));
    }
    let mask_dates = |line: &str| {
        let is_validity = line.trim_start().starts_with("valid  ");
        if is_validity { "  valid        SINCE to UNTIL".to_owned() } else { line.to_owned() }
    };
    // A prompt ends in a blank, which no line of a source file may.
    text.lines().map(|line| mask_dates(line).trim_end().to_owned() + "\n").collect()
}

fn assert_no_secret(terminal: &Scripted, secret_file: Option<PathBuf>) {
    let everything = terminal.everything();
    assert!(!everything.contains(PASSWORD), "{everything}");
    if let Some(file) = secret_file {
        let secret = read(&file);
        assert_eq!(secret.trim().len(), 36, "a token's secret");
        assert!(!everything.contains(secret.trim()), "{everything}");
        assert_eq!(mode(&file), 0o600);
    }
}

fn load(folder: &Path) -> settings::Settings {
    let mut sources = Sources::default();
    sources.config = Some(folder.join("config.toml"));
    let loaded = settings::load(&sources).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.warnings, []);
    loaded.settings
}

#[tokio::test]
async fn a_cluster_gets_a_token_of_least_privilege_and_a_table_with_its_members() {
    let sim = sim().await;
    let lab = sim.target("lab");
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("etc");
    let args = [
        &lab.nodes[0].url,
        "--product",
        "pve",
        "--operate",
        "--key",
        "home",
        "--token-name",
        "helper",
        "--out",
        out.to_str().unwrap(),
    ];
    let mut terminal = Scripted::answering(&["yes", PASSWORD]);
    add(&mut terminal, &args, &addresses(lab, &["cedar"])).await.unwrap();

    assert_no_secret(&terminal, Some(out.join("secrets/home.token")));
    assert_eq!(mode(&out.join("secrets")), 0o700);
    expect![[r"
        https://127.0.0.1:PORT-alder shows this certificate:
          subject      O=Simulated Proxmox, CN=alder
          issuer       O=Simulated Proxmox, CN=lab CA
          names        127.0.0.1, ::1, localhost, 127.0.0.1, alder
          valid        SINCE to UNTIL
          fingerprint  PRINT-alder
        Compare the fingerprint with the one in the server's own shell:
          pvenode cert info
        Is it the same? Type yes to go on:
        Password of root@pam (used once, stored nowhere):
        kept   user mcp@pve
        made   role McpRead (Sys.Syslog)
        made   role McpOperate (VM.PowerMgmt, VM.Snapshot)
        made   token mcp@pve!helper
        made   permission PVEAuditor on / for mcp@pve and mcp@pve!helper
        made   permission McpRead on / for mcp@pve and mcp@pve!helper
        made   permission McpOperate on / for mcp@pve and mcp@pve!helper
    "]]
    .assert_eq(&masked(&terminal.err, lab, &out));
    expect![[r#"
        home: PVE 9.2.11 answers the token mcp@pve!helper.

        The token may:
          PVEAuditor: look at nodes, guests, storages, tasks and backup jobs
          McpRead: read the nodes' logs and the whole cluster log
          McpOperate: start, stop and snapshot guests

        Left out; in the server's shell:
        listing backup files on PVE storages, whose privileges can make and delete backups, too:
          pveum role add McpBackupList --privs "Datastore.AllocateSpace VM.Backup"
          pveum acl modify / --users mcp@pve --tokens 'mcp@pve!helper' --roles McpBackupList

        Written:
          OUT/secrets/home.token
          OUT/home-ca.pem
          OUT/config.toml
          OUT/conf.d/home.toml
        The table has 2 endpoints; not among them, for the reason that it tells: cedar.

        Next:
          proxmox-mcp test --only home --config OUT/config.toml
          proxmox-mcp serve --mode trusted --config OUT/config.toml    to let tools start, stop and snapshot
    "#]]
    .assert_eq(&masked(&terminal.out, lab, &out));
    expect![[r#"
        # Added by `proxmox-mcp config add`.
        [pve.home]
        endpoints = ["https://127.0.0.1:PORT-alder", "https://127.0.0.1:PORT-birch"]
        token_id = "mcp@pve!helper"
        token_file = "../secrets/home.token"
        ca_file = "../home-ca.pem"
        # Other members of the cluster, and why they are not among the endpoints:
        #   cedar https://127.0.0.1:1, fingerprint PRINT-cedar, does not answer from here
    "#]]
    .assert_eq(&masked(&read(&out.join("conf.d/home.toml")), lab, &out));
    assert_eq!(read(&out.join("home-ca.pem")), lab.ca_pem);

    let settings = load(&out);
    let options = settings.pve.values().next().unwrap();
    let client = pve_client::Client::connect(options).unwrap();
    let held = client.call(pve_client::access::permissions(None, None)).await.unwrap();
    let held = held.into_iter().map(|(path, privileges)| {
        (path, privileges.into_iter().map(|(name, below)| (name, below.0)).collect())
    });
    let held = Permissions::from(held.collect::<BTreeMap<String, BTreeMap<String, bool>>>());
    let unmet: Vec<&str> = needs::unmet(needs::Product::Pve, &held).map(|need| need.id).collect();
    // It may turn guests on and off and snapshot them, and no more of what changes something.
    let operates = |id: &&str| needs::need(id).is_some_and(|need| need.operate);
    let (changes, reads): (Vec<&str>, Vec<&str>) = unmet.into_iter().partition(operates);
    assert_eq!(reads, ["backup_volumes_storage", "backup_volumes_guest", "updates"]);
    assert!(!changes.contains(&"power") && !changes.contains(&"snapshot"), "{changes:?}");

    // Another token beside it: what is there is kept, and stays when that fails.
    let again = [&args[..4], &["--key=again", "--token-name=second", "--out", args[9]]].concat();
    let levers = sim.levers();
    let mut terminal = Scripted::answering(&["yes", PASSWORD]).on_say(move |text| {
        if text.starts_with("made   permission McpOperate") {
            levers.status_next("lab", 500, "out of order", 1000).unwrap();
        }
    });
    let error = add(&mut terminal, &again, &addresses(lab, &[])).await.unwrap_err();
    sim.levers().clear("lab").unwrap();
    let made = terminal.err.split("nowhere): \n").last().unwrap_or_default();
    expect![[r"
        kept   user mcp@pve
        kept   role McpRead (Sys.Syslog)
        kept   role McpOperate (VM.PowerMgmt, VM.Snapshot)
        made   token mcp@pve!second
        made   permission PVEAuditor on / for mcp@pve!second
        made   permission McpRead on / for mcp@pve!second
        made   permission McpOperate on / for mcp@pve!second
        warning: the cluster's members are unknown: GET /cluster/status: out of order (status 500)
    "]]
    .assert_eq(made);
    expect![[r"
        failed to use the new token mcp@pve!second: GET /version: out of order (status 500)
        Made before that; to take it back:
          here    rm OUT/secrets/again.token
          server  pveum acl delete / --tokens 'mcp@pve!second' --roles McpOperate
          server  pveum acl delete / --tokens 'mcp@pve!second' --roles McpRead
          server  pveum acl delete / --tokens 'mcp@pve!second' --roles PVEAuditor
          server  pveum user token remove mcp@pve second
    "]]
    .assert_eq(&masked(&error, lab, &out));

    // A second try changes nothing: the table is there.
    let mut terminal = Scripted::answering(&["yes", PASSWORD]);
    let error = add(&mut terminal, &args, &addresses(lab, &[])).await.unwrap_err();
    assert!(error.contains("home.token exists; nothing was changed"), "{error}");
    assert_eq!(terminal.err, "");
}

#[tokio::test]
async fn read_only_leaves_out_what_changes_guests() {
    let config = SimConfig::fast().with_pve_release(PveRelease::V8_4);
    let sim = Sim::start(config).await.unwrap();
    let edge = sim.target("edge");
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path();
    let args = [
        &edge.nodes[0].url,
        "--product=pve",
        "--key=edge",
        "--token-name=reader",
        "--backup-lists",
        "--fingerprint",
        &edge.nodes[0].fingerprint,
        "--out",
        out.to_str().unwrap(),
    ];
    // The fingerprint is known, so nobody needs to be there: the password comes through a pipe.
    let mut terminal = Scripted::answering(&[PASSWORD]).absent();
    add(&mut terminal, &args, &addresses(edge, &[])).await.unwrap();
    assert_no_secret(&terminal, Some(out.join("secrets/edge.token")));
    let left_out = terminal.out.split("Left out").nth(1).unwrap_or_default();
    expect![[r#"
        ; in the server's shell:
        starting, stopping and snapshotting guests:
          pveum role add McpOperate --privs "VM.PowerMgmt VM.Snapshot"
          pveum acl modify / --users mcp@pve --tokens 'mcp@pve!reader' --roles McpOperate
        addresses of virtual machines, whose privilege on PVE 8 can run commands in them, too:
          pveum role add McpMonitor --privs "VM.Monitor"
          pveum acl modify / --users mcp@pve --tokens 'mcp@pve!reader' --roles McpMonitor
    "#]]
    .assert_eq(left_out.split("\nWritten").next().unwrap_or_default());
    let settings = load(out);
    let client = pve_client::Client::connect(settings.pve.values().next().unwrap()).unwrap();
    let held = client.call(pve_client::access::permissions(None, None)).await.unwrap();
    let names: Vec<&String> = held.values().flat_map(BTreeMap::keys).collect();
    assert!(names.iter().all(|name| !["VM.PowerMgmt", "VM.Snapshot"].contains(&name.as_str())));
    assert!(names.iter().any(|name| name.as_str() == "VM.Backup"));
}

/// A role on a deeper path replaces what is inherited from `/`: not ours to change, but to tell.
#[tokio::test]
async fn a_permission_that_is_in_the_way_is_told() {
    let sim = sim().await;
    let edge = sim.target("edge");
    let (url, fingerprint) = (&edge.nodes[0].url, &edge.nodes[0].fingerprint);
    let mut sources = Sources::default();
    let text = format!(
        "[pve.edge]\nendpoints = [\"{url}\"]\nfingerprint = \"{fingerprint}\"\n\
         username = \"root@pam\"\npassword = \"{PASSWORD}\"\n"
    );
    sources.texts.push(("the administrator's settings".to_owned(), text));
    let settings = settings::load(&sources).unwrap_or_else(|errors| panic!("{errors}")).settings;
    let admin = pve_client::Client::connect(settings.pve.values().next().unwrap()).unwrap();
    let narrow = pve_client::access::AclParams {
        path: "/vms".to_owned(),
        roles: ["PVEDatastoreUser"].into_iter().collect(),
        users: ["mcp@pve"].into_iter().collect(),
        ..Default::default()
    };
    admin.call(pve_client::access::update_acl(narrow)).await.unwrap();

    let folder = tempfile::tempdir().unwrap();
    let args = [
        url,
        "--product=pve",
        "--key=edge",
        "--token-name=helper",
        "--out",
        folder.path().to_str().unwrap(),
    ];
    let mut terminal = Scripted::answering(&["yes", PASSWORD]);
    add(&mut terminal, &args, &addresses(edge, &[])).await.unwrap();
    let warnings: String = terminal
        .err
        .lines()
        .filter(|line| line.starts_with("warning"))
        .flat_map(|line| [line, "\n"])
        .collect();
    expect![[r"
        warning: the token does not hold everywhere: Sys.Audit on /, VM.Audit on /vms, Sys.Syslog on /; a permission of mcp@pve or of the token on a path below / replaces what was given there: pveum acl list
    "]].assert_eq(&warnings);
}

#[tokio::test]
async fn a_backup_server_gets_a_token_that_audits() {
    let sim = sim().await;
    let vault = sim.target("vault");
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path();
    std::fs::write(out.join("config.toml"), "[server]\nmode = \"read-only\"\n").unwrap();
    let args = [
        &vault.nodes[0].url,
        "--product=pbs",
        "--key=vault",
        "--token-name=helper",
        "--out",
        out.to_str().unwrap(),
    ];
    let mut terminal = Scripted::answering(&["Yes", PASSWORD]);
    add(&mut terminal, &args, &addresses(vault, &[])).await.unwrap();
    assert_no_secret(&terminal, Some(out.join("secrets/vault.token")));
    expect![[r"
        vault: PBS 4.2 answers the token mcp@pbs!helper.

        The token may:
          Audit: look at datastores, backups, jobs, tasks and the server's status

        Written:
          OUT/secrets/vault.token
          OUT/conf.d/vault.toml
        The table has 1 endpoint.

        Next:
          proxmox-mcp test --only vault --config OUT/config.toml
        https://127.0.0.1:PORT-vault shows this certificate:
          subject      O=Simulated Proxmox, CN=vault
          issuer       O=Simulated Proxmox, CN=vault CA
          names        127.0.0.1, ::1, localhost, 127.0.0.1, vault
          valid        SINCE to UNTIL
          fingerprint  PRINT-vault
        Compare the fingerprint with the one in the server's own shell:
          proxmox-backup-manager cert info
        Is it the same? Type yes to go on:
        Password of root@pam (used once, stored nowhere):
        kept   user mcp@pbs
        made   token mcp@pbs!helper
        made   permission Audit on / for mcp@pbs
        made   permission Audit on / for mcp@pbs!helper
    "]]
    .assert_eq(&masked(&terminal.everything(), vault, out));
    expect![[r#"
        # Added by `proxmox-mcp config add`.
        [pbs.vault]
        endpoints = ["https://127.0.0.1:PORT-vault"]
        token_id = "mcp@pbs!helper"
        token_file = "../secrets/vault.token"
        fingerprint = "PRINT-vault"
    "#]]
    .assert_eq(&masked(&read(&out.join("conf.d/vault.toml")), vault, out));
    assert_eq!(read(&out.join("config.toml")), "[server]\nmode = \"read-only\"\n");

    let settings = load(out);
    let client = pbs_client::Client::connect(settings.pbs.values().next().unwrap()).unwrap();
    let held = client.call(pbs_client::access::permissions(None, None)).await.unwrap();
    let on = |path: &str| held[path].keys().cloned().collect::<Vec<_>>().join(" ");
    expect!["Datastore.Audit Remote.Audit Sys.Audit Tape.Audit"].assert_eq(&on("/datastore"));
}

#[tokio::test]
async fn nothing_is_made_without_consent_password_or_room() {
    let sim = sim().await;
    let lab = sim.target("lab");
    let other = "AB".repeat(32);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path();
    std::fs::write(out.join("config.toml"), "[pbs.taken]\nendpoints = []\n").unwrap();
    let mut text = String::new();
    let base = ["--product=pve", "--out", out.to_str().unwrap()];
    for (args, answers, is_absent) in [
        (&["--key=home"][..], &["no"][..], false),
        (&["--key=home"], &[], true),
        (&["--key=home", "--fingerprint", &other], &[PASSWORD], false),
        (&["--key=home"], &["yes", "wrong"], false),
        (&["--key=home"], &["yes", ""], false),
        (&["--key=home"], &["yes", PASSWORD], false),
        (&["--key=taken"], &["yes", PASSWORD], false),
    ] {
        let args = [&[lab.nodes[0].url.as_str()], args, &base].concat();
        let mut terminal = Scripted::answering(answers);
        terminal.is_absent = is_absent;
        let error = add(&mut terminal, &args, &addresses(lab, &[])).await.unwrap_err();
        assert_no_secret(&terminal, None);
        assert!(!error.contains(PASSWORD), "{error}");
        text.push_str(&error);
        text.push('\n');
    }
    expect![[r"
        not confirmed; nothing was sent and nothing was changed
        nobody is at the terminal to compare the fingerprint; nothing was sent: compare it and give it with --fingerprint
        https://127.0.0.1:PORT-alder shows another certificate than --fingerprint names; nothing was sent
          given AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB
          shown PRINT-alder
        Compare the second one with pvenode cert info; if they differ, somebody is in between
        failed to log in as root@pam: POST /access/ticket: authentication failure (status 401); check the password, and that the user has its realm (root@pam)
        no password was given; nothing was changed
        the token mcp@pve!agent exists, and its secret cannot be read again; nothing was changed: choose another name with --token-name, or remove it in the server's shell with: pveum user token remove mcp@pve agent
        OUT/config.toml has a table [pbs.taken]; nothing was changed: choose another --key
    "]].assert_eq(&masked(&text, lab, out).replace(&other, "OTHER"));
    assert!(!out.join("conf.d/home.toml").exists() && !out.join("secrets/home.token").exists());
}

#[tokio::test]
async fn what_was_made_before_a_failure_is_told_with_the_way_back() {
    let sim = sim().await;
    let lab = sim.target("lab");
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path();
    let args = [
        &lab.nodes[0].url,
        "--product=pve",
        "--key=home",
        "--operate",
        "--token-name=helper",
        "--out",
        out.to_str().unwrap(),
    ];
    let levers = sim.levers();
    let mut terminal = Scripted::answering(&["yes", PASSWORD]).on_say(move |text| {
        if text.starts_with("made   permission McpRead") {
            levers.quorum_lost("lab", true).unwrap();
        }
    });
    let error = add(&mut terminal, &args, &addresses(lab, &[])).await.unwrap_err();
    assert_no_secret(&terminal, None);
    expect![[r"
        failed to make the permission McpOperate on / for mcp@pve and mcp@pve!helper: PUT /access/acl: cfs-lock 'file-user_cfg' error: no quorum! (status 500)
        Made before that; to take it back:
          server  pveum acl delete / --users mcp@pve --tokens 'mcp@pve!helper' --roles McpRead
          server  pveum acl delete / --users mcp@pve --tokens 'mcp@pve!helper' --roles PVEAuditor
          server  pveum user token remove mcp@pve helper
          server  pveum role delete McpOperate
          server  pveum role delete McpRead
    "]].assert_eq(&masked(&error, lab, out));
}

#[tokio::test]
async fn the_wrong_product_is_noticed() {
    let sim = sim().await;
    let folder = tempfile::tempdir().unwrap();
    for (key, product) in [("vault", "pve"), ("edge", "pbs")] {
        let target = sim.target(key);
        let args = [
            &target.nodes[0].url,
            "--product",
            product,
            "--key=new",
            "--out",
            folder.path().to_str().unwrap(),
        ];
        let mut terminal = Scripted::answering(&["yes", PASSWORD]);
        let error = add(&mut terminal, &args, &addresses(target, &[])).await.unwrap_err();
        assert!(error.contains("nothing was changed: add --product p"), "{error}");
    }
}

/// Also: an administrator who may look and not change.
#[tokio::test]
async fn a_second_factor_is_asked_for_and_a_lack_of_privilege_is_told() {
    let sim = sim().await;
    let lab = sim.target("lab");
    let (user, password, secret) = lab.totp.clone().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let args = [
        &lab.nodes[0].url,
        "--product=pve",
        "--key=home",
        "--operate",
        "--token-name=helper",
        "--admin",
        &user,
        "--out",
        folder.path().to_str().unwrap(),
    ];
    let secret = totp_rs::Secret::try_from_base32(&secret).unwrap();
    let totp = totp_rs::Builder::new().with_secret(secret).build_noncompliant();
    let now = stdx::SystemClock.now().as_second();
    let code = totp.generate(u64::try_from(now).unwrap()).to_string();
    let mut terminal = Scripted::answering(&["yes", &password, &code]);
    let error = add(&mut terminal, &args, &addresses(lab, &[])).await.unwrap_err();
    assert!(terminal.err.contains("second factor"), "{}", terminal.err);
    assert!(!terminal.everything().contains(&password) && !error.contains(&password));
    expect![[r"
        failed to look at users and roles: GET /access/users/mcp%40pve/token: Permission check failed (status 403); nothing was changed: totp@pve may not do that; name an administrator with --admin
    "]].assert_eq(&masked(&error, lab, folder.path()));

    let mut terminal = Scripted::answering(&["yes", &password, "000000"]);
    let error = add(&mut terminal, &args, &addresses(lab, &[])).await.unwrap_err();
    assert!(error.starts_with("failed to log in as totp@pve"), "{error}");
}
