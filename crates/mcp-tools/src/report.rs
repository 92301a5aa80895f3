//! Answers: built once as data, rendered as short text for the model and as an object for programs.
//!
//! The text leads with the answer: a sentence, what is unreachable, then rows under one header
//! line. Cells are separated by one blank; no cell but the last of a row contains one, and `-`
//! stands for "nothing". The object says the same with the same rows, so neither is a second copy
//! that costs more than the first.
//!
//! *Invariant:* pure; an answer never exceeds its byte ceiling, and what was left out is said.

mod cell;
mod render;
#[cfg(test)]
mod tests;
mod units;

use std::borrow::Cow;

use serde_json::{Map, Value};

pub use cell::Cell;
pub use units::{age, bytes, percent, rfc3339, span, used_of};

/// What stands around text that nobody vouches for; neither mark can occur anywhere else.
pub(crate) const OPEN: &str = "<<<untrusted";
pub(crate) const CLOSE: &str = "untrusted>>>";

/// What a tool found, before it is rendered.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The answer in a sentence: the tally, or the one fact that was asked for.
    pub lead: String,
    /// The same as data; its keys are the tool's own.
    pub facts: Map<String, Value>,
    /// Facts that are printed as well, one line each: `key: value`.
    pub details: Vec<(&'static str, Cell)>,
    /// Rows.
    pub tables: Vec<Table>,
    /// What the reader must know to take the answer rightly: missing privileges, sources, limits.
    pub notes: Vec<String>,
    /// What did not answer. An answer that lacks a part says so here, always.
    pub unreachable: Vec<Unreachable>,
    /// Text that guests, logs or notes control.
    pub untrusted: Vec<Untrusted>,
    /// The calls that would follow.
    pub next: Vec<Next>,
    /// The job that the work goes on as, for clients that know jobs.
    pub job: Option<std::sync::Arc<str>>,
}

/// Rows under one header.
#[derive(Clone, Debug)]
pub struct Table {
    /// The key in the object, such as `guests`.
    pub name: &'static str,
    /// The header.
    pub columns: Vec<Cow<'static, str>>,
    /// The rows; each as long as the header.
    pub rows: Vec<Vec<Cell>>,
    /// How many rows there are in all when these are a page of them.
    pub total: Option<usize>,
    /// Whether there are rows beyond these although nobody knows how many.
    pub more: bool,
    /// How to get the rows after these, if the table can be paged: the tool, its arguments without
    /// the cursor, and where this page begins.
    pub paging: Option<Paging>,
}

/// What a table needs to offer its next page.
#[derive(Clone, Debug)]
pub struct Paging {
    /// The tool to call again.
    pub tool: &'static str,
    /// Its arguments, without the cursor.
    pub args: Map<String, Value>,
    /// The index of the first row of this page.
    pub offset: usize,
}

/// A part of the estate that did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreachable {
    /// The settings key, with `/node` where only a node is meant.
    pub what: String,
    /// Why, in the error's words.
    pub why: String,
}

/// Text from inside the estate that nobody vouches for.
#[derive(Clone, Debug)]
pub struct Untrusted {
    /// What it is, such as `log of UPID:…`.
    pub label: String,
    /// The text.
    pub text: String,
}

/// A call that would follow.
#[derive(Clone, Debug)]
pub struct Next {
    /// The tool.
    pub tool: &'static str,
    /// Its arguments, filled in.
    pub args: Map<String, Value>,
}

/// The two forms of an answer.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// For the model.
    pub text: String,
    /// For programs.
    pub structured: Map<String, Value>,
}

// === impl Report ===

impl Report {
    /// A report that begins with `lead`.
    pub fn new(lead: impl Into<String>) -> Self {
        Self { lead: lead.into(), ..Self::default() }
    }

    /// Adds a fact for programs.
    #[must_use]
    pub fn fact(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.facts.insert(key.to_owned(), value.into());
        self
    }

    /// Adds a fact that is printed as well; nothing if there is none.
    #[must_use]
    pub fn detail(mut self, key: &'static str, cell: impl Into<Cell>) -> Self {
        let cell = cell.into();
        if !cell.is_none() {
            self.details.push((key, cell));
        }
        self
    }

    /// Adds rows.
    #[must_use]
    pub fn table(mut self, table: Table) -> Self {
        self.tables.push(table);
        self
    }

    /// Adds what the reader must know.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Adds parts that did not answer.
    #[must_use]
    pub fn unreachable(mut self, parts: Vec<Unreachable>) -> Self {
        self.unreachable.extend(parts);
        self
    }

    /// Adds text that nobody vouches for.
    #[must_use]
    pub fn untrusted(mut self, label: impl Into<String>, text: impl Into<String>) -> Self {
        self.untrusted.push(Untrusted { label: label.into(), text: text.into() });
        self
    }

    /// Adds a call that would follow.
    #[must_use]
    pub fn next(mut self, tool: &'static str, args: Value) -> Self {
        if let Value::Object(args) = args {
            self.next.push(Next { tool, args });
        }
        self
    }

    /// Cuts tables to these columns, in this order; a table that has none of them stays as it is, and
    /// one that lacks some keeps its first column, which says what its rows are about.
    ///
    /// # Errors
    /// The name that no table has.
    pub fn select(&mut self, fields: &[&str]) -> Result<(), String> {
        let place = |table: &Table, field: &str| table.columns.iter().position(|it| it == field);
        let unknown =
            fields.iter().find(|field| self.tables.iter().all(|it| place(it, field).is_none()));
        if let Some(field) = unknown.filter(|_| !self.tables.is_empty()) {
            return Err((*field).to_owned());
        }
        for table in &mut self.tables {
            let mut chosen: Vec<usize> =
                fields.iter().filter_map(|field| place(table, field)).collect();
            if chosen.is_empty() {
                continue;
            }
            if chosen.len() < fields.len() && !chosen.contains(&0) {
                chosen.insert(0, 0);
            }
            table.columns = chosen.iter().map(|at| table.columns[*at].clone()).collect();
            for row in &mut table.rows {
                *row = chosen.iter().map(|at| row[*at].clone()).collect();
            }
        }
        Ok(())
    }

    /// Renders both forms, neither longer than `ceiling` bytes. Rows that do not fit are left for
    /// the next page, text that does not fit is cut, and both are said.
    pub fn render(self, ceiling: usize) -> Rendered {
        render::render(self, ceiling)
    }
}

impl Table {
    /// An empty table.
    pub fn new(name: &'static str, columns: &[&'static str]) -> Self {
        Self {
            name,
            columns: columns.iter().copied().map(Cow::Borrowed).collect(),
            rows: Vec::new(),
            total: None,
            more: false,
            paging: None,
        }
    }

    /// Adds a row.
    pub fn push(&mut self, row: Vec<Cell>) {
        debug_assert_eq!(row.len(), self.columns.len(), "a row of {} fits its header", self.name);
        self.rows.push(row);
    }

    /// How many of its rows an answer of `room` bytes holds: for lists whose next page begins behind
    /// a row and not at a number.
    pub(crate) fn rows_within(&self, room: usize) -> usize {
        render::fitting(self, room)
    }
}
