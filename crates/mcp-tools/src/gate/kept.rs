//! Calls and answers as they are kept for later.

use std::borrow::Cow;

use guard::ports::KeptCall;
use mcp_protocol::JsonObject;
use serde_json::{Value, json};

use crate::report::{Cell, Report, Table};

/// What the tables of a kept answer are called: their own names are not kept.
const TABLES: [&str; 3] = ["rows", "rows_2", "rows_3"];

/// A call of one of our tools.
pub(super) fn call((tool, arguments): (&'static str, JsonObject)) -> KeptCall {
    KeptCall { tool: tool.to_owned(), arguments }
}

/// An answer, redacted already.
pub(super) fn write(report: &Report, failed: bool) -> Value {
    let tables: Vec<Value> = report
        .tables
        .iter()
        .take(TABLES.len())
        .map(|table| {
            let row = |row: &Vec<Cell>| row.iter().map(|it| it.value().clone()).collect::<Vec<_>>();
            let rows: Vec<_> = table.rows.iter().map(row).collect();
            json!({"columns": table.columns, "rows": rows})
        })
        .collect();
    let untrusted = report.untrusted.iter().map(|part| json!([part.label, part.text]));
    json!({
        "failed": failed,
        "lead": report.lead,
        "facts": report.facts,
        "notes": report.notes,
        "untrusted": untrusted.collect::<Vec<_>>(),
        "tables": tables,
    })
}

/// The answer again, and whether it was a failure.
pub(crate) fn read(kept: &Value) -> (Report, bool) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |name: &str| kept[name].as_array().cloned().unwrap_or_default();
    let mut report = Report::new(text(&kept["lead"]));
    report.facts = kept["facts"].as_object().cloned().unwrap_or_default();
    report.notes = list("notes").iter().map(text).collect();
    for part in list("untrusted") {
        report = report.untrusted(text(&part[0]), text(&part[1]));
    }
    for (name, kept) in TABLES.into_iter().zip(list("tables")) {
        let cells = |row: &Value| row.as_array().cloned().unwrap_or_default();
        let mut table = Table::new(name, &[]);
        table.columns = cells(&kept["columns"]).iter().map(|it| Cow::Owned(text(it))).collect();
        let width = table.columns.len();
        for row in kept["rows"].as_array().into_iter().flatten() {
            let row: Vec<Cell> = cells(row).into_iter().map(cell).collect();
            if row.len() == width {
                table.push(row);
            }
        }
        report = report.table(table);
    }
    if let Some(id) = report.facts.get("confirm_id").cloned() {
        report = report.next("change_confirm", json!({"confirm_id": id}));
    }
    (report, kept["failed"] == true)
}

fn cell(value: Value) -> Cell {
    match value {
        Value::Null => Cell::none(),
        Value::String(text) => Cell::text(text),
        other => {
            let text = other.to_string();
            Cell::with(other, text)
        }
    }
}
