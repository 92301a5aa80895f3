//! Calls: checked arguments, failures, panics, progress, cancellation.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use expect_test::expect;
use mcp_protocol::{
    Annotations, App, BuildError, CallContext, CallError, Caller, Icon, Implementation, JsonObject,
    Observer, Outcome, Tool, ToolSpec, async_trait, schema_object,
};
use serde_json::json;

use crate::client::{Client, error, text};
use crate::fixture::{self, Life};

#[tokio::test]
async fn an_answer_has_text_and_data() {
    let mut client = Client::legacy(fixture::app(), "2025-11-25", json!({})).await;
    let reply = client.call_tool("echo", json!({ "text": "hi", "times": 2, "voice": null })).await;
    expect![[r#"{"content":[{"type":"text","text":"hi hi"}],"structuredContent":{"said":"hi hi"},"isError":false}"#]]
        .assert_eq(&reply["result"].to_string());
    let reply = client.call_tool("job", json!({})).await;
    assert_eq!(text(&reply), "still running; ask again");
}

#[tokio::test]
async fn wrong_arguments_are_explained_to_the_model() {
    let mut client = Client::modern(fixture::app(), json!({}));
    let cases = [
        (json!({}), "echo was not called: `text` is required (string)"),
        (
            json!({ "text": "a", "voice": "lout" }),
            "echo was not called: `voice` is \"lout\"; allowed: soft, loud (did you mean loud?)",
        ),
        (
            json!({ "txt": "a", "text": "b" }),
            "echo was not called: `txt` (did you mean `text`?) is not an argument; known: text, times, voice",
        ),
        (
            json!({ "text": ["a"], "times": 4 }),
            "echo was not called: `text` must be a string, not an array\n`times` is 4; the most is 3",
        ),
    ];
    for (args, expected) in cases {
        let reply = client.call_tool("echo", args).await;
        assert_eq!(reply["result"]["isError"], true, "{reply}");
        assert_eq!(text(&reply), expected);
    }
}

#[tokio::test]
async fn failures_faults_and_unknown_names_are_three_things() {
    for modern in [false, true] {
        let mut client = if modern {
            Client::modern(fixture::app(), json!({}))
        } else {
            Client::legacy(fixture::app(), "2025-03-26", json!({})).await
        };
        let reply = client.call_tool("fail", json!({})).await;
        assert_eq!(reply["result"]["isError"], true);
        assert_eq!(text(&reply), "it did not work; try later");
        let reply = client.call_tool("ehco", json!({})).await;
        assert_eq!(error(&reply), (-32602, "unknown tool ehco (did you mean echo?)"));
        let reply = client.call("tools/call", json!({ "arguments": {} })).await;
        assert_eq!(error(&reply), (-32602, "params of tools/call: missing field `name`"));
        let reply = client.call_tool("boom", json!({})).await;
        let expected =
            "tool boom failed because of a fault in this server; its log has the details";
        assert_eq!(error(&reply), (-32603, expected));
        let reply = client.call_tool("liar", json!({})).await;
        let expected = "tool liar answered against its own output schema: `count` must be an integer, not \"3\"";
        assert_eq!(error(&reply), (-32603, expected));
        let reply = client.call_tool("echo", json!({ "text": "still here" })).await;
        assert_eq!(text(&reply), "still here");
    }
}

#[tokio::test]
async fn content_is_cut_down_to_what_an_older_client_knows() {
    for (version, kinds) in [
        ("2024-11-05", ["text", "text", "image", "text", "text", "resource"]),
        ("2025-03-26", ["text", "text", "image", "audio", "text", "resource"]),
        ("2025-11-25", ["text", "text", "image", "audio", "resource_link", "resource"]),
    ] {
        let mut client = Client::legacy(fixture::app(), version, json!({})).await;
        let reply = client.call_tool("kinds", json!({})).await;
        let content = reply["result"]["content"].as_array().unwrap();
        let actual: Vec<&str> = content.iter().map(|one| one["type"].as_str().unwrap()).collect();
        assert_eq!(actual, kinds, "{version}");
        assert_eq!(content[1]["annotations"], json!({ "audience": ["user"], "priority": 0.5 }));
        assert_eq!(content[2]["data"], "AQID");
    }
}

#[tokio::test]
async fn progress_grows_and_ends_with_the_answer() {
    for modern in [false, true] {
        let mut client = if modern {
            Client::modern(fixture::app(), json!({}))
        } else {
            Client::legacy(fixture::app(), "2025-11-25", json!({})).await
        };
        let params = json!({ "name": "steps", "_meta": { "progressToken": "p1" } });
        let id = client.request("tools/call", params).await;
        let mut seen = Vec::new();
        loop {
            let message = client.recv().await;
            if message["id"] == id {
                break;
            }
            match message["method"].as_str().unwrap() {
                "notifications/progress" => {
                    assert_eq!(message["params"]["progressToken"], "p1");
                    assert_eq!(message["params"]["total"], 100.0);
                    seen.push(message["params"]["progress"].as_f64().unwrap());
                }
                "notifications/message" => {
                    assert!(!modern, "a modern request without a level gets no log");
                    assert_eq!(message["params"]["data"], "beginning");
                }
                other => panic!("{other}"),
            }
        }
        assert_eq!(seen, [0.0, 50.0, 100.0]);
        // Without a token there is none, and what the tool says after its answer is not sent.
        let log_level = json!({ "io.modelcontextprotocol/logLevel": "error" });
        let params = json!({ "name": "steps", "_meta": log_level });
        let id = client.request("tools/call", params).await;
        let mut message = client.recv().await;
        if !modern {
            assert_eq!(message["method"], "notifications/message");
            message = client.recv().await;
        }
        assert_eq!(message["id"], id, "{message}");
        assert!(client.end().await.is_empty());
    }
}

#[tokio::test]
async fn log_messages_reach_who_asked_for_them() {
    let mut modern = Client::modern(fixture::app(), json!({}));
    let wanted = json!({ "io.modelcontextprotocol/logLevel": "debug" });
    modern.request("tools/call", json!({ "name": "steps", "_meta": wanted })).await;
    let mut legacy = Client::legacy(fixture::app(), "2025-11-25", json!({})).await;
    legacy.call("logging/setLevel", json!({ "level": "debug" })).await;
    legacy.request("tools/call", json!({ "name": "steps" })).await;
    for client in [&mut modern, &mut legacy] {
        for (level, data) in [("debug", "not wanted by default"), ("warning", "beginning")] {
            let message = client.recv().await;
            assert_eq!(message["method"], "notifications/message");
            assert_eq!(message["params"], json!({ "level": level, "data": data }));
        }
        assert_eq!(text(&client.recv().await), "arrived");
    }
    let reply = legacy.call("logging/setLevel", json!({ "level": "loud" })).await;
    assert_eq!(error(&reply).0, -32602);
}

#[tokio::test]
async fn a_cancelled_call_is_dropped_and_not_answered() {
    let life = Arc::new(Life::default());
    let mut client = Client::legacy(fixture::app_with(&life), "2025-11-25", json!({})).await;
    let id = client.request("tools/call", json!({ "name": "forever" })).await;
    life.started.notified().await;
    let params = json!({ "requestId": id, "reason": "changed my mind" });
    client.notify("notifications/cancelled", params).await;
    life.dropped.notified().await;
    let reply = client.call_tool("echo", json!({ "text": "next" })).await;
    assert_eq!(text(&reply), "next");
    assert!(client.end().await.is_empty());
}

#[tokio::test]
async fn a_tool_can_be_called_without_a_client() {
    let app = fixture::app();
    let cx = CallContext::detached(Caller::new("test"));
    let args = schema_object(json!({ "text": "direct" }));
    let outcome = app.call_tool(&cx, "echo", args).await.unwrap();
    assert_eq!(outcome.answer().unwrap().plain_text(), "direct");
    let error = app.call_tool(&cx, "nothing-like-it", JsonObject::new()).await.unwrap_err();
    assert_eq!(
        error,
        CallError::UnknownTool { name: "nothing-like-it".to_owned(), hint: String::new() }
    );
}

struct Named(ToolSpec);

#[async_trait]
impl Tool for Named {
    fn spec(&self) -> &ToolSpec {
        &self.0
    }

    async fn call(&self, _cx: &CallContext, _args: JsonObject) -> Outcome {
        Outcome::done("")
    }
}

#[test]
fn a_faulty_catalogue_does_not_build() {
    let build = |specs: &[(&str, serde_json::Value)]| {
        let tools = specs.iter().map(|(name, schema)| -> Arc<dyn Tool> {
            let schema = schema_object(schema.clone());
            Arc::new(Named(ToolSpec::new(*name, "", "", schema, Annotations::OPERATE)))
        });
        App::builder(Implementation::new("n", "t", "v"), "").tools(tools).build().map(|_| ())
    };
    let object = json!({ "type": "object" });
    assert_eq!(build(&[("a", object.clone()), ("b", object.clone())]), Ok(()));
    assert_eq!(
        build(&[("a", object.clone()), ("a", object.clone())]),
        Err(BuildError::DuplicateTool { name: "a".to_owned() })
    );
    assert_eq!(build(&[("a b", object)]), Err(BuildError::ToolName { name: "a b".to_owned() }));
    let expected = BuildError::Schema { tool: "a".to_owned(), schema: "input schema" };
    assert_eq!(build(&[("a", json!({}))]), Err(expected));
}

#[derive(Default)]
struct Tally(Mutex<Vec<(String, &'static str)>>);

impl Observer for Tally {
    fn tool_called(&self, name: &str, outcome: &'static str, elapsed: Duration) {
        assert!(elapsed < Duration::from_mins(1));
        self.0.lock().unwrap().push((name.to_owned(), outcome));
    }
}

#[tokio::test]
async fn every_call_of_a_tool_is_observed_however_it_ends() {
    let tally = Arc::new(Tally::default());
    let life = Arc::new(Life::default());
    let app = fixture::builder_with(&life).observer(Arc::clone(&tally) as _).build().unwrap();
    let mut client = Client::modern(app, json!({ "elicitation": {} }));
    for (name, arguments, outcome) in [
        ("echo", json!({ "text": "a" }), "done"),
        ("echo", json!({}), "failed"),
        ("fail", json!({}), "failed"),
        ("boom", json!({}), "error"),
        ("ask", json!({}), "asked"),
        ("job", json!({}), "job"),
    ] {
        client.call_tool(name, arguments).await;
        let seen = std::mem::take(&mut *tally.0.lock().unwrap());
        assert_eq!(seen, [(name.to_owned(), outcome)]);
    }
    client.call_tool("no_such_tool", json!({})).await;
    let id = client.request("tools/call", json!({ "name": "forever" })).await;
    life.started.notified().await;
    client.notify("notifications/cancelled", json!({ "requestId": id })).await;
    life.dropped.notified().await;
    client.call("server/discover", json!({})).await;
    assert_eq!(*tally.0.lock().unwrap(), [("forever".to_owned(), "cancelled")]);
}

#[tokio::test]
async fn icons_go_where_names_go() {
    let icon = Icon {
        mime_type: Some("image/svg+xml".to_owned()),
        sizes: vec!["any".to_owned()],
        ..Icon::new("data:image/svg+xml,x")
    };
    let schema = schema_object(json!({ "type": "object" }));
    let mut spec = ToolSpec::new("named", "Named", "", schema, Annotations::READ);
    spec.icons.push(icon.clone());
    let server = Implementation::new("n", "t", "v").with_icon(icon);
    let app = App::builder(server, "").tool(Arc::new(Named(spec))).build().unwrap();
    let mut client = Client::modern(app, json!({}));
    let reply = client.call("tools/list", json!({})).await;
    let icons =
        json!([{ "src": "data:image/svg+xml,x", "mimeType": "image/svg+xml", "sizes": ["any"] }]);
    assert_eq!(reply["result"]["tools"][0]["icons"], icons);
    let server = &reply["result"]["_meta"]["io.modelcontextprotocol/serverInfo"];
    assert_eq!(server["icons"], icons);
}
