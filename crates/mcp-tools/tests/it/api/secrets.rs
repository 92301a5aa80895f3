//! Every GET that the products publish, answered with a secret in every field: none is told.

use mcp_tools::{redaction::Redaction, tools::api::Library};
use serde_json::{Map, Value, json};

use super::fake::{cx, published};
use crate::estate::tool;

/// What every planted secret begins with.
const MARK: &str = "pLANT3d";

/// The fields that hold secrets as such, read off the published schemas and the products' code: part
/// of a path, and the field. Everything else is text that somebody may have written one into.
const SECRETS: &[(&str, &str)] = &[
    ("", "cipassword"),
    ("", "client-key"),
    ("", "password"),
    ("", "secret"),
    ("", "token"),
    ("", "access-key"),
    ("/lxc/", "env"),
    ("/acme/plugins", "data"),
    ("/access/users", "keys"),
    ("/endpoints/webhook", "header"),
    ("/endpoints/webhook", "body"),
    ("/subscription", "key"),
    ("/encryption-keys", "hint"),
    ("/sdn/dns", "key"),
];

/// The replies of one product, each path filled in, and how many secrets are in them.
struct Replies {
    count: usize,
    by_path: Vec<(String, Value)>,
}

// === impl Replies ===

impl Replies {
    fn of(published: &str) -> Self {
        let tree: Value = serde_json::from_str(published).expect("a published schema");
        let mut out = Self { count: 0, by_path: Vec::new() };
        out.walk(&tree);
        out
    }

    fn walk(&mut self, nodes: &Value) {
        for node in nodes.as_array().into_iter().flatten() {
            let get = &node["info"]["GET"];
            if get.is_object() {
                let path = node["path"].as_str().expect("a path");
                let filled = fill(path, &get["parameters"]["properties"]);
                let data = self.make(path, "", &get["returns"]);
                self.by_path.push((filled, data));
            }
            self.walk(&node["children"]);
        }
    }

    /// A value of this shape with a secret in every text.
    fn make(&mut self, path: &str, field: &str, schema: &Value) -> Value {
        match schema["type"].as_str() {
            Some("array") => json!([
                self.make(path, field, &schema["items"]),
                self.make(path, field, &schema["items"])
            ]),
            Some("integer" | "number" | "boolean") => json!(1),
            Some("string") => self.text(path, field),
            // What declares nothing returns something all the same, often enough.
            _ => {
                let mut fields = Map::new();
                for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
                    let name = name.replace("[n]", "0");
                    let value = self.make(path, &name, schema);
                    fields.insert(name, value);
                }
                for name in ["note", "password", "env"] {
                    if name != "env" || path.contains("/lxc/") {
                        let value = self.text(path, name);
                        fields.entry(name).or_insert(value);
                    }
                }
                if SECRETS.iter().any(|(part, _)| !part.is_empty() && path.contains(part)) {
                    for (part, name) in SECRETS {
                        if !part.is_empty() && path.contains(part) {
                            let value = self.text(path, name);
                            fields.insert((*name).to_owned(), value);
                        }
                    }
                }
                Value::Object(fields)
            }
        }
    }

    fn text(&mut self, path: &str, field: &str) -> Value {
        let number = self.count;
        self.count += 1;
        let secret = format!("{MARK}{number:06}abcdefghij0123456789KLMNOP");
        let is_secret = SECRETS.iter().any(|(part, name)| *name == field && path.contains(part));
        if is_secret {
            return json!(secret);
        }
        json!(match number % 4 {
            0 => format!("x password={secret}"),
            1 => format!("https://u:{secret}@h/x"),
            2 => format!("glpat-{secret}"),
            _ => format!("Authorization: Bearer {secret}"),
        })
    }
}

/// A path with its parameters filled in.
fn fill(path: &str, params: &Value) -> String {
    let segment = |segment: &str| {
        let Some(name) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
            return segment.to_owned();
        };
        let param = &params[name];
        if let Some(first) = param["enum"][0].as_str() {
            return first.to_owned();
        }
        match (name, param["type"].as_str()) {
            ("vmid", _) => "100".to_owned(),
            (_, Some("integer")) => param["minimum"].as_u64().unwrap_or(1).to_string(),
            ("userid", _) => "a@pam".to_owned(),
            ("upid", _) => "UPID:alder:00000001:00000001:6B033EDA:vzdump:100:root@pam:".to_owned(),
            ("sid", _) => "vm:100".to_owned(),
            ("cidr", _) => "10.0.0.0%2F8".to_owned(),
            ("volume", _) => "nas:iso%2Fa.iso".to_owned(),
            ("fingerprint", _) => ["ab"; 32].join(":"),
            _ => "alder".to_owned(),
        }
    };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn no_published_read_tells_a_secret() {
    let Some((pve, pbs)) = published() else { return };
    let cx = cx(&pve, Some(&pbs), Library::default());
    let mut leaks = Vec::new();
    for (cluster, server, fixture, least) in
        [("lab", &pve, "api/pve-9.2.json", 280), ("vault", &pbs, "api/pbs-4.2.json", 130)]
    {
        let Some(published) = testkit::fixtures::text(fixture) else { return };
        let (mut answered, mut redacted) = (0, 0);
        let replies = Replies::of(&published);
        assert!(replies.count > 1000, "{cluster}: {} secrets", replies.count);
        for (path, data) in replies.by_path {
            server.replies_with(data);
            let args = json!({"cluster": cluster, "path": path, "limit": 1000});
            let result = tool("api_read").call(&cx, mcp_protocol::schema_object(args)).await;
            let failed = result.is_err();
            let mut report = result.unwrap_or_else(mcp_tools::error::ToolError::into_report);
            Redaction::default().report(&mut report);
            let rendered = report.render(1 << 20);
            let all = format!("{} {}", rendered.text, Value::Object(rendered.structured));
            if let Some(at) = all.find(MARK) {
                let from = all[..at].char_indices().rev().nth(60).map_or(0, |(from, _)| from);
                leaks.push(format!("{cluster} {path}: {}", &all[from..at + MARK.len() + 6]));
            }
            if !failed {
                answered += 1;
                redacted += usize::from(all.contains("[redacted]"));
            }
        }
        assert!(answered >= least, "{cluster}: only {answered} paths were answered");
        assert!(
            redacted >= least,
            "{cluster}: only {redacted} of {answered} had something taken out"
        );
    }
    assert_eq!(leaks, Vec::<String>::new(), "{} answers tell a secret", leaks.len());
}
