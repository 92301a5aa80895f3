//! What is taken out, and what stays.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const UUID: &str = "0f5a3c1e-9d2b-4a77-8c10-5f2be1a4d9c3";

fn check(given: &str, expected: &str) {
    let redactor = Redactor::new(["webhook_url"]);
    let once = redactor.text(given).into_owned();
    assert_eq!(once, expected, "{given:?}");
    assert_eq!(redactor.text(&once), once, "a second pass changes nothing");
}

#[test]
fn values_under_secret_names() {
    check("password=hunter2 user=bob", "password=[redacted] user=bob");
    check(
        "token:aB3dE token:0f5a3c9, token: deploy",
        "token:[redacted] token:[redacted], token: [redacted]",
    );
    check("GET /x?password=a%20b&node=n", "GET /x?password=[redacted]&node=n");
    check("cipassword: geheim", "cipassword: [redacted]");
    check(r#"{"Password": "a \"b\" c", "n": 1}"#, r#"{"Password": "[redacted]", "n": 1}"#);
    check(r#"{\"secret\":\"abc\",\"n\":1}"#, r#"{\"secret\":\"[redacted]\",\"n\":1}"#);
    check(
        "qm set 100 --cipassword hunter2 --cores 2",
        "qm set 100 --cipassword [redacted] --cores 2",
    );
    check("export GITHUB_TOKEN='x y z'; run", "export GITHUB_TOKEN='[redacted]'; run");
    check("Authorization: Bearer abc def\nHost: x", "Authorization: [redacted]\nHost: x");
    check("Cookie: a=b; c=d\r\nHost: x", "Cookie: [redacted]\r\nHost: x");
    check("webhook-url=https://h/x", "webhook-url=[redacted]");
    check("env: A=1\u{0}DB_PASSWORD=x\u{0}B=2", "env: A=1\u{0}DB_PASSWORD=[redacted]\u{0}B=2");
    check("password: |\n  two\n  lines\nnext: 1", "password: |\n[redacted]\nnext: 1");
}

#[test]
fn arguments_behind_flags_that_name_a_secret() {
    let mut given = json!({
        "command": ["mysql", "--password", "hunter2", "--user", "ann", "--token", "--verbose", "--db-password", ""],
        "others": ["password", "hunter2", 3, "--secret", 4],
    });
    Redactor::default().json(&mut given);
    let expected = json!({
        "command": ["mysql", "--password", "[redacted]", "--user", "ann", "--token", "--verbose", "--db-password", ""],
        "others": ["password", "hunter2", 3, "--secret", 4],
    });
    assert_eq!(given, expected);
}

#[test]
fn what_only_mentions_a_secret_stays() {
    for text in [
        "wrong password",
        "permission denied - invalid csrf token",
        "tokenid=agent",
        "password=",
        "\"password\": null",
        "--password --user x",
        "time: 12:30, size: 5 GiB",
        "UPID:pve1:000002D6:000C8274:6B033EDA:qmcreate:300:root@pam!full:",
        "https://pve1:8006/api2/json",
        "ssh-rsa AAAAB3NzaC1yc2E user@host",
        "mcp@pve!agent",
        UUID,
    ] {
        check(text, text);
    }
}

#[test]
fn secrets_by_their_looks() {
    check(&format!("used mcp@pve!agent={UUID}."), "used mcp@pve!agent=[redacted].");
    check(&format!("used mcp@pbs!agent:{UUID}"), "used mcp@pbs!agent:[redacted]");
    check("see https://bob:hunter2@h/x now", "see https://bob:[redacted]@h/x now");
    check("postgres://u:p@ss@db/x", "postgres://u:[redacted]@db/x");
    check("errors https://bob:hunter2abc…", "errors https://bob:[redacted]…");
    for kept in ["https://alder:80…", "https://[fd00::1]:80…", "https://alder.exa…"] {
        check(kept, kept);
    }
    check("got PVE:root@pam:6B033EDA::abc/DEF+12== ok", "got [redacted] ok");
    check("PVEVNC:6B033EDA::abcdef==", "[redacted]");
    check("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl end", "jwt [redacted] end");
    check("id AKIAIOSFODNN7EXAMPLE.", "id [redacted].");
    check("t ghp_0123456789abcdefghijABCDEFGHIJ012345", "t [redacted]");
    check(&format!("t pmx_0a1b2c3d_{}.", "0f".repeat(32)), "t [redacted].");
    check("root:$6$salt$abc./DEF:19000:", "root:[redacted]:19000:");
    check(
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----\nx",
        "[redacted]\nx",
    );
    check("a -----BEGIN RSA PRIVATE KEY-----\\nMIIE...cut", "a [redacted]");
    check(
        "-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----",
        "-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----",
    );
    check(
        "POST https://discord.com/api/webhooks/123/abc-DEF_9 ok",
        "POST https://discord.com/api/webhooks/123/[redacted] ok",
    );
}

#[test]
fn json_is_redacted_by_name_and_in_strings() {
    let mut value = json!({
        "password": "x", "token": ["a"], "secret": 12, "ticket": {"a": 1}, "enable_password": true,
        "passwd": "", "api-key": null, "note": "seen: ok, password=x", "list": [{"private_key": "k"}],
    });
    Redactor::new([""; 0]).json(&mut value);
    assert_eq!(
        value,
        json!({
            "password": REDACTED, "token": REDACTED, "secret": REDACTED, "ticket": REDACTED,
            "enable_password": true, "passwd": "", "api-key": null,
            "note": "seen: ok, password=[redacted]", "list": [{"private_key": REDACTED}],
        })
    );
}

#[test]
fn known_values_are_found_anywhere() {
    let redactor =
        Redactor::new([""; 0]).with_values(["s3cr3t-value", "short"].map(SecretString::from));
    assert_eq!(redactor.text("x/s3cr3t-value/y short"), "x/[redacted]/y short");
    assert!(!format!("{redactor:?}").contains("s3cr3t"));
}

#[test]
fn the_keys_of_services_and_of_headers() {
    let long = "Ab1".repeat(16);
    for (given, expected) in [
        ("x AIzaSyA-0123456789_abcdefghijklmnopqrst y".to_owned(), "x [redacted] y"),
        (format!("glpat-{long} sk-{long}"), "[redacted] [redacted]"),
        (format!("tk_{long}/hvs.{long}"), "[redacted]/[redacted]"),
        ("AQCvCbtToC6MDhAATtuT70Sl+DymPCfDSsyV4w==".to_owned(), "[redacted]"),
        (
            "https://hooks.slack.com/services/T0AB/B0CD/x1Y2z3 ok".to_owned(),
            "https://hooks.slack.com/services/T0AB/B0CD/[redacted] ok",
        ),
        (
            "bot MTAxMDEwMTAxMDEwMTAxMDEw.GhIjKl.abcdefghijklmnopqrstuvwxyz-_1 in".to_owned(),
            "bot [redacted] in",
        ),
        (
            "api.telegram.org/bot123456789:AAabcdefghijklmnopqrstuvwxyz0123456/x".to_owned(),
            "api.telegram.org/bot123456789:[redacted]/x",
        ),
        ("sent `Bearer abcDEF123456789` off".to_owned(), "sent `Bearer [redacted]` off"),
        ("-H 'Basic dXNlcjpwYXNzd29yZA=='".to_owned(), "-H 'Basic [redacted]'"),
        ("The root password is hunter2.".to_owned(), "The root password is [redacted]"),
        ("curl -s -u bob:hunter2 https://h".to_owned(), "curl -s -u bob:[redacted] https://h"),
        ("sshpass -p hunter2 ssh h".to_owned(), "sshpass -p [redacted] ssh h"),
        ("postgres://u:pa/ss@db/x".to_owned(), "postgres://u:[redacted]@db/x"),
        ("pw: hunter2, psk=abc".to_owned(), "pw: [redacted], psk=[redacted]"),
        (
            r#"{"tokens":["a"],"token":["a","b"]}"#.to_owned(),
            r#"{"tokens":["a"],"token":[redacted]}"#,
        ),
    ] {
        check(&given, expected);
    }
}

/// What Proxmox's answers and logs are full of and what looks like secrets from afar.
#[test]
fn ordinary_text_stays_as_it_is() {
    for text in [
        "UPID:alder:000002D6:000C8274:6B033EDA:vzdump:104:root@pam:",
        "UPID:vault:00000A3C:0001B2C3:00000007:6B033EDA:garbage\\x5fcollection:main:root@pam:",
        "INFO: starting new backup job: vzdump 104 --mode snapshot --storage vault --node alder",
        "INFO: root.img: had to backup 1.2 GiB of 32 GiB (compressed 400 MiB) in 12.03 s",
        "9B:C4:07:2F:11:AA:5E:0D:9B:C4:07:2F:11:AA:5E:0D:9B:C4:07:2F:11:AA:5E:0D:9B:C4:07:2F:11:AA:5E:0D",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "virtio=BC:24:11:0A:7F:3C,bridge=vmbr0,firewall=1,tag=20",
        "local-lvm:vm-104-disk-0,iothread=1,size=64G",
        "vault:backup/vm/104/2026-11-28T01:00:02Z",
        "local:iso/debian-13.1.0-amd64-netinst.iso",
        "nas:snippets/dXNlci1kYXRhLWZvci10aGUtZGVtbw==.yaml",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK1ymLzWqX9d7mQ0m1c3 admin@desk",
        "smbios1: uuid=0f5a3c1e-9d2b-4a77-8c10-5f2be1a4d9c3",
        "vmgenid: 7d1c4a34-2f3c-4f0c-9d4a-5c1f4f3f0b11",
        "name: web-01; tags: prod;web; onboot: 1; ostype: l26; scsihw: virtio-scsi-single",
        "boot: order=scsi0;ide2;net0",
        "token: 3000",
        "asked by token:deploy-n8n for token:ci by token:*",
        "token_retransmits_before_loss_const: 10",
        "pass: 2/3",
        "recovery: 12 MiB/s, value: 7",
        "password is incorrect; the bearer token is missing; basic information follows",
        "password=\"\" and password: null",
        "authentication failure; logname= uid=0 tty=ssh ruser= rhost=10.0.0.9  user=root",
        "pam_unix(sshd:auth): check pass; user unknown",
        "Accepted publickey for root from 10.0.0.9 port 51122 ssh2: ED25519 SHA256:3vQ0m1c3K1ymLzWqX9d7mQ0m1c3K1ymLzWqX9d7mQ0m",
        "sk-bratislava-node-01-backup npm_modules_of_the_old_build_server_number_1",
        "ASIA-PACIFIC-DATACENTER-1 AKIA is a prefix",
        "/dev/disk/by-id/ata-CT1000MX500SSD1_2117E59A0123",
        "https://alder:8006/api2/json/nodes/alder/qemu/104/status/current?x=a@b",
        "https://h:8443/path/of@something",
        "user mcp@pve!agent on /vms/104 with VM.PowerMgmt,VM.Audit",
        "docker run -u 1000:1000 -p 8080:80 image",
        "Nov 29 01:00:02 alder pvedaemon[1412]: <root@pam> successful auth for user 'root@pam'",
        "kernel: EXT4-fs (dm-7): mounted filesystem 1b2c3d4e-5f60-4718-92a3-b4c5d6e7f809 r/w",
        "version 9.2.11 (running kernel: 6.14.11-2-pve) 1.2.3.4 eyJ is how some begin",
        "$100 or $6 a month; $HOME/$USER; a $1$ here",
        "ceph: AQ is short; health HEALTH_WARN 1 pool(s) nearfull",
    ] {
        check(text, text);
        let fields = Redactor::new([""; 0]).with_fields(["recovery", "value", "env"]);
        assert_eq!(fields.text(text), text);
    }
}

#[test]
fn a_field_of_json_is_not_a_word_of_a_text() {
    let redactor = Redactor::new(["door-code"]).with_fields(["recovery", "env"]);
    let mut value =
        json!({"recovery": ["a-b"], "env": "A=1", "door_code": 7, "note": "recovery: 1"});
    redactor.json(&mut value);
    let gone = json!({
        "recovery": REDACTED, "env": REDACTED, "door_code": REDACTED, "note": "recovery: 1",
    });
    assert_eq!(value, gone);
    assert_eq!(redactor.text("door code 7, doorcode=7"), "door code 7, doorcode=[redacted]");
    assert!(redactor.is_secret_name("ENV") && !redactor.is_secret_name("environment"));
}

/// Beginnings without an end, over and over: were each of them followed to the end of the text, this
/// would not come to an end today.
#[test]
fn beginnings_without_ends_cost_no_more_than_other_text() {
    for piece in [
        "eyJaaaaaaaa-",
        "eyJ.",
        "PVE:a:",
        "$1$",
        "sk-",
        "password=",
        "password:|",
        "cookie:",
        "://a:b",
        "-----BEGIN x",
        "-----BEGIN PRIVATE KEY-----",
        "!a",
        "Bearer a",
        "/api/webhooks/1",
        "\"",
        "--token ",
        "a.bbbbbb.",
        "12345678:AA",
        "curl -u a ",
        "[\"",
        "token: [\"a",
        "AQ",
        "\\\"",
        "-",
        "secret: ",
    ] {
        let text = piece.repeat(200_000 / piece.len());
        let redactor = Redactor::new([""; 0]);
        let once = redactor.text(&text).into_owned();
        assert_eq!(redactor.text(&once), once, "{piece:?}");
    }
}

#[test]
fn known_values_are_found_as_urls_and_json_spell_them() {
    let redactor =
        Redactor::new([""; 0]).with_values(["p\"ss w/rd+1".into(), "p\"ss w/rd+12".into()]);
    assert_eq!(redactor.text("a p\"ss w/rd+12 b"), "a [redacted] b");
    // A rule would take the quote for the value's end.
    assert_eq!(redactor.text("password=p\"ss w/rd+12 b"), "password=[redacted] b");
    assert_eq!(redactor.text("GET /?x=p%22ss%20w%2Frd%2B1&y"), "GET /?x=[redacted]&y");
    assert_eq!(redactor.text(r#"{"x": "p\"ss w/rd+1"}"#), r#"{"x": "[redacted]"}"#);
}

proptest! {
    #[test]
    fn any_text_is_taken_and_a_password_never_survives(before in "\\PC{0,40}", secret in "[a-zA-Z0-9]{6,20}") {
        let redactor = Redactor::new([""; 0]);
        redactor.text(&before);
        let text = format!("{before} password={secret} {before}");
        prop_assume!(!before.contains(&secret));
        prop_assert!(!redactor.text(&text).contains(&secret));
        let text = format!("{before}\n{{\"password\":\"{secret}\"}}");
        prop_assert!(!redactor.text(&text).contains(&secret));
    }
}
