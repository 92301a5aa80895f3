//! Following a task over a server that is slow, away, or forgetful.

use std::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use api_core::{
    ApiClient, DualClient, ErrorKind, Request, path,
    task::{TaskCalls, TaskEnd, TaskOutcome, WaitOptions},
};
use estate::Upid;

use crate::fake::{Fake, answer, classify};

const UPID: &str = "UPID:pve1:000002D6:000C8274:6B033EDA:qmstart:300:bob@pve!operate:";

const CALLS: TaskCalls = TaskCalls {
    status: |_| Request::get(path!["status"]),
    log: |_, start, limit| Request::get(path!["log"]).param("start", start).param("limit", limit),
};

async fn wait(fake: &Fake, options: WaitOptions) -> (Result<TaskOutcome, ErrorKind>, Vec<String>) {
    let upid: Upid = UPID.parse().expect("a UPID");
    let client = DualClient::new(ApiClient::new(fake.shared(), classify));
    let mut log = Vec::new();
    let outcome = client.wait(CALLS, &upid, &options, |line| log.push(line.to_owned())).await;
    (outcome.map_err(|error| error.kind()), log)
}

/// A task that is away for a while, then writes a line at every look, and fails at the tenth.
fn failing() -> Fake {
    let looks = AtomicUsize::new(0);
    Fake::now(move |seen| {
        if seen.line.contains("/log") {
            let written = looks.load(SeqCst).saturating_sub(3);
            let start: usize =
                seen.line.split(['=', '&']).nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
            if written == 0 {
                return answer(200, r#"{"data":[{"n":1,"t":"no content"}],"total":1}"#);
            }
            let lines = (start + 1..=written).map(|n| format!(r#"{{"n":{n},"t":"line {n}"}}"#));
            let lines = lines.collect::<Vec<_>>().join(",");
            return answer(200, &format!(r#"{{"data":[{lines}],"total":{written}}}"#));
        }
        match looks.fetch_add(1, SeqCst) + 1 {
            1 => answer(200, r#"{"data":{"status":"running"}}"#),
            2 => answer(595, ""),
            3 => answer(500, "busy"),
            look if look < 10 => answer(200, r#"{"data":{"status":"running"}}"#),
            _ => answer(200, r#"{"data":{"status":"stopped","exitstatus":"start failed"}}"#),
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_failure_comes_with_cause_and_log_whatever_happened_on_the_way() {
    let (outcome, log) = wait(&failing(), WaitOptions::default()).await;
    let outcome = outcome.expect("an outcome");
    let expected: Vec<String> = (1..=7).map(|n| format!("line {n}")).collect();
    assert_eq!(outcome.state, TaskEnd::Failed("start failed".into()));
    assert_eq!((&outcome.log_tail, &log), (&expected, &expected));
    assert!(!outcome.is_success() && !outcome.is_running());

    let fake = failing();
    let (outcome, _) = wait(&fake, WaitOptions::default().without_log()).await;
    assert_eq!(outcome.expect("an outcome").log_tail, expected);
    assert_eq!(fake.lines().iter().filter(|line| line.contains("/log")).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn every_end_is_told() {
    let status = |body: &'static str| {
        Fake::now(move |seen| {
            if seen.line.contains("/log") {
                answer(200, r#"{"data":[]}"#)
            } else {
                answer(200, body)
            }
        })
    };
    let running = r#"{"data":{"status":"running"}}"#;
    for (fake, expected) in [
        (status(r#"{"data":{"status":"stopped","exitstatus":"OK"}}"#), Ok(TaskEnd::Ok)),
        (
            status(r#"{"data":{"status":"stopped","exitstatus":"WARNINGS: 2"}}"#),
            Ok(TaskEnd::Warnings(2)),
        ),
        (status(running), Ok(TaskEnd::Running { unreachable: None })),
        (Fake::now(|_| answer(404, "no such task")), Ok(TaskEnd::Unknown("no such task".into()))),
        (Fake::now(|_| answer(403, "")), Err(ErrorKind::PermissionDenied)),
        (
            Fake::now(|_| answer(595, "")),
            Ok(TaskEnd::Running { unreachable: Some("GET /status: status 595".into()) }),
        ),
    ] {
        let begun = tokio::time::Instant::now();
        let (outcome, _) = wait(&fake, WaitOptions::within(Duration::from_secs(45))).await;
        assert_eq!(outcome.map(|outcome| outcome.state), expected);
        assert!(begun.elapsed() <= Duration::from_secs(46));
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_is_looked_at_with_the_credential_that_began_it() {
    let done = || Fake::now(|_| answer(200, r#"{"data":{"status":"stopped","exitstatus":"OK"}}"#));
    let (read, operate) = (done(), done());
    let client = |fake: &Fake| ApiClient::new(fake.shared(), classify);
    let both = DualClient::new(client(&read)).with_operate(client(&operate), "bob@pve!operate");
    let options = WaitOptions::default().without_log();
    let ours: Upid = UPID.parse().expect("a UPID");
    let theirs: Upid = UPID.replace("bob", "eve").parse().expect("a UPID");
    both.wait(CALLS, &ours, &options, |_| ()).await.expect("an outcome");
    both.wait(CALLS, &theirs, &options, |_| ()).await.expect("an outcome");
    assert_eq!((read.lines().len(), operate.lines().len()), (1, 1));

    // Reads with one, the rest with the other; a reading view has no other.
    let get = || Request::<serde_json::Value>::get(path!["x"]);
    let post = || Request::<serde_json::Value>::post(path!["x"]);
    both.call(get()).await.expect("an answer");
    both.call(post()).await.expect("an answer");
    assert_eq!((read.lines().len(), operate.lines().len()), (2, 2));
    both.read_only().call(post()).await.expect("an answer");
    assert_eq!((read.lines().len(), operate.lines().len()), (3, 2));
    both.operate().call(get()).await.expect("an answer");
    assert_eq!((read.lines().len(), operate.lines().len()), (3, 3));
}
