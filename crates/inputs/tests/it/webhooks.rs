//! Bodies of other makers, and how they are told apart.

use std::fmt::Write as _;

use event_core::{ComponentId, Event, Key};
use expect_test::{Expect, expect};
use inputs::{
    Identity, Origin,
    recognize::{
        json::{Mapping, Pointer},
        webhook::{Format, recognize},
    },
};
use proptest::prelude::*;
use serde_json::{Value, json};

pub(crate) fn with_origin<T>(run: impl FnOnce(&Origin<'_>) -> T) -> T {
    let source: ComponentId = "hook".parse().unwrap();
    let identity = Identity { cluster: "lab".parse().ok(), ..Identity::default() };
    run(&Origin::new(&source, "webhook", &identity, "2026-11-22T01:02:12Z".parse().unwrap()))
}

pub(crate) fn read(body: &[u8], format: &Format) -> Vec<Event> {
    with_origin(|origin| recognize(body, format, origin))
}

/// One paragraph per event. The keys that follow from subject and time are event-core's matter.
pub(crate) fn shown(events: &[Event]) -> String {
    let mut shown = String::new();
    for event in events {
        let _ = writeln!(
            shown,
            "{} {} {} at {}\n  {}",
            event.severity,
            event.kind,
            event.subject.address(),
            event.time,
            event.title,
        );
        if let Some(node) = &event.subject.node {
            let _ = writeln!(shown, "  on {node}");
        }
        for (name, value) in &event.labels {
            let _ = writeln!(shown, "  {name}: {value}");
        }
        for key in event.keys.iter().filter(|key| !matches!(key, Key::Subject { .. })) {
            let _ = writeln!(shown, "  {key}");
        }
    }
    shown
}

fn check(body: &Value, expect: &Expect) {
    let text = body.to_string();
    let events = read(text.as_bytes(), &Format::Auto);
    assert_eq!(events[0].raw.as_ref().unwrap().text, text, "the original is kept");
    expect.assert_eq(&shown(&events));
}

#[test]
fn gotify() {
    let message = format!("```\n{}\n```", crate::notifications::RUN);
    let body = json!({
        "title": "vzdump backup status (alder.lab.example): backup failed", "message": message, "priority": 9,
        "extras": {"client::display": {"contentType": "text/markdown"}},
    });
    check(
        &body,
        &expect![[r#"
        error backup.failed lab/node/alder at 2026-11-22T01:02:12Z
          vzdump backup status (alder.lab.example): backup failed
          on alder
          host: alder.lab.example
          v1:own:report:4b51381295ea8ffbe174d91d5b3dc41e
        info backup.finished lab/guest/104 at 2026-11-22T01:02:07Z
          backup of guest 104 (db main) finished
          on alder
          archive: vm/104/2026-11-22T01:00:02Z
          bytes: 1610612736
          seconds: 125
          v1:own:report:4b51381295ea8ffbe174d91d5b3dc41e
        error backup.failed lab/guest/105 at 2026-11-22T01:02:10Z
          backup of guest 105 failed: storage 'nas' is not online
          on alder
          bytes: 0
          seconds: 3
          v1:own:report:4b51381295ea8ffbe174d91d5b3dc41e
        error backup.failed lab/guest/106 at 2026-11-22T01:02:12Z
          backup of guest 106 (web) was not begun when the run ended
          on alder
          bytes: 0
          seconds: 0
          v1:own:report:4b51381295ea8ffbe174d91d5b3dc41e
    "#]],
    );
    // Three is what notice and unknown have in common.
    check(
        &json!({"title": "Load Media 'T1' request for drive 'lto'", "message": "```\nx\n```", "priority": 3}),
        &expect![[r#"
            notice tape.wanted lab at 2026-11-22T01:02:12Z
              Load Media 'T1' request for drive 'lto'
        "#]],
    );
    check(
        &json!({"title": "SMART error (SelfTest) detected on host: alder", "message": "x", "priority": 3}),
        &expect![[r#"
            error disk.failing lab at 2026-11-22T01:02:12Z
              SMART error (SelfTest) detected on host: alder
        "#]],
    );
}

#[test]
fn discord() {
    check(
        &json!({
            "username": "pve",
            "embeds": [{
                "title": "Verify Datastore 'main' failed", "description": "Job ID: v-1\nDatastore: main", "color": 15_158_332,
                "fields": [{"name": "Host", "value": "vault"}], "timestamp": "2026-11-22T01:00:00Z",
            }],
        }),
        &expect![[r#"
            error verify.failed lab/datastore/main/job/v-1 at 2026-11-22T01:00:00Z
              Verify Datastore 'main' failed
              v1:run:lab:v-1:124674
              v1:run:lab:v-1:124675
        "#]],
    );
    check(
        &json!({"content": "**Deploy done**\nall well"}),
        &expect![[r#"
        warning other.notification lab at 2026-11-22T01:02:12Z
          Deploy done
    "#]],
    );
}

#[test]
fn slack() {
    check(
        &json!({
            "text": "fallback &lt;a&gt; &amp;amp;",
            "blocks": [
                {"type": "header", "text": {"type": "plain_text", "text": "Replication Job: '105-0' failed"}},
                {"type": "section", "fields": [{"type": "mrkdwn", "text": "*Node* alder"}]},
            ],
        }),
        &expect![[r#"
            error replication.failed lab/guest/105 at 2026-11-22T01:02:12Z
              Replication Job: '105-0' failed
              v1:run:lab:105-0:124674
              v1:run:lab:105-0:124675
        "#]],
    );
    check(
        &json!({"text": "Pruning datastore 'main' successful"}),
        &expect![[r#"
        info prune.finished lab/datastore/main at 2026-11-22T01:02:12Z
          Pruning datastore 'main' successful
    "#]],
    );
}

#[test]
fn alertmanager() {
    let alert = |status: &str, name: &str| {
        json!({
            "status": status, "labels": {"alertname": name, "severity": "critical", "instance": "alder.lab.example:9100", "vmid": "104"},
            "annotations": {"summary": "no backup", "description": "for two days"},
            "startsAt": "2026-11-22T00:50:00Z", "endsAt": if status == "resolved" { "2026-11-22T01:00:00Z" } else { "0001-01-01T00:00:00Z" },
            "fingerprint": format!("{name}01"),
        })
    };
    let body = |status: &str| {
        json!({
            "version": "4", "groupKey": "{}", "truncatedAlerts": 0, "status": status, "receiver": "r", "groupLabels": {}, "commonLabels": {},
            "commonAnnotations": {}, "externalURL": "http://prom", "alerts": [alert(status, "BackupOld"), alert(status, "DiskFull")],
        })
    };
    check(
        &body("firing"),
        &expect![[r#"
            critical other.alert.backupold lab/guest/104 at 2026-11-22T00:50:00Z
              BackupOld: no backup
              on alder
              instance: alder.lab.example:9100
              status: firing
              vmid: 104
              v1:own:alert:4aebf5ecaa7638196b25c377b4756527
            critical other.alert.diskfull lab/guest/104 at 2026-11-22T00:50:00Z
              DiskFull: no backup
              on alder
              instance: alder.lab.example:9100
              status: firing
              vmid: 104
              v1:own:alert:079c9a501ff53bf36d06114fa91065f4
        "#]],
    );
    check(
        &body("resolved"),
        &expect![[r#"
            info other.alert.backupold lab/guest/104 at 2026-11-22T01:00:00Z
              BackupOld is over: no backup
              on alder
              instance: alder.lab.example:9100
              status: resolved
              vmid: 104
              v1:own:alert:4aebf5ecaa7638196b25c377b4756527
            info other.alert.diskfull lab/guest/104 at 2026-11-22T01:00:00Z
              DiskFull is over: no backup
              on alder
              instance: alder.lab.example:9100
              status: resolved
              vmid: 104
              v1:own:alert:079c9a501ff53bf36d06114fa91065f4
        "#]],
    );
    let [firing, resolved] = ["firing", "resolved"]
        .map(|status| read(body(status).to_string().as_bytes(), &Format::Auto));
    assert!(!firing[0].keys.is_disjoint(&resolved[0].keys), "an end belongs to its beginning");
    assert!(firing[0].keys.is_disjoint(&firing[1].keys) || firing[0].subject == firing[1].subject);
    assert_ne!(firing[0].fingerprint, firing[1].fingerprint);
}

#[test]
fn any_other_json() {
    check(
        &json!({"name": "UPS on battery", "level": "crit", "time": 1_795_309_300, "host": "alder"}),
        &expect![[r#"
            critical other.json lab/node/alder at 2026-11-22T01:01:40Z
              UPS on battery
              on alder
        "#]],
    );
    check(
        &json!([1, 2]),
        &expect![[r#"
        warning other.json lab at 2026-11-22T01:02:12Z
          [1,2]
    "#]],
    );
    check(
        &json!({}),
        &expect![[r#"
        warning other.json lab at 2026-11-22T01:02:12Z
          {}
    "#]],
    );
}

#[test]
fn json_by_a_mapping() {
    let pointer = |text: &str| text.parse::<Pointer>().unwrap();
    let mapping = Mapping {
        each: Some(pointer("/alarms")),
        title: vec![pointer("/what")],
        severity: vec![pointer("/how/bad")],
        severities: [("orange".to_owned(), event_core::Severity::Error)].into(),
        kind: vec![pointer("/type")],
        key: vec![pointer("/no")],
        correlation: vec![pointer("/alarm")],
        labels: [("room".to_owned(), pointer("/where/room"))].into(),
        ..Mapping::default()
    };
    let body = json!({"alarms": [
        {"what": "water", "how": {"bad": "orange"}, "type": "Leak!", "no": 7, "alarm": 3, "where": {"room": "B2"}},
        {"what": "disk", "how": {"bad": 4}, "type": "disk.failing", "no": 8, "alarm": 4},
        {"what": "disk", "how": {"bad": 4}, "type": "disk.failing", "no": 8, "alarm": 4},
    ]});
    let events = read(body.to_string().as_bytes(), &Format::Json(Box::new(mapping)));
    expect![[r#"
        error other.leak_ lab at 2026-11-22T01:02:12Z
          water
          room: B2
          v1:own:json:2082c159a87213e1f024e11bdb38ce3e
        warning disk.failing lab at 2026-11-22T01:02:12Z
          disk
          v1:own:json:0ee3f5995b5fb4706491e582d382b301
    "#]]
    .assert_eq(&shown(&events));
}

/// The hooks of one input, each of another cluster or node, say the same.
#[test]
fn two_clusters_that_say_the_same_in_the_same_words_are_two() {
    let alert = json!({
        "status": "firing", "labels": {"alertname": "DiskFull", "instance": "pve1:9100"},
        "startsAt": "2026-11-22T00:50:00Z", "fingerprint": "01",
    });
    let alerts = json!({"groupKey": "{}", "receiver": "r", "alerts": [alert]}).to_string();
    let alarm = Mapping { correlation: vec!["/alarm".parse().unwrap()], ..Mapping::default() };
    let alarm = Format::Json(Box::new(alarm));
    for (body, format) in [
        (alerts.as_str(), &Format::Auto),
        (r#"{"title": "UPS on battery", "time": 1795309300}"#, &Format::Auto),
        (r#"{"title": "UPS on battery"}"#, &Format::Auto),
        (r#"{"title": "UPS on battery", "id": 7}"#, &Format::Auto),
        (r#"{"title": "UPS on battery", "id": 7, "alarm": 3}"#, &alarm),
    ] {
        let heard = |cluster: &str, node: &str| {
            let source: ComponentId = "hook".parse().unwrap();
            let (cluster, node) = (cluster.parse().ok(), node.parse().ok());
            let identity = Identity { cluster, node, ..Identity::default() };
            let received = "2026-11-22T01:02:12Z".parse().unwrap();
            let origin = Origin::new(&source, "webhook", &identity, received);
            recognize(body.as_bytes(), format, &origin).remove(0)
        };
        let own = |event: &Event| -> Vec<Key> {
            event.keys.iter().filter(|key| matches!(key, Key::Own(_))).cloned().collect()
        };
        let (lab, again, edge) = (heard("lab", ""), heard("lab", ""), heard("edge", ""));
        assert_eq!((&lab.source_key, own(&lab)), (&again.source_key, own(&again)), "{body}");
        assert_ne!(lab.source_key, edge.source_key, "{body}");
        assert!(own(&lab).iter().all(|key| !edge.keys.contains(key)), "{body}: {:?}", own(&lab));
        // Two nodes of one cluster tell it twice, of one fact.
        let node = heard("lab", "alder");
        assert_ne!(lab.source_key, node.source_key, "{body}");
        assert_eq!(own(&lab), own(&node), "{body}");
    }
}

#[test]
fn no_json() {
    let text = b"\nTest notification\nThis is a test.\n";
    expect![[r#"
        info notification.test lab at 2026-11-22T01:02:12Z
          Test notification
    "#]]
    .assert_eq(&shown(&read(text, &Format::Auto)));
    let cut = br#"{"title": "x", "message": "#;
    let events = read(cut, &Format::Proxmox);
    assert_eq!(events[0].kind.as_str(), "other.notification");
    assert_eq!(events[0].raw.as_ref().unwrap().text.as_bytes(), cut);
}

#[test]
fn the_ways_of_one_notification_meet() {
    let title = "vzdump backup status (alder.lab.example): backup failed";
    let own = json!({
        "title": format!("{title} "), "message": "\nno such node\n", "severity": "error", "timestamp": 1_795_309_331,
        "fields": {"type": "vzdump", "hostname": "alder", "job-id": "backup-1f"},
    });
    let gotify = json!({"title": title, "message": "```\n\nno such node\n\n```", "priority": 9});
    let mail = format!(
        "Subject: {title}\r\nDate: Sun, 22 Nov 2026 01:02:11 +0000\r\n\r\n\r\nno such node\r\n"
    );
    let own = read(own.to_string().as_bytes(), &Format::Auto).remove(0);
    let gotify = read(gotify.to_string().as_bytes(), &Format::Auto).remove(0);
    let mail =
        with_origin(|origin| inputs::recognize::mail::recognize(mail.as_bytes(), origin)).remove(0);
    assert!(!own.keys.is_disjoint(&gotify.keys), "{:?} {:?}", own.keys, gotify.keys);
    assert!(!own.keys.is_disjoint(&mail.keys), "{:?} {:?}", own.keys, mail.keys);
}

#[test]
fn words_without_a_time_are_heard_each_time() {
    let at = |received: &str| {
        let source: ComponentId = "hook".parse().unwrap();
        let identity = Identity::default();
        let origin = Origin::new(&source, "webhook", &identity, received.parse().unwrap());
        recognize(br#"{"content": "backup done"}"#, &Format::Discord, &origin)[0].source_key.clone()
    };
    assert_ne!(at("2026-11-22T01:00:00Z"), at("2026-11-23T01:00:00Z"));
}

proptest! {
    #[test]
    fn bytes(data in proptest::collection::vec(any::<u8>(), 0..200)) {
        inputs::fuzzing::webhook_body(&data);
    }

    #[test]
    fn json_of_any_shape(
        name in "(title|message|severity|fields|timestamp|priority|embeds|content|blocks|text|attachments|alerts|groupKey|extras)",
        other in "(title|message|severity|fields|timestamp|embeds|content|blocks|text|attachments|alerts|receiver)",
        value in "(1|null|\"é\"|\\[\\]|\\{\\}|\\[1,\"a\",\\{\"title\":\"b\",\"labels\":\\{\"a\":\"b\"\\}\\},\\{\\}\\]|1e400|-1|\\{\"type\":\"vzdump\",\"a\":1\\})",
        last in "(1|\"vzdump backup status (a): \"|[0-9]{1,18}|\\[\\{\"fields\":\\[\\{\"name\":\"a\"\\}\\]\\}\\])",
    ) {
        let body = format!("{{\"{name}\":{value},\"{other}\":{last},\"message\":\"x\",\"title\":\"y\"}}");
        inputs::fuzzing::webhook_body(body.as_bytes());
    }
}
