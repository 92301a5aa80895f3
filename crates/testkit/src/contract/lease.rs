//! The contract of leases: one manager has a store at a time.

use std::sync::Arc;
use std::time::Duration;

use event_core::{Appended, EventLog, LogError};
use jiff::Timestamp;
use store::{ErrorKind, Lease, Store};

use super::event_log::{after, component, report};
use super::events::delivery;
use crate::{Progress, wait_for};

fn noon() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().expect("a timestamp")
}

/// Takes it as soon as it can be had.
///
/// # Panics
/// Where it cannot be had within a minute.
pub async fn taken_when_free(store: &dyn Store, holder: &str) -> Lease {
    wait_for("the lease to be free", Duration::from_mins(1), async || {
        match store.take_lease(holder, noon()).await {
            Ok(lease) => Progress::Ready(lease),
            Err(error) => Progress::Pending(error.to_string()),
        }
    })
    .await
}

async fn keep(store: &dyn Store, key: &str) -> Result<Vec<Appended>, LogError> {
    EventLog::append(store, vec![report("hooks", key, 1).into()], Vec::new()).await
}

/// What every engine does, by two handles of one store.
///
/// # Panics
/// Where the contract is broken.
pub async fn lease(first: &dyn Store, second: &dyn Store) {
    let lease = first.take_lease("alder, process 1", noon()).await.expect("nobody has it");
    let refused = second.take_lease("cedar, process 2", noon()).await.expect_err("it is taken");
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    let said = refused.to_string();
    assert!(said.contains("alder, process 1 has it since 2026-11-22T12:00:00Z"), "{said}");
    keep(first, "mine").await.expect("it is ours");
    let before = lease.generation();
    lease.give_back().await;

    let next = second.take_lease("cedar, process 2", noon()).await.expect("it was given back");
    assert!(next.generation() > before, "each has a number of its own");
    // Dropped is given back, too.
    drop(next);
    let last = taken_when_free(first, "alder, process 1").await;
    assert!(last.generation() > before + 1);
    last.give_back().await;
}

/// What engines do whose handles are apart: one that had it writes no more what belongs to the pipeline
/// and is not told what is due, and one that never took it does as before.
///
/// # Panics
/// Where the contract is broken.
pub async fn fenced(open: impl AsyncFn() -> Arc<dyn Store>) {
    let (first, second, guest) = (open().await, open().await, open().await);
    let lease = first.take_lease("first", noon()).await.expect("nobody has it");
    keep(&*first, "1").await.expect("it is ours");
    let output = component("ops");
    let waiting = delivery("1", "ops", None, 1);
    let step = store::Step { deliveries: vec![waiting], ..store::Step::default() };
    first.commit_step(step).await.expect("it is ours");
    assert_eq!(first.due(&output, after(10), 10).await.expect("it is ours").len(), 1);
    lease.give_back().await;
    let lease = second.take_lease("second", noon()).await.expect("it was given back");
    keep(&*first, "2").await.expect_err("it is another's");
    first.commit_step(store::Step::default()).await.expect_err("it is another's");
    first.due(&output, after(10), 10).await.expect_err("it is another's to tell");
    keep(&*second, "3").await.expect("it is ours");
    assert_eq!(second.due(&output, after(10), 10).await.expect("it is ours").len(), 1);
    keep(&*guest, "4").await.expect("it never took it");
    let kept = second.after(event_core::Seq(0), 10).await.expect("read");
    let keys: Vec<&str> = kept.iter().map(|it| it.event.source_key.as_str()).collect();
    assert_eq!(keys, ["1", "3", "4"]);
    lease.give_back().await;
}
