//! PostgreSQL: the contracts against a real server, each in a schema of its own.

use std::sync::Arc;

use sqlx::{Connection as _, Executor as _, PgConnection};
use store::{ErrorKind, LazyStore, ProtocolJobs, Store, StoreUrl, open};
use testkit::{contract, services};

/// A schema that is dropped when the test has passed.
pub(crate) struct Schema {
    server: String,
    name: String,
}

impl Schema {
    pub(crate) async fn create() -> Option<Self> {
        let server = services::postgres_url()?;
        let schema = Self { server, name: format!("test_{}", store::JobId::random()) };
        schema.execute(format!("CREATE SCHEMA {}", schema.name)).await;
        Some(schema)
    }

    /// Its URL, password and all.
    pub(crate) fn text(&self) -> String {
        let separator = if self.server.contains('?') { '&' } else { '?' };
        format!("{}{separator}options[search_path]={}", self.server, self.name)
    }

    fn url(&self) -> StoreUrl {
        self.text().parse().unwrap()
    }

    pub(crate) async fn open(&self) -> Arc<dyn Store> {
        open(&self.url()).await.unwrap()
    }

    async fn log(&self) -> Arc<dyn event_core::EventLog> {
        self.open().await
    }

    async fn execute(&self, statement: String) {
        let mut connection = PgConnection::connect(&self.server).await.unwrap();
        connection.execute(sqlx::AssertSqlSafe(statement)).await.unwrap();
    }

    pub(crate) async fn drop_it(self) {
        self.execute(format!("DROP SCHEMA {} CASCADE", self.name)).await;
    }
}

#[tokio::test]
async fn contracts() {
    let Some(schema) = Schema::create().await else { return };
    let store = schema.open().await;
    contract::store::jobs(&*store).await;
    contract::store::audit(&*store).await;
    schema.drop_it().await;
    let Some(schema) = Schema::create().await else { return };
    let jobs = ProtocolJobs::new(LazyStore::new(schema.url()));
    contract::mcp_protocol::jobs(&jobs).await;
    drop(jobs);
    schema.drop_it().await;
}

/// A suite in a schema of its own.
async fn held_to(suite: impl AsyncFnOnce(&dyn Store)) {
    let schema = Schema::create().await.unwrap();
    suite(&*schema.open().await).await;
    schema.drop_it().await;
}

#[tokio::test]
async fn events() {
    let Some(first) = Schema::create().await else { return };
    contract::event_log::event_log(&*first.open().await).await;
    first.drop_it().await;
    held_to(contract::events::search).await;
    held_to(contract::events::steps).await;
    held_to(contract::events::forgets).await;
    held_to(contract::outbox_store::outbox).await;
    let schema = Schema::create().await.unwrap();
    contract::outbox_store::Couriers::suite(schema.open().await).await;
    schema.drop_it().await;
    let schema = Schema::create().await.unwrap();
    contract::event_log::durable(async || schema.log().await).await;
    schema.drop_it().await;
}

#[tokio::test]
async fn leases() {
    let Some(schema) = Schema::create().await else { return };
    contract::lease::lease(&*schema.open().await, &*schema.open().await).await;
    crate::memory::looked_at(&schema.url()).await;
    // Each schema is a store of its own.
    let other = Schema::create().await.unwrap();
    let (here, there) = (schema.open().await, other.open().await);
    let now = "2026-11-22T12:00:00Z".parse().unwrap();
    let ours = here.take_lease("here", now).await.unwrap();
    let theirs = there.take_lease("there", now).await.unwrap();
    ours.give_back().await;
    theirs.give_back().await;
    contract::lease::fenced(async || other.open().await).await;
    schema.drop_it().await;
    other.drop_it().await;
}

/// Whoever was overtaken and has not noticed yet is not told what waits: it is the number that counts.
#[tokio::test]
async fn what_is_due_is_told_by_the_number_that_counts() {
    let Some(schema) = Schema::create().await else { return };
    let store = schema.open().await;
    let output: event_core::ComponentId = "ops".parse().unwrap();
    let now = "2026-11-22T12:00:00Z".parse().unwrap();
    let lease = store.take_lease("alder", now).await.unwrap();
    assert_eq!(store.due(&output, now, 10).await.unwrap().len(), 0);
    schema.execute(format!("UPDATE {}.lease SET generation = generation + 1", schema.name)).await;
    let refused = store.due(&output, now, 10).await.unwrap_err();
    let said = stdx::Chain(&refused).to_string();
    assert!(said.contains("another manager has taken over the store"), "{said}");
    assert!(!said.contains("driver"), "{said}");
    lease.lost().await;
    schema.drop_it().await;
}

/// What the first version kept as a text alone is read as an answer of that text.
#[tokio::test]
async fn jobs_of_the_first_version_are_kept() {
    let Some(schema) = Schema::create().await else { return };
    let name = &schema.name;
    let first = include_str!("../../src/migrations/postgres_0001.sql");
    let versions = "CREATE TABLE schema_version (version BIGINT PRIMARY KEY); \
         INSERT INTO schema_version VALUES (1);";
    let row = r#"INSERT INTO jobs VALUES ('00000000000040008000000000000001', 'local:1', 'x', '',
         'done', 1, 2, '"it \"worked\"\u0000"')"#;
    let statement = format!("SET search_path TO {name}; {first} {versions} {row}");
    schema.execute(statement).await;
    let jobs = ProtocolJobs::new(LazyStore::new(schema.url()));
    let kept = mcp_protocol::JobStore::list_by_owner(&jobs, "local:1").await.unwrap();
    let text = mcp_protocol::Answer::text("it \"worked\"\u{0}");
    assert_eq!(kept[0].state, mcp_protocol::JobState::Done(text));
    drop(jobs);
    schema.drop_it().await;
}

#[tokio::test]
async fn approvals_of_the_second_version() {
    let Some(schema) = Schema::create().await else { return };
    let first = include_str!("../../src/migrations/postgres_0001.sql");
    let second = include_str!("../../src/migrations/postgres_0002.sql");
    let versions = "CREATE TABLE schema_version (version BIGINT PRIMARY KEY); \
         INSERT INTO schema_version VALUES (1), (2);";
    let rows = crate::ports::rows_of_the_second_version();
    let name = &schema.name;
    let statement = format!("SET search_path TO {name}; {first} {second} {versions} {rows}");
    schema.execute(statement).await;
    crate::ports::approvals_of_the_second_version(&crate::ports::over(&schema.url())).await;
    schema.drop_it().await;
}

#[tokio::test]
async fn the_guards_ports() {
    let Some(first) = Schema::create().await else { return };
    let made = tokio::sync::Mutex::new(vec![first]);
    let empty = async || {
        let schema = Schema::create().await.unwrap();
        let url = schema.url();
        made.lock().await.push(schema);
        url
    };
    crate::ports::contracts(empty).await;
    for schema in made.into_inner() {
        schema.drop_it().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_guards_ports_when_many_ask_at_once() {
    let Some(schema) = Schema::create().await else { return };
    crate::ports::races(&schema.url()).await;
    schema.drop_it().await;
}

#[tokio::test]
async fn durable() {
    let Some(schema) = Schema::create().await else { return };
    contract::store::durable(async || schema.open().await).await;
    schema.drop_it().await;
}

#[tokio::test]
async fn a_newer_store_is_refused_and_the_log_cannot_be_changed() {
    let Some(schema) = Schema::create().await else { return };
    drop(schema.open().await);
    for (change, table) in [
        ("DELETE FROM", "audit"),
        ("TRUNCATE", "audit"),
        ("DELETE FROM", "audit_checkpoints"),
        ("TRUNCATE", "audit_checkpoints"),
    ] {
        let mut connection = PgConnection::connect(&schema.server).await.unwrap();
        let statement = format!("{change} {}.{table}", schema.name);
        let refused = connection.execute(sqlx::AssertSqlSafe(statement)).await.unwrap_err();
        assert!(refused.to_string().contains("append-only"), "{refused}");
    }

    schema.execute(format!("INSERT INTO {}.schema_version VALUES (99)", schema.name)).await;
    let error = open(&schema.url()).await.err().expect("it is newer");
    assert_eq!(error.kind(), ErrorKind::NewerSchema);
    schema.drop_it().await;
}

/// What waiting does not mend is told from what it does.
#[tokio::test]
async fn a_server_that_refuses_is_not_away() {
    let Some(schema) = Schema::create().await else { return };
    let (user, server) = schema.server.rsplit_once('@').unwrap();
    let (user, _) = user.rsplit_once(':').unwrap();
    let (address, _) = server.rsplit_once('/').unwrap();
    for wrong in [
        format!("{user}:guessed@{server}"),
        schema.server.replace(server, &format!("{address}/nowhere")),
    ] {
        let error = open(&wrong.parse().unwrap()).await.err().expect("it refuses");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(!error.is_away(), "{}", stdx::Chain(&error));
    }
    schema.execute(format!("CREATE TABLE {0}.schema_version (version BIGINT); INSERT INTO {0}.schema_version VALUES (99)", schema.name)).await;
    let error = open(&schema.url()).await.err().expect("it is newer");
    assert!(!error.is_away(), "{error}");
    schema.drop_it().await;
}

#[tokio::test]
async fn an_unreachable_server_is_named_without_its_password() {
    // A port that nothing listens on: bound and given back.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url: StoreUrl = format!("postgres://u:hunter2@127.0.0.1:{port}/mcp").parse().unwrap();
    let error = open(&url).await.err().expect("nothing listens");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.is_away(), "it may come");
    let text = format!("{error:?} {error}");
    assert!(text.contains(&format!("postgres://127.0.0.1:{port}/mcp")), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}
