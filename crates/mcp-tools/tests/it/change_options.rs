//! Options of guests: what changes, what waits, what is refused before anything is sent.

use expect_test::expect;
use serde_json::{Value, json};

use crate::{
    estate::{Answer, Estate, steady},
    make::plan,
};

/// The text without what is another in every run.
pub(crate) fn quiet(text: &str) -> String {
    let text = steady(text);
    let lines = text.lines().map(|line| {
        let words = line.split(' ').map(|word| {
            let is_digest = word.strip_prefix("digest=").unwrap_or(word).len() == 40
                && word.strip_prefix("digest=").is_some();
            if is_digest { "digest=DIGEST" } else { word }
        });
        let line = words.collect::<Vec<_>>().join(" ");
        match line.split_once("digest: sha256:") {
            Some((before, _)) => format!("{before}digest: DIGEST"),
            None => line,
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

async fn config(estate: &Estate, guest: &str) -> String {
    estate.text("guest_get", json!({"guest": guest, "include": ["config"]})).await
}

fn good(answer: Answer) -> Answer {
    assert!(!answer.failed, "{}", answer.text);
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_diff_is_shown_and_what_waits_is_said() {
    let estate = Estate::start("operator").await;
    let args = json!({"guest": "lab/100", "set": {"cores": 6, "onboot": true, "tags": ["Web", "blue"], "description": "front"}});
    let before = config(&estate, "lab/100").await;
    let planned = good(plan(&estate, "guest_configure", args.clone()).await);
    expect![[r#"
        plan of the configuration of lab/100 web-01: 1 call; nothing was done
        access: operate
        undo: guest_configure {"guest":"lab/100","set":{"cores":4,"tags":"prod;web"},"delete":["description"]}
        digest: DIGEST
        decision: allow (operate): line `operate` allows it: tier operate, target lab/100
        member call parameters
        lab PUT_/nodes/alder/qemu/100/config cores=6 tags=web;blue description=front digest=DIGEST
        what before after
        cores 4 6
        tags prod;web web;blue
        description - front
        note: effect: what a running guest does not take at once waits until it is stopped and started
        note: onboot is so already"#]].assert_eq(&quiet(&planned.text));
    assert_eq!(config(&estate, "lab/100").await, before);
    let answer = good(estate.ask("guest_configure", args.clone()).await);
    expect![[r#"
        lab/100 web-01 is changed: cores 4 -> 6; tags prod;web -> web;blue; description - -> front; 1 of 3 take effect when the guest is stopped and started
        what state before after
        cores pending 4 6
        tags now prod;web web;blue
        description now - front
        note: onboot is so already
        next: guest_power {"guest":"lab/100","action":"reboot"}"#]].assert_eq(&quiet(&answer.text));
    assert_eq!(answer.object["pending"], 1, "{}", answer.text);
    assert_eq!(answer.object["next"][0]["tool"], "guest_power");
    // The same again changes nothing.
    let answer = good(estate.ask("guest_configure", args).await);
    assert_eq!(answer.object["status"], "unchanged", "{}", answer.text);
    // What waits can be dropped.
    let args = json!({"guest": "lab/100", "revert": ["cores"]});
    let answer = good(estate.ask("guest_configure", args).await);
    assert!(
        answer.text.contains("cores 6 -> 4") && answer.object["pending"] == 0,
        "{}",
        answer.text
    );
    // A guest that is off takes all of it at once.
    let args = json!({
        "guest": "lab/119", "set": {"cores": 3, "memory": 2048}, "delete": ["tags", "onboot,startup"],
    });
    let answer = good(estate.ask("guest_configure", args).await);
    assert_eq!(answer.object["pending"], 0, "{}", answer.text);
    assert!(answer.text.contains("startup is not set"), "{}", answer.text);
    let text = config(&estate, "lab/119").await;
    assert!(text.contains("cores: 3") && text.contains("memory: 2048"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_option_is_named_with_the_right_one() {
    let estate = Estate::start("operator").await;
    let fails = async |args: Value| estate.failure("guest_configure", args).await;
    let text = fails(json!({"guest": "lab/100", "set": {"corse": 6}})).await;
    assert!(text.contains("corse: there is no such parameter; did you mean cores?"), "{text}");
    let text = fails(json!({"guest": "lab/100", "set": {"cores": "many"}})).await;
    assert!(text.contains("cores:") && text.contains("was not tried"), "{text}");
    for (args, why) in [
        (json!({"guest": "lab/100", "set": {"skiplock": 1}}), "skiplock is no option"),
        (json!({"guest": "lab/100", "set": {"template": 1}}), "guest_template"),
        (json!({"guest": "lab/100", "delete": ["lock"]}), "qm unlock"),
        (
            json!({"guest": "lab/100", "set": {"cores": 2}, "delete": ["cores"]}),
            "both set and deleted",
        ),
        (json!({"guest": "lab/100", "set": {"name": "a b"}}), "cannot name a guest"),
        (json!({"guest": "lab/100", "set": {"cores": null}}), "has no value"),
        (json!({"guest": "lab/100"}), "nothing to change"),
        (json!({"guest": "100", "set": {"cores": 2}}), "100"),
        (json!({"guest": "lab/131", "set": {"name": "dns"}}), "name: there is no such parameter"),
    ] {
        let text = fails(args).await;
        assert!(text.contains(why), "{why}: {text}");
    }
    let upids = estate.text("tasks_list", json!({"cluster": "lab", "guest": "lab/100"})).await;
    assert!(!upids.contains("qmconfig"), "{upids}");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_not_shown_and_addresses_are_kept_in_mind() {
    let estate = Estate::start("operator").await;
    let args = json!({"guest": "lab/100", "set": {"cipassword": "kestrel-77", "ciuser": "ops", "net0": "virtio,bridge=vmbr0,tag=9"}});
    let planned = good(plan(&estate, "guest_configure", args.clone()).await);
    assert!(!planned.text.contains("kestrel"), "{}", planned.text);
    assert!(!Value::Object(planned.object.clone()).to_string().contains("kestrel"));
    assert!(planned.text.contains("warning mac: net0 gets a new MAC address"), "{}", planned.text);
    assert!(planned.text.contains("cloud-init:"), "{}", planned.text);
    let answer = good(estate.ask("guest_configure", args).await);
    assert!(
        !Value::Object(answer.object.clone()).to_string().contains("kestrel"),
        "{}",
        answer.text
    );
    // What a container was given is hidden in the diff, too.
    let args = json!({"guest": "lab/133", "delete": ["env"], "plan": true});
    let planned = good(plan(&estate, "guest_configure", args).await);
    assert!(!planned.text.contains("kestrel"), "{}", planned.text);
    assert!(planned.text.contains("a secret that was there is not known"), "{}", planned.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_by_somebody_else_is_not_overwritten() {
    let estate = Estate::start("operator").await;
    let levers = estate.sim.levers();
    let args = json!({"guest": "lab/105", "set": {"description": "ours"}});
    let action = crate::estate::tool("guest_configure").as_action().expect("an action");
    let plan = action.plan(&estate.cx, args.as_object().unwrap().clone()).await.expect("a plan");
    levers.set_option("lab", 105, "description", json!("theirs")).unwrap();
    let error = plan.execute(&estate.cx).await.expect_err("it is another one now").into_report();
    assert!(error.lead.contains("checksum mismatch"), "{}", error.lead);
    assert_eq!(error.facts["error"], "conflict");
    assert!(config(&estate, "lab/105").await.contains("theirs"));
    // And one that was read long ago is refused before it is sent.
    let args =
        json!({"guest": "lab/105", "set": {"description": "ours"}, "digest": "0".repeat(40)});
    let answer = estate.ask("guest_configure", args).await;
    assert!(answer.failed && answer.text.contains("somebody changed it"), "{}", answer.text);
    assert_eq!(answer.object["error"], "conflict");
    // Something that works on it holds it.
    levers.set_option("lab", 105, "lock", json!("backup")).unwrap();
    let args = json!({"guest": "lab/105", "set": {"cores": 2}});
    let text = estate.failure("guest_configure", args).await;
    assert!(text.contains("it is locked (backup)"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_is_taken_away_before_it_is_destroyed() {
    let estate = Estate::start("operator").await;
    let answer = estate
        .ask("guest_configure", json!({"guest": "lab/119", "set": {"scsi1": "local-lvm:8"}}))
        .await;
    let answer = good(answer);
    assert!(answer.object.contains_key("upid"), "{}", answer.text);
    let args = json!({"guest": "lab/119", "delete": ["scsi1"]});
    let planned = good(plan(&estate, "guest_configure", args.clone()).await);
    assert_eq!(planned.object["access"], "destroy", "{}", planned.text);
    assert!(planned.text.contains("stays as an unused disk"), "{}", planned.text);
    good(estate.ask("guest_configure", args).await);
    let args = json!({"guest": "lab/119", "delete": ["unused0"]});
    let planned = good(plan(&estate, "guest_configure", args.clone()).await);
    assert!(planned.text.contains("is destroyed, for good"), "{}", planned.text);
    good(estate.ask("guest_configure", args).await);
    let text = config(&estate, "lab/119").await;
    assert!(!text.contains("scsi1") && !text.contains("unused0"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_fails_and_a_token_that_may_not_are_told() {
    let estate = Estate::start("operator").await;
    estate.sim.levers().fail_next_task("lab", Some("qmconfig"), "no space left").unwrap();
    let text = estate
        .failure("guest_configure", json!({"guest": "lab/119", "set": {"scsi1": "local-lvm:8"}}))
        .await;
    assert!(text.contains("no space left"), "{text}");
    let estate = Estate::start("readonly").await;
    let text =
        estate.failure("guest_configure", json!({"guest": "lab/119", "set": {"cores": 7}})).await;
    assert!(text.contains("VM.Config") || text.contains("Permission"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snippet_that_the_api_cannot_bring_is_said_to_be_the_operators_work() {
    let estate = Estate::start("operator").await;
    let set = json!({"cicustom": "user=nas:snippets/web.yaml"});
    let text = plan(&estate, "guest_configure", json!({"guest": "lab/100", "set": set})).await.text;
    assert!(text.contains("warning snippets") && text.contains("takes no snippets"), "{text}");
    assert!(text.contains("is told when it is stopped and started"), "{text}");
}
