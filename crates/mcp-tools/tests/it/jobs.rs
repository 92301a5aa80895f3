//! Work that outlives its call, through apps as they are served: whose it is, how it is stopped, and
//! what is written down of it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use ::estate::Access;
use async_trait::async_trait;
use guard::{
    Grant, Principal, Scope,
    policy::{Defaults, Effect, Matchers, Policy, VmIds},
};
use mcp_protocol::{
    Answers, App, CallContext, Caller, ClientCapabilities, InputAnswer, JobId, JobState,
    JsonObject, MemoryJobs, Outcome, schema_object,
};
use mcp_tools::{
    Options, build_app,
    gate::Guard,
    journal::{Entry, Journal},
};
use proxmox_sim::SimConfig;
use serde_json::{Value, json};
use testkit::{Progress, wait_for};

use crate::{estate::Estate, guard_house::line, surface::options};

const PATIENCE: Duration = Duration::from_mins(1);

/// An estate whose tasks take their time, and what all apps over it share.
struct Office {
    estate: Estate,
    options: Options,
    diary: Arc<Diary>,
}

/// What was written down.
#[derive(Default)]
struct Diary(Mutex<Vec<String>>);

#[async_trait]
impl Journal for Diary {
    async fn record(&self, entry: Entry) -> Result<(), String> {
        self.0.lock().unwrap().push(entry.action);
        Ok(())
    }
}

impl Office {
    async fn open(speed: f64) -> Self {
        let config = SimConfig::fast().with_task_speed(speed);
        let estate = Estate::of(config, "operator", 16 * 1024).await;
        let diary = Arc::new(Diary::default());
        let mut options = options("all");
        options.guard = Guard::new(Arc::new(policy()));
        options.jobs = Some(Arc::new(MemoryJobs::default()));
        options.journal = Some(Arc::<Diary>::clone(&diary));
        Self { estate, options, diary }
    }

    /// The app of a scope, made anew as a server that has forgotten it makes it.
    fn app(&self, scope: &str) -> App {
        let scope = Some(scope.parse::<Scope>().unwrap());
        let options = Options { scope, ..self.options.clone() };
        build_app(Arc::clone(&self.estate.cx.fleet), &options).unwrap()
    }

    /// The tasks of that kind, as the cluster lists them: one line each.
    async fn tasks(&self, kind: &str) -> Vec<String> {
        let text = self.estate.text("tasks_list", json!({"cluster": "lab", "since": "1h"})).await;
        text.lines().filter(|line| line.contains(&format!(":{kind}:"))).map(str::to_owned).collect()
    }

    fn wrote(&self, tool: &str) -> Vec<String> {
        let all = self.diary.0.lock().unwrap().clone();
        all.into_iter().filter_map(|action| Some(action.strip_prefix(tool)?.to_owned())).collect()
    }
}

/// What can be taken back runs unasked, also on what is protected; what may lose something asks the
/// person at the client.
fn policy() -> Policy {
    let allow = || Effect::Allow { per_hour: None };
    let ask = Effect::Ask { of: Vec::new(), count: 1, within: None, client: Some(true) };
    let of = |tier| Matchers {
        principals: vec!["local:*".parse().unwrap()],
        tiers: vec![tier],
        ..Matchers::default()
    };
    let protected = Matchers {
        protected: true,
        clusters: vec!["lab".parse().unwrap()],
        vmids: vec![VmIds { first: 104, last: 104 }],
        ..of(Access::Operate)
    };
    let rules = vec![
        line("protected", 1, allow(), protected),
        line("operate", 2, allow(), of(Access::Operate)),
        line("destroy", 3, ask, of(Access::Destroy)),
    ];
    Policy::try_new(rules, Defaults::default()).expect("lines that can be")
}

fn owner() -> String {
    Principal::local(0).to_string()
}

fn cx(scope: &str, capabilities: ClientCapabilities) -> CallContext {
    let principal = Principal::local(0);
    let grant = Grant::new(principal, scope.parse().unwrap());
    let caller = Caller::new(&owner()).with(grant);
    CallContext::detached(caller).with_capabilities(capabilities)
}

fn knows_tasks() -> ClientCapabilities {
    let mut capabilities = ClientCapabilities::default();
    capabilities.tasks = true;
    capabilities
}

fn can_ask() -> ClientCapabilities {
    let mut capabilities = ClientCapabilities::default();
    capabilities.elicitation_form = true;
    capabilities
}

/// Calls a tool of which the work goes on.
async fn begin(app: &App, scope: &str, tool: &str, args: Value) -> JobId {
    let outcome = app.call_tool(&cx(scope, knows_tasks()), tool, schema_object(args)).await;
    match outcome.unwrap() {
        Outcome::Job(handle) => handle.id,
        other => panic!("{tool} is no job: {other:?}"),
    }
}

async fn state(app: &App, id: &JobId) -> JobState {
    app.job(&owner(), id).await.unwrap().expect("the job").state
}

async fn end(app: &App, id: &JobId) -> JobState {
    wait_for("the job to end", PATIENCE, async || match state(app, id).await {
        JobState::Running => Progress::Pending("it runs".to_owned()),
        state => Progress::Ready(state),
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_its_owners_through_every_scope_and_is_stopped_through_any() {
    let office = Office::open(0.2).await;
    let (one, other) = (office.app("operate"), office.app("destroy"));
    let args = json!({"guest": "lab/100", "name": "web-copy", "start": true});
    let id = begin(&one, "operate", "guest_clone", args).await;
    // One that sees another cluster only does not take the job for lost.
    let elsewhere = office.app("operate cluster:edge");
    for app in [&one, &other, &elsewhere, &office.app("read")] {
        assert_eq!(state(app, &id).await, JobState::Running);
    }
    assert!(other.job("token:else", &id).await.unwrap().is_none());
    assert!(other.cancel_job("token:else", &id).await.unwrap().is_none());
    let clones = office.tasks("qmclone").await;
    assert!(clones.len() == 1 && clones[0].contains("running"), "{clones:?}");

    let cancelled = other.cancel_job(&owner(), &id).await.unwrap().expect("the job");
    assert!(matches!(cancelled.state, JobState::Running | JobState::Cancelled), "{cancelled:?}");
    assert_eq!(end(&one, &id).await, JobState::Cancelled);
    let clones = office.tasks("qmclone").await;
    assert!(clones.len() == 1 && !clones[0].contains("running"), "{clones:?}");
    assert_eq!(office.tasks("qmstart").await, [""; 0], "no later step was begun");
    let guests = office.estate.text("guests_list", json!({"cluster": "lab", "limit": 200})).await;
    assert!(!guests.contains("web-copy"), "{guests}");
    assert_eq!(office.wrote("guest_clone"), [".begin", ".running", ".cancelled"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn power_is_a_job_as_well_and_goes_on_when_it_is_cancelled() {
    let office = Office::open(1.0).await;
    let app = office.app("operate");
    let args = json!({"guest": "lab/100", "action": "shutdown"});
    let id = begin(&app, "operate", "guest_power", args).await;
    app.cancel_job(&owner(), &id).await.unwrap().expect("the job");
    // A shutdown that is broken off halfway helps nobody: it is followed to its end.
    let JobState::Done(answer) = end(&app, &id).await else { panic!("it was broken off") };
    assert!(answer.plain_text().starts_with("lab/100 web-01 is stopped (shutdown: OK, "));
    assert_eq!(office.wrote("guest_power"), [".begin", ".running", ".done"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_of_ha_is_a_job_and_is_followed_through_it() {
    let office = Office::open(4.0).await;
    let app = office.app("operate");
    let args = json!({"guest": "lab/104", "action": "stop"});
    let id = begin(&app, "operate", "guest_power", args).await;
    let JobState::Done(answer) = end(&app, &id).await else { panic!("it failed") };
    let text = answer.plain_text();
    assert!(text.starts_with("lab/104 db-main is stopped (stop through HA, "), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_is_gone_leaves_no_action_without_an_end() {
    let office = Office::open(0.2).await;
    let app = office.app("operate");
    let args = schema_object(json!({"guest": "lab/100", "name": "web-copy", "start": true}));
    let none = ClientCapabilities::default();
    let call = cx("operate", none);
    let mut waiting = Box::pin(app.call_tool(&call, "guest_clone", args));
    // Dropped once its task runs, as a request is that its client cancels.
    let begun = wait_for("the clone to run", PATIENCE, async || {
        match office.tasks("qmclone").await.as_slice() {
            [line] if line.contains("running") => Progress::Ready(()),
            other => Progress::Pending(format!("{other:?}")),
        }
    });
    tokio::select! {
        outcome = &mut waiting => panic!("it has ended: {outcome:?}"),
        () = begun => {}
    }
    drop(waiting);
    let wrote = wait_for("the end to be written down", PATIENCE, async || {
        match office.wrote("guest_clone") {
            wrote if wrote.len() > 1 => Progress::Ready(wrote),
            wrote => Progress::Pending(format!("{wrote:?}")),
        }
    })
    .await;
    assert_eq!(wrote, [".begin", ".cancelled"]);
    let clones = office.tasks("qmclone").await;
    assert!(clones.len() == 1 && !clones[0].contains("running"), "stopped: {clones:?}");
    assert_eq!(office.tasks("qmstart").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_counts_once_whichever_app_reads_it() {
    let office = Office::open(1000.0).await;
    office.estate.text("snapshot_create", json!({"guest": "lab/100", "name": "a1"})).await;
    // With a snapshot more the guest would not be as it was.
    let args = schema_object(json!({"guest": "lab/100", "name": "a1", "safety": "none"}));
    let call = async |answers: Option<Answers>| {
        // Another app each time, as of a server that has forgotten the last one.
        let app = office.app("destroy");
        let mut cx = cx("destroy", can_ask());
        if let Some(answers) = answers {
            cx = cx.with_answers(answers);
        }
        app.call_tool(&cx, "snapshot_rollback", args.clone()).await.unwrap()
    };
    let question = async || match call(None).await {
        Outcome::Ask { inputs, state } => (inputs[0].key.clone(), state),
        other => panic!("it does not ask: {other:?}"),
    };
    let (key, state) = question().await;
    let yes =
        Answers { state, by_key: [(key.clone(), InputAnswer::Accepted(approved(&key)))].into() };
    let done = call(Some(yes.clone())).await;
    assert!(matches!(done, Outcome::Done(_)), "{done:?}");
    // The guest is as it was when the answer was given: only that it was used speaks against it.
    let start = schema_object(json!({"guest": "lab/100", "action": "start"}));
    office.app("operate").call_tool(&cx("operate", can_ask()), "guest_power", start).await.unwrap();
    let again = call(Some(yes)).await;
    let Outcome::Failed(answer) = &again else { panic!("it counted twice: {again:?}") };
    let text = answer.plain_text();
    assert!(text.contains("used already"), "{text}");
}

fn approved(key: &str) -> JsonObject {
    schema_object(json!({key: true}))
}
