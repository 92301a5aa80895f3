//! Jobs and approvals over a pool, written once for both engines.
//!
//! A macro rather than generics: every statement is the same to the letter, only the pool's type
//! differs, and sqlx asks for a page of bounds to say that generically.

macro_rules! impl_jobs_and_approvals {
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
        impl $crate::ApprovalStore for $store {
            async fn ask(&self, approval: NewApproval, now: Timestamp) -> Result<Approval, Error> {
                let approval = approval.pending(now);
                sqlx::query(statements::INSERT_APPROVAL)
                    .bind(approval.id.to_string())
                    .bind(approval.plan_digest.to_string())
                    .bind(approval.requested_by.to_string())
                    .bind(approval.asked_at.as_microsecond())
                    .bind(approval.expires_at.as_microsecond())
                    .execute(&self.pool)
                    .await
                    .map_err(|error| Error::engine("store an approval", error))?;
                Ok(approval)
            }

            async fn approval(&self, id: ApprovalId) -> Result<Option<Approval>, Error> {
                sqlx::query_as::<_, ApprovalRow>(statements::APPROVAL)
                    .bind(id.to_string())
                    .fetch_optional(&self.pool)
                    .await
                    .map_err(|error| Error::engine(format!("read approval {id}"), error))?
                    .map(rows::approval)
                    .transpose()
            }

            async fn pending_approvals(&self, now: Timestamp) -> Result<Vec<Approval>, Error> {
                sqlx::query_as::<_, ApprovalRow>(statements::PENDING_APPROVALS)
                    .bind(now.as_microsecond())
                    .fetch_all(&self.pool)
                    .await
                    .map_err(|error| Error::engine("list pending approvals", error))?
                    .into_iter()
                    .map(rows::approval)
                    .collect()
            }

            async fn decide(
                &self,
                id: ApprovalId,
                decision: Decision,
                by: &Principal,
                now: Timestamp,
            ) -> Result<Approval, Error> {
                let changed = sqlx::query_as::<_, ApprovalRow>(statements::DECIDE)
                    .bind(id.to_string())
                    .bind(ApprovalState::from(decision).as_str())
                    .bind(by.to_string())
                    .bind(now.as_microsecond())
                    .fetch_optional(&self.pool)
                    .await
                    .map_err(|error| Error::engine(format!("decide approval {id}"), error))?;
                match changed {
                    Some(row) => rows::approval(row),
                    None => Err(self.approval_refused("decide", id, None, now).await),
                }
            }

            async fn use_approval(
                &self,
                id: ApprovalId,
                plan: PlanDigest,
                now: Timestamp,
            ) -> Result<Approval, Error> {
                let changed = sqlx::query_as::<_, ApprovalRow>(statements::USE_APPROVAL)
                    .bind(id.to_string())
                    .bind(plan.to_string())
                    .bind(now.as_microsecond())
                    .fetch_optional(&self.pool)
                    .await
                    .map_err(|error| Error::engine(format!("use approval {id}"), error))?;
                match changed {
                    Some(row) => rows::approval(row),
                    None => Err(self.approval_refused("use", id, Some(plan), now).await),
                }
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

            /// Looks up why the statement changed nothing.
            async fn approval_refused(
                &self,
                operation: &str,
                id: ApprovalId,
                plan: Option<PlanDigest>,
                now: Timestamp,
            ) -> Error {
                match self.approval(id).await {
                    Ok(found) => approvals::refused(operation, id, found.as_ref(), plan, now),
                    Err(error) => error,
                }
            }
        }
    };
}

pub(crate) use impl_jobs_and_approvals;

/// What the macro's body names, so that an engine's file imports one thing.
pub(crate) mod names {
    pub(crate) use guard::Principal;
    pub(crate) use jiff::Timestamp;

    pub(crate) use crate::approvals::{
        self, Approval, ApprovalState, ApprovalStore as _, Decision, NewApproval,
    };
    pub(crate) use crate::jobs::{self, Job, JobState, JobStore as _, NewJob};
    pub(crate) use crate::rows::{self, ApprovalRow, JobRow, micros};
    pub(crate) use crate::{ApprovalId, Error, JobId, PlanDigest, statements};
}
