//! The span of a request, and the trace that it belongs to.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use mcp_protocol::{
    Annotations, App, CallContext, Implementation, JsonObject, Outcome, Tool, ToolSpec,
    async_trait, schema_object,
};
use serde_json::{Value, json};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::client::Client;

type Fields = BTreeMap<String, String>;

/// Keeps the spans that are open, and those in which an event of ours happens.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    all: Vec<(&'static str, Fields)>,
    open: Vec<u64>,
    at_event: Vec<(&'static str, Fields)>,
}

struct Collect<'a>(&'a mut Fields);

struct Says(ToolSpec);

impl Visit for Collect<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}

impl Subscriber for Spans {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut seen = self.0.lock().unwrap();
        let mut fields = Fields::new();
        span.record(&mut Collect(&mut fields));
        seen.all.push((span.metadata().name(), fields));
        Id::from_u64(seen.all.len() as u64)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        if event.metadata().target() == "inside" {
            let mut seen = self.0.lock().unwrap();
            let open =
                seen.open.iter().map(|id| seen.all[usize::try_from(*id).unwrap() - 1].clone());
            seen.at_event = open.collect();
        }
    }

    fn enter(&self, span: &Id) {
        self.0.lock().unwrap().open.push(span.into_u64());
    }

    fn exit(&self, span: &Id) {
        let mut seen = self.0.lock().unwrap();
        let last = seen.open.iter().rposition(|open| *open == span.into_u64());
        seen.open.remove(last.unwrap());
    }
}

#[async_trait]
impl Tool for Says {
    fn spec(&self) -> &ToolSpec {
        &self.0
    }

    async fn call(&self, _cx: &CallContext, _args: JsonObject) -> Outcome {
        tracing::info!(target: "inside", "now");
        Outcome::done("")
    }
}

#[test]
fn a_call_is_logged_within_the_clients_trace() {
    testkit::alone("spans::a_call_is_logged_within_the_clients_trace", within_the_trace());
}

async fn within_the_trace() {
    let spans = Spans::default();
    let _guard = tracing::subscriber::set_default(spans.clone());
    let schema = schema_object(json!({ "type": "object" }));
    let spec = ToolSpec::new("says", "", "", schema, Annotations::READ);
    let app = App::builder(Implementation::new("n", "t", "v"), "").tool(Arc::new(Says(spec)));
    let mut client = Client::modern(app.build().unwrap(), json!({}));
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (meta, traceparent, tracestate) in [
        (json!({ "traceparent": parent, "tracestate": "a=1" }), Some(parent), Some("a=1")),
        (json!({ "traceparent": "00-nonsense-01", "tracestate": "a=1" }), None, None),
        (json!({}), None, None),
    ] {
        let params = json!({ "name": "says", "_meta": meta });
        let id = client.request("tools/call", params).await;
        let reply: Value = client.recv().await;
        assert_eq!(reply["id"], id, "{reply}");
        let open = std::mem::take(&mut spans.0.lock().unwrap().at_event);
        let (_, fields) = open.iter().find(|(name, _)| *name == "mcp.request").unwrap();
        assert_eq!((&*fields["method"], &*fields["request_id"]), ("tools/call", &*id.to_string()));
        let field = |name: &str| fields.get(name).map(String::as_str);
        assert_eq!((field("traceparent"), field("tracestate")), (traceparent, tracestate));
    }
}
