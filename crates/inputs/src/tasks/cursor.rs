//! What a run leaves to the next, as text: JSON with a version.
//!
//! *Invariant:* what is written is read back as it was. *Invariant:* a text that is none of these, or is of a later
//! version, is no cursor: the next run begins anew instead of guessing.

use std::collections::{BTreeMap, BTreeSet};

use estate::{GuestKind, VmId};
use event_core::{Cursor, Severity};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    list::Known,
    log::Journal,
    view::{Condition, Guest, Place, State, View},
};

/// The version that is written.
const VERSION: u32 = 1;

/// All that a run remembers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// Tasks.
    pub known: Known,
    /// The cluster's log.
    pub journal: Journal,
    /// The estate.
    pub view: View,
    /// Whether nothing answered at the last look.
    pub away: bool,
}

#[derive(Serialize, Deserialize)]
struct Written {
    v: u32,
    #[serde(default)]
    away: bool,
    since: Option<i64>,
    newest: BTreeMap<String, i64>,
    running: BTreeSet<String>,
    ended: BTreeMap<String, i64>,
    guests: Vec<WrittenGuest>,
    wrong: BTreeMap<String, Vec<WrittenCondition>>,
    /// Absent in what was written before the log was read.
    #[serde(default)]
    log: WrittenLog,
}

#[derive(Default, Serialize, Deserialize)]
struct WrittenLog {
    since: Option<i64>,
    newest: BTreeMap<String, i64>,
    seen: BTreeMap<String, i64>,
}

/// Id, kind, state (`r`, `s`, or `?` for whatever is seen next; `R`, `S`, `!` if its node was silent), node, name. A doubt and what still settles are not
/// kept: the next run looks anew.
#[derive(Serialize, Deserialize)]
struct WrittenGuest(u32, char, char, String, #[serde(default)] Option<String>);

#[derive(Serialize, Deserialize)]
struct WrittenCondition {
    kind: String,
    severity: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vmid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    storage: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    datastore: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    job: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    what: Option<String>,
    title: String,
    message: String,
}

fn seconds<K: ToString>(times: &BTreeMap<K, Timestamp>) -> BTreeMap<String, i64> {
    times.iter().map(|(key, at)| (key.to_string(), at.as_second())).collect()
}

// === impl Memory ===

impl Memory {
    /// As text.
    pub fn cursor(&self) -> Cursor {
        let Self { known, journal, view, away } = self;
        let written = Written {
            v: VERSION,
            away: *away,
            since: known.since.map(Timestamp::as_second),
            newest: seconds(&known.newest),
            running: known.running.clone(),
            ended: seconds(&known.ended),
            guests: view
                .guests
                .iter()
                .map(|(vmid, guest)| WrittenGuest::of(*vmid, guest))
                .collect(),
            wrong: view
                .wrong
                .iter()
                .map(|(part, wrong)| {
                    (part.clone(), wrong.values().map(WrittenCondition::of).collect())
                })
                .collect(),
            log: WrittenLog {
                since: journal.since.map(Timestamp::as_second),
                newest: seconds(&journal.newest),
                seen: seconds(&journal.seen),
            },
        };
        let text = serde_json::to_string(&written).expect("numbers and texts can be written");
        Cursor::new(text)
    }

    /// Reads the text; `None` where it is another.
    pub fn read(cursor: &Cursor) -> Option<Self> {
        let written: Written = serde_json::from_str(cursor.as_str()).ok()?;
        if written.v != VERSION {
            return None;
        }
        let moment = |second: i64| Timestamp::from_second(second).ok();
        let mut known = Known {
            since: written.since.and_then(moment),
            running: written.running,
            ..Known::default()
        };
        for (node, second) in written.newest {
            known.newest.insert(node.parse().ok()?, moment(second)?);
        }
        for (upid, second) in written.ended {
            known.ended.insert(upid, moment(second)?);
        }
        let mut view = View::default();
        for guest in written.guests {
            let (vmid, guest) = guest.read()?;
            view.guests.insert(vmid, guest);
        }
        for (part, wrong) in written.wrong {
            let mut conditions = BTreeMap::new();
            for condition in wrong {
                let condition = condition.read()?;
                conditions.insert(condition.id(), condition);
            }
            view.wrong.insert(part, conditions);
        }
        let mut journal =
            Journal { since: written.log.since.and_then(moment), ..Journal::default() };
        for (node, second) in written.log.newest {
            journal.newest.insert(node.parse().ok()?, moment(second)?);
        }
        for (key, second) in written.log.seen {
            journal.seen.insert(key, moment(second)?);
        }
        Some(Self { known, journal, view, away: written.away })
    }
}

// === impl WrittenGuest ===

impl WrittenGuest {
    fn of(vmid: VmId, guest: &Guest) -> Self {
        let kind = match guest.kind {
            GuestKind::Qemu => 'q',
            GuestKind::Lxc => 'c',
        };
        let state = match (guest.state, guest.is_silent) {
            (Some(State::Running), false) => 'r',
            (Some(State::Running), true) => 'R',
            (Some(State::Stopped), false) => 's',
            (Some(State::Stopped), true) => 'S',
            (None, false) => '?',
            (None, true) => '!',
        };
        Self(vmid.get(), kind, state, guest.node.as_str().to_owned(), guest.name.clone())
    }

    fn read(self) -> Option<(VmId, Guest)> {
        let Self(vmid, kind, state, node, name) = self;
        let kind = match kind {
            'q' => GuestKind::Qemu,
            'c' => GuestKind::Lxc,
            _ => return None,
        };
        let is_silent = matches!(state, 'R' | 'S' | '!');
        let state = match state {
            'r' | 'R' => Some(State::Running),
            's' | 'S' => Some(State::Stopped),
            _ => None,
        };
        let guest = Guest {
            kind,
            name,
            node: node.parse().ok()?,
            state,
            settles: None,
            is_silent,
            doubt: None,
        };
        Some((VmId::try_new(vmid).ok()?, guest))
    }
}

// === impl WrittenCondition ===

impl WrittenCondition {
    fn of(condition: &Condition) -> Self {
        let Condition { kind, severity, place, what, title, message } = condition;
        Self {
            kind: kind.as_str().to_owned(),
            severity: severity.as_str().to_owned(),
            node: place.node.as_ref().map(ToString::to_string),
            vmid: place.vmid.map(VmId::get),
            storage: place.storage.as_ref().map(ToString::to_string),
            datastore: place.datastore.as_ref().map(ToString::to_string),
            job: place.job.clone(),
            what: what.clone(),
            title: title.clone(),
            message: message.clone(),
        }
    }

    fn read(self) -> Option<Condition> {
        let severity: Severity = self.severity.parse().ok()?;
        let place = Place {
            node: self.node.and_then(|text| text.parse().ok()),
            vmid: self.vmid.and_then(|id| VmId::try_new(id).ok()),
            storage: self.storage.and_then(|text| text.parse().ok()),
            datastore: self.datastore.and_then(|text| text.parse().ok()),
            job: self.job,
        };
        Some(Condition {
            kind: self.kind.parse().ok()?,
            severity,
            place,
            what: self.what,
            title: self.title,
            message: self.message,
        })
    }
}
