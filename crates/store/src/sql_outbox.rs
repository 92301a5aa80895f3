//! The outbox over a pool, written once for both engines as in [`crate::sql`]. An engine adds
//! `check_held`: whether what was just read may be told by this handle.

/// The outbox.
macro_rules! impl_outbox {
    ($store:ident, $database:ident) => {
        #[async_trait::async_trait]
        impl $crate::Outbox for $store {
            async fn due(
                &self,
                output: &ComponentId,
                now: Timestamp,
                limit: u32,
            ) -> Result<Vec<Queued>, Error> {
                let failed = |error| Error::engine(format!("read what {output} is told"), error);
                let due: Vec<_> = sqlx::query_as(statements::DUE)
                    .bind(output.as_str())
                    .bind(now.as_microsecond())
                    .bind(i64::from(limit))
                    .fetch_all(self.reads())
                    .await
                    .map_err(failed)?;
                // Whoever reads this tells it. Asked afterwards, so that it was ours when it was read.
                self.check_held().await.map_err(failed)?;
                rows::all_queued(due)
            }

            async fn next_due(&self, output: &ComponentId) -> Result<Option<Timestamp>, Error> {
                let what = format!("when {output} is told next");
                let due: Option<i64> = sqlx::query_scalar(statements::NEXT_DUE)
                    .bind(output.as_str())
                    .fetch_one(self.reads())
                    .await
                    .map_err(|error| Error::engine(format!("read {what}"), error))?;
                read_time(due, &what)
            }

            async fn delivered(
                &self,
                key: &DeliveryKey,
                told: Told<'_>,
                now: Timestamp,
            ) -> Result<bool, Error> {
                let named = key.as_str();
                let failed = |error| Error::engine(format!("note that {named} was told"), error);
                let mut transaction = self.begin_write().await.map_err(failed)?;
                let done = sqlx::query(statements::SET_DONE)
                    .bind(named)
                    .bind(rows::receipt_doc(told.receipt))
                    .bind(now.as_microsecond())
                    .execute(&mut *transaction)
                    .await
                    .map_err(failed)?;
                Self::keep_names(&mut transaction, told, now).await.map_err(failed)?;
                transaction.commit().await.map_err(failed)?;
                Ok(done.rows_affected() == 1)
            }

            async fn failed(
                &self,
                key: &DeliveryKey,
                error: &str,
                due: Timestamp,
                so_far: Option<Told<'_>>,
            ) -> Result<bool, Error> {
                let named = key.as_str();
                let failed = |error| Error::engine(format!("note why {named} failed"), error);
                let mut transaction = self.begin_write().await.map_err(failed)?;
                let done = sqlx::query(statements::SET_FAILED)
                    .bind(named)
                    .bind(outbox::kept_error(error))
                    .bind(due.as_microsecond())
                    .bind(so_far.map(|told| rows::receipt_doc(told.receipt)))
                    .execute(&mut *transaction)
                    .await
                    .map_err(failed)?;
                if let Some(told) = so_far {
                    Self::keep_names(&mut transaction, told, due).await.map_err(failed)?;
                }
                transaction.commit().await.map_err(failed)?;
                Ok(done.rows_affected() == 1)
            }

            async fn bury(
                &self,
                key: &DeliveryKey,
                error: &str,
                now: Timestamp,
            ) -> Result<bool, Error> {
                let named = key.as_str();
                let failed = |error| Error::engine(format!("note that {named} is dead"), error);
                let mut transaction = self.begin_write().await.map_err(failed)?;
                let done = sqlx::query(statements::SET_DEAD)
                    .bind(named)
                    .bind(outbox::kept_error(error))
                    .bind(now.as_microsecond())
                    .execute(&mut *transaction)
                    .await
                    .map_err(failed)?;
                transaction.commit().await.map_err(failed)?;
                Ok(done.rows_affected() == 1)
            }

            async fn dead(&self, which: &Dead, limit: u32) -> Result<Vec<Queued>, Error> {
                let failed = |error| Error::engine("list dead letters", error);
                let Dead::Keys(keys) = which else {
                    return sqlx::query_as(statements::DEAD)
                        .bind(which.output())
                        .bind(i64::from(limit))
                        .fetch_all(self.reads())
                        .await
                        .map_err(failed)
                        .and_then(rows::all_queued);
                };
                let mut found = Vec::new();
                for key in keys.iter().take(limit as usize) {
                    found.extend(self.delivery(key).await?);
                }
                found.retain(|it| it.state == DeliveryState::Dead);
                Ok(found)
            }

            async fn replay(&self, which: &Dead, now: Timestamp) -> Result<u64, Error> {
                let failed = |error| Error::engine("put dead letters back", error);
                let mut transaction = self.begin_write().await.map_err(failed)?;
                let mut count = 0;
                for (statement, of) in which.each(statements::REPLAY, statements::REPLAY_ONE) {
                    let done = sqlx::query(statement)
                        .bind(of)
                        .bind(now.as_microsecond())
                        .execute(&mut *transaction)
                        .await
                        .map_err(failed)?;
                    count += done.rows_affected();
                }
                transaction.commit().await.map_err(failed)?;
                Ok(count)
            }

            async fn purge(&self, which: &Dead) -> Result<u64, Error> {
                let failed = |error| Error::engine("throw dead letters away", error);
                let mut transaction = self.begin_write().await.map_err(failed)?;
                let mut count = 0;
                for (statement, of) in which.each(statements::PURGE, statements::PURGE_ONE) {
                    let done = sqlx::query(statement)
                        .bind(of)
                        .execute(&mut *transaction)
                        .await
                        .map_err(failed)?;
                    count += done.rows_affected();
                }
                transaction.commit().await.map_err(failed)?;
                Ok(count)
            }

            async fn delivery(&self, key: &DeliveryKey) -> Result<Option<Queued>, Error> {
                sqlx::query_as(statements::DELIVERY)
                    .bind(key.as_str())
                    .fetch_optional(self.reads())
                    .await
                    .map_err(|error| {
                        Error::engine(format!("read delivery {}", key.as_str()), error)
                    })?
                    .map(rows::queued)
                    .transpose()
            }

            async fn prior_receipt(
                &self,
                output: &ComponentId,
                incident: &str,
            ) -> Result<Option<Receipt>, Error> {
                let what = format!("what {output} was told of {incident}");
                let receipt: Option<String> = sqlx::query_scalar(statements::PRIOR_RECEIPT)
                    .bind(output.as_str())
                    .bind(rows::kept_key(incident))
                    .fetch_optional(self.reads())
                    .await
                    .map_err(|error| Error::engine(format!("read {what}"), error))?;
                receipt.map(|text| rows::read_receipt(&text, &what)).transpose()
            }

            async fn is_ours(&self, service: &str, id: &str) -> Result<bool, Error> {
                sqlx::query_scalar(statements::RECEIPT)
                    .bind(rows::kept_key(service))
                    .bind(rows::kept_key(id))
                    .fetch_one(self.reads())
                    .await
                    .map(|count: i64| count > 0)
                    .map_err(|error| Error::engine(format!("read receipts of {service}"), error))
            }

            async fn output_counts(&self) -> Result<Vec<OutputCount>, Error> {
                sqlx::query_as(statements::OUTPUT_COUNTS)
                    .fetch_all(self.reads())
                    .await
                    .map_err(|error| Error::engine("count deliveries", error))?
                    .into_iter()
                    .map(rows::output_count)
                    .collect()
            }
        }

        impl $store {
            /// Keeps what a service called our messages.
            async fn keep_names(
                transaction: &mut Transaction<'_, $database>,
                told: Told<'_>,
                now: Timestamp,
            ) -> Result<(), sqlx::Error> {
                for id in &told.receipt.ids {
                    sqlx::query(statements::INSERT_RECEIPT)
                        .bind(rows::kept_key(told.service))
                        .bind(rows::kept_key(id))
                        .bind(now.as_microsecond())
                        .execute(&mut **transaction)
                        .await?;
                }
                Ok(())
            }
        }
    };
}

pub(crate) use impl_outbox;
