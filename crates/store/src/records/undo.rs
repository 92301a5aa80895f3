//! Ways back as rows: `kept` until they are `used`.

use guard::ports::Undo;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stdx::seal::Sealed;

use super::{Record, Row, Table, micros, read, read_doc, read_time, unreadable, write_doc};
use crate::Error;

/// The state of what nobody has used.
pub(crate) const KEPT: &str = "kept";
const USED: &str = "used";

/// A way back with its calls.
#[derive(Clone, Debug)]
pub(crate) struct KeptUndo {
    pub(crate) undo: Undo,
    pub(crate) calls: Sealed,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Doc {
    action: String,
    what: String,
    before: Value,
    after: Value,
    calls: String,
    used_us: Option<i64>,
}

impl Record for KeptUndo {
    const TABLE: Table = Table::Undos;

    fn to_row(&self) -> Row {
        let undo = &self.undo;
        let doc = Doc {
            action: undo.action.to_string(),
            what: undo.what.clone(),
            before: undo.before.clone(),
            after: undo.after.clone(),
            calls: self.calls.to_text(),
            used_us: undo.used_at.map(Timestamp::as_microsecond),
        };
        Row {
            id: undo.id.to_string(),
            principal: undo.principal.to_string(),
            kind: undo.tool.clone(),
            subject: undo.target.clone(),
            state: if undo.used_at.is_some() { USED } else { KEPT }.to_owned(),
            made_us: undo.kept_at.as_microsecond(),
            due_us: undo.expires_at.as_microsecond(),
            doc: write_doc(&doc),
            ..Row::default()
        }
    }

    fn from_row(row: Row) -> Result<Self, Error> {
        let what = format!("way back {}", row.id);
        let doc: Doc = read_doc(&row.doc, &what)?;
        if (row.state == USED) != doc.used_us.is_some() {
            return Err(unreadable(&what, "state"));
        }
        let undo = Undo {
            id: read(&row.id, &what, "id")?,
            action: read(&doc.action, &what, "action")?,
            principal: read(&row.principal, &what, "principal")?,
            tool: row.kind,
            target: row.subject,
            what: doc.what,
            before: doc.before,
            after: doc.after,
            kept_at: micros::read(row.made_us, &what)?,
            expires_at: micros::read(row.due_us, &what)?,
            used_at: read_time(doc.used_us, &what)?,
        };
        Ok(Self { undo, calls: Sealed::from_text(&doc.calls) })
    }
}
