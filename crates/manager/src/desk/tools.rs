//! Tools over the control API: for a `serve` that has no credentials of its own.
//!
//! *Invariant:* nobody is asked anything over this way: whoever can open the socket could answer in
//! the person's place.

use std::sync::Arc;

use async_trait::async_trait;
use control_api::{ToolCallParams, ToolEvent, ToolInfo, Toolbox};
use guard::Grant;
use jsonrpsee::core::{SubscriptionResult, to_json_raw_value};
use jsonrpsee::{PendingSubscriptionSink, SubscriptionSink};
use mcp_protocol::{Answer, App, CallContext, Caller, Outcome, ProgressListener, ToolSpec};
use tokio_util::sync::CancellationToken;

/// Sends progress to the caller.
struct Told(SubscriptionSink);

/// The tools that are worth listing now.
pub(super) async fn toolbox(app: &App) -> Toolbox {
    let tools = app.listed_specs().await.into_iter().map(info).collect();
    Toolbox { instructions: app.instructions().to_owned(), tools }
}

fn info(spec: &ToolSpec) -> ToolInfo {
    let hints = spec.annotations;
    ToolInfo {
        name: spec.name.clone(),
        title: spec.title.clone(),
        description: spec.description.clone(),
        input_schema: spec.input_schema.clone(),
        output_schema: spec.output_schema.clone(),
        read_only: hints.read_only,
        destructive: hints.destructive,
        idempotent: hints.idempotent,
        open_world: hints.open_world,
    }
}

/// Runs one call; it stops when the caller unsubscribes or goes.
pub(super) async fn call(
    pending: PendingSubscriptionSink,
    app: &App,
    grant: &Grant,
    call: ToolCallParams,
) -> SubscriptionResult {
    let sink = pending.accept().await?;
    let cancelled = CancellationToken::new();
    // Work that the tool handed elsewhere hears by the token that nobody waits any more.
    let _gone = cancelled.clone().drop_guard();
    let caller = Caller::new(&grant.principal.to_string()).with(grant.clone());
    // Without capabilities: the client behind the caller is never asked.
    let mut cx = CallContext::detached(caller).with_request("", cancelled);
    if call.progress {
        cx = cx.with_progress(Arc::new(Told(sink.clone())));
    }
    let outcome = tokio::select! {
        outcome = app.call_tool(&cx, &call.name, call.arguments) => outcome,
        () = sink.closed() => return Ok(()),
    };
    let event = match outcome {
        Ok(Outcome::Done(answer)) => ended(false, answer),
        Ok(Outcome::Failed(answer)) => ended(true, answer),
        // The answer says under which id it goes on, and which tool waits for it.
        Ok(Outcome::Job(job)) => ended(false, job.answer),
        Ok(_) => refused("the tool asks something, and over the control socket nobody is asked"),
        Err(error) => refused(error.to_string()),
    };
    sink.send(to_json_raw_value(&event)?).await?;
    Ok(())
}

fn ended(failed: bool, answer: Answer) -> ToolEvent {
    match serde_json::to_value(answer) {
        Ok(answer) => ToolEvent::Ended { failed, answer },
        Err(error) => refused(format!("the answer cannot be sent: {error}")),
    }
}

fn refused(message: impl Into<String>) -> ToolEvent {
    ToolEvent::Refused { message: message.into() }
}

#[async_trait]
impl ProgressListener for Told {
    async fn progress(&self, current: f64, total: Option<f64>, message: Option<String>) {
        let event = ToolEvent::Progress { current, total, message };
        // Whoever is gone does not want to know; the call itself ends by `closed`.
        if let Ok(event) = to_json_raw_value(&event) {
            let _ = self.0.send(event).await;
        }
    }
}
