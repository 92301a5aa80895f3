//! `[audit]`: where copies go, and every class of error.

use std::fmt::Write as _;

use expect_test::expect;

use crate::support::{HOME, Setup};

fn setup(text: &str) -> Setup {
    Setup::main(&format!("{HOME}\n[audit]\n{text}"))
        .file("/hook", "https://hooks.lan/audit/s3cret\n")
        .file("/garbage", "not an address")
}

#[test]
fn copies_go_where_it_says() {
    let targets = |text: &str| -> Vec<String> {
        let audit = setup(text).load().unwrap().settings.audit;
        audit.targets().iter().map(ToString::to_string).collect()
    };
    assert_eq!(targets(""), [""; 0]);
    assert_eq!(targets("syslog = 'unix:///dev/log'"), ["unix:///dev/log"]);
    assert_eq!(
        targets("syslog = 'udp://log.lan:514'\nwebhook_url_file = '/hook'"),
        ["udp://log.lan:514", "https://hooks.lan"]
    );
    let settings = setup("webhook_url = 'https://hooks.lan/s3cret'").load().unwrap().settings;
    assert!(!format!("{settings:?}").contains("s3cret"));
    let secrets = settings.secrets();
    let is_known = |secret: &secrecy::SecretString| {
        secrecy::ExposeSecret::expose_secret(secret) == "https://hooks.lan/s3cret"
    };
    assert!(secrets.iter().any(is_known), "the redactor knows it");
}

#[test]
fn what_is_none_is_named() {
    let mut said = String::new();
    for text in [
        "syslog = 'log.lan'",
        "syslog = 'https://log.lan'",
        "webhook_url = 'udp://log.lan:514'",
        "webhook_url_file = '/none'",
        "webhook_url_file = '/garbage'",
        "webhook_url = 'https://a'\nwebhook_url_file = '/hook'",
        "hook = 'x'",
    ] {
        let errors = setup(text).load().unwrap_err();
        for error in &errors.errors {
            let _ = writeln!(said, "{}: {} ({})", error.key, error.reason, error.hint);
        }
    }
    expect![[r#"
        audit.syslog: "log.lan" is no syslog receiver (it takes udp://HOST:PORT or unix:///dev/log)
        audit.syslog: "https://log.lan" is no syslog receiver (it takes udp://HOST:PORT or unix:///dev/log)
        audit.webhook_url: is no address of a webhook (it takes https://…)
        audit.webhook_url_file: names /none, which does not exist ()
        audit.webhook_url_file: is no address of a webhook (it takes https://…)
        audit.webhook_url: is set, and webhook_url_file too (keep one of them)
        audit.hook: is not a known key (known keys: syslog, webhook_url, webhook_url_file)
    "#]].assert_eq(&said);
}
