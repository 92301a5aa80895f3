//! The contracts in memory.

use store::{LazyStore, MemoryStore, NewJob, ProtocolJobs};
use testkit::contract;

#[tokio::test]
async fn contracts() {
    contract::store::jobs(&MemoryStore::new()).await;
    contract::store::audit(&MemoryStore::new()).await;
}

#[tokio::test]
async fn events() {
    contract::event_log::event_log(&MemoryStore::new()).await;
    contract::events::search(&MemoryStore::new()).await;
    contract::events::steps(&MemoryStore::new()).await;
    contract::events::forgets(&MemoryStore::new()).await;
    contract::outbox_store::outbox(&MemoryStore::new()).await;
    contract::outbox_store::Couriers::suite(std::sync::Arc::new(MemoryStore::new())).await;
}

/// Whoever looks sees who has a store that was used before, and is in nobody's way.
pub(crate) async fn looked_at(url: &store::StoreUrl) {
    let seen = store::look(url).await.unwrap();
    assert_eq!((seen.version, seen.holder), (Some(seen.known), None));
    let store = store::open(url).await.unwrap();
    let now = "2026-11-22T12:00:00Z".parse().unwrap();
    let lease = store.take_lease("alder", now).await.unwrap();
    let seen = store::look(url).await.unwrap();
    assert_eq!(seen.holder, Some(("alder".to_owned(), now)));
    lease.give_back().await;
    assert_eq!(store::look(url).await.unwrap().holder, None);
}

#[tokio::test]
async fn leases() {
    let store = MemoryStore::new();
    contract::lease::lease(&store, &store).await;
}

#[tokio::test]
async fn the_protocols_jobs() {
    let in_memory = LazyStore::new("memory:".parse().unwrap());
    contract::mcp_protocol::jobs(&ProtocolJobs::new(in_memory)).await;
    let memory = mcp_protocol::MemoryJobs::default();
    contract::mcp_protocol::jobs(&memory).await;
    // Telling of changes changes nothing.
    let memory = std::sync::Arc::new(mcp_protocol::MemoryJobs::default());
    contract::mcp_protocol::jobs(&*mcp_protocol::Notifier::new().jobs(memory)).await;
}

#[tokio::test]
async fn a_lazy_store_is_one_store() {
    let lazy = LazyStore::new("memory:".parse().unwrap());
    let owner = guard::Principal::local(0);
    let now = "2026-11-22T12:00:00Z".parse().unwrap();
    let first = lazy.clone().get().await.unwrap();
    let job = first.create_job(NewJob::new(owner.clone(), "x"), now).await.unwrap();
    assert_eq!(lazy.get().await.unwrap().job(job.id, &owner).await.unwrap(), Some(job));
}
