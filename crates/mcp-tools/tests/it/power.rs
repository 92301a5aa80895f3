//! What is started and stopped, and what is said of it.

use std::time::Duration;

use expect_test::expect;
use proxmox_sim::{PveRelease, SimConfig};
use serde_json::json;
use testkit::{Progress, wait_for};

use crate::estate::{Estate, steady};

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_succeeds_and_one_that_fails() {
    let estate = Estate::start("agent").await;
    let answer = estate.ask("guest_power", json!({"guest": "lab/125", "action": "start"})).await;
    assert!(!answer.failed, "{}", answer.text);
    expect!["lab/125 dev-bela is running (start: OK, AGE s)"].assert_eq(&seconds(&answer.text));
    assert_eq!(answer.object["status"], "ok");
    assert_eq!(answer.object["state"], "running");
    assert!(answer.object["upid"].as_str().unwrap().contains(":qmstart:125:"));

    let answer = estate.ask("guest_power", json!({"guest": "lab/125", "action": "start"})).await;
    assert!(!answer.failed, "{}", answer.text);
    expect!["lab/125 dev-bela is already running: nothing was done"].assert_eq(&answer.text);
    assert_eq!(answer.object["status"], "unchanged");

    let answer = estate.ask("guest_power", json!({"guest": "lab/108", "action": "start"})).await;
    assert!(answer.failed, "{}", answer.text);
    assert_eq!(answer.object["status"], "failed");
    assert_eq!(answer.object["cause"], "start failed: QEMU exited with code 1");
    let upid = answer.object["upid"].as_str().unwrap();
    expect![[r"
        start of lab/108 gpu-render failed: start failed: QEMU exited with code 1
        <<<untrusted end of the log of UPID
        kvm: -device vfio-pci,host=0000:01:00.0,id=hostpci0,bus=ich9-pcie-port-1,addr=0x0: vfio 0000:01:00.0: failed to open /dev/vfio/17: Device or resource busy
        TASK ERROR: start failed: QEMU exited with code 1
        untrusted>>>"]]
    .assert_eq(&answer.text.replace(upid, "UPID"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_action_is_read_back() {
    let estate = Estate::start("agent").await;
    for (guest, action, state) in [
        ("lab/100", "suspend", "paused"),
        ("lab/100", "resume", "running"),
        ("lab/100", "reset", "running"),
        ("lab/100", "reboot", "running"),
        ("lab/100", "shutdown", "stopped"),
        ("lab/101", "stop", "stopped"),
        ("lab/131", "reboot", "running"),
        ("lab/131", "stop", "stopped"),
        ("lab/131", "start", "running"),
    ] {
        let answer = estate.ask("guest_power", json!({"guest": guest, "action": action})).await;
        assert!(!answer.failed, "{action}: {}", answer.text);
        assert_eq!(answer.object["state"], state, "{action}: {}", answer.text);
        let now = estate.ask("guest_get", json!({"guest": guest, "include": ["status"]})).await;
        assert_eq!(now.object["status"], state, "{action}: {}", now.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_refused_with_the_way_to_do_it() {
    let estate = Estate::start("agent").await;
    let mut answers = String::new();
    for (guest, action) in [
        ("lab/9000", "start"),
        ("lab/130", "reset"),
        ("lab/108", "reboot"),
        ("lab/108", "resume"),
        ("104", "stop"),
        ("lab/555", "start"),
    ] {
        let text = estate.failure("guest_power", json!({"guest": guest, "action": action})).await;
        answers.push_str(&text);
        answers.push('\n');
    }
    expect![[r"
        start of lab/9000 tpl-debian-13 was not tried: it is a template
        note: clone it and start the clone
        reset of lab/130 proxy was not tried: containers have no reset
        note: use reboot, or stop and then start
        reboot of lab/108 gpu-render was not tried: it is stopped
        note: use start
        resume of lab/108 gpu-render was not tried: it is stopped, not suspended
        note: use start
        `104` fits 2 guests
        guest name status
        edge/104 print-server stopped
        lab/104 db-main running
        note: name one as cluster/vmid
        no guest `lab/555` in lab, as far as the token sees
        next: guests_list {}
    "]]
    .assert_eq(&answers);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_that_is_ignored_says_why_and_what_else() {
    let estate = Estate::start("agent").await;
    let text =
        estate.failure("guest_power", json!({"guest": "lab/111", "action": "shutdown"})).await;
    assert!(text.starts_with(
        "shutdown of lab/111 win-ad-02 failed: VM quit/powerdown failed - got timeout"
    ));
    assert!(
        text.contains("note: its system did not answer: shut it down from inside, or use stop")
    );
    assert!(text.contains("guest-ping"), "{text}");
    let now = estate.ask("guest_get", json!({"guest": "lab/111", "include": ["status"]})).await;
    assert_eq!(now.object["status"], "running");
}

#[tokio::test(flavor = "multi_thread")]
async fn warnings_and_causes_of_the_server_are_told() {
    let estate = Estate::start("agent").await;
    let levers = estate.sim.levers();
    levers.warn_next_task("lab", Some("qmstart"), "no IOMMU detected").unwrap();
    let text = estate.text("guest_power", json!({"guest": "lab/125", "action": "start"})).await;
    assert!(text.starts_with("lab/125 dev-bela is running (start: with 1 warning,"), "{text}");
    assert!(text.contains("WARN: no IOMMU detected"), "{text}");
    levers.fail_next_task("lab", Some("qmstop"), "can't lock file - got timeout").unwrap();
    let text = estate.failure("guest_power", json!({"guest": "lab/125", "action": "stop"})).await;
    assert!(text.starts_with("stop of lab/125 dev-bela failed: can't lock file - got timeout"));
}

#[tokio::test(flavor = "multi_thread")]
async fn ha_is_followed_past_the_wish() {
    let estate = Estate::start("agent").await;
    for (action, kind, state) in
        [("stop", ":qmshutdown:104:", "stopped"), ("start", ":qmstart:104:", "running")]
    {
        let answer = estate.ask("guest_power", json!({"guest": "lab/104", "action": action})).await;
        assert!(!answer.failed, "{}", answer.text);
        assert!(answer.text.contains("through HA"), "{}", answer.text);
        assert_eq!(answer.object["state"], state);
        // The task that did it, not the one that wrote the wish down.
        assert!(answer.object["upid"].as_str().unwrap().contains(kind), "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_that_ha_cannot_fulfill_is_a_failure() {
    let estate = Estate::start("agent").await;
    let answer = estate.ask("guest_power", json!({"guest": "lab/117", "action": "start"})).await;
    assert!(answer.failed, "{}", answer.text);
    assert!(answer.text.starts_with("start of lab/117 billing failed: start failed: QEMU exited"));
    assert!(answer.text.contains("Input/output error"), "{}", answer.text);
    assert!(answer.text.contains("note: HA has given up (state error)"), "{}", answer.text);
    assert!(answer.object["upid"].as_str().unwrap().contains(":qmstart:117:root@pam:"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ha_has_not_done_yet_is_requested_not_done() {
    // At the demo's pace the manager takes seconds to come round.
    let estate = Estate::of(SimConfig::fast().with_task_speed(4.0), "agent", 16 * 1024).await;
    let args = json!({"guest": "lab/104", "action": "stop", "timeout_s": 1});
    let answer = estate.ask("guest_power", args).await;
    assert!(!answer.failed, "{}", answer.text);
    // A slow machine may have needed the whole second for the wish itself.
    let text = &answer.text;
    assert!(text.starts_with("stop of lab/104 db-main is requested, not done"), "{text}");
    assert_eq!(answer.object["status"], "requested");
}

#[tokio::test(flavor = "multi_thread")]
async fn long_work_goes_on_with_task_wait() {
    let estate = Estate::of(SimConfig::fast().with_task_speed(0.7), "agent", 16 * 1024).await;
    let args = json!({"guest": "lab/100", "action": "shutdown", "timeout_s": 1});
    let answer = estate.ask("guest_power", args).await;
    assert!(!answer.failed, "{}", answer.text);
    assert_eq!(answer.object["status"], "running");
    let next = &answer.object["next"][0];
    assert_eq!(next["tool"], "task_wait");
    let answer = estate.ask("task_wait", next["args"].clone()).await;
    assert!(!answer.failed, "{}", answer.text);
    assert!(answer.text.starts_with("qmshutdown 100 on lab/alder ended OK"), "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_by_bare_id_waits_for_every_cluster() {
    let estate = Estate::start("agent").await;
    let silence = |on| estate.sim.levers().node_offline("edge", "alder", on).unwrap();
    silence(true);
    // Only lab has 125, as far as anybody can tell now.
    let text = estate.failure("guest_power", json!({"guest": "125", "action": "start"})).await;
    assert!(text.contains("edge cannot be asked"), "{text}");
    assert!(text.contains("unreachable: edge"), "{text}");
    estate.text("guest_power", json!({"guest": "lab/125", "action": "start"})).await;
    silence(false);
    wait_for("edge to be asked again", Duration::from_secs(30), async || {
        let answer = estate.ask("guest_power", json!({"guest": "125", "action": "stop"})).await;
        if answer.failed { Progress::Pending(answer.text) } else { Progress::Ready(()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_without_quorum_and_a_token_without_the_right_say_so() {
    let estate = Estate::start("agent").await;
    estate.sim.levers().quorum_lost("lab", true).unwrap();
    let text = estate.failure("guest_power", json!({"guest": "lab/125", "action": "start"})).await;
    assert!(text.contains("quorum"), "{text}");
    let estate = Estate::start("readonly").await;
    let text = estate.failure("guest_power", json!({"guest": "lab/125", "action": "start"})).await;
    assert!(text.contains("VM.PowerMgmt"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_away_cannot_start_its_guests() {
    let estate = Estate::start("agent").await;
    estate.sim.levers().node_offline("lab", "cedar", true).unwrap();
    let text = estate.failure("guest_power", json!({"guest": "lab/108", "action": "start"})).await;
    assert!(text.contains("cedar"), "{text}");
    assert!(text.contains("nodes_list"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_is_locked_is_left_alone() {
    let estate = Estate::of(SimConfig::fast().with_task_speed(0.4), "agent", 16 * 1024).await;
    let create = json!({"guest": "lab/100", "name": "a1"});
    let create = estate.ask("snapshot_create", create);
    let stop = async {
        let running = json!({"cluster": "lab", "state": "running"});
        wait_for("the snapshot to begin", Duration::from_secs(30), async || {
            let tasks = estate.ask("tasks_list", running.clone()).await;
            if tasks.text.contains(":qmsnapshot:100:") {
                Progress::Ready(())
            } else {
                Progress::Pending(tasks.text)
            }
        })
        .await;
        estate.failure("guest_power", json!({"guest": "lab/100", "action": "stop"})).await
    };
    let (created, stopped) = tokio::join!(create, stop);
    assert!(!created.failed, "{}", created.text);
    expect![[r#"
        stop of lab/100 web-01 was not tried: it is locked (snapshot): something is at work on it, or was broken off
        note: look at its running tasks, and try again when they are done
        next: tasks_list {"guest":"lab/100","state":"running"}"#]].assert_eq(&stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_older_release_does_the_same() {
    let config = SimConfig::fast().with_pve_release(PveRelease::V8_4);
    let estate = Estate::of(config, "agent", 16 * 1024).await;
    estate.text("guest_power", json!({"guest": "lab/125", "action": "start"})).await;
    estate.text("guest_power", json!({"guest": "lab/104", "action": "stop"})).await;
    estate.text("snapshot_create", json!({"guest": "lab/125", "name": "a1"})).await;
    estate.text("tasks_list", json!({"guest": "lab/125"})).await;
    estate.text("check_node_health", json!({})).await;
}

/// Seconds of a run become `AGE`.
fn seconds(text: &str) -> String {
    let text = steady(text);
    let words = text.split(' ').map(|word| match word.parse::<f64>() {
        Ok(_) => "AGE",
        Err(_) => word,
    });
    words.collect::<Vec<_>>().join(" ")
}
