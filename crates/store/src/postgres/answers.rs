//! A database that does not answer is not waited for: every statement of the pool has a deadline.
//!
//! The server's own `statement_timeout` is of no use where the server is what cannot be reached, and
//! the system gives up a connection after a quarter of an hour. A statement that was given up leaves
//! its connection in the middle of something, so that is looked at before anybody else gets it.
//!
//! *Invariant:* no statement, commit included, waits longer than [`LONGEST`].

use std::io;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgQueryResult, PgRow, PgStatement};
use sqlx::postgres::{PgTypeInfo, Postgres};
use sqlx::{Connection as _, Database, Either, Execute, Executor, PgPool, SqlStr};

/// How long the answer to a statement is waited for. A search through years of events takes seconds.
pub(super) const LONGEST: Duration = Duration::from_secs(30);
/// How long a connection that was used has to show that it is one.
const ALIVE: Duration = Duration::from_secs(4);
/// How long anybody waits for a connection of the pool, which tries to make one all the while.
const ACQUIRE: Duration = Duration::from_secs(3);
const MAX_CONNECTIONS: u32 = 5;

/// Connections, each statement over which has a deadline.
#[derive(Clone, Debug)]
pub(super) struct Pool(PgPool);

/// A transaction, each statement of which has a deadline. One that is dropped takes nothing with it.
#[derive(Debug)]
pub(crate) struct Transaction<'c, D: Database>(Statements<'c, D>);

/// What executes the statements of a transaction.
#[derive(Debug)]
pub(crate) struct Statements<'c, D: Database>(sqlx::Transaction<'c, D>);

/// One answer of many.
type Answer = Result<Either<PgQueryResult, PgRow>, sqlx::Error>;

/// What this comes to, unless that takes too long.
pub(super) async fn in_time<T>(
    asked: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    tokio::time::timeout(LONGEST, asked).await.unwrap_or_else(|_| Err(no_answer()))
}

fn all_in_time(mut answers: BoxStream<'_, Answer>) -> BoxStream<'_, Answer> {
    let mut until = Box::pin(tokio::time::sleep(LONGEST));
    let next = move |cx: &mut std::task::Context<'_>| {
        let next = answers.poll_next_unpin(cx);
        if next.is_pending() { until.poll_unpin(cx).map(|()| Some(Err(no_answer()))) } else { next }
    };
    stream::poll_fn(next).boxed()
}

fn no_answer() -> sqlx::Error {
    let seconds = LONGEST.as_secs();
    sqlx::Error::Io(io::Error::new(
        io::ErrorKind::TimedOut,
        format!(
            "the database did not answer within {seconds} s; see whether it can be reached, and \
             whether something else there holds a lock"
        ),
    ))
}

// === impl Pool ===

impl Pool {
    /// Nothing is connected before it is used.
    pub(super) fn new(options: PgConnectOptions) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(MAX_CONNECTIONS)
            .acquire_timeout(ACQUIRE)
            // The pool asks the same, and would wait for the answer for as long as the system does.
            .after_release(|connection, _| {
                Box::pin(async move {
                    match tokio::time::timeout(ALIVE, connection.ping()).await {
                        Ok(alive) => alive.map(|()| true),
                        Err(_) => Err(sqlx::Error::Io(io::ErrorKind::TimedOut.into())),
                    }
                })
            })
            .connect_lazy_with(options);
        Self(pool)
    }

    /// A transaction.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        Ok(Transaction(Statements(in_time(self.0.begin()).await?)))
    }
}

impl<'p> Executor<'p> for &'p Pool {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Answer>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        all_in_time(self.0.fetch_many(query))
    }

    fn fetch_optional<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        in_time(self.0.fetch_optional(query)).boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'p: 'e,
    {
        in_time(self.0.prepare_with(sql, parameters)).boxed()
    }
}

// === impl Transaction ===

impl Transaction<'_, Postgres> {
    /// Keeps what was written. Whether a server that does not answer has kept it is not known.
    pub(super) async fn commit(self) -> Result<(), sqlx::Error> {
        in_time(self.0.0.commit()).await
    }
}

impl<'c, D: Database> Deref for Transaction<'c, D> {
    type Target = Statements<'c, D>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<D: Database> DerefMut for Transaction<'_, D> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

// === impl Statements ===

impl<'t> Executor<'t> for &'t mut Statements<'_, Postgres> {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Answer>
    where
        't: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        all_in_time((&mut *self.0).fetch_many(query))
    }

    fn fetch_optional<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        't: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        in_time((&mut *self.0).fetch_optional(query)).boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        't: 'e,
    {
        in_time((&mut *self.0).prepare_with(sql, parameters)).boxed()
    }
}
