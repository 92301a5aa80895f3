//! Events over a pool, written once for both engines as in [`crate::sql`].
//!
//! An engine adds what it does in its own way: `begin_write` begins a transaction that may write,
//! `reads` is the pool for what only reads, `known_events` finds what was told before,
//! `insert_events` adds many rows at once, the words of events are its own table, and `PATIENCE` is how
//! long an engine that may not answer at all is waited for.

/// The log, and what else there is to do with events.
macro_rules! impl_events {
    ($store:ident, $database:ident) => {
        #[async_trait::async_trait]
        impl event_core::EventLog for $store {
            async fn append(
                &self,
                events: Vec<Arc<Event>>,
                cursors: Vec<(ComponentId, Cursor)>,
            ) -> Result<Vec<Appended>, LogError> {
                let appending = self.append_events(&events, &cursors);
                let appended = match Self::PATIENCE {
                    None => appending.await,
                    Some(patience) => tokio::time::timeout(patience, appending)
                        .await
                        .unwrap_or_else(|_| Err(rows::no_answer(events.len(), patience))),
                };
                appended.map_err(rows::log_error)
            }

            async fn cursor(&self, source: &ComponentId) -> Result<Option<Cursor>, LogError> {
                sqlx::query_scalar::<_, String>(statements::CURSOR)
                    .bind(source.as_str())
                    .fetch_optional(self.reads())
                    .await
                    .map(|cursor| cursor.map(Cursor::new))
                    .map_err(|error| Error::engine(format!("read the cursor of {source}"), error))
                    .map_err(rows::log_error)
            }

            async fn after(&self, seq: Seq, limit: u32) -> Result<Vec<Logged>, LogError> {
                sqlx::query_as(statements::EVENTS_AFTER)
                    .bind(rows::place_of(seq))
                    .bind(i64::from(limit))
                    .fetch_all(self.reads())
                    .await
                    .map_err(|error| Error::engine("read the event log", error))
                    .and_then(rows::all_logged)
                    .map_err(rows::log_error)
            }

            async fn head(&self) -> Result<Seq, LogError> {
                sqlx::query_scalar(statements::HEAD)
                    .fetch_one(self.reads())
                    .await
                    .map_err(|error| Error::engine("read the head of the event log", error))
                    .and_then(rows::seq_of)
                    .map_err(rows::log_error)
            }
        }

        #[async_trait::async_trait]
        impl $crate::EventStore for $store {
            async fn find_events(
                &self,
                filter: &EventFilter,
                cursor: Option<EventCursor>,
                limit: u32,
            ) -> Result<EventPage, Error> {
                let Some(mut query) = self.event_query(filter, cursor) else {
                    return Ok(EventPage::default());
                };
                query.push(" ORDER BY time_us DESC, seq DESC LIMIT ");
                query.push_bind(i64::from(limit) + 1);
                query.push(") AS f JOIN events AS e ON e.seq = f.seq");
                query.push(" ORDER BY f.time_us DESC, f.seq DESC");
                query
                    .build_query_as()
                    .fetch_all(self.reads())
                    .await
                    .map_err(|error| Error::engine("find events", error))
                    .and_then(rows::all_logged)
                    .map(|events| EventPage::of(events, limit))
            }

            async fn event(&self, id: EventId) -> Result<Option<Logged>, Error> {
                sqlx::query_as(statements::EVENT)
                    .bind(id.to_string())
                    .fetch_optional(self.reads())
                    .await
                    .map_err(|error| Error::engine(format!("read event {id}"), error))?
                    .map(rows::logged)
                    .transpose()
            }

            async fn index_events(&self, limit: u32) -> Result<u64, Error> {
                let failed = |error| Error::engine("index the words of events", error);
                let from: Option<(i64, i64)> = sqlx::query_as(statements::MARK)
                    .bind(INDEXER)
                    .fetch_optional(self.reads())
                    .await
                    .map_err(failed)?;
                let events: Vec<(i64, String)> = sqlx::query_as(statements::EVENTS_AFTER)
                    .bind(from.map_or(0, |(seq, _)| seq))
                    .bind(i64::from(limit))
                    .fetch_all(self.reads())
                    .await
                    .map_err(failed)?;
                let Some((last, _)) = events.last() else { return Ok(0) };
                let last = *last;
                let words: Vec<(i64, String)> =
                    events.into_iter().map(|(seq, doc)| (seq, rows::words_of(&doc))).collect();
                let count = words.len() as u64;

                let mut transaction = self.begin_write().await.map_err(failed)?;
                let mark: Option<(i64, i64)> = sqlx::query_as(statements::MARK)
                    .bind(INDEXER)
                    .fetch_optional(&mut *transaction)
                    .await
                    .map_err(failed)?;
                // Another one was faster, and has indexed something at least.
                if mark != from {
                    return Ok(1);
                }
                let time: Option<i64> = sqlx::query_scalar(statements::EVENT_TIMES)
                    .bind(last)
                    .fetch_optional(&mut *transaction)
                    .await
                    .map_err(failed)?;
                Self::insert_words(&mut transaction, words).await.map_err(failed)?;
                sqlx::query(statements::SET_MARK)
                    .bind(INDEXER)
                    .bind(last)
                    .bind(time.or(from.map(|(_, time)| time)).unwrap_or_default())
                    .execute(&mut *transaction)
                    .await
                    .map_err(failed)?;
                transaction.commit().await.map_err(failed)?;
                Ok(count)
            }

            async fn forget(&self, before: Timestamp, limit: u32) -> Result<Forgotten, Error> {
                let failed = |error| Error::engine("forget old events", error);
                let mut transaction = self.begin_write().await.map_err(failed)?;
                let forgotten =
                    Self::forget_in(&mut transaction, before, limit).await.map_err(failed)?;
                transaction.commit().await.map_err(failed)?;
                Ok(forgotten)
            }
        }

        impl $store {
            async fn append_events(
                &self,
                events: &[Arc<Event>],
                cursors: &[(ComponentId, Cursor)],
            ) -> Result<Vec<Appended>, Error> {
                let count = events.len();
                let failed = |error| Error::engine(format!("keep {count} events"), error);
                // Written out before the transaction, in which everybody else waits.
                let rows: Vec<EventRow> = events.iter().map(|it| EventRow::of(it)).collect();
                let mut transaction = self.begin_write().await.map_err(failed)?;
                let appended = Self::keep_in(&mut transaction, rows).await?;
                for (source, cursor) in cursors {
                    sqlx::query(statements::SET_CURSOR)
                        .bind(source.as_str())
                        .bind(storable(cursor.as_str().to_owned()))
                        .execute(&mut *transaction)
                        .await
                        .map_err(failed)?;
                }
                transaction.commit().await.map_err(failed)?;
                Ok(appended)
            }

            /// Adds events at the end of the log, as part of a transaction.
            pub(crate) async fn keep_in(
                transaction: &mut Transaction<'_, $database>,
                rows: Vec<EventRow>,
            ) -> Result<Vec<Appended>, Error> {
                if rows.is_empty() {
                    return Ok(Vec::new());
                }
                let count = rows.len();
                let failed = |error| Error::engine(format!("keep {count} events"), error);
                let head: i64 = sqlx::query_scalar(statements::TAKE_HEAD)
                    .fetch_one(&mut **transaction)
                    .await
                    .map_err(failed)?;
                let known = Self::known_events(transaction, &rows).await.map_err(failed)?;
                let (appended, fresh) = rows::place(rows, &known, head)?;
                if let Some(last) = fresh.last().map(|row| row.seq) {
                    Self::insert_events(transaction, fresh).await.map_err(failed)?;
                    sqlx::query(statements::SET_HEAD)
                        .bind(last)
                        .execute(&mut **transaction)
                        .await
                        .map_err(failed)?;
                }
                Ok(appended)
            }

            /// The head of a search for what a filter lets through, up to its order; `None` where a
            /// text has no word that anything could hold. Places are found before documents are
            /// read, by an index that has most of what is asked for.
            fn event_query(
                &self,
                filter: &EventFilter,
                cursor: Option<EventCursor>,
            ) -> Option<QueryBuilder<$database>> {
                let mut query = QueryBuilder::<$database>::new(
                    "SELECT e.seq, e.doc FROM (SELECT seq, time_us FROM events WHERE 1 = 1",
                );
                if let Some(since) = filter.since {
                    query.push(" AND time_us >= ").push_bind(since.as_microsecond());
                }
                if let Some(until) = filter.until {
                    query.push(" AND time_us < ").push_bind(until.as_microsecond());
                }
                if let Some(EventCursor { time_us, seq }) = cursor {
                    query.push(" AND (time_us, seq) < (").push_bind(time_us);
                    query.push(", ").push_bind(seq).push(")");
                }
                if let Some(least) = filter.min_severity {
                    query.push(" AND severity >= ").push_bind(rows::severity(least));
                }
                if let Some(after) = filter.after {
                    query.push(" AND seq > ").push_bind(crate::rows::to_i64(after.0));
                }
                if let Some(vmid) = filter.vmid {
                    query.push(" AND vmid = ").push_bind(i64::from(vmid));
                }
                for (column, wanted) in [
                    (" AND cluster = ", &filter.cluster),
                    (" AND node = ", &filter.node),
                    (" AND job = ", &filter.job),
                    (" AND source_id = ", &filter.source),
                ] {
                    if let Some(wanted) = wanted {
                        query.push(column).push_bind(storable(wanted.clone()));
                    }
                }
                if let Some(incident) = &filter.incident {
                    let id = rows::kept_key(incident);
                    query.push(" AND seq IN (SELECT r.seq FROM reports r WHERE r.incident = ");
                    query.push("COALESCE((SELECT i.merged_into FROM incidents i WHERE i.id = ");
                    query.push_bind(id.clone()).push("), ").push_bind(id).push("))");
                }
                if !filter.kinds.is_empty() {
                    query.push(" AND (1 = 0");
                    for kind in &filter.kinds {
                        query.push(" OR kind = ").push_bind(storable(kind.clone()));
                        let family = storable(format!("{kind}."));
                        let length = i32::try_from(family.chars().count()).unwrap_or(i32::MAX);
                        query.push(" OR substr(kind, 1, ").push_bind(length);
                        query.push(") = ").push_bind(family);
                    }
                    query.push(")");
                }
                if let Some(text) = &filter.text {
                    let words = events::wanted(text);
                    if words.is_empty() {
                        return None;
                    }
                    Self::push_words(&mut query, &words);
                }
                Some(query)
            }

            async fn forget_in(
                transaction: &mut Transaction<'_, $database>,
                before: Timestamp,
                limit: u32,
            ) -> Result<Forgotten, sqlx::Error> {
                let (before, limit) = (before.as_microsecond(), i64::from(limit));
                let slowest: i64 = sqlx::query_scalar(statements::SLOWEST_MARK)
                    .fetch_one(&mut **transaction)
                    .await?;
                let gone: Vec<i64> = sqlx::query_scalar(statements::FORGET_EVENTS)
                    .bind(before)
                    .bind(slowest)
                    .bind(limit)
                    .fetch_all(&mut **transaction)
                    .await?;
                if let (Some(first), Some(last)) = (gone.iter().min(), gone.iter().max()) {
                    for statement in [statements::FORGET_REPORTS, Self::FORGET_WORDS] {
                        sqlx::query(statement)
                            .bind(first)
                            .bind(last)
                            .execute(&mut **transaction)
                            .await?;
                    }
                }
                let mut counts = [0; 5];
                let tables = [
                    statements::FORGET_DELIVERIES,
                    statements::FORGET_INCIDENTS,
                    statements::FORGET_RECEIPTS,
                    statements::FORGET_JOURNAL,
                    statements::FORGET_SILENCES,
                ];
                for (count, statement) in counts.iter_mut().zip(tables) {
                    let done = sqlx::query(statement)
                        .bind(before)
                        .bind(limit)
                        .execute(&mut **transaction)
                        .await?;
                    *count = done.rows_affected();
                }
                let [deliveries, incidents, receipts, journal, silences] = counts;
                let (events, journal) = (gone.len() as u64, journal + silences);
                Ok(Forgotten { events, incidents, deliveries, receipts, journal })
            }
        }
    };
}

pub(crate) use impl_events;
