//! The API as the server itself describes it: read once, searched, and used to check calls.
//!
//! [`Schema::parse`] takes what a server publishes for its API viewer and keeps a compact form of
//! it. [`search()`] finds endpoints by words, [`Schema::locate`] by path, and [`Schema::check`] turns
//! a method, a concrete path and parameters into a [`Request`](crate::Request), or into a list of
//! what is wrong with them and what would be right. [`cache`] keeps published texts on disk.
//!
//! ```
//! use api_core::schema::Schema;
//! use serde_json::json;
//!
//! let served = r#"const apiSchema = [{"path": "/nodes/{node}/tasks", "info": {"GET": {
//!     "description": "Read task list.", "parameters": {"additionalProperties": 0, "properties": {
//!         "node": {"type": "string"},
//!         "limit": {"type": "integer", "minimum": 0, "optional": 1}}}}}}]; Ext.onReady();"#;
//! let schema = Schema::parse(served)?;
//!
//! let params = json!({"limit": 5});
//! let call = schema.check("GET", "/nodes/pve1/tasks", params.as_object().unwrap()).unwrap();
//! assert_eq!(call.request.uri(), "/nodes/pve1/tasks?limit=5");
//!
//! let params = json!({"limits": 5});
//! let problems = schema.check("GET", "/nodes/pve1/tasks", params.as_object().unwrap()).unwrap_err();
//! assert_eq!(problems[0].to_string(), "limits: there is no such parameter; did you mean limit?");
//! # Ok::<(), api_core::schema::SchemaError>(())
//! ```
//!
//! *Invariant:* no product's paths or wording: those come with the text.
//! *Invariant:* nothing that a caller writes leaves its path segment: see [`Target`].

pub mod cache;
mod check;
mod format;
mod lines;
mod locate;
mod parse;
mod pattern;
mod problem;
mod property;
mod search;
mod table;
mod target;
mod value;
mod words;

use std::fmt;

pub use self::{
    check::Checked,
    locate::Located,
    problem::{Problem, ProblemKind},
    search::{Hit, search},
    table::Kind,
    target::{InvalidTarget, Target},
};
use self::{
    search::Index,
    table::{EndpointRow, ParamRow, Table},
};

/// The endpoints of one product in one version.
pub struct Schema {
    table: Table,
    index: Index,
    complete: bool,
}

/// One method of one path.
#[derive(Clone, Copy)]
pub struct Endpoint<'a> {
    schema: &'a Schema,
    at: usize,
}

/// One parameter, or one key inside of one.
#[derive(Clone, Copy)]
pub struct Param<'a> {
    table: &'a Table,
    row: &'a ParamRow,
}

/// A text that is no schema.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// The text holds no array named as the viewer names it.
    #[error("find the schema in what was served")]
    NoSchema,
    /// What stands there is not what the viewer reads.
    #[error("read the schema")]
    Json(#[source] serde_json::Error),
    /// It is an array, but no endpoint is in it.
    #[error("read the schema: there is no endpoint in it")]
    Empty,
    /// A line of a bundled list is wrong.
    #[error("read line {0} of the list of endpoints")]
    Line(usize),
}

/// The methods of both products, as written.
const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];

/// The method, in its usual spelling.
fn method_of(word: &str) -> Option<&'static str> {
    METHODS.into_iter().find(|method| method.eq_ignore_ascii_case(word))
}

/// The name in a segment such as `{vmid}`.
fn placeholder(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

// === impl Schema ===

impl Schema {
    /// Reads what a server publishes: a JSON array, or JavaScript that assigns one to `apiSchema`.
    ///
    /// # Errors
    /// When there is no such array, or no endpoint in it. Fields, types and methods that are not
    /// known are left out silently.
    pub fn parse(served: &str) -> Result<Self, SchemaError> {
        Ok(Self::new(parse::parse(served)?, true))
    }

    /// Reads a list of endpoints in lines of our own: `METHOD /path | what it does | parameters`.
    /// Such a schema is not complete.
    ///
    /// # Errors
    /// With the number of a line that cannot be read.
    pub fn parse_lines(lines: &str) -> Result<Self, SchemaError> {
        Ok(Self::new(lines::parse(lines)?, false))
    }

    fn new(table: Table, complete: bool) -> Self {
        let index = Index::new(&table);
        Self { table, index, complete }
    }

    /// Whether it is the server's own, so that what is not in it does not exist.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// All endpoints, in the server's order.
    pub fn endpoints(&self) -> impl ExactSizeIterator<Item = Endpoint<'_>> {
        (0..self.table.endpoints.len()).map(|at| Endpoint { schema: self, at })
    }

    /// About how many bytes it takes.
    pub fn bytes(&self) -> usize {
        self.table.bytes() + self.index.bytes()
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema")
            .field("endpoints", &self.table.endpoints.len())
            .field("complete", &self.complete)
            .finish_non_exhaustive()
    }
}

// === impl Endpoint ===

impl<'a> Endpoint<'a> {
    fn row(self) -> &'a EndpointRow {
        &self.schema.table.endpoints[self.at]
    }

    /// `GET`, `POST`, `PUT` or `DELETE`.
    pub fn method(self) -> &'static str {
        self.row().method
    }

    /// The path with its places: `/nodes/{node}/qemu/{vmid}/config`.
    pub fn path(self) -> &'a str {
        self.schema.table.text(self.row().path)
    }

    /// The server's own name for it, such as `resize_vm`; may be empty.
    pub fn name(self) -> &'a str {
        self.schema.table.text(self.row().name)
    }

    /// What it does; may be empty.
    pub fn about(self) -> &'a str {
        self.schema.table.text(self.row().about)
    }

    /// A sketch of what it returns; may be empty.
    pub fn returns(self) -> &'a str {
        self.schema.table.text(self.row().returns)
    }

    /// Who may call it; may be empty.
    pub fn permissions(self) -> &'a str {
        self.schema.table.text(self.row().permissions)
    }

    /// Whether it runs in the node's few privileged workers.
    pub fn is_protected(self) -> bool {
        self.row().protected
    }

    /// Whether it takes parameters that are not listed.
    pub fn is_open(self) -> bool {
        self.row().open
    }

    /// Its parameters, those of the path included.
    pub fn params(self) -> impl ExactSizeIterator<Item = Param<'a>> + Clone {
        let table = &self.schema.table;
        table.rows(self.row().params).map(move |row| Param { table, row })
    }

    /// The parameter of this name; `net0` finds `net[n]`.
    pub fn param(self, name: &str) -> Option<Param<'a>> {
        find(self.params(), name)
    }

    /// Whether the parameter stands in the path.
    pub fn is_in_path(self, name: &str) -> bool {
        self.path().split('/').any(|segment| placeholder(segment) == Some(name))
    }
}

impl fmt::Debug for Endpoint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method(), self.path())
    }
}

impl PartialEq for Endpoint<'_> {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.schema, other.schema) && self.at == other.at
    }
}

// === impl Param ===

impl<'a> Param<'a> {
    /// The name; `net[n]` stands for `net0`, `net1` and so on. Empty for what an array holds.
    pub fn name(self) -> &'a str {
        self.table.text(self.row.name)
    }

    /// What it is; may be empty.
    pub fn about(self) -> &'a str {
        self.table.text(self.row.about)
    }

    /// What its value is.
    pub fn kind(self) -> Kind {
        self.row.kind
    }

    /// Whether it may be left out.
    pub fn is_optional(self) -> bool {
        self.row.optional
    }

    /// Whether it stands for several that are numbered.
    pub fn is_indexed(self) -> bool {
        self.name().ends_with("[n]")
    }

    /// What holds without it; may be empty. Booleans are `1` and `0`.
    pub fn default(self) -> &'a str {
        self.table.text(self.row.default)
    }

    /// The name of the format that the server checks; may be empty.
    pub fn format(self) -> &'a str {
        self.table.text(self.row.format)
    }

    /// The regular expression that a value must match; may be empty.
    pub fn pattern(self) -> &'a str {
        self.table.text(self.row.pattern)
    }

    /// The least and the greatest number; either may be empty.
    pub fn range(self) -> (&'a str, &'a str) {
        (self.table.text(self.row.minimum), self.table.text(self.row.maximum))
    }

    /// The least and the greatest count of characters; either may be empty.
    pub fn length(self) -> (&'a str, &'a str) {
        (self.table.text(self.row.min_length), self.table.text(self.row.max_length))
    }

    /// The only values that are taken, if they are listed.
    pub fn choices(self) -> impl ExactSizeIterator<Item = &'a str> + Clone {
        self.table.choices(self.row.choices)
    }

    /// The other parameter that must be there with this one; may be empty.
    pub fn requires(self) -> &'a str {
        self.table.text(self.row.requires)
    }

    /// The keys of a property string (`virtio,bridge=vmbr0`).
    pub fn keys(self) -> impl ExactSizeIterator<Item = Param<'a>> + Clone {
        let table = self.table;
        table.rows(self.row.nested).map(move |row| Param { table, row })
    }

    /// Whether its value is a property string with known keys.
    pub fn has_keys(self) -> bool {
        !self.row.nested.is_empty()
    }

    /// What an array holds.
    pub fn item(self) -> Option<Param<'a>> {
        let table = self.table;
        table.rows(self.row.item).next().map(|row| Param { table, row })
    }

    /// Inside another: whether a value without a key means this one.
    pub fn is_default_key(self) -> bool {
        self.row.default_key
    }

    /// Inside another: the key that this one is another name of; mostly empty.
    pub fn alias(self) -> &'a str {
        self.table.text(self.row.alias)
    }

    /// Whether keys are taken that are not listed.
    fn is_open(self) -> bool {
        self.row.open
    }
}

impl fmt::Debug for Param<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name(), self.kind().as_str())
    }
}

/// The one of this name; `net0` finds `net[n]`.
fn find<'a>(mut all: impl Iterator<Item = Param<'a>> + Clone, name: &str) -> Option<Param<'a>> {
    if let Some(found) = all.clone().find(|param| param.name() == name) {
        return Some(found);
    }
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let index = &name[stem.len()..];
    // `net00` is no name that a server knows.
    if stem.is_empty() || index.is_empty() || (index.len() > 1 && index.starts_with('0')) {
        return None;
    }
    all.find(|param| param.name().strip_suffix("[n]") == Some(stem))
}
