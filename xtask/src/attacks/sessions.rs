//! One caller who opens more sessions than there is room for, and one who guesses.

use std::net::TcpStream;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::raw::{Answer, Ask, connect};
use super::{Report, Target};

const REVISION: &str = "2025-11-25";
/// `http.sessions_per_principal`, unless the settings say otherwise.
const ROOM: usize = 32;
const TRIES: usize = 40;
/// Attempts a minute with a bad token from one address, and some more.
const GUESSES: usize = 30;

/// What the flood has left open.
pub(super) struct Flood {
    sessions: Vec<String>,
    /// The stream of the first of them, which is in use as long as it is open.
    _stream: TcpStream,
}

/// Opens sessions as one caller until there are no more, while another goes on.
pub(super) fn flood(target: &Target, report: &mut Report) -> Result<Flood> {
    report.part("sessions");
    let ours = open(target, "calm")?.header("mcp-session-id").map(str::to_owned);
    let ours = ours.context("the first session has no id")?;
    let mut sessions = Vec::new();
    let mut refused = Vec::new();
    for _ in 0..TRIES {
        let answer = open(target, "flood")?;
        match answer.header("mcp-session-id") {
            Some(id) => sessions.push(id.to_owned()),
            None => refused.push(answer),
        }
    }
    let got = format!("{} opened, {} refused", sessions.len(), refused.len());
    report.case(&format!("{TRIES} sessions by one caller"), &got, sessions.len() == ROOM);
    let last = refused.last().context("nothing was refused")?;
    report.answer("those beyond the limit", last, 429, &["retry-after: ", "too many sessions"]);
    let answer = in_session(target, "calm", &ours)?;
    report.answer("another caller's session", &answer, 200, &["guests"]);
    report.answer("another caller's new session", &open(target, "calm")?, 200, &[]);
    let answer = in_session(target, "calm", &sessions[0])?;
    report.answer("a session of somebody else, by its id", &answer, 404, &["no such session"]);
    let open_now = target.metric("proxmox_mcp_mcp_sessions")?;
    let all = (open_now - (ROOM as f64 + 2.0)).abs() < 0.5;
    report.case("sessions that the server counts", &format!("{open_now}"), all);

    let end =
        Ask::new("DELETE", "/mcp").header("mcp-session-id", &sessions.pop().unwrap_or_default());
    let end = end.header("mcp-protocol-version", REVISION).bearer(target.token("flood"));
    report.answer("one is ended", &target.send(end)?, 204, &[]);
    let answer = open(target, "flood")?;
    report.answer("which makes room for one", &answer, 200, &[]);
    sessions.extend(answer.header("mcp-session-id").map(str::to_owned));

    // As a browser's page would hold it open.
    let listen = Ask::new("GET", "/mcp").header("accept", "text/event-stream");
    let listen = listen.header("mcp-session-id", &sessions[0]);
    let listen = listen.header("mcp-protocol-version", REVISION).bearer(target.token("flood"));
    let mut stream = connect(&target.address)?;
    std::io::Write::write_all(&mut stream, listen.head(&target.address).as_bytes())?;
    report.answer("a stream of the first", &Answer::read_head(&mut stream)?, 200, &[]);
    Ok(Flood { sessions, _stream: stream })
}

/// When the sessions have been idle for a while, the oldest of them makes room, and no session that is in use.
pub(super) fn after_a_while(target: &Target, flood: &Flood, report: &mut Report) -> Result<()> {
    report.part("sessions, half a minute later");
    report.answer("one more by the same caller", &open(target, "flood")?, 200, &[]);
    for (what, session, status) in [
        ("the first, whose stream is open", &flood.sessions[0], 200),
        ("the second, idle for longest", &flood.sessions[1], 404),
        ("the third", &flood.sessions[2], 200),
    ] {
        report.answer(what, &in_session(target, "flood", session)?, status, &[]);
    }
    Ok(())
}

/// Guesses tokens. Whoever comes from the same address has to wait then, and so do we.
pub(super) fn guessing(target: &Target, report: &mut Report) -> Result<()> {
    report.part("guesses");
    let mut statuses = Vec::new();
    let mut last = None;
    for guess in 0..GUESSES {
        let token = format!("pmx_{guess:08x}_{}", "0".repeat(64));
        let answer = target.send(Ask::new("GET", "/api/v1/tools").bearer(&token))?;
        statuses.push(answer.status);
        last = Some(answer);
    }
    let count = |status: u16| statuses.iter().filter(|given| **given == status).count();
    let got = format!("{} times 401, {} times 429", count(401), count(429));
    let good = count(401) > 0 && count(429) > 0 && count(401) + count(429) == GUESSES;
    report.case(&format!("{GUESSES} guesses at tokens"), &got, good);
    let last = last.context("nothing was guessed")?;
    report.answer("the last of them", &last, 429, &["retry-after: ", "rate-limited"]);
    let wait: u64 = last.header("retry-after").unwrap_or_default().parse()?;
    std::thread::sleep(std::time::Duration::from_secs(wait));
    Ok(())
}

fn open(target: &Target, name: &str) -> Result<Answer> {
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": REVISION, "capabilities": {},
        "clientInfo": {"name": "attacks", "version": "0"},
    }});
    let answer = target.send(Ask::mcp(&hello).bearer(target.token(name)))?;
    if let Some(id) = answer.header("mcp-session-id") {
        let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        target.send(of_session(&ready, id).bearer(target.token(name)))?;
    }
    Ok(answer)
}

/// A call in a session.
fn in_session(target: &Target, name: &str, session: &str) -> Result<Answer> {
    let call = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {
        "name": "fleet_overview", "arguments": {},
    }});
    target.send(of_session(&call, session).bearer(target.token(name)))
}

fn of_session(message: &Value, session: &str) -> Ask {
    let ask = Ask::mcp(message).header("mcp-session-id", session);
    ask.header("mcp-protocol-version", REVISION)
}
