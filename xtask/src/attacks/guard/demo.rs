//! The demo: one account, no approver, and a client that is trusted with everything.
//!
//! Each part has a demo of its own: a caller that fails twenty times in a minute is stopped, and that
//! would answer for whatever comes after.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::bounds;
use super::model::{Caller as _, Model, Reply, Web, short};
use super::writes;
use crate::attacks::Report;
use crate::server::{Server, free_port};
use crate::sim;

/// A demo over HTTP.
struct Served {
    web: Web,
    control: String,
    _server: Server,
}

pub(super) fn run(binaries: &Path, report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let home = folder.path();
    let program = binaries.join("proxmox-mcp");
    let (mut model, control) = on_stdio(&program, home)?;
    bounds::hidden(&mut model, &control, "by the demo", report)?;
    shell(&program, home, report)?;
    let (mut model, control) = on_stdio(&program, home)?;
    bounds::climbing(&mut model, &control, "by the demo", report)?;
    drop(model);
    answers(&mut over_http(&program, home)?, report)?;
    let Served { mut web, control, _server } = over_http(&program, home)?;
    bounds::hidden(&mut web, &control, "by the demo over HTTP", report)?;
    let Served { mut web, control, _server } = over_http(&program, home)?;
    bounds::climbing(&mut web, &control, "by the demo over HTTP", report)
}

fn demo(program: &Path, home: &Path) -> Result<(Command, String)> {
    let levers = format!("127.0.0.1:{}", free_port()?);
    let mut command = Command::new(program);
    command.args(["serve", "--demo", "--demo-levers", &levers, "--toolsets", "all"]);
    command.env_clear().env("HOME", home);
    Ok((command, format!("http://{levers}/levers")))
}

/// A demo whose client cannot be asked: it would say yes.
fn on_stdio(program: &Path, home: &Path) -> Result<(Model, String)> {
    let (command, control) = demo(program, home)?;
    let model = Model::with(command, &json!({}))?;
    sim::pull(&control, &json!({"lever": "keep_heads"}))?;
    Ok((model, control))
}

fn over_http(program: &Path, home: &Path) -> Result<Served> {
    let (mut command, control) = demo(program, home)?;
    let address = format!("127.0.0.1:{}", free_port()?);
    command.args(["--http", &address, "--no-auth", "--log", "info"]);
    let server = Server::start(&mut command, &home.join("demo.log"))?;
    sim::pull(&control, &json!({"lever": "keep_heads"}))?;
    Ok(Served { web: Web { address, token: None }, control, _server: server })
}

/// The command line beside it: the demo's folder is its own.
fn shell(program: &Path, home: &Path, report: &mut Report) -> Result<()> {
    report.part("the demo, with a shell beside it");
    for line in [&["approve", "list"][..], &["approve", "yes", "000000"], &["freeze", "status"]] {
        let mut command = Command::new(program);
        command.args(line).env_clear().env("HOME", home);
        let output = command.output().context("run the command")?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).trim().to_owned();
        let got = short(text.lines().next().unwrap_or("nothing"));
        let reaches = text.contains("guest_");
        report.case(&format!("{} reaches nothing of the demo", line.join(" ")), &got, !reaches);
    }
    Ok(())
}

/// Answers of its own making, by the revision in which they travel through the client.
fn answers(served: &mut Served, report: &mut Report) -> Result<()> {
    report.part("the demo over HTTP: answers that belong to no question");
    let Served { web, control, .. } = served;
    let yes = json!({"approve": {"action": "accept", "content": {"approve": true}}});
    let stop = json!({"guest": "lab/124", "action": "stop"});
    let asked = web.call("guest_power", stop.clone())?;
    let state = asked.fact("requestState").to_owned();
    ensure!(!state.is_empty(), "the demo asks nobody: {}", asked.text);
    let sent = |control: &str| -> Result<usize> { Ok(writes(control)?.len()) };
    let mut forged = state.clone();
    forged.replace_range(10..11, if &state[10..11] == "A" { "B" } else { "A" });
    let other_guest = json!({"guest": "lab/104", "action": "stop"});
    let other_action = json!({"guest": "lab/124", "action": "reset"});
    for (what, state, args) in [
        ("a yes without a question", String::new(), stop.clone()),
        ("a state of its own making", "eyJkaWdlc3QiOiJ4In0".to_owned(), stop.clone()),
        ("a changed state", forged, stop.clone()),
        ("another guest than the question's", state.clone(), other_guest),
        ("another action than the question's", state.clone(), other_action),
    ] {
        let mut more = json!({"inputResponses": yes});
        if !state.is_empty() {
            more["requestState"] = state.into();
        }
        let reply = web.with("guest_power", &args, &more)?;
        report.case(what, &reply.line(), sent(control)? == 0 && is_no_deed(&reply));
    }
    let more = json!({"requestState": state, "inputResponses": yes});
    let reply = web.with("guest_delete", &json!({"guest": "lab/124"}), &more)?;
    let good = sent(control)? == 0 && is_no_deed(&reply);
    report.case("another tool than the question's", &reply.line(), good);
    // What the demo promises: the client decides, about this plan and once.
    let reply = web.with("guest_power", &stop, &more)?;
    report.case("the yes to the question itself", &reply.line(), sent(control)? == 1);
    let back =
        web.with("guest_power", &json!({"guest": "lab/124", "action": "start"}), &json!({}))?;
    let before = sent(control)?;
    let reply = web.with("guest_power", &stop, &more)?;
    let got = format!("{}; then {}", back.line(), reply.line());
    report.case("the same yes again", &got, sent(control)? == before);
    Ok(())
}

/// Whether nothing was done: an error, or the question once more.
fn is_no_deed(reply: &Reply) -> bool {
    reply.failed || !reply.fact("requestState").is_empty()
}
