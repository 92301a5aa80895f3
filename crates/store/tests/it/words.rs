//! Words are found by all engines alike, whatever people type and guests are called.

use event_core::{Event, Kind};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use store::{EventFilter, MemoryStore, SqliteStore, Store};

fn event(title: &str, message: &str, at: i64) -> Event {
    let time = jiff::Timestamp::from_second(at).unwrap();
    let source = "hooks".parse().unwrap();
    Event::builder(&source, "webhook", at.to_string(), Kind::other("x"), time)
        .title(title)
        .message(message)
        .build(time)
}

async fn found(store: &dyn Store, text: &str) -> Vec<u64> {
    let filter = EventFilter { text: Some(text.to_owned()), ..EventFilter::default() };
    let page = store.find_events(&filter, None, 1000).await.unwrap();
    page.events.iter().map(|it| it.seq.0).collect()
}

/// Asks the engine what memory finds as well, and more and more of it.
fn alike(engine: &dyn Store, runtime: &tokio::runtime::Runtime, cases: u32) {
    let memory = MemoryStore::new();
    let at = std::cell::Cell::new(0);
    let texts = || prop_oneof!["[a-c \"'*:&|!()\\\\-]{0,12}", ".{0,12}", "(AND|OR|NOT|NEAR|a) b*"];
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let outcome =
        TestRunner::new(config).run(&(texts(), texts(), texts()), |(title, message, text)| {
            runtime.block_on(async {
                at.set(at.get() + 1);
                let event = event(&title, &message, at.get());
                for store in [&memory as &dyn Store, engine] {
                    let append =
                        event_core::EventLog::append(store, vec![event.clone().into()], Vec::new());
                    append.await.unwrap();
                    assert_eq!(store.index_events(10).await.unwrap(), 1);
                }
                for text in [&text, &title, &message] {
                    let expected = found(&memory, text).await;
                    prop_assert_eq!(found(engine, text).await, expected, "{:?}", text);
                }
                Ok(())
            })
        });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn sqlite_finds_what_memory_finds() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let engine = runtime.block_on(SqliteStore::open(&path)).unwrap();
    alike(&engine, &runtime, 60);
}

#[test]
fn postgres_finds_what_memory_finds() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let Some(schema) = runtime.block_on(crate::postgres::Schema::create()) else { return };
    let engine = runtime.block_on(schema.open());
    alike(&*engine, &runtime, 40);
    runtime.block_on(schema.drop_it());
}
