//! The executor, over steps that need no server, and over a scripted one.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use api_core::{Request, path};
use mcp_protocol::MemoryJobs;
use serde_json::json;
use tokio::sync::Notify;

use super::*;
use crate::{
    jobs::Jobs,
    process::Process,
    redaction::Redaction,
    testing::{Scripted, cx},
};

/// What steps did, in their order.
type Diary = Arc<Mutex<Vec<String>>>;

fn diary() -> Diary {
    Arc::default()
}

fn wrote(diary: &Diary) -> Vec<String> {
    diary.lock().unwrap().clone()
}

/// A step that writes its name down, and fails if it is told to.
fn step(diary: &Diary, name: &'static str, fails: bool) -> Step {
    let diary = Arc::clone(diary);
    Step::wait(
        name,
        Box::new(move |_| {
            Box::pin(async move {
                diary.lock().unwrap().push(name.to_owned());
                if fails {
                    Err(ToolError::new(format!("{name} does not work")))
                } else {
                    Ok(StepOutcome::default())
                }
            })
        }),
    )
}

/// A step that waits until it is let go.
fn gate(diary: &Diary, name: &'static str, open: &Arc<Notify>) -> Step {
    let (diary, open) = (Arc::clone(diary), Arc::clone(open));
    Step::wait(
        name,
        Box::new(move |_| {
            Box::pin(async move {
                open.notified().await;
                diary.lock().unwrap().push(name.to_owned());
                Ok(StepOutcome::default())
            })
        }),
    )
}

fn with_jobs(mut cx: Cx) -> Cx {
    let store = Arc::new(MemoryJobs::default());
    let fleet = Arc::clone(&cx.fleet);
    let jobs = Jobs::new(store, fleet, Redaction::default(), 4096, Process::new());
    cx.jobs = Some(Arc::new(jobs));
    cx
}

#[tokio::test]
async fn steps_run_in_order_and_the_plan_is_settled() {
    let (diary, cx) = (diary(), cx("lab", &Scripted::default().client()));
    let settled = Arc::clone(&diary);
    let plan = Plan::new("work")
        .fact("guest", "lab/1")
        .note("by the way")
        .step(step(&diary, "one", false))
        .step(step(&diary, "two", false))
        .settle(move |_, done| async move {
            settled.lock().unwrap().push("settled".to_owned());
            Ok(done.report(format!("{} steps", done.steps.len())))
        });
    let report = plan.execute(&cx).await.unwrap();
    assert_eq!(wrote(&diary), ["one", "two", "settled"]);
    assert_eq!(report.lead, "2 steps");
    assert_eq!((&report.facts["guest"], &report.facts["status"]), (&"lab/1".into(), &"ok".into()));
    assert_eq!(report.notes, ["by the way"]);
}

#[tokio::test]
async fn the_first_failure_stops_and_what_cleans_up_still_runs() {
    let (diary, cx) = (diary(), cx("lab", &Scripted::default().client()));
    let plan = Plan::new("rehearsal")
        .fact("guest", "lab/1")
        .step(step(&diary, "restore", false))
        .step(step(&diary, "start", true))
        .step(step(&diary, "look", false))
        .step(step(&diary, "remove", false).always())
        .step(step(&diary, "tidy", true).always());
    let report = plan.execute(&cx).await.unwrap_err().into_report();
    assert_eq!(wrote(&diary), ["restore", "start", "remove", "tidy"]);
    assert_eq!(report.lead, "rehearsal failed at step 2 of 5: start does not work");
    assert_eq!(report.facts["status"], "failed");
    assert_eq!(report.facts["guest"], "lab/1");
    assert_eq!(
        report.notes,
        [
            "done before start: restore",
            "then tidy failed as well: tidy does not work",
            "afterwards: remove",
        ]
    );
}

#[tokio::test]
async fn a_call_is_sent_once_and_what_it_answers_is_kept() {
    let server = Scripted::new(&[("/api2/json/cluster/nextid", json!({"data": "120"}))]);
    let cx = cx("lab", &server.client());
    let member = cx.fleet.pve(Some("lab")).unwrap().remove(0);
    let call: Request<Value> = Request::post(path!["cluster", "nextid"]);
    let plan = Plan::new("work").step(Step::pve(&member, "find an id", call)).settle(
        |_, done| async move { Ok(done.report(done.value("find an id").unwrap().to_string())) },
    );
    let form = plan.form("test", "local:1");
    assert_eq!(form.calls.len(), 1);
    assert_eq!(plan.execute(&cx).await.unwrap().lead, "\"120\"");
    assert_eq!(server.take_calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_outlives_its_call_goes_on_as_a_job() {
    let (diary, open) = (diary(), Arc::new(Notify::new()));
    let cx = with_jobs(cx("lab", &Scripted::default().client()));
    let plan = Plan::new("clone of lab/1")
        .step(step(&diary, "one", false))
        .step(gate(&diary, "two", &open))
        .step(step(&diary, "three", false));
    let report = plan.execute(&cx).await.unwrap();
    assert_eq!(report.lead, "clone of lab/1 is still running after 45 s (step 2 of 3: two)");
    let id = report.job.as_deref().expect("a job");
    assert_eq!(report.next[0].args["upid"], format!("job:{id}"));
    let jobs = cx.jobs.as_ref().unwrap();
    let owner = cx.call.caller().subject();
    assert!(!jobs.look(owner, id).await.unwrap().expect("the job").state.is_finished());
    assert!(jobs.look("somebody else", id).await.unwrap().is_none());
    open.notify_one();
    let wait = crate::tools::tasks::TaskWait;
    let mut args = JsonObject::new();
    args.insert("upid".to_owned(), format!("job:{id}").into());
    let ended = wait.call(&cx, args).await.unwrap();
    assert_eq!(wrote(&diary), ["one", "two", "three"]);
    assert!(ended.lead.starts_with("clone of lab/1 is done"), "{}", ended.lead);
    assert_eq!(ended.facts["status"], "ok");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_stops_what_was_not_begun() {
    let (diary, open) = (diary(), Arc::new(Notify::new()));
    let begun = Arc::new(AtomicUsize::new(0));
    let cx = cx("lab", &Scripted::default().client());
    let count = Arc::clone(&begun);
    let first = Step::wait(
        "one",
        Box::new(move |running: Running| {
            Box::pin(async move {
                count.fetch_add(1, Ordering::SeqCst);
                running.stop.cancelled().await;
                Ok(StepOutcome::default())
            })
        }),
    );
    let plan = Plan::new("work")
        .step(first)
        .step(step(&diary, "two", false))
        .step(gate(&diary, "tidy", &open).always());
    let called = tokio::time::timeout(Duration::from_secs(1), plan.execute(&cx)).await;
    assert!(called.is_err(), "nobody waits any more");
    open.notify_one();
    // The step that tidies up is the only one that runs after that.
    while wrote(&diary).is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!((begun.load(Ordering::SeqCst), wrote(&diary)), (1, vec!["tidy".to_owned()]));
}

#[test]
fn a_plan_hides_secrets_and_keeps_them_comparable() {
    let request = |password: &str| {
        let request: Request<Value> = Request::post(path!["access", "users"]);
        planned("lab", &request.param("userid", "a@pve").param("password", password))
    };
    let (one, same, other) = (request("hunter2"), request("hunter2"), request("hunter3"));
    assert_eq!(one, same);
    assert_ne!(one, other);
    assert_eq!(one.params[0].1, "a@pve");
    assert!(one.params[1].1.starts_with("secret:") && !one.params[1].1.contains("hunter"));
    let plan = Plan::new("work").change("cipassword", "old", "new");
    assert!(plan.changes[0].before != "old" && plan.changes[0].after != "new");
}
