//! No secret leaves by a message: what an output is handed went through the same redaction as answers
//! and the audit log.
//!
//! *Invariant:* every output of the pipeline is wrapped in this.

use std::sync::Arc;

use async_trait::async_trait;
use event_core::{ComponentId, Delivery, Event, EventSink, Receipt, SinkError};
use mcp_tools::redaction::Redaction;

/// An output that is told no secrets.
pub(crate) struct Quiet {
    sink: Arc<dyn EventSink>,
    redaction: Redaction,
}

// === impl Quiet ===

impl Quiet {
    pub(crate) fn new(sink: Arc<dyn EventSink>, redaction: &Redaction) -> Self {
        Self { sink, redaction: redaction.clone() }
    }

    fn redacted(&self, delivery: &Delivery) -> Delivery {
        let mut delivery = delivery.clone();
        let message = &mut delivery.message;
        self.redaction.text(&mut message.title);
        self.redaction.text(&mut message.text);
        for (_, value) in &mut message.fields {
            self.redaction.text(value);
        }
        for event in &mut message.events {
            self.event(event);
        }
        delivery
    }

    fn event(&self, event: &mut Event) {
        self.redaction.text(&mut event.title);
        self.redaction.text(&mut event.message);
        for value in event.labels.values_mut() {
            self.redaction.text(value);
        }
        if let Some(raw) = &mut event.raw {
            self.redaction.text(&mut raw.text);
        }
    }
}

#[async_trait]
impl EventSink for Quiet {
    fn id(&self) -> &ComponentId {
        self.sink.id()
    }

    async fn check(&self) -> Result<String, SinkError> {
        self.sink.check().await
    }

    async fn deliver(&self, delivery: &Delivery) -> Result<Receipt, SinkError> {
        self.sink.deliver(&self.redacted(delivery)).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use event_core::{DeliveryKey, Kind, Message, Severity, Stand};
    use jiff::Timestamp;
    use secrecy::SecretString;

    use super::*;

    struct Heard(ComponentId, Mutex<Vec<Delivery>>);

    #[async_trait]
    impl EventSink for Heard {
        fn id(&self) -> &ComponentId {
            &self.0
        }

        async fn check(&self) -> Result<String, SinkError> {
            Ok(String::new())
        }

        async fn deliver(&self, delivery: &Delivery) -> Result<Receipt, SinkError> {
            self.1.lock().unwrap().push(delivery.clone());
            Ok(Receipt::default())
        }
    }

    #[tokio::test]
    async fn no_secret_stands_in_any_field_of_a_message() {
        // One that the settings know, and one that is known by its name.
        let (known, named) = ("s3cr3t-of-the-settings", "password=hunter2-hunter2");
        let planted = format!("{known} {named}");
        let id: ComponentId = "ops".parse().unwrap();
        let now = Timestamp::UNIX_EPOCH;
        let mut message =
            Message::new(Stand::New, "i", Kind::BackupFailed, Severity::Error, &planted, now);
        message.text.clone_from(&planted);
        message.fields.push(("where".to_owned(), planted.clone()));
        let event = Event::builder(&id, "test", "1", Kind::BackupFailed, now)
            .title(&planted)
            .message(&planted)
            .label("site", &planted)
            .raw(planted.as_bytes());
        message.events.push(event.build(now));
        let key = DeliveryKey::of(["one"]);
        let delivery = Delivery { key, prior: None, so_far: None, message };

        let heard = Arc::new(Heard(id, Mutex::default()));
        let redaction = Redaction::new([SecretString::from(known)]);
        Quiet::new(heard.clone(), &redaction).deliver(&delivery).await.unwrap();
        let told = format!("{:?}", heard.1.lock().unwrap());
        assert!(!told.contains(known) && !told.contains("hunter2"), "{told}");
        assert_eq!(told.matches("[redacted]").count(), 14, "{told}");
    }
}
