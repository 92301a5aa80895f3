//! An answer of the API as rows: whatever shape it has.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::{Map, Value};

use super::mask::mask;
use crate::{
    error::ToolError,
    report::{Cell, Paging, Report, Table},
};

/// How many columns are shown unless `fields` says which.
const COLUMNS: usize = 14;
/// The longest text of a cell that is a list or an object.
const NESTED: usize = 240;
/// From how many characters on a text is no cell but a block.
const BLOCK: usize = 300;
/// How deep an object is taken apart.
const DEPTH: usize = 3;

/// What a row is known by comes first.
const FIRST: &[&str] = &[
    "id", "vmid", "name", "node", "storage", "store", "userid", "upid", "volid", "iface", "key",
    "path", "type", "status", "state",
];

/// What of an answer is shown.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) fields: Vec<String>,
    pub(super) filter: Vec<Condition>,
    pub(super) limit: usize,
    pub(super) paging: Option<Paging>,
}

/// A condition on a row.
#[derive(Debug, PartialEq)]
pub(super) struct Condition {
    key: String,
    operator: Operator,
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Operator {
    Is,
    IsNot,
    Contains,
    Above,
    AtLeast,
    Below,
    AtMost,
}

/// The operators as they are written; the longer ones first.
const OPERATORS: &[(&str, Operator)] = &[
    ("!=", Operator::IsNot),
    (">=", Operator::AtLeast),
    ("<=", Operator::AtMost),
    ("=", Operator::Is),
    ("~", Operator::Contains),
    (">", Operator::Above),
    ("<", Operator::Below),
];

// === impl Condition ===

impl Condition {
    /// Reads conditions: `status=running,mem>1000,name~web`, and a bare word that any field has.
    pub(super) fn parse(text: &str) -> Result<Vec<Self>, ToolError> {
        let pieces = text.split(',').map(str::trim).filter(|piece| !piece.is_empty());
        pieces.map(Self::one).collect()
    }

    fn one(piece: &str) -> Result<Self, ToolError> {
        let place = |(sign, operator): &(&str, Operator)| {
            piece.find(sign).map(|at| (at, sign.len(), *operator))
        };
        let found = OPERATORS.iter().filter_map(place);
        // The first sign counts, and of two at the same place the longer one.
        let found = found.min_by_key(|(at, length, _)| (*at, usize::MAX - length));
        let Some((at, length, operator)) = found else {
            let value = piece.to_lowercase();
            return Ok(Self { key: String::new(), operator: Operator::Contains, value });
        };
        let (key, value) = (piece[..at].trim(), piece[at + length..].trim());
        if key.is_empty() {
            return Err(ToolError::new(
                "filter takes conditions such as status=running,name~web,mem>1000",
            ));
        }
        Ok(Self { key: key.to_owned(), operator, value: value.to_lowercase() })
    }

    fn holds(&self, row: &Value) -> bool {
        if self.key.is_empty() {
            return row.to_string().to_lowercase().contains(&self.value);
        }
        let found =
            row.get(&self.key).or_else(|| row.pointer(&format!("/{}", self.key.replace('.', "/"))));
        let text = found.map(plain).unwrap_or_default().to_lowercase();
        let compared = || {
            let (found, wanted) = (text.parse::<f64>().ok()?, self.value.parse::<f64>().ok()?);
            found.partial_cmp(&wanted)
        };
        match self.operator {
            Operator::Is => text == self.value || compared().is_some_and(std::cmp::Ordering::is_eq),
            Operator::IsNot => text != self.value,
            Operator::Contains => text.contains(&self.value),
            Operator::Above => compared().is_some_and(std::cmp::Ordering::is_gt),
            Operator::AtLeast => compared().is_some_and(std::cmp::Ordering::is_ge),
            Operator::Below => compared().is_some_and(std::cmp::Ordering::is_lt),
            Operator::AtMost => compared().is_some_and(std::cmp::Ordering::is_le),
        }
    }
}

/// What an answer comes to, in a few words, and the answer itself as rows or text.
pub(super) fn show(
    mut report: Report,
    path: &str,
    mut value: Value,
    wanted: Wanted,
) -> (String, Report) {
    mask(path, &mut value);
    match value {
        Value::Null => ("nothing".to_owned(), report),
        Value::Array(items) => list(report, items, wanted),
        Value::Object(fields) => object(report, fields, &wanted),
        Value::String(text) if text.len() > BLOCK || text.contains('\n') => {
            let said = format!("a text of {} characters", text.chars().count());
            (said, report.untrusted("text", text))
        }
        scalar => {
            report = report.fact("value", scalar.clone());
            (stdx::untrusted::line(&plain(&scalar), BLOCK).into_owned(), report)
        }
    }
}

fn list(mut report: Report, mut items: Vec<Value>, mut wanted: Wanted) -> (String, Report) {
    let all = items.len();
    items.retain(|item| wanted.filter.iter().all(|condition| condition.holds(item)));
    let total = items.len();
    let said = match (wanted.filter.is_empty(), total) {
        (true, 0) => "an empty list".to_owned(),
        (true, 1) => "1 row".to_owned(),
        (true, _) => format!("{total} rows"),
        (false, _) => format!("{total} of {all} rows fit the filter"),
    };
    report = report.fact("count", total);
    if all == 0 {
        report = report.note("empty can mean that there is none, or none that the token may see");
    }
    let offset = wanted.paging.as_ref().map_or(0, |paging| paging.offset);
    let items: Vec<Value> = items.into_iter().skip(offset).take(wanted.limit).collect();
    if let Some(lines) = lines_of(&items) {
        if offset + items.len() < total
            && let Some(paging) = wanted.paging.take()
        {
            report.next.push(next_page(&paging, offset + items.len()));
        }
        return (said, if lines.is_empty() { report } else { report.untrusted("lines", lines) });
    }
    let mut table = if items.iter().all(Value::is_object) && !items.is_empty() {
        let (columns, left_out) = columns_of(&items, &wanted.fields);
        if !left_out.is_empty() {
            report =
                report.note(format!("more fields: {}; choose with fields", left_out.join(", ")));
        }
        let mut table = Table::new("rows", &[]);
        table.columns = columns.iter().cloned().map(Cow::Owned).collect();
        for item in &items {
            table.rows.push(columns.iter().map(|column| cell(field(item, column))).collect());
        }
        table
    } else {
        let mut table = Table::new("rows", &["value"]);
        table.rows.extend(items.iter().map(|item| vec![cell(Some(item))]));
        table
    };
    table.total = Some(total);
    table.paging = wanted.paging;
    (said, if table.rows.is_empty() { report } else { report.table(table) })
}

fn next_page(paging: &Paging, shown: usize) -> crate::report::Next {
    let mut args = paging.args.clone();
    let cursor = crate::cursor::encode(shown, &paging.args);
    args.insert("cursor".to_owned(), Value::String(cursor));
    crate::report::Next { tool: paging.tool, args }
}

/// Logs are lists of numbered lines, or of sentences; they read better as text.
fn lines_of(items: &[Value]) -> Option<String> {
    let line = |item: &Value| match item {
        Value::String(text) => Some(text.clone()),
        Value::Object(fields) if fields.len() == 2 && fields.contains_key("n") => {
            Some(fields.get("t")?.as_str()?.to_owned())
        }
        _ => None,
    };
    let lines: Option<Vec<String>> = items.iter().map(line).collect();
    let lines = lines.filter(|lines| !lines.is_empty())?;
    let are_words =
        items.iter().all(Value::is_string) && !lines.iter().any(|line| line.contains(' '));
    (!are_words).then(|| lines.join("\n"))
}

/// The columns of a list: those that were asked for, or the ones that tell most.
fn columns_of(items: &[Value], fields: &[String]) -> (Vec<String>, Vec<String>) {
    if !fields.is_empty() {
        return (fields.to_vec(), Vec::new());
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for name in items.iter().filter_map(Value::as_object).flat_map(Map::keys) {
        *counts.entry(name).or_default() += 1;
    }
    let mut names: Vec<_> = counts.into_iter().collect();
    names.sort_by_key(|(name, count)| {
        let first = FIRST.iter().position(|first| first == name).unwrap_or(FIRST.len());
        (first, std::cmp::Reverse(*count))
    });
    let mut names: Vec<String> =
        names.into_iter().map(|(name, _)| stdx::untrusted::line(name, 60).into_owned()).collect();
    let left_out = names.split_off(names.len().min(COLUMNS));
    (names, left_out)
}

fn field<'a>(item: &'a Value, name: &str) -> Option<&'a Value> {
    item.get(name).or_else(|| item.pointer(&format!("/{}", name.replace('.', "/"))))
}

fn object(mut report: Report, fields: Map<String, Value>, wanted: &Wanted) -> (String, Report) {
    let mut flat = Vec::new();
    flatten(String::new(), Value::Object(fields), DEPTH, &mut flat);
    let is_wanted = |name: &str| {
        let fits = |field: &String| {
            name == field
                || name.strip_prefix(field.as_str()).is_some_and(|rest| rest.starts_with('.'))
        };
        wanted.fields.is_empty() || wanted.fields.iter().any(fits)
    };
    flat.retain(|(name, value)| {
        is_wanted(name)
            && wanted.filter.iter().all(|condition| {
                let mut row = Map::new();
                row.insert(name.clone(), value.clone());
                condition.holds(&Value::Object(row))
            })
    });
    let mut table = Table::new("rows", &["field", "value"]);
    let count = flat.len();
    let offset = wanted.paging.as_ref().map_or(0, |paging| paging.offset);
    for (name, value) in flat.into_iter().skip(offset).take(wanted.limit) {
        match value {
            Value::String(text) if text.len() > BLOCK || text.contains('\n') => {
                report = report.untrusted(name, text);
            }
            value => table.push(vec![Cell::text(name), cell(Some(&value))]),
        }
    }
    table.total = wanted.paging.is_some().then_some(count);
    table.paging.clone_from(&wanted.paging);
    let said = if count == 1 { "1 field".to_owned() } else { format!("{count} fields") };
    report = report.fact("count", count);
    (said, if table.rows.is_empty() { report } else { report.table(table) })
}

/// Takes objects inside of objects apart: `memory.total`.
fn flatten(name: String, value: Value, depth: usize, out: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(fields) if depth > 0 && !fields.is_empty() => {
            let mut fields: Vec<_> = fields.into_iter().collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            for (key, value) in fields {
                let name = if name.is_empty() { key } else { format!("{name}.{key}") };
                flatten(name, value, depth - 1, out);
            }
        }
        value => out.push((name, value)),
    }
}

fn cell(value: Option<&Value>) -> Cell {
    match value {
        None | Some(Value::Null) => Cell::none(),
        // Whose words these are is not known here, so they are somebody else's.
        Some(Value::String(text)) if text.trim().contains(char::is_whitespace) => {
            Cell::foreign(text.as_str())
        }
        Some(Value::String(text)) => Cell::text(text.as_str()),
        Some(nested @ (Value::Array(_) | Value::Object(_))) => {
            Cell::text(stdx::untrusted::line(&nested.to_string(), NESTED))
        }
        Some(scalar) => Cell::number(scalar.clone()),
    }
}

/// A value as it reads without quotes.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Bool(set) => u8::from(*set).to_string(),
        other => other.to_string(),
    }
}
