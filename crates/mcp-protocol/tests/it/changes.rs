//! Being told of changes, in both eras.

use std::sync::Arc;

use mcp_protocol::{
    App, CallContext, Changes, Notifier, Resource, ResourceContents, ResourceError,
    ResourceTemplate, Resources, async_trait,
};
use serde_json::{Value, json};

use crate::client::{Client, error, text};
use crate::fixture;

const SUBSCRIPTION: &str = "/params/_meta/io.modelcontextprotocol~1subscriptionId";

/// Resources of which all but one tell of their changes.
struct Shelf;

#[async_trait]
impl Resources for Shelf {
    async fn list(&self, _cx: &CallContext) -> Result<Vec<Resource>, ResourceError> {
        Ok(Vec::new())
    }

    async fn templates(&self, _cx: &CallContext) -> Result<Vec<ResourceTemplate>, ResourceError> {
        Ok(Vec::new())
    }

    async fn read(
        &self,
        _cx: &CallContext,
        uri: &str,
    ) -> Result<Vec<ResourceContents>, ResourceError> {
        Ok(vec![ResourceContents::text(uri, "text/plain", "x")])
    }

    async fn is_watchable(&self, _cx: &CallContext, uri: &str) -> bool {
        uri.starts_with("test://") && uri != "test://still"
    }
}

fn app(notifier: &Notifier, changes: Changes) -> App {
    fixture::builder()
        .resources(Arc::new(Shelf))
        .notifier(notifier.clone(), changes)
        .build()
        .unwrap()
}

async fn listen(client: &mut Client, wanted: Value) -> (i64, Value) {
    let id = client.request("subscriptions/listen", json!({ "notifications": wanted })).await;
    let ack = client.recv().await;
    assert_eq!(ack["method"], "notifications/subscriptions/acknowledged", "{ack}");
    assert_eq!(ack.pointer(SUBSCRIPTION), Some(&json!(id)), "{ack}");
    (id, ack["params"]["notifications"].clone())
}

#[tokio::test]
async fn what_is_announced_is_advertised() {
    let lists = json!({ "listChanged": true });
    for (changes, prompts, resources) in [
        (Changes::NONE, json!({}), json!({})),
        (Changes::LISTS, lists.clone(), lists.clone()),
        (Changes::ALL, lists, json!({ "listChanged": true, "subscribe": true })),
    ] {
        let app = app(&Notifier::new(), changes);
        let mut modern = Client::modern(app.clone(), json!({}));
        let mut older = Client::connect(app);
        let replies = [
            modern.call("server/discover", json!({})).await,
            older.initialize("2025-06-18", json!({})).await,
        ];
        for reply in replies {
            let capabilities = &reply["result"]["capabilities"];
            assert_eq!(capabilities["tools"], prompts, "{reply}");
            assert_eq!(capabilities["prompts"], prompts, "{reply}");
            assert_eq!(capabilities["resources"], resources, "{reply}");
        }
    }
}

#[tokio::test]
async fn a_subscription_hears_what_it_asked_for_and_nothing_else() {
    let notifier = Notifier::new();
    let mut client = Client::modern(app(&notifier, Changes::ALL), json!({}));
    let wanted = json!({
        "toolsListChanged": true,
        "promptsListChanged": false,
        "resourceSubscriptions": ["test://a", "test://still", "other://b"],
        "somethingNew": true,
    });
    let (first, accepted) = listen(&mut client, wanted).await;
    let expected = json!({ "toolsListChanged": true, "resourceSubscriptions": ["test://a"] });
    assert_eq!(accepted, expected);
    let (second, accepted) = listen(&mut client, json!({ "resourcesListChanged": true })).await;
    assert_eq!(accepted, json!({ "resourcesListChanged": true }));
    let (_, accepted) = listen(&mut client, json!({})).await;
    assert_eq!(accepted, json!({}));
    assert_eq!(notifier.watched(), ["test://a"]);

    notifier.prompts_changed();
    notifier.resource_updated("test://still");
    notifier.tools_changed();
    notifier.resource_updated("test://a");
    notifier.resources_changed();
    let mut heard = Vec::new();
    for _ in 0..3 {
        let message = client.recv().await;
        let method = message["method"].as_str().unwrap().to_owned();
        heard.push((message.pointer(SUBSCRIPTION).unwrap().as_i64().unwrap(), method));
        if heard.last().unwrap().1 == "notifications/resources/updated" {
            assert_eq!(message["params"]["uri"], "test://a");
        }
    }
    heard.sort();
    let expected = [
        (first, "notifications/resources/updated".to_owned()),
        (first, "notifications/tools/list_changed".to_owned()),
        (second, "notifications/resources/list_changed".to_owned()),
    ];
    assert_eq!(heard, expected);

    // Cancelling ends the one and not the other, without an answer.
    client.notify("notifications/cancelled", json!({ "requestId": first })).await;
    notifier.watched_changed().await;
    while !notifier.watched().is_empty() {
        notifier.watched_changed().await;
    }
    notifier.tools_changed();
    notifier.resources_changed();
    let message = client.recv().await;
    assert_eq!(message.pointer(SUBSCRIPTION), Some(&json!(second)), "{message}");
    // The rest end with the connection, and say so.
    let rest = client.end().await;
    assert_eq!(rest.len(), 2, "{rest:?}");
    for reply in rest {
        assert_eq!(reply["result"]["resultType"], "complete", "{reply}");
        let meta = &reply["result"]["_meta"];
        assert_eq!(meta["io.modelcontextprotocol/subscriptionId"], reply["id"]);
        assert_eq!(meta["io.modelcontextprotocol/serverInfo"]["name"], "fixture");
    }
}

#[tokio::test(start_paused = true)]
async fn who_only_listens_holds_nothing_up() {
    for shuts_down in [false, true] {
        let notifier = Notifier::new();
        let mut client = Client::modern(app(&notifier, Changes::ALL), json!({}));
        let (id, _) = listen(&mut client, json!({ "resourceSubscriptions": ["test://a"] })).await;
        let begun = tokio::time::Instant::now();
        let rest = if shuts_down {
            client.shutdown.cancel();
            client.rest().await
        } else {
            client.end().await
        };
        assert_eq!(begun.elapsed().as_millis(), 0, "shutdown: {shuts_down}");
        let closed = rest.iter().map(|reply| &reply["id"]).collect::<Vec<_>>();
        assert_eq!(closed, [&json!(id)], "shutdown: {shuts_down}");
        assert_eq!(notifier.watched(), [""; 0]);
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_hears_the_last_state_once() {
    let notifier = Notifier::new();
    let mut client = Client::modern(app(&notifier, Changes::ALL), json!({}));
    let wanted = json!({ "toolsListChanged": true, "resourceSubscriptions": ["test://a"] });
    listen(&mut client, wanted).await;
    for _ in 0..100_000 {
        notifier.tools_changed();
        notifier.resource_updated("test://a");
    }
    // All of that was said in one breath, before the server could say anything.
    let heard = [client.recv().await, client.recv().await];
    assert_eq!(heard[0]["method"], "notifications/tools/list_changed");
    assert_eq!(heard[1]["method"], "notifications/resources/updated");
    assert_eq!(client.end().await.len(), 1, "only that the subscription has ended");
}

#[tokio::test]
async fn an_older_client_subscribes_by_uri_and_hears_of_lists() {
    let notifier = Notifier::new();
    let mut client = Client::legacy(app(&notifier, Changes::ALL), "2025-06-18", json!({})).await;
    assert_eq!(text(&client.call_tool("echo", json!({ "text": "up" })).await), "up");
    notifier.tools_changed();
    assert_eq!(
        client.recv().await,
        json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" })
    );
    notifier.prompts_changed();
    assert_eq!(client.recv().await["method"], "notifications/prompts/list_changed");
    notifier.resources_changed();
    assert_eq!(client.recv().await["method"], "notifications/resources/list_changed");

    for uri in ["test://a", "test://b", "test://a"] {
        let reply = client.call("resources/subscribe", json!({ "uri": uri })).await;
        assert_eq!(reply["result"], json!({}), "{reply}");
    }
    let reply = client.call("resources/subscribe", json!({ "uri": "test://still" })).await;
    assert_eq!(error(&reply).0, -32602);
    assert_eq!(reply["error"]["data"]["uri"], "test://still");
    let reply = client.call("resources/subscribe", json!({})).await;
    assert_eq!(error(&reply).1, "params of resources/subscribe: missing field `uri`");
    assert_eq!(notifier.watched(), ["test://a", "test://b"]);
    notifier.resource_updated("test://b");
    let message = client.recv().await;
    let expected = json!({ "jsonrpc": "2.0", "method": "notifications/resources/updated", "params": { "uri": "test://b" } });
    assert_eq!(message, expected);
    for uri in ["test://b", "test://never"] {
        let reply = client.call("resources/unsubscribe", json!({ "uri": uri })).await;
        assert_eq!(reply["result"], json!({}), "{reply}");
    }
    notifier.resource_updated("test://b");
    assert_eq!(notifier.watched(), ["test://a"]);
    let reply = client.call("subscriptions/listen", json!({ "notifications": {} })).await;
    assert_eq!(error(&reply).0, -32601);
    assert!(client.end().await.is_empty());
    assert_eq!(notifier.watched(), [""; 0], "the connection is gone");
}

#[tokio::test]
async fn what_is_not_announced_is_not_told() {
    let notifier = Notifier::new();
    let mut older = Client::legacy(app(&notifier, Changes::NONE), "2025-11-25", json!({})).await;
    for method in ["resources/subscribe", "resources/unsubscribe"] {
        let reply = older.call(method, json!({ "uri": "test://a" })).await;
        assert_eq!(error(&reply).0, -32601, "{method}");
    }
    let mut modern = Client::modern(app(&notifier, Changes::NONE), json!({}));
    let all = json!({
        "toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": true,
        "resourceSubscriptions": ["test://a"], "taskIds": ["x"],
    });
    let (_, accepted) = listen(&mut modern, all).await;
    assert_eq!(accepted, json!({}));
    notifier.tools_changed();
    notifier.resource_updated("test://a");
    assert_eq!(modern.end().await.len(), 1);
    assert!(older.end().await.is_empty());
}

#[tokio::test]
async fn a_subscription_that_makes_no_sense_is_refused() {
    let mut client = Client::modern(app(&Notifier::new(), Changes::ALL), json!({}));
    let many: Vec<String> = (0..1025).map(|n| format!("test://{n}")).collect();
    for (params, message) in [
        (json!({}), "params of subscriptions/listen: missing field `notifications`"),
        (
            json!({ "notifications": { "taskIds": "x" } }),
            "params of subscriptions/listen: taskIds must be a list of strings",
        ),
        (
            json!({ "notifications": { "taskIds": [1] } }),
            "params of subscriptions/listen: taskIds must be a list of strings",
        ),
        (
            json!({ "notifications": { "resourceSubscriptions": many } }),
            "at most 1024 resources and tasks can be listened to at once",
        ),
    ] {
        let reply = client.call("subscriptions/listen", params).await;
        assert_eq!(error(&reply), (-32602, message));
    }
    client.clear_meta();
    let meta = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28" });
    let params = json!({ "notifications": {}, "_meta": meta });
    let reply = client.call("subscriptions/listen", params).await;
    assert_eq!(error(&reply).0, -32602, "{reply}");
    let meta = json!({ "io.modelcontextprotocol/protocolVersion": "2031-01-01", "io.modelcontextprotocol/clientCapabilities": {} });
    let params = json!({ "notifications": {}, "_meta": meta });
    let reply = client.call("subscriptions/listen", params).await;
    assert_eq!(error(&reply).0, -32022, "{reply}");
}
