//! The audit log against somebody who can write in the database: what each damage looks like.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use expect_test::{Expect, expect};
use sha2::{Digest as _, Sha256};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use sqlx::{Executor as _, Row as _};
use store::audit::{AuditCopies, AuditFiles, Expected, GENESIS, PublicKey, read_mark};
use store::{
    AuditLog as _, AuditRecord, CheckpointKey, LazyStore, NewAuditRecord, SignedLog, SqliteStore,
    StoreUrl, verify,
};

/// Twenty records, checkpoints of the 8th and 16th, and a mark of the last.
struct Chain {
    folder: tempfile::TempDir,
    key: PublicKey,
}

/// A row of the table, as an attacker handles it.
#[derive(Clone)]
struct Raw {
    seq: i64,
    time_us: i64,
    principal: String,
    action: String,
    target: String,
    payload: String,
    prev_hash: String,
    hash: String,
}

impl Chain {
    async fn of_twenty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = AuditFiles::in_folder(folder.path());
        let key = files.read_or_make_key().unwrap().public();
        let chain = Self { folder, key };
        let log = SignedLog::new(LazyStore::new(url(&chain.path()))).signed_with(files);
        for number in 1..=20 {
            log.append(entry(number)).await.unwrap();
        }
        chain
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("store.db")
    }

    fn mark(&self) -> PathBuf {
        self.folder.path().join("audit.mark")
    }

    async fn says(&self) -> String {
        let mark = read_mark(&self.mark()).unwrap();
        let expected = Expected { key: Some(self.key), mark };
        let store = SqliteStore::open(&self.path()).await.unwrap();
        let found = verify(&store, &expected).await.unwrap();
        let mut said = format!("{} records, signed to {:?}\n", found.records, found.signed_to);
        for damage in &found.damage {
            let _ = writeln!(said, "{damage}");
        }
        said
    }

    async fn raw(&self) -> SqlitePool {
        let raw = SqlitePool::connect_with(SqliteConnectOptions::new().filename(self.path()));
        let raw = raw.await.unwrap();
        for trigger in ["audit_no_update", "audit_no_delete"] {
            raw.execute(sqlx::AssertSqlSafe(format!("DROP TRIGGER {trigger}"))).await.unwrap();
        }
        for trigger in ["audit_checkpoints_no_update", "audit_checkpoints_no_delete"] {
            raw.execute(sqlx::AssertSqlSafe(format!("DROP TRIGGER {trigger}"))).await.unwrap();
        }
        raw
    }
}

fn url(path: &Path) -> StoreUrl {
    format!("sqlite://{}", path.display()).parse().unwrap()
}

fn entry(number: i64) -> NewAuditRecord {
    let noon: jiff::Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
    NewAuditRecord {
        time: noon + jiff::SignedDuration::from_mins(number),
        principal: guard::Principal::local(1000),
        action: "guest_power.done".to_owned(),
        target: format!("lab/{}", 100 + number),
        payload: serde_json::json!({ "action": "stop" }),
    }
}

/// The hash as the documentation says it, written down once more.
fn hash(row: &Raw) -> String {
    let mut hasher = Sha256::new();
    hasher.update(b"proxmox-mcp/audit/v1\0");
    hasher.update(row.seq.to_be_bytes());
    hasher.update(row.time_us.to_be_bytes());
    for text in [&row.principal, &row.action, &row.target, &row.payload] {
        hasher.update((text.len() as u64).to_be_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.update(row.prev_hash.as_bytes());
    let mut text = String::new();
    for byte in hasher.finalize() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Makes every record from this index on fit the one before it.
fn rehash(rows: &mut [Raw], from: usize) {
    for index in from..rows.len() {
        let before = index.checked_sub(1).map_or(GENESIS.to_owned(), |at| rows[at].hash.clone());
        rows[index].prev_hash = before;
        rows[index].hash = hash(&rows[index]);
    }
}

/// Numbers them from 1 on without gaps.
fn renumber(rows: &mut [Raw]) {
    for (row, seq) in rows.iter_mut().zip(1..) {
        row.seq = seq;
    }
}

/// Reads the log, changes it, writes it back, and asks what is wrong with it.
async fn after(change: impl FnOnce(&mut Vec<Raw>), expected: Expect) {
    let chain = Chain::of_twenty().await;
    rewrite(&chain, change).await;
    expected.assert_eq(&chain.says().await);
}

async fn rewrite(chain: &Chain, change: impl FnOnce(&mut Vec<Raw>)) {
    let raw = chain.raw().await;
    let read =
        "SELECT seq, time_us, principal, action, target, payload, prev_hash, hash FROM audit";
    let mut rows: Vec<Raw> = raw
        .fetch_all(read)
        .await
        .unwrap()
        .iter()
        .map(|row| Raw {
            seq: row.get(0),
            time_us: row.get(1),
            principal: row.get(2),
            action: row.get(3),
            target: row.get(4),
            payload: row.get(5),
            prev_hash: row.get(6),
            hash: row.get(7),
        })
        .collect();
    change(&mut rows);
    raw.execute("DELETE FROM audit").await.unwrap();
    for row in rows {
        sqlx::query("INSERT INTO audit VALUES ($1, $2, $3, $4, $5, $6, $7, $8)")
            .bind(row.seq)
            .bind(row.time_us)
            .bind(row.principal)
            .bind(row.action)
            .bind(row.target)
            .bind(row.payload)
            .bind(row.prev_hash)
            .bind(row.hash)
            .execute(&raw)
            .await
            .unwrap();
    }
    raw.close().await;
}

#[tokio::test]
async fn an_intact_chain() {
    after(
        |_| {},
        expect![[r#"
        20 records, signed to Some(20)
    "#]],
    )
    .await;
    after(
        |rows| {
            // The chain is computed here as it is there.
            let before = rows.iter().map(|row| row.hash.clone()).collect::<Vec<_>>();
            rehash(rows, 0);
            assert_eq!(rows.iter().map(|row| row.hash.clone()).collect::<Vec<_>>(), before);
        },
        expect![[r#"
            20 records, signed to Some(20)
        "#]],
    )
    .await;
}

#[tokio::test]
async fn a_changed_record() {
    after(
        |rows| rows[2].payload = r#"{"action":"start"}"#.to_owned(),
        expect![[r#"
        20 records, signed to Some(20)
        record 3 was changed: its content is not what was hashed
    "#]],
    )
    .await;
    after(
        |rows| rows[4].time_us += 1,
        expect![[r#"
        20 records, signed to Some(20)
        record 5 was changed: its content is not what was hashed
    "#]],
    )
    .await;
    after(
        |rows| rows[4].principal = "garbage".to_owned(),
        expect![[r#"
        20 records, signed to Some(20)
        record 5 was changed: its content is not what was hashed
    "#]],
    )
    .await;
}

#[tokio::test]
async fn a_byte_moved_from_one_field_into_the_next() {
    let change = |rows: &mut Vec<Raw>| {
        rows[1].action = "guest_power.don".to_owned();
        rows[1].target = "elab/102".to_owned();
    };
    after(
        change,
        expect![[r#"
        20 records, signed to Some(20)
        record 2 was changed: its content is not what was hashed
    "#]],
    )
    .await;
}

#[tokio::test]
async fn a_dropped_record() {
    after(
        |rows| drop(rows.remove(6)),
        expect![[r#"
        19 records, signed to Some(20)
        record 7 is missing
    "#]],
    )
    .await;
    after(
        |rows| drop(rows.drain(0..4)),
        expect![[r#"
        16 records, signed to Some(20)
        records 1 to 4 are missing
    "#]],
    )
    .await;
}

#[tokio::test]
async fn a_dropped_record_whose_gap_was_closed() {
    let change = |rows: &mut Vec<Raw>| {
        rows.drain(6..8);
        renumber(rows);
    };
    after(change, expect![[r#"
        18 records, signed to None
        records 7 to 18 were written as records 9 to 20: 2 records before them were taken out
        record 8 is not the one that was signed (2026-11-22T12:08:00Z): among records 1 to 8 something was written anew
        records 19 to 20 are cut off the end: record 20 was signed (2026-11-22T12:20:00Z)
    "#]]).await;
}

#[tokio::test]
async fn reordered_records() {
    let change = |rows: &mut Vec<Raw>| {
        rows.swap(8, 9);
        renumber(rows);
    };
    after(change, expect![[r#"
        20 records, signed to Some(20)
        records are out of order: at 9 stands what was written as 10, at 10 stands what was written as 9
    "#]]).await;
    let three = |rows: &mut Vec<Raw>| {
        rows[8..11].rotate_left(1);
        renumber(rows);
    };
    after(three, expect![[r#"
        20 records, signed to Some(20)
        records are out of order: at 9 stands what was written as 10, at 10 stands what was written as 11, at 11 stands what was written as 9
    "#]]).await;
}

#[tokio::test]
async fn an_inserted_record() {
    let change = |rows: &mut Vec<Raw>| {
        let forged = Raw { target: "lab/999".to_owned(), ..rows[3].clone() };
        rows.insert(3, forged);
        rows[3].hash = hash(&rows[3]);
        renumber(rows);
    };
    after(change, expect![[r#"
        21 records, signed to None
        records 5 to 21 were written as records 4 to 20: 1 record before them was put in
        record 8 is not the one that was signed (2026-11-22T12:08:00Z): among records 1 to 8 something was written anew
    "#]]).await;
}

#[tokio::test]
async fn a_record_written_anew_with_a_hash_that_fits() {
    let change = |rows: &mut Vec<Raw>| {
        rows[5].target = "lab/999".to_owned();
        rows[5].hash = hash(&rows[5]);
    };
    after(
        change,
        expect![[r#"
        20 records, signed to Some(20)
        record 7 does not follow record 6: one of the two was written anew or put in
    "#]],
    )
    .await;
}

#[tokio::test]
async fn everything_from_a_record_on_written_anew() {
    let change = |rows: &mut Vec<Raw>| {
        rows[9].target = "lab/999".to_owned();
        rehash(rows, 9);
    };
    after(change, expect![[r#"
        20 records, signed to Some(8)
        record 16 is not the one that was signed (2026-11-22T12:16:00Z): among records 9 to 16 something was written anew
    "#]]).await;
}

#[tokio::test]
async fn an_end_that_was_cut_off() {
    after(
        |rows| rows.truncate(18),
        expect![[r#"
        18 records, signed to Some(16)
        records 19 to 20 are cut off the end: record 20 was signed (2026-11-22T12:20:00Z)
    "#]],
    )
    .await;
    after(
        Vec::clear,
        expect![[r#"
        0 records, signed to None
        records 1 to 20 are cut off the end: record 20 was signed (2026-11-22T12:20:00Z)
    "#]],
    )
    .await;
}

#[tokio::test]
async fn an_end_that_was_cut_off_with_its_checkpoints() {
    let chain = Chain::of_twenty().await;
    rewrite(&chain, |rows| rows.truncate(12)).await;
    chain.raw_delete_checkpoints().await;
    expect![[r#"
        12 records, signed to None
        records 13 to 20 are cut off the end: record 20 was signed (2026-11-22T12:20:00Z)
    "#]]
    .assert_eq(&chain.says().await);
    // Without the mark nothing is left that tells.
    std::fs::remove_file(chain.mark()).unwrap();
    expect![[r#"
        12 records, signed to None
    "#]]
    .assert_eq(&chain.says().await);
}

#[tokio::test]
async fn everything_written_anew_and_signed_with_another_key() {
    let chain = Chain::of_twenty().await;
    rewrite(&chain, |rows| {
        rows[9].target = "lab/999".to_owned();
        rehash(rows, 9);
    })
    .await;
    chain.raw_delete_checkpoints().await;
    let key = CheckpointKey::from_pkcs8(&CheckpointKey::generate().unwrap()).unwrap();
    let store = SqliteStore::open(&chain.path()).await.unwrap();
    for record in store.audit_records(0, 100).await.unwrap() {
        if record.seq % 8 == 0 {
            store.keep_checkpoint(&key.sign(&record)).await.unwrap();
        }
    }
    expect![[r#"
        20 records, signed to None
        the checkpoint of record 8 is not signed by this key
        the checkpoint of record 16 is not signed by this key
        record 20 is not the one that was signed (2026-11-22T12:20:00Z): among records 1 to 20 something was written anew
    "#]].assert_eq(&chain.says().await);
}

#[tokio::test]
async fn several_damages_are_all_named() {
    let change = |rows: &mut Vec<Raw>| {
        rows[1].payload = "{}".to_owned();
        rows.swap(8, 9);
        renumber(rows);
        rows.remove(12);
        rows.truncate(17);
    };
    after(change, expect![[r#"
        17 records, signed to Some(16)
        record 2 was changed: its content is not what was hashed
        records are out of order: at 9 stands what was written as 10, at 10 stands what was written as 9
        record 13 is missing
        records 19 to 20 are cut off the end: record 20 was signed (2026-11-22T12:20:00Z)
    "#]]).await;
}

impl Chain {
    async fn raw_delete_checkpoints(&self) {
        let raw = SqlitePool::connect_with(SqliteConnectOptions::new().filename(self.path()));
        let raw = raw.await.unwrap();
        raw.execute("DELETE FROM audit_checkpoints").await.unwrap();
        raw.close().await;
    }
}

/// The mark only goes forward, and copies see every record once it is written.
#[tokio::test]
async fn the_mark_and_the_copies_follow_the_log() {
    struct Seen(std::sync::Mutex<Vec<u64>>);
    impl AuditCopies for Seen {
        fn copy(&self, record: &AuditRecord) {
            self.0.lock().unwrap().push(record.seq);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("audit.mark");
    let url = url(&folder.path().join("store.db"));
    let seen = std::sync::Arc::new(Seen(std::sync::Mutex::default()));
    let files = AuditFiles::in_folder(folder.path());
    let program = || {
        let log = SignedLog::new(LazyStore::new(url.clone()));
        log.signed_with(files.clone()).with_copies(seen.clone())
    };
    assert!(files.read_key().unwrap().is_none(), "the first record makes it");
    assert_eq!(read_mark(&mark).unwrap(), None);
    let (one, two) = (program(), program());
    for number in 0..10 {
        let log = if number % 2 == 0 { &one } else { &two };
        let written = log.append(entry(number)).await.unwrap();
        assert_eq!(read_mark(&mark).unwrap().unwrap().seq, written.seq);
    }
    assert_eq!(*seen.0.lock().unwrap(), (1..=10).collect::<Vec<u64>>());
    // Written ahead of their marks, they are marked in their order all the same.
    for number in 10..20 {
        one.append_ahead(entry(number)).await.unwrap();
    }
    one.settle().await;
    assert_eq!(read_mark(&mark).unwrap().unwrap().seq, 20);
    assert_eq!(*seen.0.lock().unwrap(), (1..=20).collect::<Vec<u64>>());
    let store = store::open(&url).await.unwrap();
    let kept: Vec<u64> =
        store.checkpoints(0, 10).await.unwrap().iter().map(|checkpoint| checkpoint.seq).collect();
    assert_eq!(kept, [8, 16]);

    std::fs::write(&mark, "garbage").unwrap();
    assert!(read_mark(&mark).unwrap_err().to_string().contains("does not hold a checkpoint"));
    // A folder that cannot be written to does not hold up the record.
    let nowhere = AuditFiles { mark: folder.path().join("none/audit.mark"), ..files.clone() };
    let log = SignedLog::new(LazyStore::new(url.clone())).signed_with(nowhere);
    assert_eq!(log.append(entry(21)).await.unwrap().seq, 21);
    // Nor does a key that is none.
    let garbage = AuditFiles { key: mark.clone(), ..files };
    std::fs::set_permissions(&mark, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(garbage.read_key().unwrap_err().to_string().ends_with("Ed25519 key (PKCS #8)"));
    let log = SignedLog::new(LazyStore::new(url)).signed_with(garbage);
    assert_eq!(log.append(entry(22)).await.unwrap().seq, 22);
}

/// An intact chain and ten damaged ones, for whoever wants to see what is said of each:
/// `cargo test -p store --test it ten_damages -- --nocapture`.
#[tokio::test]
async fn ten_damages_and_what_is_said_of_each() {
    type Change = fn(&mut Vec<Raw>);
    let damages: [(&str, Change, &[&str]); 11] = [
        ("intact", |_| {}, &[]),
        (
            "a field was changed",
            |rows| rows[2].target = "lab/999".to_owned(),
            &["record 3 was changed"],
        ),
        (
            "another is named as who did it",
            |rows| rows[4].principal = "local:0".to_owned(),
            &["record 5 was changed"],
        ),
        ("a time was changed", |rows| rows[4].time_us += 1, &["record 5 was changed"]),
        ("a record was deleted", |rows| drop(rows.remove(6)), &["record 7 is missing"]),
        (
            "two were deleted and the rest renumbered",
            |rows| {
                rows.drain(6..8);
                renumber(rows);
            },
            &["2 records before them were taken out"],
        ),
        (
            "a record was put in",
            |rows| {
                let forged = Raw { target: "lab/999".to_owned(), ..rows[3].clone() };
                rows.insert(3, forged);
                rows[3].hash = hash(&rows[3]);
                renumber(rows);
            },
            &["1 record before them was put in"],
        ),
        (
            "two changed places",
            |rows| {
                rows.swap(8, 9);
                renumber(rows);
            },
            &["at 9 stands what was written as 10"],
        ),
        (
            "a record was written anew with its hash",
            |rows| {
                rows[5].target = "lab/999".to_owned();
                rows[5].hash = hash(&rows[5]);
            },
            &["record 7 does not follow record 6"],
        ),
        (
            "everything from a record on was written anew",
            |rows| {
                rows[9].target = "lab/999".to_owned();
                rehash(rows, 9);
            },
            &["among records 9 to 16 something was written anew"],
        ),
        (
            "the end was cut off",
            |rows| rows.truncate(18),
            &["records 19 to 20 are cut off the end"],
        ),
    ];
    for (what, change, said) in damages {
        let chain = Chain::of_twenty().await;
        rewrite(&chain, change).await;
        let says = chain.says().await;
        let mut lines = says.lines();
        let head = lines.next().unwrap_or_default().to_owned();
        let named: Vec<&str> = lines.collect();
        println!("{what}: {head}");
        for line in &named {
            println!("  - {line}");
        }
        assert_eq!(named.is_empty(), said.is_empty(), "{what}: {says}");
        for words in said {
            assert!(says.contains(words), "{what}: {says}");
        }
    }
}
