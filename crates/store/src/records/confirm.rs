//! Changes that wait to be confirmed, as rows.

use guard::ports::{Confirm, ConfirmState};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stdx::seal::Sealed;

use super::{Record, Row, Table, micros, read, read_doc, read_time, unreadable, write_doc};
use crate::Error;

/// A change that waits, with the calls that revert it and who is at it until when.
#[derive(Clone, Debug)]
pub(crate) struct KeptConfirm {
    pub(crate) confirm: Confirm,
    pub(crate) calls: Sealed,
    pub(crate) leased_until: Option<Timestamp>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Doc {
    action: String,
    what: String,
    calls: String,
    leased_until_us: Option<i64>,
    lead: Option<String>,
}

impl Record for KeptConfirm {
    const TABLE: Table = Table::Confirms;

    fn to_row(&self) -> Row {
        let confirm = &self.confirm;
        let doc = Doc {
            action: confirm.action.to_string(),
            what: confirm.what.clone(),
            calls: self.calls.to_text(),
            leased_until_us: self.leased_until.map(Timestamp::as_microsecond),
            lead: confirm.lead.clone(),
        };
        Row {
            id: confirm.id.to_string(),
            principal: confirm.principal.to_string(),
            state: confirm.state.as_str().to_owned(),
            made_us: confirm.armed_at.as_microsecond(),
            due_us: confirm.deadline.as_microsecond(),
            doc: write_doc(&doc),
            ..Row::default()
        }
    }

    fn from_row(row: Row) -> Result<Self, Error> {
        let what = format!("change {}", row.id);
        let doc: Doc = read_doc(&row.doc, &what)?;
        let confirm = Confirm {
            id: read(&row.id, &what, "id")?,
            action: read(&doc.action, &what, "action")?,
            principal: read(&row.principal, &what, "principal")?,
            what: doc.what,
            armed_at: micros::read(row.made_us, &what)?,
            deadline: micros::read(row.due_us, &what)?,
            state: ConfirmState::from_word(&row.state).ok_or_else(|| unreadable(&what, "state"))?,
            lead: doc.lead,
        };
        Ok(Self {
            confirm,
            calls: Sealed::from_text(&doc.calls),
            leased_until: read_time(doc.leased_until_us, &what)?,
        })
    }
}
