//! The event itself, and the one way to make one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use jiff::Timestamp;

use crate::{ComponentId, EventId, Fingerprint, Key, Kind, Severity, Subject, correlation};

/// The most characters of a title.
pub const MAX_TITLE: usize = 300;

/// The most characters of a message. Backup mails can hold a megabyte of log; what is longer is cut
/// here and whole in `raw`.
pub const MAX_MESSAGE: usize = 16 * 1024;

/// The most bytes of the original that are kept.
pub const MAX_RAW: usize = 256 * 1024;

/// The most labels.
pub const MAX_LABELS: usize = 32;

/// One thing that happened, as one report tells it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Event {
    /// Its name.
    pub id: EventId,
    /// What makes a redelivery the same event.
    pub source_key: SourceKey,
    /// When it happened, as far as the report says.
    pub time: Timestamp,
    /// When we heard of it.
    pub received: Timestamp,
    /// Who told us.
    pub source: Source,
    /// What it is about.
    pub kind: Kind,
    /// How bad it is.
    pub severity: Severity,
    /// Where it happened.
    pub subject: Subject,
    /// One line. It may hold what guests and mails wrote, and is data.
    pub title: String,
    /// The rest, for people. Data as well.
    pub message: String,
    /// The endpoint's own labels (customer, site), and what the source adds.
    pub labels: BTreeMap<String, String>,
    /// The original, cut at [`MAX_RAW`].
    pub raw: Option<Raw>,
    /// What makes two reports the same thing.
    pub fingerprint: Fingerprint,
    /// By what this report finds the others of the same fact.
    pub keys: BTreeSet<Key>,
}

/// Who told us: the input by its settings name, and what kind of input it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// `[input.<id>]`.
    pub id: ComponentId,
    /// `syslog`, `webhook`, `email`, `tasks`, …
    pub kind: Arc<str>,
}

/// Unique per source: the same key again is the same report again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceKey(Arc<str>);

/// What arrived, as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw {
    /// The text; what was no UTF-8 has replacement characters.
    pub text: String,
    /// How many bytes it had before it was cut.
    pub size: u64,
}

/// Makes an event; see [`Event::builder`].
#[derive(Clone, Debug)]
pub struct Builder {
    event: Event,
    told_apart: Vec<String>,
    further: BTreeSet<Key>,
}

// === impl Event ===

impl Event {
    /// An event that this source reports under this key: of this kind, and of this time.
    pub fn builder(
        source: &ComponentId,
        source_kind: &str,
        source_key: impl Into<SourceKey>,
        kind: Kind,
        time: Timestamp,
    ) -> Builder {
        let event = Self {
            id: EventId::new(time),
            source_key: source_key.into(),
            time,
            received: time,
            source: Source { id: source.clone(), kind: source_kind.into() },
            kind,
            severity: Severity::default(),
            subject: Subject::default(),
            title: String::new(),
            message: String::new(),
            labels: BTreeMap::new(),
            raw: None,
            fingerprint: Fingerprint::of([]),
            keys: BTreeSet::new(),
        };
        Builder { event, told_apart: Vec::new(), further: BTreeSet::new() }
    }
}

// === impl Builder ===

impl Builder {
    /// How bad it is; without this, [`Severity::Info`].
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Self {
        self.event.severity = severity;
        self
    }

    /// Where it happened.
    #[must_use]
    pub fn subject(mut self, subject: Subject) -> Self {
        self.event.subject = subject;
        self
    }

    /// One line; made inert and cut at [`MAX_TITLE`].
    #[must_use]
    pub fn title(mut self, title: impl AsRef<str>) -> Self {
        let title = stdx::untrusted::line(title.as_ref(), MAX_TITLE);
        title.trim().clone_into(&mut self.event.title);
        self
    }

    /// The rest; made inert and cut at [`MAX_MESSAGE`].
    #[must_use]
    pub fn message(mut self, message: impl AsRef<str>) -> Self {
        self.event.message = stdx::untrusted::text(message.as_ref(), MAX_MESSAGE).into_owned();
        self
    }

    /// One label; beyond [`MAX_LABELS`] they are dropped.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, value: impl AsRef<str>) -> Self {
        let labels = &mut self.event.labels;
        let name = name.into();
        if labels.len() < MAX_LABELS || labels.contains_key(&name) {
            labels.insert(name, stdx::untrusted::line(value.as_ref(), MAX_TITLE).into_owned());
        }
        self
    }

    /// The original.
    #[must_use]
    pub fn raw(mut self, original: &[u8]) -> Self {
        self.event.raw = Some(Raw::of(original));
        self
    }

    /// What tells this report apart from others of the same kind and subject: a Ceph check, a disk's
    /// serial number, a sensor.
    #[must_use]
    pub fn told_apart_by(mut self, part: impl Into<String>) -> Self {
        self.told_apart.push(part.into());
        self
    }

    /// A key beyond those that kind, subject and time give.
    #[must_use]
    pub fn key(mut self, key: Key) -> Self {
        self.further.insert(key);
        self
    }

    /// The event, heard at `received`.
    pub fn build(self, received: Timestamp) -> Event {
        let Self { mut event, told_apart, further } = self;
        event.received = received;
        event.id = EventId::new(received);
        if event.title.is_empty() {
            let label = event.subject.label();
            event.title = if label.is_empty() {
                event.kind.to_string()
            } else {
                format!("{} {label}", event.kind)
            };
        }
        let address = event.subject.address();
        let parts = [event.kind.as_str(), &address];
        event.fingerprint =
            Fingerprint::of(parts.into_iter().chain(told_apart.iter().map(String::as_str)));
        event.keys = correlation::keys(&event);
        event.keys.extend(further);
        event
    }
}

// === impl SourceKey ===

impl SourceKey {
    /// The key as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for SourceKey {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for SourceKey {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for SourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Raw ===

impl Raw {
    /// The head of the original, as text.
    pub fn of(original: &[u8]) -> Self {
        let head = &original[..original.len().min(MAX_RAW)];
        let mut text = String::from_utf8_lossy(head).into_owned();
        // Replacement characters are longer than what they replace.
        if text.len() > MAX_RAW {
            let mut end = MAX_RAW;
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text.truncate(end);
        }
        Self { text, size: original.len() as u64 }
    }

    /// Whether something was cut.
    pub fn is_cut(&self) -> bool {
        self.size > MAX_RAW as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn time() -> Timestamp {
        "2026-11-22T01:00:00Z".parse().unwrap()
    }

    fn builder() -> Builder {
        Event::builder(&"in".parse().unwrap(), "syslog", "1", Kind::CephWarning, time())
    }

    #[test]
    fn what_is_told_apart_has_fingerprints_of_its_own() {
        let print = |part: &str| builder().told_apart_by(part).build(time()).fingerprint;
        assert_ne!(print("OSD_DOWN"), print("MON_DOWN"));
        assert_eq!(print("OSD_DOWN"), print("OSD_DOWN"));
    }

    #[test]
    fn an_event_without_words_says_what_it_is() {
        assert_eq!(builder().build(time()).title, "ceph.warning");
        assert_eq!(builder().title(" a\u{1b}[31mb\nc \u{202e}").build(time()).title, "ab c");
    }

    #[test]
    fn labels_have_an_end() {
        let builder = (0..100).fold(builder(), |builder, at| builder.label(format!("l{at}"), "v"));
        assert_eq!(builder.build(time()).labels.len(), MAX_LABELS);
    }

    proptest! {
        #[test]
        fn the_original_is_never_longer_than_its_ceiling(
            byte in any::<u8>(), extra in 0..40_usize,
        ) {
            let original = vec![byte; MAX_RAW - 20 + extra];
            let raw = Raw::of(&original);
            prop_assert!(raw.text.len() <= MAX_RAW);
            prop_assert_eq!(raw.size, original.len() as u64);
            prop_assert_eq!(raw.is_cut(), original.len() > MAX_RAW);
        }
    }
}
