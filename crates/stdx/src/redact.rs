//! Takes secrets out of texts and JSON before anybody sees them.
//!
//! Two ways: by name (the value of `password`, `…_token`, `Authorization` and their like, in JSON,
//! `key=value`, `key: value` and `--key value`), and by looks (private keys, `scheme://user:pass@`,
//! JWTs, API tokens `user@realm!name=uuid`, tickets, crypt hashes, the keys of well-known services).
//! When in doubt it redacts: a lost word is cheaper than a lost password.

mod looks;
mod names;

use std::{borrow::Cow, fmt, ops::Range};

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

/// What stands in a secret's place.
pub const REDACTED: &str = "[redacted]";

/// Knows which names and values are secret. Cheap enough to make per process, and shared from there.
#[derive(Clone, Default)]
pub struct Redactor {
    names: names::SecretNames,
    values: Vec<SecretString>,
}

// === impl Redactor ===

impl Redactor {
    /// Knows the usual names and `extra` ones (case, `-` and `_` do not matter).
    pub fn new(extra: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        Self { names: names::SecretNames::with(extra), values: Vec::new() }
    }

    /// Also redacts these very texts wherever they stand: the secrets that this process holds.
    /// Those of fewer than eight characters are left out; they would hit ordinary words.
    #[must_use]
    pub fn with_values(mut self, values: impl IntoIterator<Item = SecretString>) -> Self {
        self.values.extend(values.into_iter().filter(|value| value.expose_secret().len() >= 8));
        self
    }

    /// Whether a field of this name holds a secret.
    pub fn is_secret_name(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// The text without its secrets; untouched text is not copied.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut found = Vec::new();
        // A search costs something even where the text is too short for the value.
        let values = self.values.iter().map(ExposeSecret::expose_secret);
        for value in values.filter(|value| value.len() <= text.len()) {
            found.extend(text.match_indices(value).map(|(at, _)| at..at + value.len()));
        }
        looks::find(text, &mut found);
        self.names.find(text, &mut found);
        if found.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(cut(text, found)) }
    }

    /// Redacts in place: values under secret names whatever they are, and secrets inside strings.
    pub fn json(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields.iter_mut() {
                    if self.is_secret_name(name) { blank(value) } else { self.json(value) }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.json(item)),
            Value::String(text) => {
                if let Cow::Owned(redacted) = self.text(text) {
                    *text = redacted;
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").field("values", &self.values.len()).finish_non_exhaustive()
    }
}

/// Redacts a value under a secret name. Null, booleans and the empty string say that there is none,
/// or only that there is one.
fn blank(value: &mut Value) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::String(text) if text.is_empty() => {}
        Value::Array(items) if items.is_empty() => {}
        value => *value = REDACTED.into(),
    }
}

/// The text with the ranges replaced; ranges that overlap or touch become one.
fn cut(text: &str, mut ranges: Vec<Range<usize>>) -> String {
    ranges.sort_by_key(|range| (range.start, range.end));
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for range in ranges {
        if range.end <= done {
            continue;
        }
        if range.start >= done && !(done > 0 && range.start == done) {
            out.push_str(&text[done..range.start]);
            out.push_str(REDACTED);
        }
        done = range.end;
    }
    out.push_str(&text[done..]);
    out
}

#[cfg(test)]
mod tests {
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
            "passwd": "", "api-key": null, "note": "pw: ok, password=x", "list": [{"private_key": "k"}],
        });
        Redactor::new([""; 0]).json(&mut value);
        assert_eq!(
            value,
            json!({
                "password": REDACTED, "token": REDACTED, "secret": REDACTED, "ticket": REDACTED,
                "enable_password": true, "passwd": "", "api-key": null,
                "note": "pw: ok, password=[redacted]", "list": [{"private_key": REDACTED}],
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
}
