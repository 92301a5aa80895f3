//! How events and what follows from them are written in rows, the same for every engine.
//!
//! As in [`crate::rows`]: times are microseconds since 1970 in UTC, severities 0 (debug) to 5
//! (critical), documents JSON. An event's document is its wire form, a delivery's that of its
//! message; the columns beside it are what is searched.
//!
//! *Invariant:* whatever a report holds can be kept: no text is too long for an index or has a
//! character that an engine refuses.

use std::collections::hash_map::{self, HashMap};
use std::time::Duration;

use event_core::{Appended, Event, LogError, LogErrorKind, Logged, Receipt, Seq, Severity, wire};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::events;
use crate::ids::hex;
use crate::incidents::{Incident, Said};
use crate::outbox::{DeliveryState, OutputCount, Queued};
use crate::pipeline::{Entry, Mark, NewDelivery, NewEntry, Silence};
use crate::records::{micros, read, read_doc, read_time, unreadable, write_doc};
use crate::rows::{storable, to_i64};
use crate::{Error, ErrorKind};

/// The longest key that an index holds, in bytes: PostgreSQL takes 2704.
const LONGEST_KEY: usize = 512;

/// A key as an index holds it: a long one's head and hash.
pub(crate) fn kept_key(key: &str) -> String {
    if key.len() <= LONGEST_KEY {
        return storable(key.to_owned());
    }
    let mut end = LONGEST_KEY - 65;
    while !key.is_char_boundary(end) {
        end -= 1;
    }
    storable(format!("{}#{}", &key[..end], hex(&Sha256::digest(key))))
}

/// One event, as its row holds it.
#[derive(Clone, Debug)]
pub(crate) struct EventRow {
    pub(crate) seq: i64,
    pub(crate) id: String,
    pub(crate) source_id: String,
    pub(crate) source_kind: String,
    pub(crate) source_key: String,
    pub(crate) time_us: i64,
    pub(crate) received_us: i64,
    pub(crate) kind: String,
    pub(crate) severity: i64,
    pub(crate) cluster: Option<String>,
    pub(crate) node: Option<String>,
    pub(crate) vmid: Option<i64>,
    pub(crate) storage: Option<String>,
    pub(crate) datastore: Option<String>,
    pub(crate) job: Option<String>,
    pub(crate) upid: Option<String>,
    pub(crate) fingerprint: String,
    pub(crate) doc: String,
}

/// Source and key of an event: what makes it the same report again.
pub(crate) type KeptKey = (String, String);

// === impl EventRow ===

impl EventRow {
    /// The row of an event that has no place yet.
    pub(crate) fn of(event: &Event) -> Self {
        let subject = &event.subject;
        Self {
            seq: 0,
            id: event.id.to_string(),
            source_id: event.source.id.to_string(),
            source_kind: storable(event.source.kind.to_string()),
            source_key: kept_key(event.source_key.as_str()),
            time_us: event.time.as_microsecond(),
            received_us: event.received.as_microsecond(),
            kind: event.kind.to_string(),
            severity: severity(event.severity),
            cluster: subject.cluster.as_ref().map(ToString::to_string),
            node: subject.node.as_ref().map(ToString::to_string),
            vmid: subject.vmid.map(|vmid| vmid.get().into()),
            storage: subject.storage.as_ref().map(ToString::to_string),
            datastore: subject.datastore.as_ref().map(ToString::to_string),
            job: subject.job.clone().map(storable),
            upid: subject.upid.as_ref().map(|upid| storable(upid.to_string())),
            fingerprint: event.fingerprint.to_string(),
            doc: wire::to_text(event),
        }
    }
}

/// Gives places behind `head` to what is new, and says what became of each event; `known` has the
/// places of what was told before.
pub(crate) fn place(
    rows: Vec<EventRow>,
    known: &HashMap<KeptKey, i64>,
    head: i64,
) -> Result<(Vec<Appended>, Vec<EventRow>), Error> {
    let known = known.iter().map(|((source, key), seq)| ((source.as_str(), key.as_str()), *seq));
    let mut known: HashMap<(&str, &str), i64> = known.collect();
    known.reserve(rows.len());
    let mut last = head;
    let placed = rows.iter().map(|row| match known.entry((&row.source_id, &row.source_key)) {
        hash_map::Entry::Occupied(known) => seq_of(*known.get()).map(Appended::Duplicate),
        hash_map::Entry::Vacant(free) => {
            last += 1;
            seq_of(*free.insert(last)).map(Appended::New)
        }
    });
    let appended = placed.collect::<Result<Vec<_>, _>>()?;
    let fresh = rows.into_iter().zip(&appended).filter_map(|(mut row, appended)| match appended {
        Appended::Duplicate(_) => None,
        Appended::New(seq) => {
            row.seq = place_of(*seq);
            Some(row)
        }
    });
    let fresh = fresh.collect();
    Ok((appended, fresh))
}

pub(crate) fn seq_of(seq: i64) -> Result<Seq, Error> {
    u64::try_from(seq).map(Seq).map_err(|_| unreadable(&format!("event {seq}"), "place"))
}

/// `seq, doc`.
pub(crate) fn logged((seq, doc): (i64, String)) -> Result<Logged, Error> {
    let event = wire::from_text(&doc).map_err(|error| {
        let why = stdx::Chain(&error).to_string();
        Error::new(ErrorKind::Corrupt, format!("read event {seq} of the log: {why}"))
    })?;
    Ok(Logged { seq: seq_of(seq)?, event })
}

pub(crate) fn all_logged(rows: Vec<(i64, String)>) -> Result<Vec<Logged>, Error> {
    rows.into_iter().map(logged).collect()
}

/// The words by which an event is found, each once, with blanks between. What cannot be read as an
/// event is found by whatever is in it.
pub(crate) fn words_of(doc: &str) -> String {
    let mut words: Vec<String> = match wire::from_text(doc) {
        Ok(event) => words_of_event(&event),
        Err(_) => events::words(doc).collect(),
    };
    words.sort_unstable();
    words.dedup();
    words.join(" ")
}

pub(crate) fn words_of_event(event: &Event) -> Vec<String> {
    let raw = event.raw.as_ref().map_or("", |raw| &raw.text);
    [&event.title, &event.message, raw].into_iter().flat_map(events::words).collect()
}

/// From 0, the mildest.
pub(crate) fn severity(severity: Severity) -> i64 {
    let at = Severity::ALL.iter().position(|it| *it == severity);
    at.and_then(|at| i64::try_from(at).ok()).expect("all of them are in the list, which is short")
}

fn read_severity(number: i64, what: &str) -> Result<Severity, Error> {
    let at = usize::try_from(number).ok();
    at.and_then(|at| Severity::ALL.get(at).copied()).ok_or_else(|| unreadable(what, "severity"))
}

/// The engine said nothing to a batch: it may have it or not, and knows when it is told again.
pub(crate) fn no_answer(events: usize, patience: Duration) -> Error {
    let message = format!(
        "keep {events} events: the database did not answer within {} s; see whether it can be reached",
        patience.as_secs()
    );
    Error::new(ErrorKind::Unavailable, message)
}

/// The log's error of ours.
pub(crate) fn log_error(error: Error) -> LogError {
    let kind = match error.kind() {
        ErrorKind::Corrupt | ErrorKind::NewerSchema => LogErrorKind::Damaged,
        ErrorKind::NotFound | ErrorKind::Conflict | ErrorKind::Unavailable => {
            LogErrorKind::Unavailable
        }
    };
    let (message, source) = error.into_parts();
    let failed = LogError::new(kind, message);
    match source {
        Some(source) => failed.because(source),
        None => failed,
    }
}

/// `seq, time_us`.
pub(crate) fn mark(consumer: &str, (seq, time): (i64, i64)) -> Result<Mark, Error> {
    let what = format!("the mark of {consumer}");
    let time = micros::read(time, &what)?;
    Ok(Mark { consumer: consumer.to_owned(), seq: seq_of(seq)?, time })
}

/// What of an incident is not searched.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct IncidentDoc {
    status: String,
    title: String,
    ended_us: Option<i64>,
    reports: u64,
    acknowledged: Option<SaidDoc>,
    closed: Option<SaidDoc>,
    more: Value,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct SaidDoc {
    by: String,
    at_us: i64,
}

/// `id, opened_us, updated_us, is_open, kind, severity, cluster, node, vmid, merged_into, doc`.
pub(crate) type IncidentRow = (
    String,
    i64,
    i64,
    i64,
    String,
    i64,
    Option<String>,
    Option<String>,
    Option<i64>,
    Option<String>,
    String,
);

pub(crate) fn incident_doc(incident: &Incident) -> String {
    let said = |said: &Option<Said>| {
        said.as_ref().map(|said| SaidDoc { by: said.by.clone(), at_us: said.at.as_microsecond() })
    };
    write_doc(&IncidentDoc {
        status: incident.status.clone(),
        title: incident.title.clone(),
        ended_us: incident.ended.map(jiff::Timestamp::as_microsecond),
        reports: incident.reports,
        acknowledged: said(&incident.acknowledged),
        closed: said(&incident.closed),
        more: incident.doc.clone(),
    })
}

pub(crate) fn incident(row: IncidentRow) -> Result<Incident, Error> {
    let (id, opened, updated, is_open, kind, severity, cluster, node, vmid, merged_into, doc) = row;
    let what = format!("incident {id}");
    let doc: IncidentDoc = read_doc(&doc, &what)?;
    let said = |said: Option<SaidDoc>| -> Result<Option<Said>, Error> {
        let read = |said: SaidDoc| Ok(Said { by: said.by, at: micros::read(said.at_us, &what)? });
        said.map(read).transpose()
    };
    Ok(Incident {
        opened: micros::read(opened, &what)?,
        updated: micros::read(updated, &what)?,
        ended: read_time(doc.ended_us, &what)?,
        is_open: is_open != 0,
        status: doc.status,
        severity: read_severity(severity, &what)?,
        kind,
        title: doc.title,
        cluster,
        node,
        vmid: vmid.map(u32::try_from).transpose().map_err(|_| unreadable(&what, "guest"))?,
        reports: doc.reports,
        acknowledged: said(doc.acknowledged)?,
        closed: said(doc.closed)?,
        merged_into,
        doc: doc.more,
        id,
    })
}

/// `number, after_seq, time_us, doc`.
pub(crate) fn entry((number, after, time, doc): (i64, i64, i64, String)) -> Result<Entry, Error> {
    let what = format!("line {number} of the journal");
    Ok(Entry {
        number: number.try_into().map_err(|_| unreadable(&what, "number"))?,
        entry: NewEntry {
            after: seq_of(after)?,
            time: micros::read(time, &what)?,
            doc: read_doc(&doc, &what)?,
        },
    })
}

/// `name, until_us, author, reason, doc`.
pub(crate) fn silence(row: (String, i64, String, String, String)) -> Result<Silence, Error> {
    let (name, until, author, reason, doc) = row;
    let what = format!("silence {name}");
    let (until, doc) = (micros::read(until, &what)?, read_doc(&doc, &what)?);
    Ok(Silence { name, until, author, reason, doc })
}

/// `key, output, incident, lane, made_us, due_us, attempts, state, doc, last_error, receipt, done_us`.
pub(crate) type OutboxRow = (
    String,
    String,
    Option<String>,
    String,
    i64,
    i64,
    i64,
    String,
    String,
    Option<String>,
    Option<String>,
    Option<i64>,
);

/// The row of a delivery that nobody has tried.
pub(crate) fn outbox_row(new: &NewDelivery) -> OutboxRow {
    (
        new.key.as_str().to_owned(),
        new.output.to_string(),
        new.incident.as_deref().map(kept_key),
        kept_key(&new.lane),
        new.made.as_microsecond(),
        new.due.as_microsecond(),
        0,
        DeliveryState::Pending.as_str().to_owned(),
        wire::message::to_text(&new.message),
        None,
        None,
        None,
    )
}

pub(crate) fn queued(row: OutboxRow) -> Result<Queued, Error> {
    let (key, output, incident, lane, made, due, attempts, state, doc, last_error, receipt, done) =
        row;
    let what = format!("delivery {key}");
    Ok(Queued {
        output: read(&output, &what, "output")?,
        incident,
        lane,
        made: micros::read(made, &what)?,
        due: micros::read(due, &what)?,
        attempts: attempts.try_into().map_err(|_| unreadable(&what, "number of attempts"))?,
        state: DeliveryState::parse(&state).ok_or_else(|| unreadable(&what, "state"))?,
        message: wire::message::from_text(&doc),
        last_error,
        receipt: receipt.map(|text| read_receipt(&text, &what)).transpose()?,
        done: read_time(done, &what)?,
        key: key.into(),
    })
}

pub(crate) fn all_queued(rows: Vec<OutboxRow>) -> Result<Vec<Queued>, Error> {
    rows.into_iter().map(queued).collect()
}

/// What a service said, as rows hold it.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct ReceiptDoc {
    ids: Vec<String>,
    extra: Value,
}

pub(crate) fn receipt_doc(receipt: &Receipt) -> String {
    write_doc(&ReceiptDoc { ids: receipt.ids.clone(), extra: receipt.extra.clone() })
}

pub(crate) fn read_receipt(text: &str, what: &str) -> Result<Receipt, Error> {
    let doc: ReceiptDoc = read_doc(text, what)?;
    Ok(Receipt { ids: doc.ids, extra: doc.extra })
}

/// `output, pending, oldest, dead`.
pub(crate) fn output_count(
    (output, pending, oldest, dead): (String, i64, Option<i64>, i64),
) -> Result<OutputCount, Error> {
    let count = |number: i64| u64::try_from(number).unwrap_or_default();
    let oldest = read_time(oldest, &format!("output {output}"))?;
    Ok(OutputCount { output, pending: count(pending), oldest, dead: count(dead) })
}

/// A place that a caller gave, as rows hold it.
pub(crate) fn place_of(seq: Seq) -> i64 {
    to_i64(seq.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_key_is_kept_apart_from_others_that_begin_so() {
        let (one, other) = ("é".repeat(9000), "é".repeat(9000) + "x");
        assert!(kept_key(&one).len() <= LONGEST_KEY);
        assert_ne!(kept_key(&one), kept_key(&other));
        assert_eq!(kept_key("a\0b"), "a\u{fffd}b");
    }

    #[test]
    fn severities_are_read_back_and_rise() {
        for it in Severity::ALL {
            assert_eq!(read_severity(severity(it), "x").unwrap(), it);
        }
        assert!(Severity::ALL.map(severity).is_sorted());
        assert!(read_severity(6, "x").is_err() && read_severity(-1, "x").is_err());
    }
}
