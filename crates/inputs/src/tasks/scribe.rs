//! The words: steps of tasks and changes of the estate, as events.

use estate::{TaskStatus, VmId};
use event_core::{ComponentId, Event, Key, Kind, Severity, Subject};
use jiff::Timestamp;
use serde_json::json;

use super::{
    KIND,
    diff::{Change, Told},
    list::Step,
    view::{Condition, Guest, View},
    vzdump::Outcome,
};
use crate::{
    Identity, Origin,
    recognize::{
        syslog,
        task::{self, Stand},
    },
};

/// Writes the events of one source.
#[derive(Debug)]
pub(super) struct Scribe {
    pub(super) id: ComponentId,
    pub(super) identity: Identity,
}

/// How the whole cluster or server stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Away,
    Back,
}

// === impl Scribe ===

impl Scribe {
    fn origin(&self, at: Timestamp) -> Origin<'_> {
        Origin::new(&self.id, KIND, &self.identity, at)
    }

    /// A task began or ended.
    pub(super) fn step(&self, step: &Step, view: &View, at: Timestamp) -> Event {
        let (upid, stand, time) = match step {
            Step::Began(upid) => (upid, Stand::Started, upid.started()),
            Step::Ended { upid, at, status } => (upid, Stand::Ended(status.clone()), *at),
        };
        let origin = self.origin(at);
        let mut subject = origin.subject();
        task::describe(upid, &mut subject);
        subject.guest_name =
            subject.vmid.and_then(|vmid| view.guests.get(&vmid)).and_then(|it| it.name.clone());
        let status = match &stand {
            Stand::Started => None,
            Stand::Ended(status) => Some(status.to_string()),
        };
        let word = if status.is_some() { "end" } else { "start" };
        let raw = json!({
            "upid": upid.as_str(), "starttime": upid.started().as_second(),
            "endtime": status.as_ref().map(|_| time.as_second()), "status": &status,
        });
        let about = upid.display_id();
        let about = if about.is_empty() { String::new() } else { format!(" of {about}") };
        let node = upid.node();
        let title = match &stand {
            Stand::Started => format!("{}{about} began on {node}", upid.kind()),
            Stand::Ended(TaskStatus::Ok) => format!("{}{about} ended well on {node}", upid.kind()),
            Stand::Ended(TaskStatus::Warnings(count)) => {
                format!("{}{about} ended on {node} with {count} warnings", upid.kind())
            }
            Stand::Ended(TaskStatus::Failed(cause)) => {
                format!("{}{about} failed on {node}: {cause}", upid.kind())
            }
        };
        let builder = origin
            .event(format!("{upid}/{word}"), task::kind(upid, &stand), time)
            .severity(task::severity(&stand))
            .subject(subject)
            .title(title)
            .label("task", upid.kind())
            .raw(raw.to_string().as_bytes());
        // The results of a run's guests hang together by this.
        builder.key(Key::Upid(upid.as_str().to_owned())).build(at)
    }

    /// An entry of the cluster's log.
    pub(super) fn entry(&self, entry: &syslog::Entry, at: Timestamp) -> Event {
        syslog::recognize_entry(entry, &self.origin(at))
    }

    /// What became of one guest of a backup run.
    pub(super) fn of_run(
        &self,
        upid: &estate::Upid,
        ended: Timestamp,
        outcome: &Outcome,
        view: &View,
        at: Timestamp,
    ) -> Event {
        let origin = self.origin(at);
        let guest = view.guests.get(&outcome.vmid);
        let name = guest.and_then(|guest| guest.name.clone());
        let called = name.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
        let vmid = outcome.vmid;
        let (kind, severity, title) = match &outcome.cause {
            None => {
                let title = format!("backup of guest {vmid}{called} finished");
                (Kind::BackupFinished, Severity::Info, title)
            }
            Some(cause) => {
                let title = format!("backup of guest {vmid}{called} failed: {cause}");
                (Kind::BackupFailed, Severity::Error, title)
            }
        };
        let subject = Subject {
            node: Some(upid.node().clone()),
            vmid: Some(vmid),
            guest_kind: guest.map(|guest| guest.kind),
            guest_name: name,
            upid: Some(upid.clone()),
            user: Some(upid.user().to_owned()),
            ..origin.subject()
        };
        let mut builder = origin
            .event(format!("{upid}/end/{vmid}"), kind, ended)
            .severity(severity)
            .subject(subject)
            .title(title)
            .raw(outcome.line.as_bytes());
        if let Some(seconds) = outcome.seconds {
            builder = builder.label("seconds", seconds.to_string());
        }
        builder.build(at)
    }

    /// What is told of a change; mostly nothing.
    pub(super) fn change(&self, change: &Change, at: Timestamp) -> Option<Event> {
        match change {
            Change::Guest { vmid, guest: Some(guest), told: Some(told) } => {
                Some(self.guest(*vmid, guest, *told, at))
            }
            Change::Guest { .. } | Change::Ended { well: None, .. } => None,
            Change::Begun { condition, .. } => Some(self.condition(condition, at)),
            Change::Ended { condition, well: Some(well), .. } => {
                Some(self.well(condition, well, at))
            }
        }
    }

    fn guest(&self, vmid: VmId, guest: &Guest, told: Told, at: Timestamp) -> Event {
        let origin = self.origin(at);
        let subject = Subject {
            node: Some(guest.node.clone()),
            vmid: Some(vmid),
            guest_kind: Some(guest.kind),
            guest_name: guest.name.clone(),
            ..origin.subject()
        };
        let node = &guest.node;
        let (kind, severity, what, message) = match told {
            Told::Stopped => (
                Kind::GuestStopped,
                Severity::Warning,
                format!("does not run any more on {node}: cause unknown"),
                "No task stopped it: it ended by itself or from within, or its node did.",
            ),
            Told::Started => (
                Kind::GuestStarted,
                Severity::Info,
                format!("runs on {node}"),
                "No task started it: it was started on the node itself.",
            ),
            Told::Moved => (
                Kind::GuestMigrated,
                Severity::Info,
                format!("is on {node} now"),
                "No task moved it: its configuration was moved on the node itself.",
            ),
            Told::Recovered => (
                Kind::HaStarted,
                Severity::Notice,
                format!("was brought to {node} by HA"),
                "No migration moved it: HA has recovered it there.",
            ),
        };
        let called = guest.name.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
        origin
            .event(format!("{kind}/{vmid}/{at}"), kind, at)
            .severity(severity)
            .subject(subject)
            .title(format!("guest {vmid}{called} {what}"))
            .message(message)
            .label("cause", "unknown")
            .build(at)
    }

    /// Something is wrong.
    pub(super) fn condition(&self, condition: &Condition, at: Timestamp) -> Event {
        let origin = self.origin(at);
        let mut subject = origin.subject();
        condition.place.describe(&mut subject);
        let mut builder = origin
            .event(format!("{}/{at}", condition.id()), condition.kind.clone(), at)
            .severity(condition.severity)
            .subject(subject)
            .title(&condition.title)
            .message(&condition.message);
        if let Some(what) = &condition.what {
            builder = builder.told_apart_by(what).label("what", what);
        }
        builder.build(at)
    }

    fn well(&self, condition: &Condition, well: &Kind, at: Timestamp) -> Event {
        let origin = self.origin(at);
        let mut subject = origin.subject();
        condition.place.describe(&mut subject);
        let label = subject.label();
        origin
            .event(format!("{well} {}/{at}", condition.place), well.clone(), at)
            .severity(Severity::Info)
            .subject(subject)
            .title(format!("{label} is well again: {well}"))
            .message(format!("It was: {}", condition.title))
            .build(at)
    }

    /// The whole cluster or server is out of reach, or back.
    pub(super) fn reach(&self, reach: Reach, why: &str, at: Timestamp) -> Event {
        let origin = self.origin(at);
        let name = origin.subject().label();
        let (kind, severity, title) = match reach {
            Reach::Away => {
                (Kind::ClusterUnreachable, Severity::Error, format!("{name} is out of reach"))
            }
            Reach::Back => {
                (Kind::ClusterReachable, Severity::Info, format!("{name} answers again"))
            }
        };
        origin
            .event(format!("{kind}/{at}"), kind, at)
            .severity(severity)
            .subject(origin.subject())
            .title(title)
            .message(why)
            .build(at)
    }
}
