//! The REST interface: every way in which a call ends.

use std::fmt::Write as _;

use expect_test::expect;
use gateway::Options;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::client::{Ask, ask, get, post};
use crate::support::{open, start};

const ECHO: &str = "/api/v1/tools/echo";

#[tokio::test]
async fn an_answer_is_the_structured_content_and_its_text() {
    let running = start(Options::default(), open()).await;
    let answer = post(ECHO, &json!({"text": "hello"})).send(running.address).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.json(), json!({"said": "hello", "who": "token:anybody", "text": "hello"}));
    let text = post(ECHO, &json!({"text": "hello"})).header("accept", "text/plain");
    assert_eq!(text.send(running.address).await.body, "hello");
    let either =
        post(ECHO, &json!({"text": "hello"})).header("accept", "application/json, text/plain, */*");
    assert!(either.send(running.address).await.json().is_object());
    // Programs write numbers as texts; what can be meant is taken.
    let mended = post(ECHO, &json!({"text": "hello", "times": "3"})).send(running.address).await;
    assert_eq!(mended.status, 200, "{mended:?}");

    let list = get("/api/v1/tools").send(running.address).await.json();
    let echo = &list["tools"][0];
    assert_eq!((&echo["name"], &echo["path"]), (&json!("echo"), &json!(ECHO)));
    assert!(echo["inputSchema"]["properties"]["text"].is_object(), "{echo}");
}

#[tokio::test]
async fn each_failure_has_a_status_and_a_type() {
    let running = start(Options::default(), open()).await;
    let raw = |body: &str| ask("POST", ECHO).header("content-type", "application/json").body(body);
    let fail = |word: &str| post("/api/v1/tools/fail", &json!({"word": word}));
    let asks: Vec<(&str, Ask)> = vec![
        ("not JSON", raw("{\"text\": ")),
        ("no object", raw("[1]")),
        (
            "a form",
            ask("POST", ECHO)
                .header("content-type", "application/x-www-form-urlencoded")
                .body("text=1"),
        ),
        ("an argument missing", post(ECHO, &json!({}))),
        ("an argument too many", post(ECHO, &json!({"text": "x", "txet": 1}))),
        ("an argument out of range", post(ECHO, &json!({"text": "x", "times": 10}))),
        ("no body", ask("POST", ECHO)),
        ("unknown tool", post("/api/v1/tools/ehco", &json!({}))),
        ("unknown path", get("/api/v2/tools")),
        ("wrong method on a tool", get(ECHO)),
        ("wrong method on the list", post("/api/v1/tools", &json!({}))),
        ("not found", fail("not_found")),
        ("ambiguous", fail("ambiguous")),
        ("unreachable", fail("unreachable")),
        ("refused", fail("forbidden")),
        ("failed", fail("other")),
        ("nobody to ask", post("/api/v1/tools/fail", &json!({"word": "nobody"}))),
        ("asks a person", post("/api/v1/tools/ask", &json!({}))),
        ("falls over", post("/api/v1/tools/panic", &json!({}))),
        ("unknown job", get("/api/v1/jobs/0815")),
    ];
    let mut table = String::new();
    for (what, ask) in asks {
        let answer = ask.send(running.address).await;
        let kind = answer.problem();
        let document = answer.json();
        let allow =
            answer.header("allow").map(|allow| format!(" allow {allow}")).unwrap_or_default();
        writeln!(
            table,
            "{what}: {} {kind}{allow}: {}",
            answer.status,
            document["detail"].as_str().unwrap()
        )
        .unwrap();
    }
    expect![[r#"
        not JSON: 400 malformed: the body is not JSON: EOF while parsing a value at line 1 column 9
        no object: 400 malformed: the body is JSON, but not an object
        a form: 415 media-type: the body is not declared as JSON
        an argument missing: 400 invalid-arguments: `text` is required (string)
        an argument too many: 400 invalid-arguments: `txet` (did you mean `text`?) is not an argument; known: text, times
        an argument out of range: 400 invalid-arguments: `times` is 10; the most is 9
        no body: 400 invalid-arguments: `text` is required (string)
        unknown tool: 404 no-such-tool: unknown tool ehco (did you mean echo?)
        unknown path: 404 no-such-path: there is nothing at this path
        wrong method on a tool: 405 method allow POST: this path takes POST
        wrong method on the list: 405 method allow GET: this path takes GET
        not found: 404 not-found: it did not work
        ambiguous: 400 ambiguous: it did not work
        unreachable: 504 unreachable: it did not work
        refused: 403 forbidden: it did not work
        failed: 502 tool-failed: it did not work
        nobody to ask: 409 consent-needed: it did not work
        asks a person: 409 consent-needed: Really?
        falls over: 500 internal: tool panic failed because of a fault in this server; its log has the details
        unknown job: 404 no-such-job: this caller has no job of this id
    "#]].assert_eq(&table);
}

#[tokio::test]
async fn the_document_tells_what_to_do() {
    let running = start(Options::default(), open()).await;
    let pretty =
        |answer: crate::client::Answer| serde_json::to_string_pretty(&answer.json()).unwrap();
    let asked = post("/api/v1/tools/ask", &json!({})).send(running.address).await;
    expect![[r#"
        {
          "type": "urn:proxmox-mcp:problem:consent-needed",
          "title": "a person has to agree first",
          "status": 409,
          "detail": "Really?",
          "hint": "nothing was done; call the tool from an MCP client that can ask the person at it",
          "questions": [
            "Really?"
          ]
        }"#]].assert_eq(&pretty(asked));
    let failed =
        post("/api/v1/tools/fail", &json!({"word": "not_found"})).send(running.address).await;
    expect![[r#"
        {
          "type": "urn:proxmox-mcp:problem:not-found",
          "title": "the estate does not have it",
          "status": 404,
          "detail": "it did not work",
          "result": {
            "error": "not_found"
          }
        }"#]]
    .assert_eq(&pretty(failed));
    let wrong = post(ECHO, &json!({"times": "many"})).send(running.address).await;
    expect![[r#"
        {
          "type": "urn:proxmox-mcp:problem:invalid-arguments",
          "title": "the arguments do not fit the tool",
          "status": 400,
          "detail": "`times` must be an integer, not \"many\"\n`text` is required (string)",
          "problems": [
            "`times` must be an integer, not \"many\"",
            "`text` is required (string)"
          ]
        }"#]]
    .assert_eq(&pretty(wrong));
}

#[tokio::test]
async fn long_work_is_a_job() {
    let running = start(Options::default(), open()).await;
    let answer = post("/api/v1/tools/job", &json!({})).send(running.address).await;
    assert_eq!((answer.status, answer.header("location")), (202, Some("/api/v1/jobs/4711")));
    assert_eq!(answer.json(), json!({"job": "4711", "text": "it goes on"}));
}

#[tokio::test]
async fn who_goes_away_stops_the_work() {
    let running = start(Options::default(), open()).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(&post("/api/v1/tools/wait", &json!({})).bytes()).await.unwrap();
    running.toy.until_waiting(1).await;
    drop(stream);
    running.toy.until_waiting(0).await;
}

#[tokio::test]
async fn answers_can_be_found_again_and_are_not_kept() {
    let running = start(Options::default(), open()).await;
    let own = get("/api/v1/tools").header("x-request-id", "n8n-42.7").send(running.address).await;
    assert_eq!(own.header("x-request-id"), Some("n8n-42.7"));
    for forged in ["a b", "x\u{7f}", &"x".repeat(65), "\"'<script>"] {
        let answer =
            get("/api/v1/tools").header("x-request-id", forged).send(running.address).await;
        let id = answer.header("x-request-id").unwrap_or("none");
        assert!(answer.status == 400 || (id != forged && id.len() == 32), "{forged}: {id}");
    }
    let answer = get("/nowhere").send(running.address).await;
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(answer.header(name), Some(value));
    }
}
