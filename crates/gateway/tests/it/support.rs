//! A gateway over a toy: tools that answer, fail, ask, hand work on and never end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use gateway::auth::{Authenticator, TokenFile, Tokens};
use gateway::{
    Bound, Catalogue, Counts, Gateway, GatewayError, Hooks, Listen, Metrics, Options, Place,
    Readiness, Series, Values,
};
use guard::{Grant, Principal, Scope};
use mcp_protocol::{
    Annotations, Answer, App, CallContext, Implementation, InputRequest, JobHandle, JobId,
    JsonObject, Outcome, Tool, ToolSpec, schema_object,
};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use stdx::Clock as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A gateway that runs.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) places: Vec<Place>,
    pub(crate) toy: Arc<Toy>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) serving: JoinHandle<()>,
}

/// What is served, and what the tests can turn and see.
pub(crate) struct Toy {
    metrics: Arc<Metrics>,
    pub(crate) ready: AtomicBool,
    /// How many calls of `wait` are under way.
    pub(crate) waiting: watch::Sender<usize>,
    /// Lets the calls of `wait` go.
    pub(crate) go: CancellationToken,
}

struct ToyTool {
    spec: ToolSpec,
    toy: Arc<Toy>,
}

/// Nobody is asked.
pub(crate) fn open() -> Authenticator {
    Authenticator::none(Grant::new(Principal::token("anybody").unwrap(), Scope::everything()))
}

/// Tokens in a folder of their own: `(authenticator, token, folder)` for each scope.
pub(crate) fn tokens(scopes: &[(&str, &str)]) -> (Authenticator, Vec<String>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = TokenFile::new(folder.path());
    let clock = stdx::SystemClock::shared();
    let make = |(name, scope): &(&str, &str)| {
        let made = file.create(name, &scope.parse().unwrap(), None, clock.now()).unwrap();
        made.0.expose_secret().to_owned()
    };
    let made = scopes.iter().map(make).collect();
    (Authenticator::new(Some(Tokens::new(file, clock)), Vec::new()), made, folder)
}

pub(crate) fn loopback() -> Listen {
    Listen::Tcp { address: ([127, 0, 0, 1], 0).into(), tls: None }
}

/// A gateway on a free port.
/// Something that counts beside the gateway.
#[derive(Debug)]
struct Neighbor;

#[async_trait]
impl Counts for Neighbor {
    async fn read(&self) -> Vec<Series> {
        let series =
            |name, is_seconds, values| Series { name, help: "About it", is_seconds, values };
        let of = |input: &str| vec![("input", input.to_owned())];
        vec![
            series("events_heard", false, Values::Counters(vec![(of("hook"), 3), (of("log"), 0)])),
            series("oldest", true, Values::Gauges(vec![(Vec::new(), 1.5)])),
            series(
                "latency",
                true,
                Values::Histogram {
                    buckets: vec![(0.1, 2), (1.0, 1), (f64::INFINITY, 1)],
                    sum: 9.5,
                },
            ),
            series("nothing", false, Values::Gauges(Vec::new())),
        ]
    }
}

pub(crate) async fn start(options: Options, authenticator: Authenticator) -> Running {
    start_at(options, authenticator, &[loopback()]).await.unwrap()
}

pub(crate) async fn start_at(
    options: Options,
    authenticator: Authenticator,
    places: &[Listen],
) -> Result<Running, GatewayError> {
    start_with(options, authenticator, places, Hooks::new()).await
}

pub(crate) async fn start_with(
    options: Options,
    authenticator: Authenticator,
    places: &[Listen],
    hooks: Hooks,
) -> Result<Running, GatewayError> {
    let serve = |bound: Bound, stop| tokio::spawn(bound.serve(stop));
    run(options, authenticator, places, hooks, serve).await
}

/// One that has nothing to serve yet.
pub(crate) async fn wait(options: Options, authenticator: Authenticator) -> Running {
    let wait = |bound: Bound, stop| tokio::spawn(bound.wait(stop));
    run(options, authenticator, &[loopback()], Hooks::new(), wait).await.unwrap()
}

async fn run(
    options: Options,
    authenticator: Authenticator,
    places: &[Listen],
    hooks: Hooks,
    serve: impl FnOnce(Bound, CancellationToken) -> tokio::task::JoinHandle<()>,
) -> Result<Running, GatewayError> {
    let metrics = Arc::new(Metrics::new("1.2.3").with(Arc::new(Neighbor)));
    let toy = Arc::new(Toy {
        metrics: Arc::clone(&metrics),
        ready: AtomicBool::new(true),
        waiting: watch::Sender::new(0),
        go: CancellationToken::new(),
    });
    let catalogue: Arc<dyn Catalogue> = Arc::new(Shelf(Arc::clone(&toy)));
    let gateway = Gateway::new(options, Arc::new(authenticator), catalogue, metrics);
    let bound: Bound = gateway.with_hooks(hooks).bind(places).await?;
    let places = bound.places();
    let address = places.iter().find_map(|place| match place {
        Place::Http(address) | Place::Https(address) => Some(*address),
        _ => None,
    });
    let shutdown = CancellationToken::new();
    let serving = serve(bound, shutdown.clone());
    let address = address.unwrap_or(([127, 0, 0, 1], 0).into());
    Ok(Running { address, places, toy, shutdown, serving })
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

struct Shelf(Arc<Toy>);

impl Catalogue for Shelf {
    fn app(&self, grant: &Grant) -> App {
        let text = |name: &str| json!({ "type": "object", "properties": { name: { "type": "string" } }, "additionalProperties": false });
        let mut tools = vec![
            (
                "echo",
                "Say it again",
                Annotations::READ,
                json!({
                    "type": "object",
                    "properties": { "text": { "type": "string", "description": "What to say." }, "times": { "type": "integer", "minimum": 1, "maximum": 9 } },
                    "required": ["text"],
                    "additionalProperties": false,
                }),
            ),
            ("fail", "Fail in some way", Annotations::READ, text("word")),
            ("wait", "Wait", Annotations::READ, text("nothing")),
            ("panic", "Fall over", Annotations::READ, text("nothing")),
        ];
        if grant.scope.allows(estate::Access::Operate) {
            tools.push(("ask", "Ask a person first", Annotations::DESTROY, text("nothing")));
            tools.push(("job", "Take long", Annotations::OPERATE, text("nothing")));
        }
        let output = schema_object(json!({
            "type": "object",
            "properties": { "said": { "type": "string" }, "who": { "type": "string" } },
            "required": ["said"],
            "additionalProperties": false,
        }));
        let tools = tools.into_iter().map(|(name, title, annotations, schema)| {
            let spec = ToolSpec {
                output_schema: (name == "echo").then(|| output.clone()),
                ..ToolSpec::new(name, title, title, schema_object(schema), annotations)
            };
            Arc::new(ToyTool { spec, toy: Arc::clone(&self.0) }) as Arc<dyn Tool>
        });
        App::builder(Implementation::new("toy", "Toy", "1.2.3"), "A toy.")
            .tools(tools)
            .observer(Arc::<Metrics>::clone(&self.0.metrics))
            .build()
            .unwrap()
    }

    fn missing_tier(&self, grant: &Grant, tool: &str) -> Option<estate::Access> {
        let needs = matches!(tool, "ask" | "job").then_some(estate::Access::Operate);
        needs.filter(|needed| !grant.scope.allows(*needed))
    }

    fn readiness(&self) -> Readiness {
        if self.0.ready.load(Ordering::Relaxed) { Readiness::Ready } else { Readiness::Starting }
    }
}

#[async_trait]
impl Tool for ToyTool {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn call(&self, cx: &CallContext, args: JsonObject) -> Outcome {
        let word = |name: &str| args.get(name).and_then(Value::as_str).unwrap_or_default();
        match self.spec.name.as_str() {
            "echo" => {
                let grant = cx.caller().get::<Grant>().unwrap();
                let told = json!({ "said": word("text"), "who": grant.principal.to_string() });
                Outcome::Done(Answer::text(word("text")).with_structured(schema_object(told)))
            }
            "fail" => {
                let told = match word("word") {
                    "nobody" => schema_object(json!({ "status": "refused" })),
                    word => schema_object(json!({ "error": word })),
                };
                Outcome::Failed(Answer::text("it did not work").with_structured(told))
            }
            "wait" => {
                let _here = Waiting::new(&self.toy);
                self.toy.go.cancelled().await;
                Outcome::done("waited")
            }
            "ask" => {
                let question = "Really?";
                let form = schema_object(json!({ "type": "object", "properties": {} }));
                Outcome::Ask {
                    inputs: vec![InputRequest::form("sure", question, form)],
                    state: Value::Null,
                }
            }
            "job" => Outcome::Job(JobHandle {
                id: JobId::from_text("4711"),
                answer: Answer::text("it goes on"),
            }),
            _ => panic!("as it was asked to"),
        }
    }
}

/// Counts a call for as long as it is not dropped.
struct Waiting(Arc<Toy>);

impl Waiting {
    fn new(toy: &Arc<Toy>) -> Self {
        toy.waiting.send_modify(|count| *count += 1);
        Self(Arc::clone(toy))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.send_modify(|count| *count -= 1);
    }
}

// === impl Toy ===

impl Toy {
    /// Waits until so many calls of `wait` are under way.
    pub(crate) async fn until_waiting(&self, count: usize) {
        self.waiting.subscribe().wait_for(|waiting| *waiting == count).await.unwrap();
    }
}
