//! What a stretch of the log led to, gathered until it is kept as one step.

use std::collections::{BTreeMap, BTreeSet, hash_map::DefaultHasher};
use std::hash::{Hash as _, Hasher as _};

use event_core::{ComponentId, EventId};
use jiff::Timestamp;
use rules::{Decision, Incident, IncidentId, Incidents, Status};
use serde_json::json;
use store::{Merge, NewDelivery, Said, Step};

/// The reader of the log that the rules are, by the name of its mark.
pub(crate) const READER: &str = "rules";

/// A step in the making.
#[derive(Default)]
pub(crate) struct Draft {
    pub(crate) step: Step,
    touched: BTreeSet<IncidentId>,
    /// What keeps people from being told, by incident and output.
    holds: BTreeMap<IncidentId, BTreeMap<ComponentId, String>>,
    /// Events that a line dropped.
    pub(crate) dropped: Vec<EventId>,
}

/// Incidents as the store has them: those that are open, and what was last written of each.
#[derive(Default)]
pub(crate) struct Written(BTreeMap<IncidentId, Row>);

/// What was written of an incident, and of what that was made.
struct Row {
    hash: u64,
    changes: u64,
    status: Status,
}

// === impl Draft ===

impl Draft {
    /// Takes up what the rules decided.
    pub(crate) fn take(&mut self, decisions: Vec<Decision>) {
        for decision in decisions {
            match decision {
                Decision::Taken { event, incident, .. } => {
                    self.touched.insert(incident);
                    self.step.reports.push((event, incident.to_string()));
                }
                Decision::Dropped { event, .. } => self.dropped.push(event),
                Decision::Merged { from, into } => {
                    self.touched.insert(into);
                    let (from, into) = (from.to_string(), into.to_string());
                    self.step.merges.push(Merge { from, into });
                }
                Decision::Deliver(deliver) => {
                    let incident = deliver.incident.map(|it| it.to_string());
                    self.touched.extend(deliver.incident);
                    self.step.deliveries.push(NewDelivery {
                        lane: incident
                            .clone()
                            .unwrap_or_else(|| format!("alone/{}", deliver.key.as_str())),
                        key: deliver.key,
                        output: deliver.output,
                        incident,
                        made: deliver.message.written,
                        due: deliver.message.written,
                        message: deliver.message,
                    });
                }
                Decision::Hold { incident, output, by, until } => {
                    self.touched.insert(incident);
                    let until = until.map(|at| format!(", until {at}")).unwrap_or_default();
                    let holds = self.holds.entry(incident).or_default();
                    holds.insert(output, format!("{by}{until}"));
                }
                Decision::Passed { incident } => drop(self.touched.insert(incident)),
                Decision::Raise(event) => {
                    self.step.raised.push(std::sync::Arc::unwrap_or_clone(event));
                }
                // A kind of decision that this does not know makes nothing that is kept.
                _ => {}
            }
        }
    }

    /// An incident that somebody spoke of.
    pub(crate) fn touch(&mut self, incident: IncidentId) {
        self.touched.insert(incident);
    }

    /// Adds the incidents that are not as they were last written.
    pub(crate) fn look_at(&mut self, incidents: &Incidents, written: &mut Written, now: Timestamp) {
        let touched = std::mem::take(&mut self.touched);
        let mut all = touched.clone();
        all.extend(incidents.open().map(Incident::id));
        all.extend(written.0.keys());
        for id in all {
            let Some(incident) = incidents.get(id).filter(|it| it.id() == id) else {
                written.0.remove(&id);
                continue;
            };
            let (changes, status) = (incident.changes(), incident.status(now));
            let before = written.0.get(&id);
            let is_same = |row: &Row| row.changes == changes && row.status == status;
            // There may be many that are open, and of most there is nothing new.
            if !touched.contains(&id) && before.is_some_and(is_same) {
                continue;
            }
            let holds = self.holds.get(&id);
            let row = row(incident, now, holds);
            let mut hasher = DefaultHasher::new();
            let plain = store::Incident { updated: Timestamp::UNIX_EPOCH, ..row.clone() };
            format!("{plain:?}").hash(&mut hasher);
            let hash = hasher.finish();
            if before.is_none_or(|row| row.hash != hash) {
                self.step.incidents.push(row);
            }
            if status == Status::Note || status == Status::Resolved {
                written.0.remove(&id);
            } else {
                written.0.insert(id, Row { hash, changes, status });
            }
        }
    }

    /// Whether anything would be written beside the mark.
    pub(crate) fn is_empty(&self) -> bool {
        let it = &self.step;
        it.raised.is_empty()
            && it.incidents.is_empty()
            && it.reports.is_empty()
            && it.merges.is_empty()
            && it.deliveries.is_empty()
            && it.journal.is_empty()
            && it.silences.is_empty()
    }
}

fn row(
    incident: &Incident,
    now: Timestamp,
    holds: Option<&BTreeMap<ComponentId, String>>,
) -> store::Incident {
    let lead = incident.lead();
    let status = incident.status(now);
    let said = |word: &rules::Word| Said { by: word.by.clone(), at: word.at };
    let problems = incident.problems().iter().filter(|it| !it.is_summary).map(|it| {
        json!({
            "title": it.lead.title, "kind": it.lead.kind.as_str(),
            "severity": it.lead.severity.as_str(), "where": it.lead.subject.label(),
            "began": it.began.to_string(), "last": it.last.to_string(), "times": it.times,
            "over": it.over.as_ref().map(|event| event.time.to_string()),
        })
    });
    store::Incident {
        id: incident.id().to_string(),
        opened: incident.opened(),
        updated: now,
        ended: incident.ended().filter(|_| status == Status::Resolved),
        is_open: matches!(status, Status::Open | Status::Flapping),
        status: status.as_str().to_owned(),
        severity: incident.severity(),
        kind: lead.kind.as_str().to_owned(),
        title: lead.title.clone(),
        cluster: lead.subject.cluster.as_ref().map(ToString::to_string),
        node: lead.subject.node.as_ref().map(ToString::to_string),
        vmid: lead.subject.vmid.map(estate::VmId::get),
        reports: incident.count(),
        acknowledged: incident.acknowledged().map(said),
        closed: incident.closed().map(said),
        merged_into: None,
        doc: json!({
            "began": incident.began().to_string(),
            "told": incident.told().map(|at| at.to_string()),
            "problems": problems.take(50).collect::<Vec<_>>(),
            "held": holds.map(|holds| {
                let holds = holds.iter().map(|(output, by)| (output.to_string(), by.clone().into()));
                holds.collect::<serde_json::Map<_, _>>()
            }),
        }),
    }
}
