//! Tools that change something that clients listen to.

use std::sync::Arc;

use mcp_protocol::{CallContext, JsonObject, Notifier, Outcome, Tool, ToolSpec, async_trait};
use serde_json::json;

use crate::fixture::spec;

struct Trigger {
    spec: ToolSpec,
    notifier: Notifier,
    tell: fn(&Notifier),
}

pub(crate) fn tools(notifier: &Notifier) -> Vec<Arc<dyn Tool>> {
    let trigger = |name: &str, tell: fn(&Notifier)| -> Arc<dyn Tool> {
        let spec = spec(name, "Says that something has changed.", json!({}));
        Arc::new(Trigger { spec, notifier: notifier.clone(), tell })
    };
    vec![
        trigger("test_trigger_tool_change", Notifier::tools_changed),
        trigger("test_trigger_prompt_change", Notifier::prompts_changed),
    ]
}

#[async_trait]
impl Tool for Trigger {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn call(&self, _cx: &CallContext, _args: JsonObject) -> Outcome {
        (self.tell)(&self.notifier);
        Outcome::done("told")
    }
}
