//! Which source wins, and what is known about each value.

use expect_test::{Expect, expect};

use crate::support::{HOME, Setup};

#[expect(clippy::needless_pass_by_value, reason = "reads best at the calls")]
fn check(setup: &Setup, expected: Expect) {
    expected.assert_eq(&setup.render());
}

#[test]
fn nothing_at_all_is_a_warning() {
    let setup = Setup::default();
    let loaded = setup.load().unwrap();
    assert!(loaded.settings.is_empty());
    assert_eq!(loaded.settings.server.state_dir.to_str(), Some("/var/lib/proxmox-mcp"));
    check(
        &setup,
        expect![[r"
        warning: no endpoint is configured; add a table [pve.<name>] or [pbs.<name>]; `proxmox-mcp config init` writes a first file
    "]],
    );
}

#[test]
fn each_layer_wins_over_the_one_before() {
    let main = format!(
        "{HOME}labels = {{ site = \"home\", rack = \"1\" }}\n[server]\nmode = \"read-only\"\nanswer_max_bytes = 9000\n[log]\nlevel = \"debug\"\n"
    );
    let setup = Setup::main(&main)
        .file(
            "/etc/proxmox-mcp/conf.d/20-second.toml",
            "[log]\nlevel = \"warn\"\nformat = \"json\"\n",
        )
        .file(
            "/etc/proxmox-mcp/conf.d/10-first.toml",
            "[log]\nlevel = \"trace\"\n[pve.home.labels]\nsite = \"away\"\n",
        )
        .file("/etc/proxmox-mcp/conf.d/ignored.toml.bak", "nonsense")
        .variable("PROXMOX_MCP_LOG__FORMAT", "text")
        .variable("PROXMOX_MCP_SERVER__TOOLSETS", "guests, backup")
        .variable("PROXMOX_MCP_SERVER__MODE", "guarded")
        .variable("PROXMOX_MCP_SERVER__ANSWER_MAX_BYTES", "")
        .variable("PROXMOX_MCP_PVE__HOME__LABELS__CUSTOMER", "0042")
        .flag("--mode", "server.mode", "trusted");
    check(
        &setup,
        expect![[r#"
            log.format = "text"  <- variable PROXMOX_MCP_LOG__FORMAT
            log.level = "warn"  <- /etc/proxmox-mcp/conf.d/20-second.toml:2
            pve.home.endpoints = ["https://pve1:8006"]  <- /etc/proxmox-mcp/config.toml:3
            pve.home.labels.customer = "0042"  <- variable PROXMOX_MCP_PVE__HOME__LABELS__CUSTOMER
            pve.home.labels.rack = "1"  <- /etc/proxmox-mcp/config.toml:6
            pve.home.labels.site = "away"  <- /etc/proxmox-mcp/conf.d/10-first.toml:4
            pve.home.token_file = "/etc/proxmox-mcp/home.token"  <- /etc/proxmox-mcp/config.toml:5
            pve.home.token_id = "mcp@pve!agent"  <- /etc/proxmox-mcp/config.toml:4
            server.answer_max_bytes = 9000  <- /etc/proxmox-mcp/config.toml:9
            server.mode = "trusted"  <- flag --mode
            server.toolsets = ["guests", "backup"]  <- variable PROXMOX_MCP_SERVER__TOOLSETS
        "#]],
    );
    assert_eq!(setup.load().unwrap().files.len(), 3);
}

#[test]
fn text_from_the_environment_is_never_taken_for_a_number() {
    let setup = Setup::main("")
        .variable("PROXMOX_MCP_PVE__LAB__ENDPOINTS", "https://a:8006,https://b:8006")
        .variable("PROXMOX_MCP_PVE__LAB__TOKEN_ID", "mcp@pve!agent")
        .variable("PROXMOX_MCP_PVE__LAB__TOKEN", "00123")
        .variable("PROXMOX_MCP_PVE__LAB__INSECURE", "yes");
    check(
        &setup,
        expect![[r#"
            pve.lab.endpoints = ["https://a:8006", "https://b:8006"]  <- variable PROXMOX_MCP_PVE__LAB__ENDPOINTS
            pve.lab.insecure = true  <- variable PROXMOX_MCP_PVE__LAB__INSECURE
            pve.lab.token = ***  <- variable PROXMOX_MCP_PVE__LAB__TOKEN
            pve.lab.token_id = "mcp@pve!agent"  <- variable PROXMOX_MCP_PVE__LAB__TOKEN_ID
            warning: variable PROXMOX_MCP_PVE__LAB__INSECURE: pve.lab.insecure: any certificate is believed: whoever is on the way can read the credentials; use fingerprints or ca_file
        "#]],
    );
}

#[test]
fn a_secret_displaces_the_file_of_the_same_secret_below_it() {
    let setup = Setup::main(HOME).variable("PROXMOX_MCP_PVE__HOME__TOKEN", "from-the-environment");
    check(
        &setup,
        expect![[r#"
        pve.home.endpoints = ["https://pve1:8006"]  <- /etc/proxmox-mcp/config.toml:3
        pve.home.token = ***  <- variable PROXMOX_MCP_PVE__HOME__TOKEN
        pve.home.token_id = "mcp@pve!agent"  <- /etc/proxmox-mcp/config.toml:4
    "#]],
    );
}

#[test]
fn an_explicit_file_brings_its_own_conf_d_and_skips_the_search() {
    let setup = Setup::main(HOME)
        .config("here/my.toml")
        .file("here/my.toml", "[log]\nlevel = \"warn\"\n")
        .file("here/conf.d/a.toml", "[server]\nmode = \"trusted\"\n");
    check(
        &setup,
        expect![[r#"
            log.level = "warn"  <- here/my.toml:2
            server.mode = "trusted"  <- here/conf.d/a.toml:2
            warning: no endpoint is configured; add a table [pve.<name>] or [pbs.<name>]; `proxmox-mcp config init` writes a first file
        "#]],
    );
}

#[test]
fn the_users_own_folder_comes_before_the_systems() {
    let setup = Setup::main(HOME).variable("HOME", "/home/op").file(
        "/home/op/.config/proxmox-mcp/config.toml",
        "[server]\nstate_dir = \"~/state\"\n[log]\nlevel = \"warn\"\n",
    );
    check(
        &setup,
        expect![[r#"
            log.level = "warn"  <- /home/op/.config/proxmox-mcp/config.toml:4
            server.state_dir = "/home/op/state"  <- /home/op/.config/proxmox-mcp/config.toml:2
            warning: no endpoint is configured; add a table [pve.<name>] or [pbs.<name>]; `proxmox-mcp config init` writes a first file
        "#]],
    );
}

#[test]
fn the_environment_file_takes_the_place_of_the_search() {
    let setup = Setup::main(HOME)
        .env_file("PVE_NODES=pve1\nPVE1_HOST=192.0.2.1\nPVE1_USER=root@pam\nPVE1_TOKEN_NAME=mcp\nPVE1_TOKEN_VALUE='00123'\nLOG_LEVEL=WARNING\n")
        .variable("PROXMOX_MCP_LOG__LEVEL", "error");
    check(
        &setup,
        expect![[r#"
            log.level = "error"  <- variable PROXMOX_MCP_LOG__LEVEL
            pve.pve1.endpoints = ["https://192.0.2.1:8006"]  <- .env:2 (PVE1_HOST)
            pve.pve1.token = ***  <- .env:5 (PVE1_TOKEN_VALUE)
            pve.pve1.token_id = "root@pam!mcp"  <- .env:3 (PVE1_USER)
        "#]],
    );
}

#[test]
fn what_others_may_read_is_warned_about() {
    let inline = "[pve.lab]\nendpoints = [\"https://a:8006\"]\ntoken_id = \"mcp@pve!agent\"\ntoken = \"abc\"\n[pve.copy]\nendpoints = [\"https://A:8006/\"]\ntoken_id = \"mcp@pve!agent\"\ntoken_file = \"copy.token\"\n";
    let setup = Setup::default()
        .world_readable("/etc/proxmox-mcp/config.toml", inline)
        .world_readable("/etc/proxmox-mcp/copy.token", "abc");
    check(
        &setup,
        expect![[r#"
            pve.copy.endpoints = ["https://A:8006/"]  <- /etc/proxmox-mcp/config.toml:6
            pve.copy.token_file = "/etc/proxmox-mcp/copy.token"  <- /etc/proxmox-mcp/config.toml:8
            pve.copy.token_id = "mcp@pve!agent"  <- /etc/proxmox-mcp/config.toml:7
            pve.lab.endpoints = ["https://a:8006"]  <- /etc/proxmox-mcp/config.toml:2
            pve.lab.token = ***  <- /etc/proxmox-mcp/config.toml:4
            pve.lab.token_id = "mcp@pve!agent"  <- /etc/proxmox-mcp/config.toml:3
            warning: /etc/proxmox-mcp/config.toml: holds secrets and can be read by everybody on this machine; chmod 600 /etc/proxmox-mcp/config.toml
            warning: /etc/proxmox-mcp/config.toml:2: pve.lab.endpoints: lists https://a:8006, which pve.copy lists too; one table per cluster: everything in it would count twice
            warning: /etc/proxmox-mcp/config.toml:8: pve.copy.token_file: /etc/proxmox-mcp/copy.token can be read by everybody on this machine; chmod 600 /etc/proxmox-mcp/copy.token
        "#]],
    );
}

#[test]
fn the_disk_is_read_too() {
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("config.toml");
    std::fs::write(&main, HOME).unwrap();
    std::fs::write(folder.path().join("home.token"), "secret").unwrap();
    std::fs::create_dir(folder.path().join("conf.d")).unwrap();
    std::fs::write(folder.path().join("conf.d/mode.toml"), "[server]\nmode = \"trusted\"\n")
        .unwrap();
    let mut sources = settings::Sources::default();
    sources.config = Some(main);
    let loaded = settings::load(&sources).unwrap();
    assert_eq!(loaded.settings.server.mode, guard::Mode::Trusted);
    assert_eq!(loaded.files.len(), 2);
    // Files of the test are as the umask makes them, which is readable by all nearly everywhere.
    assert!(loaded.warnings.iter().all(|warning| warning.key == "pve.home.token_file"));
}

#[test]
fn a_later_step_can_complain_with_the_place() {
    let setup = Setup::main(HOME).variable("PROXMOX_MCP_SERVER__TOOLSETS", "gests");
    let error = setup.load().unwrap().error_at(
        "server.toolsets",
        "names `gests`, which is not a toolset",
        "did you mean `guests`?",
    );
    expect!["variable PROXMOX_MCP_SERVER__TOOLSETS: server.toolsets: names `gests`, which is not a toolset; did you mean `guests`?"].assert_eq(&error.to_string());
}

#[test]
fn fingerprints_stand_under_any_address() {
    let pin = "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:\
               00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF";
    let other = pin.replace("00:11", "AA:11");
    let text = format!(
        "{}fingerprints = {{ \"127.0.0.1:40001\" = \"{pin}\", b = [\"{pin}\", \"{other}\"] }}\n",
        HOME.replace("pve1:8006\"", "127.0.0.1:40001\", \"https://b.lan:1\"")
    );
    let setup = Setup::main(&text);
    assert_eq!(setup.load().unwrap().settings.pve["home"].targets.len(), 2);
    let rendered = setup.render();
    assert!(rendered.contains("pve.home.fingerprints.\"127.0.0.1:40001\" = "), "{rendered}");
}

#[test]
fn an_issuer_has_the_defaults_of_the_table() {
    let main = r#"
[oauth.idp]
issuer = "http://127.0.0.1:3000"
audience = ["api://mcp", "https://mcp.example.lan/mcp"]

[oauth.other]
issuer = "https://other.example.lan"
audience = "https://mcp.example.lan/mcp"
scopes = { admins = ["destroy", "cluster:home"] }
"#;
    let loaded = Setup::main(main).load().unwrap();
    let idp = &loaded.settings.oauth["idp"];
    assert_eq!(idp.resource, "https://mcp.example.lan/mcp");
    assert_eq!(idp.algorithms, ["RS256", "PS256", "ES256", "EdDSA"]);
    assert_eq!((idp.leeway.as_secs(), idp.jwks_refresh.as_secs()), (30, 3600));
    let scopes: Vec<_> = idp.scopes.iter().map(|(name, scope)| format!("{name}={scope}")).collect();
    assert_eq!(scopes, ["proxmox.destroy=destroy", "proxmox.operate=operate", "proxmox.read=read"]);
    let other = &loaded.settings.oauth["other"];
    assert_eq!(other.scopes["admins"].to_string(), "destroy,cluster:home");
    let http = &loaded.settings.http;
    assert!(http.listen.ip().is_loopback() && http.tls.is_none() && http.legacy_sessions);
    check(
        &Setup::main(main)
            .variable("PROXMOX_MCP_HTTP__LISTEN", "[::]:80")
            .variable("PROXMOX_MCP_OAUTH__THIRD__ISSUER", "https://third.example.lan")
            .variable("PROXMOX_MCP_OAUTH__THIRD__AUDIENCE", "https://mcp.example.lan/mcp,other")
            .variable("PROXMOX_MCP_OAUTH__THIRD__SCOPES__OPS", "operate,toolset:backup"),
        expect![[r#"
            http.listen = "[::]:80"  <- variable PROXMOX_MCP_HTTP__LISTEN
            oauth.idp.audience = ["api://mcp", "https://mcp.example.lan/mcp"]  <- /etc/proxmox-mcp/config.toml:4
            oauth.idp.issuer = "http://127.0.0.1:3000"  <- /etc/proxmox-mcp/config.toml:3
            oauth.other.audience = "https://mcp.example.lan/mcp"  <- /etc/proxmox-mcp/config.toml:8
            oauth.other.issuer = "https://other.example.lan"  <- /etc/proxmox-mcp/config.toml:7
            oauth.other.scopes.admins = ["destroy", "cluster:home"]  <- /etc/proxmox-mcp/config.toml:9
            oauth.third.audience = ["https://mcp.example.lan/mcp", "other"]  <- variable PROXMOX_MCP_OAUTH__THIRD__AUDIENCE
            oauth.third.issuer = "https://third.example.lan"  <- variable PROXMOX_MCP_OAUTH__THIRD__ISSUER
            oauth.third.scopes.ops = ["operate", "toolset:backup"]  <- variable PROXMOX_MCP_OAUTH__THIRD__SCOPES__OPS
            warning: no endpoint is configured; add a table [pve.<name>] or [pbs.<name>]; `proxmox-mcp config init` writes a first file
        "#]],
    );
}

#[test]
fn the_address_of_a_database_is_a_secret_and_the_path_of_a_file_is_none() {
    for (url, is_secret) in
        [("postgres://mcp:s3cret@db.lan/mcp", true), ("sqlite:///var/lib/mcp/store.db", false)]
    {
        let text = format!("{HOME}\n[server]\nstore_url = '{url}'\n");
        let settings = Setup::main(&text).load().unwrap().settings;
        let secrets = settings.secrets();
        let is_it = |it: &secrecy::SecretString| secrecy::ExposeSecret::expose_secret(it) == url;
        assert_eq!(secrets.iter().any(is_it), is_secret, "{url}");
    }
}
