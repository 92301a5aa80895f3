//! Lists and their pages, resources, prompts, completion.

use expect_test::expect;
use serde_json::{Value, json};

use crate::client::{Client, error};
use crate::fixture;

#[tokio::test]
async fn tools_are_listed_in_order_and_without_needless_bytes() {
    let mut client = Client::legacy(fixture::app(), "2025-11-25", json!({})).await;
    let reply = client.call("tools/list", json!({})).await;
    let result = &reply["result"];
    expect![[r#"{"name":"echo","title":"The echo","description":"Does echo.","inputSchema":{"type":"object","properties":{"text":{"type":"string","description":"What to say."},"times":{"type":"integer","minimum":1,"maximum":3},"voice":{"type":"string","enum":["soft","loud"]}},"additionalProperties":false,"required":["text"]},"outputSchema":{"type":"object","properties":{"said":{"type":"string"}},"additionalProperties":false},"annotations":{"readOnlyHint":true,"destructiveHint":false,"idempotentHint":true,"openWorldHint":false}}"#]]
        .assert_eq(&result["tools"][0].to_string());
    assert!(!reply.to_string().contains("null"), "{reply}");
    let names: Vec<&str> = result["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    let expected = ["echo", "fail", "boom", "liar", "kinds", "context", "ask", "job", "steps"];
    assert_eq!(names, expected);
}

#[tokio::test]
async fn pages_join_up_to_the_whole_list() {
    for (method, items, key) in [
        ("tools/list", "tools", "name"),
        ("resources/list", "resources", "uri"),
        ("resources/templates/list", "resourceTemplates", "uriTemplate"),
        ("prompts/list", "prompts", "name"),
    ] {
        let names = |reply: &Value| -> Vec<String> {
            let items = reply["result"][items].as_array().unwrap_or_else(|| panic!("{reply}"));
            items.iter().map(|item| item[key].as_str().unwrap().to_owned()).collect()
        };
        let mut client = Client::modern(fixture::app(), json!({}));
        let whole = client.call(method, json!({})).await;
        assert!(whole["result"].get("nextCursor").is_none(), "{whole}");
        let app = fixture::builder().page_size(2).build().unwrap();
        let mut client = Client::modern(app, json!({}));
        let mut joined = Vec::new();
        let mut params = json!({});
        loop {
            let page = client.call(method, params).await;
            joined.extend(names(&page));
            let Some(next) = page["result"].get("nextCursor") else { break };
            params = json!({ "cursor": next });
        }
        assert_eq!(joined, names(&whole), "{method}");
        let reply = client.call(method, json!({ "cursor": "nonsense" })).await;
        assert_eq!(error(&reply).0, -32602, "{method}");
    }
}

#[tokio::test]
async fn resources_are_read_or_refused_by_name() {
    for modern in [false, true] {
        let mut client = if modern {
            Client::modern(fixture::app(), json!({}))
        } else {
            Client::legacy(fixture::app(), "2024-11-05", json!({})).await
        };
        let reply = client.call("resources/read", json!({ "uri": "test://text" })).await;
        let text = json!([{ "uri": "test://text", "mimeType": "text/plain", "text": "hello" }]);
        assert_eq!(reply["result"]["contents"], text);
        let reply = client.call("resources/read", json!({ "uri": "test://blob" })).await;
        assert_eq!(reply["result"]["contents"][0]["blob"], "AP8=");
        for (uri, message) in [
            ("test://nowhere", "no resource at test://nowhere"),
            ("test://empty", "no resource at test://empty"),
            ("test://item/x", "id is a number"),
        ] {
            let reply = client.call("resources/read", json!({ "uri": uri })).await;
            assert_eq!(error(&reply), (-32602, message));
            assert_eq!(reply["error"]["data"], json!({ "uri": uri }));
        }
        let reply = client.call("resources/read", json!({ "uri": "test://item/9" })).await;
        assert_eq!(error(&reply), (-32603, "the store is away"));
    }
}

#[tokio::test]
async fn prompts_check_their_arguments() {
    let mut client = Client::legacy(fixture::app(), "2025-11-25", json!({})).await;
    let get = |name: &str, args: Value| json!({ "name": name, "arguments": args });
    let reply = client.call("prompts/get", get("greet", json!({ "name": "Ada" }))).await;
    expect![[r#"{"description":"A greeting","messages":[{"role":"user","content":{"type":"text","text":"Greet Ada."}}]}"#]]
        .assert_eq(&reply["result"].to_string());
    for (name, args, message) in [
        ("greet", json!({}), "argument name is required"),
        ("greet", json!({ "name": 1 }), "argument name must be a string"),
        ("greet", json!({ "name": "" }), "name is empty"),
        ("greet", json!({ "who": "" }), "unknown argument who; known: name, tone"),
        ("great", json!({}), "unknown prompt great; known: greet"),
    ] {
        let reply = client.call("prompts/get", get(name, args)).await;
        assert_eq!(error(&reply), (-32602, message));
    }
    let reply = client.call("prompts/list", json!({})).await;
    expect![[r#"[{"name":"greet","title":"Greet","arguments":[{"name":"name","required":true},{"name":"tone","required":false}]}]"#]]
        .assert_eq(&reply["result"]["prompts"].to_string());
}

#[tokio::test]
async fn completion_is_bounded() {
    let mut client = Client::legacy(fixture::app(), "2025-11-25", json!({})).await;
    let params = |kind: &str| {
        json!({
            "ref": { "type": kind, "name": "greet", "uri": "test://item/{id}" },
            "argument": { "name": "name", "value": "x" },
            "context": { "arguments": { "tone": "dry" } },
        })
    };
    let reply = client.call("completion/complete", params("ref/prompt")).await;
    let completion = &reply["result"]["completion"];
    assert_eq!(completion["values"].as_array().unwrap().len(), 100);
    assert_eq!((&completion["total"], &completion["hasMore"]), (&json!(151), &json!(true)));
    let reply = client.call("completion/complete", params("ref/resource")).await;
    assert_eq!(reply["result"]["completion"], json!({ "values": [], "hasMore": false }));
    let reply = client.call("completion/complete", params("ref/other")).await;
    assert_eq!(error(&reply).0, -32602);
}

#[tokio::test]
async fn what_an_app_does_not_have_is_an_unknown_method() {
    let bare = mcp_protocol::App::builder(mcp_protocol::Implementation::new("n", "t", "v"), "");
    let mut client = Client::modern(bare.build().unwrap(), json!({}));
    for (method, params) in [
        ("resources/list", json!({})),
        ("resources/templates/list", json!({})),
        ("resources/read", json!({ "uri": "test://text" })),
        ("prompts/list", json!({})),
        ("prompts/get", json!({ "name": "greet" })),
        (
            "completion/complete",
            json!({ "ref": { "type": "ref/prompt", "name": "a" }, "argument": { "name": "a", "value": "" } }),
        ),
    ] {
        assert_eq!(error(&client.call(method, params).await), (-32601, method));
    }
}
