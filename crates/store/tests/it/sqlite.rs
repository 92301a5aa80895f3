//! SQLite: the contracts, the file's permissions, tampering, and stores that are not ours to open.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use expect_test::expect;
use guard::ports::Approvals;
use sqlx::Executor as _;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use store::{
    AuditLog as _, CheckpointKey, ErrorKind, JobState, LazyStore, NewAuditRecord, NewJob,
    ProtocolJobs, SqliteStore, Store, StoreUrl, open,
};
use testkit::contract;

async fn open_at(path: &Path) -> Arc<dyn Store> {
    let url: StoreUrl = format!("sqlite://{}", path.display()).parse().unwrap();
    open(&url).await.unwrap()
}

async fn log_at(path: &Path) -> Arc<dyn event_core::EventLog> {
    open_at(path).await
}

async fn raw(path: &Path) -> SqlitePool {
    SqlitePool::connect_with(SqliteConnectOptions::new().filename(path).create_if_missing(true))
        .await
        .unwrap()
}

#[tokio::test]
async fn contracts() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_at(&folder.path().join("store.db")).await;
    contract::store::jobs(&*store).await;
    contract::store::audit(&*store).await;
    let url = format!("sqlite://{}", folder.path().join("protocol.db").display());
    let jobs = ProtocolJobs::new(LazyStore::new(url.parse().unwrap()));
    contract::mcp_protocol::jobs(&jobs).await;
}

#[tokio::test]
async fn events() {
    let folder = tempfile::tempdir().unwrap();
    let fresh = async |name: &str| open_at(&folder.path().join(name)).await;
    contract::event_log::event_log(&*fresh("log.db").await).await;
    contract::events::search(&*fresh("search.db").await).await;
    contract::events::steps(&*fresh("steps.db").await).await;
    contract::events::forgets(&*fresh("forgets.db").await).await;
    contract::outbox_store::outbox(&*fresh("outbox.db").await).await;
    contract::outbox_store::Couriers::suite(fresh("couriers.db").await).await;
    let path = folder.path().join("durable.db");
    contract::event_log::durable(async || log_at(&path).await).await;
}

#[tokio::test]
async fn leases() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    contract::lease::lease(&*open_at(&path).await, &*open_at(&path).await).await;
    contract::lease::fenced(async || open_at(&folder.path().join("fenced.db")).await).await;
    let url: StoreUrl = format!("sqlite://{}", path.display()).parse().unwrap();
    crate::memory::looked_at(&url).await;
    let none = folder.path().join("none.db");
    let looked = store::look(&format!("sqlite://{}", none.display()).parse().unwrap()).await;
    assert_eq!((looked.unwrap().version, none.exists()), (None, false), "looking makes nothing");
    let mode = folder.path().join("store.db.lease").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn the_guards_ports() {
    let folder = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    let empty = async || {
        count.set(count.get() + 1);
        let path = folder.path().join(format!("{}.db", count.get()));
        format!("sqlite://{}", path.display()).parse().unwrap()
    };
    crate::ports::contracts(empty).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_guards_ports_when_many_ask_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    crate::ports::races(&format!("sqlite://{}", path.display()).parse().unwrap()).await;
}

#[tokio::test]
async fn durable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    contract::store::durable(async || open_at(&path).await).await;
}

#[tokio::test]
async fn the_file_is_private() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/deeper/store.db");
    let _store = open_at(&path).await;
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&path.with_extension("db-wal")), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    assert_eq!(mode(path.parent().unwrap().parent().unwrap()), 0o700);

    let journal: String =
        sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&raw(&path).await).await.unwrap();
    assert_eq!(journal, "wal");
}

/// What keeps our own mistakes from the log; against an attacker there are chain and checkpoints.
#[tokio::test]
async fn the_log_cannot_be_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(&path).await.unwrap();
    let record = NewAuditRecord {
        time: "2026-11-22T12:00:00Z".parse().unwrap(),
        principal: guard::Principal::local(1000),
        action: "guest.stop".to_owned(),
        target: "lab/104".to_owned(),
        payload: serde_json::Value::Null,
    };
    let record = store.append(record).await.unwrap();
    let key = CheckpointKey::from_pkcs8(&CheckpointKey::generate().unwrap()).unwrap();
    store.keep_checkpoint(&key.sign(&record)).await.unwrap();
    let raw = raw(&path).await;
    for change in [
        "UPDATE audit SET target = 'lab/9'",
        "DELETE FROM audit",
        "UPDATE audit_checkpoints SET head = ''",
        "DELETE FROM audit_checkpoints",
    ] {
        let refused = raw.execute(change).await.unwrap_err().to_string();
        assert!(refused.contains("append-only"), "{refused}");
    }
}

#[tokio::test]
async fn a_newer_store_and_a_file_that_is_none_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let newer = folder.path().join("newer.db");
    drop(open_at(&newer).await);
    raw(&newer).await.execute("PRAGMA user_version = 99").await.unwrap();
    let error = SqliteStore::open(&newer).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NewerSchema);
    assert!(error.to_string().contains("its schema is version 99 and this program knows up to 6"));

    let text = folder.path().join("letter.txt");
    std::fs::write(&text, "Dear reader, this is not a database at all.\n".repeat(50)).unwrap();
    let error = SqliteStore::open(&text).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(std::fs::read_to_string(&text).unwrap().starts_with("Dear reader"));

    let error = SqliteStore::open(folder.path()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

/// What the first version kept as a text alone is read as an answer of that text.
#[tokio::test]
async fn jobs_of_the_first_version_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let raw = raw(&path).await;
    raw.execute(include_str!("../../src/migrations/sqlite_0001.sql")).await.unwrap();
    raw.execute("PRAGMA user_version = 1").await.unwrap();
    let application: i64 =
        sqlx::query_scalar("PRAGMA application_id").fetch_one(&raw).await.unwrap();
    assert_eq!(application, 0);
    for (id, state, result) in [
        ("00000000000040008000000000000001", "done", r#"'"it \"worked\"\n"'"#),
        ("00000000000040008000000000000002", "failed", r#"'"no space"'"#),
        ("00000000000040008000000000000003", "done", r#"'{"exit":"OK"}'"#),
        ("00000000000040008000000000000004", "unknown", r#"'"?"'"#),
        ("00000000000040008000000000000005", "running", "NULL"),
    ] {
        let row = format!(
            "INSERT INTO jobs VALUES ('{id}', 'local:1', 'x', '', '{state}', {}, 9, {result})",
            id.trim_start_matches('0').len() + usize::from(id.as_bytes()[31]),
        );
        raw.execute(sqlx::AssertSqlSafe(row)).await.unwrap();
    }
    raw.close().await;
    let url = format!("sqlite://{}", path.display());
    let jobs = ProtocolJobs::new(LazyStore::new(url.parse().unwrap()));
    let mut kept = mcp_protocol::JobStore::list_by_owner(&jobs, "local:1").await.unwrap();
    kept.sort_by_key(|job| job.created);
    let states: Vec<mcp_protocol::JobState> = kept.into_iter().map(|job| job.state).collect();
    let text = mcp_protocol::Answer::text;
    assert_eq!(
        states,
        [
            mcp_protocol::JobState::Done(text("it \"worked\"\n")),
            mcp_protocol::JobState::Failed(text("no space")),
            mcp_protocol::JobState::Done(text(r#"{"exit":"OK"}"#)),
            mcp_protocol::JobState::Unknown("?".to_owned()),
            mcp_protocol::JobState::Running,
        ]
    );
}

/// Rows are read by later versions of this program: their written form is for ever.
#[tokio::test]
async fn what_is_in_the_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = open_at(&path).await;
    let now = "2026-11-22T12:00:00.123456789Z".parse().unwrap();
    let upid = |id| format!("UPID:alder:000002D6:000C8274:6B033EDA:qmstart:{id}:root@pam:");
    let new = NewJob::new(guard::Principal::local(1000), "start two")
        .with_ref(upid(100))
        .with_ref(upid(101));
    let job = store.create_job(new, now).await.unwrap();
    let result = Some(serde_json::json!({ "exit": "OK" }));
    store.finish_job(job.id, JobState::Canceled, result, now).await.unwrap();
    let url: StoreUrl = format!("sqlite://{}", path.display()).parse().unwrap();
    let ports = crate::ports::over(&url);
    let asked = Approvals::ask(&ports, crate::ports::question(), now).await.unwrap();
    let made = guard::ports::DecisionRecord {
        approver: "ada".to_owned(),
        principal: guard::Principal::local(1001),
        way: guard::ports::Way::Passphrase,
        agrees: true,
        at: now,
        note: None,
        signature: Some("c2ln".to_owned()),
    };
    ports.decide(asked.id, made, now).await.unwrap();
    crate::ports::one_of_each(&ports, now).await;

    let raw = raw(&path).await;
    let dump = async |sql: &'static str| -> String {
        sqlx::query_scalar(sql).fetch_one(&raw).await.unwrap()
    };
    expect![[r#"
        length(id)=32|'local:1000'|'start two'|'UPID:alder:000002D6:000C8274:6B033EDA:qmstart:100:root@pam:
        UPID:alder:000002D6:000C8274:6B033EDA:qmstart:101:root@pam:
        '|'canceled'|1795348800123456|1795348800123456|'{"exit":"OK"}'"#]]
    .assert_eq(
        &dump(
            "SELECT 'length(id)=' || length(id) || '|' || quote(owner) || '|' || quote(label) || '|' \
             || quote(upids) || '|' || quote(state) || '|' || created_us || '|' || updated_us \
             || '|' || quote(result) FROM jobs",
        )
        .await,
    );
    expect![[r#"32|local:1000|'default.destroy �'|sha256:8d3b2f80036b370d747ba12a9605f6fa41e4aa684fe22c640ab1773e5a0487cc|approved|0|1795348800123456|1795352400500000|1|{"needed":1,"of":["ada"],"client_counts":false,"summary":"deletes lab/104 \u0000é","form":{"principal":"","tool":"guest_delete","calls":[],"targets":{}},"decisions":[{"approver":"ada","principal":"local:1001","way":"passphrase","agrees":true,"at_us":1795348800123456,"note":null,"signature":"c2ln"}],"result":null,"void_reason":null,"replaced_by":null}|143"#]].assert_eq(
        &dump(
            "SELECT length(id) || '|' || principal || '|' || quote(kind) || '|' || subject || '|' \
             || state || '|' || unasked || '|' || made_us || '|' || due_us || '|' || version || '|' \
             || json_remove(doc, '$.call') || '|' || length(json_extract(doc, '$.call')) \
             FROM approvals",
        )
        .await,
    );
    let others = async |table: &str| -> String {
        let sql = format!(
            "SELECT principal || '|' || kind || '|' || subject || '|' || state || '|' || unasked \
             || '|' || made_us || '|' || due_us || '|' || version || '|' \
             || json_remove(doc, '$.call', '$.calls') FROM {table}"
        );
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&raw).await.unwrap()
    };
    expect![[r#"local:1000|guest_clone|lab/104|unknown|1|1795348800123456|9223372036854775807|4|{"digest":"sha256:85166a2f4144ba609c03e1cc52658386cfde72193c52df4c99e748591cf95878","approval":"00000000000000000000000000000001","access":"operate","steps":1,"owner":"manager","intents":[{"step":0,"what":"clone","calls":[{"member":"lab","method":"POST","path":"/nodes/alder/qemu/104/clone","params":[["newid","120"]]}],"trace":{"member":"lab","node":"alder","kinds":["qmclone"],"id":"104","user":null},"at_us":1795348800123456,"upid":"UPID:alder:000002D6:000C8274:6B033EDA:qmclone:104:root@pam:","end":{"failed":"no space"}}],"ended_us":1795348800123456,"lead":"nobody can tell"}"#]].assert_eq(&others("actions").await);
    expect![[r#"local:1000|guest_config|lab/104|kept|0|1795348800123456|1795348800123456|0|{"action":"00000000000000000000000000000002","what":"sets cores","before":{"cores":2},"after":{"digest":"ab"},"used_us":null}"#]].assert_eq(&others("undos").await);
    expect![[r#"local:1000|||reverting|0|1795348800123456|1795348800123456|1|{"action":"00000000000000000000000000000002","what":"a bridge goes","leased_until_us":1795348860123456,"lead":null}"#]].assert_eq(&others("confirms").await);
    expect![[r#"local:1000|||lifted|0|1795348800123456|9223372036854775807|1|{"reason":"stop","lifted":{"by":"local:0","at_us":1795348800123456}}"#]].assert_eq(&others("freezes").await);
}

#[tokio::test]
async fn approvals_of_the_second_version() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let raw = raw(&path).await;
    raw.execute(include_str!("../../src/migrations/sqlite_0001.sql")).await.unwrap();
    raw.execute(include_str!("../../src/migrations/sqlite_0002.sql")).await.unwrap();
    let rows = crate::ports::rows_of_the_second_version();
    raw.execute(sqlx::AssertSqlSafe(rows)).await.unwrap();
    raw.execute("PRAGMA user_version = 2").await.unwrap();
    raw.close().await;
    let url: StoreUrl = format!("sqlite://{}", path.display()).parse().unwrap();
    crate::ports::approvals_of_the_second_version(&crate::ports::over(&url)).await;
}
