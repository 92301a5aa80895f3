//! Reports as inputs make them.

use std::sync::Arc;

use event_core::{Event, Key, Kind, Severity, Subject, correlation};
use jiff::{SignedDuration, Timestamp, ToSpan as _};

/// A moment of the night from Saturday, 2026-11-21, to Sunday.
pub(crate) fn at(clock: &str) -> Timestamp {
    let day = if clock < "12" { 22 } else { 21 };
    format!("2026-11-{day}T{clock}Z").parse().expect("valid")
}

pub(crate) fn later(time: Timestamp, seconds: i64) -> Timestamp {
    time + SignedDuration::from_secs(seconds)
}

pub(crate) fn days(time: Timestamp, days: i64) -> Timestamp {
    time + (24 * days).hours()
}

/// A report of a source, which is also the kind of source.
pub(crate) struct Report {
    pub(crate) source: &'static str,
    pub(crate) kind: Kind,
    pub(crate) severity: Severity,
    pub(crate) subject: Subject,
    pub(crate) title: &'static str,
    pub(crate) time: Timestamp,
    pub(crate) keys: Vec<Key>,
}

/// What is wrong, of the cluster `lab` and heard by the task list, until something else is said.
pub(crate) fn wrong(kind: Kind, time: Timestamp) -> Report {
    Report {
        source: "tasks",
        kind,
        severity: Severity::Error,
        subject: cluster("lab"),
        title: "",
        time,
        keys: Vec::new(),
    }
}

/// What is as it should be.
pub(crate) fn well(kind: Kind, time: Timestamp) -> Report {
    Report { severity: Severity::Info, ..wrong(kind, time) }
}

pub(crate) fn cluster(name: &str) -> Subject {
    Subject { cluster: Some(name.parse().expect("valid")), ..Subject::default() }
}

// === impl Report ===

impl Report {
    pub(crate) fn source(mut self, source: &'static str) -> Self {
        self.source = source;
        self
    }

    pub(crate) fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    pub(crate) fn title(mut self, title: &'static str) -> Self {
        self.title = title;
        self
    }

    pub(crate) fn cluster(mut self, name: &str) -> Self {
        self.subject.cluster = Some(name.parse().expect("valid"));
        self
    }

    pub(crate) fn node(mut self, name: &str) -> Self {
        self.subject.node = Some(name.parse().expect("valid"));
        self
    }

    pub(crate) fn guest(mut self, vmid: u32) -> Self {
        self.subject.vmid = Some(estate::VmId::try_new(vmid).expect("valid"));
        self
    }

    pub(crate) fn job(mut self, job: &str) -> Self {
        self.subject.job = Some(job.to_owned());
        self
    }

    pub(crate) fn upid(mut self, upid: &str) -> Self {
        self.subject.upid = Some(upid.parse().expect("valid"));
        self
    }

    /// What it says of guests beside its subject, as the table of a mail does.
    pub(crate) fn about_guest(mut self, vmid: u32) -> Self {
        let cluster = self.subject.cluster.as_ref().expect("valid");
        let address = format!("{cluster}/guest/{vmid}");
        self.keys.extend(correlation::of_subject(&self.kind, &address, self.time));
        self
    }

    /// The event, heard some seconds after it happened.
    pub(crate) fn heard_after(self, seconds: i64) -> Arc<Event> {
        let key = format!("{}/{}/{}", self.kind, self.subject.address(), self.time);
        let source = self.source.parse().expect("valid");
        let mut builder = Event::builder(&source, self.source, key, self.kind, self.time)
            .severity(self.severity)
            .subject(self.subject)
            .title(self.title);
        for key in self.keys {
            builder = builder.key(key);
        }
        Arc::new(builder.build(later(self.time, seconds)))
    }

    /// The event, heard a second after it happened.
    pub(crate) fn heard(self) -> Arc<Event> {
        self.heard_after(1)
    }
}
