//! A tool that is a name, a schema and a function.

use std::sync::Arc;

use futures::future::BoxFuture;
use mcp_protocol::{
    Annotations, CallContext, JsonObject, Outcome, Tool, ToolSpec, async_trait, schema_object,
};
use serde_json::{Value, json};

/// What a fixture does with the arguments of a call.
pub(crate) type Run = for<'a> fn(&'a CallContext, Value) -> BoxFuture<'a, Outcome>;

struct Fixture {
    spec: ToolSpec,
    run: Run,
}

#[async_trait]
impl Tool for Fixture {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn call(&self, cx: &CallContext, args: JsonObject) -> Outcome {
        (self.run)(cx, Value::Object(args)).await
    }
}

/// A tool without arguments.
pub(crate) fn plain(name: &str, description: &str, run: Run) -> Arc<dyn Tool> {
    with(spec(name, description, json!({})), run)
}

/// A tool with arguments, all of them required.
pub(crate) fn taking(name: &str, description: &str, properties: Value, run: Run) -> Arc<dyn Tool> {
    with(spec(name, description, properties), run)
}

/// A tool of any shape.
pub(crate) fn with(spec: ToolSpec, run: Run) -> Arc<dyn Tool> {
    Arc::new(Fixture { spec, run })
}

pub(crate) fn spec(name: &str, description: &str, properties: Value) -> ToolSpec {
    let required: Vec<String> =
        properties.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
    let schema = schema_object(json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    }));
    ToolSpec::new(name, name, description, schema, Annotations::READ)
}
