//! What every job store does; the one in memory is held to it here.

use jiff::{Timestamp, ToSpan as _};
use mcp_protocol::{Answer, JobId, JobState, JobStore, MemoryJobs, NewJob};

fn new_job(owner: &str, created: Timestamp) -> NewJob {
    let refs = vec!["first".to_owned(), "second".to_owned()];
    NewJob { owner: owner.to_owned(), label: "a backup".to_owned(), refs, created }
}

async fn contract(store: &dyn JobStore) {
    let noon: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
    let later = noon + 5.minutes();
    let first = store.create(new_job("ada", noon)).await.unwrap();
    let second = store.create(new_job("ada", later)).await.unwrap();
    let other = store.create(new_job("bob", noon)).await.unwrap();
    assert_eq!((&first.state, first.updated), (&JobState::Running, noon));
    assert_eq!(first.id.as_str().len(), 32);
    assert_ne!(first.id, second.id);
    assert_eq!(store.get(&first.id).await.unwrap().as_ref(), Some(&first));
    assert_eq!(store.get(&JobId::from_text("guess")).await.unwrap(), None);

    let of_ada = store.list_by_owner("ada").await.unwrap();
    assert_eq!(of_ada, [second, first.clone()], "newest first, and only hers");

    let failed = JobState::Failed(Answer::text("no space left"));
    let ended = store.update(&other.id, failed.clone(), later).await.unwrap().unwrap();
    assert_eq!((&ended.state, ended.updated), (&failed, later));
    let kept = store.update(&other.id, JobState::Cancelled, later + 1.hour()).await.unwrap();
    assert_eq!(kept, Some(ended), "a finished job keeps its state");
    let further = vec!["third".to_owned()];
    let told = store.progress(&first.id, further.clone(), later).await.unwrap().unwrap();
    assert_eq!((&told.refs, told.updated, &told.state), (&further, later, &JobState::Running));
    let late = store.progress(&other.id, further, later + 1.hour()).await.unwrap();
    assert_eq!(late.as_ref(), kept.as_ref(), "a finished job keeps what it stood for");
    let missing = store.update(&JobId::random(), JobState::Cancelled, later).await.unwrap();
    assert_eq!(missing, None);
}

#[tokio::test]
async fn jobs_in_memory() {
    contract(&MemoryJobs::default()).await;
}
