//! Tasks: listed over the whole estate, read, and waited for.

use expect_test::expect;
use proxmox_sim::TaskSpec;
use serde_json::{Value, json};

use crate::estate::{Answer, Estate, steady};

fn rows(answer: &Answer) -> Vec<Value> {
    assert!(!answer.failed, "{}", answer.text);
    answer.object["tasks"]["rows"].as_array().expect("rows").clone()
}

fn of(rows: &[Value], column: usize) -> Vec<&str> {
    rows.iter().map(|row| row[column].as_str().unwrap_or_default()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_all_members_newest_first() {
    let estate = Estate::start("agent").await;
    let answer = estate.ask("tasks_list", json!({})).await;
    let all = rows(&answer);
    assert_eq!(all.len(), 25);
    for key in ["lab", "edge", "vault"] {
        assert!(of(&all, 0).contains(&key), "{key}: {}", answer.text);
    }
    let started = of(&all, 2);
    assert!(started.is_sorted_by(|a, b| a >= b), "{started:?}");
    assert!(answer.text.contains("note: recent tasks only"), "{}", answer.text);
    let answer = estate.ask("tasks_list", json!({"cluster": "vault", "state": "failed"})).await;
    let text = steady(&answer.text);
    assert!(
        text.contains("failed: verification failed - please check the log for details"),
        "{text}"
    );
    assert_eq!(of(&rows(&answer), 0), ["vault"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_reach_the_archives() {
    let estate = Estate::start("agent").await;
    let answer = estate.ask("tasks_list", json!({"cluster": "lab", "state": "failed"})).await;
    let failed = rows(&answer);
    assert!(failed.len() >= 3, "{}", answer.text);
    assert!(of(&failed, 4).contains(&"job errors"), "{}", answer.text);
    assert!(of(&failed, 4).contains(&"startup for container '141' failed"), "{}", answer.text);
    let answer = estate.ask("tasks_list", json!({"guest": "lab/108"})).await;
    let of_guest = rows(&answer);
    assert_eq!(of_guest.len(), 1, "{}", answer.text);
    assert!(of(&of_guest, 1)[0].contains(":qmstart:108:anna@pve:"), "{}", answer.text);
    let answer = estate.ask("tasks_list", json!({"type": "aptupdate", "cluster": "lab"})).await;
    assert_eq!(of(&rows(&answer), 4), ["OK", "WARNINGS: 1"], "{}", answer.text);
    let answer = estate.ask("tasks_list", json!({"node": "cedar", "since": "5d"})).await;
    assert!(of(&rows(&answer), 1).iter().all(|upid| upid.starts_with("UPID:cedar:")));
    let text = estate.failure("tasks_list", json!({"node": "alder"})).await;
    assert!(text.contains("lab/alder") && text.contains("edge/alder"), "{text}");
    let text = estate.failure("tasks_list", json!({"since": "yesterday"})).await;
    assert!(text.contains("since `yesterday` is no time"), "{text}");
    let text = estate.text("tasks_list", json!({"cluster": "lab", "state": "running"})).await;
    expect!["no running tasks match"].assert_eq(&text);
    let levers = estate.sim.levers();
    levers.add_task("lab", "birch", &TaskSpec::running("qmigrate", "104")).unwrap();
    let answer = estate.ask("tasks_list", json!({"state": "running"})).await;
    assert_eq!(of(&rows(&answer), 4), ["running"], "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_join_without_gap_or_overlap() {
    let estate = Estate::start("agent").await;
    let mut args = json!({"cluster": "lab", "since": "30d", "limit": 4});
    let mut seen = Vec::new();
    loop {
        let answer = estate.ask("tasks_list", args).await;
        let page = rows(&answer);
        assert!(page.len() <= 4);
        seen.extend(page.iter().map(|row| row[1].as_str().unwrap().to_owned()));
        let next = answer.object.get("next").and_then(|next| next.as_array()).cloned();
        let Some(next) = next.unwrap_or_default().into_iter().next() else { break };
        assert_eq!(next["tool"], "tasks_list");
        args = next["args"].clone();
    }
    let whole =
        estate.ask("tasks_list", json!({"cluster": "lab", "since": "30d", "limit": 500})).await;
    let whole: Vec<_> =
        rows(&whole).iter().map(|row| row[1].as_str().unwrap().to_owned()).collect();
    assert!(whole.len() > 12);
    assert_eq!(seen, whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_do_not_depend_on_the_limit() {
    let estate = Estate::start("agent").await;
    let levers = estate.sim.levers();
    for args in [json!({}), json!({"since": "30d"}), json!({"state": "failed"})] {
        let mut known = Vec::new();
        for limit in [1, 3, 25, 100] {
            let mut args = args.clone();
            args["limit"] = limit.into();
            let answer = estate.ask("tasks_list", args).await;
            let lead = answer.text.lines().next().unwrap().to_owned();
            let total = answer.object["tasks"]["total"].clone();
            known.push((lead, total, answer.object["failed"].clone()));
        }
        let (lead, total, failed) = &known[0];
        assert!(lead.starts_with(&format!("{total} ")) && failed.is_u64(), "{lead}");
        assert!(known.iter().all(|other| other == &known[0]), "{known:?}");
    }
    // More than is ever read for one page, on a server that does not say how many it has.
    for _ in 0..250 {
        let failed = TaskSpec::finished("verificationjob", "main", "verification failed");
        levers.add_task("vault", "vault", &failed).unwrap();
    }
    let mut of_vault = json!({"cluster": "vault", "limit": 3});
    let answer = estate.ask("tasks_list", of_vault.clone()).await;
    let lead = answer.text.lines().next().unwrap();
    expect!["the newest 3 tasks, more exist; of those shown 3 failed"].assert_eq(lead);
    assert_eq!(answer.object["failed"], Value::Null);
    assert_eq!(answer.object["tasks"].get("total"), None);
    of_vault = answer.object["next"][0]["args"].clone();
    let answer = estate.ask("tasks_list", of_vault).await;
    let lead = answer.text.lines().next().unwrap();
    expect!["tasks 4 to 6, more exist; of those shown 3 failed"].assert_eq(lead);
    // The pages lead through to the end, and only there the number is known.
    let mut args = json!({"cluster": "vault", "limit": 60});
    let mut seen = std::collections::BTreeSet::new();
    let mut count = 0;
    loop {
        let answer = estate.ask("tasks_list", args).await;
        let page = rows(&answer);
        count += page.len();
        seen.extend(of(&page, 1).into_iter().map(str::to_owned));
        args = answer.object.get("next").map_or(Value::Null, |next| next[0]["args"].clone());
        if args.is_null() {
            assert_eq!(answer.object["tasks"]["total"], count, "{}", answer.text);
            break;
        }
    }
    assert!(count > 250 && seen.len() == count, "{count} rows, {} of them different", seen.len());
    // A node says how many it has.
    for _ in 0..250 {
        levers.add_task("lab", "birch", &TaskSpec::finished("qmstart", "104", "OK")).unwrap();
    }
    let answer = estate.ask("tasks_list", json!({"node": "birch", "limit": 3})).await;
    let total = answer.object["tasks"]["total"].as_u64().unwrap();
    assert!(total >= 250 && answer.text.starts_with(&format!("the newest 3 tasks of {total}\n")));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_task_wherever_it_is() {
    let estate = Estate::start("agent").await;
    let failed = estate.ask("tasks_list", json!({"guest": "lab/108"})).await;
    let upid = rows(&failed)[0][1].as_str().unwrap().to_owned();
    let answer = estate.ask("task_get", json!({"upid": upid})).await;
    assert!(!answer.failed, "{}", answer.text);
    assert_eq!(answer.object["status"], "failed");
    assert_eq!(answer.object["cluster"], "lab");
    let text = steady(&answer.text.replace(&upid, "UPID"));
    expect![[r"
        qmstart 108 on lab/cedar, begun AGE ago, failed: start failed: QEMU exited with code 1
        <<<untrusted log of UPID, last 2 of 2 lines
        kvm: -device vfio-pci,host=0000:01:00.0,id=hostpci0,bus=ich9-pcie-port-1,addr=0x0: vfio 0000:01:00.0: failed to open /dev/vfio/17: Device or resource busy
        TASK ERROR: start failed: QEMU exited with code 1
        untrusted>>>"]].assert_eq(&text);

    // Both clusters have a node called alder; only one knows the task.
    let levers = estate.sim.levers();
    let upid = levers.add_task("edge", "alder", &TaskSpec::finished("vzdump", "", "OK")).unwrap();
    let answer = estate.ask("task_get", json!({"upid": upid, "log_lines": 0})).await;
    assert_eq!(answer.object["cluster"], "edge", "{}", answer.text);
    // A backup server's, by its own grammar.
    let verify = estate.ask("tasks_list", json!({"cluster": "vault", "state": "failed"})).await;
    let upid = rows(&verify)[0][1].as_str().unwrap().to_owned();
    let answer = estate.ask("task_get", json!({"upid": upid, "log_lines": 2})).await;
    assert_eq!(answer.object["cluster"], "vault", "{}", answer.text);
    assert!(answer.text.contains("last 2 of 5 lines"), "{}", answer.text);
    // And what does not exist.
    let text = estate
        .failure(
            "task_get",
            json!({"upid": "UPID:cedar:00000001:00000001:6B033EDA:qmstart:1:root@pam:"}),
        )
        .await;
    expect![[r"
        lab does not know the task UPID:cedar:00000001:00000001:6B033EDA:qmstart:1:root@pam:
        note: old tasks are forgotten; tasks_list shows those that are kept"]]
    .assert_eq(&text);
    let text = estate
        .failure(
            "task_get",
            json!({"upid": "UPID:alder:00000001:00000001:6B033EDA:qmstart:1:root@pam:"}),
        )
        .await;
    expect!["no member of the estate knows the task UPID:alder:00000001:00000001:6B033EDA:qmstart:1:root@pam:"].assert_eq(&text);
    let text = estate.failure("task_get", json!({"upid": "UPID:alder"})).await;
    assert!(text.contains("not a UPID"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_ends_with_the_task_or_says_that_it_runs() {
    let estate = Estate::start("agent").await;
    let levers = estate.sim.levers();
    let cause = TaskSpec::finished("qmigrate", "104", "migration aborted");
    let upid = levers.add_task("lab", "birch", &cause).unwrap();
    let text = estate.failure("task_wait", json!({"upid": upid})).await;
    assert!(text.starts_with("qmigrate 104 on lab/birch failed: migration aborted"), "{text}");
    let upid = levers.add_task("lab", "birch", &TaskSpec::running("qmigrate", "104")).unwrap();
    let answer = estate.ask("task_wait", json!({"upid": upid, "timeout_s": 1})).await;
    assert!(!answer.failed, "{}", answer.text);
    assert_eq!(answer.object["status"], "running");
    assert_eq!(answer.object["next"][0]["args"]["upid"], upid);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_said() {
    let estate = Estate::start("agent").await;
    estate.sim.levers().node_offline("lab", "cedar", true).unwrap();
    let text = estate.text("tasks_list", json!({"state": "failed"})).await;
    assert!(text.contains("unreachable: lab/cedar"), "{text}");
    let estate = Estate::start("nothing").await;
    let text = estate.text("tasks_list", json!({"cluster": "lab"})).await;
    assert!(text.starts_with("no tasks match"), "{text}");
    assert!(text.contains("note: lab: the token has no privileges"), "{text}");
}
