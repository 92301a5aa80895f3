//! Renders a report within its ceiling.

use serde_json::{Map, Value, json};

use super::{Paging, Rendered, Report, Table};
use crate::cursor;

/// What stands around text that nobody vouches for. The closing mark cannot occur inside.
const OPEN: &str = "<<<untrusted";
const CLOSE: &str = "untrusted>>>";

/// Room kept for the line that says what was left out.
const RESERVE: usize = 320;

pub(super) fn render(mut report: Report, ceiling: usize) -> Rendered {
    fit_untrusted(&mut report, ceiling);
    // Rows are what grows: take as many as fit, then say how to get the rest.
    let frame = text_of(&report, 0).len().max(object_size(&report, 0));
    let mut room = ceiling.saturating_sub(frame + RESERVE);
    let mut next = std::mem::take(&mut report.next);
    for table in &mut report.tables {
        let (fits, size) = rows_that_fit(table, room);
        room = room.saturating_sub(size);
        let left = table.rows.len() - fits;
        table.rows.truncate(fits);
        let shown = table.paging.as_ref().map_or(0, |paging| paging.offset) + table.rows.len();
        let total = table.total.unwrap_or(shown + left);
        if total > shown {
            table.total = Some(total);
            match &table.paging {
                Some(paging) => next.insert(0, next_page(paging, shown)),
                None => report.notes.push(format!(
                    "{} shows {shown} of {total} rows; narrow the question for the rest",
                    table.name
                )),
            }
        }
    }
    report.next = next;
    let text = text_of(&report, usize::MAX);
    Rendered { text, structured: object_of(&report, usize::MAX) }
}

fn next_page(paging: &Paging, shown: usize) -> super::Next {
    let mut args = paging.args.clone();
    let cursor = cursor::encode(shown, &paging.args);
    args.insert("cursor".to_owned(), Value::String(cursor));
    super::Next { tool: paging.tool, args }
}

/// How many of the table's rows fit into `room`, in the larger of both forms, and what they take.
fn rows_that_fit(table: &Table, room: usize) -> (usize, usize) {
    let (mut text, mut object) = (0, 0);
    for (index, row) in table.rows.iter().enumerate() {
        text += line_of(row).len() + 1;
        object += row.iter().map(|cell| json_size(cell.value()) + 1).sum::<usize>() + 2;
        if text.max(object) > room {
            return (index, room);
        }
    }
    (table.rows.len(), text.max(object))
}

/// Cuts the middle out of long untrusted text: causes stand at the start or at the end of a log.
fn fit_untrusted(report: &mut Report, ceiling: usize) {
    let count = report.untrusted.len().max(1);
    let each = ceiling / 2 / count;
    for part in &mut report.untrusted {
        part.text = stdx::untrusted::text(&part.text, usize::MAX).replace(CLOSE, "untrusted>>");
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

fn line_of(row: &[super::Cell]) -> String {
    let mut line = String::new();
    for (index, cell) in row.iter().enumerate() {
        if index > 0 {
            line.push(' ');
        }
        line.push_str(&cell.print(index + 1 == row.len()));
    }
    line
}

fn text_of(report: &Report, rows: usize) -> String {
    let mut out = report.lead.clone();
    for part in &report.unreachable {
        out.push_str(&format!("\nunreachable: {} ({})", part.what, part.why));
    }
    for (key, cell) in &report.details {
        out.push_str(&format!("\n{key}: {}", cell.print(true)));
    }
    for table in &report.tables {
        if table.rows.is_empty() {
            continue;
        }
        out.push('\n');
        out.push_str(&table.columns.join(" "));
        for row in table.rows.iter().take(rows) {
            out.push('\n');
            out.push_str(&line_of(row));
        }
    }
    for note in &report.notes {
        out.push_str("\nnote: ");
        out.push_str(note);
    }
    for part in &report.untrusted {
        let end = if part.text.ends_with('\n') { "" } else { "\n" };
        out.push_str(&format!("\n{OPEN} {}\n{}{end}{CLOSE}", part.label, part.text));
    }
    for next in &report.next {
        out.push_str(&format!("\nnext: {} {}", next.tool, Value::Object(next.args.clone())));
    }
    out
}

fn object_of(report: &Report, rows: usize) -> Map<String, Value> {
    let mut out = report.facts.clone();
    for (key, cell) in &report.details {
        out.insert((*key).to_owned(), cell.value().clone());
    }
    for table in &report.tables {
        let rows = table
            .rows
            .iter()
            .take(rows)
            .map(|row| Value::Array(row.iter().map(|cell| cell.value().clone()).collect()));
        let mut object = Map::new();
        object.insert("columns".to_owned(), json!(table.columns));
        object.insert("rows".to_owned(), rows.collect());
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

fn object_size(report: &Report, rows: usize) -> usize {
    json_size(&Value::Object(object_of(report, rows)))
}

fn json_size(value: &Value) -> usize {
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
