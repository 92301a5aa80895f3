//! The span of a request, and the trace that it belongs to.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use mcp_protocol::{
    Annotations, App, CallContext, Implementation, JsonObject, Outcome, Tool, ToolSpec,
    async_trait, schema_object,
};
use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;

use crate::client::Client;

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

struct Says(ToolSpec);

#[async_trait]
impl Tool for Says {
    fn spec(&self) -> &ToolSpec {
        &self.0
    }

    async fn call(&self, _cx: &CallContext, _args: JsonObject) -> Outcome {
        tracing::info!("inside");
        Outcome::done("")
    }
}

#[tokio::test]
async fn a_call_is_logged_within_the_clients_trace() {
    // With one dispatcher alone, whether a span is wanted is asked of whichever test comes to it first.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let lines = Lines::default();
    let subscriber =
        tracing_subscriber::fmt().json().with_span_list(true).with_writer(lines.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let schema = schema_object(json!({ "type": "object" }));
    let spec = ToolSpec::new("says", "", "", schema, Annotations::READ);
    let app = App::builder(Implementation::new("n", "t", "v"), "").tool(Arc::new(Says(spec)));
    let mut client = Client::modern(app.build().unwrap(), json!({}));
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (meta, traceparent, tracestate) in [
        (json!({ "traceparent": parent, "tracestate": "a=1" }), json!(parent), json!("a=1")),
        (json!({ "traceparent": "00-nonsense-01", "tracestate": "a=1" }), Value::Null, Value::Null),
        (json!({}), Value::Null, Value::Null),
    ] {
        let params = json!({ "name": "says", "_meta": meta });
        let id = client.request("tools/call", params).await;
        client.recv().await;
        let logged = String::from_utf8(std::mem::take(&mut *lines.0.lock().unwrap())).unwrap();
        let line = logged.lines().find(|line| line.contains("\"inside\"")).unwrap();
        let line: Value = serde_json::from_str(line).unwrap();
        let spans = line["spans"].as_array().unwrap();
        let span = spans
            .iter()
            .find(|span| span["name"] == "mcp.request")
            .unwrap_or_else(|| panic!("{line}"));
        assert_eq!(
            (&span["method"], &span["request_id"]),
            (&json!("tools/call"), &json!(id.to_string()))
        );
        assert_eq!(span.get("traceparent").unwrap_or(&Value::Null), &traceparent, "{span}");
        assert_eq!(span.get("tracestate").unwrap_or(&Value::Null), &tracestate, "{span}");
    }
}
