//! Tasks: they take time, write logs, and end well, with warnings, or badly.

use proxmox_sim::TaskSpec;

use crate::wire::{Caller, demo, escape};

#[tokio::test]
async fn power_actions_change_the_state_and_say_why_they_fail() {
    let sim = demo().await;
    let agent = Caller::token(&sim, "lab", "agent");
    let guest = "/nodes/alder/qemu/125";
    let start = agent.post(&format!("{guest}/status/start"), &[]).await;
    let upid = start.data();
    assert!(upid.as_str().unwrap().starts_with("UPID:alder:"), "{upid}");
    assert_eq!(
        agent.finish(upid.as_str().unwrap()).await,
        ("OK".to_owned(), vec!["TASK OK".to_owned()])
    );
    assert_eq!(agent.get(&format!("{guest}/status/current")).await.data()["status"], "running");
    let again = agent.post(&format!("{guest}/status/start"), &[]).await;
    assert_eq!(agent.run(again).await.0, "VM 125 already running");
    let wrong = agent.post("/nodes/birch/qemu/125/status/start", &[]).await;
    assert_eq!(
        agent.run(wrong).await.0,
        "Configuration file 'nodes/birch/qemu-server/125.conf' does not exist"
    );
    for (action, status) in [
        ("suspend", "paused"),
        ("resume", "running"),
        ("reboot", "running"),
        ("reset", "running"),
        ("shutdown", "stopped"),
    ] {
        let task = agent.post(&format!("{guest}/status/{action}"), &[]).await;
        assert_eq!(agent.run(task).await.0, "OK", "{action}");
        assert_eq!(
            agent.get(&format!("{guest}/status/current")).await.data()["qmpstatus"],
            status,
            "{action}"
        );
    }
    let broken = agent.post("/nodes/cedar/qemu/108/status/start", &[]).await;
    let (status, log) = agent.run(broken).await;
    assert_eq!(status, "start failed: QEMU exited with code 1");
    assert!(log[0].contains("Device or resource busy"), "{log:?}");
    assert_eq!(log[1], "TASK ERROR: start failed: QEMU exited with code 1");
    let deaf = agent.post("/nodes/birch/qemu/111/status/shutdown", &[("timeout", "1")]).await;
    assert_eq!(agent.run(deaf).await.0, "VM quit/powerdown failed - got timeout");
}

#[tokio::test]
async fn levers_make_tasks_warn_and_fail_and_a_delete_stops_them() {
    let sim = demo().await;
    let agent = Caller::token(&sim, "lab", "agent");
    sim.levers().warn_next_task("lab", Some("vzstart"), "volume is nearly full").unwrap();
    let task = agent.post("/nodes/cedar/lxc/141/status/start", &[]).await;
    let (status, log) = agent.run(task).await;
    assert_eq!(status, "WARNINGS: 1");
    assert_eq!(log, ["WARN: volume is nearly full", "TASK WARNINGS: 1"]);
    sim.levers().fail_next_task("lab", None, "out of luck").unwrap();
    let task = agent.post("/nodes/cedar/lxc/141/status/stop", &[]).await;
    assert_eq!(agent.run(task).await.0, "out of luck");
    assert_eq!(agent.get("/nodes/cedar/lxc/141/status/current").await.data()["status"], "running");
    let upid = sim.levers().add_task("lab", "alder", &TaskSpec::running("imgcopy", "")).unwrap();
    let path = format!("/nodes/alder/tasks/{}", escape(&upid));
    assert_eq!(agent.get(&format!("{path}/status")).await.data()["status"], "running");
    let active = agent.get("/nodes/alder/tasks?source=active").await.json();
    assert_eq!((active["total"].as_u64(), active["data"][0].get("status")), (Some(1), None));
    assert_eq!(
        agent.get(&format!("{path}/log")).await.json(),
        serde_json::json!({"total": 1, "data": [{"n": 1, "t": "no content"}]})
    );
    assert_eq!(
        agent.delete(&path).await.line(),
        "403 Permission check failed (/nodes/alder, Sys.Modify)"
    );
    let admin = Caller::admin(&sim, "lab").await;
    assert_eq!(admin.delete(&path).await.status, 200);
    assert_eq!(agent.finish(&upid).await.0, "received interrupt");
    assert_eq!(admin.delete(&path).await.status, 200);
}

#[tokio::test]
async fn task_lists_filter_and_page() {
    let sim = demo().await;
    let agent = Caller::token(&sim, "lab", "agent");
    let errors = agent.get("/nodes/cedar/tasks?errors=1").await.json();
    assert!(errors["data"].as_array().unwrap().iter().all(|task| task["status"] != "OK"));
    assert!(errors["total"].as_u64().unwrap() >= 2);
    let none = agent.get("/nodes/cedar/tasks?typefilter=nope").await.json();
    assert_eq!(none, serde_json::json!({"data": []}));
    let page = agent.get("/nodes/cedar/tasks?limit=1&start=1").await.json();
    assert_eq!(page["data"].as_array().unwrap().len(), 1);
    assert!(page["total"].as_u64().unwrap() > 1);
    let warned = agent.get("/nodes/birch/tasks?statusfilter=warning").await.data();
    assert_eq!(warned[0]["status"], "WARNINGS: 1");
    let unknown = agent
        .get("/nodes/alder/tasks/UPID:alder:00000000:00000000:00000000:x:y:root@pam:/status")
        .await;
    assert_eq!(
        (unknown.status, unknown.json()["errors"]["upid"].as_str()),
        (400, Some("no such task"))
    );
    let recent = agent.get("/cluster/tasks").await.data();
    assert!(recent.as_array().unwrap().iter().all(|task| task.get("pid").is_none()));
}

#[tokio::test]
async fn a_managed_guest_starts_later_or_fails_after_a_task_that_was_fine() {
    let sim = demo().await;
    let agent = Caller::token(&sim, "lab", "agent");
    let task = agent.post("/nodes/birch/qemu/117/status/start", &[]).await;
    let (status, log) = agent.run(task).await;
    assert_eq!((status.as_str(), log[0].as_str()), ("OK", "Requesting HA start for VM 117"));
    let service = |rows: &serde_json::Value| {
        let rows = rows.as_array().unwrap().iter();
        rows.clone().find(|row| row["sid"] == "vm:117").map(|row| row["state"].clone()).unwrap()
    };
    let rows = agent.until("/cluster/ha/status/current", |rows| service(rows) == "error").await;
    assert_eq!(service(&rows), "error");
    assert_eq!(agent.get("/nodes/birch/qemu/117/status/current").await.data()["status"], "stopped");
    let real = agent.get("/nodes/birch/tasks?typefilter=qmstart&vmid=117").await.data();
    assert_eq!(real.as_array().unwrap().len(), 2);
    assert_eq!(real[0]["status"], "start failed: QEMU exited with code 1");
    assert_eq!(real[0]["user"], "root@pam");
    let task = agent.post("/nodes/birch/qemu/104/status/shutdown", &[]).await;
    assert_eq!(agent.run(task).await.1[0], "Requesting HA stop for VM 104");
    agent.until("/nodes/birch/qemu/104/status/current", |data| data["status"] == "stopped").await;
}
