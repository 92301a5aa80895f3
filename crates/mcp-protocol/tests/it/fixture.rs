//! An app with a tool for every way in which a call can go.

use std::collections::BTreeMap;
use std::sync::Arc;

use mcp_protocol::{
    Annotations, Answer, App, AppBuilder, Audience, CallContext, Completer, Completion,
    CompletionRef, Content, Implementation, InputAnswer, InputRequest, JobHandle, JobId, LogLevel,
    Outcome, PromptArgument, PromptError, PromptMessage, PromptReply, PromptSpec, Prompts,
    Resource, ResourceContents, ResourceError, ResourceTemplate, Resources, Tool, ToolSpec,
    async_trait, schema_object,
};
use serde_json::{Value, json};
use tokio::sync::Notify;

/// What a tool that never ends by itself tells about its life.
#[derive(Default)]
pub(crate) struct Life {
    pub(crate) started: Notify,
    pub(crate) dropped: Notify,
}

type Body = fn(&CallContext, &Value) -> Outcome;

struct Plain {
    spec: ToolSpec,
    body: Body,
}

struct Steps(ToolSpec);
struct Forever(ToolSpec, Arc<Life>);
struct Library;
struct Greetings(Vec<PromptSpec>);
struct Letters;

pub(crate) fn app() -> App {
    builder().build().unwrap()
}

pub(crate) fn app_with(life: &Arc<Life>) -> App {
    builder_with(life).build().unwrap()
}

pub(crate) fn builder_with(life: &Arc<Life>) -> AppBuilder {
    builder().tool(Arc::new(Forever(spec("forever", json!({}), None), Arc::clone(life))))
}

pub(crate) fn builder() -> AppBuilder {
    let echo = json!({
        "text": { "type": "string", "description": "What to say." },
        "times": { "type": "integer", "minimum": 1, "maximum": 3 },
        "voice": { "type": "string", "enum": ["soft", "loud"] },
    });
    let mut echo = spec("echo", echo, Some(json!({ "said": { "type": "string" } })));
    echo.input_schema.insert("required".to_owned(), json!(["text"]));
    let greet = PromptSpec {
        name: "greet".to_owned(),
        title: Some("Greet".to_owned()),
        description: None,
        arguments: vec![
            PromptArgument { name: "name".to_owned(), description: None, required: true },
            PromptArgument { name: "tone".to_owned(), description: None, required: false },
        ],
        icons: Vec::new(),
    };
    let plain = |name: &str, body: Body| -> Arc<dyn Tool> {
        Arc::new(Plain { spec: spec(name, json!({}), None), body })
    };
    App::builder(Implementation::new("fixture", "Fixture", "1.2.3"), "Use it for tests.")
        .tool(Arc::new(Plain { spec: echo, body: say }))
        .tool(plain("fail", |_, _| Outcome::failed("it did not work; try later")))
        .tool(plain("boom", |_, _| panic!("the secret cause")))
        .tool(Arc::new(Plain {
            spec: spec("liar", json!({}), Some(json!({ "count": { "type": "integer" } }))),
            body: |_, _| {
                Outcome::Done(
                    Answer::text("3").with_structured(schema_object(json!({ "count": "3" }))),
                )
            },
        }))
        .tool(plain("kinds", |_, _| kinds()))
        .tool(plain("context", |cx, _| Outcome::done(describe(cx))))
        .tool(plain("ask", |cx, _| ask(cx)))
        .tool(plain("job", |_, _| {
            let answer = Answer::text("still running; ask again");
            Outcome::Job(JobHandle { id: JobId::random(), answer })
        }))
        .tool(Arc::new(Steps(spec("steps", json!({}), None))))
        .resources(Arc::new(Library))
        .prompts(Arc::new(Greetings(vec![greet])))
        .completer(Arc::new(Letters))
}

fn spec(name: &str, properties: Value, output: Option<Value>) -> ToolSpec {
    let object = |properties: Value| {
        schema_object(json!({
            "type": "object",
            "properties": properties,
            "additionalProperties": false,
        }))
    };
    let description = format!("Does {name}.");
    let mut spec = ToolSpec::new(
        name,
        format!("The {name}"),
        description,
        object(properties),
        Annotations::READ,
    );
    spec.output_schema = output.map(object);
    spec
}

fn say(_cx: &CallContext, args: &Value) -> Outcome {
    let times = usize::try_from(args["times"].as_u64().unwrap_or(1)).unwrap();
    let said = vec![args["text"].as_str().unwrap(); times].join(" ");
    let structured = schema_object(json!({ "said": said }));
    Outcome::Done(Answer::text(said).with_structured(structured))
}

fn kinds() -> Outcome {
    let link =
        Resource { title: Some("A text".to_owned()), ..Resource::new("test://text", "text") };
    let answer = Answer::text("first")
        .with_content(Content::text("hinted").for_audience(Audience::User).with_priority(0.5))
        .with_content(Content::image(vec![1, 2, 3], "image/png"))
        .with_content(Content::audio(vec![4, 5], "audio/wav"))
        .with_content(Content::link(link))
        .with_content(Content::embedded(ResourceContents::text("test://a", "text/plain", "in")));
    Outcome::Done(answer)
}

fn describe(cx: &CallContext) -> String {
    format!(
        "{} {:?} {} {} {:?} {:?}",
        cx.caller().subject(),
        cx.era(),
        cx.protocol_version(),
        cx.client().name,
        cx.trace().traceparent,
        cx.caller().get::<u32>(),
    )
}

fn ask(cx: &CallContext) -> Outcome {
    let schema = schema_object(json!({
        "type": "object",
        "properties": { "sure": { "type": "boolean" } },
        "required": ["sure"],
    }));
    let round = cx.answers().and_then(|answers| answers.state["round"].as_u64()).unwrap_or(0);
    match cx.answers().and_then(|answers| answers.get("confirm")) {
        None => Outcome::Ask {
            inputs: vec![InputRequest::form("confirm", "Are you sure?", schema)],
            state: json!({ "round": round + 1 }),
        },
        Some(InputAnswer::Accepted(fields)) => {
            Outcome::done(format!("accepted {} after {round}", Value::Object(fields.clone())))
        }
        Some(InputAnswer::Declined) => Outcome::failed("declined"),
        Some(_) => Outcome::failed("cancelled"),
    }
}

#[async_trait]
impl Tool for Plain {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn call(&self, cx: &CallContext, args: mcp_protocol::JsonObject) -> Outcome {
        (self.body)(cx, &Value::Object(args))
    }
}

#[async_trait]
impl Tool for Steps {
    fn spec(&self) -> &ToolSpec {
        &self.0
    }

    async fn call(&self, cx: &CallContext, _args: mcp_protocol::JsonObject) -> Outcome {
        cx.log(LogLevel::Debug, "not wanted by default").await;
        cx.log(LogLevel::Warning, "beginning").await;
        for current in [0.0, 50.0, 50.0, 20.0, 100.0] {
            cx.progress(current, Some(100.0), Some("working")).await;
        }
        let late = cx.clone();
        tokio::spawn(async move {
            // Whenever this runs, the answer must be the last that is said about the call.
            tokio::task::yield_now().await;
            late.progress(101.0, None, None).await;
        });
        Outcome::done("arrived")
    }
}

struct OnDrop(Arc<Life>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.dropped.notify_one();
    }
}

#[async_trait]
impl Tool for Forever {
    fn spec(&self) -> &ToolSpec {
        &self.0
    }

    async fn call(&self, _cx: &CallContext, _args: mcp_protocol::JsonObject) -> Outcome {
        let _guard = OnDrop(Arc::clone(&self.1));
        self.1.started.notify_one();
        std::future::pending().await
    }
}

#[async_trait]
impl Resources for Library {
    async fn list(&self, _cx: &CallContext) -> Result<Vec<Resource>, ResourceError> {
        let text = Resource {
            mime_type: Some("text/plain".to_owned()),
            size_bytes: Some(5),
            ..Resource::new("test://text", "text")
        };
        Ok(vec![text, Resource::new("test://blob", "blob"), Resource::new("test://empty", "empty")])
    }

    async fn templates(&self, _cx: &CallContext) -> Result<Vec<ResourceTemplate>, ResourceError> {
        Ok(vec![ResourceTemplate::new("test://item/{id}", "item")])
    }

    async fn read(
        &self,
        _cx: &CallContext,
        uri: &str,
    ) -> Result<Vec<ResourceContents>, ResourceError> {
        match uri {
            "test://text" => Ok(vec![ResourceContents::text(uri, "text/plain", "hello")]),
            "test://blob" => Ok(vec![ResourceContents::blob(uri, "image/png", vec![0, 255])]),
            "test://empty" => Ok(Vec::new()),
            "test://item/x" => Err(ResourceError::Invalid { message: "id is a number".to_owned() }),
            "test://item/9" => {
                Err(ResourceError::Unavailable { message: "the store is away".to_owned() })
            }
            _ => Err(ResourceError::not_found(uri)),
        }
    }
}

#[async_trait]
impl Prompts for Greetings {
    fn list(&self) -> &[PromptSpec] {
        &self.0
    }

    async fn get(
        &self,
        _cx: &CallContext,
        _name: &str,
        args: BTreeMap<String, String>,
    ) -> Result<PromptReply, PromptError> {
        if args["name"].is_empty() {
            return Err(PromptError::InvalidArgument { message: "name is empty".to_owned() });
        }
        let messages = vec![PromptMessage::user(format!("Greet {}.", args["name"]))];
        Ok(PromptReply { description: Some("A greeting".to_owned()), messages })
    }
}

#[async_trait]
impl Completer for Letters {
    async fn complete(
        &self,
        _cx: &CallContext,
        target: &CompletionRef,
        argument: &str,
        typed: &str,
        chosen: &BTreeMap<String, String>,
    ) -> Completion {
        match target {
            CompletionRef::Prompt(name) if name == "greet" && argument == "name" => {
                let extra = chosen.len();
                Completion::of((0..150 + extra).map(|n| format!("{typed}{n}")).collect())
            }
            _ => Completion::default(),
        }
    }
}
