//! A session of its own holds the store: the server gives the lock to another one when the session's
//! connection is gone, however it went.
//!
//! *Invariant:* between the loss of the connection and knowing that nobody else took the store, nothing
//! is written.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::{Connection as _, PgConnection, Postgres};
use stdx::Backoff;
use tokio::sync::oneshot;

use super::answers::{Transaction, in_time};
use super::{PostgresStore, connect};
use crate::Error;
use crate::lease::{self, Fence, Hold, Lease, Leases};
use crate::rows::storable;

/// Marks the lock of managers among advisory locks; the schema's hash stands beside it.
const LEASE_LOCK: i32 = 0x7072_6f78;
/// How often the holder asks whether its connection stands, and how long it waits for the answer.
const ASK: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(4));
/// The pauses while the connection is lost.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// After a power cut the server hears nothing from a holder, and lets its session go after this many
/// seconds and probes. The holder has noticed long before.
const KEEPALIVE: [(&str, &str); 3] =
    [("tcp_keepalives_idle", "8"), ("tcp_keepalives_interval", "4"), ("tcp_keepalives_count", "3")];

const TAKE: &str = "SELECT pg_try_advisory_lock($1, hashtext(current_schema()))";
const GIVE: &str = "SELECT pg_advisory_unlock($1, hashtext(current_schema()))";
const HELD: &str = "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted \
     AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
     AND classid = $1::bigint::oid AND objsubid = 2 \
     AND objid = (hashtext(current_schema())::bigint & 4294967295)::oid)";
const GENERATION: &str = "SELECT generation FROM lease WHERE id = 1";
/// Waits for a manager that is just taking over, and keeps the next one out until the end.
const STILL: &str = "SELECT generation FROM lease WHERE id = 1 AND generation = $1 FOR SHARE";

/// What keeps a lease.
struct Keeper {
    store: PostgresStore,
    generation: i64,
    back: oneshot::Receiver<()>,
}

/// What became of trying to have it again.
enum Again {
    Held(PgConnection),
    /// The server does not know yet that the old session is gone.
    NotYet,
    Gone,
}

#[async_trait::async_trait]
impl Leases for PostgresStore {
    async fn take_lease(&self, holder: &str, now: Timestamp) -> Result<Lease, Error> {
        let place = self.target.to_string();
        let failed = |error| Error::server(format!("take the store at {place}"), error);
        let mut session = self.session().await.map_err(failed)?;
        if !lock(&mut session).await.map_err(failed)? {
            let holder = sqlx::query_as(lease::HOLDER).fetch_optional(&mut session);
            let holder = in_time(holder).await.map_err(failed)?;
            return Err(lease::taken(&place, holder));
        }
        let next = sqlx::query_scalar(lease::NEXT)
            .bind(storable(holder.to_owned()))
            .bind(now.as_microsecond())
            .fetch_one(&mut session);
        let generation: i64 = in_time(next).await.map_err(failed)?;
        let (back, given) = oneshot::channel();
        let keeper = Keeper { store: self.clone(), generation, back: given };
        let keeper = tokio::spawn(keeper.keep(session));
        Ok(Lease::new(generation, &self.fence, back, keeper))
    }
}

// === impl PostgresStore ===

impl PostgresStore {
    /// A connection that is no part of the pool.
    async fn session(&self) -> Result<PgConnection, sqlx::Error> {
        connect(&self.options.clone().options(KEEPALIVE)).await
    }

    /// Whether it is this handle that tells what waits. Another one may take over right after, as it
    /// may while something is told: whoever tells finds that out when it writes.
    pub(super) async fn check_held(&self) -> Result<(), sqlx::Error> {
        let Some(ours) = self.fence.pass()? else { return Ok(()) };
        let generation: Option<i64> =
            sqlx::query_scalar(GENERATION).fetch_optional(self.reads()).await?;
        if generation != Some(ours) {
            self.fence.set(Hold::Gone);
            return Err(lease::NotHeld::Gone.into());
        }
        Ok(())
    }

    /// Whether what is written in this transaction may be: nobody can take over before its end.
    pub(super) async fn check_lease(
        transaction: &mut Transaction<'_, Postgres>,
        generation: i64,
        fence: &Fence,
    ) -> Result<(), sqlx::Error> {
        let still: Option<i64> =
            sqlx::query_scalar(STILL).bind(generation).fetch_optional(&mut **transaction).await?;
        if still.is_none() {
            fence.set(Hold::Gone);
            return Err(lease::NotHeld::Gone.into());
        }
        Ok(())
    }
}

// === impl Keeper ===

impl Keeper {
    async fn keep(mut self, mut session: PgConnection) {
        loop {
            tokio::select! {
                _ = &mut self.back => return self.give(session).await,
                () = tokio::time::sleep(ASK.0) => {}
            }
            match tokio::time::timeout(ASK.1, generation(&mut session)).await {
                Ok(Ok(generation)) if generation == Some(self.generation) => continue,
                Ok(Ok(_)) => return self.gone(),
                Ok(Err(error)) => {
                    tracing::warn!(error = %stdx::Chain(&error), "the connection that holds the store is lost: nothing is written until it stands again");
                }
                Err(_) => {
                    tracing::warn!(
                        "the connection that holds the store does not answer: nothing is written until it stands again"
                    );
                }
            }
            self.store.fence.set(Hold::Doubt);
            drop(session);
            match self.again().await {
                Some(stands) => session = stands,
                None => return,
            }
            self.store.fence.set(Hold::Held(self.generation));
            tracing::info!("the store is held again, and nobody had it meanwhile");
        }
    }

    /// Tries until it is known who has the store; nothing if that is another one, or nobody wants it any more.
    async fn again(&mut self) -> Option<PgConnection> {
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        loop {
            match self.try_again().await {
                Ok(Again::Held(session)) => return Some(session),
                Ok(Again::Gone) => {
                    self.gone();
                    return None;
                }
                Ok(Again::NotYet) => {}
                Err(error) => {
                    tracing::debug!(error = %stdx::Chain(&error), "the store is still away");
                }
            }
            tokio::select! {
                _ = &mut self.back => {
                    self.store.fence.set(Hold::Gone);
                    return None;
                }
                () = tokio::time::sleep(backoff.next_delay()) => {}
            }
        }
    }

    async fn try_again(&self) -> Result<Again, sqlx::Error> {
        let mut session = self.store.session().await?;
        let has = lock(&mut session).await?;
        if generation(&mut session).await? != Some(self.generation) {
            return Ok(Again::Gone);
        }
        Ok(if has { Again::Held(session) } else { Again::NotYet })
    }

    fn gone(&self) {
        tracing::error!("another manager has taken over the store: this one writes nothing more");
        self.store.fence.set(Hold::Gone);
    }

    async fn give(self, mut session: PgConnection) {
        self.store.fence.set(Hold::Gone);
        // One that cannot be unlocked is when its connection is gone.
        let given = async {
            let _ = sqlx::query(GIVE).bind(LEASE_LOCK).execute(&mut session).await;
            let _ = session.close().await;
        };
        let _ = tokio::time::timeout(ASK.1, given).await;
    }
}

async fn lock(session: &mut PgConnection) -> Result<bool, sqlx::Error> {
    in_time(sqlx::query_scalar(TAKE).bind(LEASE_LOCK).fetch_one(session)).await
}

/// Whether any session has the store of this connection's schema now.
pub(crate) async fn is_held(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    in_time(sqlx::query_scalar(HELD).bind(LEASE_LOCK).fetch_one(connection)).await
}

async fn generation(session: &mut PgConnection) -> Result<Option<i64>, sqlx::Error> {
    in_time(sqlx::query_scalar(GENERATION).fetch_optional(session)).await
}
