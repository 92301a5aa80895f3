//! One power action for many guests.

use expect_test::expect;
use serde_json::json;

use crate::{
    estate::{Estate, steady},
    make::plan,
};

#[tokio::test(flavor = "multi_thread")]
async fn all_that_fit_are_changed_and_each_is_told() {
    let estate = Estate::start("agent").await;
    let args = json!({"action": "shutdown", "pool": "staging"});
    let planned = plan(&estate, "guests_power", args.clone()).await;
    assert!(!planned.failed, "{}", planned.text);
    let text = steady(&planned.text);
    let text =
        text.lines().filter(|line| !line.starts_with("digest: ")).collect::<Vec<_>>().join("\n");
    expect![[r#"
        plan of the shutdown of 5 guests (pool staging): 5 calls; nothing was done
        access: operate
        undo: guests_power {"action":"start","guests":"lab/120,lab/121,lab/122,lab/138,lab/139"}
        decision: allow (operate): line `operate` allows it: tier operate, target lab/120
        member call parameters
        lab POST_/nodes/birch/qemu/120/status/shutdown -
        lab POST_/nodes/cedar/qemu/121/status/shutdown -
        lab POST_/nodes/alder/qemu/122/status/shutdown -
        lab POST_/nodes/cedar/lxc/138/status/shutdown -
        lab POST_/nodes/alder/lxc/139/status/shutdown -
        note: effect: shutdown: lab/120 stg-web-01, lab/121 stg-web-02, lab/122 stg-db, lab/138 stg-redis, lab/139 stg-proxy
        note: effect: left as they are: lab/123 (already stopped)"#]].assert_eq(&text);
    let tally = estate.text("guests_list", json!({"pool": "staging"})).await;
    assert!(tally.contains("5 running"), "{tally}");

    estate
        .sim
        .levers()
        .fail_next_task("lab", Some("qmshutdown"), "VM quit/powerdown failed - got timeout")
        .unwrap();
    let mut args = args;
    args["parallel"] = 1.into();
    let answer = estate.ask("guests_power", args.clone()).await;
    assert!(answer.failed, "{}", answer.text);
    expect![[r#"
        shutdown: 4 of 5 done (0 s); 1 failed; 1 were so already
        guest outcome name detail
        lab/120 failed stg-web-01 VM quit/powerdown failed - got timeout
        lab/121 done stg-web-02 -
        lab/122 done stg-db -
        lab/138 done stg-redis -
        lab/139 done stg-proxy -
        next: task_get {"upid":"UPID"}"#]]
    .assert_eq(&hide_upid(&steady(&answer.text)));
    assert_eq!(answer.object["done"], 4);
    // Again: only the one that is left.
    let answer = estate.ask("guests_power", args).await;
    assert!(!answer.failed, "{}", answer.text);
    expect![[r#"
        shutdown: 1 of 1 done (0 s); 5 were so already
        guest outcome name detail
        lab/120 done stg-web-01 -"#]]
    .assert_eq(&hide_upid(&steady(&answer.text)));
}

fn hide_upid(text: &str) -> String {
    let hide = |word: &str| match word.find("UPID:") {
        Some(at) => format!("{}UPID\"}}", &word[..at]),
        None => word.to_owned(),
    };
    text.split(' ').map(hide).collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_meant_is_not_touched() {
    let estate = Estate::start("agent").await;
    let mut answers = String::new();
    for args in [
        json!({"action": "stop"}),
        json!({"action": "stop", "tag": "nope"}),
        json!({"action": "stop", "cluster": "lab", "limit": 10}),
        json!({"action": "stop", "guests": "lab/100,104"}),
        json!({"action": "stop", "node": "alder"}),
    ] {
        let text = estate.failure("guests_power", args).await;
        answers.push_str(text.lines().take(4).collect::<Vec<_>>().join("\n").as_str());
        answers.push_str("\n\n");
    }
    for args in [
        json!({"action": "start", "guests": "lab/100, lab/101"}),
        json!({"action": "resume", "cluster": "edge", "kind": "vm"}),
    ] {
        answers.push_str(&steady(&estate.text("guests_power", args).await));
        answers.push_str("\n\n");
    }
    expect![[r#"
        nothing says which guests are meant
        note: give guests, or filter by cluster, node, kind, status, tag, pool or text
        next: guests_list {}

        no guest has the tag `nope`
        note: tags in use: db, dev, infra, k8s, lab, legacy, office, prod, protected, staging, template, web

        stop was not tried: 38 guests fit, and no more than 10 are changed at once
        guest name status
        lab/100 web-01 running
        lab/101 web-02 running

        `104` fits 2 guests
        guest name status
        edge/104 print-server stopped
        lab/104 db-main running

        node `alder` is in 2 clusters
        node status
        edge/alder online
        lab/alder online

        start: nothing was done; 2 were so already

        resume: nothing was done; 2 left alone; 5 were so already
        guest outcome name detail
        edge/104 refused print-server it is stopped, not suspended (use start)
        edge/105 refused test-vm it is stopped, not suspended (use start)

    "#]].assert_eq(&answers);
}

#[tokio::test(flavor = "multi_thread")]
async fn ha_is_asked_and_silence_is_said() {
    let estate = Estate::start("agent").await;
    let answer =
        estate.ask("guests_power", json!({"action": "stop", "guests": "lab/104,lab/105"})).await;
    assert!(!answer.failed, "{}", answer.text);
    assert_eq!(answer.object["done"], 2, "{}", answer.text);
    estate.sim.levers().node_offline("edge", "alder", true).unwrap();
    let answer = estate.ask("guests_power", json!({"action": "start", "tag": "db"})).await;
    assert!(!answer.failed, "{}", answer.text);
    assert!(answer.text.contains("unreachable: edge ("), "{}", answer.text);
    assert_eq!(answer.object["done"], 2, "{}", answer.text);
    let estate = Estate::start("readonly").await;
    let answer = estate.ask("guests_power", json!({"action": "stop", "guests": "lab/100"})).await;
    assert!(answer.failed && answer.text.contains("VM.PowerMgmt"), "{}", answer.text);
}
