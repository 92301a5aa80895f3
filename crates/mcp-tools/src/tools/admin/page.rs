//! Pages of rows: what stands out first, then the rest, from where the last page ended.

use mcp_protocol::JsonObject;

use crate::{
    cursor,
    error::ToolError,
    report::{Cell, Paging, Table},
};

/// Where a page begins, and how many rows it has at most.
pub(super) struct Page {
    tool: &'static str,
    query: JsonObject,
    offset: usize,
    limit: Option<usize>,
}

/// Rows of which some stand out.
#[derive(Debug, Default)]
pub(super) struct Rows {
    wrong: Vec<Vec<Cell>>,
    fine: Vec<Vec<Cell>>,
}

// === impl Page ===

impl Page {
    /// The page that the arguments of `tool` ask for.
    pub(super) fn of(
        tool: &'static str,
        args: &JsonObject,
        given: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Self, ToolError> {
        let offset = cursor::decode(given, args).map_err(|why| ToolError::new(why.to_string()))?;
        let mut query = args.clone();
        query.remove("cursor");
        Ok(Self { tool, query, offset, limit })
    }

    /// Puts the page's rows into the table.
    pub(super) fn fill(self, table: &mut Table, rows: Vec<Vec<Cell>>) {
        let total = rows.len();
        let limit = cursor::limit(self.limit, cursor::PAGE);
        for row in rows.into_iter().skip(self.offset).take(limit) {
            table.push(row);
        }
        table.total = Some(total);
        table.paging = Some(Paging { tool: self.tool, args: self.query, offset: self.offset });
    }
}

// === impl Rows ===

impl Rows {
    /// Adds a row; those that are wrong come first.
    pub(super) fn push(&mut self, is_wrong: bool, row: Vec<Cell>) {
        if is_wrong { self.wrong.push(row) } else { self.fine.push(row) }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.wrong.len() + self.fine.len()
    }

    /// How many stand out.
    pub(super) fn wrong(&self) -> usize {
        self.wrong.len()
    }

    /// All of them in their order, or only those that stand out.
    pub(super) fn into_rows(self, all: bool) -> Vec<Vec<Cell>> {
        let fine = if all { self.fine } else { Vec::new() };
        self.wrong.into_iter().chain(fine).collect()
    }
}
