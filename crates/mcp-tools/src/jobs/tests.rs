//! Jobs over a scripted cluster: after a restart, beside another program, and stopped.

use expect_test::{Expect, expect};
use jiff::{SignedDuration, Timestamp};
use mcp_protocol::{CallContext, Caller, MemoryJobs};
use serde_json::{Value, json};
use stdx::ManualClock;
use tokio::sync::Notify;

use super::*;
use crate::{
    fleet::Traits,
    plan::{Plan, Running, Step, StepOutcome},
    testing::{Scripted, key},
};

const OWNER: &str = "local:0";

/// Programs on one store, in front of one cluster.
struct World {
    server: Scripted,
    store: Arc<dyn JobStore>,
    clock: ManualClock,
}

fn noon() -> Timestamp {
    "2026-11-29T12:00:00Z".parse().unwrap()
}

fn upid(id: u32) -> String {
    format!("UPID:alder:00000001:00000001:00000001:qmclone:{id}:mcp@pve!agent:")
}

fn task(step: usize, id: u32, stoppable: bool) -> TaskRef {
    TaskRef { step, member: "lab".to_owned(), upid: upid(id).parse().unwrap(), stoppable }
}

/// Where the cluster tells of the task.
fn at(id: u32) -> String {
    format!("/api2/json/nodes/alder/tasks/{}", upid(id).replace('@', "%40").replace('!', "%21"))
}

impl World {
    fn new() -> Self {
        let clock = ManualClock::at(noon());
        Self { server: Scripted::default(), store: Arc::new(MemoryJobs::default()), clock }
    }

    /// What the tasks say of themselves: `None` while they run.
    fn tasks(&self, tasks: &[(u32, Option<&str>)]) {
        let mut answers = Vec::new();
        for (id, exit) in tasks {
            let status = if exit.is_some() { "stopped" } else { "running" };
            let mut data = json!({
                "upid": upid(*id), "node": "alder", "pid": 1, "pstart": 1, "starttime": 1,
                "type": "qmclone", "id": id.to_string(), "user": "mcp@pve", "status": status,
            });
            if let Some(exit) = exit {
                data["exitstatus"] = (*exit).into();
            }
            answers.push((format!("{}/status", at(*id)), json!({"data": data})));
            // The one for a request to stop it.
            answers.push((at(*id), json!({"data": null})));
        }
        let answers: Vec<(&str, Value)> =
            answers.iter().map(|(path, answer)| (path.as_str(), answer.clone())).collect();
        self.server.replace(&answers);
    }

    /// A program; each has its own fleet, as programs do.
    fn program(&self, process: Process) -> Cx {
        let fleet = Fleet::new(Arc::new(self.clock.clone()));
        let fleet = fleet.with_pve(key("lab"), &self.server.client(), Traits::default());
        let fleet = Arc::new(fleet);
        let mut cx = Cx::new(Arc::clone(&fleet), CallContext::detached(Caller::new(OWNER)));
        let store = Arc::clone(&self.store);
        cx.jobs = Some(Arc::new(Jobs::new(store, fleet, Redaction::default(), 4096, process)));
        cx
    }

    /// A job that a program which is gone has left.
    async fn left(&self, step: usize, steps: usize, tasks: Vec<TaskRef>) -> Job {
        let refs = Refs { step, steps, by: "gone".to_owned(), doing: "copy".to_owned(), tasks };
        let job = NewJob {
            owner: OWNER.to_owned(),
            label: "clone of lab/104".to_owned(),
            refs: refs.write(),
            created: noon() - SignedDuration::from_hours(1),
        };
        self.store.create(job).await.unwrap()
    }
}

fn jobs(cx: &Cx) -> &Arc<Jobs> {
    cx.jobs.as_ref().unwrap()
}

fn said(state: &JobState) -> String {
    let text = |answer: &Answer| answer.plain_text().replace(&upid(104), "UPID");
    match state {
        JobState::Done(answer) => format!("done: {}", text(answer)),
        JobState::Failed(answer) => format!("failed: {}", text(answer)),
        JobState::Unknown(why) => format!("unknown: {why}"),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_said_of_a_job_whose_program_is_gone() {
    let check = async |step,
                       steps,
                       tasks: Vec<TaskRef>,
                       ends: &[(u32, Option<&str>)],
                       expect: Expect| {
        let world = World::new();
        world.tasks(ends);
        let job = world.left(step, steps, tasks).await;
        let cx = world.program(Process::new());
        let found = jobs(&cx).look(OWNER, job.id.as_str()).await.unwrap().expect("the job");
        expect.assert_eq(&said(&found.state));
        assert_eq!(world.store.get(&job.id).await.unwrap(), Some(found), "what is said is kept");
    };
    let one = || vec![task(1, 104, false)];
    check(1, 1, one(), &[(104, None)], expect!["Running"]).await;
    check(
        1,
        1,
        one(),
        &[(104, Some("OK"))],
        expect![[r#"
            done: clone of lab/104 is done
            note: the server was restarted meanwhile: the task's status is all that was checked
            next: task_get {"upid":"UPID","cluster":"lab"}"#]],
    )
    .await;
    check(
        1,
        1,
        one(),
        &[(104, Some("no space left"))],
        expect![[r#"
            failed: clone of lab/104 failed at its only step (copy): no space left
            next: task_get {"upid":"UPID","cluster":"lab"}"#]],
    )
    .await;
    check(1, 1, one(), &[], expect!["unknown: clone of lab/104 was interrupted: its task at its only step (copy) cannot be read: GET /nodes/alder/tasks/UPID:alder:00000001:00000001:00000001:qmclone:104:mcp%40pve%21agent:/status: /api2/json/nodes/alder/tasks/UPID:alder:00000001:00000001:00000001:qmclone:104:mcp%40pve%21agent:/status does not exist (status 500)"]).await;
    check(1, 1, vec![], &[], expect!["unknown: clone of lab/104 was interrupted: the server ended at its only step (copy); whether that was done has to be looked at"]).await;
    // At step 4, and not at the one whose task was the last.
    check(4, 6, vec![task(2, 104, false)], &[(104, Some("OK"))], expect!["unknown: clone of lab/104 was interrupted: the server ended at step 4 of 6 (copy); whether that was done has to be looked at, and the 2 steps after it were not begun"]).await;
    check(2, 3, vec![task(2, 104, false)], &[(104, Some("OK"))], expect!["unknown: clone of lab/104 was interrupted: the server ended at step 2 of 3 (copy); its task ended well, and the step after it was not begun"]).await;
    check(2, 6, vec![task(2, 104, false)], &[(104, Some("no space left"))], expect![[r#"
        failed: clone of lab/104 failed at step 2 of 6 (copy): no space left
        note: the server ended meanwhile: the 4 steps after it were not begun, what cleans up included
        next: task_get {"upid":"UPID","cluster":"lab"}"#]]).await;
    // One of several at once goes on.
    let several = vec![task(1, 103, false), task(1, 104, false)];
    check(1, 1, several, &[(103, Some("OK")), (104, None)], expect!["Running"]).await;
    let elsewhere = TaskRef { member: "sold".to_owned(), ..task(1, 104, false) };
    check(1, 1, vec![elsewhere], &[], expect!["unknown: clone of lab/104 was interrupted: its task at its only step (copy) is on sold, which the settings do not have any more"]).await;
}

#[tokio::test]
async fn a_job_of_a_living_program_is_not_judged_by_another() {
    let world = World::new();
    world.tasks(&[(104, Some("OK"))]);
    let job = world.left(1, 3, vec![task(1, 104, false)]).await;
    let told = world.store.progress(&job.id, job.refs.clone(), noon()).await.unwrap().unwrap();
    assert_eq!(told.updated, noon());
    let cx = world.program(Process::new());
    let look = async || jobs(&cx).look(OWNER, job.id.as_str()).await.unwrap().unwrap().state;
    world.clock.advance(LEASE.saturating_sub(Duration::from_secs(1)));
    assert_eq!(look().await, JobState::Running, "it was heard of lately");
    assert_eq!(world.server.take_calls(), [""; 0], "its tasks are nobody else's business");
    world.clock.advance(Duration::from_secs(1));
    assert!(matches!(look().await, JobState::Unknown(_)), "it has been silent for too long");
}

#[tokio::test]
async fn a_lock_tells_at_once_that_a_program_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    world.tasks(&[(104, Some("OK"))]);
    let other = Process::in_folder(folder.path());
    let job = world.left(1, 1, vec![task(1, 104, false)]).await;
    let by = |process: &Process| Refs { by: process.id().to_owned(), ..Refs::read(&job.refs) };
    // Silent for an hour, which a machine that was suspended is too.
    let long_ago = job.created;
    world.store.progress(&job.id, by(&other).write(), long_ago).await.unwrap();
    let cx = world.program(Process::in_folder(folder.path()));
    let look = async || jobs(&cx).look(OWNER, job.id.as_str()).await.unwrap().unwrap().state;
    assert_eq!(look().await, JobState::Running, "its lock is held");
    // A crash leaves the file and opens the lock; what was said a moment ago does not count then.
    let file = folder.path().join(format!("{}.lock", other.id()));
    let refs = by(&other).write();
    drop(other);
    std::fs::File::create_new(file).unwrap();
    world.store.progress(&job.id, refs, noon()).await.unwrap();
    assert!(matches!(look().await, JobState::Done(_)));
}

/// A step that begins a task, without a server, and waits until it is let go or stopped.
fn begins(cx: &Cx, name: &'static str, id: u32, open: &Arc<Notify>) -> Step {
    let (open, member) = (Arc::clone(open), cx.fleet.pve(Some("lab")).unwrap().remove(0));
    Step::wait(
        name,
        Box::new(move |running: Running| {
            Box::pin(async move {
                let upid = upid(id).parse().unwrap();
                tokio::select! {
                    () = open.notified() => Ok(StepOutcome::default()),
                    ended = running.follow_pve(&member, name, &upid, true) => ended,
                }
            })
        }),
    )
}

/// The job as another program reads it, once `is` holds of it.
async fn until(world: &World, id: &str, is: impl Fn(&Job, &Refs) -> bool) -> Job {
    loop {
        let job = world.store.get(&JobId::from_text(id)).await.unwrap().expect("the job");
        if is(&job, &Refs::read(&job.refs)) {
            return job;
        }
        // Time is paused, so this waits for others and not for the clock.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_step_is_written_down_before_it_begins() {
    let world = World::new();
    world.tasks(&[(1, None), (2, None), (3, None)]);
    let cx = world.program(Process::new());
    let gates: Vec<Arc<Notify>> = (0..3).map(|_| Arc::default()).collect();
    let plan = Plan::new("clone of lab/104")
        .step(begins(&cx, "copy", 1, &gates[0]))
        .step(begins(&cx, "grow", 2, &gates[1]))
        .step(begins(&cx, "start", 3, &gates[2]));
    let report = plan.execute(&cx).await.unwrap();
    let id = report.job.as_deref().expect("a job").to_owned();
    let at = |step, doing: &'static str, own: u32| {
        move |_: &Job, refs: &Refs| {
            let current: Vec<_> = refs.current().map(|task| task.upid.id().to_owned()).collect();
            refs.step == step && refs.doing == doing && current == [own.to_string()]
        }
    };
    until(&world, &id, at(1, "copy", 1)).await;
    gates[0].notify_one();
    until(&world, &id, at(2, "grow", 2)).await;
    gates[1].notify_one();
    let job = until(&world, &id, at(3, "start", 3)).await;
    let refs = Refs::read(&job.refs);
    assert_eq!((refs.steps, refs.by.as_str()), (3, jobs(&cx).process.id()));
    // It is heard of without anything happening.
    world.clock.advance(Duration::from_secs(20));
    until(&world, &id, |job, _| job.updated == noon() + SignedDuration::from_secs(20)).await;
    gates[2].notify_one();
    let job = until(&world, &id, |job, _| job.state.is_finished()).await;
    assert!(matches!(job.state, JobState::Done(_)), "{job:?}");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_stopped_ends_its_task_and_begins_no_other() {
    for through_another in [false, true] {
        let world = World::new();
        world.tasks(&[(1, None), (2, None)]);
        let cx = world.program(Process::new());
        let never = Arc::default();
        let plan = Plan::new("clone of lab/104")
            .step(begins(&cx, "copy", 1, &never))
            .step(begins(&cx, "start", 2, &never));
        let report = plan.execute(&cx).await.unwrap();
        let id = report.job.as_deref().expect("a job").to_owned();
        let job = until(&world, &id, |_, refs| refs.current().count() == 1).await;
        let with = if through_another { world.program(Process::new()) } else { cx.clone() };
        world.server.take_calls();
        let state = jobs(&with).cancel(&job).await;
        if through_another {
            assert_eq!(state, JobState::Cancelled);
            world.store.update(&job.id, state, noon()).await.unwrap();
        } else {
            assert_eq!(state, JobState::Running, "not before it is so");
        }
        let stop = format!("DELETE {}", self::at(1));
        let mut calls = Vec::new();
        while !calls.contains(&stop) {
            calls.extend(world.server.take_calls());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        world.tasks(&[(1, Some("interrupted by signal")), (2, None)]);
        let job = until(&world, &id, |job, _| job.state.is_finished()).await;
        assert_eq!(job.state, JobState::Cancelled);
        let running = || jobs(&cx).process.stop_of(&job.id).is_some();
        while running() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        calls.extend(world.server.take_calls());
        assert!(!calls.iter().any(|call| call.contains(&self::at(2))), "{calls:?}");
    }
}

#[tokio::test]
async fn what_a_program_that_is_gone_had_begun_can_still_be_stopped() {
    let cancel = async |stoppable| {
        let world = World::new();
        world.tasks(&[(104, None)]);
        let job = world.left(1, 2, vec![task(1, 104, stoppable)]).await;
        let cx = world.program(Process::new());
        (jobs(&cx).cancel(&job).await, world.server.take_calls())
    };
    let stop = format!("DELETE {}", at(104));
    let (state, calls) = cancel(true).await;
    assert_eq!(state, JobState::Cancelled);
    assert!(calls.contains(&stop), "{calls:?}");
    let (state, calls) = cancel(false).await;
    assert_eq!(state, JobState::Running, "what must not be broken off goes on");
    assert!(!calls.contains(&stop), "{calls:?}");
}
