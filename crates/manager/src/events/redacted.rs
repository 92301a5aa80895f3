//! What leaves by the control socket holds no secrets: terminals print it, and whoever may look at
//! events need not know what some log let slip.
//!
//! *Invariant:* whatever the counter gives out of the log and of incidents went through this.

use event_core::desk::{DeadLetter, EventsFound, IncidentStory, IncidentView};
use event_core::{Event, Logged};
use stdx::redact::Redactor;

/// Takes secrets out of what is read.
pub(crate) trait Redacted: Sized {
    fn redact(&mut self, redactor: &Redactor);

    /// The same without secrets.
    fn redacted(mut self, redactor: &Redactor) -> Self {
        self.redact(redactor);
        self
    }
}

impl Redacted for String {
    fn redact(&mut self, redactor: &Redactor) {
        let redacted = redactor.text(self).into_owned();
        *self = redacted;
    }
}

impl<T: Redacted> Redacted for Option<T> {
    fn redact(&mut self, redactor: &Redactor) {
        if let Some(it) = self {
            it.redact(redactor);
        }
    }
}

impl<T: Redacted> Redacted for Vec<T> {
    fn redact(&mut self, redactor: &Redactor) {
        for it in self {
            it.redact(redactor);
        }
    }
}

impl Redacted for Event {
    fn redact(&mut self, redactor: &Redactor) {
        self.title.redact(redactor);
        self.message.redact(redactor);
        for value in self.labels.values_mut() {
            value.redact(redactor);
        }
        if let Some(raw) = &mut self.raw {
            raw.text.redact(redactor);
        }
    }
}

impl Redacted for Logged {
    fn redact(&mut self, redactor: &Redactor) {
        self.event.redact(redactor);
    }
}

impl Redacted for EventsFound {
    fn redact(&mut self, redactor: &Redactor) {
        self.events.redact(redactor);
    }
}

impl Redacted for IncidentView {
    fn redact(&mut self, redactor: &Redactor) {
        self.title.redact(redactor);
        for problem in &mut self.problems {
            redactor.json(problem);
        }
    }
}

impl Redacted for IncidentStory {
    fn redact(&mut self, redactor: &Redactor) {
        self.incident.redact(redactor);
        self.events.redact(redactor);
    }
}

impl Redacted for DeadLetter {
    fn redact(&mut self, redactor: &Redactor) {
        self.title.redact(redactor);
        self.error.redact(redactor);
    }
}
