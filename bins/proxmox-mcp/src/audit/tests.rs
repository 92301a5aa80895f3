//! The commands as they are typed, over a store of their own.

use std::fmt::Write as _;
use std::path::Path;

use clap::Parser as _;
use expect_test::expect;
use serde_json::json;
use stdx::ManualClock;
use store::{LazyStore, NewAuditRecord};

use super::*;
use crate::cli::{Cli, Command};

async fn log_of(folder: &Path, records: i64) {
    let url = format!("sqlite://{}", folder.join("store.db").display());
    let store = LazyStore::new(url.parse().unwrap());
    let audit = assembly::Audit::new(&store, folder, &settings::AuditSettings::default()).unwrap();
    let noon: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
    for number in 1..=records {
        let is_second = number % 2 == 0;
        let record = NewAuditRecord {
            time: noon + jiff::SignedDuration::from_mins(number),
            principal: guard::Principal::local(1000 + u32::from(number > 4)),
            action: format!("guest_power.{}", if is_second { "done" } else { "begin" }),
            target: format!("lab/{}\u{1b}[31m", 100 + (number + 1) / 2),
            payload: json!({ "action": "stop", "said": "a\u{7}\u{9b}b" }),
        };
        audit.log().append(record).await.unwrap();
    }
}

/// What a command line says, with what is random in it taken out.
async fn say(folder: &Path, line: &str) -> String {
    let state = folder.to_str().unwrap();
    let line = line.replace("DIR", state);
    let args = ["proxmox-mcp", "audit"].into_iter().chain(line.split(' '));
    let cli = Cli::try_parse_from(args.chain(["--state-dir", state])).unwrap();
    let Command::Audit(command) = cli.command else { panic!("another command") };
    let clock = ManualClock::at("2026-11-20T12:08:00Z".parse().unwrap());
    let said = match execute(command, &clock, &TimeZone::UTC).await {
        Ok(said) => format!("[{}] {}{}", said.code, said.err, said.out),
        Err(error) => format!("error: {error:#}"),
    };
    without_key(&said.replace(state, "DIR"))
}

fn without_key(text: &str) -> String {
    let mut text = text.to_owned();
    while let Some(at) = text.find("ed25519:").filter(|at| text.len() >= at + 72) {
        text.replace_range(at..at + 72, "KEY");
    }
    text
}

async fn story(folder: &Path, lines: &[&str]) -> String {
    let mut story = String::new();
    for line in lines {
        let _ = writeln!(story, "$ audit {line}\n{}", say(folder, line).await.trim_end());
    }
    story
}

#[tokio::test]
async fn what_was_done_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let before = story(folder.path(), &["show", "verify", "export"]).await;
    expect![[r#"
        $ audit show
        [0] nothing has been written down yet
        $ audit verify
        [0] nothing has been written down yet
        $ audit export
        [0] nothing has been written down yet
    "#]]
    .assert_eq(&before);
    assert_eq!(folder.path().read_dir().unwrap().count(), 0, "looking makes nothing");
    log_of(folder.path(), 6).await;
    let lines = [
        "show",
        "show --limit 1",
        "show --since 4m --tool guest_power",
        "show --since 2026-11-21",
        "show --since tomorrow",
        "show --principal local:1001 --json",
        "show --tool guest_power.begin --limit 1",
        "show --tool guest",
        "verify",
        "verify --json",
    ];
    expect![[r#"
        $ audit show
        [0] NO  TIME                 WHO         WHAT               TO WHAT  MORE
        1   2026-11-20 12:01:00  local:1000  guest_power.begin  lab/101  {"action":"stop","said":"a\u0007"}
        2   2026-11-20 12:02:00  local:1000  guest_power.done   lab/101  {"action":"stop","said":"a\u0007"}
        3   2026-11-20 12:03:00  local:1000  guest_power.begin  lab/102  {"action":"stop","said":"a\u0007"}
        4   2026-11-20 12:04:00  local:1000  guest_power.done   lab/102  {"action":"stop","said":"a\u0007"}
        5   2026-11-20 12:05:00  local:1001  guest_power.begin  lab/103  {"action":"stop","said":"a\u0007"}
        6   2026-11-20 12:06:00  local:1001  guest_power.done   lab/103  {"action":"stop","said":"a\u0007"}
        $ audit show --limit 1
        [0] NO  TIME                 WHO         WHAT              TO WHAT  MORE
        6   2026-11-20 12:06:00  local:1001  guest_power.done  lab/103  {"action":"stop","said":"a\u0007"}
        $ audit show --since 4m --tool guest_power
        [0] NO  TIME                 WHO         WHAT               TO WHAT  MORE
        4   2026-11-20 12:04:00  local:1000  guest_power.done   lab/102  {"action":"stop","said":"a\u0007"}
        5   2026-11-20 12:05:00  local:1001  guest_power.begin  lab/103  {"action":"stop","said":"a\u0007"}
        6   2026-11-20 12:06:00  local:1001  guest_power.done   lab/103  {"action":"stop","said":"a\u0007"}
        $ audit show --since 2026-11-21
        [0] no record is like that
        $ audit show --since tomorrow
        error: --since takes a time such as 24h or 7d, a date such as 2027-01-31, or a timestamp
        $ audit show --principal local:1001 --json
        [0] {"seq":5,"time":"2026-11-20T12:05:00Z","principal":"local:1001","action":"guest_power.begin","target":"lab/103\u001b[31m","payload":{"action":"stop","said":"a\u0007\u009bb"},"prev_hash":"4d003a16bcf5c24e1744162e2a0c2044e6e212bb39cc793b3c474fa87d7aede0","hash":"b220d500ecf1158a230fab07f289b2c6ebfca2ae8dea6b72cd894631f51d9b77"}
        {"seq":6,"time":"2026-11-20T12:06:00Z","principal":"local:1001","action":"guest_power.done","target":"lab/103\u001b[31m","payload":{"action":"stop","said":"a\u0007\u009bb"},"prev_hash":"b220d500ecf1158a230fab07f289b2c6ebfca2ae8dea6b72cd894631f51d9b77","hash":"aebfaac006c44176c87f1a77f48ba8025921e7098f2c465efc45342c9806d5a8"}
        $ audit show --tool guest_power.begin --limit 1
        [0] NO  TIME                 WHO         WHAT               TO WHAT  MORE
        5   2026-11-20 12:05:00  local:1001  guest_power.begin  lab/103  {"action":"stop","said":"a\u0007"}
        $ audit show --tool guest
        [0] no record is like that
        $ audit verify
        [0] intact: 6 records, each as it was written
        signed up to record 6 (1 checkpoint), key KEY
        head aebfaac006c44176c87f1a77f48ba8025921e7098f2c465efc45342c9806d5a8
        $ audit verify --json
        [0] {"intact":true,"records":6,"head":"aebfaac006c44176c87f1a77f48ba8025921e7098f2c465efc45342c9806d5a8","checkpoints":1,"signed_to":6,"key":"KEY","damage":[]}
    "#]].assert_eq(&story(folder.path(), &lines).await);
}

#[tokio::test]
async fn an_export_holds_what_a_verification_needs() {
    let folder = tempfile::tempdir().unwrap();
    log_of(folder.path(), 8).await;
    let out = folder.path().join("audit.jsonl");
    let line = format!("export --out {}", out.display());
    assert_eq!(say(folder.path(), &line).await, "[0] 8 records are in DIR/audit.jsonl\n");
    let text = std::fs::read_to_string(&out).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 9, "eight records and the checkpoint of the eighth");
    assert_eq!(lines[1]["prev_hash"], lines[0]["hash"]);
    assert_eq!(lines[0]["payload"]["action"], "stop");
    assert_eq!(lines[8]["checkpoint"]["seq"], 8);
    let mode = std::os::unix::fs::PermissionsExt::mode(&out.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let again = say(folder.path(), &line).await;
    assert!(again.starts_with("error: make the file DIR/audit.jsonl"), "{again}");
}

#[tokio::test]
async fn damage_is_named_and_fails() {
    let folder = tempfile::tempdir().unwrap();
    log_of(folder.path(), 9).await;
    let state = folder.path();
    // Another key, and a public half in a file.
    let key = AuditFiles::in_folder(state).read_key().unwrap().unwrap().public();
    std::fs::write(state.join("audit.pub"), format!("{key}\n")).unwrap();
    let other = store::CheckpointKey::generate().unwrap();
    std::fs::write(state.join("other.key"), other).unwrap();
    std::fs::write(state.join("garbage"), "?").unwrap();
    let lines = [
        "verify --key DIR/audit.pub",
        "verify --key DIR/other.key",
        "verify --key DIR/garbage",
        "verify --key DIR/none",
    ];
    expect![[r#"
        $ audit verify --key DIR/audit.pub
        [0] intact: 9 records, each as it was written
        signed up to record 9 (2 checkpoints), key KEY
        head 85c1a296b50b441218ed5a56838d9fbbfec3a3d3d07c617bea0ad23c357ed05e
        $ audit verify --key DIR/other.key
        [1] damaged: 9 records are there, and
        - the checkpoint of record 8 is not signed by this key
        - the checkpoint of record 9 is not signed by this key
        signed up to no record (0 checkpoints), key KEY
        head 85c1a296b50b441218ed5a56838d9fbbfec3a3d3d07c617bea0ad23c357ed05e
        $ audit verify --key DIR/garbage
        error: read the key in DIR/garbage: it is no public key: `ed25519:` and 64 hexadecimal digits are expected
        $ audit verify --key DIR/none
        error: read the key in DIR/none: No such file or directory (os error 2)
    "#]].assert_eq(&story(state, &lines).await);

    // The database was put back to an earlier one, as from a backup of it alone.
    let earlier = tempfile::tempdir().unwrap();
    log_of(earlier.path(), 3).await;
    // The database is gone.
    let gone = tempfile::tempdir().unwrap();
    for folder in [earlier.path(), gone.path()] {
        for file in ["audit.key", "audit.mark"] {
            std::fs::copy(state.join(file), folder.join(file)).unwrap();
        }
    }
    expect![[r#"
        $ audit verify
        [1] damaged: 3 records are there, and
        - records 4 to 9 are cut off the end: record 9 was signed (2026-11-20T12:09:00Z)
        signed up to no record (0 checkpoints), key KEY
        head e43b247dc6602e5df5e2a618e18ffe5d9313257c2007f2ae3efb7e0208c6999f
        $ audit verify --json
        [1] {"intact":false,"records":3,"head":"e43b247dc6602e5df5e2a618e18ffe5d9313257c2007f2ae3efb7e0208c6999f","checkpoints":0,"signed_to":null,"key":"KEY","damage":["records 4 to 9 are cut off the end: record 9 was signed (2026-11-20T12:09:00Z)"]}
    "#]].assert_eq(&story(earlier.path(), &["verify", "verify --json"]).await);
    expect![[r#"
        $ audit verify
        [1] damaged: the store is gone: records 1 to 9 were in it at 2026-11-20T12:09:00Z
    "#]]
    .assert_eq(&story(gone.path(), &["verify"]).await);
    // The mark is bent.
    std::fs::write(state.join("audit.mark"), "?").unwrap();
    expect![[r#"
        $ audit verify
        error: read the mark of the log's end at DIR/audit.mark: it does not hold a checkpoint
    "#]]
    .assert_eq(&story(state, &["verify"]).await);
}
