//! Freezes as rows: `on` until they are `lifted`. One that ends by itself stays `on`.

use guard::Principal;
use guard::ports::Freeze;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Record, Row, Table, micros, random_id, read, read_doc, write_doc};
use crate::Error;

/// The state of what nobody has lifted.
pub(crate) const ON: &str = "on";
const LIFTED: &str = "lifted";

/// An order to stop all changes, with who lifted it and when.
#[derive(Clone, Debug)]
pub(crate) struct KeptFreeze {
    pub(crate) id: String,
    pub(crate) freeze: Freeze,
    pub(crate) lifted: Option<(Principal, Timestamp)>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Doc {
    reason: String,
    lifted: Option<LiftedDoc>,
}

#[derive(Deserialize, Serialize)]
struct LiftedDoc {
    by: String,
    at_us: i64,
}

impl KeptFreeze {
    /// One that nobody has lifted.
    pub(crate) fn new(freeze: Freeze) -> Self {
        Self { id: random_id(), freeze, lifted: None }
    }
}

impl Record for KeptFreeze {
    const TABLE: Table = Table::Freezes;

    fn to_row(&self) -> Row {
        let lifted = self.lifted.as_ref();
        let doc = Doc {
            reason: self.freeze.reason.clone(),
            lifted: lifted
                .map(|(by, at)| LiftedDoc { by: by.to_string(), at_us: at.as_microsecond() }),
        };
        Row {
            id: self.id.clone(),
            principal: self.freeze.by.to_string(),
            state: if lifted.is_some() { LIFTED } else { ON }.to_owned(),
            made_us: self.freeze.since.as_microsecond(),
            due_us: micros::end(self.freeze.until),
            doc: write_doc(&doc),
            ..Row::default()
        }
    }

    fn from_row(row: Row) -> Result<Self, Error> {
        let what = format!("freeze {}", row.id);
        let doc: Doc = read_doc(&row.doc, &what)?;
        let lifted = |lifted: LiftedDoc| {
            let by = read(&lifted.by, &what, "lifter")?;
            Ok::<_, Error>((by, micros::read(lifted.at_us, &what)?))
        };
        Ok(Self {
            freeze: Freeze {
                by: read(&row.principal, &what, "orderer")?,
                since: micros::read(row.made_us, &what)?,
                until: micros::read_end(row.due_us, &what)?,
                reason: doc.reason,
            },
            lifted: doc.lifted.map(lifted).transpose()?,
            id: row.id,
        })
    }
}
