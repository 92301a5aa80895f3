//! The earlier server's `.env`: three topologies, what is missing, odd lines, and anything at all.

use std::fmt::Write as _;
use std::path::Path;

use expect_test::{Expect, ExpectFile, expect, expect_file};
use proptest::prelude::*;
use secrecy::ExposeSecret as _;
use settings::env_file::{Import, Secrets, import};

use crate::support::Setup;

fn imported(text: &str) -> Import {
    import(Path::new(".env"), text, &Secrets::Files("".into()))
}

fn render(import: &Import) -> String {
    let mut text = import.toml.clone();
    for file in &import.files {
        writeln!(text, "\n=> {}: {}", file.path.display(), file.contents.expose_secret())
            .expect("a String takes any text");
    }
    text.push('\n');
    for error in &import.errors {
        writeln!(text, "error: {error}").expect("a String takes any text");
    }
    for warning in &import.warnings {
        writeln!(text, "warning: {warning}").expect("a String takes any text");
    }
    text
}

/// The settings that come out, which must load with the files that go with them.
#[expect(clippy::needless_pass_by_value, reason = "reads best at the calls")]
fn golden(text: &str, expected: ExpectFile) {
    let import = imported(text);
    expected.assert_eq(&render(&import));
    let mut setup = Setup::main(&import.toml);
    for file in &import.files {
        let path = Path::new("/etc/proxmox-mcp").join(&file.path);
        setup = setup.file(&path.to_string_lossy(), file.contents.expose_secret());
    }
    let from_import = setup.load().unwrap_or_else(|errors| panic!("{errors}")).settings;
    let direct = Setup::default().env_file(text).load();
    let direct = direct.unwrap_or_else(|errors| panic!("{errors}")).settings;
    assert!(
        from_import.pve.keys().eq(direct.pve.keys())
            && from_import.pbs.keys().eq(direct.pbs.keys())
    );
    assert_eq!(from_import.server.declared_topology, direct.server.declared_topology);
    assert_eq!(from_import.log, direct.log);
    let said = |settings: &settings::Settings| {
        let events = &settings.events;
        assert_eq!(events.secrets().len(), text.matches("hunter").count());
        format!("{:?} {:?} {:?}", events.enabled, events.inputs, events.outputs)
    };
    assert_eq!(said(&from_import), said(&direct));
}

/// What comes out of a file that need not load.
#[expect(clippy::needless_pass_by_value, reason = "reads best at the calls")]
fn check(text: &str, expected: Expect) {
    expected.assert_eq(&render(&imported(text)));
}

#[test]
fn standalone_nodes() {
    golden(
        r#"
# Lab
LAB_CONFIGURATION=STANDALONE
PVE_NODES=pve-1, attic
PVE_1_HOST=192.0.2.11
PVE_1_USER=root@pam
PVE_1_TOKEN_NAME=mcp
PVE_1_TOKEN_VALUE=11111111-1111-1111-1111-111111111111
ATTIC_HOST="https://attic.lan:443/"   # behind a proxy
ATTIC_USER=monitor
ATTIC_TOKEN_NAME='monitor@pve!full'
ATTIC_TOKEN_VALUE="monitor@pve!full=22222222-2222-2222-2222-222222222222"
PBS_NODES=pbs1
PBS1_HOST=pbs1.lan
PBS1_USER=root@pam
PBS1_TOKEN_NAME=mcp
PBS1_TOKEN_VALUE=33333333-3333-3333-3333-333333333333
VERIFY_SSL=false
LOG_LEVEL=DEBUG
ENABLE_EVENT_LISTENERS=true
ENABLED_EVENT_LISTENERS=WEBSOCKET,SYSLOG
EVENT_WS_ENABLED=true
EVENT_WS_RECONNECT_INTERVAL=5
EVENT_SYSLOG_ENABLED=true
EVENT_SYSLOG_LISTEN_PORT=5514
EVENT_SYSLOG_PARSE_FORMAT=RFC5424
ENABLED_NOTIFIERS=DISCORD_OUT
DISCORD_OUT_ENABLED=true
DISCORD_OUT_WEBHOOK_URL=https://discord.com/api/webhooks/1/hunter2
"#,
        expect_file!["golden/standalone.txt"],
    );
}

const ONE_NODE: &str = "PVE_NODES=a\nA_HOST=192.0.2.1\nA_USER=root@pam\nA_TOKEN_NAME=x\n\
                        A_TOKEN_VALUE=y\n";

#[test]
fn listeners_and_notifiers() {
    let events = r"
ENABLE_EVENT_LISTENERS=true
ENABLED_EVENT_LISTENERS=WEBSOCKET, EMAIL, syslog, DISCORD_IN, GOTIFY_IN, NTFY
EVENT_WS_ENABLED=true
EVENT_WS_RECONNECT_INTERVAL=5
EVENT_EMAIL_ENABLED=true
EVENT_EMAIL_IMAP_SERVER=mail.lan
EVENT_EMAIL_IMAP_PORT=993
EVENT_EMAIL_USERNAME=events@lan.example
EVENT_EMAIL_PASSWORD=hunter1
EVENT_EMAIL_FOLDER=Proxmox
EVENT_EMAIL_POLL_INTERVAL=30
EVENT_SYSLOG_PARSE_FORMAT=RFC3164
DISCORD_IN_WEBHOOK_URL=https://discord.com/api/webhooks/1/x
GOTIFY_IN_SERVER_URL=https://push.lan
GOTIFY_IN_CLIENT_TOKEN=hunter2
NTFY_ENABLED=true
NTFY_TOPIC=lab
NTFY_SERVER_URL=https://ntfy.lan
ENABLED_NOTIFIERS=DISCORD_OUT,GOTIFY_OUT,NTFY
DISCORD_OUT_ENABLED=true
DISCORD_OUT_WEBHOOK_URL=https://discord.com/api/webhooks/1/hunter3
GOTIFY_OUT_ENABLED=true
GOTIFY_OUT_SERVER_URL=https://push.lan
GOTIFY_OUT_APP_TOKEN=hunter4
NOTIFY_EMAIL_ENABLED=true
NOTIFY_EMAIL_SERVER=mail.lan
NOTIFY_EMAIL_PORT=465
NOTIFY_EMAIL_FROM=proxmox@lan.example
NOTIFY_EMAIL_TO=ops@lan.example, boss@lan.example
NOTIFY_EMAIL_PASSWORD=hunter5
";
    golden(&format!("{ONE_NODE}{events}"), expect_file!["golden/events.txt"]);
}

#[test]
fn what_is_off_is_passed_over_and_what_is_missing_is_said() {
    check(
        r"ENABLE_EVENT_LISTENERS=true
EVENT_SYSLOG_ENABLED=false
EVENT_SYSLOG_LISTEN_PORT=x
EVENT_EMAIL_ENABLED=true
EVENT_EMAIL_USERNAME=me
EVENT_EMAIL_POLL_INTERVAL=often
GOTIFY_IN_ENABLED=perhaps
GOTIFY_IN_CLIENT_TOKEN=hunter2
ENABLED_NOTIFIERS=GOTIFY_OUT,SLACK_OUT
GOTIFY_OUT_SERVER_URL=https://push.lan
DISCORD_OUT_ENABLED=true
DISCORD_OUT_WEBHOOK_URL=https://discord.com/api/webhooks/1/hunter2
NTFY_ENABLED=true
NOTIFY_EMAIL_ENABLED=false
NOTIFY_EMAIL_SERVR=mail.lan
",
        expect![[r##"
            # Made from .env of the earlier server.

            error: .env:4 (EVENT_EMAIL_ENABLED): EVENT_EMAIL_IMAP_SERVER: is missing, though EVENT_EMAIL_ENABLED asks for it; set it, or switch EVENT_EMAIL_ENABLED off
            error: .env:4 (EVENT_EMAIL_ENABLED): EVENT_EMAIL_PASSWORD: is missing, though EVENT_EMAIL_ENABLED asks for it; set it, or switch EVENT_EMAIL_ENABLED off
            error: .env:9 (ENABLED_NOTIFIERS): GOTIFY_OUT_APP_TOKEN: is missing, though ENABLED_NOTIFIERS asks for it; set it, or take it out of ENABLED_NOTIFIERS
            warning: .env:7: GOTIFY_IN_ENABLED is neither true nor false; it counts as not set
            warning: .env:9: ENABLED_NOTIFIERS lists "SLACK_OUT", which is not known; it takes: DISCORD_OUT, GOTIFY_OUT, NTFY
            warning: .env:11: DISCORD_OUT_ENABLED is true, but ENABLED_NOTIFIERS does not list DISCORD_OUT; it stays off; add it there if it should be on
            warning: .env:15: NOTIFY_EMAIL_SERVR is not a known variable; did you mean NOTIFY_EMAIL_SERVER?
        "##]],
    );
    let off = "ENABLE_EVENT_LISTENERS=false\nEVENT_SYSLOG_ENABLED=true\n";
    check(
        off,
        expect![[r#"
        # Made from .env of the earlier server.

    "#]],
    );
}

#[test]
fn one_cluster() {
    golden(
        r"
LAB_CONFIGURATION=CLUSTERED
PVE_CLUSTER_NAME=Home Lab
PVE_CLUSTER_PRIMARY_HOST=alder.lan:8006
PVE_CLUSTER_PRIMARY_USER=mcp@pve
PVE_CLUSTER_PRIMARY_TOKEN_NAME=agent
PVE_CLUSTER_PRIMARY_TOKEN_VALUE=11111111-1111-1111-1111-111111111111
PVE_CLUSTER_SUBNODES=alder,birch,cedar,192.0.2.14
ALDER_HOST=alder.lan
BIRCH_HOST=birch.lan
PBS_CLUSTER_NAME=backup
PBS_CLUSTER_PRIMARY_HOST=vault.lan
PBS_CLUSTER_PRIMARY_USER=mcp@pbs
PBS_CLUSTER_PRIMARY_TOKEN_NAME=agent
PBS_CLUSTER_PRIMARY_TOKEN_VALUE=22222222-2222-2222-2222-222222222222
PBS_CLUSTER_SUBNODES=vault2,vault3
VAULT2_HOST=vault2.lan
VAULT2_USER=mcp@pbs
VAULT2_TOKEN_NAME=agent
VAULT2_TOKEN_VALUE=33333333-3333-3333-3333-333333333333
VERIFY_SSL=true
LOG_LEVEL=INFO
",
        expect_file!["golden/clustered.txt"],
    );
}

#[test]
fn both() {
    golden(
        r"
export LAB_CONFIGURATION=mixed
export PVE_CLUSTER_NAME=lab
export PVE_CLUSTER_PRIMARY_HOST=https://[2001:db8::1]:8006
export PVE_CLUSTER_PRIMARY_USER=root@pam
export PVE_CLUSTER_PRIMARY_TOKEN_NAME=mcp
export PVE_CLUSTER_PRIMARY_TOKEN_VALUE=00123
export PVE_NODES=edge,lab
export EDGE_HOST=2001:db8::2
export EDGE_USER=root@pam
export EDGE_TOKEN_NAME=mcp
export EDGE_TOKEN_VALUE=00124
export LAB_HOST=http://192.0.2.5
export LAB_USER=root@pam
export LAB_TOKEN_NAME=mcp
export LAB_TOKEN_VALUE=00125
export PBS_NODES=vault
export VAULT_HOST=vault.lan:8007
export VAULT_USER=root@pam
export VAULT_TOKEN_NAME=mcp
export VAULT_TOKEN_VALUE=00126
",
        expect_file!["golden/mixed.txt"],
    );
}

#[test]
fn what_is_missing_or_not_understood_is_said() {
    check(
        r"LAB_CONFIGURATION=STANDALON
PVE_NODES=a,b,c,d
A_HOST=192.0.2.1
A_USER=root@pam
B_USER=root@pam
B_TOKEN_NAME=x
B_TOKEN_VALUE=hunter2
C_HOST=not an address
C_USER=root@pam
C_TOKEN_NAME=x
C_TOKEN_VALUE=hunter2
D_HOST=user:hunter2@192.0.2.4
D_USER=root@pam
D_TOKEN_NAM=x
D_TOKEN_VALUE=hunter2
PVE9_HOST=192.0.2.9
VERIFY_SLL=false
LOG_LEVEL=LOUD
VERIFY_SSL=perhaps
UNRELATED_THING=1
no equals sign
1BAD=x
QUOTED='hunter2
TRAILING='x' y
LOG_LEVEL=INFO
REFERENCE=${PVE_NODES}
",
        expect![[r#"
            # Made from .env of the earlier server.

            [log]
            level = "info"

            error: .env:2 (PVE_NODES): B_HOST: is missing for b; set it to the node's address
            error: .env:3 (A_HOST): A_TOKEN_NAME and A_TOKEN_VALUE: are missing for a; the server logs in with an API token
            error: .env:8: C_HOST is not an address; write a host name or address, for example 192.0.2.10:8006
            error: .env:12 (D_HOST): D_TOKEN_NAME: is missing for d; the server logs in with an API token
            warning: .env:1: LAB_CONFIGURATION is not a known topology, so all that is described is taken; did you mean `STANDALONE`?
            warning: .env:14: D_TOKEN_NAM is not a known variable; did you mean D_TOKEN_NAME?
            warning: .env:16: PVE9_HOST is of a node that no list names; add pve9 to PVE_NODES or PBS_NODES
            warning: .env:17: VERIFY_SLL is not a known variable; did you mean VERIFY_SSL?
            warning: .env:19: VERIFY_SSL is neither true nor false; certificates are checked
            warning: .env:20: UNRELATED_THING is not a known variable; it is ignored
            warning: .env:21: is not a line of NAME=value; it is ignored
            warning: .env:22: has no valid name before the =; it is ignored
            warning: .env:23: QUOTED is not a known variable; it is ignored
            warning: .env:23: QUOTED opens a quote that does not end on its line; check the quotes
            warning: .env:24: TRAILING has text after the closing quote, which is ignored; check the quotes
            warning: .env:24: TRAILING is not a known variable; it is ignored
            warning: .env:25: LOG_LEVEL is set on line 18 too; the last one counts
            warning: .env:26: REFERENCE holds ${…}, which is not replaced; write the value itself
            warning: .env:26: REFERENCE is not a known variable; it is ignored
        "#]],
    );
}

#[test]
fn a_declared_cluster_needs_its_primary_and_ignores_single_nodes() {
    check(
        "LAB_CONFIGURATION=CLUSTERED\nPVE_NODES=a\nA_HOST=192.0.2.1\nA_USER=root@pam\nA_TOKEN_NAME=x\nA_TOKEN_VALUE=y\n",
        expect![[r#"
            # Made from .env of the earlier server.

            [server]
            declared_topology = "clustered"

            error: .env:1 (LAB_CONFIGURATION): PVE_CLUSTER_PRIMARY_HOST: is missing, though a cluster is declared; set it to the address of one of the cluster's nodes
            warning: .env:2: PVE_NODES is not used with LAB_CONFIGURATION=CLUSTERED; correct LAB_CONFIGURATION if it should be
        "#]],
    );
}

#[test]
fn errors_of_an_environment_file_name_its_lines() {
    let setup =
        Setup::default().env_file("LAB_CONFIGURATION=STANDALONE\nPVE_NODES=a\nA_HOST=192.0.2.1\n");
    expect![[r"
        error: .env:3 (A_HOST): A_USER, A_TOKEN_NAME and A_TOKEN_VALUE: are missing for a; the server logs in with an API token
    "]].assert_eq(&setup.render());
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in any::<String>()) {
        let import = import(Path::new(".env"), &text, &Secrets::Inline);
        prop_assert!(import.toml.parse::<toml::Table>().is_ok());
    }

    #[test]
    fn any_values_of_listeners_and_notifiers_give_valid_settings(
        text in "\\PC{0,30}",
        switch in "(true|false|\\PC{0,3})",
        list in "((SYSLOG|EMAIL|NTFY|WEBSOCKET|DISCORD_OUT|x),){0,5}",
    ) {
        let mut all = format!("ENABLED_EVENT_LISTENERS={list}\nENABLED_NOTIFIERS={list}\n");
        let switches = ["EVENT_EMAIL", "EVENT_SYSLOG", "EVENT_WS", "GOTIFY_IN", "NTFY", "DISCORD_OUT",
            "GOTIFY_OUT", "NOTIFY_EMAIL"];
        for name in switches {
            writeln!(all, "{name}_ENABLED={switch}").unwrap();
        }
        let values = ["EVENT_EMAIL_IMAP_SERVER", "EVENT_EMAIL_IMAP_PORT", "EVENT_EMAIL_USERNAME",
            "EVENT_EMAIL_PASSWORD", "EVENT_EMAIL_FOLDER", "EVENT_EMAIL_POLL_INTERVAL",
            "EVENT_SYSLOG_LISTEN_PORT", "GOTIFY_IN_SERVER_URL", "GOTIFY_IN_CLIENT_TOKEN", "NTFY_TOPIC",
            "NTFY_SERVER_URL", "DISCORD_OUT_WEBHOOK_URL", "GOTIFY_OUT_SERVER_URL",
            "GOTIFY_OUT_APP_TOKEN", "NOTIFY_EMAIL_SERVER", "NOTIFY_EMAIL_PORT", "NOTIFY_EMAIL_FROM",
            "NOTIFY_EMAIL_TO", "NOTIFY_EMAIL_PASSWORD"];
        for name in values {
            writeln!(all, "{name}={text}").unwrap();
        }
        let import = import(Path::new(".env"), &all, &Secrets::Inline);
        let parsed: toml::Table = import.toml.parse().expect("settings are TOML");
        prop_assert!(parsed.keys().all(|key| ["events", "input", "output"].contains(&key.as_str())));
    }

    /// Values that look like what such a file holds give settings that are TOML, whatever is odd.
    #[test]
    fn any_values_give_valid_settings(
        names in "[a-zA-Z0-9_.,\\- \"']{0,30}",
        host in "\\PC{0,30}",
        user in "\\PC{0,20}",
        token in "\\PC{0,20}",
    ) {
        let text = format!(
            "PVE_NODES={names},a,b\nPBS_NODES=a\nA_HOST={host}\nA_USER={user}\nA_TOKEN_NAME={user}\n\
             A_TOKEN_VALUE={token}\nPVE_CLUSTER_NAME={names}\nPVE_CLUSTER_PRIMARY_HOST={host}\n\
             PVE_CLUSTER_PRIMARY_USER=x@pam\nPVE_CLUSTER_PRIMARY_TOKEN_NAME=y\n\
             PVE_CLUSTER_PRIMARY_TOKEN_VALUE={token}\nPVE_CLUSTER_SUBNODES={names}\n\
             PBS_CLUSTER_PRIMARY_HOST={host}\nPBS_CLUSTER_PRIMARY_USER=x@pam\n\
             PBS_CLUSTER_PRIMARY_TOKEN_NAME=y\nPBS_CLUSTER_PRIMARY_TOKEN_VALUE={token}\n\
             PBS_CLUSTER_SUBNODES={names}\n"
        );
        let import = import(Path::new(".env"), &text, &Secrets::Inline);
        let parsed: toml::Table = import.toml.parse().expect("settings are TOML");
        prop_assert!(parsed.keys().all(|key| ["pve", "pbs", "log", "server"].contains(&key.as_str())));
    }
}
