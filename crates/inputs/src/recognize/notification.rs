//! Proxmox's notification model, in which webhook, Gotify, mail and chat bodies meet.
//!
//! The type comes from the `fields` where there are some (only our own webhook body has them), else from the title.
//! Both the list of types and the words of severity are open: what is new becomes `other.<type>`.

use std::collections::BTreeMap;

use estate::{DatastoreName, VmId};
use event_core::{Builder, Event, Key, Kind, Severity, Subject, correlation::WINDOW_SECS};
use jiff::Timestamp;

use super::{body, task, title, vzdump};
use crate::origin::{Origin, digest, node_of};

/// A notification, as far as its way has left it whole.
#[derive(Clone, Debug, Default)]
pub struct Notification<'a> {
    /// One line.
    pub title: &'a str,
    /// The text.
    pub message: &'a str,
    /// `info`, `notice`, `warning`, `error` or `unknown`, where the way tells it.
    pub severity: Option<&'a str>,
    /// When it was sent, where the way tells it.
    pub time: Option<Timestamp>,
    /// `type`, `hostname`, `job-id`, `datastore` and others.
    pub fields: BTreeMap<&'a str, &'a str>,
}

/// What the notification is about, with fields before title.
struct Reading<'a> {
    type_: &'a str,
    ok: Option<bool>,
    host: Option<&'a str>,
    job: Option<&'a str>,
    datastore: Option<DatastoreName>,
    cause: Option<&'a str>,
}

/// The fields that become a part of the subject or the kind, and so are no labels.
const KNOWN_FIELDS: [&str; 4] = ["type", "hostname", "job-id", "datastore"];

// === impl Notification ===

impl Notification<'_> {
    /// The events of this notification: its own, which has the original, and for a run of backups one per guest.
    pub fn events(&self, origin: &Origin<'_>, original: &[u8]) -> Vec<Event> {
        let time = self.time.unwrap_or(origin.received);
        let reading = self.reading();
        let (kind, severity) = self.judge(&reading);
        let mut subject = subject(origin, &reading);
        let key = self.key(original, origin);
        let mut builder = origin.event(key.as_str(), kind.clone(), time).severity(severity);
        for (name, value) in &self.fields {
            if !KNOWN_FIELDS.contains(name) {
                builder = builder.label(label(name), value);
            }
        }
        if let Some(host) = reading.host {
            builder = builder.label("host", host);
        }
        builder = self.details(&kind, &reading, &mut subject, builder);
        for key in self.text_keys(origin, time) {
            builder = builder.key(key);
        }
        let run = (reading.type_ == "vzdump").then(|| vzdump::read(self.message)).flatten();
        if run.is_some() {
            builder = builder.key(report_key(&key));
        }
        let first = builder
            .subject(subject)
            .title(self.title)
            .message(self.message)
            .raw(original)
            .build(origin.received);
        let guests = run.map(|run| guests(&run, &first, &key, origin)).unwrap_or_default();
        let mut events = vec![first];
        events.extend(guests);
        events
    }

    fn reading(&self) -> Reading<'_> {
        let guess = title::guess(self.title).unwrap_or_default();
        let field = |name| self.fields.get(name).copied().filter(|value: &&str| !value.is_empty());
        let severity = self.severity;
        Reading {
            type_: field("type").unwrap_or(guess.type_),
            ok: guess.ok.or(match severity {
                Some("info") => Some(true),
                Some("error") => Some(false),
                _ => None,
            }),
            host: field("hostname").or(guess.host),
            job: field("job-id").or(guess.job).or_else(|| body::value(self.message, "Job ID")),
            datastore: field("datastore")
                .or_else(|| body::value(self.message, "Datastore"))
                .and_then(|name| DatastoreName::try_new(name).ok())
                .or(guess.datastore),
            cause: guess.cause,
        }
    }

    /// Kind and severity. Proxmox's own word counts, but not where it is known to mislead.
    fn judge(&self, reading: &Reading<'_>) -> (Kind, Severity) {
        // The word for success is `info`; a title that an administrator changed says neither.
        let failed = match self.severity {
            Some("info") => false,
            Some("error") => true,
            _ => reading.ok == Some(false),
        };
        let either = |well, badly| if failed { badly } else { well };
        let kind = match reading.type_ {
            "vzdump" => either(Kind::BackupFinished, Kind::BackupFailed),
            "replication" => Kind::ReplicationFailed,
            "fencing" => Kind::NodeFenced,
            "package-updates" => Kind::UpdatesAvailable,
            "gc" => either(Kind::GcFinished, Kind::GcFailed),
            // The documentation says `verification`, the program `verify`.
            "verify" | "verification" => either(Kind::VerifyFinished, Kind::VerifyFailed),
            "prune" => either(Kind::PruneFinished, Kind::PruneFailed),
            "sync" => either(Kind::SyncFinished, Kind::SyncFailed),
            "tape-backup" => either(Kind::TapeFinished, Kind::TapeFailed),
            "tape-load" => Kind::TapeWanted,
            "acme" => Kind::CertificateExpiring,
            "thresholds" => Kind::ThresholdExceeded,
            "test" => Kind::NotificationTest,
            "system-mail" | "" if is_of_a_disk(self.title) => Kind::DiskFailing,
            "system-mail" => Kind::SystemMail,
            "" => Kind::other("notification"),
            other => Kind::other(other),
        };
        let severity = match &kind {
            // Both mails of a fencing are errors; the second says that it is over.
            Kind::NodeFenced if reading.ok == Some(true) && self.is_fenced() => Severity::Notice,
            Kind::NodeFenced => Severity::Critical,
            // The renewal of a certificate failed although it is sent as `info`, and a disk's end as `unknown`.
            Kind::CertificateExpiring | Kind::DiskFailing => Severity::Error,
            Kind::NotificationTest => Severity::Info,
            _ => match (self.severity, reading.ok) {
                (Some(word), _) => Severity::from_proxmox(word),
                (None, Some(true)) => Severity::Info,
                (None, Some(false)) => Severity::Error,
                (None, None) => match kind {
                    Kind::UpdatesAvailable => Severity::Info,
                    Kind::TapeWanted => Severity::Notice,
                    _ => Severity::from_proxmox("unknown"),
                },
            },
        };
        (kind, severity)
    }

    fn is_fenced(&self) -> bool {
        title::guess(self.title)
            .is_some_and(|guess| guess.type_ == "fencing" && guess.ok == Some(true))
    }

    /// What the texts of single types say besides.
    fn details(
        &self,
        kind: &Kind,
        reading: &Reading<'_>,
        subject: &mut Subject,
        mut builder: Builder,
    ) -> Builder {
        let value = |key| body::value(self.message, key);
        if let Some(cause) = reading.cause {
            builder = builder.label("cause", cause);
        }
        match kind {
            Kind::GcFinished | Kind::GcFailed => {
                if let Some(upid) = value("Task ID").and_then(|text| text.parse().ok()) {
                    task::describe(&upid, subject);
                }
                for (key, name) in [
                    ("Removed garbage", "removed_bytes"),
                    ("Pending removals", "pending_bytes"),
                    ("Original Data usage", "original_bytes"),
                    ("On-Disk usage", "disk_bytes"),
                ] {
                    if let Some(size) = value(key).and_then(body::bytes) {
                        builder = builder.label(name, size.to_string());
                    }
                }
                for (key, name) in [
                    ("Deduplication Factor", "deduplication"),
                    ("Removed bad chunks", "bad_chunks"),
                ] {
                    if let Some(number) = value(key) {
                        builder = builder.label(name, number);
                    }
                }
            }
            Kind::SyncFinished | Kind::SyncFailed => {
                for (key, name) in [("Remote", "remote"), ("Remote Store", "remote_store")] {
                    if let Some(text) = value(key) {
                        builder = builder.label(name, text);
                    }
                }
            }
            Kind::ReplicationFailed => {
                if let Some(count) = value("Failure count") {
                    builder = builder.label("failures", count);
                }
            }
            Kind::ThresholdExceeded => {
                let name = self.message.split_once("exceeded the configured ");
                let name = name.and_then(|(_, rest)| rest.split_once(" threshold"));
                if let Some((name, _)) = name.filter(|(name, _)| name.len() < 80) {
                    builder = builder.told_apart_by(name).label("threshold", name);
                }
                for (key, name) in [("Limit", "limit"), ("Value", "value")] {
                    if let Some(text) = value(key) {
                        builder = builder.label(name, text);
                    }
                }
            }
            Kind::NodeFenced if self.is_fenced() => builder = builder.label("fencing", "done"),
            Kind::SystemMail | Kind::DiskFailing | Kind::Other(_) => {
                // Only the title tells one from another.
                builder = builder.told_apart_by(self.title.trim());
            }
            _ => {}
        }
        builder
    }

    /// What the ways that carry the same words have in common: webhook, Gotify and mail of one notification differ in
    /// fields and white space alone. The words of another night are in another window.
    fn text_keys(&self, origin: &Origin<'_>, time: Timestamp) -> Vec<Key> {
        let Some(cluster) = &origin.identity.cluster else { return Vec::new() };
        let words: String =
            self.title.split_whitespace().chain(self.message.split_whitespace()).collect();
        let address = format!("{cluster}/text/{}", digest(&[words.as_bytes()]));
        let window = time.as_second().div_euclid(WINDOW_SECS);
        let key = |window| Key::Subject {
            family: "notification".to_owned(),
            address: address.clone(),
            window,
        };
        vec![key(window), key(window + 1)]
    }

    /// A key for a redelivery. No way carries the id that Proxmox gives to a notification. The time is a part of it, so
    /// that the same words of another night are another notification; where it is not told, each report is one. And so
    /// is whose it is: two servers say the same at the same moment when they are tested, or updated.
    fn key(&self, original: &[u8], origin: &Origin<'_>) -> String {
        let heard = origin.received.as_nanosecond().to_string();
        let Some(time) = self.time else { return digest(&[original, heard.as_bytes()]) };
        let mut parts: Vec<&[u8]> = origin.whose().to_vec();
        parts.extend([self.title.as_bytes(), self.message.as_bytes()]);
        for (name, value) in &self.fields {
            parts.extend([name.as_bytes(), value.as_bytes()]);
        }
        let time = time.as_second().to_string();
        parts.push(time.as_bytes());
        digest(&parts)
    }
}

/// Where it happened, with the host of a fencing before whoever sends it.
fn subject(origin: &Origin<'_>, reading: &Reading<'_>) -> Subject {
    let mut subject = origin.subject();
    let host = reading.host.and_then(node_of);
    // The host of a fencing is the fenced node, whoever sends it.
    let is_of_other = reading.type_ == "fencing";
    if host.is_some() && (is_of_other || subject.node.is_none()) {
        subject.node = host;
    }
    subject.job = reading.job.map(str::to_owned);
    subject.datastore.clone_from(&reading.datastore);
    if reading.type_ == "replication" {
        // `<vmid>-<number>`
        subject.vmid = reading.job.and_then(|job| job.split('-').next()?.parse().ok());
    }
    subject
}

/// What smartd writes about a disk that reports errors.
fn is_of_a_disk(title: &str) -> bool {
    title.trim_start().starts_with("SMART error (")
}

/// Field names have dashes, labels have none.
fn label(field: &str) -> String {
    field.chars().map(|c| if c == '-' { '_' } else { c }).collect()
}

/// What holds together the events of one report.
fn report_key(key: &str) -> Key {
    Key::Own(format!("report:{key}"))
}

fn guests(run: &vzdump::Run, first: &Event, key: &str, origin: &Origin<'_>) -> Vec<Event> {
    // The same guest can stand in a table twice only by mistake, and each event needs a key of its own.
    let mut seen: Vec<VmId> = Vec::new();
    let mut events = Vec::new();
    for guest in &run.guests {
        if seen.contains(&guest.vmid) {
            continue;
        }
        seen.push(guest.vmid);
        events.push(of_guest(guest, first, key, origin));
    }
    events
}

fn of_guest(guest: &vzdump::Guest, first: &Event, key: &str, origin: &Origin<'_>) -> Event {
    let (kind, severity) = match guest.status {
        vzdump::Status::Ok => (Kind::BackupFinished, Severity::Info),
        vzdump::Status::Failed | vzdump::Status::NotBegun => (Kind::BackupFailed, Severity::Error),
    };
    // A log that was written in another zone than the settings say must not lie in the future.
    let ended = guest.ended.and_then(|time| origin.identity.moment(time));
    let time = ended.filter(|time| *time <= first.time).unwrap_or(first.time);
    let name = guest.name.clone().filter(|name| *name != format!("VM {}", guest.vmid));
    let called = name.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
    let title = match (guest.status, &guest.cause) {
        (vzdump::Status::Ok, _) => format!("backup of guest {}{called} finished", guest.vmid),
        (vzdump::Status::NotBegun, _) => {
            format!("backup of guest {}{called} was not begun when the run ended", guest.vmid)
        }
        (vzdump::Status::Failed, Some(cause)) => {
            format!("backup of guest {}{called} failed: {cause}", guest.vmid)
        }
        (vzdump::Status::Failed, None) => format!("backup of guest {}{called} failed", guest.vmid),
    };
    let subject = Subject {
        vmid: Some(guest.vmid),
        guest_name: name,
        job: first.subject.job.clone(),
        node: first.subject.node.clone(),
        ..origin.subject()
    };
    let lines = guest.lines.join("\n");
    let mut builder = origin
        .event(format!("{key}/{}", guest.vmid), kind, time)
        .severity(severity)
        .subject(subject)
        .title(title)
        .message(&lines)
        .raw(lines.as_bytes())
        .key(report_key(key));
    // A long run ends hours after its first guest, and is one all the same.
    for run in first.keys.iter().filter(|key| matches!(key, Key::Run { .. })) {
        builder = builder.key(run.clone());
    }
    for (name, number) in [("seconds", guest.seconds), ("bytes", guest.bytes)] {
        if let Some(number) = number {
            builder = builder.label(name, number.to_string());
        }
    }
    if let Some(filename) = &guest.filename {
        builder = builder.label("archive", filename);
    }
    builder.build(origin.received)
}
