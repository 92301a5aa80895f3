//! An app whose tools leave jobs behind, and a driver that the tests steer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use mcp_protocol::{
    Annotations, Answer, App, CallContext, Caller, Changes, ClientCapabilities, InputAnswer,
    InputRequest, Job, JobDriver, JobHandle, JobState, JobStore, JsonObject, MemoryJobs, NewJob,
    Notifier, Outcome, Questions, Tool, ToolSpec, async_trait, schema_object,
};
use serde_json::json;

use crate::fixture;

/// The jobs, and how their work goes.
pub(crate) struct Bench {
    pub(crate) jobs: Arc<dyn JobStore>,
    pub(crate) notifier: Notifier,
    /// What the driver finds when it looks again.
    pub(crate) found: Mutex<Option<JobState>>,
    log: Mutex<Vec<String>>,
}

/// Leaves a job behind: one that works, or one that asks.
struct Leaves {
    spec: ToolSpec,
    bench: Arc<Bench>,
}

impl Bench {
    pub(crate) fn new() -> Arc<Self> {
        let notifier = Notifier::new();
        let jobs = notifier.jobs(Arc::new(MemoryJobs::default()));
        let (found, log) = (Mutex::default(), Mutex::default());
        Arc::new(Self { jobs, notifier, found, log })
    }

    /// The app of this caller.
    pub(crate) fn app(self: &Arc<Self>, caller: &str) -> App {
        let tool = |name: &str, requires| -> Arc<dyn Tool> {
            let schema = schema_object(json!({ "type": "object" }));
            let mut spec = ToolSpec::new(name, name, name, schema, Annotations::OPERATE);
            spec.requires = requires;
            Arc::new(Leaves { spec, bench: Arc::clone(self) })
        };
        let mut tasks = ClientCapabilities::default();
        tasks.tasks = true;
        fixture::builder()
            .tool(tool("work", ClientCapabilities::default()))
            .tool(tool("inquire", ClientCapabilities::default()))
            .tool(tool("theirs", ClientCapabilities::default()))
            .tool(tool("only_tasks", tasks))
            .jobs(Arc::clone(&self.jobs), Arc::clone(self) as Arc<dyn JobDriver>)
            .notifier(self.notifier.clone(), Changes::ALL)
            .caller(Caller::new(caller))
            .build()
            .unwrap()
    }

    /// What the driver was asked to do.
    pub(crate) fn log(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().unwrap())
    }

    fn note(&self, what: &str) {
        self.log.lock().unwrap().push(what.to_owned());
    }
}

#[async_trait]
impl JobDriver for Bench {
    async fn refresh(&self, job: &Job) -> JobState {
        self.note(&format!("refresh {}", job.label));
        self.found.lock().unwrap().clone().unwrap_or(JobState::Running)
    }

    async fn cancel(&self, job: &Job) -> JobState {
        self.note(&format!("cancel {}", job.label));
        JobState::Cancelled
    }

    async fn answer(&self, job: &Job, answers: BTreeMap<String, InputAnswer>) -> JobState {
        assert_eq!(job.state, JobState::Running);
        let said = answers.iter().map(|(key, answer)| format!("{key} {answer:?}"));
        JobState::Done(Answer::text(said.collect::<Vec<_>>().join("; ")))
    }
}

#[async_trait]
impl Tool for Leaves {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn call(&self, cx: &CallContext, _args: JsonObject) -> Outcome {
        let created = "2026-11-22T12:00:00Z".parse().unwrap();
        let owner = match self.spec.name.as_str() {
            "theirs" => "somebody else".to_owned(),
            _ => cx.caller().subject().to_owned(),
        };
        let (label, refs) = (self.spec.name.clone(), Vec::new());
        let job = self.bench.jobs.create(NewJob { owner, label, refs, created }).await.unwrap();
        if self.spec.name == "inquire" {
            let form = |property: &str| {
                let properties = json!({ property: { "type": "boolean" } });
                schema_object(
                    json!({ "type": "object", "properties": properties, "required": [property] }),
                )
            };
            let questions = Questions::new(vec![
                InputRequest::form("first", "Sure?", form("sure")),
                InputRequest::form("second", "Really?", form("really")),
            ]);
            let state = JobState::Asking(questions);
            self.bench.jobs.update(&job.id, state, created).await.unwrap();
        }
        let answer = Answer::text(format!("goes on as {}", self.spec.name));
        Outcome::Job(JobHandle { id: job.id, answer })
    }
}
