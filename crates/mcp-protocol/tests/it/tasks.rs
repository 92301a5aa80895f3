//! The tasks extension: calls that go on as jobs, which clients ask about, answer and cancel.

use std::sync::Arc;

use expect_test::expect;
use mcp_protocol::{Answer, JobId, JobState};
use serde_json::{Value, json};

use crate::bench::Bench;
use crate::client::{Client, error, text};

const EXTENSION: &str = "io.modelcontextprotocol/tasks";

fn knows_tasks() -> Value {
    json!({ "extensions": { EXTENSION: {} }, "elicitation": {} })
}

/// Calls the tool and returns the id of the task that it becomes.
async fn begin(client: &mut Client, tool: &str) -> String {
    let reply = client.call_tool(tool, json!({})).await;
    assert_eq!(reply["result"]["resultType"], "task", "{reply}");
    reply["result"]["taskId"].as_str().unwrap().to_owned()
}

async fn get(client: &mut Client, id: &str) -> Value {
    let reply = client.call("tasks/get", json!({ "taskId": id })).await;
    assert!(reply["result"].is_object(), "{reply}");
    reply["result"].clone()
}

async fn end(bench: &Bench, id: &str, state: JobState) {
    let now = "2026-11-22T12:30:00Z".parse().unwrap();
    bench.jobs.update(&JobId::from_text(id), state, now).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_call_becomes_a_task_and_the_task_gives_the_whole_result() {
    let bench = Bench::new();
    let mut client = Client::modern(bench.app("ada"), knows_tasks());
    let reply = client.call("server/discover", json!({})).await;
    assert_eq!(reply["result"]["capabilities"]["extensions"], json!({ EXTENSION: {} }));
    let mut reply = client.call_tool("work", json!({})).await;
    let id = reply["result"]["taskId"].take();
    expect![[r#"{"resultType":"task","taskId":null,"status":"working","statusMessage":"work","createdAt":"2026-11-22T12:00:00Z","lastUpdatedAt":"2026-11-22T12:00:00Z","ttlMs":null,"pollIntervalMs":1000,"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"fixture","title":"Fixture","version":"1.2.3"}}}"#]]
        .assert_eq(&reply["result"].to_string());
    let id = id.as_str().unwrap();
    let mut seen = get(&mut client, id).await;
    assert_eq!(seen["taskId"].take(), id);
    expect![[r#"{"resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"fixture","title":"Fixture","version":"1.2.3"}},"taskId":null,"status":"working","statusMessage":"work","createdAt":"2026-11-22T12:00:00Z","lastUpdatedAt":"2026-11-22T12:00:00Z","ttlMs":null,"pollIntervalMs":1000}"#]]
        .assert_eq(&seen.to_string());
    let structured = mcp_protocol::schema_object(json!({ "n": 1 }));
    end(&bench, id, JobState::Done(Answer::text("it worked").with_structured(structured))).await;
    let seen = get(&mut client, id).await;
    assert_eq!(seen["lastUpdatedAt"], "2026-11-22T12:30:00Z");
    assert_eq!(seen["status"], "completed");
    expect![[r#"{"resultType":"complete","content":[{"type":"text","text":"it worked"}],"structuredContent":{"n":1},"isError":false}"#]]
        .assert_eq(&seen["result"].to_string());
}

#[tokio::test]
async fn each_end_of_a_job_is_one_of_a_task() {
    let bench = Bench::new();
    let mut client = Client::modern(bench.app("ada"), knows_tasks());
    for (state, status, key, value) in [
        (JobState::Failed(Answer::text("no space")), "completed", "/result/isError", json!(true)),
        (JobState::Unknown("who knows".to_owned()), "completed", "/result/isError", json!(true)),
        (JobState::Broken("a fault".to_owned()), "failed", "/error/code", json!(-32603)),
        (JobState::Cancelled, "cancelled", "/result", Value::Null),
    ] {
        let id = begin(&mut client, "work").await;
        end(&bench, &id, state).await;
        let seen = get(&mut client, &id).await;
        assert_eq!(seen["status"], status);
        assert_eq!(seen.pointer(key).unwrap_or(&Value::Null), &value, "{seen}");
        assert!(seen.get("result").is_none() || seen.get("error").is_none(), "{seen}");
    }
}

#[tokio::test]
async fn a_job_of_a_process_that_is_gone_is_looked_at_again() {
    let bench = Bench::new();
    let mut client = Client::modern(bench.app("ada"), knows_tasks());
    let id = begin(&mut client, "work").await;
    get(&mut client, &id).await;
    assert_eq!(bench.log(), ["refresh work"]);
    // As after a restart: another connection, another app, the same store.
    let mut client = Client::modern(bench.app("ada"), knows_tasks());
    *bench.found.lock().unwrap() = Some(JobState::Done(Answer::text("found to be done")));
    for _ in 0..2 {
        let seen = get(&mut client, &id).await;
        assert_eq!(seen["result"]["content"][0]["text"], "found to be done");
    }
    assert_eq!(bench.log(), ["refresh work"], "what has ended is not looked at again");
}

#[tokio::test]
async fn a_task_is_cancelled_once_and_stays_so() {
    let bench = Bench::new();
    let mut client = Client::modern(bench.app("ada"), knows_tasks());
    let id = begin(&mut client, "work").await;
    for _ in 0..2 {
        let reply = client.call("tasks/cancel", json!({ "taskId": id })).await;
        let result = reply["result"].as_object().unwrap();
        assert_eq!(result["resultType"], "complete");
        assert!(result.keys().all(|key| key == "resultType" || key == "_meta"), "{reply}");
    }
    assert_eq!(bench.log(), ["cancel work"]);
    assert_eq!(get(&mut client, &id).await["status"], "cancelled");
}

#[tokio::test]
async fn a_task_may_ask_and_is_answered_bit_by_bit() {
    let bench = Bench::new();
    let mut client = Client::modern(bench.app("ada"), knows_tasks());
    let id = begin(&mut client, "inquire").await;
    let keys = |seen: &Value| -> Vec<String> {
        let requests = seen["inputRequests"].as_object();
        requests.map(|all| all.keys().cloned().collect()).unwrap_or_default()
    };
    let seen = get(&mut client, &id).await;
    assert_eq!((&seen["status"], keys(&seen).len()), (&json!("input_required"), 2), "{seen}");
    assert_eq!(seen["inputRequests"]["first"]["method"], "elicitation/create");
    let accept = |content: Value| json!({ "action": "accept", "content": content });
    for (responses, left) in [
        (json!({ "unasked": accept(json!({})) }), vec!["first", "second"]),
        (json!({ "first": accept(json!({ "sure": "yes" })) }), vec!["first", "second"]),
        (json!({ "first": 5, "second": null }), vec!["first", "second"]),
        (json!({ "second": accept(json!({ "really": true, "more": 1 })) }), vec!["first"]),
        (json!({ "second": { "action": "decline" } }), vec!["first"]),
        (json!({ "first": { "action": "decline" } }), vec![]),
        (json!({ "first": accept(json!({ "sure": true })) }), vec![]),
    ] {
        let params = json!({ "taskId": id, "inputResponses": responses });
        let reply = client.call("tasks/update", params).await;
        assert_eq!(reply["result"]["resultType"], "complete", "{reply}");
        let seen = get(&mut client, &id).await;
        assert_eq!(keys(&seen), left, "{responses}");
    }
    let seen = get(&mut client, &id).await;
    let said = seen["result"]["content"][0]["text"].as_str().unwrap();
    assert_eq!(
        said,
        "first Declined; second Accepted({\"really\": Bool(true), \"more\": Number(1)})"
    );
}

#[tokio::test]
async fn nobody_learns_of_anothers_task() {
    let bench = Bench::new();
    let mut ada = Client::modern(bench.app("ada"), knows_tasks());
    let mut bob = Client::modern(bench.app("bob"), knows_tasks());
    let id = begin(&mut ada, "work").await;
    for id in [id.as_str(), "made-up", ""] {
        for (method, more) in [
            ("tasks/get", json!({})),
            ("tasks/cancel", json!({})),
            ("tasks/update", json!({ "inputResponses": {} })),
        ] {
            let mut params = more;
            params["taskId"] = json!(id);
            let reply = bob.call(method, params).await;
            assert_eq!(error(&reply), (-32602, "there is no such task"), "{method} {id}");
        }
    }
    assert_eq!(get(&mut ada, &id).await["status"], "working");
    assert_eq!(bench.log(), ["refresh work"], "the driver hears nothing of it");
    // A tool that names somebody else's job is at fault; its caller gets the answer in words.
    let reply = bob.call_tool("theirs", json!({})).await;
    assert_eq!(text(&reply), "goes on as theirs");
}

#[tokio::test]
async fn who_did_not_declare_tasks_gets_none() {
    let bench = Bench::new();
    let mut plain = Client::modern(bench.app("ada"), json!({}));
    let mut older = Client::legacy(bench.app("ada"), "2025-11-25", knows_tasks()).await;
    let mut knowing = Client::modern(bench.app("ada"), knows_tasks());
    let id = begin(&mut knowing, "work").await;
    for client in [&mut plain, &mut older] {
        let reply = client.call_tool("work", json!({})).await;
        assert_eq!(text(&reply), "goes on as work");
        assert!(reply["result"].get("taskId").is_none(), "{reply}");
    }
    let reply = older.call("tasks/get", json!({ "taskId": id })).await;
    assert_eq!(error(&reply).0, -32601);
    let reply = older.call_tool("only_tasks", json!({})).await;
    assert_eq!(reply["result"]["isError"], true, "{reply}");
    let needed = json!({ "extensions": { EXTENSION: {} } });
    for (method, params) in [
        ("tasks/get", json!({ "taskId": id })),
        ("tasks/cancel", json!({ "taskId": id })),
        ("tasks/update", json!({ "taskId": id, "inputResponses": {} })),
        ("tools/call", json!({ "name": "only_tasks" })),
    ] {
        let reply = plain.call(method, params).await;
        assert_eq!(error(&reply).0, -32021, "{method}: {reply}");
        assert_eq!(reply["error"]["data"]["requiredCapabilities"], needed, "{method}");
    }
    begin(&mut knowing, "only_tasks").await;
    // The older era has no extensions to be told of.
    let mut older = Client::connect(bench.app("ada"));
    let reply = older.initialize("2025-11-25", json!({})).await;
    assert!(reply["result"]["capabilities"].get("extensions").is_none(), "{reply}");
    // An app without jobs has no tasks at all.
    let mut without = Client::modern(crate::fixture::app(), knows_tasks());
    for method in ["tasks/get", "tasks/result", "tasks/list"] {
        let reply = without.call(method, json!({ "taskId": "x" })).await;
        assert_eq!(error(&reply).0, -32601, "{method}");
    }
    let reply = knowing.call("tasks/get", json!({})).await;
    assert_eq!(error(&reply), (-32602, "params of tasks/get: missing field `taskId`"));
}

#[tokio::test(start_paused = true)]
async fn who_follows_a_task_hears_of_its_states_once() {
    let bench = Bench::new();
    let mut client = Client::modern(bench.app("ada"), knows_tasks());
    let told = begin(&mut client, "work").await;
    let orphan = begin(&mut client, "work").await;
    let ended = begin(&mut client, "work").await;
    end(&bench, &ended, JobState::Cancelled).await;
    let mut other = Client::modern(bench.app("bob"), knows_tasks());
    let foreign = begin(&mut other, "work").await;
    let wanted = json!({ "taskIds": [told, orphan, ended, foreign, "made-up"] });
    let subscription =
        client.request("subscriptions/listen", json!({ "notifications": wanted })).await;
    let ack = client.recv().await;
    let mut accepted: Vec<String> =
        serde_json::from_value(ack["params"]["notifications"]["taskIds"].clone()).unwrap();
    let mut own = vec![told.clone(), orphan.clone(), ended.clone()];
    accepted.sort();
    own.sort();
    assert_eq!(accepted, own);
    let mut hear = async |status: &str, id: &str| {
        let message = client.recv().await;
        assert_eq!(message["method"], "notifications/tasks", "{message}");
        let params = &message["params"];
        assert_eq!((&params["status"], &params["taskId"]), (&json!(status), &json!(id)));
        assert_eq!(params["_meta"]["io.modelcontextprotocol/subscriptionId"], subscription);
    };
    hear("cancelled", &ended).await;
    end(&bench, &told, JobState::Done(Answer::text("told"))).await;
    hear("completed", &told).await;
    // Nobody tells of this one: the driver is asked from time to time.
    *bench.found.lock().unwrap() = Some(JobState::Failed(Answer::text("found")));
    hear("completed", &orphan).await;
    // What has ended is not told again.
    bench.notifier.job_changed(&JobId::from_text(told));
    let rest = client.end().await;
    assert_eq!(rest.len(), 1, "{rest:?}");
    let _: &Arc<Bench> = &bench;
}
