//! The database goes away and comes back: nothing is taken for kept that is not, and nothing that
//! was kept is lost. Between the store and a real server stands a relay that can be cut.

use std::sync::Arc;
use std::time::Duration;

use event_core::{Appended, EventLog, LogErrorKind, Seq};
use sqlx::{Connection as _, PgConnection};
use store::{Store, StoreUrl};
use testkit::contract::event_log::report;
use testkit::contract::lease::taken_when_free;
use testkit::{Progress, wait_for};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::postgres::Schema;

/// How the relay treats what comes.
#[derive(Clone, Copy, PartialEq)]
enum Line {
    Open,
    /// What is connected breaks off, and what comes is closed at once.
    Cut,
    /// What is connected stays so, and nothing moves.
    Dead,
    /// What was connected stays so, and nothing moves on it any more; what comes is passed on.
    Lost,
}

/// Passes bytes on to a server, on a port of its own.
async fn relay(server: String, line: watch::Receiver<Line>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut here, _)) = listener.accept().await {
            let (server, mut line) = (server.clone(), line.clone());
            tokio::spawn(async move {
                let began = *line.borrow_and_update();
                if began == Line::Cut {
                    return;
                }
                let Ok(mut there) = TcpStream::connect(&server).await else { return };
                while matches!(*line.borrow_and_update(), Line::Open) || began == Line::Lost {
                    tokio::select! {
                        _ = copy_bidirectional(&mut here, &mut there) => return,
                        changed = line.changed() => if changed.is_err() { return },
                    }
                }
                // Cut, it breaks off; dead or lost, it stays until the line is another one.
                let _ = line.wait_for(|line| !matches!(line, Line::Dead | Line::Lost)).await;
            });
        }
    });
    port
}

/// The store through a relay, and what switches it.
async fn over_a_relay(schema: &Schema) -> (watch::Sender<Line>, Arc<dyn Store>) {
    let url = schema.text();
    let (head, rest) = url.split_once("://").unwrap();
    let authority = rest.split(['/', '?']).next().unwrap();
    let (user, server) = authority.rsplit_once('@').unwrap();
    let (switch, line) = watch::channel(Line::Open);
    let port = relay(server.to_owned(), line).await;
    let relayed = format!("{head}://{user}@127.0.0.1:{port}{}", &rest[authority.len()..]);
    let store = store::open(&relayed.parse::<StoreUrl>().unwrap()).await.unwrap();
    (switch, store)
}

#[tokio::test]
async fn a_database_that_goes_away_and_comes_back() {
    let Some(schema) = Schema::create().await else { return };
    let (switch, store) = over_a_relay(&schema).await;
    let keep = async |key: &str| {
        EventLog::append(&*store, vec![report("hooks", key, 1).into()], Vec::new()).await
    };
    assert_eq!(keep("1").await.unwrap(), [Appended::New(Seq(1))]);

    for (line, key) in [(Line::Cut, "2"), (Line::Dead, "3")] {
        switch.send_replace(line);
        let error = keep(key).await.unwrap_err();
        assert_eq!(error.kind(), LogErrorKind::Unavailable, "{error}");
        switch.send_replace(Line::Open);
        // What was refused is told again, as whoever was refused does.
        let appended = wait_for("the database to be back", Duration::from_mins(1), async || {
            match keep(key).await {
                Ok(appended) => Progress::Ready(appended),
                Err(error) => Progress::Pending(error.to_string()),
            }
        })
        .await;
        assert_eq!(appended.len(), 1);
    }
    let kept = store.after(Seq(0), 10).await.unwrap();
    let keys: Vec<&str> = kept.iter().map(|it| it.event.source_key.as_str()).collect();
    assert_eq!(keys, ["1", "2", "3"]);
    drop(store);
    schema.drop_it().await;
}

/// Statements that nobody answers end by themselves, and whoever comes after them gets connections that work.
#[tokio::test]
async fn statements_that_are_not_answered_end() {
    let Some(schema) = Schema::create().await else { return };
    let (switch, store) = over_a_relay(&schema).await;
    let mut other = PgConnection::connect(&schema.text()).await.unwrap();
    let mut lock = other.begin().await.unwrap();
    sqlx::query("LOCK TABLE events IN ACCESS EXCLUSIVE MODE").execute(&mut *lock).await.unwrap();
    // As many as there are connections.
    let reads: Vec<_> = (0..5)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.after(Seq(0), 10).await })
        })
        .collect();
    wait_for("the reads to wait in the server", Duration::from_mins(1), async || {
        let waiting =
            "SELECT COUNT(*) FROM pg_locks WHERE NOT granted AND relation = 'events'::regclass";
        let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(&mut *lock).await.unwrap();
        if waiting == 5 { Progress::Ready(()) } else { Progress::Pending(waiting.to_string()) }
    })
    .await;
    switch.send_replace(Line::Lost);
    lock.rollback().await.unwrap();
    // Nothing moves from here on, and the clock goes to the deadline.
    tokio::time::pause();
    for read in reads {
        let said = stdx::Chain(&read.await.unwrap().unwrap_err()).to_string();
        assert!(said.contains("the database did not answer within 30 s"), "{said}");
    }
    tokio::time::resume();
    kept_at_last(&*store, "1").await;
    assert_eq!(store.head().await.unwrap(), Seq(1));
    schema.drop_it().await;
}

/// Keeps something as soon as that is possible.
async fn kept_at_last(store: &dyn Store, key: &str) {
    wait_for("something to be kept", Duration::from_mins(1), async || {
        match EventLog::append(store, vec![report("hooks", key, 1).into()], Vec::new()).await {
            Ok(_) => Progress::Ready(()),
            Err(error) => Progress::Pending(error.to_string()),
        }
    })
    .await;
}

/// Whoever holds the store and is cut off goes on when it is back and nobody had it meanwhile.
#[tokio::test]
async fn a_holder_whose_connection_breaks_takes_the_store_again() {
    let Some(schema) = Schema::create().await else { return };
    let (switch, store) = over_a_relay(&schema).await;
    let now = "2026-11-22T12:00:00Z".parse().unwrap();
    let lease = store.take_lease("alder", now).await.unwrap();
    switch.send_replace(Line::Cut);
    // It has found out by itself, whatever else is asked of the store.
    wait_for("doubt", Duration::from_mins(1), async || {
        let refused =
            EventLog::append(&*store, vec![report("hooks", "1", 1).into()], Vec::new()).await;
        let said = stdx::Chain(&refused.unwrap_err()).to_string();
        if said.contains("nothing is written until it stands again") {
            Progress::Ready(())
        } else {
            Progress::Pending(said)
        }
    })
    .await;
    switch.send_replace(Line::Open);
    kept_at_last(&*store, "2").await;
    let refused = schema.open().await.take_lease("cedar", now).await.unwrap_err();
    assert!(refused.to_string().contains("alder has it"), "{refused}");
    lease.give_back().await;
    schema.drop_it().await;
}

/// Whoever holds the store, is cut off, and comes back after another one took over has lost it: nothing of it
/// is written any more, neither by its pool nor by its session.
#[tokio::test]
async fn a_holder_that_comes_back_too_late_writes_nothing() {
    let Some(schema) = Schema::create().await else { return };
    let (switch, old) = over_a_relay(&schema).await;
    let now = "2026-11-22T12:00:00Z".parse().unwrap();
    let lease = old.take_lease("alder", now).await.unwrap();
    switch.send_replace(Line::Cut);
    let new = schema.open().await;
    let next = taken_when_free(&*new, "cedar").await;
    assert!(next.generation() > lease.generation());
    switch.send_replace(Line::Open);
    // It may be back before its keeper has noticed anything: it is the number that it lacks.
    let pool = wait_for("the pool to be back", Duration::from_mins(1), async || {
        let refused =
            EventLog::append(&*old, vec![report("hooks", "old", 1).into()], Vec::new()).await;
        let said = stdx::Chain(&refused.expect_err("it is another's")).to_string();
        if said.contains("another manager has taken over") {
            Progress::Ready(said)
        } else {
            Progress::Pending(said)
        }
    });
    pool.await;
    tokio::time::timeout(Duration::from_mins(1), lease.lost()).await.expect("it hears of it");
    kept_at_last(&*new, "new").await;
    let kept = new.after(Seq(0), 10).await.unwrap();
    let keys: Vec<&str> = kept.iter().map(|it| it.event.source_key.as_str()).collect();
    assert_eq!(keys, ["new"]);
    lease.give_back().await;
    next.give_back().await;
    schema.drop_it().await;
}

/// Appends that are given up in the middle, again and again: each is kept as a whole or not at all.
#[tokio::test]
async fn a_batch_that_nobody_waits_for_is_whole_or_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = Arc::new(store::SqliteStore::open(&path).await.unwrap());
    for batch in 0..50 {
        let store = Arc::clone(&store);
        let work = tokio::spawn(async move {
            let events = (0..20).map(|at| report("hooks", &format!("{batch}/{at}"), 1).into());
            let events = events.collect();
            store.append(events, Vec::new()).await.unwrap();
        });
        for _ in 0..batch {
            tokio::task::yield_now().await;
        }
        work.abort();
        // Ended one way or the other.
        let _ = work.await;
    }
    // The store goes on, after whatever was still being written.
    let last = store.append(vec![report("hooks", "last", 1).into()], Vec::new()).await.unwrap();
    let all = store.after(Seq(0), 2000).await.unwrap();
    assert_eq!(last, [Appended::New(Seq(all.len() as u64))]);
    let mut of_batch = std::collections::BTreeMap::<String, u32>::new();
    for it in &all {
        let key = it.event.source_key.to_string();
        *of_batch.entry(key.split('/').next().unwrap().to_owned()).or_default() += 1;
    }
    assert_eq!(of_batch.remove("last"), Some(1));
    assert!(of_batch.values().all(|count| *count == 20), "{of_batch:?}");
}
