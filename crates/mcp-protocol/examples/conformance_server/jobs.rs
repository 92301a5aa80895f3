//! Tools whose work goes on behind a task, for clients that know tasks, and in the call itself for others.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use mcp_protocol::{
    Answer, CallContext, ClientCapabilities, InputAnswer, InputRequest, Job, JobDriver, JobHandle,
    JobId, JobState, JobStore, JsonObject, NewJob, Outcome, Questions, Tool, ToolSpec, async_trait,
    schema_object,
};
use serde_json::{Value, json};
use stdx::{Clock, SystemClock};
use tokio::sync::oneshot;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::fixture::spec;

/// How a job ends.
type Work = BoxFuture<'static, JobState>;

/// The jobs that run.
pub(crate) struct Works {
    store: Arc<dyn JobStore>,
    clock: Arc<dyn Clock>,
    running: Mutex<HashMap<JobId, Running>>,
}

struct Running {
    stop: CancellationToken,
    answered: Option<oneshot::Sender<BTreeMap<String, InputAnswer>>>,
}

struct Worker {
    spec: ToolSpec,
    works: Arc<Works>,
    run: for<'a> fn(&'a Arc<Works>, &'a CallContext, Value) -> BoxFuture<'a, Outcome>,
}

pub(crate) fn tools(works: &Arc<Works>) -> Vec<Arc<dyn Tool>> {
    let tool =
        |spec: ToolSpec,
         run: for<'a> fn(&'a Arc<Works>, &'a CallContext, Value) -> BoxFuture<'a, Outcome>|
         -> Arc<dyn Tool> { Arc::new(Worker { spec, works: Arc::clone(works), run }) };
    let plain = |name: &str, description: &str| spec(name, description, json!({}));
    vec![
        tool(
            spec("greet", "Greets at once.", json!({ "name": { "type": "string" } })),
            |_, _, args| {
                Box::pin(async move {
                    Outcome::done(format!("Hello, {}!", args["name"].as_str().unwrap_or_default()))
                })
            },
        ),
        tool(
            spec(
                "slow_compute",
                "Takes so many seconds.",
                json!({
                    "seconds": { "type": "number", "minimum": 0 },
                    "label": { "type": "string" },
                }),
            ),
            |works, cx, args| {
                Box::pin(async move {
                    let seconds = Duration::from_secs_f64(args["seconds"].as_f64().unwrap_or(0.0));
                    let label = args["label"].as_str().unwrap_or_default().to_owned();
                    let text = format!("computed {label}");
                    if seconds.is_zero() {
                        return Outcome::done(text);
                    }
                    let work = async move {
                        sleep(seconds).await;
                        JobState::Done(Answer::text(text))
                    };
                    works.run(cx, &label, Box::pin(work)).await
                })
            },
        ),
        tool(
            {
                let mut spec = plain("failing_job", "Fails after a while; only as a task.");
                spec.requires = tasks();
                spec
            },
            |works, cx, _| {
                Box::pin(async move {
                    let work = async {
                        sleep(Duration::from_secs(1)).await;
                        JobState::Failed(Answer::text("The job failed, as it should."))
                    };
                    works.run(cx, "failing job", Box::pin(work)).await
                })
            },
        ),
        tool(plain("protocol_error_job", "Breaks."), |works, cx, _| {
            Box::pin(async move {
                let work = async { JobState::Broken("the job broke, as it should".to_owned()) };
                works.run(cx, "breaking job", Box::pin(work)).await
            })
        }),
        tool(
            spec(
                "confirm_delete",
                "Asks before it pretends to delete.",
                json!({ "filename": { "type": "string" } }),
            ),
            |works, cx, args| {
                Box::pin(async move {
                    let file = args["filename"].as_str().unwrap_or_default();
                    let form = form("confirm", json!({ "type": "boolean" }));
                    let question = format!("Delete {file}?");
                    let asked = vec![InputRequest::form("confirm", question, form)];
                    works.ask(cx, "deletion", asked).await
                })
            },
        ),
        tool(plain("multi_input", "Asks two things at once."), |works, cx, _| {
            Box::pin(async move {
                let form = form("name", json!({ "type": "string" }));
                let asked = vec![
                    InputRequest::form("first", "The first name?", form.clone()),
                    InputRequest::form("second", "The second name?", form),
                ];
                works.ask(cx, "two questions", asked).await
            })
        }),
        tool(plain("test_tool_with_task", "Asks, then works as a task."), |works, cx, _| {
            Box::pin(async move {
                let answer = cx.answers().and_then(|answers| answers.get("user_name"));
                let Some(InputAnswer::Accepted(form)) = answer else {
                    let form = form("name", json!({ "type": "string" }));
                    let inputs = vec![InputRequest::form("user_name", "What is your name?", form)];
                    return Outcome::Ask { inputs, state: Value::Null };
                };
                let text = format!("Hello, {}!", form["name"].as_str().unwrap_or_default());
                let work = async move { JobState::Done(Answer::text(text)) };
                works.run(cx, "greeting", Box::pin(work)).await
            })
        }),
    ]
}

fn tasks() -> ClientCapabilities {
    let mut needed = ClientCapabilities::default();
    needed.tasks = true;
    needed
}

fn form(field: &str, of: Value) -> JsonObject {
    schema_object(json!({ "type": "object", "properties": { field: of } }))
}

#[async_trait]
impl Tool for Worker {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn call(&self, cx: &CallContext, args: JsonObject) -> Outcome {
        (self.run)(&self.works, cx, Value::Object(args)).await
    }
}

impl Works {
    pub(crate) fn new(store: Arc<dyn JobStore>) -> Self {
        Self { store, clock: SystemClock::shared(), running: Mutex::default() }
    }

    pub(crate) fn store(&self) -> Arc<dyn JobStore> {
        Arc::clone(&self.store)
    }

    /// Works as a task if the client can follow one, in the call itself if not.
    async fn run(self: &Arc<Self>, cx: &CallContext, label: &str, work: Work) -> Outcome {
        if !cx.capabilities().tasks {
            return outcome(work.await);
        }
        self.start(cx, label, None, work).await
    }

    /// A task that begins with questions.
    async fn ask(
        self: &Arc<Self>,
        cx: &CallContext,
        label: &str,
        inputs: Vec<InputRequest>,
    ) -> Outcome {
        if !cx.capabilities().tasks {
            return match cx.answers() {
                Some(answers) => outcome(concluded(&answers.by_key)),
                None => Outcome::Ask { inputs, state: Value::Null },
            };
        }
        let (answered, answers) = oneshot::channel();
        let work = async move {
            match answers.await {
                Ok(answers) => concluded(&answers),
                Err(_) => JobState::Cancelled,
            }
        };
        self.start(cx, label, Some((Questions::new(inputs), answered)), Box::pin(work)).await
    }

    async fn start(
        self: &Arc<Self>,
        cx: &CallContext,
        label: &str,
        asks: Option<(Questions, oneshot::Sender<BTreeMap<String, InputAnswer>>)>,
        work: Work,
    ) -> Outcome {
        let job = NewJob {
            owner: cx.caller().subject().to_owned(),
            label: label.to_owned(),
            refs: Vec::new(),
            created: self.clock.now(),
        };
        let id = match self.store.create(job).await {
            Ok(job) => job.id,
            Err(error) => return Outcome::failed(error.to_string()),
        };
        let stop = CancellationToken::new();
        let (questions, answered) = asks.unzip();
        self.running().insert(id.clone(), Running { stop: stop.clone(), answered });
        if let Some(questions) = questions {
            self.note(&id, JobState::Asking(questions)).await;
        }
        let works = Arc::clone(self);
        let job = id.clone();
        tokio::spawn(async move {
            let state = tokio::select! {
                () = stop.cancelled() => JobState::Cancelled,
                state = work => state,
            };
            works.note(&job, state).await;
            works.running().remove(&job);
        });
        Outcome::Job(JobHandle { id, answer: Answer::text("still at work") })
    }

    async fn note(&self, id: &JobId, state: JobState) {
        // In memory nothing can fail.
        let _ = self.store.update(id, state, self.clock.now()).await;
    }

    fn running(&self) -> MutexGuard<'_, HashMap<JobId, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl JobDriver for Works {
    async fn refresh(&self, job: &Job) -> JobState {
        job.state.clone()
    }

    async fn cancel(&self, job: &Job) -> JobState {
        if let Some(running) = self.running().get(&job.id) {
            running.stop.cancel();
        }
        JobState::Cancelled
    }

    async fn answer(&self, job: &Job, answers: BTreeMap<String, InputAnswer>) -> JobState {
        let answered = self.running().get_mut(&job.id).and_then(|running| running.answered.take());
        if let Some(answered) = answered {
            // The work may have been stopped in this moment.
            let _ = answered.send(answers);
        }
        JobState::Running
    }
}

/// What a call answers that did the work of a job itself.
fn outcome(state: JobState) -> Outcome {
    match state {
        JobState::Done(answer) => Outcome::Done(answer),
        JobState::Failed(answer) => Outcome::Failed(answer),
        JobState::Broken(text) => Outcome::failed(text),
        _ => Outcome::failed("the work was stopped"),
    }
}

fn concluded(answers: &BTreeMap<String, InputAnswer>) -> JobState {
    let accepted = answers.values().filter(|answer| matches!(answer, InputAnswer::Accepted(_)));
    let text = format!("{} of {} accepted", accepted.count(), answers.len());
    JobState::Done(Answer::text(text))
}
