//! What follows from events over a pool, written once for both engines as in [`crate::sql`]. An engine
//! adds `put_reports`, which is for many at once.

/// Steps, marks, the journal, silences and incidents.
macro_rules! impl_pipeline {
    ($store:ident, $database:ident) => {
        #[async_trait::async_trait]
        impl $crate::Pipeline for $store {
            async fn commit_step(&self, step: Step) -> Result<Stepped, Error> {
                let failed = |error| Error::engine("keep what follows from events", error);
                let raised: Vec<EventRow> = step.raised.iter().map(EventRow::of).collect();
                let mut transaction = self.begin_write().await.map_err(failed)?;
                let raised = Self::keep_in(&mut transaction, raised).await?;
                let deliveries = Self::step_in(&mut transaction, step).await.map_err(failed)?;
                transaction.commit().await.map_err(failed)?;
                Ok(Stepped { raised, deliveries })
            }

            async fn mark(&self, consumer: &str) -> Result<Option<Mark>, Error> {
                sqlx::query_as(statements::MARK)
                    .bind(storable(consumer.to_owned()))
                    .fetch_optional(self.reads())
                    .await
                    .map_err(|error| Error::engine(format!("read the mark of {consumer}"), error))?
                    .map(|row| rows::mark(consumer, row))
                    .transpose()
            }

            async fn drop_mark(&self, consumer: &str) -> Result<(), Error> {
                sqlx::query(statements::DROP_MARK)
                    .bind(storable(consumer.to_owned()))
                    .execute(&self.pool)
                    .await
                    .map(drop)
                    .map_err(|error| Error::engine(format!("forget the mark of {consumer}"), error))
            }

            async fn journal(
                &self,
                since: Timestamp,
                after: u64,
                limit: u32,
            ) -> Result<Vec<Entry>, Error> {
                sqlx::query_as(statements::JOURNAL)
                    .bind(since.as_microsecond())
                    .bind(to_i64(after))
                    .bind(i64::from(limit))
                    .fetch_all(self.reads())
                    .await
                    .map_err(|error| Error::engine("read the journal", error))?
                    .into_iter()
                    .map(rows::entry)
                    .collect()
            }

            async fn silences(&self, now: Timestamp) -> Result<Vec<Silence>, Error> {
                sqlx::query_as(statements::SILENCES)
                    .bind(now.as_microsecond())
                    .fetch_all(self.reads())
                    .await
                    .map_err(|error| Error::engine("list silences", error))?
                    .into_iter()
                    .map(rows::silence)
                    .collect()
            }
        }

        #[async_trait::async_trait]
        impl $crate::IncidentStore for $store {
            async fn incidents(
                &self,
                filter: &IncidentFilter,
                limit: u32,
            ) -> Result<Vec<Incident>, Error> {
                let mut query = QueryBuilder::<$database>::new(statements::INCIDENTS);
                if let Some(is_open) = filter.is_open {
                    query.push(" AND is_open = ").push_bind(i64::from(is_open));
                }
                if let Some(since) = filter.since {
                    query.push(" AND updated_us >= ").push_bind(since.as_microsecond());
                }
                if let Some(least) = filter.min_severity {
                    query.push(" AND severity >= ").push_bind(rows::severity(least));
                }
                if let Some(vmid) = filter.vmid {
                    query.push(" AND vmid = ").push_bind(i64::from(vmid));
                }
                for (column, wanted) in
                    [(" AND cluster = ", &filter.cluster), (" AND node = ", &filter.node)]
                {
                    if let Some(wanted) = wanted {
                        query.push(column).push_bind(storable(wanted.clone()));
                    }
                }
                query.push(" ORDER BY updated_us DESC, id LIMIT ").push_bind(i64::from(limit));
                query
                    .build_query_as()
                    .fetch_all(self.reads())
                    .await
                    .map_err(|error| Error::engine("list incidents", error))?
                    .into_iter()
                    .map(rows::incident)
                    .collect()
            }

            async fn incident(&self, name: &str) -> Result<Option<Incident>, Error> {
                let found: Result<Vec<Incident>, Error> =
                    sqlx::query_as(statements::NAMED_INCIDENTS)
                        .bind(rows::kept_key(name))
                        .bind(i64::from(CANDIDATES))
                        .fetch_all(self.reads())
                        .await
                        .map_err(|error| Error::engine(format!("read incident {name}"), error))?
                        .into_iter()
                        .map(rows::incident)
                        .collect();
                incidents::the_one(name, found?)
            }

            async fn incident_events(
                &self,
                id: &str,
                after: Seq,
                limit: u32,
            ) -> Result<Vec<Logged>, Error> {
                sqlx::query_as(statements::INCIDENT_EVENTS)
                    .bind(rows::kept_key(id))
                    .bind(rows::place_of(after))
                    .bind(i64::from(limit))
                    .fetch_all(self.reads())
                    .await
                    .map_err(|error| Error::engine(format!("read the events of {id}"), error))
                    .and_then(rows::all_logged)
            }
        }

        impl $store {
            /// All of a step but the events that it raised, and how many deliveries are new.
            async fn step_in(
                transaction: &mut Transaction<'_, $database>,
                step: Step,
            ) -> Result<u64, sqlx::Error> {
                for incident in &step.incidents {
                    Self::put_incident(transaction, incident).await?;
                }
                if !step.reports.is_empty() {
                    // Of one event, the last word counts.
                    let reports: BTreeMap<String, String> = step
                        .reports
                        .iter()
                        .map(|(event, incident)| (event.to_string(), rows::kept_key(incident)))
                        .collect();
                    Self::put_reports(transaction, reports).await?;
                }
                for merge in &step.merges {
                    Self::merge(transaction, merge).await?;
                }
                let mut new = 0;
                for delivery in &step.deliveries {
                    let row = rows::outbox_row(delivery);
                    let done = sqlx::query(statements::INSERT_DELIVERY)
                        .bind(row.0)
                        .bind(row.1)
                        .bind(row.2)
                        .bind(row.3)
                        .bind(row.4)
                        .bind(row.5)
                        .bind(row.6)
                        .bind(row.7)
                        .bind(row.8)
                        .execute(&mut **transaction)
                        .await?;
                    new += done.rows_affected();
                }
                for entry in &step.journal {
                    sqlx::query(statements::INSERT_ENTRY)
                        .bind(rows::place_of(entry.after))
                        .bind(entry.time.as_microsecond())
                        .bind(entry.doc.to_string())
                        .execute(&mut **transaction)
                        .await?;
                }
                for change in step.silences {
                    Self::change_silence(transaction, change).await?;
                }
                if let Some(mark) = step.mark {
                    sqlx::query(statements::SET_MARK)
                        .bind(storable(mark.consumer))
                        .bind(rows::place_of(mark.seq))
                        .bind(mark.time.as_microsecond())
                        .execute(&mut **transaction)
                        .await?;
                }
                Ok(new)
            }

            async fn put_incident(
                transaction: &mut Transaction<'_, $database>,
                incident: &Incident,
            ) -> Result<(), sqlx::Error> {
                sqlx::query(statements::PUT_INCIDENT)
                    .bind(rows::kept_key(&incident.id))
                    .bind(incident.opened.as_microsecond())
                    .bind(incident.updated.as_microsecond())
                    .bind(i64::from(incident.is_open))
                    .bind(storable(incident.kind.clone()))
                    .bind(rows::severity(incident.severity))
                    .bind(incident.cluster.clone().map(storable))
                    .bind(incident.node.clone().map(storable))
                    .bind(incident.vmid.map(i64::from))
                    .bind(rows::incident_doc(incident))
                    .execute(&mut **transaction)
                    .await
                    .map(drop)
            }

            async fn merge(
                transaction: &mut Transaction<'_, $database>,
                merge: &Merge,
            ) -> Result<(), sqlx::Error> {
                let (from, into) = (rows::kept_key(&merge.from), rows::kept_key(&merge.into));
                let root: Option<Option<String>> = sqlx::query_scalar(statements::MERGED_INTO)
                    .bind(&into)
                    .fetch_optional(&mut **transaction)
                    .await?;
                let into = root.flatten().unwrap_or(into);
                // The log is read again, and they are one already.
                if into == from {
                    return Ok(());
                }
                for statement in [
                    statements::MERGE_INCIDENT,
                    statements::MERGE_REPORTS,
                    statements::MERGE_DELIVERIES,
                ] {
                    sqlx::query(statement)
                        .bind(&from)
                        .bind(&into)
                        .execute(&mut **transaction)
                        .await?;
                }
                Ok(())
            }

            async fn change_silence(
                transaction: &mut Transaction<'_, $database>,
                change: SilenceChange,
            ) -> Result<(), sqlx::Error> {
                let query = match change {
                    SilenceChange::Put(silence) => sqlx::query(statements::PUT_SILENCE)
                        .bind(rows::kept_key(&silence.name))
                        .bind(silence.until.as_microsecond())
                        .bind(storable(silence.author))
                        .bind(storable(silence.reason))
                        .bind(silence.doc.to_string()),
                    SilenceChange::Drop(name) => {
                        sqlx::query(statements::DROP_SILENCE).bind(rows::kept_key(&name))
                    }
                };
                query.execute(&mut **transaction).await.map(drop)
            }
        }
    };
}

pub(crate) use impl_pipeline;
