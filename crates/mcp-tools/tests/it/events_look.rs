//! Events, incidents, silences and figures as they are shown.

use std::{collections::BTreeSet, sync::Arc};

use event_core::{Kind, Severity, Subject};
use expect_test::expect;
use jiff::SignedDuration;
use mcp_protocol::{CallContext, Outcome, ResourceBody};
use mcp_tools::{build_app, fleet::Fleet, tools::TOOLSETS};
use serde_json::{Value, json};

use crate::{
    estate::{Estate, steady},
    fake_desk::{BACKUP, FakeDesk},
    surface::options,
};

/// Without a pipeline nobody is told that nothing happened.
#[tokio::test]
async fn what_is_missing_is_said_by_each_of_them() {
    let fleet = Arc::new(Fleet::new(stdx::SystemClock::shared()));
    let app = build_app(fleet, &options("events")).unwrap();
    let cx = CallContext::detached(app.caller().clone());
    let args = json!({
        "incident": "0f", "silence": "a", "reason": "b", "until": "1h", "text": "c", "kinds": ["gc"],
    });
    let tools = TOOLSETS.iter().find(|toolset| toolset.name == "events").unwrap().tools;
    assert_eq!(tools.len(), 11);
    for tool in tools {
        let definition = tool.definition();
        let known = definition.input.build();
        let mut args = mcp_protocol::schema_object(args.clone());
        args.retain(|name, _| known["properties"].get(name).is_some());
        let outcome = app.call_tool(&cx, definition.name, args).await.unwrap();
        let Outcome::Failed(answer) = outcome else { panic!("{}", definition.name) };
        let text = answer.plain_text();
        assert!(text.contains("no events are heard here: no manager runs"), "{text}");
        assert!(text.contains("--with-events"), "{text}");
    }
    let resources = app.resources().unwrap();
    let read = resources.read(&cx, "proxmox://incidents").await.unwrap();
    let ResourceBody::Text(text) = &read[0].body else { panic!("text") };
    let document: Value = serde_json::from_str(text).unwrap();
    assert!(document["incidents"].is_null() && document["note"].is_string(), "{document}");
    for uri in ["proxmox://incident/0f1e", "proxmox://events/1"] {
        let error = resources.read(&cx, uri).await.unwrap_err();
        assert!(matches!(error, mcp_protocol::ResourceError::Unavailable { .. }), "{uri}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_found_by_what_they_are_about() {
    let estate = Estate::start("agent").await;
    let text = estate.text("events_search", json!({})).await;
    expect![[r#"
        6 events, newest first: AGE to AGE ago
        event time severity kind about source title
        6 TIME(AGE) notice auth.failed lab syslog "auth.failed lab"
        5 TIME(AGE) warning output.down - self "output.down"
        4 TIME(AGE) critical node.offline edge/alder tasks "node.offline edge/alder"
        3 TIME(AGE) info gc.finished vault tasks "gc.finished vault"
        2 TIME(AGE) error backup.failed lab/104 webhook "backup.failed lab/104 db-main"
        1 TIME(AGE) error backup.failed lab/104 tasks "backup.failed lab/104 db-main""#]]
    .assert_eq(&steady(&text));
    for (args, places) in [
        (json!({"guest": "lab/104"}), vec![2, 1]),
        (json!({"guest": "104", "source": "webhook"}), vec![2]),
        (json!({"cluster": "edge"}), vec![4]),
        (json!({"node": "edge/alder"}), vec![4]),
        (json!({"kinds": ["gc", "output.down"]}), vec![5, 3]),
        (json!({"min_severity": "error"}), vec![4, 2, 1]),
        (json!({"since": "60m"}), vec![6, 5, 4]),
        (json!({"until": "150m"}), vec![2, 1]),
        (json!({"incident": "0f1e"}), vec![2, 1]),
        (json!({"text": "gc"}), vec![3]),
    ] {
        let answer = estate.ask("events_search", args.clone()).await;
        let rows = answer.object["events"]["rows"].as_array().unwrap();
        let found: Vec<u64> = rows.iter().map(|row| row[0].as_u64().unwrap()).collect();
        assert_eq!(found, places, "{args}: {}", answer.text);
    }
    // A name that nothing has is no question with an empty answer.
    let text = estate.failure("events_search", json!({"cluster": "labb"})).await;
    assert!(text.contains("no cluster or backup server is called `labb`"), "{text}");
    estate.failure("events_search", json!({"guest": "web"})).await;
    estate.failure("events_search", json!({"cursor": "nonsense"})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_have_every_event_once_however_small_the_answer_is() {
    let mut estate = Estate::start("agent").await;
    let desk = FakeDesk::empty(estate.cx.now());
    let subject = Subject { cluster: Some("lab".parse().unwrap()), ..Subject::default() };
    for at in 0..100_i64 {
        let time = estate.cx.now() - SignedDuration::from_mins(200 - at);
        desk.hear("tasks", Kind::TaskFailed, Severity::Error, subject.clone(), time, "");
    }
    estate.cx.events = Some(desk);
    estate.cx.ceiling = 3000;
    let mut args = json!({"limit": 40});
    let mut seen = BTreeSet::new();
    let mut pages = 0;
    loop {
        let answer = estate.ask("events_search", args).await;
        assert!(!answer.failed, "{}", answer.text);
        let rows = answer.object["events"]["rows"].as_array().unwrap();
        assert!(!rows.is_empty() && rows.len() < 40, "{}", answer.text);
        assert!(!answer.text.contains("narrow the question"), "{}", answer.text);
        for row in rows {
            assert!(seen.insert(row[0].as_u64().unwrap()), "{row} twice");
        }
        pages += 1;
        let Some(next) = answer.object.get("next") else { break };
        args = next[0]["args"].clone();
    }
    assert_eq!((seen.len(), seen.last()), (100, Some(&100)), "in {pages} pages");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_event_is_shown_whole_and_marked() {
    let estate = Estate::start("agent").await;
    let answer = estate.ask("events_search", json!({"event": "2"})).await;
    expect![[r#"
        event 2: backup.failed, error, heard by webhook
        title: "backup.failed lab/104 db-main"
        about: lab/104
        time: TIME(AGE)
        heard: TIME(AGE)
        <<<untrusted message of event 2
        job failed: no space left on vault
        untrusted>>>
        <<<untrusted original of event 2
        raw of backup.failed lab/104 db-main
        untrusted>>>"#]]
    .assert_eq(&steady(&answer.text));
    let event = &answer.object["event"];
    assert_eq!((&event["seq"], &event["subject"]["vmid"]), (&json!(2), &json!(104)));
    assert!(event["raw"].is_null() && event["message"].is_null(), "{event}");
    let id = event["id"].as_str().unwrap();
    let again = estate.text("events_search", json!({"event": id})).await;
    assert!(again.starts_with("event 2: "), "{again}");
    estate.failure("events_search", json!({"event": "77"})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_has_its_timeline() {
    let mut estate = Estate::start("agent").await;
    let text = estate.text("incidents_list", json!({})).await;
    expect![[r#"
        3 open incidents
        incident status severity kind about opened updated reports acknowledged title
        aa1e2d3c open critical node.offline edge/alder TIME(AGE) TIME(AGE) 2 - "node.offline it says"
        0f1e2d3c open error backup.failed lab/104 TIME(AGE) TIME(AGE) 2 - "backup of 104 failed"
        bb1e2d3c open warning output.down - TIME(AGE) TIME(AGE) 2 - "output.down it says"
        next: incident_get {"incident":"aa1e2d3c"}"#]]
    .assert_eq(&steady(&text));
    let text = estate.text("incident_get", json!({"incident": "0f1e"})).await;
    expect![[r#"
        incident 0f1e2d3c: open, error backup.failed, 2 reports, for AGE
        title: "backup of 104 failed"
        about: lab/104
        opened: TIME(AGE)
        updated: TIME(AGE)
        told: TIME(AGE)
        severity kind about began last times over title
        error backup.failed lab/104 TIME(AGE) TIME(AGE) 1 - "backup of 104 failed"
        output held_by
        discord "quiet hours"
        source reports
        tasks 1
        webhook 1
        at what by event kind about title
        TIME(AGE) opened - - - - -
        TIME(AGE) report tasks 1 error:backup.failed lab/104 "backup.failed lab/104 db-main"
        TIME(AGE) report webhook 2 error:backup.failed lab/104 "backup.failed lab/104 db-main"
        TIME(AGE) told - - - - -
        <<<untrusted message of event 2
        job failed: no space left on vault
        untrusted>>>
        next: incident_acknowledge {"incident":"0f1e2d3c"}"#]]
    .assert_eq(&steady(&text));
    estate.text("incident_acknowledge", json!({"incident": BACKUP})).await;
    estate.text("incident_resolve", json!({"incident": BACKUP})).await;
    let answer = estate.ask("incident_get", json!({"incident": "0f1e"})).await;
    let rows = answer.object["timeline"]["rows"].as_array().unwrap();
    let what: Vec<&str> = rows.iter().map(|row| row[1].as_str().unwrap()).collect();
    assert_eq!(what, ["opened", "report", "report", "told", "acknowledged", "closed", "resolved"]);
    assert_eq!(rows[4][2], "local:0", "{}", answer.text);
    let over = estate.text("incidents_list", json!({"state": "over"})).await;
    assert!(over.starts_with("1 incident, 0 of them open"), "{over}");
    let text = estate.failure("incident_get", json!({"incident": "ff"})).await;
    assert!(text.contains("cannot find incident `ff`: there is none of that name"), "{text}");
    assert!(text.contains("next: incidents_list"), "{text}");
    // Nothing is wrong is said by a pipeline alone.
    estate.cx.events = Some(FakeDesk::empty(estate.cx.now()));
    assert_eq!(estate.text("incidents_list", json!({})).await, "no incident is open");
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_say_how_those_who_hear_and_tell_are() {
    let estate = Estate::start("agent").await;
    let text = estate.text("events_stats", json!({})).await;
    expect![[r#"
        6 events since AGE ago, 3 of them error or worse
        kind severity events
        backup.failed error 2
        auth.failed notice 1
        gc.finished info 1
        node.offline critical 1
        output.down warning 1
        source events
        self 1
        syslog 1
        tasks 3
        webhook 1
        input kind heard lost last alive error
        tasks tasks 3 0 TIME(AGE) TIME(AGE) -
        syslog syslog 3 7 TIME(AGE) TIME(AGE) -
        output kind told pending oldest dead failing_since error
        discord discord 2 0 - 1 - "429 'slow down'"
        mail mail 2 0 - 1 - "429 'slow down'"
        note: 7 reports were lost and cannot be brought back
        note: 2 messages could not be told: `proxmox-mcp events dead` lists them"#]]
    .assert_eq(&steady(&text));
    let text = estate.text("events_stats", json!({"since": "1h", "cluster": "lab"})).await;
    assert!(text.starts_with("1 event since "), "{text}");
    let text = estate.text("silences_list", json!({})).await;
    expect![[r#"
        1 silence
        silence until author when reason
        disk_swap TIME(in_60m) local:1000 "event.node_==_'cedar'" "a disk is swapped""#]]
    .assert_eq(&steady(&text));
}
