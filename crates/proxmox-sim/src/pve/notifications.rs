//! Notification targets, endpoints and matchers.

use serde_json::{Map, Value, json};

use crate::call::{Call, Handlers};
use crate::http::{Answer, Fault, data, index};

pub(super) const HANDLERS: Handlers = &[
    ("GET", "/cluster/notifications", |_| {
        index(
            "name",
            &["endpoints", "matchers", "targets", "matcher-fields", "matcher-field-values"],
        )
    }),
    ("GET", "/cluster/notifications/targets", targets),
    ("POST", "/cluster/notifications/targets/{name}/test", test),
    ("GET", "/cluster/notifications/endpoints", |_| {
        index("name", &["gotify", "sendmail", "smtp", "webhook"])
    }),
    ("GET", "/cluster/notifications/endpoints/sendmail", |_| data(json!([mail()]))),
    ("GET", "/cluster/notifications/endpoints/gotify", |_| data(json!([]))),
    ("GET", "/cluster/notifications/endpoints/smtp", |_| data(json!([]))),
    ("GET", "/cluster/notifications/endpoints/webhook", |call| {
        data(shown(&call.cluster().webhooks))
    }),
    ("POST", "/cluster/notifications/endpoints/webhook", |call| create(call, "endpoint")),
    ("GET", "/cluster/notifications/endpoints/webhook/{name}", |call| read(call, "endpoint")),
    ("DELETE", "/cluster/notifications/endpoints/webhook/{name}", |call| delete(call, "endpoint")),
    ("GET", "/cluster/notifications/matchers", matchers),
    ("POST", "/cluster/notifications/matchers", |call| create(call, "matcher")),
    ("GET", "/cluster/notifications/matchers/{name}", |call| read(call, "matcher")),
    ("DELETE", "/cluster/notifications/matchers/{name}", |call| delete(call, "matcher")),
];

fn mail() -> Value {
    json!({
        "name": "mail-to-root", "mailto-user": ["root@pam"], "origin": "builtin",
        "comment": "Send mails to root@pam's email address",
    })
}

fn default_matcher() -> Value {
    json!({
        "name": "default-matcher", "mode": "all", "target": ["mail-to-root"], "origin": "builtin",
        "comment": "Route all notifications to mail-to-root",
    })
}

/// Secrets of webhooks are never shown, only their names.
fn shown(list: &[Map<String, Value>]) -> Vec<Value> {
    list.iter()
        .map(|entry| {
            let mut entry = entry.clone();
            if let Some(Value::Array(secrets)) = entry.get_mut("secret") {
                for secret in secrets {
                    let text = secret.as_str().unwrap_or_default();
                    *secret = json!(text.split(",value=").next());
                }
            }
            Value::Object(entry)
        })
        .collect()
}

fn targets(call: &mut Call<'_>) -> Answer {
    let mut rows = vec![json!({
        "name": "mail-to-root", "type": "sendmail", "origin": "builtin",
        "comment": "Send mails to root@pam's email address",
    })];
    for hook in &call.cluster().webhooks {
        rows.push(json!({"name": hook["name"], "type": "webhook", "origin": "user-created"}));
    }
    data(rows)
}

fn list<'a>(call: &'a mut Call<'_>, kind: &str) -> &'a mut Vec<Map<String, Value>> {
    let cluster = call.cluster_mut();
    if kind == "matcher" { &mut cluster.matchers } else { &mut cluster.webhooks }
}

fn matchers(call: &mut Call<'_>) -> Answer {
    let mut rows = vec![default_matcher()];
    rows.extend(shown(&call.cluster().matchers));
    data(rows)
}

fn not_found(kind: &str, name: &str) -> Fault {
    Fault::new(404, format!("{kind} '{name}' not found"))
}

fn test(call: &mut Call<'_>) -> Answer {
    let name = call.arg("name").to_owned();
    let known = name == "mail-to-root"
        || call.cluster().webhooks.iter().any(|hook| hook["name"] == name.as_str());
    if known { data(Value::Null) } else { Err(not_found("endpoint", &name)) }
}

fn create(call: &mut Call<'_>, kind: &str) -> Answer {
    super::cluster::quorum(call)?;
    let mut entry = std::mem::take(&mut call.params);
    entry.insert("origin".to_owned(), json!("user-created"));
    let name = entry.get("name").cloned().unwrap_or_default();
    let list = list(call, kind);
    if list.iter().any(|known| known.get("name") == Some(&name)) {
        let text = format!(
            "Could not save configuration: entity '{}' already exists",
            name.as_str().unwrap_or_default()
        );
        return Err(Fault::new(400, text));
    }
    list.push(entry);
    data(Value::Null)
}

fn read(call: &mut Call<'_>, kind: &str) -> Answer {
    let name = call.arg("name").to_owned();
    if kind == "matcher" && name == "default-matcher" {
        return data(default_matcher());
    }
    let found = list(call, kind).iter().find(|entry| entry["name"] == name.as_str()).cloned();
    let entry = found.ok_or_else(|| not_found(kind, &name))?;
    data(shown(&[entry]).remove(0))
}

fn delete(call: &mut Call<'_>, kind: &str) -> Answer {
    super::cluster::quorum(call)?;
    let name = call.arg("name").to_owned();
    let list = list(call, kind);
    let before = list.len();
    list.retain(|entry| entry["name"] != name.as_str());
    if list.len() == before { Err(not_found(kind, &name)) } else { data(Value::Null) }
}
