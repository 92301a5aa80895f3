//! What tells people: a sink delivers one message, says what the service made of it, and says
//! whether trying again can help.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;

use crate::{ComponentId, Event, Severity, Subject};

/// An output: something that tells people or programs.
///
/// Its contract, which `testkit` holds every implementation to: a delivery with the same key twice
/// is told once where the service can know that; a failure is sorted into [`Retry`] by what the
/// service said; nothing secret stands in an error.
#[async_trait]
pub trait EventSink: Send + Sync + 'static {
    /// Its name in the settings.
    fn id(&self) -> &ComponentId;

    /// Whether it would work now, without telling anybody anything. For the tester.
    ///
    /// # Errors
    /// What is in the way, and what to do about it.
    async fn check(&self) -> Result<String, SinkError>;

    /// Tells it.
    ///
    /// # Errors
    /// What the service said, and whether to try again. A delivery of several parts that failed in
    /// the middle gives its receipt so far with the error.
    async fn deliver(&self, delivery: &Delivery) -> Result<Receipt, SinkError>;
}

/// One thing to tell.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// What makes a second attempt the same delivery.
    pub key: DeliveryKey,
    /// What the service said to the last delivery of the same incident: a message can be edited.
    pub prior: Option<Receipt>,
    /// What the service said to the parts that an earlier attempt has told: they are not told again.
    pub so_far: Option<Receipt>,
    /// What to tell.
    pub message: Message,
}

/// What makes a second attempt the same delivery: `[A-Za-z0-9_-]`, at most 64 bytes; the first 25
/// tell it apart as well, for services that take no more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryKey(String);

/// What to tell, before a channel gives it its shape. [`crate::wire::message`] is the form in which
/// an outbox keeps it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Message {
    /// Where the incident stands.
    pub stand: Stand,
    /// The incident's name, short; what threads hang on.
    pub incident: String,
    /// How bad it is.
    pub severity: Severity,
    /// The kind of the event that leads it.
    pub kind: crate::Kind,
    /// Where.
    pub subject: Subject,
    /// One line. Data: a channel escapes it in its own way.
    pub title: String,
    /// The rest. Data as well.
    pub text: String,
    /// Name and value, in order.
    pub fields: Vec<(String, String)>,
    /// When it began.
    pub began: Timestamp,
    /// When this was written.
    pub written: Timestamp,
    /// Where a person can look further.
    pub link: Option<String>,
    /// The reports, the newest last.
    pub events: Vec<Event>,
    /// Whether people are to be alerted, or a message they have is only brought up to date.
    pub silent: bool,
    /// Where within the output, if a rule says so: a channel, thread or address.
    pub route: Option<String>,
}

/// Where an incident stands when a message is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stand {
    /// It is new.
    New,
    /// More is known.
    Update,
    /// It is worse than it was.
    Worse,
    /// Nobody has acknowledged it.
    Escalated,
    /// It is back.
    Again,
    /// Somebody has acknowledged it.
    Acknowledged,
    /// It is over.
    Resolved,
    /// Not an incident but a list of what went on.
    Digest,
    /// Nothing happened: somebody tests the output.
    Test,
}

/// What a service said to a delivery: its own names of the messages, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// What the service calls each message.
    pub ids: Vec<String>,
    /// Whatever else the sink wants back when it edits them.
    pub extra: Value,
}

/// Whether to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It will never work: the webhook is gone, the message is refused.
    Never,
    /// After a pause that grows.
    Backoff,
    /// Not before that.
    After(Duration),
}

/// A delivery failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SinkError {
    message: String,
    retry: Retry,
    /// Whether the service may have it all the same: the answer was lost.
    maybe: bool,
    so_far: Option<Box<Receipt>>,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

// === impl DeliveryKey ===

impl DeliveryKey {
    /// From parts that tell it apart, such as incident, version of the message and output.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a str>) -> Self {
        Self(crate::Fingerprint::of(parts).to_string())
    }

    /// The whole key.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As much of it as services with short keys take (25 characters).
    pub fn short(&self) -> &str {
        &self.0[..self.0.len().min(25)]
    }
}

impl From<String> for DeliveryKey {
    /// A key as it was kept.
    fn from(text: String) -> Self {
        let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        Self(text.chars().filter(plain).take(64).collect())
    }
}

// === impl Message ===

impl Message {
    /// A message with the least that there is to say.
    pub fn new(
        stand: Stand,
        incident: impl Into<String>,
        kind: crate::Kind,
        severity: Severity,
        title: impl Into<String>,
        written: Timestamp,
    ) -> Self {
        Self {
            stand,
            incident: incident.into(),
            severity,
            kind,
            subject: Subject::default(),
            title: title.into(),
            text: String::new(),
            fields: Vec::new(),
            began: written,
            written,
            link: None,
            events: Vec::new(),
            silent: false,
            route: None,
        }
    }
}

// === impl Stand ===

impl Stand {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::New,
        Self::Update,
        Self::Worse,
        Self::Escalated,
        Self::Again,
        Self::Acknowledged,
        Self::Resolved,
        Self::Digest,
        Self::Test,
    ];

    /// The word that templates, the store and receivers use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Update => "update",
            Self::Worse => "worse",
            Self::Escalated => "escalated",
            Self::Again => "again",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
            Self::Digest => "digest",
            Self::Test => "test",
        }
    }

    /// The stand of that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stand| stand.as_str() == word)
    }

    /// Whether the message of the same incident is edited rather than a new one posted, where the
    /// service can do that: progress is silent, what is new or worse is not.
    pub fn edits(self) -> bool {
        matches!(self, Self::Update | Self::Acknowledged | Self::Resolved)
    }
}

impl fmt::Display for Stand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl SinkError ===

impl SinkError {
    /// This failed, and so it is with trying again.
    pub fn new(retry: Retry, message: impl Into<String>) -> Self {
        Self { message: message.into(), retry, maybe: false, so_far: None, source: None }
    }

    /// The answer was lost: the service may have it all the same.
    #[must_use]
    pub fn maybe_sent(mut self) -> Self {
        self.maybe = true;
        self
    }

    /// These parts were told before it failed.
    #[must_use]
    pub fn so_far(mut self, receipt: Receipt) -> Self {
        self.so_far = Some(Box::new(receipt));
        self
    }

    /// With what it comes from.
    #[must_use]
    pub fn because(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// Whether to try again.
    pub fn retry(&self) -> Retry {
        self.retry
    }

    /// Whether the service may have it all the same.
    pub fn may_be_sent(&self) -> bool {
        self.maybe
    }

    /// What was told before it failed.
    pub fn receipt_so_far(&self) -> Option<&Receipt> {
        self.so_far.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_key_tells_deliveries_apart_as_well() {
        let (one, two) = (DeliveryKey::of(["i1", "2", "ops"]), DeliveryKey::of(["i1", "3", "ops"]));
        assert_ne!(one.short(), two.short());
        assert_eq!(one.short().len(), 25);
        assert_eq!(DeliveryKey::from(one.as_str().to_owned()), one);
        assert_eq!(DeliveryKey::from("a b\n€c".to_owned()).as_str(), "abc");
    }

    #[test]
    fn words_of_stands_are_read_back() {
        for stand in Stand::ALL {
            assert_eq!(Stand::parse(stand.as_str()), Some(stand));
        }
        assert_eq!(Stand::parse("over"), None);
    }
}
