//! The control socket: who is let in as whom, versions, and calls of tools.

use std::time::Duration;

use control_api::{
    ApprovalFilter, Client, DecisionParams, ErrorKind, FreezeParams, Proof, Standing,
    ToolCallParams, ToolEvent,
};
use guard::{
    Principal,
    ports::{ActionId, Confirms as _, NewConfirm},
};
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

#[tokio::test]
async fn a_change_is_kept_by_its_own_account_and_that_is_written_down() {
    let running = start();
    let client = Client::connect(&running.socket, VERSION).await.unwrap();
    let (store, clock) = (&running.inside.store, &running.inside.clock);
    let now = stdx::Clock::now(clock);
    let arm = async |who: Principal| {
        let confirm = NewConfirm {
            action: ActionId::from_bits(1),
            principal: who,
            what: "change of vmbr0".to_owned(),
            deadline: now + jiff::SignedDuration::from_mins(2),
            calls: Vec::new(),
        };
        store.arm(confirm, now).await.unwrap().id.to_string()
    };
    let own = arm(Principal::local(own_uid())).await;
    // What another account changed is nothing that this one could see, unless it is root.
    if own_uid() != 0 {
        let others = arm(Principal::local(own_uid() + 1)).await;
        let error = client.confirm(&others).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
    assert_eq!(client.confirm(&own).await.unwrap().id, own);
    let records = client.audit_records(0, 10).await.unwrap().records;
    let last = records.last().unwrap();
    assert_eq!((last.action.as_str(), last.target.as_str()), ("guard.confirm", "change of vmbr0"));
    assert!(client.confirm(&own).await.is_err(), "it is kept once");
    assert_eq!(client.audit_records(0, 10).await.unwrap().records.len(), records.len());
}

#[tokio::test]
async fn approvals_are_listed_shown_decided_and_waited_for() {
    let running = start();
    let client = Client::connect(&running.socket, VERSION).await.unwrap();
    let mut changes = client.subscribe_approvals().await.unwrap();
    let asked = running.inside.ask_as(Principal::local(own_uid()), 1, &[]).await;
    let told = changes.next().await.unwrap().unwrap();
    assert_eq!((told.id.as_str(), told.state.as_str()), (asked.id.to_string().as_str(), "pending"));
    let listed = client.approvals(ApprovalFilter::pending()).await.unwrap();
    assert_eq!(listed, std::slice::from_ref(&told));
    let shown = client.approval(&told.id).await.unwrap();
    assert_eq!(shown.form["tool"], "guest_delete");
    assert_eq!(shown.text, "deletion of lab/104 web");
    assert_eq!(client.status().await.unwrap().approvals_pending, 1);
    let waited = client.wait(&told.id, Duration::ZERO).await.unwrap();
    assert_eq!(waited.state, "pending");

    // This account asked, and is no approver either.
    let decision = |proof: Proof| DecisionParams {
        id: told.id.clone(),
        digest: told.digest.clone(),
        approve: true,
        proof,
        note: None,
    };
    let error = client.decide(decision(Proof::Peer)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
    running.inside.clock.set(jiff::Timestamp::from_second(59).unwrap());
    let code = Proof::Code { approver: "ada".to_owned(), code: "287082".to_owned() };
    assert!(!format!("{code:?}").contains("287082"));
    assert_eq!(client.decide(decision(code)).await.unwrap().decisions[0].approver, "ada");
    let done = client.wait(&told.id, Duration::from_mins(1)).await.unwrap();
    assert_eq!(
        (done.state.as_str(), done.result.unwrap()["did"].as_str()),
        ("done", Some("guest_delete"))
    );

    let freeze = client.freeze(FreezeParams { for_secs: Some(60), reason: None }).await.unwrap();
    assert_eq!(client.frozen().await.unwrap(), Some(freeze.clone()));
    assert_eq!(freeze.until.unwrap().duration_since(freeze.since).as_secs(), 60);
    let page = client.audit_records(0, 1).await.unwrap();
    assert_eq!((page.records[0].action.as_str(), page.more), ("approval.decide", true));
    assert_eq!(client.audit_head().await.unwrap().unwrap().seq, 2);
    let error = client.approval("../etc").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}
