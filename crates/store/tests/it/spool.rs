//! What waits beside the store: kept through a kill, given back in order, and never more than it may be.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use event_core::{Event, wire::frames};
use sha2::Digest as _;
use store::Spool;
use store::spool::SpoolError;
use testkit::contract::event_log::report;

const ROOM: u64 = 64 * 1024 * 1024;

fn event(key: &str) -> Event {
    report("hooks", key, 1)
}

/// An event whose original is that long.
fn long(key: &str, bytes: usize) -> Event {
    let short = event(key);
    let kind = short.kind.clone();
    Event::builder(&short.source.id, "webhook", key, kind, short.time)
        .raw(&vec![b'x'; bytes])
        .build(short.received)
}

/// The keys of everything that waits, which is removed.
async fn drained(spool: &Spool) -> Vec<String> {
    let mut keys = Vec::new();
    while let Some(oldest) = spool.oldest().await.unwrap() {
        keys.extend(oldest.events.iter().map(|event| event.source_key.to_string()));
        spool.remove(oldest).await.unwrap();
    }
    keys
}

/// The files of this ending.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == ending))
        .collect();
    files.sort();
    files
}

#[tokio::test]
async fn what_is_put_comes_back_in_order_and_over_several_files() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("deep/spool");
    let spool = Spool::open(&folder, ROOM).unwrap();
    assert!(spool.oldest().await.unwrap().is_none());
    assert_eq!(spool.put(Vec::new()).await.unwrap(), 0);
    let begin = long("begin", 100_000);
    assert_eq!(spool.put(vec![begin.clone()]).await.unwrap(), 1);
    let mut put = vec!["begin".to_owned()];
    for batch in 0..60 {
        let keys: Vec<String> = (0..=batch % 3).map(|at| format!("{batch}/{at}")).collect();
        let events: Vec<Event> = keys.iter().map(|key| long(key, 100_000)).collect();
        assert_eq!(spool.put(events).await.unwrap(), keys.len());
        put.extend(keys);
    }
    let written = files(&folder, "events");
    assert!(written.len() > 1, "{written:?}");
    let bytes: u64 = written.iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    let level = spool.level();
    assert_eq!((level.events, level.bytes, level.max_bytes), (put.len() as u64, bytes, ROOM));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&written[0])), (0o700, 0o600));
    // Two readings without a removal give the same, as after a crash in between.
    let first = spool.oldest().await.unwrap().unwrap();
    assert_eq!(first.events[0], begin);
    assert_eq!(spool.oldest().await.unwrap().unwrap().events, first.events);
    assert_eq!(drained(&spool).await, put);
    assert_eq!((spool.level().events, spool.level().bytes), (0, 0));
    assert!(files(&folder, "events").is_empty());
    // What comes after that is not lost among the numbers.
    spool.put(vec![event("last")]).await.unwrap();
    assert_eq!(drained(&spool).await, ["last"]);
}

#[tokio::test]
async fn the_next_run_finds_it_and_passes_over_what_was_being_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let spool = Spool::open(path, ROOM).unwrap();
    let put = vec![event("1"), event("2")];
    spool.put(put.clone()).await.unwrap();
    let second = Spool::open(path, ROOM).unwrap_err();
    assert!(matches!(second, SpoolError::Taken(_)), "{second}");
    let since = "2026-11-22T12:00:00Z".parse().unwrap();
    spool.mark(since).await.unwrap();
    spool.mark("2026-11-23T12:00:00Z".parse().unwrap()).await.unwrap();
    drop(spool);
    // Killed in the middle of a write, at every place in it.
    let file = files(path, "events").remove(0);
    let whole = fs::read(&file).unwrap();
    let frame = frames::frame(&event("3"));
    for cut in [1, 4, 11, 12, 40, frame.len() - 1] {
        fs::write(&file, [&whole[..], &frame[..cut]].concat()).unwrap();
        let spool = Spool::open(path, ROOM).unwrap();
        assert_eq!((spool.level().events, spool.marked()), (2, Some(since)), "cut at {cut}");
        // What is put now goes nowhere behind what is torn.
        spool.put(vec![event(&format!("behind {cut}"))]).await.unwrap();
        let oldest = spool.oldest().await.unwrap().unwrap();
        assert_eq!(oldest.events, put);
        let later = files(path, "events");
        assert_eq!(later.len(), 2);
        fs::remove_file(&later[1]).unwrap();
    }
    let spool = Spool::open(path, ROOM).unwrap();
    assert_eq!(drained(&spool).await, ["1", "2"]);
    spool.unmark().await.unwrap();
    drop(spool);
    let spool = Spool::open(path, ROOM).unwrap();
    assert_eq!((spool.level().events, spool.marked()), (0, None));
    assert!(files(path, "odd").is_empty());
}

#[tokio::test]
async fn what_cannot_be_read_is_kept_for_a_person() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let spool = Spool::open(path, ROOM).unwrap();
    spool.put(vec![event("1"), event("2"), event("3")]).await.unwrap();
    drop(spool);
    let file = files(path, "events").remove(0);
    let mut bytes = fs::read(&file).unwrap();
    let second = frames::find(&bytes).texts[1].clone();
    bytes[second.start + 5] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let spool = Spool::open(path, ROOM).unwrap();
    assert_eq!(drained(&spool).await, ["1"]);
    let kept = files(path, "odd");
    assert_eq!(kept.len(), 1);
    assert_eq!(fs::read(&kept[0]).unwrap(), bytes);
    drop(spool);

    // Of a version that is not known: the others come through.
    let spool = Spool::open(path, ROOM).unwrap();
    spool.put(vec![event("4")]).await.unwrap();
    let file = files(path, "events").remove(0);
    let newer = r#"{"v": 99}"#;
    let length = u32::try_from(newer.len()).unwrap().to_le_bytes();
    let sum = sha2::Sha256::new().chain_update(length).chain_update(newer).finalize();
    let mut file = OpenOptions::new().append(true).open(file).unwrap();
    file.write_all(&[&length[..], &sum[..8], newer.as_bytes()].concat()).unwrap();
    file.write_all(&frames::frame(&event("5"))).unwrap();
    assert_eq!(drained(&spool).await, ["4", "5"]);
    assert_eq!(files(path, "odd").len(), 2);
    assert_eq!(spool.level().events, 0);
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_what_fits_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let one = frames::frame(&event("1")).len();
    let room = (frames::HEADER.len() + 2 * one + one / 2) as u64;
    let spool = Spool::open(folder.path(), room).unwrap();
    let three = vec![event("1"), event("2"), event("3")];
    assert_eq!(spool.put(three).await.unwrap(), 2, "the first two");
    let refused = spool.put(vec![event("3")]).await.unwrap_err();
    assert!(matches!(refused, SpoolError::Full { max, .. } if max == room), "{refused}");
    assert!(spool.level().bytes <= room);
    assert_eq!(drained(&spool).await, ["1", "2"]);
    spool.put(vec![event("3")]).await.unwrap();
    assert_eq!(drained(&spool).await, ["3"]);
}

#[tokio::test]
async fn a_folder_that_is_gone_is_said_and_one_that_is_back_is_used() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("spool");
    let spool = Spool::open(&folder, ROOM).unwrap();
    let aside = home.path().join("aside");
    fs::rename(&folder, &aside).unwrap();
    let error = spool.put(vec![event("1")]).await.unwrap_err();
    assert!(matches!(error, SpoolError::Io { .. }), "{error}");
    assert_eq!(spool.level().events, 0);
    fs::rename(&aside, &folder).unwrap();
    spool.put(vec![event("1")]).await.unwrap();
    assert_eq!(drained(&spool).await, ["1"]);
}
