//! Text planted into replies: what guests, their users and whoever writes notes can put in front of
//! a reader.
//!
//! A test gives a planter; from then on every reply to a GET passes through it, and wherever a field
//! holds text that somebody else controls, or a secret that a real server returns unmasked, the
//! planter says what stands there. What was planted is kept, with how often it was served: a test
//! that looks for it in answers can tell whether it was there to be found.
//!
//! *Invariant:* which fields these are is the knowledge of this file alone, written from what the
//! products return. Whoever has to find them shares no list with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum PlaceKind {
    /// Sentences: notes, comments, lines of logs, output.
    Prose,
    /// A word that things are known by: a guest's name, a tag, a file's name.
    Name,
    /// A secret as such.
    Secret,
}

/// Where something can be planted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Place {
    /// The method's path, with its parameters as names: `/nodes/{node}/qemu/{vmid}/config`.
    pub path: String,
    /// The field.
    pub field: String,
    /// What the field holds.
    pub kind: PlaceKind,
}

/// One planted text.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Planted {
    /// Where.
    pub place: Place,
    /// What stood there last.
    pub text: String,
    /// How often it was served.
    pub served: u32,
}

/// Says what stands in a place instead of what did; `None` leaves it.
pub(crate) type Planter = Arc<dyn Fn(&Place, &str) -> Option<String> + Send + Sync>;

/// The planter of a simulator and what it planted.
#[derive(Default)]
pub(crate) struct Plants {
    pub(crate) planter: Option<Planter>,
    served: BTreeMap<Place, (String, u32)>,
}

const PROSE: &[&str] = &[
    "comment",
    "consent-text",
    "description",
    "detail",
    "email",
    "err-data",
    "error",
    "exitstatus",
    "fail",
    "firstname",
    "lastname",
    "message",
    "msg",
    "notes",
    "notify",
    "out-data",
    "pretty-name",
    "summary",
    "t",
    "title",
    "Title",
    "Description",
];

const NAMES: &[&str] = &["host-name", "hostname", "tags"];

const SECRETS: &[&str] = &["cipassword", "env", "keys", "password", "secret", "token", "ticket"];

/// Fields that real servers return at these paths and that the simulator's estate has none of: the
/// path, the field, what stands in it, and what it holds.
const ADDED: &[(&str, &str, &str, PlaceKind)] = &[
    ("/nodes/{node}/qemu/{vmid}/config", "description", "n", PlaceKind::Prose),
    ("/nodes/{node}/qemu/{vmid}/config", "tags", "t", PlaceKind::Name),
    ("/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/config", "description", "n", PlaceKind::Prose),
    ("/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/config", "cipassword", "x", PlaceKind::Secret),
    ("/nodes/{node}/lxc/{vmid}/config", "description", "n", PlaceKind::Prose),
    ("/nodes/{node}/lxc/{vmid}/config", "env", "A=1", PlaceKind::Secret),
    ("/nodes/{node}/lxc/{vmid}/snapshot/{snapname}/config", "env", "A=1", PlaceKind::Secret),
    ("/nodes/{node}/config", "description", "n", PlaceKind::Prose),
    ("/cluster/options", "description", "n", PlaceKind::Prose),
    ("/cluster/options", "consent-text", "n", PlaceKind::Prose),
    ("/access/users", "comment", "n", PlaceKind::Prose),
    ("/access/users", "keys", "x", PlaceKind::Secret),
    ("/access/users/{userid}", "comment", "n", PlaceKind::Prose),
    ("/access/users/{userid}", "keys", "x", PlaceKind::Secret),
    ("/access/users/{userid}/token", "comment", "n", PlaceKind::Prose),
    ("/access/groups", "comment", "n", PlaceKind::Prose),
    ("/access/domains", "comment", "n", PlaceKind::Prose),
    ("/pools", "comment", "n", PlaceKind::Prose),
    ("/cluster/backup", "comment", "n", PlaceKind::Prose),
    ("/cluster/ha/resources", "comment", "n", PlaceKind::Prose),
    ("/cluster/ha/rules", "comment", "n", PlaceKind::Prose),
    ("/cluster/replication", "comment", "n", PlaceKind::Prose),
    ("/storage", "password", "x", PlaceKind::Secret),
    ("/storage/{storage}", "password", "x", PlaceKind::Secret),
    ("/nodes/{node}/storage/{storage}/content", "notes", "n", PlaceKind::Prose),
    ("/cluster/notifications/endpoints/webhook", "comment", "n", PlaceKind::Prose),
    ("/cluster/notifications/endpoints/webhook", "secret", "x", PlaceKind::Secret),
    ("/cluster/notifications/matchers", "comment", "n", PlaceKind::Prose),
    ("/config/notifications/endpoints/webhook", "comment", "n", PlaceKind::Prose),
    ("/config/notifications/endpoints/webhook", "secret", "x", PlaceKind::Secret),
    ("/config/datastore", "comment", "n", PlaceKind::Prose),
    ("/config/datastore/{name}", "comment", "n", PlaceKind::Prose),
    ("/config/remote", "comment", "n", PlaceKind::Prose),
    ("/config/remote", "password", "x", PlaceKind::Secret),
    ("/config/remote/{name}", "password", "x", PlaceKind::Secret),
    ("/config/sync", "comment", "n", PlaceKind::Prose),
    ("/config/verify", "comment", "n", PlaceKind::Prose),
    ("/config/prune", "comment", "n", PlaceKind::Prose),
    ("/config/traffic-control", "comment", "n", PlaceKind::Prose),
    ("/admin/datastore", "comment", "n", PlaceKind::Prose),
    ("/admin/datastore/{store}/snapshots", "comment", "n", PlaceKind::Prose),
    ("/admin/datastore/{store}/groups", "comment", "n", PlaceKind::Prose),
];

// === impl Plants ===

impl Plants {
    /// Passes the data of a reply to `path` through the planter.
    pub(crate) fn put(&mut self, path: &str, data: &mut Value) {
        let Some(planter) = self.planter.clone() else { return };
        let rows: Vec<&mut Map<String, Value>> = match data {
            Value::Object(fields) => vec![fields],
            Value::Array(items) => items.iter_mut().filter_map(Value::as_object_mut).collect(),
            _ => Vec::new(),
        };
        for row in rows {
            for (_, field, text, _) in ADDED.iter().filter(|(at, ..)| *at == path) {
                row.entry(*field).or_insert_with(|| json!(text));
            }
        }
        self.walk(&planter, path, data);
    }

    /// Everything that was planted.
    pub(crate) fn served(&self) -> Vec<Planted> {
        let all = self.served.iter();
        all.map(|(place, (text, served))| Planted {
            place: place.clone(),
            text: text.clone(),
            served: *served,
        })
        .collect()
    }

    fn walk(&mut self, planter: &Planter, path: &str, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                let named = fields.get("key").and_then(Value::as_str).map(str::to_owned);
                let is_guest =
                    matches!(fields.get("type").and_then(Value::as_str), Some("qemu" | "lxc"))
                        || fields.contains_key("vmid");
                for (name, value) in fields.iter_mut() {
                    let field = match &named {
                        Some(named) if matches!(name.as_str(), "value" | "pending") => named,
                        _ => name,
                    };
                    let kind = kind_of(path, field, value, is_guest);
                    match (kind, &mut *value) {
                        (Some(kind), Value::String(text)) => {
                            self.plant(planter, path, field, kind, text);
                        }
                        // Of several, each is one.
                        (Some(kind), Value::Array(items)) => {
                            for item in items {
                                if let Value::String(text) = item {
                                    self.plant(planter, path, field, kind, text);
                                }
                            }
                        }
                        _ => self.walk(planter, path, value),
                    }
                }
            }
            Value::Array(items) => {
                let are_lines = path.ends_with("/journal");
                for item in items {
                    match item {
                        Value::String(text) if are_lines => {
                            self.plant(planter, path, "line", PlaceKind::Prose, text);
                        }
                        item => self.walk(planter, path, item),
                    }
                }
            }
            // A file as it is, such as what cloud-init is given.
            Value::String(text) if path.ends_with("/dump") => {
                self.plant(planter, path, "text", PlaceKind::Prose, text);
            }
            _ => {}
        }
    }

    fn plant(
        &mut self,
        planter: &Planter,
        path: &str,
        field: &str,
        kind: PlaceKind,
        text: &mut String,
    ) {
        let place = Place { path: path.to_owned(), field: field.to_owned(), kind };
        let Some(planted) = planter(&place, text) else { return };
        text.clone_from(&planted);
        let entry = self.served.entry(place).or_default();
        entry.0 = planted;
        entry.1 += 1;
    }
}

/// What a field of a reply holds, if it is one that others control.
fn kind_of(path: &str, field: &str, value: &Value, is_guest: bool) -> Option<PlaceKind> {
    let words = |value: &Value| value.as_str().is_some_and(|text| text.contains(' '));
    let added = ADDED.iter().find(|(at, name, ..)| *at == path && *name == field);
    if let Some((.., kind)) = added {
        return Some(*kind);
    }
    match field {
        // Lists of privileges and the like are no secrets.
        _ if SECRETS.contains(&field) && value.is_string() => Some(PlaceKind::Secret),
        // The exit text of a task, where it is a cause; `OK` and `running` are the server's.
        "status" | "exitstatus" if path.contains("/tasks") => {
            words(value).then_some(PlaceKind::Prose)
        }
        "notify" | "fail" | "error" => words(value).then_some(PlaceKind::Prose),
        "name" if is_guest => Some(PlaceKind::Name),
        // The names of files in a backup.
        "text" if path.ends_with("/catalog") => Some(PlaceKind::Name),
        _ if PROSE.contains(&field) => Some(PlaceKind::Prose),
        _ if NAMES.contains(&field) => Some(PlaceKind::Name),
        _ => None,
    }
}
