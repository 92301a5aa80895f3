//! Every class of error: key, file and line or variable, and what to do.

use std::fmt::Write as _;

use expect_test::{Expect, expect};
use proptest::prelude::*;
use settings::{Place, SECTIONS, Section};

use crate::support::{HOME, Setup};

/// Loads one file and renders what is wrong with it.
#[expect(clippy::needless_pass_by_value, reason = "reads best at the calls")]
fn check(text: &str, expected: Expect) {
    expected.assert_eq(&Setup::main(text).render());
}

#[test]
fn everything_is_said_at_once() {
    check(
        r#"[serv]
mode = "x"

[server]
mode = "Trusted"
answer_max_bytes = 12
task_wait_secs = "45"
toolset = ["default"]

[log]
level = 3
format = "yaml"

[pve]
endpoints = ["https://a:8006"]

[pve.My-Lab]
token = 3

[pve.home]
endpoints = "https://pve1:8006"
tokn_id = "mcp@pve!agent"
token = 123456789
insecure = "yes"
labels = { "Site Name" = "x", ok = 3 }
fingerprints = "AB"
connect_timeout_secs = 99999999999999999999

[pve.home.unknown_table]
a = 1

[input.syslog]
type = "syslog"

[[pbs]]
endpoints = ["https://b:8007"]
"#,
        expect![[r#"
            error: /etc/proxmox-mcp/config.toml:1: serv: is not a known section; did you mean `server`?
            error: /etc/proxmox-mcp/config.toml:5: server.mode: is "Trusted"; did you mean `trusted`?
            error: /etc/proxmox-mcp/config.toml:6: server.answer_max_bytes: is 12; it takes a number from 2048 to 1048576
            error: /etc/proxmox-mcp/config.toml:7: server.task_wait_secs: is text; it takes a whole number from 1 to 600
            error: /etc/proxmox-mcp/config.toml:8: server.toolset: is not a known key; did you mean `toolsets`?
            error: /etc/proxmox-mcp/config.toml:11: log.level: is a number; it takes one of `error`, `warn`, `info`, `debug`, `trace`
            error: /etc/proxmox-mcp/config.toml:12: log.format: is "yaml"; it takes one of: text, json
            error: /etc/proxmox-mcp/config.toml:15: pve.endpoints: is not a table; it belongs into a table with a name, for example [pve.home]
            error: /etc/proxmox-mcp/config.toml:17: pve.My-Lab: is not a name for a table; use a-z, 0-9 and _ only, at most 40 characters, for example [pve.my_lab]
            error: /etc/proxmox-mcp/config.toml:21: pve.home.endpoints: is text; it takes a list of texts
            error: /etc/proxmox-mcp/config.toml:22: pve.home.tokn_id: is not a known key; did you mean `token_id`?
            error: /etc/proxmox-mcp/config.toml:23: pve.home.token: is a number; write it in quotes
            error: /etc/proxmox-mcp/config.toml:24: pve.home.insecure: is text; it takes true or false
            error: /etc/proxmox-mcp/config.toml:25: pve.home.labels."Site Name": is not a label's name; use a-z, 0-9 and _ only, for example `site_name`
            error: /etc/proxmox-mcp/config.toml:25: pve.home.labels.ok: is a number; it takes text
            error: /etc/proxmox-mcp/config.toml:26: pve.home.fingerprints: is not a table; write it as fingerprints = { name = "…" }
            error: /etc/proxmox-mcp/config.toml:27: pve.home.connect_timeout_secs: is a number that is too large
            error: /etc/proxmox-mcp/config.toml:29: pve.home.unknown_table: is not a known key; known keys: endpoints, token_id, token, token_file, operate_token_id, operate_token, operate_token_file, username, password, password_file, totp_secret, totp_secret_file, ca_file, fingerprint, fingerprints, server_name, insecure, labels, expected_off, proxy, connect_timeout_secs, request_timeout_secs, deadline_secs, concurrency
            error: /etc/proxmox-mcp/config.toml:32: input.syslog.listen: is missing; for example listen = ["udp://0.0.0.0:5514", "tcp://0.0.0.0:5514", "tls://0.0.0.0:6514"]
            error: /etc/proxmox-mcp/config.toml:35: pbs: is not a table; write it as a table: [pbs.vault]
        "#]],
    );
}

#[test]
fn syntax_errors_have_a_line_and_no_text_of_the_file() {
    check(
        "[pve.home]\ntoken = \"secret\n[log]\nlevel = \n",
        expect![[r#"
        error: /etc/proxmox-mcp/config.toml:2: is not valid TOML: invalid basic string, expected `"`
        error: /etc/proxmox-mcp/config.toml:4: is not valid TOML: string values must be quoted, expected literal string
    "#]],
    );
    check(
        "[log]\nlevel = \"info\"\nlevel = \"warn\"\n",
        expect![[r"
        error: /etc/proxmox-mcp/config.toml:3: is not valid TOML: duplicate key
    "]],
    );
    check(
        "mode\n",
        expect![[r"
        error: /etc/proxmox-mcp/config.toml:1: is not valid TOML: key with no value, expected `=`
    "]],
    );
    check(
        "[pve.home\n",
        expect![[r"
        error: /etc/proxmox-mcp/config.toml:1: is not valid TOML: unclosed table, expected `]`
    "]],
    );
}

#[test]
fn what_is_missing_is_named() {
    check(
        "[pve.home]\n",
        expect![[r#"
            error: /etc/proxmox-mcp/config.toml:1: pve.home.endpoints: is missing; for example endpoints = ["https://pve1:8006"]
        "#]],
    );
    check(
        "\n\n[pbs.vault]\nlabels.site = \"x\"\n",
        expect![[r#"
            error: /etc/proxmox-mcp/config.toml:3: pbs.vault.endpoints: is missing; for example endpoints = ["https://pbs1:8007"]
        "#]],
    );
}

#[test]
fn a_name_is_used_once() {
    check(
        &format!(
            "{HOME}[pbs.home]\nendpoints = [\"https://b:8007\"]\ntoken_id = \"a@pbs!b\"\ntoken_file = \"home.token\"\n"
        ),
        expect![[r"
            error: /etc/proxmox-mcp/config.toml:6: pbs.home: has the name of pve.home (/etc/proxmox-mcp/config.toml:2); rename one of the two tables
        "]],
    );
}

#[test]
fn a_secret_is_given_once() {
    check(
        &format!("{HOME}token = \"abc\"\n"),
        expect![[r"
            error: /etc/proxmox-mcp/config.toml:6: pve.home.token: is set, and token_file too; keep one of them
        "]],
    );
}

#[test]
fn files_that_are_not_there() {
    check(
        "[pve.home]\nendpoints = [\"https://a:8006\"]\ntoken_id = \"a@pve!b\"\ntoken_file = \"/nowhere/token\"\nca_file = \"ca.pem\"\n",
        expect![[r"
            error: /etc/proxmox-mcp/config.toml:4: pve.home.token_file: names /nowhere/token, which does not exist
            error: /etc/proxmox-mcp/config.toml:5: pve.home.ca_file: names /etc/proxmox-mcp/ca.pem, which does not exist
        "]],
    );
    let setup = Setup::main(HOME)
        .file("/etc/proxmox-mcp/home.token", " \n")
        .file("/etc/proxmox-mcp/conf.d/a.toml", "<denied>");
    expect![[r"
        error: /etc/proxmox-mcp/conf.d/a.toml: cannot be read: permission denied; check its owner and mode
        error: /etc/proxmox-mcp/config.toml:5: pve.home.token_file: is empty; put the secret there
    "]].assert_eq(&setup.render());
    expect![[r"
        error: my.toml: does not exist; `proxmox-mcp config init` writes a first one
    "]]
    .assert_eq(&Setup::default().config("my.toml").render());
}

#[test]
fn what_the_client_refuses_has_its_place() {
    check(
        r#"[pve.none]
endpoints = []

[pve.half]
endpoints = ["https://a:8006"]
token_id = "mcp@pve!agent"

[pve.odd]
endpoints = ["http://b:8006"]
token_id = "mcp@pve"
token_file = "home.token"

[pve.id]
endpoints = ["https://c:8006"]
token_id = "mcp@pve"
token_file = "home.token"

[pve.tls]
endpoints = ["https://d:8006"]
token_id = "mcp@pve!agent"
token_file = "home.token"
fingerprint = "AB:CD"

[pve.off]
endpoints = ["https://e:8006"]
token_id = "mcp@pve!agent"
token_file = "home.token"
expected_off = ["ok", 104, 7]

[pbs.pin]
endpoints = ["https://f:8007", "https://g:8007"]
token_id = "mcp@pbs!agent"
token_file = "home.token"
fingerprints = { f = "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF" }
"#,
        expect![[r#"
            error: /etc/proxmox-mcp/config.toml:2: pve.none.endpoints: names no endpoint; write ["https://host:8006"]
            error: /etc/proxmox-mcp/config.toml:4: pve.half.token_file: the token's secret is missing; put it into a file that only you can read, and name that file
            error: /etc/proxmox-mcp/config.toml:9: pve.odd.endpoints: "http://b:8006" is not https; the API is served over HTTPS only; for a certificate that no authority signed use fingerprints or ca_file
            error: /etc/proxmox-mcp/config.toml:15: pve.id.token_id: "mcp@pve" is not a token's id; write user@realm!name, such as mcp@pve!agent
            error: /etc/proxmox-mcp/config.toml:22: pve.tls.fingerprint: not a SHA-256 fingerprint (64 hex digits, colons between pairs allowed): "AB:CD"; copy the SHA-256 line of `openssl x509 -noout -fingerprint -sha256` or of the node's certificate page
            error: /etc/proxmox-mcp/config.toml:28: pve.off.expected_off: guest id "7" is not valid: use 100 to 999999999; write guest ids from 100 on
            error: /etc/proxmox-mcp/config.toml:30: pbs.pin.fingerprints: none for https://g:8007; add g = "AB:…"; `proxmox-mcp test` prints what the endpoint shows
        "#]],
    );
    check(
        &format!("{HOME}insecure = true\n"),
        expect![[r#"
            pve.home.endpoints = ["https://pve1:8006"]  <- /etc/proxmox-mcp/config.toml:3
            pve.home.insecure = true  <- /etc/proxmox-mcp/config.toml:6
            pve.home.token_file = "/etc/proxmox-mcp/home.token"  <- /etc/proxmox-mcp/config.toml:5
            pve.home.token_id = "mcp@pve!agent"  <- /etc/proxmox-mcp/config.toml:4
            warning: /etc/proxmox-mcp/config.toml:6: pve.home.insecure: any certificate is believed: whoever is on the way can read the credentials; use fingerprints or ca_file
        "#]],
    );
}

#[test]
fn variables_and_flags_are_named() {
    let setup = Setup::main(HOME)
        .variable("PROXMOX_MCP_SERVER__MOD", "trusted")
        .variable("PROXMOX_MCP_SERVER__MODE", "all")
        .variable("PROXMOX_MCP_SERVER_MODE", "trusted")
        .variable("PROXMOX_MCP_VERSION", "1")
        .variable("PROXMOX_MCP_PVE__HOME", "x")
        .variable("PROXMOX_MCP_PVE__HOME__LABELS", "x")
        .variable("PROXMOX_MCP_PVE__HOME__CONCURRENCY", "many")
        .variable("PROXMOX_MCP_PVE__HOME__CONCURRENCY__X", "3")
        .variable("PROXMOX_MCP_PVE__HÖME__TOKEN", "3")
        .variable("PROXMOX_MCP_EVENTS__X", "3")
        .flag("--mode", "server.mode", "everything");
    expect![[r#"
        error: variable PROXMOX_MCP_EVENTS__X: events.x: is not a known key; known keys: enabled, poll, keep_days, wait_secs, update_secs, hold_secs, digest_at, zone, full_warning_percent, full_error_percent, full_margin_percent, instance, spool_dir, spool_max_bytes
        error: variable PROXMOX_MCP_PVE__HOME: pve.home: names no key; for example PROXMOX_MCP_PVE__HOME__ENDPOINTS
        error: variable PROXMOX_MCP_PVE__HOME__CONCURRENCY: pve.home.concurrency: is text; it takes a whole number from 1 to 64
        error: variable PROXMOX_MCP_PVE__HOME__CONCURRENCY__X: pve.home.concurrency.x: goes too deep; did you mean `concurrency`?
        error: variable PROXMOX_MCP_PVE__HOME__LABELS: pve.home.labels: is a table; set its entries, for example PROXMOX_MCP_PVE__HOME__LABELS__NAME
        error: variable PROXMOX_MCP_PVE__HÖME__TOKEN: pve."hÖme": is not a name for a table; use a-z, 0-9 and _ only, at most 40 characters, for example [pve.h_me]
        error: variable PROXMOX_MCP_SERVER__MOD: server.mod: is not a known key; did you mean `mode`?
        error: variable PROXMOX_MCP_SERVER__MODE: server.mode: is "all"; it takes one of: read-only, guarded, trusted
        error: flag --mode: server.mode: is "everything"; it takes one of: read-only, guarded, trusted
        warning: variable PROXMOX_MCP_SERVER_MODE is not a setting; did you mean PROXMOX_MCP_SERVER__MODE?
        warning: variable PROXMOX_MCP_VERSION is not a setting; section and key are separated by two underscores
    "#]].assert_eq(&setup.render());
}

#[test]
fn no_secret_is_ever_printed() {
    let setup = Setup::main(&format!("{HOME}password = 4711\nproxy = \"http://me:hunter2@proxy:3128\"\ntotp_secret = [\"hunter2\"]\n"))
        .variable("PROXMOX_MCP_PVE__HOME__OPERATE_TOKEN", "hunter2");
    let text = setup.render();
    expect![[r"
        error: /etc/proxmox-mcp/config.toml:6: pve.home.password: is a number; write it in quotes
        error: /etc/proxmox-mcp/config.toml:8: pve.home.totp_secret: is a list; write it in quotes
    "]]
    .assert_eq(&text);
    let setup = Setup::main(&format!(
        "{HOME}password = \"hunter2\"\nusername = \"a@pam\"\nproxy = \"http://me:hunter2@proxy:3128\"\n"
    ));
    let text = setup.render();
    assert!(!text.contains("hunter2"), "{text}");
    if let Ok(loaded) = setup.load() {
        assert!(!format!("{loaded:?} {:?}", loaded.settings).contains("hunter2"));
    }
}

proptest! {
    /// Settings are written by hand: whatever stands there is an answer, never a panic.
    #[test]
    fn any_text_is_read_without_a_panic(
        text in any::<String>(),
        header in "\\[{1,2}[a-z.]{0,12}\\]{0,2}",
        line in "[a-z_.\"]{0,20} ?= ?\\PC{0,20}",
        variable in "PROXMOX_MCP_[A-Z_\u{e9}]{0,20}",
    ) {
        let setup = Setup::main(&text)
            .file("/etc/proxmox-mcp/conf.d/a.toml", &format!("{header}\n{line}\n"))
            .variable(&variable, &line);
        let rendered = setup.render();
        prop_assert!(!rendered.is_empty());
    }

    /// Every key of every table with anything in it, of its kind and of others.
    #[test]
    fn any_values_of_any_keys_are_read_without_a_panic(
        place in 0..places().len(),
        values in proptest::collection::vec(value(), 40),
        skipped in proptest::collection::vec(any::<bool>(), 40),
    ) {
        let place = places()[place];
        let mut text = String::from(HOME);
        if let Some(of_type) = place.of_type {
            let (section, name) = (place.section.name, of_type.example);
            writeln!(text, "[{section}.{name}]\ntype = \"{}\"", of_type.name).unwrap();
            let places = places().into_iter().filter(|it| it.section.name == section && it.nested.is_none());
            let keys = places.filter(|it| it.of_type.is_none()).flat_map(|it| it.keys());
            let mut pairs = keys.filter(|key| key.name != "type").zip(&values).zip(&skipped);
            for ((key, value), _) in pairs.by_ref().filter(|(_, skipped)| **skipped) {
                writeln!(text, "{} = {value}", key.name).unwrap();
            }
        }
        if place.of_type.is_none() || place.nested.is_some() {
            writeln!(text, "[{}]", place.header()).unwrap();
        }
        for ((key, value), skipped) in place.keys().iter().zip(values.iter().rev()).zip(&skipped) {
            let example = place.fill(key.default.unwrap_or(key.example));
            let shown = if *skipped { value } else { &example };
            writeln!(text, "{} = {shown}", key.name).unwrap();
        }
        let rendered = Setup::main(&text).render();
        prop_assert!(!rendered.contains("not valid TOML"), "{rendered}\n{text}");
    }
}

/// The places of tables that the test can open; `[pve.home]` is there.
fn places() -> Vec<Place> {
    let all = SECTIONS.iter().flat_map(Section::places);
    all.filter(|place| !["pve", "pbs"].contains(&place.section.name)).collect()
}

/// A value of any kind, as TOML.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9/:. @{}%*-]{0,24}".prop_map(|text| format!("{text:?}")),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<bool>().prop_map(|it| it.to_string()),
        Just("[]".to_owned()),
        "[a-z/:.0-9]{0,12}".prop_map(|text| format!("[\"{text}\", 5]")),
        "[a-z/:.0-9]{0,12}".prop_map(|text| format!("{{ a = \"{text}\", \"b.c\" = 1 }}")),
        Just("2026-11-29T20:00:00Z".to_owned()),
        Just("\"/etc/proxmox-mcp/home.token\"".to_owned()),
    ]
}

#[test]
fn the_listener_and_its_mistakes() {
    check(
        r#"[http]
listen = "0.0.0.0"
unix_socket = ""
allowed_hosts = ["mcp.example.lan:8808", "192.0.2.7", "[::1]", "*", "https://a.example"]
allowed_origins = ["https://app.example.lan", "https://app.example.lan/path", "null"]
tls_cert_file = "tls.crt"
rate_per_minute = -1
session_idle_secs = 1
"#,
        expect![[r#"
            error: /etc/proxmox-mcp/config.toml:3: http.unix_socket: is empty; name a path or remove the key
            error: /etc/proxmox-mcp/config.toml:6: http.tls_cert_file: names /etc/proxmox-mcp/tls.crt, which does not exist
            error: /etc/proxmox-mcp/config.toml:7: http.rate_per_minute: is -1; it takes a number from 0 to 1000000
            error: /etc/proxmox-mcp/config.toml:8: http.session_idle_secs: is 1; it takes a number from 10 to 86400
        "#]],
    );
    check(
        r#"[http]
listen = "mcp.example.lan:8808"
allowed_hosts = ["mcp.example.lan:8808", "192.0.2.7", "[::1]", "*", "https://a.example"]
allowed_origins = ["https://app.example.lan", "https://app.example.lan/path", "null"]
tls_key_file = "home.token"
"#,
        expect![[r#"
            error: /etc/proxmox-mcp/config.toml:2: http.listen: is "mcp.example.lan:8808"; it takes an address with its port, for example 127.0.0.1:8808, 0.0.0.0:8808 or [::]:8808
            error: /etc/proxmox-mcp/config.toml:3: http.allowed_hosts: lists "*"; name each host, without scheme and path, for example mcp.example.lan or mcp.example.lan:8808
            error: /etc/proxmox-mcp/config.toml:3: http.allowed_hosts: lists "https://a.example"; name each host, without scheme and path, for example mcp.example.lan or mcp.example.lan:8808
            error: /etc/proxmox-mcp/config.toml:4: http.allowed_origins: lists "https://app.example.lan/path"; an origin is scheme, host and, where it is not the usual one, port: https://app.example.lan
            error: /etc/proxmox-mcp/config.toml:4: http.allowed_origins: lists "null"; an origin is scheme, host and, where it is not the usual one, port: https://app.example.lan
            error: /etc/proxmox-mcp/config.toml:5: http.tls_key_file: is set without tls_cert_file; HTTPS takes both
        "#]],
    );
}

#[test]
fn issuers_and_their_mistakes() {
    check(
        r#"[oauth.a]
issuer = "http://idp.example.lan"
audience = []
jwks_url = "https://user:planted@idp.example.lan/jwks"
scopes = { "proxmox.read" = "reed", "a b" = "read", c = ["destroy", "cluster:home"], offline_access = "read" }
required_scope = ""
algorithms = ["none", "HS256", "RS265", "ES256"]

[oauth.b]
audience = "api://mcp"

[oauth.c]
issuer = "https://idp.example.lan?x=y"
audience = ["api://mcp"]
ca_file = "home.token"
algorithms = []

[oauth.d]
issuer = "not an address"
audience = "https://mcp.example.lan/mcp"
jwks_url = "ftp://idp.example.lan/keys"
scopes = { x = "toolset:api" }
required_scope = "a b"

[oauth.e]
issuer = "https://one.example.lan"
audience = "http://mcp.example.lan/mcp"

[oauth.f]
issuer = "https://one.example.lan"
audience = "https://mcp.example.lan/mcp"
"#,
        expect![[r#"
            error: /etc/proxmox-mcp/config.toml:1: oauth.a.resource: is missing, and no audience is an address; it takes the address of the endpoint as clients write it, for example https://mcp.example.lan:8808/mcp
            error: /etc/proxmox-mcp/config.toml:2: oauth.a.issuer: is an address without TLS; whoever stands between could put keys of their own there: use https
            error: /etc/proxmox-mcp/config.toml:3: oauth.a.audience: is empty; tokens for anybody are for nobody
            error: /etc/proxmox-mcp/config.toml:4: oauth.a.jwks_url: holds a login; keys are public: leave the login out
            error: /etc/proxmox-mcp/config.toml:5: oauth.a.scopes."a b": is not the name of an OAuth scope; it holds no space, quote or backslash
            error: /etc/proxmox-mcp/config.toml:5: oauth.a.scopes."proxmox.read": is no scope: `reed` is not a scope: use read, operate, destroy, toolset:NAME, cluster:KEY, node:NAME, pool:NAME, tag:NAME, vmid:100-199, hours:mon-fri/08:00-18:00@ZONE, rate:60, changes:5 or guests:10; for example "read" or "operate,toolset:backup,cluster:home"
            error: /etc/proxmox-mcp/config.toml:6: oauth.a.required_scope: is not the name of an OAuth scope; it holds no space, quote or backslash
            error: /etc/proxmox-mcp/config.toml:7: oauth.a.algorithms: lists "HS256"; whoever can check such a token can make one: let the issuer sign with a key pair
            error: /etc/proxmox-mcp/config.toml:7: oauth.a.algorithms: lists "RS265"; did you mean `RS256`?
            error: /etc/proxmox-mcp/config.toml:7: oauth.a.algorithms: lists "none"; a token without a signature can be written by anybody
            error: /etc/proxmox-mcp/config.toml:9: oauth.b.issuer: is missing; for example issuer = "https://idp.example.lan/realms/lab"
            error: /etc/proxmox-mcp/config.toml:12: oauth.c.resource: is missing, and no audience is an address; it takes the address of the endpoint as clients write it, for example https://mcp.example.lan:8808/mcp
            error: /etc/proxmox-mcp/config.toml:13: oauth.c.issuer: has a query or a fragment; an issuer is an address with nothing behind `?` or `#`
            error: /etc/proxmox-mcp/config.toml:15: oauth.c.ca_file: is no certificate to trust: find a certificate in the CA file; it takes certificates in PEM
            error: /etc/proxmox-mcp/config.toml:16: oauth.c.algorithms: is empty; it takes some of RS256, PS256, ES256, EdDSA
            error: /etc/proxmox-mcp/config.toml:19: oauth.d.issuer: is not an address; it takes an address such as https://idp.example.lan
            error: /etc/proxmox-mcp/config.toml:21: oauth.d.jwks_url: is not an address of the web; it takes an address such as https://idp.example.lan
            error: /etc/proxmox-mcp/config.toml:22: oauth.d.scopes.x: is no scope: the scope has no tier: add read, operate or destroy; for example "read" or "operate,toolset:backup,cluster:home"
            error: /etc/proxmox-mcp/config.toml:23: oauth.d.required_scope: is not the name of an OAuth scope; it holds no space, quote or backslash
            error: /etc/proxmox-mcp/config.toml:29: oauth.f.resource: is https://mcp.example.lan/mcp, where oauth.e has http://mcp.example.lan/mcp; a server has one address: set the same `resource` in both tables
            error: /etc/proxmox-mcp/config.toml:30: oauth.f.issuer: is the issuer of oauth.e too; one table for each issuer
            warning: /etc/proxmox-mcp/config.toml:5: oauth.a.scopes.offline_access: asks clients for a token that never ends; servers do not ask for it; clients do where they need it
            warning: /etc/proxmox-mcp/config.toml:25: oauth.e.resource: tokens travel to it without TLS; set http.tls_cert_file and http.tls_key_file, or put a proxy with TLS in front
        "#]],
    );
}
