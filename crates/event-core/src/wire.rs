//! The form of an event that is kept in the store, sent to webhooks and shown to programs.
//!
//! One JSON object with `"v": 1`. A field that is added later is optional and does not change `v`;
//! readers pass over fields that they do not know, and refuse a `v` that they do not know.
//! [`schema`] describes it, and a golden file holds it still. [`message`] is the form of what is told,
//! [`frames`] of many events one after another in a file.
//!
//! *Invariant:* reading what was written gives the same event, whatever texts are in it.

pub mod frames;
pub mod message;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use estate::GuestKind;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Event, Kind, Logged, Raw, Seq, Severity, Source, Subject};

/// The version that this program writes.
pub const VERSION: u32 = 1;

/// An event cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// It is no JSON, or not of this shape.
    #[error("read an event")]
    Shape(#[source] serde_json::Error),
    /// It is of a newer program.
    #[error("read an event of version {0}: this program knows version {VERSION}, so update it")]
    Version(u32),
    /// A field holds what it cannot.
    #[error("read the field `{field}` of an event: {reason}")]
    Field {
        /// Which.
        field: &'static str,
        /// Why not.
        reason: String,
    },
}

/// Borrows what is written, and owns what was read.
#[derive(Serialize, Deserialize)]
struct WireEvent<'a> {
    v: u32,
    id: String,
    source_key: Cow<'a, str>,
    time: String,
    received: String,
    source: WireSource<'a>,
    kind: Cow<'a, str>,
    severity: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "WireSubject::is_empty")]
    subject: WireSubject<'a>,
    title: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    message: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    labels: Cow<'a, BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    raw: Option<WireRaw<'a>>,
    fingerprint: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    correlation: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct WireSource<'a> {
    id: Cow<'a, str>,
    kind: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
struct WireRaw<'a> {
    text: Cow<'a, str>,
    size: u64,
}

#[derive(Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct WireSubject<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    guest_kind: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vmid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    guest_name: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    storage: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    datastore: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upid: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Cow<'a, str>>,
}

/// The event as a JSON object.
pub fn to_json(event: &Event) -> Value {
    // Strings, numbers and times: it cannot fail.
    serde_json::to_value(form(event)).expect("an event is JSON")
}

/// The event as JSON text, in one line.
pub fn to_text(event: &Event) -> String {
    // Strings, numbers and times: it cannot fail.
    serde_json::to_string(&form(event)).expect("an event is JSON")
}

/// Reads an event from JSON text.
///
/// # Errors
/// It is no JSON of this shape, of a version that is not known, or a field holds what it cannot.
pub fn from_text(text: &str) -> Result<Event, WireError> {
    read(serde_json::from_str(text).map_err(WireError::Shape)?)
}

/// Reads an event from a JSON object.
///
/// # Errors
/// As [`from_text`].
pub fn from_json(value: Value) -> Result<Event, WireError> {
    read(serde_json::from_value(value).map_err(WireError::Shape)?)
}

/// Where something is, in the form that it has within an event.
pub fn subject_to_json(subject: &Subject) -> Value {
    // Strings and numbers: it cannot fail.
    serde_json::to_value(WireSubject::of(subject)).expect("a subject is JSON")
}

/// Reads where something is.
///
/// # Errors
/// As [`from_text`].
pub fn subject_from_json(value: Value) -> Result<Subject, WireError> {
    serde_json::from_value::<WireSubject>(value).map_err(WireError::Shape)?.read()
}

fn form(event: &Event) -> WireEvent<'_> {
    WireEvent {
        v: VERSION,
        id: event.id.to_string(),
        source_key: event.source_key.as_str().into(),
        time: event.time.to_string(),
        received: event.received.to_string(),
        source: WireSource {
            id: event.source.id.as_str().into(),
            kind: (&*event.source.kind).into(),
        },
        kind: event.kind.as_str().into(),
        severity: event.severity.as_str().into(),
        subject: WireSubject::of(&event.subject),
        title: event.title.as_str().into(),
        message: event.message.as_str().into(),
        labels: Cow::Borrowed(&event.labels),
        raw: event
            .raw
            .as_ref()
            .map(|raw| WireRaw { text: raw.text.as_str().into(), size: raw.size }),
        fingerprint: event.fingerprint.to_string(),
        correlation: event.keys.iter().map(ToString::to_string).collect(),
    }
}

fn read(wire: WireEvent<'_>) -> Result<Event, WireError> {
    if wire.v != VERSION {
        return Err(WireError::Version(wire.v));
    }
    let keys: Result<BTreeSet<_>, WireError> =
        wire.correlation.iter().map(|key| parse("correlation", key)).collect();
    Ok(Event {
        id: parse("id", &wire.id)?,
        source_key: wire.source_key.into_owned().into(),
        time: parse("time", &wire.time)?,
        received: parse("received", &wire.received)?,
        source: Source {
            id: parse("source.id", &wire.source.id)?,
            kind: (&*wire.source.kind).into(),
        },
        kind: parse("kind", &wire.kind)?,
        severity: parse("severity", &wire.severity)?,
        subject: wire.subject.read()?,
        title: wire.title.into_owned(),
        message: wire.message.into_owned(),
        labels: wire.labels.into_owned(),
        raw: wire.raw.map(|raw| Raw { text: raw.text.into_owned(), size: raw.size }),
        fingerprint: parse("fingerprint", &wire.fingerprint)?,
        keys: keys?,
    })
}

fn parse<T: std::str::FromStr>(field: &'static str, text: &str) -> Result<T, WireError>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| WireError::Field { field, reason: error.to_string() })
}

fn optional<T: std::str::FromStr>(
    field: &'static str,
    text: Option<&str>,
) -> Result<Option<T>, WireError>
where
    T::Err: std::fmt::Display,
{
    text.map(|text| parse(field, text)).transpose()
}

/// An event of the log with its place, as one JSON object.
#[derive(Serialize, Deserialize)]
struct WireLogged<'a> {
    seq: u64,
    event: WireEvent<'a>,
}

// === impl Logged ===

impl Serialize for Logged {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        WireLogged { seq: self.seq.0, event: form(&self.event) }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Logged {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let WireLogged { seq, event } = WireLogged::deserialize(deserializer)?;
        let event = read(event).map_err(serde::de::Error::custom)?;
        Ok(Self { seq: Seq(seq), event })
    }
}

// === impl WireSubject ===

impl<'a> WireSubject<'a> {
    fn of(subject: &'a Subject) -> Self {
        Self {
            cluster: subject.cluster.as_ref().map(|it| it.as_str().into()),
            node: subject.node.as_ref().map(|it| it.as_str().into()),
            guest_kind: subject.guest_kind.map(|kind| kind.as_str().into()),
            vmid: subject.vmid.map(estate::VmId::get),
            guest_name: subject.guest_name.as_deref().map(Cow::from),
            storage: subject.storage.as_ref().map(|it| it.as_str().into()),
            datastore: subject.datastore.as_ref().map(|it| it.as_str().into()),
            namespace: subject.namespace.as_deref().map(Cow::from),
            upid: subject.upid.as_ref().map(|it| it.as_str().into()),
            job: subject.job.as_deref().map(Cow::from),
            user: subject.user.as_deref().map(Cow::from),
        }
    }

    fn read(self) -> Result<Subject, WireError> {
        Ok(Subject {
            cluster: optional("subject.cluster", self.cluster.as_deref())?,
            node: optional("subject.node", self.node.as_deref())?,
            guest_kind: optional("subject.guest_kind", self.guest_kind.as_deref())?,
            vmid: self.vmid.map(estate::VmId::try_new).transpose().map_err(|error| {
                WireError::Field { field: "subject.vmid", reason: error.to_string() }
            })?,
            guest_name: self.guest_name.map(Cow::into_owned),
            storage: optional("subject.storage", self.storage.as_deref())?,
            datastore: optional("subject.datastore", self.datastore.as_deref())?,
            namespace: self.namespace.map(Cow::into_owned),
            upid: optional("subject.upid", self.upid.as_deref())?,
            job: self.job.map(Cow::into_owned),
            user: self.user.map(Cow::into_owned),
        })
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The JSON schema of the form, for those who write receivers.
pub fn schema() -> Value {
    let text = |meaning: &str| json!({"type": "string", "description": meaning});
    let time =
        |meaning: &str| json!({"type": "string", "format": "date-time", "description": meaning});
    let kinds: Vec<Value> = Kind::LIST
        .iter()
        .map(|(word, meaning)| json!({"const": word, "description": meaning}))
        .collect();
    let other =
        json!({"pattern": "^other\\.[a-z0-9_.]{1,60}$", "description": "what the list lacks"});
    let severities = Severity::ALL.map(Severity::as_str);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "event",
        "description": "One thing that happened in a Proxmox estate, as one report tells it.",
        "type": "object",
        "required": [
            "v", "id", "source_key", "time", "received", "source", "kind", "severity", "title",
            "fingerprint",
        ],
        "properties": {
            "v": {"const": VERSION},
            "id": text("UUID of version 7"),
            "source_key": text("unique per source: the same key again is the same report again"),
            "time": time("when it happened"),
            "received": time("when it was heard"),
            "source": {
                "type": "object",
                "required": ["id", "kind"],
                "properties": {
                    "id": text("the input's name in the settings"),
                    "kind": text("the kind of input"),
                },
            },
            "kind": {"type": "string", "anyOf": kinds.into_iter().chain([other]).collect::<Vec<_>>()},
            "severity": {"enum": severities},
            "subject": {
                "type": "object",
                "properties": {
                    "cluster": text("the settings key of the cluster, node or backup server"),
                    "node": text("the node"),
                    "guest_kind": {"enum": [GuestKind::Qemu.as_str(), GuestKind::Lxc.as_str()]},
                    "vmid": {"type": "integer", "minimum": 100, "maximum": 999_999_999},
                    "guest_name": text("the guest's name"),
                    "storage": text("the storage"),
                    "datastore": text("the datastore of a backup server"),
                    "namespace": text("the namespace in it"),
                    "upid": text("the task"),
                    "job": text("the job's id in Proxmox"),
                    "user": text("the user"),
                },
            },
            "title": text("one line; may hold what guests and mails wrote"),
            "message": text("the rest, for people; the same holds"),
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "raw": {
                "type": "object",
                "required": ["text", "size"],
                "properties": {
                    "text": text("the original, cut"),
                    "size": {"type": "integer", "minimum": 0, "description": "its bytes before it was cut"},
                },
            },
            "fingerprint": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
            "correlation": {"type": "array", "items": {"type": "string", "pattern": "^v1:"}},
        },
    })
}
