//! What conditions see of an event.

use condition::{Shape, Type, Values};
use estate::{ClusterKey, DatastoreName, GuestKind, NodeName, StorageName, Upid, VmId};
use event_core::{Event, Severity};
use serde_json::{Value, json};

/// The most bytes of a text that conditions look at.
const MAX_TEXT: usize = 8 * 1024;

/// What stands in a condition: `event`, with everything present. What is not known is an empty text
/// or 0; labels are asked for with `has()`.
pub const SHAPE: Shape = &[("event", Type::Record(EVENT))];

const EVENT: Shape = &[
    ("kind", Type::Text),
    ("family", Type::Text),
    ("severity", Type::Text),
    ("level", Type::Int),
    ("source", Type::Text),
    ("source_kind", Type::Text),
    ("cluster", Type::Text),
    ("node", Type::Text),
    ("guest_kind", Type::Text),
    ("vmid", Type::Int),
    ("guest", Type::Text),
    ("storage", Type::Text),
    ("datastore", Type::Text),
    ("namespace", Type::Text),
    ("job", Type::Text),
    ("task", Type::Text),
    ("user", Type::Text),
    ("title", Type::Text),
    ("message", Type::Text),
    ("labels", Type::Open),
];

/// One part of an event that two can have in common: what `group_by` and `equal` name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Field {
    Kind,
    Family,
    Cluster,
    Node,
    Guest,
    Storage,
    Datastore,
    Job,
    Label(String),
}

/// The event as conditions see it, for as many of them as there are.
pub(crate) fn of(event: &Event) -> Values {
    let it = &event.subject;
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    Values::new(&json!({"event": {
        "kind": event.kind.as_str(),
        "family": event.kind.family(),
        "severity": event.severity.as_str(),
        "level": level(event.severity),
        "source": event.source.id.as_str(),
        "source_kind": &*event.source.kind,
        "cluster": text(it.cluster.as_ref().map(ClusterKey::as_str)),
        "node": text(it.node.as_ref().map(NodeName::as_str)),
        "guest_kind": text(it.guest_kind.map(GuestKind::as_str)),
        "vmid": it.vmid.map_or(0, VmId::get),
        "guest": text(it.guest_name.as_deref()),
        "storage": text(it.storage.as_ref().map(StorageName::as_str)),
        "datastore": text(it.datastore.as_ref().map(DatastoreName::as_str)),
        "namespace": text(it.namespace.as_deref()),
        "job": text(it.job.as_deref()),
        "task": text(it.upid.as_ref().map(Upid::kind)),
        "user": text(it.user.as_deref()),
        "title": head(&event.title),
        "message": head(&event.message),
        "labels": event.labels.iter().map(|(name, value)| (name.clone(), head(value).into()))
            .collect::<serde_json::Map<String, Value>>(),
    }}))
}

/// How bad it is as a number, from 0 (debug) to 5 (critical): so that conditions can say "at least".
fn level(severity: Severity) -> usize {
    Severity::ALL.iter().position(|it| *it == severity).unwrap_or_default()
}

fn head(text: &str) -> &str {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

// === impl Field ===

impl Field {
    /// What settings may name.
    pub(crate) const NAMES: &'static str =
        "kind, family, cluster, node, guest, storage, datastore, job or label.<name>";

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "kind" => Self::Kind,
            "family" => Self::Family,
            "cluster" => Self::Cluster,
            "node" => Self::Node,
            "guest" => Self::Guest,
            "storage" => Self::Storage,
            "datastore" => Self::Datastore,
            "job" => Self::Job,
            label => {
                Self::Label(label.strip_prefix("label.").filter(|it| !it.is_empty())?.to_owned())
            }
        })
    }

    /// What it is of this event; empty where it is not known.
    pub(crate) fn of(&self, event: &Event) -> String {
        let it = &event.subject;
        let value = match self {
            Self::Kind => Some(event.kind.to_string()),
            Self::Family => Some(event.kind.family().to_owned()),
            Self::Cluster => it.cluster.as_ref().map(ToString::to_string),
            Self::Node => it.node.as_ref().map(ToString::to_string),
            Self::Guest => it.vmid.map(|it| it.to_string()),
            Self::Storage => it.storage.as_ref().map(ToString::to_string),
            Self::Datastore => it.datastore.as_ref().map(ToString::to_string),
            Self::Job => it.job.clone(),
            Self::Label(name) => event.labels.get(name).cloned(),
        };
        value.unwrap_or_default()
    }
}
