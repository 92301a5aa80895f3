//! A small server over stdio, to hold real clients against: `cargo run -p mcp-protocol --example echo_server`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mcp_protocol::{
    Annotations, Answer, App, CallContext, Implementation, InputAnswer, InputRequest, JsonObject,
    Outcome, PromptArgument, PromptError, PromptMessage, PromptReply, PromptSpec, Prompts,
    Resource, ResourceContents, ResourceError, ResourceTemplate, Resources, Tool, ToolSpec,
    async_trait, schema_object, serve_stdio,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

struct Echo(ToolSpec);
struct Slow(ToolSpec);
struct Confirm(ToolSpec);
struct Notes;
struct Greetings(Vec<PromptSpec>);

fn spec(name: &str, description: &str, properties: &Value) -> ToolSpec {
    let input_schema = schema_object(json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    }));
    ToolSpec::new(name, name, description, input_schema, Annotations::READ)
}

#[async_trait]
impl Tool for Echo {
    fn spec(&self) -> &ToolSpec {
        &self.0
    }

    async fn call(&self, _cx: &CallContext, args: JsonObject) -> Outcome {
        let text = args.get("text").and_then(Value::as_str).unwrap_or_default();
        Outcome::Done(Answer::text(text).with_structured(schema_object(json!({ "text": text }))))
    }
}

#[async_trait]
impl Tool for Slow {
    fn spec(&self) -> &ToolSpec {
        &self.0
    }

    async fn call(&self, cx: &CallContext, args: JsonObject) -> Outcome {
        let steps = args.get("steps").and_then(Value::as_u64).unwrap_or(3);
        for step in 1..=steps {
            tokio::time::sleep(Duration::from_millis(50)).await;
            cx.progress(step as f64, Some(steps as f64), Some("working")).await;
        }
        Outcome::done(format!("{steps} steps"))
    }
}

#[async_trait]
impl Tool for Confirm {
    fn spec(&self) -> &ToolSpec {
        &self.0
    }

    async fn call(&self, cx: &CallContext, _args: JsonObject) -> Outcome {
        let schema = schema_object(json!({
            "type": "object",
            "properties": { "sure": { "type": "boolean", "title": "Sure?" } },
            "required": ["sure"],
        }));
        match cx.answers().and_then(|answers| answers.get("confirm")) {
            None => Outcome::Ask {
                inputs: vec![InputRequest::form("confirm", "Go on?", schema)],
                state: Value::Null,
            },
            Some(InputAnswer::Accepted(_)) => Outcome::done("confirmed"),
            Some(_) => Outcome::failed("not confirmed"),
        }
    }
}

#[async_trait]
impl Resources for Notes {
    async fn list(&self, _cx: &CallContext) -> Result<Vec<Resource>, ResourceError> {
        Ok(vec![Resource::new("note://one", "one")])
    }

    async fn templates(&self, _cx: &CallContext) -> Result<Vec<ResourceTemplate>, ResourceError> {
        Ok(vec![ResourceTemplate::new("note://{name}", "note")])
    }

    async fn read(
        &self,
        _cx: &CallContext,
        uri: &str,
    ) -> Result<Vec<ResourceContents>, ResourceError> {
        match uri {
            "note://one" => Ok(vec![ResourceContents::text(uri, "text/plain", "the first note")]),
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
        let name = args.get("name").map_or("everybody", String::as_str);
        let messages = vec![PromptMessage::user(format!("Greet {name}."))];
        Ok(PromptReply { description: None, messages })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = PromptArgument { name: "name".to_owned(), description: None, required: true };
    let greet =
        PromptSpec { name: "greet".to_owned(), arguments: vec![name], ..PromptSpec::default() };
    let app = App::builder(Implementation::new("echo-server", "Echo", "0.1.0"), "Echoes.")
        .tool(Arc::new(Echo(spec(
            "echo",
            "Says it back.",
            &json!({ "text": { "type": "string" } }),
        ))))
        .tool(Arc::new(Slow(spec(
            "slow",
            "Takes its time, with progress.",
            &json!({ "steps": { "type": "integer", "minimum": 1, "maximum": 20 } }),
        ))))
        .tool(Arc::new(Confirm(spec("confirm", "Asks before it answers.", &json!({})))))
        .resources(Arc::new(Notes))
        .prompts(Arc::new(Greetings(vec![greet])))
        .build()?;
    serve_stdio(app, tokio::io::stdin(), tokio::io::stdout(), CancellationToken::new()).await?;
    Ok(())
}
