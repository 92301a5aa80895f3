//! The settings of one endpoint: what is taken, what is refused and with which words.

use std::{io, path::Path};

use api_core::endpoint::{
    Checked, ConfigError, Credential, EndpointConfig, EndpointOptions, ExpectedOff, FileContent,
};
use expect_test::{Expect, expect};
use serde_json::{Value, json};
use stdx::tls::{Fingerprint, TlsPolicy};

fn files(path: &Path) -> io::Result<FileContent> {
    let (bytes, world_readable) = match path.to_str() {
        Some("/token") => ("planted-secret\n", false),
        Some("/open") => ("planted-secret", true),
        Some("/empty") => ("\n", false),
        Some("/lines") => ("a\nb\n", false),
        _ => return Err(io::ErrorKind::NotFound.into()),
    };
    Ok(FileContent { bytes: bytes.into(), world_readable: Some(world_readable) })
}

fn check(table: &Value) -> Result<Checked<EndpointOptions>, ConfigError> {
    let config: EndpointConfig = serde_json::from_value(table.clone()).expect("the right shape");
    let shown = format!("{config:?}");
    assert!(!shown.contains("planted"), "{shown}");
    let checked = config.check("pve", 8006, "home", &files);
    let shown = format!("{checked:?}");
    assert!(!shown.contains("planted"), "{shown}");
    checked
}

/// The usual table with these keys set anew; null takes a key away.
fn table(changes: &Value) -> Value {
    let mut table = json!({
        "endpoints": ["https://pve1:8006"], "token_id": "mcp@pve!agent", "token_file": "/token",
    });
    for (key, value) in changes.as_object().expect("an object") {
        let fields = table.as_object_mut().expect("an object");
        if value.is_null() {
            fields.remove(key)
        } else {
            fields.insert(key.clone(), value.clone())
        };
    }
    table
}

fn good(changes: &Value) -> Checked<EndpointOptions> {
    check(&table(changes)).unwrap_or_else(|error| panic!("{changes}: {error}"))
}

fn print() -> String {
    Fingerprint::of(b"one").to_string()
}

#[test]
fn the_usual_table_has_the_usual_values() {
    let Checked { value, warnings } = good(&json!({}));
    assert!(warnings.is_empty());
    assert_eq!(
        (value.targets[0].url.as_str(), &value.targets[0].tls.policy),
        ("https://pve1:8006", &TlsPolicy::System)
    );
    let Credential::Token { id, .. } = &value.credential else { panic!("no token") };
    assert_eq!((id.as_str(), value.credential.user()), ("mcp@pve!agent", "mcp@pve"));
    let times =
        [value.connect_timeout, value.request_timeout, value.deadline].map(|time| time.as_secs());
    assert_eq!((times, value.concurrency), ([5, 35, 60], 8));
    assert!(value.operate.is_none());
}

#[test]
fn addresses_are_taken_as_people_write_them() {
    for (given, url) in [
        ("pve1", "https://pve1:8006"),
        ("PVE1.lan:443", "https://pve1.lan:443"),
        ("https://pve1", "https://pve1:8006"),
        ("https://pve1:443", "https://pve1:443"),
        ("https://10.0.0.1:8006/", "https://10.0.0.1:8006"),
        ("https://[fd00::1]:8006", "https://[fd00::1]:8006"),
        ("https://proxy:8443/pve/", "https://proxy:8443/pve"),
        ("https://pve1:8006/api2/json", "https://pve1:8006"),
    ] {
        assert_eq!(good(&json!({"endpoints": [given]})).value.targets[0].url, url, "{given}");
    }
}

#[test]
fn pins_belong_to_the_endpoints_that_they_name() {
    let two = |byte: &[u8]| Fingerprint::of(byte).to_string();
    let endpoints =
        json!(["https://pve1.lan:8006", "https://10.0.0.2:8006", "https://127.0.0.1:9001"]);
    let pins = json!({
        "pve1": two(b"1"), "10.0.0.2": [two(b"2"), two(b"2b")], "127.0.0.1:9001": two(b"3"),
    });
    let checked = good(&json!({"endpoints": endpoints, "fingerprints": pins}));
    let policies: Vec<_> =
        checked.value.targets.iter().map(|target| target.tls.policy.clone()).collect();
    let of = |bytes: &[&[u8]]| TlsPolicy::Pins(bytes.iter().map(|b| Fingerprint::of(b)).collect());
    assert_eq!(policies, [of(&[b"1"]), of(&[b"2", b"2b"]), of(&[b"3"])]);

    // Node names where the endpoints are addresses: each is good for all.
    let checked = good(&json!({
        "endpoints": ["https://10.0.0.1", "https://10.0.0.2"],
        "fingerprints": {"pve1": two(b"1"), "pve2": two(b"2")},
    }));
    assert!(checked.value.targets.iter().all(|target| target.tls.policy == of(&[b"1", b"2"])));
    let checked = good(&json!({"fingerprint": two(b"1")}));
    assert_eq!(checked.value.targets[0].tls.policy, of(&[b"1"]));
}

#[test]
fn the_rest_is_taken_too() {
    let Checked { value, warnings } = good(&json!({
        "token_file": "/open", "insecure": true, "operate_token_id": "mcp@pve!operate",
        "operate_token": "planted-other", "labels": {"site": "home"}, "expected_off": ["pve3", 104, "105"],
        "proxy": "http://proxy:3128", "deadline_secs": 20, "request_timeout_secs": 2,
    }));
    let off = [
        "pve3".parse().map(ExpectedOff::Node),
        Ok(ExpectedOff::Guest("104".parse().expect("an id"))),
    ];
    assert_eq!(value.expected_off[..2], off.map(|off| off.expect("a name")));
    assert_eq!(value.operate.as_ref().map(Credential::id), Some("mcp@pve!operate"));
    assert_eq!((value.deadline.as_secs(), value.labels["site"].as_str()), (20, "home"));
    assert_eq!(value.secrets().len(), 2);
    let told: Vec<String> =
        warnings.iter().map(|w| format!("{}: {} ({})", w.key, w.reason, w.hint)).collect();
    expect![[r"
        pve.home.insecure: any certificate is believed: whoever is on the way can read the credentials (use fingerprints or ca_file)
        pve.home.token_file: /open can be read by everybody on this machine (chmod 600 /open)
        pve.home.request_timeout_secs: a refused login takes the server three seconds, so it will look like a timeout (use more than 3; the default is 35, as proxied calls take up to 30)"]]
    .assert_eq(&told.join("\n"));

    let login = json!({"token_id": null, "token_file": null, "username": "root@pam", "password": "planted",
        "totp_secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"});
    let Credential::Password { username, totp, .. } = good(&login).value.credential else {
        panic!("no login")
    };
    assert_eq!((username.as_str(), totp.is_some()), ("root@pam", true));
}

#[test]
fn no_secret_shows_in_a_table_or_in_what_is_made_of_it() {
    let changes = json!({
        "token": "planted-1", "token_file": null, "operate_token_id": "mcp@pve!operate",
        "operate_token": "planted-2", "proxy": "http://bob:planted-3@proxy:3128",
    });
    // `check` looks for what is planted in all that it shows.
    let shown = format!("{:?}", good(&changes).value);
    assert!(shown.contains("http://[redacted]@proxy:3128"), "{shown}");
    for endpoint in ["https://bob:planted@pve1", "http://bob:planted@pve1", "bob:planted@[x"] {
        let error = check(&table(&json!({"endpoints": [endpoint]}))).expect_err("a login");
        assert!(!format!("{error:?} {error}").contains("planted"), "{error}");
    }
}

fn refused(changes: &Value, expected: &Expect) {
    let error = check(&table(changes)).expect_err("it is wrong");
    expected.assert_eq(&format!("{error} ({})", error.hint));
}

#[test]
fn what_is_wrong_is_told_with_what_to_do() {
    refused(
        &json!({"endpoints": []}),
        &expect![[r#"pve.home.endpoints: names no endpoint (write ["https://host:8006"])"#]],
    );
    refused(
        &json!({"endpoints": ["http://pve1:8006"]}),
        &expect![[
            r#"pve.home.endpoints: "http://pve1:8006" is not https (the API is served over HTTPS only; for a certificate that no authority signed use fingerprints or ca_file)"#
        ]],
    );
    refused(
        &json!({"endpoints": ["https://user:pass@pve1"]}),
        &expect![
            "pve.home.endpoints: an address carries a user name or password (use token_id and token_file, and an address without them)"
        ],
    );
    refused(
        &json!({"endpoints": ["pve1", "https://pve1:8006/"]}),
        &expect!["pve.home.endpoints: https://pve1:8006 stands twice (remove one)"],
    );
    refused(
        &json!({"token_id": null, "token_file": null}),
        &expect![[
            r#"pve.home.token_id: there is no credential (add token_id = "user@realm!name" and token_file; `proxmox-mcp config add` makes a token with least privilege)"#
        ]],
    );
    refused(
        &json!({"token_id": "agent"}),
        &expect![[
            r#"pve.home.token_id: "agent" is not a token's id (write user@realm!name, such as mcp@pve!agent)"#
        ]],
    );
    refused(
        &json!({"token": "planted"}),
        &expect!["pve.home.token_file: token and token_file are both given (keep the file)"],
    );
    refused(
        &json!({"token_file": null}),
        &expect![
            "pve.home.token_file: the token's secret is missing (put it into a file that only you can read, and name that file)"
        ],
    );
    refused(
        &json!({"token_file": "/none"}),
        &expect![
            "pve.home.token_file: cannot read /none: entity not found (create the file, or correct its path)"
        ],
    );
    refused(
        &json!({"token_file": "/empty"}),
        &expect!["pve.home.token_file: is empty (put the secret there)"],
    );
    refused(
        &json!({"token_file": "/lines"}),
        &expect![
            "pve.home.token_file: has several lines or control characters (put only the secret there)"
        ],
    );
    refused(
        &json!({"token_file": null, "token": "mcp@pve!agent=planted"}),
        &expect![
            "pve.home.token: holds more than the secret (give only the secret, the part after the token's id)"
        ],
    );
    refused(
        &json!({"username": "root@pam"}),
        &expect![
            "pve.home.username: a token and a user name are both given (keep one; a token is better)"
        ],
    );
    refused(
        &json!({"operate_token_id": "mcp@pve!x"}),
        &expect![
            "pve.home.operate_token_file: the token's secret is missing (put it into a file that only you can read, and name that file)"
        ],
    );
    refused(
        &json!({"ca_file": "/none"}),
        &expect![
            "pve.home.ca_file: cannot read /none: entity not found (create the file, or correct its path)"
        ],
    );
    refused(
        &json!({"ca_file": "/token"}),
        &expect![
            "pve.home.ca_file: /token: find a certificate in the CA file (give the root certificate in PEM: /etc/pve/pve-root-ca.pem on a PVE node)"
        ],
    );
    refused(
        &json!({"insecure": true, "fingerprint": print()}),
        &expect![
            "pve.home.insecure: fingerprint and insecure are both given (keep one: ca_file where the cluster has its own root, else fingerprints)"
        ],
    );
    refused(
        &json!({"fingerprint": "AB:CD"}),
        &expect![[
            r#"pve.home.fingerprint: not a SHA-256 fingerprint (64 hex digits, colons between pairs allowed): "AB:CD" (copy the SHA-256 line of `openssl x509 -noout -fingerprint -sha256` or of the node's certificate page)"#
        ]],
    );
    refused(
        &json!({"endpoints": ["a", "b"], "fingerprint": print()}),
        &expect![[
            r#"pve.home.fingerprint: there are several endpoints (each node has its own certificate: write fingerprints = { node1 = "AB:…", node2 = "CD:…" })"#
        ]],
    );
    refused(
        &json!({"endpoints": ["a", "b"], "fingerprints": {"a": print()}}),
        &expect![[
            r#"pve.home.fingerprints: none for https://b:8006 (add b = "AB:…"; `proxmox-mcp test` prints what the endpoint shows)"#
        ]],
    );
    refused(
        &json!({"fingerprint": print(), "server_name": "x"}),
        &expect![
            "pve.home.server_name: has no effect with fingerprints or insecure (remove it: a pinned certificate is believed whatever names it carries)"
        ],
    );
    refused(
        &json!({"expected_off": [7]}),
        &expect![[
            r#"pve.home.expected_off: guest id "7" is not valid: use 100 to 999999999 (write guest ids from 100 on)"#
        ]],
    );
    refused(
        &json!({"proxy": "socks"}),
        &expect![
            "pve.home.proxy: is not the address of an HTTP proxy (write none, env or http://host:port)"
        ],
    );
    refused(
        &json!({"deadline_secs": 0}),
        &expect!["pve.home.deadline_secs: is zero (the default is 60)"],
    );
}

#[test]
fn every_key_is_known_by_name() {
    let error = serde_json::from_value::<EndpointConfig>(json!({"nope": 1})).expect_err("unknown");
    let listed =
        EndpointConfig::KEYS.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
    assert_eq!(error.to_string(), format!("unknown field `nope`, expected one of {listed}"));
}
