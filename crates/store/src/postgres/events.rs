//! What PostgreSQL does with events in its own way: columns as arrays, and words as `tsvector`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use event_core::{
    Appended, ComponentId, Cursor, DeliveryKey, Event, EventId, LogError, Logged, Receipt, Seq,
};
use jiff::Timestamp;
use sqlx::{Postgres, QueryBuilder};

use super::PostgresStore;
use super::answers::{Pool, Transaction};
use crate::event_rows::{self as rows, EventRow, KeptKey};
use crate::events::{self, EventCursor, EventFilter, EventPage, Forgotten, INDEXER};
use crate::incidents::{self, CANDIDATES, Incident, IncidentFilter};
use crate::outbox::{self, Dead, DeliveryState, OutputCount, Queued, Told};
use crate::pipeline::{Entry, Mark, Merge, Silence, SilenceChange, Step, Stepped};
use crate::records::read_time;
use crate::rows::{storable, to_i64};
use crate::sql_events::impl_events;
use crate::sql_outbox::impl_outbox;
use crate::sql_pipeline::impl_pipeline;
use crate::{Error, event_statements as statements};

const INSERT: &str = "INSERT INTO events (seq, id, source_id, source_kind, source_key, time_us, \
     received_us, kind, severity, cluster, node, vmid, storage, datastore, job, upid, \
     fingerprint, doc) SELECT * FROM UNNEST($1::bigint[], $2::text[], $3::text[], $4::text[], \
     $5::text[], $6::bigint[], $7::bigint[], $8::text[], $9::bigint[], $10::text[], $11::text[], \
     $12::bigint[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[])";

const KNOWN: &str = "SELECT e.source_id, e.source_key, e.seq \
     FROM UNNEST($1::text[], $2::text[]) AS k (source_id, source_key) \
     JOIN events e ON e.source_id = k.source_id AND e.source_key = k.source_key";

const PUT_REPORTS: &str = "INSERT INTO reports (seq, incident) \
     SELECT e.seq, COALESCE(i.merged_into, k.incident) \
     FROM UNNEST($1::text[], $2::text[]) AS k (event, incident) \
     JOIN events e ON e.id = k.event LEFT JOIN incidents i ON i.id = k.incident \
     ON CONFLICT (seq) DO UPDATE SET incident = excluded.incident";

const INSERT_WORDS: &str = "INSERT INTO events_text (seq, words) \
     SELECT w.seq, array_to_tsvector(string_to_array(w.words, ' ')) \
     FROM UNNEST($1::bigint[], $2::text[]) AS w (seq, words) ON CONFLICT (seq) DO NOTHING";

impl PostgresStore {
    /// A server can vanish without a word, and whoever posts a notification waits 10 s at most.
    const PATIENCE: Option<Duration> = Some(Duration::from_secs(4));

    const FORGET_WORDS: &'static str = "DELETE FROM events_text t \
         WHERE t.seq BETWEEN $1 AND $2 AND NOT EXISTS (SELECT 1 FROM events e WHERE e.seq = t.seq)";

    /// A transaction that may write. Whoever has the store, or had it, writes only while it is theirs.
    async fn begin_write(&self) -> Result<Transaction<'_, Postgres>, sqlx::Error> {
        let generation = self.fence.pass()?;
        let mut transaction = self.pool.begin().await?;
        if let Some(generation) = generation {
            Self::check_lease(&mut transaction, generation, &self.fence).await?;
        }
        Ok(transaction)
    }

    /// What only reads.
    pub(super) fn reads(&self) -> &Pool {
        &self.pool
    }

    /// The places of those of these that were told before.
    async fn known_events(
        transaction: &mut Transaction<'_, Postgres>,
        events: &[EventRow],
    ) -> Result<HashMap<KeptKey, i64>, sqlx::Error> {
        let (sources, keys): (Vec<&str>, Vec<&str>) =
            events.iter().map(|row| (row.source_id.as_str(), row.source_key.as_str())).unzip();
        let known: Vec<(String, String, i64)> =
            sqlx::query_as(KNOWN).bind(sources).bind(keys).fetch_all(&mut **transaction).await?;
        Ok(known.into_iter().map(|(source, key, seq)| ((source, key), seq)).collect())
    }

    async fn insert_events(
        transaction: &mut Transaction<'_, Postgres>,
        events: Vec<EventRow>,
    ) -> Result<(), sqlx::Error> {
        fn column<'a, T>(events: &'a [EventRow], of: impl Fn(&'a EventRow) -> T) -> Vec<T> {
            events.iter().map(of).collect()
        }
        sqlx::query(INSERT)
            .bind(column(&events, |row| row.seq))
            .bind(column(&events, |row| row.id.as_str()))
            .bind(column(&events, |row| row.source_id.as_str()))
            .bind(column(&events, |row| row.source_kind.as_str()))
            .bind(column(&events, |row| row.source_key.as_str()))
            .bind(column(&events, |row| row.time_us))
            .bind(column(&events, |row| row.received_us))
            .bind(column(&events, |row| row.kind.as_str()))
            .bind(column(&events, |row| row.severity))
            .bind(column(&events, |row| row.cluster.as_deref()))
            .bind(column(&events, |row| row.node.as_deref()))
            .bind(column(&events, |row| row.vmid))
            .bind(column(&events, |row| row.storage.as_deref()))
            .bind(column(&events, |row| row.datastore.as_deref()))
            .bind(column(&events, |row| row.job.as_deref()))
            .bind(column(&events, |row| row.upid.as_deref()))
            .bind(column(&events, |row| row.fingerprint.as_str()))
            .bind(column(&events, |row| row.doc.as_str()))
            .execute(&mut **transaction)
            .await
            .map(drop)
    }

    async fn put_reports(
        transaction: &mut Transaction<'_, Postgres>,
        reports: BTreeMap<String, String>,
    ) -> Result<(), sqlx::Error> {
        let (events, incidents): (Vec<String>, Vec<String>) = reports.into_iter().unzip();
        sqlx::query(PUT_REPORTS)
            .bind(events)
            .bind(incidents)
            .execute(&mut **transaction)
            .await
            .map(drop)
    }

    async fn insert_words(
        transaction: &mut Transaction<'_, Postgres>,
        words: Vec<(i64, String)>,
    ) -> Result<(), sqlx::Error> {
        let (places, words): (Vec<i64>, Vec<String>) = words.into_iter().unzip();
        sqlx::query(INSERT_WORDS)
            .bind(places)
            .bind(words)
            .execute(&mut **transaction)
            .await
            .map(drop)
    }

    /// Each word stands in quotes, so nothing of the query's language is in it.
    fn push_words(query: &mut QueryBuilder<Postgres>, words: &[String]) {
        let all: Vec<String> = words.iter().map(|word| format!("'{word}':*")).collect();
        query.push(" AND seq IN (SELECT t.seq FROM events_text t WHERE t.words @@ ");
        query.push_bind(all.join(" & ")).push("::tsquery)");
    }
}

impl_events!(PostgresStore, Postgres);
impl_pipeline!(PostgresStore, Postgres);
impl_outbox!(PostgresStore, Postgres);
