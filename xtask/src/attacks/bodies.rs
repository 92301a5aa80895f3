//! Bodies and heads that are too large, no JSON, or two things at once.

use anyhow::{Result, ensure};
use serde_json::json;

use super::raw::{Ask, chunked};
use super::{Report, Target};

/// `http.max_body_bytes`, unless the settings say otherwise.
const LIMIT: usize = 4 * 1024 * 1024;
/// How often what is too large comes again.
const AGAIN: usize = 20;

pub(super) fn run(target: &Target, report: &mut Report) -> Result<()> {
    report.part("bodies");
    let token = target.token("bodies");
    for (kind, path) in [("MCP", "/mcp"), ("REST", "/api/v1/tools/guests_list")] {
        let ask = || {
            let ask =
                Ask::new("POST", path).bearer(token).header("content-type", "application/json");
            ask.header("accept", "application/json, text/event-stream")
        };
        let large = vec![b' '; LIMIT + 1];
        let answer = target.send(ask().body(large.clone()))?;
        report.answer(&format!("{kind}: a byte over the limit"), &answer, 413, &["larger than"]);
        let announced = ask().header("content-length", "9999999999");
        let answer = target.send(announced)?;
        report.answer(&format!("{kind}: ten gigabytes announced"), &answer, 413, &["larger than"]);
        let pieces = chunked(large.chunks(64 * 1024));
        let answer = target.send(ask().header("transfer-encoding", "chunked").body(pieces))?;
        report.answer(&format!("{kind}: over the limit in chunks"), &answer, 413, &["larger than"]);
        let answer = target.send(ask().body("{\"jsonrpc\": \"2.0\", "))?;
        report.answer(&format!("{kind}: broken JSON"), &answer, 400, &["not JSON"]);
        let answer = target.send(ask().body(&b"{\"a\": \"\xff\xfe\"}"[..]))?;
        report.answer(&format!("{kind}: JSON that is no UTF-8"), &answer, 400, &["not JSON"]);
        let answer = target.send(ask().body("[".repeat(100_000)))?;
        report.answer(
            &format!("{kind}: lists in lists, 100,000 deep"),
            &answer,
            400,
            &["recursion limit"],
        );
        let answer = target.send(ask().body("[]"))?;
        report.answer(&format!("{kind}: a list instead of an object"), &answer, 400, &[]);
        let text = Ask::new("POST", path).bearer(token).header("content-type", "text/plain");
        let text = text.header("accept", "application/json, text/event-stream").body("{\"a\": 1}");
        report.answer(
            &format!("{kind}: JSON that is called text"),
            &target.send(text)?,
            415,
            &["JSON"],
        );
    }

    let tool = || Ask::tool("guests_list", &json!({"limit": 1})).bearer(token);
    let twice = tool().header("content-length", "2").header("content-length", "11");
    report.answer("Content-Length twice, 2 and 11", &target.send(twice)?, 400, &[]);
    let plus = tool().header("content-length", "+11");
    report.answer("Content-Length: +11", &target.send(plus)?, 400, &[]);
    // A proxy that goes by the length would take what follows for a request of its own.
    let smuggled = chunked([&b"{\"limit\": 1}"[..]]);
    let both =
        tool().header("content-length", "4").header("transfer-encoding", "chunked").body(smuggled);
    let answer = target.send(both)?;
    let one =
        answer.head.matches("HTTP/1.1").count() + answer.body.matches("HTTP/1.1").count() == 1;
    let got = format!("{}; {}", answer.summary(), if one { "one answer" } else { "two answers" });
    report.case(
        "Content-Length and Transfer-Encoding",
        &got,
        one && matches!(answer.status, 200 | 400),
    );
    let coded = tool().header("transfer-encoding", "gzip");
    report.answer("Transfer-Encoding: gzip", &target.send(coded)?, 400, &[]);
    let chunk = tool().header("transfer-encoding", "chunked").body("fffffffffffffffff\r\n");
    report.answer("a chunk whose size no number holds", &target.send(chunk)?, 400, &[]);
    let head = tool().header("x-filler", &"x".repeat(256 * 1024));
    report.answer("a head of 256 KiB", &target.send(head)?, 431, &[]);
    let many = (0..200).fold(tool(), |ask, index| ask.header(&format!("x-{index}"), "1"));
    report.answer("two hundred headers", &target.send(many)?, 431, &[]);
    let garbage = Ask::new("\u{1}\u{2}", "/mcp");
    report.answer("no HTTP at all", &target.send(garbage)?, 400, &[]);
    let path = Ask::new("GET", "/api/v1/../../etc/passwd").bearer(token);
    report.answer("a path that climbs", &target.send(path)?, 404, &[]);
    let path =
        Ask::new("POST", "/api/v1/tools/guests_list%2f..%2fx").json(&json!({})).bearer(token);
    report.answer("a tool whose name is a path", &target.send(path)?, 404, &[]);
    Ok(())
}

/// Sends what is too large over and over.
pub(super) fn again(target: &Target) -> Result<()> {
    let large = vec![b' '; LIMIT + 1];
    for _ in 0..AGAIN {
        for path in ["/mcp", "/api/v1/tools/guests_list"] {
            let pieces = chunked(large.chunks(64 * 1024));
            let ask = Ask::new("POST", path).bearer(target.token("bodies"));
            let ask = ask.header("content-type", "application/json").body(pieces);
            let answer = target.send(ask.header("transfer-encoding", "chunked"))?;
            ensure!(answer.status == 413, "a body over the limit got {}", answer.summary());
        }
    }
    Ok(())
}
