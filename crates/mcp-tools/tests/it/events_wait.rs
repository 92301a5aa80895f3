//! Waiting for an event: what comes between two calls is not lost, and nobody waits for ever.

use std::{sync::Arc, time::Duration};

use event_core::{Kind, Severity, Subject};
use jiff::{SignedDuration, Timestamp};
use mcp_protocol::{CallContext, Caller};
use mcp_tools::{fleet::Fleet, report::Rendered, tool::Cx};
use serde_json::{Value, json};
use stdx::{Clock, SystemClock};

use crate::{estate::tool, fake_desk::FakeDesk};

/// A call without an estate: only the pipeline is asked.
struct Waiter {
    cx: Cx,
    desk: Arc<FakeDesk>,
    now: Timestamp,
}

impl Waiter {
    fn start() -> Self {
        let now = SystemClock.now();
        let desk = FakeDesk::sample(now);
        let fleet = Arc::new(Fleet::new(SystemClock::shared()));
        let mut cx = Cx::new(fleet, CallContext::detached(Caller::new("local:0")));
        cx.events = Some(desk.clone());
        Self { cx, desk, now }
    }

    fn hear(&self, kind: Kind) -> u64 {
        self.hear_of(kind, self.now)
    }

    fn hear_of(&self, kind: Kind, time: Timestamp) -> u64 {
        self.desk.hear("tasks", kind, Severity::Error, Subject::default(), time, "")
    }

    async fn wait(&self, args: Value) -> Rendered {
        wait(self.cx.clone(), args).await
    }
}

async fn wait(cx: Cx, args: Value) -> Rendered {
    let Value::Object(args) = args else { panic!("an object") };
    let ceiling = cx.ceiling;
    tool("events_wait").call(&cx, args).await.expect("an answer").render(ceiling)
}

fn places(answer: &Rendered) -> Vec<u64> {
    let rows = answer.structured["events"]["rows"].as_array().unwrap();
    rows.iter().map(|row| row[0].as_u64().unwrap()).collect()
}

fn next(answer: &Rendered) -> Value {
    answer.structured["next"][0]["args"].clone()
}

#[tokio::test(start_paused = true)]
async fn nothing_in_time_is_an_answer_that_goes_on() {
    let waiter = Waiter::start();
    let began = tokio::time::Instant::now();
    let answer = waiter.wait(json!({"kinds": ["gc.failed"], "timeout_s": 45})).await;
    assert_eq!(began.elapsed().as_secs(), 45);
    assert!(answer.text.starts_with("nothing was heard yet that fits"), "{}", answer.text);
    let args = next(&answer);
    assert_eq!(args, json!({"kinds": ["gc.failed"], "timeout_s": 45, "cursor": "6"}));
    // What came between the calls, and what did not fit.
    waiter.hear(Kind::NodeOnline);
    let failed = waiter.hear(Kind::GcFailed);
    waiter.hear(Kind::NodeOnline);
    let began = tokio::time::Instant::now();
    let answer = waiter.wait(args).await;
    assert_eq!((places(&answer), began.elapsed()), (vec![failed], Duration::ZERO));
    // And nothing twice.
    let mut args = next(&answer);
    args["timeout_s"] = 1.into();
    assert!(places(&waiter.wait(args).await).is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_heard_late_is_heard_all_the_same() {
    let waiter = Waiter::start();
    let args = next(&waiter.wait(json!({"timeout_s": 1})).await);
    // It happened before everything else, and a place is not a time.
    let late = waiter.hear_of(Kind::GcFailed, waiter.now - SignedDuration::from_hours(20));
    assert_eq!(places(&waiter.wait(args).await), [late]);
    let answer = waiter.wait(json!({"since": "15m"})).await;
    assert_eq!(places(&answer), [6]);
    assert!(next(&answer).get("since").is_none());
}

/// Words are findable only some time after they are heard, so they are looked for in what is heard.
#[tokio::test(start_paused = true)]
async fn words_are_looked_for_in_what_was_just_heard() {
    let waiter = Waiter::start();
    waiter.hear(Kind::NodeOnline);
    let failed = waiter.hear(Kind::GcFailed);
    let args = json!({"cursor": "6", "timeout_s": 1, "text": "RAW faile"});
    assert_eq!(places(&waiter.wait(args).await), [failed]);
    let args = json!({"cursor": "6", "timeout_s": 1, "text": "ailed"});
    assert!(places(&waiter.wait(args).await).is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_event_ends_the_wait() {
    let waiter = Waiter::start();
    let began = tokio::time::Instant::now();
    let args = json!({"kinds": ["gc"], "min_severity": "warning"});
    let waiting = tokio::spawn(wait(waiter.cx.clone(), args));
    tokio::time::sleep(Duration::from_secs(20)).await;
    waiter.hear(Kind::NodeOnline);
    let failed = waiter.hear(Kind::GcFailed);
    let answer = waiting.await.unwrap();
    assert_eq!(places(&answer), [failed]);
    assert!(began.elapsed() < Duration::from_secs(21), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_told_to_its_end_and_looked_for_at_a_pace() {
    let waiter = Waiter::start();
    let mut args = json!({"cursor": "6", "timeout_s": 2});
    for _ in 0..500 {
        waiter.hear(Kind::GcFailed);
    }
    let mut seen = Vec::new();
    loop {
        let answer = waiter.wait(args).await;
        let found = places(&answer);
        if found.is_empty() {
            break;
        }
        assert!(found.len() <= 30);
        seen.extend(found);
        args = next(&answer);
    }
    assert_eq!(seen, (7..=506).collect::<Vec<u64>>());
    // However often the pipeline says that it has something, nobody looks more than four times a second.
    let desk = waiter.desk.clone();
    let flood = tokio::spawn(async move {
        loop {
            desk.tell();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let before = waiter.desk.books().looks;
    waiter.wait(json!({"kinds": ["node"], "timeout_s": 10})).await;
    let looks = waiter.desk.books().looks - before;
    flood.abort();
    assert!((10..=50).contains(&looks), "{looks} looks");
}

#[tokio::test]
async fn a_cursor_of_another_list_is_refused() {
    let waiter = Waiter::start();
    let args = json!({"cursor": "1.2"});
    let Value::Object(args) = args else { panic!("an object") };
    let error = tool("events_wait").call(&waiter.cx, args).await.unwrap_err();
    assert!(error.message().contains("not from events_wait"), "{error}");
}
