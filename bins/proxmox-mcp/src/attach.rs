//! `serve` without credentials of its own: every call goes to the manager, which knows by the system's
//! word whose it is.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use control_api::{Client, ToolCallParams, ToolEvent, ToolInfo};
use mcp_protocol::{
    Annotations, Answer, App, CallContext, Implementation, JsonObject, Outcome, Tool, ToolSpec,
    async_trait,
};
use settings::Loaded;

use crate::counter;

/// A connection that is made anew when it is gone.
struct Line {
    loaded: Loaded,
    client: Mutex<Client>,
}

/// One of the manager's tools.
struct Forwarded {
    spec: ToolSpec,
    line: Arc<Line>,
}

/// The manager's tools as an app of this process.
pub(crate) async fn app(client: Client, loaded: Loaded) -> anyhow::Result<App> {
    let toolbox = client.tools().await.context("list the manager's tools")?;
    let about = Implementation::new("proxmox-mcp", "Proxmox", env!("CARGO_PKG_VERSION"));
    let caller = mcp_protocol::Caller::new(&client.welcome().principal);
    let line = Arc::new(Line { loaded, client: Mutex::new(client) });
    let mut builder = App::builder(about, toolbox.instructions).caller(caller);
    for info in toolbox.tools {
        builder = builder.tool(Arc::new(Forwarded { spec: spec(info), line: Arc::clone(&line) }));
    }
    builder.build().context("offer the manager's tools")
}

fn spec(info: ToolInfo) -> ToolSpec {
    let annotations = Annotations {
        read_only: info.read_only,
        destructive: info.destructive,
        idempotent: info.idempotent,
        open_world: info.open_world,
    };
    let mut spec =
        ToolSpec::new(info.name, info.title, info.description, info.input_schema, annotations);
    spec.output_schema = info.output_schema;
    spec
}

// === impl Line ===

impl Line {
    /// A connection that stands.
    async fn client(&self) -> Result<Client, control_api::Error> {
        let known = self.client.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if known.is_connected() {
            return Ok(known);
        }
        let anew = counter::find(&self.loaded).await?.ok_or_else(|| {
            let message = "reach the manager: none runs any more; its operator starts it again";
            control_api::Error::new(control_api::ErrorKind::Absent, message)
        })?;
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = anew.clone();
        Ok(anew)
    }

    async fn call(
        &self,
        cx: &CallContext,
        call: ToolCallParams,
    ) -> Result<Outcome, control_api::Error> {
        let name = call.name.clone();
        let mut called = self.client().await?.call_tool(call).await?;
        while let Some(event) = called.next().await {
            match event? {
                ToolEvent::Progress { current, total, message } => {
                    cx.progress(current, total, message.as_deref()).await;
                }
                ToolEvent::Refused { message } => return Ok(Outcome::failed(message)),
                ToolEvent::Ended { failed, answer } => {
                    let answer: Answer = serde_json::from_value(answer).map_err(|error| {
                        let message = format!("read the manager's answer to {name}");
                        control_api::Error::new(control_api::ErrorKind::Version, message)
                            .because(error)
                    })?;
                    return Ok(if failed {
                        Outcome::Failed(answer)
                    } else {
                        Outcome::Done(answer)
                    });
                }
            }
        }
        // What it had begun goes on there or is settled when it starts again; it is not sent anew.
        let message = format!(
            "hear the end of {name}: the manager is gone; what was begun is listed by it when it runs again"
        );
        Err(control_api::Error::new(control_api::ErrorKind::Lost, message))
    }
}

#[async_trait]
impl Tool for Forwarded {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn call(&self, cx: &CallContext, args: JsonObject) -> Outcome {
        let call = ToolCallParams {
            name: self.spec.name.clone(),
            arguments: args,
            progress: cx.wants_progress(),
        };
        match self.line.call(cx, call).await {
            Ok(outcome) => outcome,
            Err(error) => Outcome::failed(format!("failed to {}", stdx::Chain(&error))),
        }
    }
}
