//! How the guard's nouns are kept: one shape of table for all of them, and three operations.
//!
//! A row has columns for what is searched, and a JSON document for the rest. What a noun means is
//! decided by pure functions on its own type; an engine only inserts rows, reads rows, and replaces
//! a row *if it is still the version that was read*. So two programs that change one noun at once
//! cannot both win, whatever the engine.

pub(crate) mod action;
pub(crate) mod approval;
pub(crate) mod brake;
pub(crate) mod confirm;
pub(crate) mod undo;

use std::str::FromStr;

use guard::PlannedCall;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};

/// The tables of this shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Consent, and questions for it.
    Approvals,
    /// What was begun, step by step.
    Actions,
    /// What can be put back.
    Undos,
    /// Changes that are put back unless somebody confirms them.
    Confirms,
    /// Stops of everybody.
    Freezes,
    /// Stops of one caller who went wild.
    Trips,
    /// What is known of one-time codes, an approver a row.
    CodeUses,
}

/// One row. Times are microseconds since 1970 in UTC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// 32 hexadecimal digits; of a use of codes the approver's name.
    pub(crate) id: String,
    /// Whose it is: asker, actor, or whom a trip stops.
    pub(crate) principal: String,
    /// The rule of an approval, the tool of an action or undo.
    pub(crate) kind: String,
    /// The plan's digest of an approval, otherwise the target.
    pub(crate) subject: String,
    /// The state's word.
    pub(crate) state: String,
    /// Of an action: 1 if nobody was asked. Otherwise 0.
    pub(crate) unasked: i64,
    /// When it was made.
    pub(crate) made_us: i64,
    /// When it lapses, is due or has ended by itself; [`NEVER`] if not at all.
    pub(crate) due_us: i64,
    /// Counts the changes.
    pub(crate) version: i64,
    /// The rest, as JSON.
    pub(crate) doc: String,
}

/// A row's columns in the order of the statements.
pub(crate) type Columns = (String, String, String, String, String, i64, i64, i64, i64, String);

/// The end of what has none.
pub(crate) const NEVER: i64 = i64::MAX;

/// Which rows to read. Empty texts and no states let everything through.
#[derive(Clone, Debug)]
pub struct Filter {
    pub(crate) principal: String,
    pub(crate) kind: String,
    pub(crate) subject: String,
    pub(crate) states: Vec<&'static str>,
    /// Made then or later.
    pub(crate) since: i64,
    /// Due later than that.
    pub(crate) due_after: i64,
    /// Due then or earlier.
    pub(crate) due_until: i64,
    pub(crate) order: Order,
    pub(crate) limit: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// By when they were made, the last one first.
    Newest,
    /// The other way round.
    Oldest,
}

/// How many actions a principal began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// All of them.
    pub(crate) all: u64,
    /// Those that nobody was asked about.
    pub(crate) unasked: u64,
}

/// How many actions a principal may have begun before one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of all of them.
    pub(crate) all: u64,
    /// Of those that nobody was asked about.
    pub(crate) unasked: u64,
}

/// What an engine does for the nouns. Only this crate's engines do it: its types are not exported.
#[async_trait::async_trait]
pub trait Rows: Send + Sync + 'static {
    /// Adds a row; it is on disk when this returns.
    async fn insert(&self, table: Table, row: Row) -> Result<(), Error>;

    /// The row with this id.
    async fn row(&self, table: Table, id: &str) -> Result<Option<Row>, Error>;

    /// The rows that the filter lets through.
    async fn rows(&self, table: Table, filter: &Filter) -> Result<Vec<Row>, Error>;

    /// Replaces the row if it still has the version *before* this one's, and adds another in the
    /// same step if one is given. Says whether it did.
    async fn replace(&self, table: Table, row: Row, also: Option<Row>) -> Result<bool, Error>;

    /// Adds an action if its principal began fewer than these since then, in one step. Says whether it did.
    async fn insert_within(&self, row: Row, since: i64, limits: Limits) -> Result<bool, Error>;

    /// How many actions this principal began since then.
    async fn count(&self, principal: &str, since: i64) -> Result<Changes, Error>;
}

/// A noun that is kept as rows.
pub(crate) trait Record: Sized + Clone + Send + Sync {
    /// Where.
    const TABLE: Table;

    /// As it is kept; the version is the caller's.
    fn to_row(&self) -> Row;

    /// As it was.
    fn from_row(row: Row) -> Result<Self, Error>;
}

/// A planned call, as documents hold it.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct CallDoc {
    member: String,
    method: String,
    path: String,
    params: Vec<(String, String)>,
}

// === impl CallDoc ===

impl From<&PlannedCall> for CallDoc {
    fn from(call: &PlannedCall) -> Self {
        Self {
            member: call.member.clone(),
            method: call.method.clone(),
            path: call.path.clone(),
            params: call.params.clone(),
        }
    }
}

impl From<CallDoc> for PlannedCall {
    fn from(call: CallDoc) -> Self {
        let CallDoc { member, method, path, params } = call;
        Self { member, method, path, params }
    }
}

// === impl Table ===

impl Table {
    /// What one row of it is called.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Approvals => "approval",
            Self::Actions => "action",
            Self::Undos => "way back",
            Self::Confirms => "change to confirm",
            Self::Freezes => "freeze",
            Self::Trips => "trip",
            Self::CodeUses => "use of codes",
        }
    }
}

// === impl Changes ===

impl Changes {
    /// Whether there is room for one more.
    pub(crate) fn fits(self, limits: Limits) -> bool {
        self.all < limits.all && self.unasked < limits.unasked
    }
}

// === impl Row ===

impl From<Columns> for Row {
    fn from(columns: Columns) -> Self {
        let (id, principal, kind, subject, state, unasked, made_us, due_us, version, doc) = columns;
        Self { id, principal, kind, subject, state, unasked, made_us, due_us, version, doc }
    }
}

impl Row {
    /// What it is, for errors.
    pub(crate) fn named(&self, table: Table) -> String {
        format!("{} {}", table.noun(), self.id)
    }

    /// Whether the filter lets it through.
    pub(crate) fn passes(&self, filter: &Filter) -> bool {
        let is = |wanted: &str, found: &str| wanted.is_empty() || wanted == found;
        is(&filter.principal, &self.principal)
            && is(&filter.kind, &self.kind)
            && is(&filter.subject, &self.subject)
            && (filter.states.is_empty() || filter.states.contains(&self.state.as_str()))
            && self.made_us >= filter.since
            && self.due_us > filter.due_after
            && self.due_us <= filter.due_until
    }
}

// === impl Filter ===

impl Default for Filter {
    fn default() -> Self {
        Self {
            principal: String::new(),
            kind: String::new(),
            subject: String::new(),
            states: Vec::new(),
            since: i64::MIN,
            due_after: i64::MIN,
            due_until: i64::MAX,
            order: Order::Newest,
            limit: u32::MAX,
        }
    }
}

impl Filter {
    /// What is in one of these states, oldest first.
    pub(crate) fn oldest(states: &[&'static str]) -> Self {
        Self { states: states.to_vec(), order: Order::Oldest, ..Self::default() }
    }

    /// The states as one text, each between bars.
    pub(crate) fn states_text(&self) -> String {
        if self.states.is_empty() {
            return String::new();
        }
        format!("|{}|", self.states.join("|"))
    }
}

/// Times as rows hold them.
pub(crate) mod micros {
    use jiff::Timestamp;

    use super::NEVER;
    use crate::error::{Error, ErrorKind};

    /// The time as it will be read back.
    pub(crate) fn floor(time: Timestamp) -> Timestamp {
        let micros = time.as_microsecond();
        Timestamp::from_microsecond(micros).expect("it was a timestamp's own value")
    }

    pub(crate) fn read(micros: i64, what: &str) -> Result<Timestamp, Error> {
        Timestamp::from_microsecond(micros).map_err(|_| {
            Error::new(ErrorKind::Corrupt, format!("read {what}: {micros} µs is no time"))
        })
    }

    /// An end that there may not be.
    pub(crate) fn end(time: Option<Timestamp>) -> i64 {
        time.map_or(NEVER, Timestamp::as_microsecond)
    }

    pub(crate) fn read_end(micros: i64, what: &str) -> Result<Option<Timestamp>, Error> {
        if micros == NEVER { Ok(None) } else { read(micros, what).map(Some) }
    }
}

/// Reads one part of what a row holds.
pub(crate) fn read<T: FromStr>(text: &str, what: &str, part: &str) -> Result<T, Error> {
    text.parse().map_err(|_| unreadable(what, part))
}

pub(crate) fn unreadable(what: &str, part: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("read {what}: its {part} is unreadable"))
}

/// An id for what has no type of its own: 128 random bits.
pub(crate) fn random_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// A document as a row holds it. NUL is escaped by JSON itself.
pub(crate) fn write_doc(doc: &impl Serialize) -> String {
    serde_json::to_string(doc).expect("texts, numbers and lists alone, with texts as keys")
}

pub(crate) fn read_doc<T: DeserializeOwned>(text: &str, what: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|_| unreadable(what, "document"))
}

/// A time that a document may hold.
pub(crate) fn read_time(micros: Option<i64>, what: &str) -> Result<Option<Timestamp>, Error> {
    micros.map(|micros| micros::read(micros, what)).transpose()
}
