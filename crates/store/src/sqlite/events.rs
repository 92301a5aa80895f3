//! What SQLite does with events in its own way: many rows at once, and words in an FTS5 table.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use event_core::{
    Appended, ComponentId, Cursor, DeliveryKey, Event, EventId, LogError, Logged, Receipt, Seq,
};
use jiff::Timestamp;
use sqlx::{QueryBuilder, Sqlite, Transaction};

use super::SqliteStore;
use crate::event_rows::{self as rows, EventRow, KeptKey};
use crate::events::{self, EventCursor, EventFilter, EventPage, Forgotten, INDEXER};
use crate::incidents::{self, CANDIDATES, Incident, IncidentFilter};
use crate::outbox::{self, Dead, DeliveryState, OutputCount, Queued, Told};
use crate::pipeline::{Entry, Mark, Merge, Silence, SilenceChange, Step, Stepped};
use crate::records::{read_time, write_doc};
use crate::rows::{storable, to_i64};
use crate::sql_events::impl_events;
use crate::sql_outbox::impl_outbox;
use crate::sql_pipeline::impl_pipeline;
use crate::{Error, event_statements as statements};

/// How many rows one statement adds; what is left over takes the smaller ones. Each statement is a way to the engine's
/// thread and back, which takes longer than the rows when everybody is busy.
const ROWS: [usize; 5] = [128, 64, 16, 4, 1];
const COLUMNS: usize = 18;

static INSERTS: LazyLock<[String; 5]> = LazyLock::new(|| ROWS.map(insert));

fn insert(rows: usize) -> String {
    let row = format!("({})", vec!["?"; COLUMNS].join(", "));
    format!(
        "INSERT INTO events (seq, id, source_id, source_kind, source_key, time_us, received_us, \
         kind, severity, cluster, node, vmid, storage, datastore, job, upid, fingerprint, doc) \
         VALUES {}",
        vec![row; rows].join(", ")
    )
}

/// Finds each of a list of pairs, which comes as JSON.
const KNOWN: &str = "SELECT e.source_id, e.source_key, e.seq FROM json_each($1) AS k \
     CROSS JOIN events AS e ON e.source_id = k.value ->> 0 AND e.source_key = k.value ->> 1";

/// Of a list of pairs, which comes as JSON: which event belongs to which incident.
const PUT_REPORTS: &str = "INSERT INTO reports (seq, incident) \
     SELECT e.seq, COALESCE((SELECT i.merged_into FROM incidents i WHERE i.id = k.value ->> 1), \
     k.value ->> 1) FROM json_each($1) AS k CROSS JOIN events AS e ON e.id = k.value ->> 0 \
     WHERE true ON CONFLICT (seq) DO UPDATE SET incident = excluded.incident";

const INSERT_WORDS: &str = "INSERT INTO events_text (rowid, words) \
     SELECT k.value ->> 0, k.value ->> 1 FROM json_each($1) AS k";

impl SqliteStore {
    /// It answers when the disk does, and has a patience of its own with other writers.
    const PATIENCE: Option<Duration> = None;

    const FORGET_WORDS: &'static str = "DELETE FROM events_text WHERE rowid BETWEEN $1 AND $2 \
         AND rowid NOT IN (SELECT seq FROM events WHERE seq BETWEEN $1 AND $2)";

    /// The places of those of these that were told before.
    async fn known_events(
        transaction: &mut Transaction<'_, Sqlite>,
        events: &[EventRow],
    ) -> Result<HashMap<KeptKey, i64>, sqlx::Error> {
        let keys: Vec<[&str; 2]> =
            events.iter().map(|row| [row.source_id.as_str(), row.source_key.as_str()]).collect();
        let known: Vec<(String, String, i64)> =
            sqlx::query_as(KNOWN).bind(write_doc(&keys)).fetch_all(&mut **transaction).await?;
        Ok(known.into_iter().map(|(source, key, seq)| ((source, key), seq)).collect())
    }

    async fn insert_events(
        transaction: &mut Transaction<'_, Sqlite>,
        events: Vec<EventRow>,
    ) -> Result<(), sqlx::Error> {
        let mut left = events.len();
        let mut events = events.into_iter();
        for (rows, insert) in ROWS.into_iter().zip(INSERTS.iter()) {
            while left >= rows {
                let mut query = sqlx::query(insert.as_str());
                for row in events.by_ref().take(rows) {
                    query = query
                        .bind(row.seq)
                        .bind(row.id)
                        .bind(row.source_id)
                        .bind(row.source_kind)
                        .bind(row.source_key)
                        .bind(row.time_us)
                        .bind(row.received_us)
                        .bind(row.kind)
                        .bind(row.severity)
                        .bind(row.cluster)
                        .bind(row.node)
                        .bind(row.vmid)
                        .bind(row.storage)
                        .bind(row.datastore)
                        .bind(row.job)
                        .bind(row.upid)
                        .bind(row.fingerprint)
                        .bind(row.doc);
                }
                query.execute(&mut **transaction).await?;
                left -= rows;
            }
        }
        Ok(())
    }

    async fn put_reports(
        transaction: &mut Transaction<'_, Sqlite>,
        reports: BTreeMap<String, String>,
    ) -> Result<(), sqlx::Error> {
        let pairs: Vec<(String, String)> = reports.into_iter().collect();
        sqlx::query(PUT_REPORTS).bind(write_doc(&pairs)).execute(&mut **transaction).await.map(drop)
    }

    async fn insert_words(
        transaction: &mut Transaction<'_, Sqlite>,
        words: Vec<(i64, String)>,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(INSERT_WORDS)
            .bind(write_doc(&words))
            .execute(&mut **transaction)
            .await
            .map(drop)
    }

    /// Each word stands in quotes, so nothing of the query's language is in it.
    fn push_words(query: &mut QueryBuilder<Sqlite>, words: &[String]) {
        let all: Vec<String> = words.iter().map(|word| format!("\"{word}\"*")).collect();
        query.push(" AND seq IN (SELECT rowid FROM events_text WHERE events_text MATCH ");
        query.push_bind(all.join(" AND ")).push(")");
    }
}

impl_events!(SqliteStore, Sqlite);
impl_pipeline!(SqliteStore, Sqlite);
impl_outbox!(SqliteStore, Sqlite);
