//! Freezes, trips and the use of codes as rows. A freeze is `on` until it is `lifted`; what ends by itself stays `on`.

use std::time::Duration;

use guard::Principal;
use guard::breaker::{Cause, Trip};
use guard::ports::{CodeUse, Freeze};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::action::access;
use super::{
    NEVER, Record, Row, Table, micros, random_id, read, read_doc, read_time, unreadable, write_doc,
};
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

/// A trip of the breaker.
#[derive(Clone, Debug)]
pub(crate) struct KeptTrip {
    pub(crate) id: String,
    pub(crate) trip: Trip,
    pub(crate) at: Timestamp,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct TripDoc {
    count: u32,
    window_ms: u64,
    from: String,
}

impl KeptTrip {
    /// One that begins at this time.
    pub(crate) fn new(trip: Trip, at: Timestamp) -> Self {
        Self { id: random_id(), trip, at }
    }
}

impl Record for KeptTrip {
    const TABLE: Table = Table::Trips;

    fn to_row(&self) -> Row {
        let trip = &self.trip;
        let doc = TripDoc {
            count: trip.count,
            window_ms: u64::try_from(trip.window.as_millis()).unwrap_or(u64::MAX),
            from: trip.from.to_string(),
        };
        Row {
            id: self.id.clone(),
            principal: trip.principal.clone(),
            kind: trip.cause.as_str().to_owned(),
            state: ON.to_owned(),
            made_us: self.at.as_microsecond(),
            due_us: trip.until.as_microsecond(),
            doc: write_doc(&doc),
            ..Row::default()
        }
    }

    fn from_row(row: Row) -> Result<Self, Error> {
        let what = format!("trip {}", row.id);
        let doc: TripDoc = read_doc(&row.doc, &what)?;
        Ok(Self {
            at: micros::read(row.made_us, &what)?,
            trip: Trip {
                cause: Cause::from_word(&row.kind).ok_or_else(|| unreadable(&what, "cause"))?,
                count: doc.count,
                window: Duration::from_millis(doc.window_ms),
                from: access(&doc.from).ok_or_else(|| unreadable(&what, "tier"))?,
                until: micros::read(row.due_us, &what)?,
                principal: row.principal,
            },
            id: row.id,
        })
    }
}

/// What is known of an approver's one-time codes.
#[derive(Clone, Debug)]
pub(crate) struct KeptCodes {
    pub(crate) approver: String,
    pub(crate) codes: CodeUse,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct CodesDoc {
    used: Option<i64>,
    wrong: u32,
    until_us: Option<i64>,
}

impl Record for KeptCodes {
    const TABLE: Table = Table::CodeUses;

    fn to_row(&self) -> Row {
        let CodeUse { used, wrong, until } = self.codes;
        let doc = CodesDoc { used, wrong, until_us: until.map(Timestamp::as_microsecond) };
        Row {
            id: self.approver.clone(),
            state: ON.to_owned(),
            due_us: NEVER,
            doc: write_doc(&doc),
            ..Row::default()
        }
    }

    fn from_row(row: Row) -> Result<Self, Error> {
        let what = format!("use of the codes of {}", row.id);
        let doc: CodesDoc = read_doc(&row.doc, &what)?;
        let until = read_time(doc.until_us, &what)?;
        let codes = CodeUse { used: doc.used, wrong: doc.wrong, until };
        Ok(Self { approver: row.id, codes })
    }
}
