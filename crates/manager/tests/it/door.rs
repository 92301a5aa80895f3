//! The control socket: who is let in as whom, versions, and calls of tools.

use std::time::Duration;

use control_api::{Client, ErrorKind, Standing, ToolCallParams, ToolEvent};
use manager::Lock;
use serde_json::json;

use crate::support::{VERSION, own_uid, start};

fn call(what: &str) -> ToolCallParams {
    let arguments = json!({"do": what}).as_object().cloned().unwrap();
    ToolCallParams { name: "toy".to_owned(), arguments, progress: true }
}

#[tokio::test]
async fn a_peer_is_who_the_system_says_and_is_never_asked() {
    let running = start();
    let client = Client::connect(&running.socket, VERSION).await.unwrap();
    let me = format!("local:{}", own_uid());
    assert_eq!(client.welcome().principal, me);
    assert_eq!(client.welcome().standing, Standing::Owner);
    assert_eq!(client.welcome().pid, std::process::id());

    let tools = client.tools().await.unwrap();
    assert_eq!(tools.instructions, "Play with it.");
    assert_eq!(tools.tools[0].name, "toy");
    let mut called = client.call_tool(call("tell")).await.unwrap();
    let Some(Ok(ToolEvent::Ended { failed: false, answer })) = called.next().await else {
        panic!("it ends well")
    };
    let answer: mcp_protocol::Answer = serde_json::from_value(answer).unwrap();
    assert_eq!(answer.plain_text(), format!("{me} asks:false"));
    assert_eq!(answer.structured.unwrap()["who"], me);

    let mut called = client.call_tool(call("fail")).await.unwrap();
    assert!(matches!(called.next().await, Some(Ok(ToolEvent::Ended { failed: true, .. }))));
    let wrong = ToolCallParams { name: "toi".to_owned(), ..call("tell") };
    let mut called = client.call_tool(wrong).await.unwrap();
    let Some(Ok(ToolEvent::Refused { message })) = called.next().await else { panic!("refused") };
    assert!(message.contains("did you mean toy"), "{message}");

    let status = client.status().await.unwrap();
    assert_eq!(
        (status.mode.as_str(), status.members.as_slice()),
        ("guarded", &["lab".to_owned()][..])
    );
}

#[tokio::test]
async fn whoever_goes_takes_the_call_along() {
    let running = start();
    let client = Client::connect(&running.socket, VERSION).await.unwrap();
    let mut called = client.call_tool(call("wait")).await.unwrap();
    let Some(Ok(ToolEvent::Progress { current, message, .. })) = called.next().await else {
        panic!("progress comes first")
    };
    assert_eq!((current, message.as_deref()), (1.0, Some("half")));
    drop(called);
    running.dropped.notified().await;

    // The same when the whole client goes.
    let mut called = client.call_tool(call("wait")).await.unwrap();
    called.next().await.unwrap().unwrap();
    drop(called);
    drop(client);
    running.dropped.notified().await;
}

#[tokio::test]
async fn another_version_is_told_so() {
    let running = start();
    let error = Client::connect(&running.socket, "9.9.9").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Version);
    let said = error.to_string();
    assert!(said.contains("it is of version 1.2.3") && said.contains("of 9.9.9"), "{said}");
    assert!(said.contains("restart the manager"), "{said}");
}

#[tokio::test]
async fn no_manager_is_known_from_a_closed_one() {
    let running = start();
    let client = Client::connect(&running.socket, VERSION).await.unwrap();
    running.stop.cancel();
    tokio::time::timeout(Duration::from_secs(30), client.closed())
        .await
        .expect("it hears of the end");
    running.served.await.unwrap();
    assert!(!running.socket.exists());
    assert!(!Lock::is_held(running.folder.path()));
    let error = Client::connect(&running.socket, VERSION).await.unwrap_err();
    assert!(error.is_absent(), "{error}");
    let error = client.status().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost);
}
