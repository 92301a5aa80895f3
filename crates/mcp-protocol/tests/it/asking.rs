//! Questions to the person at the client, in both eras.

use std::collections::BTreeMap;
use std::sync::Arc;

use expect_test::expect;
use mcp_protocol::{
    Annotations, App, CallContext, ClientCapabilities, Implementation, InputAnswer, InputRequest,
    JsonObject, Outcome, PromptError, PromptMessage, PromptReply, PromptSpec, Prompts, Tool,
    ToolSpec, async_trait, schema_object,
};
use serde_json::{Value, json};

use crate::client::{Client, error, text};
use crate::fixture;

fn can_ask() -> Value {
    json!({ "elicitation": {} })
}

#[tokio::test]
async fn a_client_that_cannot_ask_is_told_what_the_question_is() {
    for modern in [false, true] {
        let mut client = if modern {
            Client::modern(fixture::app(), json!({}))
        } else {
            Client::legacy(fixture::app(), "2025-11-25", json!({})).await
        };
        let reply = client.call_tool("ask", json!({})).await;
        assert_eq!(reply["result"]["isError"], true);
        let expected = "nothing was done: this needs an answer from a person, and this client cannot show a form (elicitation). The question is: Are you sure?";
        assert_eq!(text(&reply), expected);
    }
}

#[tokio::test]
async fn an_older_client_is_asked_while_the_call_waits() {
    let cases = [
        (
            json!({ "action": "accept", "content": { "sure": true } }),
            "accepted {\"sure\":true} after 1",
        ),
        (json!({ "action": "decline" }), "declined"),
        (json!({ "action": "cancel" }), "cancelled"),
    ];
    for (answer, expected) in cases {
        let mut client = Client::legacy(fixture::app(), "2025-06-18", can_ask()).await;
        let id = client.request("tools/call", json!({ "name": "ask" })).await;
        // An answer that does not fit the form counts as none, and the question comes again.
        for (round, result) in
            [json!({ "action": "accept", "content": { "sure": "yes" } }), answer].iter().enumerate()
        {
            let question = client.recv().await;
            assert_eq!(question["method"], "elicitation/create", "{question}");
            assert_eq!(question["params"]["message"], "Are you sure?");
            let schema = &question["params"]["requestedSchema"];
            assert_eq!(schema["properties"]["sure"]["type"], "boolean", "{question}");
            let reply = json!({ "jsonrpc": "2.0", "id": question["id"], "result": result });
            client.send(reply).await;
            assert!(round < 2);
        }
        let reply = client.recv().await;
        assert_eq!(reply["id"], id, "{reply}");
        assert_eq!(text(&reply).replace("after 2", "after 1"), expected);
    }
}

#[tokio::test]
async fn a_modern_client_calls_again_with_the_answers() {
    let mut client = Client::modern(fixture::app(), can_ask());
    let first = client.call_tool("ask", json!({})).await;
    let result = &first["result"];
    assert_eq!(result["resultType"], "input_required", "{first}");
    assert_eq!(result["inputRequests"]["confirm"]["method"], "elicitation/create", "{first}");
    let state = result["requestState"].as_str().unwrap().to_owned();
    let again = |state: &str, responses: Value| json!({ "name": "ask", "arguments": {}, "requestState": state, "inputResponses": responses });
    let accept = json!({
        "confirm": { "action": "accept", "content": { "sure": true } },
        "unasked": { "action": "accept", "content": { "x": 1 } },
    });
    let reply = client.call("tools/call", again(&state, accept.clone())).await;
    assert_eq!(text(&reply), "accepted {\"sure\":true} after 1");
    let reply = client.call("tools/call", again(&state, json!({}))).await;
    assert_eq!(reply["result"]["resultType"], "input_required", "no answer: asked again");
    let reply = client
        .call("tools/call", again(&state, json!({ "confirm": { "action": "decline" } })))
        .await;
    assert_eq!(text(&reply), "declined");

    let mut forged = state.clone();
    forged.replace_range(10..11, if &forged[10..11] == "A" { "B" } else { "A" });
    let reply = client.call("tools/call", again(&forged, accept.clone())).await;
    assert_eq!(error(&reply).0, -32602, "{reply}");
    // The state of one call is no consent to another.
    let params = json!({ "name": "echo", "arguments": { "text": "a" }, "requestState": state, "inputResponses": accept });
    let reply = client.call("tools/call", params).await;
    assert_eq!(error(&reply).0, -32602, "{reply}");
}

#[tokio::test]
async fn questions_come_to_an_end() {
    let mut client = Client::modern(fixture::app(), can_ask());
    let mut params = json!({ "name": "ask", "arguments": {} });
    let mut rounds = 0;
    let last = loop {
        let reply = client.call("tools/call", params.clone()).await;
        match reply["result"]["requestState"].as_str() {
            Some(state) => params["requestState"] = json!(state),
            None => break reply,
        }
        rounds += 1;
    };
    assert_eq!(rounds, 8);
    assert_eq!(last["result"]["isError"], true);
}

/// Asks for everything that can be asked for, and says what it was told.
struct Curious(ToolSpec);

/// A prompt that asks for a topic.
struct Asking(Vec<PromptSpec>);

#[async_trait]
impl Tool for Curious {
    fn spec(&self) -> &ToolSpec {
        &self.0
    }

    async fn call(&self, cx: &CallContext, _args: JsonObject) -> Outcome {
        assert!(cx.unasked_answers().is_none() || cx.answers().is_none());
        match cx.answers() {
            Some(answers) if answers.by_key.len() == 3 => {
                let told: Vec<&InputAnswer> = answers.by_key.values().collect();
                Outcome::done(format!("{told:?}"))
            }
            _ => Outcome::Ask { inputs: questions(), state: Value::Null },
        }
    }
}

#[async_trait]
impl Prompts for Asking {
    fn list(&self) -> &[PromptSpec] {
        &self.0
    }

    async fn get(
        &self,
        cx: &CallContext,
        _name: &str,
        _args: BTreeMap<String, String>,
    ) -> Result<PromptReply, PromptError> {
        match cx.answers().and_then(|answers| answers.get("topic")) {
            Some(InputAnswer::Accepted(fields)) => {
                let messages = vec![PromptMessage::user(format!("About {}.", fields["topic"]))];
                Ok(PromptReply { description: None, messages })
            }
            Some(_) => Err(PromptError::InvalidArgument { message: "no topic".to_owned() }),
            None => {
                let schema = schema_object(json!({
                    "type": "object",
                    "properties": { "topic": { "type": "string" } },
                    "required": ["topic"],
                }));
                let inputs = vec![InputRequest::form("topic", "About what?", schema)];
                Err(PromptError::Ask { inputs, state: json!(7) })
            }
        }
    }
}

fn questions() -> Vec<InputRequest> {
    let schema = schema_object(json!({
        "type": "object",
        "properties": { "name": { "type": "string" } },
        "required": ["name"],
    }));
    vec![
        InputRequest::form("a_name", "Who?", schema),
        InputRequest::sampling("b_capital", "What is the capital of France?", 100),
        InputRequest::roots("c_roots"),
    ]
}

fn curious() -> App {
    let spec = |name: &str, requires| {
        let schema = schema_object(json!({ "type": "object" }));
        let mut spec = ToolSpec::new(name, name, name, schema, Annotations::READ);
        spec.requires = requires;
        Arc::new(Curious(spec))
    };
    let mut sampling = ClientCapabilities::default();
    sampling.sampling = true;
    sampling.elicitation_url = true;
    let prompt = PromptSpec { name: "ask".to_owned(), ..PromptSpec::default() };
    App::builder(Implementation::new("curious", "Curious", "1"), "")
        .tool(spec("curious", ClientCapabilities::default()))
        .tool(spec("picky", sampling))
        .prompts(Arc::new(Asking(vec![prompt])))
        .build()
        .unwrap()
}

fn answers() -> [(&'static str, Value); 3] {
    let text = |text: &str| json!({ "type": "text", "text": text });
    [
        ("a_name", json!({ "action": "accept", "content": { "name": "Ada" } })),
        (
            "b_capital",
            json!({ "role": "assistant", "model": "m1", "content": text("Paris"), "stopReason": "endTurn" }),
        ),
        (
            "c_roots",
            json!({ "roots": [{ "uri": "file:///a", "name": "A" }, { "uri": "file:///b" }] }),
        ),
    ]
}

fn can_all() -> Value {
    json!({ "elicitation": {}, "sampling": {}, "roots": {} })
}

const TOLD: &str = r#"[Accepted({"name": String("Ada")}), Sampled { model: "m1", text: "Paris" }, Roots([Root { uri: "file:///a", name: Some("A") }, Root { uri: "file:///b", name: None }])]"#;

#[tokio::test]
async fn the_client_itself_can_be_asked_in_the_modern_era() {
    let mut client = Client::modern(curious(), can_all());
    let reply = client.call_tool("curious", json!({})).await;
    expect![[r#"{"a_name":{"method":"elicitation/create","params":{"mode":"form","message":"Who?","requestedSchema":{"type":"object","properties":{"name":{"type":"string"}},"required":["name"]}}},"b_capital":{"method":"sampling/createMessage","params":{"messages":[{"role":"user","content":{"type":"text","text":"What is the capital of France?"}}],"maxTokens":100}},"c_roots":{"method":"roots/list"}}"#]]
        .assert_eq(&reply["result"]["inputRequests"].to_string());
    let state = reply["result"]["requestState"].clone();
    let mut given: JsonObject =
        answers().into_iter().map(|(key, answer)| (key.to_owned(), answer)).collect();
    let params = |given: &JsonObject, state: Option<&Value>| {
        let mut params = json!({ "name": "curious", "arguments": {}, "inputResponses": given });
        if let Some(state) = state {
            params["requestState"] = state.clone();
        }
        params
    };
    let reply = client.call("tools/call", params(&given, Some(&state))).await;
    assert_eq!(text(&reply), TOLD);
    // Without our state these are no answers to anything that we have asked.
    let reply = client.call("tools/call", params(&given, None)).await;
    assert_eq!(reply["result"]["resultType"], "input_required", "{reply}");
    // What does not answer its question counts as missing.
    for (key, wrong) in [
        ("b_capital", json!({ "action": "accept", "content": {} })),
        ("b_capital", json!("Paris")),
        ("c_roots", json!({ "roots": "all" })),
        ("c_roots", json!({ "roots": [{ "name": "nowhere" }] })),
        ("a_name", json!({ "roots": [] })),
        ("a_name", json!(null)),
    ] {
        let right = given.insert(key.to_owned(), wrong.clone()).unwrap();
        let reply = client.call("tools/call", params(&given, Some(&state))).await;
        assert_eq!(reply["result"]["resultType"], "input_required", "{wrong}: {reply}");
        given.insert(key.to_owned(), right);
    }
}

#[tokio::test]
async fn the_client_itself_can_be_asked_in_the_older_era() {
    let mut client = Client::legacy(curious(), "2025-11-25", can_all()).await;
    let id = client.request("tools/call", json!({ "name": "curious" })).await;
    let methods = ["elicitation/create", "sampling/createMessage", "roots/list"];
    for (method, (_, answer)) in methods.iter().zip(answers()) {
        let question = client.recv().await;
        assert_eq!(question["method"], *method, "{question}");
        client.send(json!({ "jsonrpc": "2.0", "id": question["id"], "result": answer })).await;
    }
    let reply = client.recv().await;
    assert_eq!((&reply["id"], text(&reply)), (&json!(id), TOLD));
    // A client that refuses by an error has not answered, which is an answer.
    client.request("tools/call", json!({ "name": "curious" })).await;
    for _ in 0..3 {
        let id = client.recv().await["id"].take();
        let error = json!({ "code": -1, "message": "the person said no" });
        client.send(json!({ "jsonrpc": "2.0", "id": id, "error": error })).await;
    }
    assert_eq!(text(&client.recv().await), "[Cancelled, Cancelled, Cancelled]");
}

#[tokio::test]
async fn only_what_a_client_can_do_is_asked_of_it() {
    for (capabilities, cannot) in [
        (json!({ "sampling": {}, "roots": {} }), "show a form (elicitation)"),
        (json!({ "elicitation": {}, "roots": {} }), "run a model (sampling)"),
        (json!({ "elicitation": {}, "sampling": {} }), "list its folders (roots)"),
    ] {
        let mut modern = Client::modern(curious(), capabilities.clone());
        let mut older = Client::legacy(curious(), "2025-06-18", capabilities).await;
        for client in [&mut modern, &mut older] {
            let reply = client.call_tool("curious", json!({})).await;
            assert_eq!(reply["result"]["isError"], true, "{reply}");
            assert!(text(&reply).contains(cannot), "{reply}");
        }
    }
}

#[tokio::test]
async fn a_tool_may_require_what_a_client_must_declare() {
    let can_form = json!({ "elicitation": { "form": {} } });
    let mut modern = Client::modern(curious(), can_form.clone());
    let reply = modern.call_tool("picky", json!({})).await;
    let expected =
        "this needs a client that can open a page (elicitation, url), run a model (sampling)";
    assert_eq!(error(&reply), (-32021, expected));
    let needed = json!({ "elicitation": { "url": {} }, "sampling": {} });
    assert_eq!(reply["error"]["data"], json!({ "requiredCapabilities": needed }));
    let mut older = Client::legacy(curious(), "2025-11-25", can_form).await;
    let reply = older.call_tool("picky", json!({})).await;
    assert_eq!(reply["result"]["isError"], true, "{reply}");
    assert_eq!(text(&reply), format!("picky was not called: {expected}"));
    let can = json!({ "elicitation": { "url": {} }, "sampling": {} });
    let reply = Client::modern(curious(), can).call_tool("picky", json!({})).await;
    assert!(text(&reply).starts_with("nothing was done"), "called, and cannot ask: {reply}");
}

#[tokio::test]
async fn a_prompt_may_ask_too() {
    let accept = json!({ "action": "accept", "content": { "topic": "disks" } });
    let mut modern = Client::modern(curious(), can_ask());
    let reply = modern.call("prompts/get", json!({ "name": "ask" })).await;
    assert_eq!(reply["result"]["inputRequests"]["topic"]["method"], "elicitation/create");
    let state = &reply["result"]["requestState"];
    let again =
        json!({ "name": "ask", "requestState": state, "inputResponses": { "topic": accept } });
    let reply = modern.call("prompts/get", again).await;
    assert_eq!(reply["result"]["messages"][0]["content"]["text"], "About \"disks\".");
    let other = json!({ "name": "curious", "requestState": state, "inputResponses": {} });
    let reply = modern.call("tools/call", other).await;
    assert_eq!(error(&reply).0, -32602, "the state of a prompt is none of a tool: {reply}");

    let mut older = Client::legacy(curious(), "2025-11-25", can_ask()).await;
    older.request("prompts/get", json!({ "name": "ask" })).await;
    let id = older.recv().await["id"].take();
    older.send(json!({ "jsonrpc": "2.0", "id": id, "result": accept })).await;
    let reply = older.recv().await;
    assert_eq!(reply["result"]["messages"][0]["content"]["text"], "About \"disks\".");

    let reply =
        Client::modern(curious(), json!({})).call("prompts/get", json!({ "name": "ask" })).await;
    assert_eq!(error(&reply).0, -32021, "{reply}");
    let mut older = Client::legacy(curious(), "2025-11-25", json!({})).await;
    let reply = older.call("prompts/get", json!({ "name": "ask" })).await;
    assert_eq!(error(&reply), (-32602, "this needs a client that can show a form (elicitation)"));
}
