//! The commands as they are typed, over a store of their own.

use std::fmt::Write as _;
use std::path::Path;

use ::estate::Access;
use clap::Parser as _;
use expect_test::expect;
use guard::ports::{Intent, KeptCall, NewAction, StepEnd};
use guard::{PlanDigest, PlannedCall, Principal};
use stdx::{Clock as _, ManualClock};
use store::LazyStore;

use super::*;
use crate::cli::{Cli, Command};

fn clock() -> ManualClock {
    ManualClock::at("2026-11-20T12:00:00Z".parse().unwrap())
}

async fn kept(folder: &Path) -> Vec<ActionId> {
    let url = format!("sqlite://{}", folder.join("store.db").display());
    let ports = GuardStore::in_folder(LazyStore::new(url.parse().unwrap()), folder);
    let mut ids = Vec::new();
    let ends = [ActionState::Done, ActionState::Unknown, ActionState::Running];
    for (minute, end) in (0..).zip(ends) {
        let now = clock().now() + jiff::SignedDuration::from_mins(minute);
        let new = NewAction {
            principal: Principal::local(1000),
            tool: "guest_power".to_owned(),
            target: "lab/104\u{1b}[31m".to_owned(),
            digest: PlanDigest::from_text("sha256:07"),
            approval: None,
            access: Access::Operate,
            unasked: true,
            steps: 1,
            owner: "serve".to_owned(),
            call: KeptCall { tool: "guest_power".to_owned(), arguments: serde_json::Map::new() },
        };
        let id = ports.begin(new, now).await.unwrap();
        let call = PlannedCall {
            member: "lab".to_owned(),
            method: "POST".to_owned(),
            path: "/nodes/alder/qemu/104/status/stop".to_owned(),
            params: Vec::new(),
        };
        let intent = Intent {
            step: 0,
            what: "stop lab/104".to_owned(),
            calls: vec![call],
            trace: None,
            at: now,
            upid: None,
            end: None,
        };
        ports.intend(id, intent).await.unwrap();
        if end == ActionState::Unknown {
            let why = "no task is like that".to_owned();
            ports.ended(id, 0, StepEnd::Unknown(why)).await.unwrap();
        }
        if end != ActionState::Running {
            ports.finish(id, end, "nobody can tell", now).await.unwrap();
        }
        ids.push(id);
    }
    ids
}

async fn say(folder: &Path, args: &[&str]) -> String {
    let state = folder.to_str().unwrap();
    let line = ["proxmox-mcp", "actions"].into_iter().chain(args.iter().copied());
    let cli = Cli::try_parse_from(line.chain(["--state-dir", state])).unwrap();
    let Command::Actions(ActionsCommand::List { all, limit, json, kept }) = cli.command else {
        panic!("another command")
    };
    let found = in_the_store(&kept.find().unwrap(), all, limit).await.unwrap();
    let said = listed(found, json, &TimeZone::UTC).unwrap();
    format!("[{}] {}{}", said.code, said.err, said.out)
}

#[tokio::test]
async fn what_nobody_knows_is_listed_until_a_person_has_looked() {
    let folder = tempfile::tempdir().unwrap();
    let mut story = say(folder.path(), &["list"]).await;
    assert_eq!(folder.path().read_dir().unwrap().count(), 0, "looking makes nothing");
    let ids = kept(folder.path()).await;
    let texts: Vec<String> = ids.iter().map(ToString::to_string).collect();
    for args in [&["list"][..], &["list", "--json"], &["list", "--all", "--limit", "2"]] {
        let said = say(folder.path(), args).await;
        let _ = writeln!(story, "$ actions {}\n{}", args.join(" "), said.trim_end());
    }
    for (text, name) in texts.iter().zip(["ID-1", "ID-2", "ID-3"]) {
        // As wide as the id, so that columns stay columns.
        story = story.replace(text, &format!("{name:<32}"));
    }
    let lines: Vec<&str> = story.lines().map(str::trim_end).collect();
    let story = lines.join("\n");
    expect![[r#"
        [0] nothing has been begun yet
        $ actions list
        [0] ID                                STATE    BEGUN                WHO         TOOL         TO WHAT
        ID-3                              running  2026-11-20 12:02:00  local:1000  guest_power  lab/104
          1. stop lab/104: about to be sent, perhaps sent (no task known)
        ID-2                              unknown  2026-11-20 12:01:00  local:1000  guest_power  lab/104
          1. stop lab/104: unknown: no task is like that (no task known)
          nobody can tell
        `proxmox-mcp actions settle ID END --note …` says how one ended
        $ actions list --json
        [0] {"id":"ID-3                            ","state":"running","principal":"local:1000","tool":"guest_power","target":"lab/104\u001b[31m","begun":"2026-11-20T12:02:00Z","digest":"sha256:07","approval":null,"unasked":true,"lead":null,"steps_planned":1,"steps":[{"step":0,"what":"stop lab/104","calls":[{"member":"lab","method":"POST","path":"/nodes/alder/qemu/104/status/stop"}],"at":"2026-11-20T12:02:00Z","upid":null,"end":"about to be sent, perhaps sent"}]}
        {"id":"ID-2                            ","state":"unknown","principal":"local:1000","tool":"guest_power","target":"lab/104\u001b[31m","begun":"2026-11-20T12:01:00Z","digest":"sha256:07","approval":null,"unasked":true,"lead":"nobody can tell","steps_planned":1,"steps":[{"step":0,"what":"stop lab/104","calls":[{"member":"lab","method":"POST","path":"/nodes/alder/qemu/104/status/stop"}],"at":"2026-11-20T12:01:00Z","upid":null,"end":"unknown: no task is like that"}]}
        $ actions list --all --limit 2
        [0] ID                                STATE    BEGUN                WHO         TOOL         TO WHAT
        ID-3                              running  2026-11-20 12:02:00  local:1000  guest_power  lab/104
          1. stop lab/104: about to be sent, perhaps sent (no task known)
        ID-2                              unknown  2026-11-20 12:01:00  local:1000  guest_power  lab/104
          1. stop lab/104: unknown: no task is like that (no task known)
          nobody can tell
        `proxmox-mcp actions settle ID END --note …` says how one ended"#]].assert_eq(&story);
}
