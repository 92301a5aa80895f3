//! Names and pages that the server does not know: what a web page in somebody's browser could send.

use anyhow::Result;
use serde_json::json;

use super::raw::Ask;
use super::{Report, Target};

const EVIL: &str = "evil.example";
const EVIL_PAGE: &str = "http://evil.example";

pub(super) fn run(target: &Target, report: &mut Report) -> Result<()> {
    report.part("Host and Origin");
    let token = target.token("doors");
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    let mcp = || Ask::mcp(&ping).bearer(token);
    let own = format!("http://{}", target.address);
    let tool = || Ask::tool("fleet_overview", &json!({})).bearer(token);
    let text = || tool().header("content-type", "text/plain");
    for (what, ask, status) in [
        ("foreign Host", mcp().host(EVIL), 403),
        ("foreign Host with our port", mcp().host(&format!("{EVIL}:8808")), 403),
        ("foreign Origin", mcp().header("origin", EVIL_PAGE), 403),
        ("both", mcp().host(EVIL).header("origin", EVIL_PAGE), 403),
        ("a page at another port of ours", mcp().header("origin", "http://127.0.0.1:1"), 403),
        ("Origin: null", mcp().header("origin", "null"), 403),
        ("foreign Host, by REST", tool().host(EVIL), 403),
        ("foreign Origin, by REST", tool().header("origin", EVIL_PAGE), 403),
        (
            "foreign Origin, as a form that needs no preflight",
            text().header("origin", EVIL_PAGE),
            403,
        ),
        (
            "foreign Host, for the metadata",
            Ask::new("GET", "/.well-known/oauth-protected-resource").host(EVIL),
            403,
        ),
        ("foreign Host with no token", Ask::new("GET", "/metrics").host(EVIL), 403),
    ] {
        report.answer(what, &target.send(ask)?, status, &["not-allowed-here"]);
    }
    let ours = target.send(tool().header("origin", &own))?;
    report.answer("a page that came from here", &ours, 200, &["guests"]);
    let preflight = Ask::new("OPTIONS", "/mcp").header("origin", EVIL_PAGE);
    let preflight = preflight.header("access-control-request-method", "POST");
    let answer = target.send(preflight)?;
    let silent = answer.header("access-control-allow-origin").is_none();
    let got = format!(
        "{}; access-control-allow-origin: {}",
        answer.summary(),
        if silent { "none" } else { "said" }
    );
    report.case("a foreign page's preflight", &got, answer.status == 403 && silent);
    report.answer("no Host", &target.send(tool().host(""))?, 403, &["not-allowed-here"]);
    let twice = tool().header("host", EVIL);
    report.answer("two of Host", &target.send(twice)?, 403, &["not-allowed-here"]);
    Ok(())
}
