//! Where a cluster or a backup server tells what happens: webhooks, matchers, and what is sent to
//! them. Both products have one implementation of it, and so has the simulator.

pub(crate) mod calls;
mod send;
mod template;

pub(crate) use send::Post;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::http::{Answer, Fault, Reply, data};
use template::Words;

/// The target that every server has by itself.
const BUILTIN: &str = "mail-to-root";
/// The matcher that every server has by itself.
const DEFAULT_MATCHER: &str = "default-matcher";

/// What a server was told about notifications.
#[derive(Debug, Default)]
pub(crate) struct Notifying {
    webhooks: Vec<Map<String, Value>>,
    matchers: Vec<Map<String, Value>>,
    /// It says that it has sent, and sends nothing.
    pub(crate) vanishes: bool,
    /// The authorities of its trust store, in PEM.
    pub(crate) trusted: Vec<String>,
}

/// What is made, changed and removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entity {
    Webhook,
    Matcher,
}

// === impl Notifying ===

impl Notifying {
    /// All targets, the server's own mail first.
    pub(crate) fn targets(&self) -> Answer {
        let mut rows = vec![json!({
            "name": BUILTIN, "type": "sendmail", "origin": "builtin",
            "comment": "Send mails to root@pam's email address",
        })];
        for hook in &self.webhooks {
            let mut row =
                json!({"name": hook["name"], "type": "webhook", "origin": "user-created"});
            for key in ["comment", "disable"] {
                if let Some(value) = hook.get(key) {
                    row[key] = value.clone();
                }
            }
            rows.push(row);
        }
        data(rows)
    }

    /// The webhooks, or the matchers behind the server's own.
    pub(crate) fn list(&self, entity: Entity, own: Option<Value>) -> Answer {
        let mut rows: Vec<Value> = own.into_iter().collect();
        rows.extend(self.entries(entity).iter().cloned().map(shown));
        data(rows)
    }

    pub(crate) fn read(&self, entity: Entity, name: &str) -> Answer {
        let found = self.entries(entity).iter().find(|entry| entry["name"] == name);
        data(shown(found.cloned().ok_or_else(|| not_found(entity, name))?))
    }

    pub(crate) fn create(&mut self, entity: Entity, mut entry: Map<String, Value>) -> Answer {
        entry.insert("origin".to_owned(), json!("user-created"));
        let name = entry.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let own = [BUILTIN, DEFAULT_MATCHER].contains(&name.as_str());
        let entries = self.entries_mut(entity);
        if own || entries.iter().any(|known| known["name"] == name.as_str()) {
            let text = format!("Could not save configuration: entity '{name}' already exists");
            return Err(Fault::new(400, text));
        }
        entries.push(entry);
        self.check_targets(&name)
    }

    /// Changes what is given, and takes away what stands in `delete`.
    pub(crate) fn update(
        &mut self,
        entity: Entity,
        name: &str,
        mut changes: Map<String, Value>,
    ) -> Answer {
        let gone: Vec<String> = match changes.shift_remove("delete") {
            Some(Value::Array(keys)) => {
                keys.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            _ => Vec::new(),
        };
        changes.shift_remove("digest");
        let entries = self.entries_mut(entity);
        let found = entries.iter_mut().find(|entry| entry["name"] == name);
        let entry = found.ok_or_else(|| not_found(entity, name))?;
        for key in gone {
            entry.shift_remove(&key);
        }
        if let (Some(Value::Array(new)), Some(Value::Array(old))) =
            (changes.get_mut("secret"), entry.get("secret"))
        {
            keep_values(new, old);
        }
        entry.extend(changes);
        self.check_targets(name)
    }

    pub(crate) fn delete(&mut self, entity: Entity, name: &str) -> Answer {
        if entity == Entity::Webhook {
            let users = self.matchers.iter().filter(|matcher| targets_of(matcher).contains(&name));
            let users: Vec<&str> = users.filter_map(|matcher| matcher["name"].as_str()).collect();
            if !users.is_empty() {
                let text = format!("cannot delete '{name}', referenced by: {}", users.join(", "));
                return Err(Fault::new(400, text));
            }
        }
        let entries = self.entries_mut(entity);
        let before = entries.len();
        entries.retain(|entry| entry["name"] != name);
        if entries.len() == before { Err(not_found(entity, name)) } else { data(Value::Null) }
    }

    /// Sends the message that says that a target works; through this proxy, if there is one.
    pub(crate) fn test(&self, name: &str, now: i64, proxy: Option<&str>) -> Answer {
        let Some(hook) = self.webhooks.iter().find(|hook| hook["name"] == name) else {
            if name == BUILTIN {
                return data(Value::Null);
            }
            return Err(Fault::new(404, format!("endpoint '{name}' does not exist")));
        };
        let mut reply = Reply::from(Value::Null);
        if !self.vanishes {
            let words = Words {
                title: "Test notification",
                message: &format!("This is a test of the notification target '{name}'."),
                severity: "info",
                timestamp: now,
                fields: Map::new(),
                secrets: secrets(hook),
            };
            reply.post = Some(self.post(hook, &words, proxy)?);
        }
        Ok(reply)
    }

    /// What a webhook posts of a notification.
    fn post(
        &self,
        hook: &Map<String, Value>,
        words: &Words<'_>,
        proxy: Option<&str>,
    ) -> Result<Post, Fault> {
        let text = |key: &str| hook.get(key).and_then(Value::as_str).unwrap_or_default();
        let headers = pairs(hook, "header").map(|(name, value)| (name, words.fill(&value)));
        Ok(Post {
            target: text("name").to_owned(),
            method: text("method").to_ascii_uppercase(),
            url: words.fill(text("url")),
            headers: headers.collect(),
            body: words.fill(&decoded(text("body"))),
            proxy: proxy.map(str::to_owned),
            trusted: self.trusted.clone(),
        })
    }

    fn entries(&self, entity: Entity) -> &Vec<Map<String, Value>> {
        match entity {
            Entity::Webhook => &self.webhooks,
            Entity::Matcher => &self.matchers,
        }
    }

    fn entries_mut(&mut self, entity: Entity) -> &mut Vec<Map<String, Value>> {
        match entity {
            Entity::Webhook => &mut self.webhooks,
            Entity::Matcher => &mut self.matchers,
        }
    }

    /// Matchers name targets that exist.
    fn check_targets(&self, name: &str) -> Answer {
        let known = |target: &&str| {
            *target == BUILTIN || self.webhooks.iter().any(|hook| hook["name"] == *target)
        };
        let matcher = self.matchers.iter().find(|matcher| matcher["name"] == name);
        let missing = matcher.and_then(|it| targets_of(it).into_iter().find(|it| !known(it)));
        match missing {
            Some(target) => Err(Fault::new(404, format!("endpoint '{target}' not found"))),
            None => data(Value::Null),
        }
    }
}

/// The targets of a matcher.
fn targets_of(matcher: &Map<String, Value>) -> Vec<&str> {
    match matcher.get("target") {
        Some(Value::Array(targets)) => targets.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn not_found(entity: Entity, name: &str) -> Fault {
    let word = match entity {
        Entity::Webhook => "endpoint",
        Entity::Matcher => "matcher",
    };
    Fault::new(404, format!("{word} '{name}' not found"))
}

/// Secrets of webhooks are never shown, only their names.
fn shown(mut entry: Map<String, Value>) -> Value {
    if let Some(Value::Array(secrets)) = entry.get_mut("secret") {
        for secret in secrets {
            let text = secret.as_str().unwrap_or_default();
            *secret = json!(text.split(",value=").next());
        }
    }
    Value::Object(entry)
}

/// A secret that is named without a value stays what it was.
fn keep_values(new: &mut [Value], old: &[Value]) {
    for secret in new {
        let name = secret.as_str().unwrap_or_default();
        let full = format!("{name},value=");
        let known = old.iter().find(|old| old.as_str().is_some_and(|it| it.starts_with(&full)));
        if let Some(known) = known {
            *secret = known.clone();
        }
    }
}

/// Names and decoded values of `header` or `secret`.
fn pairs<'a>(
    hook: &'a Map<String, Value>,
    key: &str,
) -> impl Iterator<Item = (String, String)> + use<'a> {
    let list = hook.get(key).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|entry| {
        let (name, value) = entry.as_str()?.strip_prefix("name=")?.split_once(",value=")?;
        Some((name.to_owned(), decoded(value)))
    })
}

fn secrets(hook: &Map<String, Value>) -> Map<String, Value> {
    pairs(hook, "secret").map(|(name, value)| (name, json!(value))).collect()
}

/// Text of base64; empty where it is none.
fn decoded(text: &str) -> String {
    let bytes = STANDARD.decode(text).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
