//! What stands behind "it is on disk": every commit is synced, and a full disk is survived.

use std::sync::Arc;

use event_core::{Appended, Event, EventLog as _, Kind, LogErrorKind, Seq};
use tempfile::TempDir;

use super::*;
use crate::{NewJob, Pipeline as _, Step};

fn event(key: &str) -> Event {
    let (source, time) = ("hooks".parse().unwrap(), "2026-11-22T12:00:00Z".parse().unwrap());
    Event::builder(&source, "webhook", key, Kind::BackupFailed, time)
        .message("x".repeat(5000))
        .build(time)
}

async fn store() -> (TempDir, SqliteStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("store.db")).await.unwrap();
    (folder, store)
}

/// Sets a pragma of the connection that writes.
async fn set(store: &SqliteStore, pragma: &str, value: i64) {
    let set = sqlx::AssertSqlSafe(format!("PRAGMA {pragma} = {value}"));
    sqlx::raw_sql(set).execute(&store.pool).await.unwrap();
}

/// Leaves no room in the file for what the connection writes from now on.
async fn fill(store: &SqliteStore) {
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&store.pool).await.unwrap();
    set(store, "max_page_count", pages).await;
}

/// What an intent, an audit record or an event relies on: a commit that has returned is on the disk.
#[tokio::test]
async fn every_commit_is_synced() {
    let (_folder, store) = store().await;
    let sync: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&store.pool).await.unwrap();
    assert_eq!(sync, SYNC_FULL);
    let journal: String =
        sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&store.pool).await.unwrap();
    assert_eq!(journal, "wal");
}

#[tokio::test]
async fn a_file_that_does_not_sync_is_refused() {
    let (_folder, store) = store().await;
    sqlx::raw_sql("PRAGMA synchronous = NORMAL").execute(&store.pool).await.unwrap();
    let error = check_sync(&store.pool, "/x/store.db").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("synchronous is 1, journal is wal"), "{error}");
}

#[tokio::test]
async fn of_a_batch_that_found_the_disk_full_nothing_is_kept() {
    let (_folder, store) = store().await;
    store.append(vec![event("before").into()], Vec::new()).await.unwrap();
    fill(&store).await;
    let cursors = vec![("hooks".parse().unwrap(), event_core::Cursor::new("9"))];
    let batch: Vec<Arc<Event>> = (0..100).map(|at| event(&at.to_string()).into()).collect();
    let error = store.append(batch.clone(), cursors.clone()).await.unwrap_err();
    assert_eq!(error.kind(), LogErrorKind::Unavailable);
    assert_eq!(
        stdx::Chain(&error).to_string(),
        "keep 100 events: error returned from database: (code: 13) database or disk is full"
    );
    assert_eq!(store.head().await.unwrap(), Seq(1));
    assert_eq!(store.cursor(&cursors[0].0).await.unwrap(), None);

    // Room again.
    set(&store, "max_page_count", 1_000_000).await;
    let appended = store.append(batch, cursors.clone()).await.unwrap();
    assert_eq!(appended.last(), Some(&Appended::New(Seq(101))));
    assert_eq!(store.cursor(&cursors[0].0).await.unwrap().as_ref(), Some(&cursors[0].1));
}

/// SQLite can end a transaction by itself, as when the disk is full in its middle. The driver counts
/// it all the same, and nothing could ever begin on that connection: it is not used again.
#[tokio::test]
async fn a_transaction_that_the_engine_ended_stops_nobody() {
    let (_folder, store) = store().await;
    set(&store, "cache_size", -1234).await;
    let mut transaction = store.begin_write().await.unwrap();
    sqlx::raw_sql("ROLLBACK").execute(&mut *transaction).await.unwrap();
    drop(transaction);
    store.commit_step(Step { raised: vec![event("1")], ..Step::default() }).await.unwrap();
    assert_eq!(store.head().await.unwrap(), Seq(1));
    let now = "2026-11-22T12:00:00Z".parse().unwrap();
    let job = store.create_job(NewJob::new(Principal::local(1), "x"), now).await.unwrap();
    assert!(store.find_job(job.id).await.unwrap().is_some());
    let cache: i64 = sqlx::query_scalar("PRAGMA cache_size").fetch_one(&store.pool).await.unwrap();
    assert_ne!(cache, -1234, "it is another connection");
    check_sync(&store.pool, "/x/store.db").await.expect("and syncs as the first did");
}

/// A transaction that is given up leaves its connection as it was.
#[tokio::test]
async fn what_was_given_up_costs_no_connection() {
    let (_folder, store) = store().await;
    set(&store, "cache_size", -1234).await;
    drop(store.begin_write().await.unwrap());
    let cache: i64 = sqlx::query_scalar("PRAGMA cache_size").fetch_one(&store.pool).await.unwrap();
    assert_eq!(cache, -1234);
}
