//! Questions to the person at the client, in both eras.

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
