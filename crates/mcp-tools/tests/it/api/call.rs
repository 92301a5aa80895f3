//! Calling any endpoint of the simulated estate: planned, checked, followed.

use serde_json::json;

use crate::{estate::Estate, surface::options};

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_followed_to_its_end() {
    let estate = Estate::start("operator").await;
    let args = json!({"cluster": "lab", "method": "POST", "path": "/nodes/birch/qemu/104/snapshot", "params": {"snapname": "before"}});
    let answer = estate.ask("api_call", args.clone()).await;
    assert!(!answer.failed, "{}", answer.text);
    assert!(answer.text.contains("qmsnapshot ended OK"), "{}", answer.text);
    assert_eq!(answer.object["status"], "ok");
    // What the server says against it is the answer.
    let text = estate.failure("api_call", args).await;
    assert!(text.contains("before"), "{text}");
    estate.sim.levers().fail_next_task("lab", Some("qmsnapshot"), "storage is gone").unwrap();
    let args = json!({"cluster": "lab", "method": "POST", "path": "/nodes/birch/qemu/104/snapshot", "params": {"snapname": "after"}});
    let text = estate.failure("api_call", args).await;
    assert!(text.contains("storage is gone"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_listed_and_nothing_is_sent() {
    let estate = Estate::start("operator").await;
    estate.text("api_find", json!({"query": "config"})).await;
    estate.sim.levers().keep_heads();
    let args = json!({"cluster": "lab", "method": "PUT", "path": "/nodes/birch/qemu/104/config",
        "params": {"coresx": 2, "memory": "much", "onboot": "perhaps", "cipassword": {"hunter": "hunter2"}}});
    let answer = estate.ask("api_call", args).await;
    assert!(answer.failed, "{}", answer.text);
    let problems = answer.object["problems"]["rows"].as_array().unwrap();
    assert_eq!(problems.len(), 4, "{}", answer.text);
    assert!(!answer.text.contains("hunter2"), "{}", answer.text);
    assert_eq!(answer.object["next"][0]["tool"], "api_describe");
    let sent = estate.sim.levers().heads();
    assert!(!sent.iter().any(|head| head.starts_with("PUT ")), "{sent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_shown_as_a_diff_that_can_be_taken_back() {
    let estate = Estate::start("operator").await;
    let app =
        mcp_tools::build_app(std::sync::Arc::clone(&estate.cx.fleet), &options("api")).unwrap();
    let ask = async |args: serde_json::Value| {
        let cx = mcp_protocol::CallContext::detached(app.caller().clone());
        match app.call_tool(&cx, "api_call", args.as_object().unwrap().clone()).await.unwrap() {
            mcp_protocol::Outcome::Done(answer) => answer.structured.unwrap(),
            other => panic!("{other:?}"),
        }
    };
    let path = "/nodes/alder/qemu/100/config";
    let args = json!({"cluster": "lab", "method": "PUT", "path": path, "plan": true,
        "params": {"cores": 3, "cipassword": "hunter2hunter2"}});
    let plan = ask(args).await;
    let text = serde_json::to_string(&plan).unwrap();
    assert!(!text.contains("hunter2"), "{text}");
    assert_eq!(plan["status"], "planned");
    let rows = plan["changes"]["rows"].as_array().unwrap();
    let cores = rows.iter().find(|row| row[0] == "cores").unwrap();
    assert_eq!(cores[2], "3", "{text}");
    assert_ne!(cores[1], "3", "{text}");
    assert_eq!(plan["targets"][path]["digest"].as_str().unwrap().len(), 40, "{text}");

    let plan = ask(json!({"cluster": "lab", "method": "PUT", "path": path, "plan": true, "params": {"cores": 3}})).await;
    assert!(plan["undo"].as_str().unwrap().starts_with("api_call {"), "{plan:?}");
    let plan = ask(json!({"cluster": "lab", "method": "DELETE", "path": "/nodes/birch/qemu/104", "plan": true})).await;
    assert_eq!(plan["access"], "destroy");
    let done =
        ask(json!({"cluster": "lab", "method": "PUT", "path": path, "params": {"cores": 3}})).await;
    assert_eq!(done["status"], "ok", "{done:?}");
    let now =
        estate.text("api_read", json!({"cluster": "lab", "path": path, "fields": "cores"})).await;
    assert!(now.contains("cores 3"), "{now}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_may_ask_what_only_reads() {
    let estate = Estate::start("agent").await;
    let mut guarded = options("api");
    guarded.mode = guard::Mode::Guarded;
    guarded.guard = mcp_tools::gate::Guard::default();
    let app = mcp_tools::build_app(std::sync::Arc::clone(&estate.cx.fleet), &guarded).unwrap();
    let ask = async |args: serde_json::Value| {
        let cx = mcp_protocol::CallContext::detached(app.caller().clone());
        app.call_tool(&cx, "api_call", args.as_object().unwrap().clone()).await.unwrap()
    };
    let ping =
        json!({"cluster": "lab", "method": "POST", "path": "/nodes/birch/qemu/104/agent/ping"});
    let answer = ask(ping).await;
    assert!(matches!(answer, mcp_protocol::Outcome::Done(_)), "{answer:?}");
    let stop =
        json!({"cluster": "lab", "method": "POST", "path": "/nodes/alder/qemu/100/status/stop"});
    let mcp_protocol::Outcome::Failed(answer) = ask(stop).await else { panic!("it ran") };
    let text = format!("{answer:?}");
    assert!(text.contains("default.stop") && text.contains("approver add"), "{text}");
    // What is never called is told so, whatever the mode.
    let shell = json!({"cluster": "lab", "method": "POST", "path": "/nodes/alder/termproxy"});
    let mcp_protocol::Outcome::Failed(answer) = ask(shell).await else { panic!("it ran") };
    assert!(format!("{answer:?}").contains("hands out a shell"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_on_another_node_is_told_before() {
    let estate = Estate::start("operator").await;
    let args = json!({"cluster": "lab", "method": "POST", "path": "/nodes/alder/qemu/104/snapshot", "params": {"snapname": "x1"}});
    let answer = estate.ask("api_call", args).await;
    assert!(
        answer.failed && answer.text.contains("is a virtual machine on birch"),
        "{}",
        answer.text
    );
    let right = &answer.object["next"][0]["args"];
    assert_eq!(right["path"], "/nodes/birch/qemu/104/snapshot");
    assert!(!estate.ask("api_call", right.clone()).await.failed);
    let read = json!({"cluster": "lab", "path": "/nodes/alder/lxc/104/config"});
    let answer = estate.ask("api_read", read).await;
    assert_eq!(
        answer.object["next"][0]["args"]["path"], "/nodes/birch/qemu/104/config",
        "{}",
        answer.text
    );
}

/// A backup server's task is followed like a cluster's.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_of_a_backup_server_is_followed_to_its_end() {
    let estate = Estate::start("operator").await;
    let verify = json!({"cluster": "vault", "method": "POST", "path": "/admin/datastore/main/verify",
        "params": {"ignore-verified": true, "ns": "lab"}});
    let answer = estate.ask("api_call", verify.clone()).await;
    assert!(!answer.failed, "{}", answer.text);
    assert!(answer.text.contains("its task verify"), "{}", answer.text);
    assert!(answer.text.contains("ended OK"), "{}", answer.text);
    assert_eq!(answer.object["status"], "ok");
    // Without a cluster, it is for the only member that has such a path.
    let collect = json!({"method": "POST", "path": "/admin/datastore/main/gc"});
    let answer = estate.ask("api_call", collect.clone()).await;
    assert!(!answer.failed && answer.text.contains("garbage_collection ended"), "{}", answer.text);
    // A task that fails is a call that fails, with its cause.
    let levers = estate.sim.levers();
    levers.fail_next_task("vault", Some("garbage_collection"), "disk is on fire").unwrap();
    let text = estate.failure("api_call", collect).await;
    assert!(text.contains("disk is on fire"), "{text}");
    // Its schema is PBS's own.
    let wrong = json!({"cluster": "vault", "method": "POST", "path": "/admin/datastore/main/verify",
        "params": {"ignore-verifed": true}});
    let text = estate.failure("api_call", wrong).await;
    assert!(text.contains("did you mean ignore-verified?"), "{text}");
}
