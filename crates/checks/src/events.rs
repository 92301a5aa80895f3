//! Inputs and outputs: whether each would work, and where it is asked for, a test message through each output.

use std::{fmt, future::Future, sync::Arc};

use event_core::{
    ComponentId, Delivery, DeliveryKey, EventSink, EventSource, Kind, Message, Retry, Severity,
    SinkError, SourceErrorKind, Stand,
};
use futures::future::{BoxFuture, join_all};
use stdx::Chain;
use tokio::time::{Instant, timeout};

use crate::{finding::Finding, plan::Cx};

/// Inputs and outputs.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Ways {
    /// What hears.
    pub inputs: Vec<Arc<dyn EventSource>>,
    /// What tells.
    pub outputs: Vec<Arc<dyn EventSink>>,
    /// What is called while all is well.
    pub heartbeats: Vec<Beat>,
    /// Whether a marked test message is sent through each output.
    pub send: bool,
    /// Whether a manager runs now: it has the addresses that inputs listen on.
    pub is_taken: bool,
}

/// An output that tells nothing: a service that is called while all is well. It is never called for a
/// test, since a call says that all is well.
#[derive(Clone)]
pub struct Beat {
    /// Its name in the settings.
    pub id: ComponentId,
    /// Whether the service can be reached.
    pub check: Arc<dyn Fn() -> BoxFuture<'static, Result<String, SinkError>> + Send + Sync>,
}

/// How many findings there will be.
pub(crate) fn count(ways: &Ways) -> usize {
    let each = if ways.send { 2 } else { 1 };
    ways.inputs.len() + ways.outputs.len() * each + ways.heartbeats.len()
}

/// Checks all of them side by side; inputs first, in the order of the settings.
pub(crate) async fn check(cx: &Cx<'_>, ways: &Ways) -> Vec<Finding> {
    let inputs = join_all(ways.inputs.iter().map(|source| input(cx, source, ways.is_taken)));
    let outputs = join_all(ways.outputs.iter().map(|sink| output(cx, sink, ways.send)));
    let beats = join_all(ways.heartbeats.iter().map(|beat| heartbeat(cx, beat)));
    let (inputs, outputs, beats) = futures::future::join3(inputs, outputs, beats).await;
    inputs.into_iter().chain(outputs.into_iter().flatten()).chain(beats).collect()
}

async fn input(cx: &Cx<'_>, source: &Arc<dyn EventSource>, is_taken: bool) -> Finding {
    let subject = format!("input {}", source.id());
    let began = Instant::now();
    let finding = match in_time(cx, source.check()).await {
        None => late(&subject, cx),
        Some(Ok(seen)) => Finding::pass(&subject, "input", seen),
        Some(Err(error)) if is_taken && error.kind() == SourceErrorKind::Settings => {
            let seen = format!("{}; a manager runs, and may be who has it", Chain(&error));
            Finding::skip(&subject, "input", seen)
                .hint("`proxmox-mcp events status` says how the manager's inputs are doing")
        }
        Some(Err(error)) => {
            let hint = match error.kind() {
                SourceErrorKind::Settings => "set it right in its table of the settings",
                SourceErrorKind::Protocol => "see whether the address is that of such a server",
                _ => "see whether its server runs and can be reached from here",
            };
            Finding::fail(&subject, "input", Chain(&error).to_string()).hint(hint)
        }
    };
    cx.meter.done(finding.took(began.elapsed()))
}

async fn output(cx: &Cx<'_>, sink: &Arc<dyn EventSink>, send: bool) -> Vec<Finding> {
    let subject = format!("output {}", sink.id());
    let began = Instant::now();
    let checked = in_time(cx, sink.check()).await;
    let works = matches!(checked, Some(Ok(_)));
    let finding = of_output(cx, &subject, checked);
    let mut findings = vec![cx.meter.done(finding.took(began.elapsed()))];
    if !send {
        return findings;
    }
    let began = Instant::now();
    let finding = if works {
        match in_time(cx, sink.deliver(&test_message(cx, sink))).await {
            None => late(&subject, cx),
            Some(Ok(_)) => Finding::pass(&subject, "send", "a test message was taken"),
            Some(Err(error)) => Finding::fail(&subject, "send", Chain(&error).to_string())
                .hint(hint_of(error.retry())),
        }
    } else {
        Finding::skip(&subject, "send", "not sent, since the output does not work")
    };
    findings.push(cx.meter.done(finding.took(began.elapsed())));
    findings
}

async fn heartbeat(cx: &Cx<'_>, beat: &Beat) -> Finding {
    let subject = format!("output {}", beat.id);
    let began = Instant::now();
    let finding = of_output(cx, &subject, in_time(cx, (beat.check)()).await);
    cx.meter.done(finding.took(began.elapsed()))
}

fn of_output(cx: &Cx<'_>, subject: &str, checked: Option<Result<String, SinkError>>) -> Finding {
    match checked {
        None => late(subject, cx),
        Some(Ok(seen)) => Finding::pass(subject, "output", seen),
        Some(Err(error)) => {
            Finding::fail(subject, "output", Chain(&error).to_string()).hint(hint_of(error.retry()))
        }
    }
}

fn test_message(cx: &Cx<'_>, sink: &Arc<dyn EventSink>) -> Delivery {
    let now = cx.clock.now();
    let mut message = Message::new(
        Stand::Test,
        "test",
        Kind::other("test"),
        Severity::Info,
        "a test of this output, nothing has happened",
        now,
    );
    message.text = format!("sent by the tester (`--send`) at {now}");
    let at = now.to_string();
    let key = DeliveryKey::of(["test", sink.id().as_str(), at.as_str()]);
    Delivery { key, prior: None, so_far: None, message }
}

async fn in_time<T>(cx: &Cx<'_>, check: impl Future<Output = T>) -> Option<T> {
    timeout(cx.deadline, check).await.ok()
}

fn late(subject: &str, cx: &Cx<'_>) -> Finding {
    let seen = format!("no answer within {} s", cx.deadline.as_secs());
    Finding::fail(subject, "reach", seen).hint("see whether its server can be reached from here")
}

fn hint_of(retry: Retry) -> &'static str {
    match retry {
        Retry::Never => "set it right in its table of the settings: trying again does not help",
        Retry::Backoff => "see whether its server runs and can be reached from here",
        Retry::After(_) => "the service is asked too often now: try again later",
    }
}

// === impl Ways ===

impl fmt::Debug for Ways {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ways")
            .field("inputs", &self.inputs.len())
            .field("outputs", &self.outputs.len())
            .field("heartbeats", &self.heartbeats.len())
            .field("send", &self.send)
            .finish_non_exhaustive()
    }
}
