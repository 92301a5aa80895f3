//! A program is killed in the middle of its work, again and again on one store: what it was told to
//! be kept is there, and what follows from events is there with its mark or not at all.
//!
//! The program is this test binary, run anew with a store's path in its environment.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use event_core::{Event, EventLog as _, Kind, Message, Seq, Severity, Stand};
use store::{Mark, NewDelivery, Outbox as _, Pipeline as _, SqliteStore, Step};

const PATH: &str = "STORE_OF_A_PROGRAM_THAT_IS_KILLED";
const KILLS: usize = 10;
/// What the program says of each event that is kept.
const KEPT: &str = "kept ";

fn time(seq: u64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(1_795_000_000 + i64::try_from(seq).unwrap()).unwrap()
}

fn event(key: &str) -> Event {
    let source = "hooks".parse().unwrap();
    Event::builder(&source, "webhook", key, Kind::BackupFailed, time(0))
        .title(format!("backup {key} failed"))
        .build(time(0))
}

/// One delivery for each event behind the mark, and the mark, in one step.
fn step(from: u64, to: u64) -> Step {
    let delivery = |seq: u64| NewDelivery {
        key: format!("delivery-{seq}").into(),
        output: "ops".parse().unwrap(),
        incident: None,
        lane: seq.to_string(),
        made: time(seq),
        due: time(seq),
        message: Message::new(
            Stand::New,
            "1a2b",
            Kind::BackupFailed,
            Severity::Error,
            "x",
            time(seq),
        ),
    };
    Step {
        deliveries: (from + 1..=to).map(delivery).collect(),
        mark: Some(Mark { consumer: "rules".to_owned(), seq: Seq(to), time: time(to) }),
        ..Step::default()
    }
}

/// What the killed program does: keeps events and says so, and follows its own log.
async fn work(path: &Path) {
    let store = SqliteStore::open(path).await.unwrap();
    let head = store.head().await.unwrap().0;
    for batch in head + 1.. {
        let keys: Vec<String> = (0..=batch % 7).map(|at| format!("{head}/{batch}/{at}")).collect();
        store.append(keys.iter().map(|key| event(key).into()).collect(), Vec::new()).await.unwrap();
        let mut out = std::io::stdout().lock();
        for key in keys {
            writeln!(out, "{KEPT}{key}").unwrap();
        }
        drop(out);
        let from = store.mark("rules").await.unwrap().map_or(0, |mark| mark.seq.0);
        let to = store.head().await.unwrap().0;
        store.commit_step(step(from, to)).await.unwrap();
    }
}

/// Only what the other test runs: by itself it has nothing to do.
#[expect(
    clippy::disallowed_methods,
    reason = "it is told by its environment that it is that program"
)]
#[tokio::test]
async fn a_program_that_is_killed() {
    if let Some(path) = std::env::var_os(PATH) {
        work(Path::new(&path)).await;
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let mut acknowledged: Vec<String> = Vec::new();
    for _ in 0..KILLS {
        let mut program = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::a_program_that_is_killed", "--nocapture"])
            .env(PATH, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(program.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut kept = lines.filter_map(|line| line.strip_prefix(KEPT).map(str::to_owned));
        // At some moment of its work; what it had said by then is in the pipe.
        let moment = usize::from(rand::random::<u8>()) + 1;
        acknowledged.extend(kept.by_ref().take(moment));
        program.kill().unwrap();
        acknowledged.extend(kept);
        program.wait().unwrap();

        let store = SqliteStore::open(&path).await.unwrap();
        let all = store.after(Seq(0), u32::MAX).await.unwrap();
        let keys: std::collections::BTreeSet<&str> =
            all.iter().map(|it| it.event.source_key.as_str()).collect();
        let lost: Vec<&String> =
            acknowledged.iter().filter(|key| !keys.contains(key.as_str())).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        assert_eq!(keys.len(), all.len(), "each is there once");
        assert_eq!(store.head().await.unwrap().0, all.len() as u64, "no place is empty");
        let mark = store.mark("rules").await.unwrap().map_or(0, |mark| mark.seq.0);
        let counts = store.output_counts().await.unwrap();
        let made = counts.first().map_or(0, |count| count.pending);
        assert_eq!(made, mark, "a mark has exactly what was made of the events before it");
    }
    assert!(acknowledged.len() >= KILLS, "the program did something");
}
