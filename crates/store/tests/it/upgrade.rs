//! A store that holds something is copied before it is migrated, and the way back leads back.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::Executor as _;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use store::{ErrorKind, LazyStore, Migrated, Schema as _, SqliteStore};
use testkit::{Progress, wait_for};

const MIGRATIONS: [&str; 4] = [
    include_str!("../../src/migrations/sqlite_0001.sql"),
    include_str!("../../src/migrations/sqlite_0002.sql"),
    include_str!("../../src/migrations/sqlite_0003.sql"),
    include_str!("../../src/migrations/sqlite_0004.sql"),
];

/// A store of the fourth version with a job in it, as an earlier program left it.
async fn of_the_fourth_version(path: &Path) {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let raw = SqlitePool::connect_with(options).await.unwrap();
    for migration in MIGRATIONS {
        raw.execute(migration).await.unwrap();
    }
    raw.execute("PRAGMA user_version = 4").await.unwrap();
    let job = "INSERT INTO jobs VALUES ('00000000000040008000000000000001', 'local:1', 'kept', '', \
         'running', 1, 2, NULL)";
    raw.execute(job).await.unwrap();
    raw.close().await;
}

/// The version of a file, and the labels of its jobs.
async fn content(path: &Path) -> (i64, Vec<String>) {
    let options = SqliteConnectOptions::new().filename(path).read_only(true);
    let raw = SqlitePool::connect_with(options).await.unwrap();
    let version = sqlx::query_scalar("PRAGMA user_version").fetch_one(&raw).await.unwrap();
    let labels = sqlx::query_scalar("SELECT label FROM jobs").fetch_all(&raw).await.unwrap();
    raw.close().await;
    (version, labels)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    PathBuf::from(format!("{}{ending}", path.display()))
}

#[tokio::test]
async fn the_copy_is_the_store_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    of_the_fourth_version(&path).await;
    // What an earlier attempt left is replaced.
    let copy = beside(&path, ".v4-backup");
    std::fs::write(&copy, "half of a copy").unwrap();

    let store = SqliteStore::open(&path).await.unwrap();
    let migrated = store.migrated().expect("it was of an earlier version").clone();
    assert_eq!((migrated.from, migrated.to), (4, 6));
    assert_eq!(migrated.copy.as_deref(), Some(copy.as_path()));
    let told = migrated.to_string();
    assert!(told.contains(&copy.display().to_string()) && told.contains("-wal"), "{told}");
    assert_eq!(content(&copy).await, (4, vec!["kept".to_owned()]));
    assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let others = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(others, 4, "store, its two companions, and the copy");
    drop(store);

    // The way back is the command that is told.
    let again = SqliteStore::open(&path).await.unwrap();
    assert_eq!(again.migrated(), None, "it is up to date");
    drop(again);
    let wal = beside(&path, "-wal");
    wait_for("every connection to end", Duration::from_secs(30), async || {
        if wal.exists() {
            Progress::Pending(format!("{wal:?} is there"))
        } else {
            Progress::Ready(())
        }
    })
    .await;
    let command = told.split('`').nth(1).expect("a command");
    let ran = std::process::Command::new("sh").arg("-c").arg(command).status().unwrap();
    assert!(ran.success(), "{command}");
    assert_eq!(content(&path).await, (4, vec!["kept".to_owned()]));
}

#[tokio::test]
async fn a_store_that_cannot_be_copied_is_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    of_the_fourth_version(&path).await;
    std::fs::create_dir_all(beside(&path, ".v4-backup/in/the/way")).unwrap();
    let error = SqliteStore::open(&path).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("before its migration"), "{error}");
    assert_eq!(content(&path).await, (4, vec!["kept".to_owned()]));
    let left = std::fs::read_dir(folder.path()).unwrap();
    let left: Vec<String> = left.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!left.iter().any(|name| name.contains("backup.")), "nothing half done: {left:?}");
}

#[tokio::test]
async fn a_new_store_needs_no_copy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(&path).await.unwrap();
    assert_eq!(store.migrated(), None);
    assert!(!beside(&path, ".v0-backup").exists());
}

/// Whoever opens it first is told, and nobody else.
#[tokio::test]
async fn a_program_tells_of_a_migration_once() {
    static TOLD: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());
    let tell = |migrated: &Migrated| TOLD.lock().unwrap().push(migrated.to_string());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    of_the_fourth_version(&path).await;
    let url: store::StoreUrl = format!("sqlite://{}", path.display()).parse().unwrap();
    for _ in 0..2 {
        let lazy = LazyStore::new(url.clone()).telling(tell);
        lazy.get().await.unwrap();
        lazy.get().await.unwrap();
    }
    let told = TOLD.lock().unwrap();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("cp -p") && told[0].contains(".v4-backup"), "{told:?}");
}
