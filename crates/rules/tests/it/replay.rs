//! What rules would do with one event, and with a log.

use std::sync::Arc;

use event_core::{Event, Kind};
use expect_test::expect;
use rules::{Case, Config, Fate, RuleConfig, Rules, replay};

use crate::reports::{at, later, well, wrong};

fn rules() -> Rules {
    let mut config = Config::default().outputs(["ops", "night"]);
    let line = RuleConfig {
        when: Some("event.family == 'backup' && event.level >= 4".to_owned()),
        route: vec!["night".to_owned()],
        ..RuleConfig::default()
    };
    config.rules.insert("backups".to_owned(), line);
    Rules::try_new(&config).expect("valid")
}

#[test]
fn a_case_that_fails_says_which_lines_fit() {
    let case = |event: Arc<Event>, expected| Case { name: "backups".to_owned(), event, expected };
    let told = |names: &[&str]| Fate::Told(names.iter().map(|it| it.parse().unwrap()).collect());
    let failed = wrong(Kind::BackupFailed, at("01:30:00")).guest(104).heard();
    let finished = well(Kind::BackupFinished, at("01:30:00")).guest(104).heard();
    let rules = rules();
    assert_eq!(rules.check_case(&case(Arc::clone(&failed), told(&["night"]))), Ok(()));
    assert_eq!(rules.check_case(&case(Arc::clone(&finished), Fate::Digest)), Ok(()));
    let wrong = rules.check_case(&case(failed, told(&["night", "ops"]))).unwrap_err();
    expect![[r#"
        case `backups` is told to night and not told to night, ops
          backups: sends it to night"#]]
    .assert_eq(&wrong.to_string());
    let wrong = rules.check_case(&case(finished, Fate::Dropped)).unwrap_err();
    expect![[r#"
        case `backups` is in the daily digest and not dropped
          default.digest: is told in the daily digest"#]]
    .assert_eq(&wrong.to_string());
}

#[test]
fn a_log_shows_what_would_have_been_told_and_why() {
    let start = at("01:30:00");
    let log = [
        wrong(Kind::BackupFailed, start).guest(104).title("backup of 104 failed").heard(),
        wrong(Kind::NodeOffline, later(start, 60)).node("alder").heard(),
        well(Kind::NodeOnline, later(start, 120)).node("alder").heard(),
        well(Kind::BackupFinished, later(start, 7200)).guest(104).heard(),
    ];
    let happened = replay(&rules(), log.clone(), later(start, 10_000));
    let lines: Vec<String> = happened.iter().map(ToString::to_string).collect();
    expect![[r#"
        2026-11-22T01:30:01Z backup.failed/lab/guest/104/2026-11-22T01:30:00Z of tasks is of 0320efa9; backups: sends it to night
        2026-11-22T01:30:01Z night held of 0320efa9: wait, until 2026-11-22T01:30:11Z
        2026-11-22T01:30:11Z night new: error backup of 104 failed
        2026-11-22T01:31:01Z node.offline/lab/node/alder/2026-11-22T01:31:00Z of tasks is of 00e502dc; default.alert: is a warning or worse: every output
        2026-11-22T01:31:01Z night held of 00e502dc: wait, until 2026-11-22T01:34:01Z
        2026-11-22T01:31:01Z ops held of 00e502dc: wait, until 2026-11-22T01:34:01Z
        2026-11-22T01:32:01Z node.online/lab/node/alder/2026-11-22T01:32:00Z of tasks is of 00e502dc; default.digest: is told in the daily digest
        2026-11-22T01:32:01Z 00e502dc passed untold
        2026-11-22T03:30:01Z backup.finished/lab/guest/104/2026-11-22T03:30:00Z of tasks is of a20f5d58; default.digest: is told in the daily digest
        2026-11-22T03:30:01Z night resolved quietly: error backup of 104 failed
    "#]].assert_eq(&(lines.join("\n") + "\n"));
    // The same again: names and keys are of the log, not of the run.
    let again = replay(&rules(), log, later(start, 10_000));
    let again: Vec<String> = again.iter().map(ToString::to_string).collect();
    assert_eq!(again, lines);
}
