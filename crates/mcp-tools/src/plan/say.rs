//! A plan in words: the answer to `plan: true`, and the question to a person.

use std::fmt::Write as _;

use estate::Access;
use guard::PlanForm;
use serde_json::json;

use super::Plan;
use crate::{
    redaction::shortened,
    report::{Cell, Report, Table},
};

/// The most characters of one line of a question.
const LINE: usize = 240;

/// The most lines of one part of a question; what is left out is counted.
const LINES: usize = 12;

// === impl Plan ===

impl Plan {
    /// The answer to `plan: true`.
    pub(crate) fn report(&self, form: &PlanForm, access: Access) -> Report {
        let calls = form.calls.len();
        let plural = if calls == 1 { "call" } else { "calls" };
        let mut report =
            Report::new(format!("plan of the {}: {calls} {plural}; nothing was done", self.what))
                .detail("access", Cell::text(access.as_str()))
                .detail("undo", Cell::text(self.undo.sentence()))
                .detail("digest", Cell::text(form.digest().as_str()));
        if let Some(expected) = &self.expected {
            let secs = expected.duration.as_secs();
            report = report.detail("expected", Cell::with(secs, expected.to_string()));
        }
        report.facts.extend(self.facts.clone());
        report = report.fact("status", "planned");
        let mut table = Table::new("calls", &["member", "call", "parameters"]);
        for call in &form.calls {
            let params: Vec<String> =
                call.params.iter().map(|(key, value)| format!("{key}={value}")).collect();
            table.push(vec![
                Cell::text(&call.member),
                Cell::text(format!("{} {}", call.method, call.path)),
                if params.is_empty() { Cell::none() } else { Cell::text(params.join(" ")) },
            ]);
        }
        report = report.table(table);
        if !self.changes.is_empty() {
            let mut table = Table::new("changes", &["what", "before", "after"]);
            for change in &self.changes {
                let cells = [&change.key, &change.before, &change.after];
                table.push(cells.map(Cell::text).into());
            }
            report = report.table(table);
        }
        report.tables.extend(self.tables.iter().cloned());
        if !form.targets.is_empty() {
            report = report.fact("targets", json!(form.targets));
        }
        for effect in &self.effects {
            report = report.note(format!("effect: {effect}"));
        }
        for warning in &self.warnings {
            report = report.note(format!("warning {}: {}", warning.code, warning.text));
        }
        for note in &self.notes {
            report = report.note(note.clone());
        }
        report
    }

    /// The question to a person: what, with which effects, and whether it can be undone.
    ///
    /// Names in it come from inside the estate, so every line is cleaned of what would change how
    /// the question looks.
    pub(crate) fn question(&self, form: &PlanForm, who: &str) -> String {
        let mut text = String::new();
        line(&mut text, &format!("{who} asks for the {}.", self.what));
        list(&mut text, "", self.effects.iter().map(String::as_str));
        let changes = self
            .changes
            .iter()
            .map(|change| format!("{}: {} becomes {}", change.key, change.before, change.after));
        list(&mut text, "Changes", changes);
        list(&mut text, "Warnings", self.warnings.iter().map(|warning| warning.text.as_str()));
        let calls = form.calls.iter().map(|call| {
            let params: Vec<String> =
                call.params.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("{} {} {} {}", call.member, call.method, call.path, params.join(" "))
        });
        list(&mut text, "Calls", calls);
        if let Some(expected) = &self.expected {
            line(&mut text, &format!("Expected to take {expected}."));
        }
        line(&mut text, &format!("Undo: {}.", self.undo.sentence()));
        line(&mut text, &format!("Plan {}.", form.digest().short()));
        text
    }
}

fn list(text: &mut String, title: &str, items: impl ExactSizeIterator<Item = impl AsRef<str>>) {
    let count = items.len();
    if count == 0 {
        return;
    }
    if !title.is_empty() {
        line(text, &format!("{title}:"));
    }
    for item in items.take(LINES) {
        line(text, &format!("- {}", item.as_ref()));
    }
    if count > LINES {
        line(text, &format!("- and {} more", count - LINES));
    }
}

fn line(text: &mut String, given: &str) {
    // Before it is cut, and not after: half a secret is not known for one.
    let given = shortened(given, LINE);
    let _ = writeln!(text, "{given}");
}
