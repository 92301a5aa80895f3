//! Lists of what went on: the daily one, that of a flood, and what is so at the first start.

use std::{collections::BTreeMap, fmt::Write as _};

use event_core::{ComponentId, DeliveryKey, Severity, Stand};
use jiff::civil::Weekday;

use crate::{
    Decision, Deliver, Incident, IncidentId, Status,
    decision::titles,
    engine::{Due, Step},
    message,
};

/// The most incidents of one list.
const MOST: usize = 30;

// === impl Step ===

impl Step<'_> {
    /// Puts the next daily digest at its time: by the clock on the wall, so that a change of the clock
    /// moves it along.
    pub(crate) fn schedule_digest(&mut self) {
        let rules = self.rules;
        let local = self.now.to_zoned(rules.zone.clone());
        let mut day = local.date();
        for _ in 0..3 {
            let at = day.to_datetime(rules.digest).to_zoned(rules.zone.clone());
            if let Ok(at) = at
                && at > local
            {
                return self.schedule(at.timestamp(), Due::Digest);
            }
            day = day.tomorrow().unwrap_or(day);
        }
    }

    /// The daily digest: also when all is well, so that silence means something.
    pub(crate) fn digest(&mut self) {
        let since = self.state.digested.replace(self.now).unwrap_or(self.now);
        let local = self.now.to_zoned(self.rules.zone.clone());
        let noted = std::mem::take(&mut self.state.noted);
        let mut notes: BTreeMap<&str, usize> =
            noted.iter().map(|(kind, count)| (kind.as_str(), *count)).collect();
        let (mut open, mut over, mut passed) = (Vec::new(), Vec::new(), Vec::new());
        for incident in self.state.incidents.iter() {
            let is_told = incident.told().is_some();
            match incident.status(self.now) {
                Status::Note if incident.heard() > since => {
                    *notes.entry(incident.lead().kind.as_str()).or_default() += 1;
                }
                Status::Open | Status::Flapping => open.push(incident),
                Status::Resolved if self.ended_since(incident, since) => {
                    if is_told { &mut over } else { &mut passed }.push(incident);
                }
                _ => {}
            }
        }
        let mut text = String::new();
        list(&mut text, "Open", &open);
        list(&mut text, "Over since the last digest", &over);
        list(&mut text, "Came and went before anybody was told", &passed);
        if local.weekday() == Weekday::Monday {
            self.uncovered(&mut text);
        }
        if !notes.is_empty() {
            text.push_str("What went on:\n");
            for (kind, count) in notes {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "- {count} x {kind}");
            }
        }
        let title = match (open.len(), over.len() + passed.len()) {
            (0, 0) => "all is well".to_owned(),
            (0, over) => format!("all is well; {over} over since yesterday"),
            (open, over) => format!("{open} open, {over} over since yesterday"),
        };
        let severity = if open.is_empty() { Severity::Info } else { Severity::Notice };
        let date = local.date().to_string();
        let wanted: Vec<ComponentId> = self
            .rules
            .outputs
            .iter()
            .filter(|(_, config)| config.digest)
            .map(|(output, _)| output.clone())
            .collect();
        for output in wanted {
            self.deliver_list(&output, "digest", &date, severity, title.clone(), text.clone());
        }
    }

    fn ended_since(&self, incident: &Incident, since: jiff::Timestamp) -> bool {
        let noticed = self.state.telling.get(&incident.id()).and_then(|it| it.ended);
        noticed.is_some_and(|at| at > since)
    }

    /// Guests that no job backs up: once a week, not every night.
    fn uncovered(&self, text: &mut String) {
        let guests = self.state.watch.uncovered();
        if guests.is_empty() {
            return;
        }
        let _ = writeln!(text, "In no backup job:");
        for guest in guests.iter().take(MOST) {
            let _ = writeln!(text, "- {}", guest.label());
        }
        if let Some(more @ 1..) = guests.len().checked_sub(MOST) {
            let _ = writeln!(text, "- and {more} more");
        }
    }

    /// What an output was not told of one by one.
    pub(crate) fn sum_up(&mut self, output: &ComponentId) {
        let ids = self.state.floods.remove(output).unwrap_or_default();
        let is_open =
            |it: &&Incident| matches!(it.status(self.now), Status::Open | Status::Flapping);
        let incidents = ids.into_iter().filter_map(|id| self.state.incidents.get(id));
        // What is silenced by now waits with what else is.
        let (held, open): (Vec<&Incident>, Vec<&Incident>) =
            incidents.filter(is_open).partition(|it| self.kept_back(it, output).is_some());
        let ids = |all: Vec<&Incident>| all.into_iter().map(Incident::id).collect::<Vec<_>>();
        let (held, open) = (ids(held), ids(open));
        for id in held {
            self.schedule(self.now, Due::Review(id));
        }
        let title = format!("{} more incidents", open.len());
        self.deliver_incidents(output, "flood", &open, title);
    }

    /// The present state, taken as what is known from now on.
    pub(crate) fn sum_up_existing(&mut self) {
        if !std::mem::take(&mut self.state.existing) {
            return;
        }
        let existing = |id: &IncidentId| self.state.telling.get(id).is_some_and(|it| it.existing);
        let open: Vec<IncidentId> =
            self.state.incidents.open().map(Incident::id).filter(existing).collect();
        let title = match open.len() {
            0 => "watching; nothing is wrong".to_owned(),
            wrong => format!("watching; {wrong} wrong already"),
        };
        let outputs: Vec<ComponentId> = self.rules.outputs.keys().cloned().collect();
        for output in outputs {
            self.deliver_incidents(&output, "start", &open, title.clone());
        }
    }

    /// A list of incidents instead of a message for each.
    fn deliver_incidents(
        &mut self,
        output: &ComponentId,
        what: &str,
        ids: &[IncidentId],
        title: String,
    ) {
        if ids.is_empty() && what == "flood" {
            return;
        }
        let incidents: Vec<&Incident> =
            ids.iter().filter_map(|id| self.state.incidents.get(*id)).collect();
        let severity = incidents.iter().map(|it| it.severity()).max().unwrap_or(Severity::Info);
        let mut text = String::new();
        list(&mut text, "Wrong now", &incidents);
        for id in ids {
            self.state.incidents.tell(*id, self.now);
            let Some(incident) = self.state.incidents.get(*id) else { continue };
            if let Some(telling) = self.state.telling.get_mut(&incident.id()) {
                telling.list(output, incident, self.now);
                telling.existing = false;
            }
        }
        let moment = self.now.to_string();
        self.deliver_list(output, what, &moment, severity, title, text);
        for id in ids {
            self.schedule(self.now, Due::Review(*id));
        }
    }

    fn deliver_list(
        &mut self,
        output: &ComponentId,
        what: &str,
        which: &str,
        severity: Severity,
        title: String,
        text: String,
    ) {
        let mut message = message::digest(output, severity, title, text, self.now);
        // A daily list that wakes nobody; of a flood and a start people are to know.
        message.silent = what == "digest" && severity < Severity::Warning;
        debug_assert_eq!(message.stand, Stand::Digest);
        let key = DeliveryKey::of([what, which, output.as_str()]);
        let deliver = Deliver { output: output.clone(), incident: None, key, message };
        self.out.push(Decision::Deliver(Box::new(deliver)));
    }
}

fn list(text: &mut String, head: &str, incidents: &[&Incident]) {
    if incidents.is_empty() {
        return;
    }
    let (lines, more) = titles(incidents.iter().copied(), MOST);
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{head}:\n{}", lines.join("\n"));
    if more > 0 {
        let _ = writeln!(text, "- and {more} more");
    }
}
