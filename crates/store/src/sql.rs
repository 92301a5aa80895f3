//! Jobs and the guard's rows over a pool, written once for both engines.
//!
//! A macro rather than generics: every statement is the same to the letter, only the pool's type
//! differs, and sqlx asks for a page of bounds to say that generically. An engine adds `insert_counted`:
//! adding an action and counting those before it is one step in each, but not the same.

/// Adds a row through a pool or a transaction.
macro_rules! insert_row {
    ($executor:expr, $table:expr, $row:expr) => {
        sqlx::query(statements::of($table).insert)
            .bind(&$row.id)
            .bind(&$row.principal)
            .bind(&$row.kind)
            .bind(&$row.subject)
            .bind(&$row.state)
            .bind($row.unasked)
            .bind($row.made_us)
            .bind($row.due_us)
            .bind($row.version)
            .bind(&$row.doc)
            .execute($executor)
            .await
            .map(|_| ())
    };
}

/// Replaces a row of the version before, and says whether it was there.
macro_rules! replace_row {
    ($executor:expr, $table:expr, $row:expr) => {
        sqlx::query(statements::of($table).replace)
            .bind(&$row.id)
            .bind(&$row.state)
            .bind($row.version)
            .bind(&$row.doc)
            .execute($executor)
            .await
            .map(|done| done.rows_affected() == 1)
    };
}

/// Adds a record of the audit log.
macro_rules! insert_audit {
    ($executor:expr, $record:expr) => {
        sqlx::query(statements::INSERT_AUDIT)
            .bind(rows::to_i64($record.seq))
            .bind($record.time.as_microsecond())
            .bind(&$record.principal)
            .bind(&$record.action)
            .bind(&$record.target)
            .bind(&$record.payload)
            .bind(&$record.prev_hash)
            .bind(&$record.hash)
            .execute($executor)
            .await
            .map(|_| ())
    };
}

/// The audit log: `audit_end` of the engine is what this program wrote last, `begin_append` begins a
/// transaction in which nobody else appends.
macro_rules! impl_audit {
    ($store:ident) => {
        #[async_trait::async_trait]
        impl $crate::AuditLog for $store {
            async fn append(&self, record: NewAuditRecord) -> Result<AuditRecord, Error> {
                let failed = |error| Error::engine("append to the audit log", error);
                let mut end = self.audit_end.lock().await;
                // Behind what this program wrote last. Where another one came between, the number
                // is taken and nothing is written; numbers are given without gaps, so where it is
                // free, that was the end.
                if let Some(last) = end.take() {
                    let record = AuditRecord::after(Some(last), record.clone())?;
                    match insert_audit!(&self.pool, record) {
                        Ok(()) => {
                            *end = Some(record.end());
                            return Ok(record);
                        }
                        Err(error) if is_taken(&error) => {}
                        Err(error) => return Err(failed(error)),
                    }
                }
                let mut transaction = self.begin_append().await.map_err(failed)?;
                let last: Option<(i64, String)> = sqlx::query_as(statements::LAST_AUDIT)
                    .fetch_optional(&mut *transaction)
                    .await
                    .map_err(failed)?;
                let record = AuditRecord::after(last, record)?;
                insert_audit!(&mut *transaction, record).map_err(failed)?;
                transaction.commit().await.map_err(failed)?;
                *end = Some(record.end());
                Ok(record)
            }

            async fn audit_records(
                &self,
                after: u64,
                limit: u32,
            ) -> Result<Vec<AuditRecord>, Error> {
                sqlx::query_as::<_, AuditRow>(statements::AUDIT_AFTER)
                    .bind(rows::to_i64(after))
                    .bind(i64::from(limit))
                    .fetch_all(&self.pool)
                    .await
                    .map_err(|error| Error::engine("read the audit log", error))?
                    .into_iter()
                    .map(rows::audit_record)
                    .collect()
            }

            async fn keep_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), Error> {
                sqlx::query(statements::INSERT_CHECKPOINT)
                    .bind(rows::to_i64(checkpoint.seq))
                    .bind(&checkpoint.head)
                    .bind(checkpoint.time.as_microsecond())
                    .bind(&checkpoint.key)
                    .bind(&checkpoint.signature)
                    .execute(&self.pool)
                    .await
                    .map(|_| ())
                    .map_err(|error| Error::engine("keep a checkpoint of the audit log", error))
            }

            async fn checkpoints(&self, after: u64, limit: u32) -> Result<Vec<Checkpoint>, Error> {
                sqlx::query_as::<_, CheckpointRow>(statements::CHECKPOINTS_AFTER)
                    .bind(rows::to_i64(after))
                    .bind(i64::from(limit))
                    .fetch_all(&self.pool)
                    .await
                    .map_err(|error| Error::engine("read the audit log's checkpoints", error))?
                    .into_iter()
                    .map(rows::checkpoint)
                    .collect()
            }
        }
    };
}

macro_rules! impl_jobs_and_rows {
    ($store:ident) => {
        #[async_trait::async_trait]
        impl $crate::JobStore for $store {
            async fn create_job(&self, job: NewJob, now: Timestamp) -> Result<Job, Error> {
                let id = JobId::random();
                let now = micros::floor(now);
                let label = rows::storable(job.label);
                let refs = rows::storable_refs(job.refs);
                sqlx::query(statements::INSERT_JOB)
                    .bind(id.to_string())
                    .bind(job.owner.to_string())
                    .bind(&label)
                    .bind(rows::refs_text(&refs))
                    .bind(now.as_microsecond())
                    .execute(&self.pool)
                    .await
                    .map_err(|error| Error::engine("store a job", error))?;
                Ok(Job {
                    id,
                    owner: job.owner,
                    label,
                    refs,
                    state: JobState::Running,
                    created: now,
                    updated: now,
                    result: None,
                })
            }

            async fn set_refs(
                &self,
                id: JobId,
                refs: Vec<String>,
                now: Timestamp,
            ) -> Result<Job, Error> {
                let refs = rows::refs_text(&rows::storable_refs(refs));
                let changed = sqlx::query_as::<_, JobRow>(statements::SET_REFS)
                    .bind(id.to_string())
                    .bind(refs)
                    .bind(now.as_microsecond())
                    .fetch_optional(&self.pool)
                    .await
                    .map_err(|error| Error::engine(format!("note how far job {id} is"), error))?;
                match changed {
                    Some(row) => rows::job(row),
                    None => Err(self.job_refused("note how far it is of", id).await),
                }
            }

            async fn ask_job(
                &self,
                id: JobId,
                questions: Option<serde_json::Value>,
                now: Timestamp,
            ) -> Result<Job, Error> {
                self.set_job("change", id, jobs::asking(questions.as_ref()), questions, now).await
            }

            async fn finish_job(
                &self,
                id: JobId,
                state: JobState,
                result: Option<serde_json::Value>,
                now: Timestamp,
            ) -> Result<Job, Error> {
                jobs::check_final(id, state)?;
                self.set_job("finish", id, state, result, now).await
            }

            async fn job(&self, id: JobId, owner: &Principal) -> Result<Option<Job>, Error> {
                sqlx::query_as::<_, JobRow>(statements::OWNED_JOB)
                    .bind(id.to_string())
                    .bind(owner.to_string())
                    .fetch_optional(&self.pool)
                    .await
                    .map_err(|error| Error::engine(format!("read job {id}"), error))?
                    .map(rows::job)
                    .transpose()
            }

            async fn find_job(&self, id: JobId) -> Result<Option<Job>, Error> {
                sqlx::query_as::<_, JobRow>(statements::JOB)
                    .bind(id.to_string())
                    .fetch_optional(&self.pool)
                    .await
                    .map_err(|error| Error::engine(format!("read job {id}"), error))?
                    .map(rows::job)
                    .transpose()
            }

            async fn jobs(&self, owner: &Principal, limit: u32) -> Result<Vec<Job>, Error> {
                sqlx::query_as::<_, JobRow>(statements::OWNED_JOBS)
                    .bind(owner.to_string())
                    .bind(i64::from(limit))
                    .fetch_all(&self.pool)
                    .await
                    .map_err(|error| Error::engine("list jobs", error))?
                    .into_iter()
                    .map(rows::job)
                    .collect()
            }

            async fn running_jobs(&self) -> Result<Vec<Job>, Error> {
                sqlx::query_as::<_, JobRow>(statements::RUNNING_JOBS)
                    .fetch_all(&self.pool)
                    .await
                    .map_err(|error| Error::engine("list running jobs", error))?
                    .into_iter()
                    .map(rows::job)
                    .collect()
            }

            async fn forget_jobs(&self, before: Timestamp) -> Result<u64, Error> {
                sqlx::query(statements::FORGET_JOBS)
                    .bind(before.as_microsecond())
                    .execute(&self.pool)
                    .await
                    .map(|done| done.rows_affected())
                    .map_err(|error| Error::engine("forget old jobs", error))
            }
        }

        #[async_trait::async_trait]
        impl $crate::records::Rows for $store {
            async fn insert(&self, table: Table, row: Row) -> Result<(), Error> {
                let failed = |error| Error::engine(format!("store {}", row.named(table)), error);
                insert_row!(&self.pool, table, row).map_err(failed)
            }

            async fn row(&self, table: Table, id: &str) -> Result<Option<Row>, Error> {
                sqlx::query_as::<_, Columns>(statements::of(table).row)
                    .bind(id)
                    .fetch_optional(&self.pool)
                    .await
                    .map(|columns| columns.map(Row::from))
                    .map_err(|error| Error::engine(format!("read {} {id}", table.noun()), error))
            }

            async fn rows(&self, table: Table, filter: &Filter) -> Result<Vec<Row>, Error> {
                sqlx::query_as::<_, Columns>(statements::of(table).many(filter.order))
                    .bind(&filter.principal)
                    .bind(&filter.kind)
                    .bind(&filter.subject)
                    .bind(filter.states_text())
                    .bind(filter.since)
                    .bind(filter.due_after)
                    .bind(filter.due_until)
                    .bind(i64::from(filter.limit))
                    .fetch_all(&self.pool)
                    .await
                    .map(|rows| rows.into_iter().map(Row::from).collect())
                    .map_err(|error| Error::engine(format!("list {}s", table.noun()), error))
            }

            async fn replace(
                &self,
                table: Table,
                row: Row,
                also: Option<Row>,
            ) -> Result<bool, Error> {
                let failed = |error| Error::engine(format!("change {}", row.named(table)), error);
                let Some(also) = also else {
                    return replace_row!(&self.pool, table, row).map_err(failed);
                };
                let mut transaction = self.pool.begin().await.map_err(failed)?;
                // A transaction that is dropped takes nothing with it.
                if !replace_row!(&mut *transaction, table, row).map_err(failed)? {
                    return Ok(false);
                }
                insert_row!(&mut *transaction, table, also).map_err(failed)?;
                transaction.commit().await.map_err(failed)?;
                Ok(true)
            }

            async fn insert_within(
                &self,
                row: Row,
                since: i64,
                limits: Limits,
            ) -> Result<bool, Error> {
                let named = row.named(Table::Actions);
                self.insert_counted(row, since, limits)
                    .await
                    .map_err(|error| Error::engine(format!("store {named}"), error))
            }

            async fn count(&self, principal: &str, since: i64) -> Result<Changes, Error> {
                sqlx::query_as(statements::COUNT_CHANGES)
                    .bind(principal)
                    .bind(since)
                    .fetch_one(&self.pool)
                    .await
                    .map(rows::changes)
                    .map_err(|error| Error::engine("count changes", error))
            }
        }

        impl $store {
            async fn set_job(
                &self,
                operation: &str,
                id: JobId,
                state: JobState,
                result: Option<serde_json::Value>,
                now: Timestamp,
            ) -> Result<Job, Error> {
                let changed = sqlx::query_as::<_, JobRow>(statements::SET_JOB)
                    .bind(id.to_string())
                    .bind(state.as_str())
                    .bind(result.map(|result| result.to_string()))
                    .bind(now.as_microsecond())
                    .fetch_optional(&self.pool)
                    .await
                    .map_err(|error| Error::engine(format!("{operation} job {id}"), error))?;
                match changed {
                    Some(row) => rows::job(row),
                    None => Err(self.job_refused(operation, id).await),
                }
            }

            /// Looks up why the statement changed nothing.
            async fn job_refused(&self, operation: &str, id: JobId) -> Error {
                match self.find_job(id).await {
                    Ok(job) => jobs::refused(operation, id, job.map(|job| job.state)),
                    Err(error) => error,
                }
            }
        }
    };
}

pub(crate) use {impl_audit, impl_jobs_and_rows, insert_audit, insert_row, replace_row};

/// The end of the audit log as this program wrote it last: number and hash.
pub(crate) type AuditEnd = std::sync::Arc<tokio::sync::Mutex<Option<(i64, String)>>>;

/// Whether a key was given before.
pub(crate) fn is_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

/// What the macro's body names, so that an engine's file imports one thing.
pub(crate) mod names {
    pub(crate) use guard::Principal;
    pub(crate) use jiff::Timestamp;

    pub(crate) use crate::audit::{AuditRecord, Checkpoint, NewAuditRecord};
    pub(crate) use crate::jobs::{self, Job, JobState, JobStore as _, NewJob};
    pub(crate) use crate::records::{Changes, Columns, Filter, Limits, Row, Table, micros};
    pub(crate) use crate::rows::{self, AuditRow, CheckpointRow, JobRow};
    pub(crate) use crate::sql::{AuditEnd, insert_audit, insert_row, is_taken, replace_row};
    pub(crate) use crate::{Error, JobId, statements};
}
