//! Renders a report within its ceiling.

use std::{borrow::Cow, fmt::Write as _};

use serde_json::{Map, Value, json};

use super::{CLOSE, Cell, OPEN, Paging, Rendered, Report, Table};
use crate::cursor;

/// Room kept for the line that says what was left out.
const RESERVE: usize = 320;

pub(super) fn render(mut report: Report, ceiling: usize) -> Rendered {
    fit_untrusted(&mut report, ceiling);
    // Rows are what grows: take as many as fit, then say how to get the rest.
    let frame = text_of(&report, &[]).len().max(object_size(&report));
    let mut room = ceiling.saturating_sub(frame + RESERVE);
    let mut next = std::mem::take(&mut report.next);
    let mut lines = Vec::with_capacity(report.tables.len());
    for table in &mut report.tables {
        let (fits, used, text) = rows_that_fit(table, room);
        lines.push(text);
        room = room.saturating_sub(used);
        let left = table.rows.len() - fits;
        table.rows.truncate(fits);
        let shown = table.paging.as_ref().map_or(0, |paging| paging.offset) + table.rows.len();
        let total = table.total.unwrap_or(shown + left);
        if total > shown || table.more {
            table.total = (!table.more).then_some(total);
            match &table.paging {
                Some(paging) => next.insert(0, next_page(paging, shown)),
                None if table.more => report.notes.push(format!(
                    "{} has more rows than these; narrow the question for the rest",
                    table.name
                )),
                None => report.notes.push(format!(
                    "{} shows {shown} of {total} rows; narrow the question for the rest",
                    table.name
                )),
            }
        }
    }
    report.next = next;
    let text = text_of(&report, &lines);
    drop(lines);
    let rows = report.tables.iter_mut().map(|table| values_of(std::mem::take(&mut table.rows)));
    let rows = rows.collect();
    let structured = cap_object(object_of(&report, rows), ceiling);
    Rendered { text: cap_text(text, ceiling), structured }
}

/// The last resort for a text that is all notes and details: its end is cut, and that is said.
fn cap_text(mut text: String, ceiling: usize) -> String {
    if text.len() > ceiling {
        let said = "\n[the rest is left out: narrow the question]";
        let room = ceiling.saturating_sub(said.len() + CLOSE.len() + 1);
        text.truncate(floor_boundary(&text, room));
        // Neither mark occurs inside of a block, so the last one tells whether it was cut open.
        if text.rfind(OPEN) > text.rfind(CLOSE) {
            text.push('\n');
            text.push_str(CLOSE);
        }
        text.push_str(said);
    }
    text
}

/// The same for the object: its largest members go, and their names are said.
fn cap_object(mut object: Map<String, Value>, ceiling: usize) -> Map<String, Value> {
    let mut left_out = Vec::new();
    while json_size(&object) > ceiling {
        let sizes = object.iter().filter(|(key, _)| *key != "left_out");
        let Some((key, _)) = sizes.max_by_key(|(_, value)| json_size(value)) else { break };
        let key = key.clone();
        object.shift_remove(&key);
        left_out.push(key);
        object.insert("left_out".to_owned(), json!(left_out));
    }
    object
}

fn next_page(paging: &Paging, shown: usize) -> super::Next {
    let mut args = paging.args.clone();
    let cursor = cursor::encode(shown, &paging.args);
    args.insert("cursor".to_owned(), Value::String(cursor));
    super::Next { tool: paging.tool, args }
}

/// How many of the table's rows fit into `room`, in the larger of both forms, what they take, and
/// their lines, each after a line break.
fn rows_that_fit(table: &Table, room: usize) -> (usize, usize, String) {
    let mut lines = String::new();
    let mut object = 0;
    for (index, row) in table.rows.iter().enumerate() {
        let before = lines.len();
        lines.push('\n');
        write_line(&mut lines, row);
        object += row.iter().map(|cell| json_size(cell.value()) + 1).sum::<usize>() + 2;
        if lines.len().max(object) > room {
            lines.truncate(before);
            return (index, room, lines);
        }
    }
    let used = lines.len().max(object);
    (table.rows.len(), used, lines)
}

/// How many of the table's rows an answer of `room` bytes holds.
pub(super) fn fitting(table: &Table, room: usize) -> usize {
    rows_that_fit(table, room).0
}

fn values_of(rows: Vec<Vec<Cell>>) -> Vec<Value> {
    let values = |row: Vec<Cell>| row.into_iter().map(Cell::into_value).collect();
    rows.into_iter().map(|row| Value::Array(values(row))).collect()
}

/// Cuts the middle out of long untrusted text: causes stand at the start or at the end of a log.
fn fit_untrusted(report: &mut Report, ceiling: usize) {
    let count = report.untrusted.len().max(1);
    let each = ceiling / 2 / count;
    for part in &mut report.untrusted {
        part.text = stdx::untrusted::text(&part.text, usize::MAX).into_owned();
        if let Cow::Owned(blunt) = stdx::untrusted::blunt(&part.text) {
            part.text = blunt;
        }
        if part.text.len() > each {
            let head = floor_boundary(&part.text, each / 4);
            let tail = ceil_boundary(&part.text, part.text.len() - (each / 4) * 3);
            let cut = tail - head;
            part.text =
                format!("{}\n[{cut} bytes left out]\n{}", &part.text[..head], &part.text[tail..]);
        }
    }
}

fn floor_boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn ceil_boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

fn write_line(out: &mut String, row: &[Cell]) {
    for (index, cell) in row.iter().enumerate() {
        if index > 0 {
            out.push(' ');
        }
        cell.print(out, index + 1 == row.len());
    }
}

/// The text; `lines` are those of each table's rows.
fn text_of(report: &Report, lines: &[String]) -> String {
    let mut out = report.lead.clone();
    for part in &report.unreachable {
        let _ = write!(out, "\nunreachable: {} ({})", part.what, part.why);
    }
    for (key, cell) in &report.details {
        let _ = write!(out, "\n{key}: ");
        cell.print(&mut out, true);
    }
    for (index, table) in report.tables.iter().enumerate() {
        if table.rows.is_empty() {
            continue;
        }
        out.push('\n');
        out.push_str(&table.columns.join(" "));
        out.push_str(lines.get(index).map_or("", String::as_str));
    }
    for note in &report.notes {
        out.push_str("\nnote: ");
        out.push_str(note);
    }
    for part in &report.untrusted {
        let end = if part.text.ends_with('\n') { "" } else { "\n" };
        let _ = write!(out, "\n{OPEN} {}\n{}{end}{CLOSE}", part.label, part.text);
    }
    for next in &report.next {
        let _ = write!(out, "\nnext: {} {}", next.tool, Value::Object(next.args.clone()));
    }
    out
}

/// The object; `rows` are those of each table.
fn object_of(report: &Report, rows: Vec<Vec<Value>>) -> Map<String, Value> {
    let mut rows = rows.into_iter();
    let mut out = report.facts.clone();
    for (key, cell) in &report.details {
        out.insert((*key).to_owned(), cell.value().clone());
    }
    for table in &report.tables {
        let mut object = Map::new();
        object.insert("columns".to_owned(), json!(table.columns));
        object.insert("rows".to_owned(), Value::Array(rows.next().unwrap_or_default()));
        if let Some(total) = table.total {
            object.insert("total".to_owned(), json!(total));
        }
        out.insert(table.name.to_owned(), Value::Object(object));
    }
    let list = |items: Vec<Value>| Value::Array(items);
    if !report.unreachable.is_empty() {
        let parts = report.unreachable.iter();
        let parts = parts.map(|part| json!({"what": part.what, "why": part.why}));
        out.insert("unreachable".to_owned(), list(parts.collect()));
    }
    if !report.notes.is_empty() {
        out.insert("notes".to_owned(), json!(report.notes));
    }
    if !report.untrusted.is_empty() {
        let parts = report.untrusted.iter();
        let parts = parts.map(|part| json!({"label": part.label, "text": part.text}));
        out.insert("untrusted".to_owned(), list(parts.collect()));
    }
    if !report.next.is_empty() {
        let calls = report.next.iter();
        let calls = calls.map(|next| json!({"tool": next.tool, "args": next.args}));
        out.insert("next".to_owned(), list(calls.collect()));
    }
    out
}

/// The size of the object without any rows.
fn object_size(report: &Report) -> usize {
    json_size(&Value::Object(object_of(report, Vec::new())))
}

fn json_size(value: &impl serde::Serialize) -> usize {
    /// Counts instead of writing.
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    serde_json::to_writer(&mut count, value)
        .expect("a JSON value serializes, and counting cannot fail");
    count.0
}
