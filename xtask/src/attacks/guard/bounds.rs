//! What goes beyond what was allowed: other arguments, writes that look like reads, paths that climb,
//! more than a budget holds, the same again and again.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::consent::{asks, state};
use super::house::House;
use super::model::{Caller, Model, Reply};
use super::writes;
use crate::attacks::Report;

/// Where a dot, a slash or their like could be taken for a step.
const CLIMBS: [(&str, &str); 14] = [
    ("two dots", "/nodes/cedar/qemu/124/config/../../125/config"),
    ("two dots, encoded", "/nodes/cedar/qemu/124/%2e%2e/125/config"),
    ("two dots, encoded twice", "/nodes/cedar/qemu/124/%252e%252e/125/config"),
    ("half of them encoded", "/nodes/cedar/qemu/124/.%2e/125/config"),
    ("an encoded slash", "/nodes/cedar/qemu/124%2fstatus%2fstop"),
    ("two slashes", "/nodes//cedar/qemu/124/config"),
    ("a backslash", "/nodes/cedar/qemu/124\\status\\stop"),
    ("a query", "/nodes/cedar/qemu/124/config?current=1&delete=net0"),
    ("a fragment", "/nodes/cedar/qemu/124/config#/../125"),
    ("a new line", "/nodes/cedar/qemu/124/config\r\nDELETE /api2/json/nodes/cedar/qemu/125"),
    ("a null byte", "/nodes/cedar/qemu/124/config\u{0}"),
    ("full-width dots and slashes", "/nodes/cedar/qemu/124/\u{ff0e}\u{ff0e}\u{ff0f}125/config"),
    ("a mark that reverses", "/nodes/cedar/qemu/124/\u{202e}gifnoc"),
    ("another host", "https://127.0.0.1:1/api2/json/nodes"),
];

/// Arguments that are others than those that were agreed to, or looked at.
pub(super) fn widened(house: &mut House, model: &mut Model, report: &mut Report) -> Result<()> {
    report.part("more than what was asked for");
    let reboot = asks(model, "guest_power", json!({"guest": "lab/124", "action": "reboot"}))?;
    let before = writes(&house.sim.control)?.len();
    for (what, args) in [
        ("another action", json!({"guest": "lab/124", "action": "stop"})),
        ("another guest", json!({"guest": "lab/101", "action": "reboot"})),
    ] {
        let reply = model.call("guest_power", args)?;
        let good = (reply.waits() || reply.failed) && reply.fact("approval_id") != reboot.id;
        report.case(&format!("asks for a reboot, calls for {what}"), &reply.line(), good);
    }
    let said = house.ada("yes", &reboot.id)?;
    ensure!(said.good, "what ada approves does not run: {}", said.text);
    let sent = writes(&house.sim.control)?.split_off(before);
    let good = sent.len() == 1 && sent[0].contains("/124/status/reboot");
    let got = sent.iter().map(|head| head.split(" {").next().unwrap_or_default());
    report.case("what runs is what was agreed to", &got.collect::<Vec<_>>().join(", "), good);

    let before = writes(&house.sim.control)?.len();
    let mut args = json!({"guest": "lab/125"});
    for (what, plan) in [
        ("true", json!(true)),
        ("a text", json!("true")),
        ("a number", json!(1)),
        ("a list", json!([true])),
        ("nothing", Value::Null),
    ] {
        args["plan"] = plan;
        let reply = model.call("guest_delete", args.clone())?;
        let nothing = writes(&house.sim.control)?.len() == before;
        report.case(&format!("plan is {what}, then the deed"), &reply.line(), nothing);
    }
    let reply = model.call("guest_delete", json!({"guest": "lab/125"}))?;
    let good = reply.waits() && state(house, reply.fact("approval_id"))? == "pending";
    report.case("a plan that was looked at is no consent", &reply.line(), good);
    for (what, guest) in [
        ("a list of guests", json!(["lab/124", "lab/125"])),
        ("two in a text", json!("lab/124,lab/125")),
        ("a pattern", json!("lab/*")),
        ("a path in it", json!("lab/124/../125")),
    ] {
        let args = json!({"guest": guest, "action": "stop"});
        let reply = model.call("guest_power", args)?;
        report.case(&format!("one guest is {what}"), &reply.line(), reply.failed);
    }
    Ok(())
}

/// Writes that call themselves reads.
pub(super) fn hidden(
    caller: &mut dyn Caller,
    control: &str,
    by: &str,
    report: &mut Report,
) -> Result<()> {
    report.part(&format!("writes that look like reads, {by}"));
    let path = "/nodes/cedar/qemu/124/status/stop";
    let read = |query: Value| ("api_read", json!({"cluster": "lab", "path": path, "query": query}));
    let call = |method: &str, path: &str| {
        ("api_call", json!({"cluster": "lab", "method": method, "path": path}))
    };
    let current = "/nodes/cedar/qemu/124/status/current";
    let cases = [
        ("api_read of a path that only takes POST", read(json!({}))),
        ("a method in the query", read(json!({"_method": "POST", "method": "POST"}))),
        ("a call in the query", read(json!({"command": "stop", "delete": "net0"}))),
        (
            "a method for an argument",
            ("api_read", json!({"cluster": "lab", "path": path, "method": "POST"})),
        ),
        ("api_call with GET", call("GET", current)),
        ("api_call with get", call("get", current)),
        ("api_call with POST and a blank", call("POST ", path)),
        ("api_call with PATCH", call("PATCH", path)),
        ("api_call with OPTIONS", call("OPTIONS", path)),
        (
            "a method with a header in it",
            call("GET\r\nX-HTTP-Method-Override: DELETE", "/nodes/cedar/qemu/124"),
        ),
        (
            "the method as a parameter",
            (
                "api_call",
                json!({
                    "cluster": "lab", "method": "PUT", "path": "/nodes/cedar/qemu/124/config",
                    "params": {"_method": "DELETE", "description": "x"},
                }),
            ),
        ),
        ("a command in a guest by the API", call("POST", "/nodes/cedar/qemu/124/agent/exec")),
        ("the machine's monitor", call("POST", "/nodes/cedar/qemu/124/monitor")),
        ("a batch of calls", call("POST", "/nodes/cedar/execute")),
        ("a shell of the node", call("POST", "/nodes/cedar/termproxy")),
        ("a login", call("POST", "/access/ticket")),
        ("a token's secret", call("POST", "/access/users/root@pam/token/x")),
        (
            "a command behind a command that only looks",
            (
                "execute_vm_command",
                json!({"vmid": 124, "cluster": "lab", "command": "status; qm stop 124"}),
            ),
        ),
        (
            "a program in a guest that nobody allowed",
            ("guest_exec", json!({"guest": "lab/124", "command": ["sh", "-c", "halt"]})),
        ),
    ];
    for (what, (tool, args)) in cases {
        let before = writes(control)?.len();
        let reply = caller.call(tool, args)?;
        let sent = writes(control)?.len() - before;
        report.case(what, &format!("{} (sent {sent})", reply.line()), sent == 0);
    }
    Ok(())
}

/// The names of the earlier server are judged by what they do.
pub(super) fn classic(house: &House, model: &mut Model, report: &mut Report) -> Result<()> {
    report.part("the earlier server's names");
    let before = writes(&house.sim.control)?.len();
    for (tool, vmid, command) in [
        ("execute_vm_command", 124, "stop"),
        ("execute_vm_command", 124, "shutdown"),
        ("execute_lxc_command", 130, "stop"),
    ] {
        let args = json!({"vmid": vmid, "cluster": "lab", "command": command});
        let reply = model.call(tool, args)?;
        let sent = writes(&house.sim.control)?.len() - before;
        let got = format!("{} (sent {sent})", reply.line());
        report.case(&format!("{tool} {command}"), &got, sent == 0 && is_safe(&reply));
    }
    Ok(())
}

/// Whether it did nothing: refused, waits, or asks.
fn is_safe(reply: &Reply) -> bool {
    reply.failed || reply.waits() || reply.object["requestState"].is_string()
}

/// Paths that climb out of themselves.
pub(super) fn climbing(
    caller: &mut dyn Caller,
    control: &str,
    by: &str,
    report: &mut Report,
) -> Result<()> {
    report.part(&format!("paths that climb, {by}"));
    let heads = || crate::sim::pull(control, &json!({"lever": "heads"}));
    for (what, path) in CLIMBS {
        let read = caller.call("api_read", json!({"cluster": "lab", "path": path}))?;
        let heads = heads()?;
        let heard = heads.as_array().into_iter().flatten().filter_map(Value::as_str);
        let odd = |head: &str| {
            let target = head.split(' ').nth(1).unwrap_or_default();
            target.contains("..")
                || target.contains("%2e")
                || target.contains("//nodes")
                || target.contains("%2f") && !target.contains("UPID")
        };
        let odd = heard.filter(|head| odd(head)).count();
        let good = read.failed && !read.text.contains("is stopped") && odd == 0;
        report.case(&format!("a path with {what}"), &read.line(), good);
    }
    Ok(())
}

/// More of what only adds than runs unasked: at the same moment, and then once more.
pub(super) fn budgets(house: &mut House, model: &mut Model, report: &mut Report) -> Result<()> {
    report.part("more than a budget holds");
    let before = writes(&house.sim.control)?.len();
    let mut open = Vec::new();
    for number in 0..8 {
        let args = json!({"guest": "lab/125", "name": format!("flood{number}")});
        let params = json!({"name": "snapshot_create", "arguments": args});
        open.push(model.begin("tools/call", &params)?);
    }
    let (mut ran, mut asked, mut refused) = (0, 0, 0);
    while !open.is_empty() {
        let (id, message) = model.next_answer()?;
        open.retain(|it| *it != id);
        match message.pointer("/result/structuredContent/status").and_then(Value::as_str) {
            Some("ok") => ran += 1,
            Some("pending") => asked += 1,
            _ => refused += 1,
        }
    }
    let sent = writes(&house.sim.control)?.len() - before;
    let got = format!("{ran} ran, {asked} ask, {refused} refused; sent {sent}");
    let good = (1..=5).contains(&sent) && ran <= sent && ran + asked + refused == 8;
    report.case("eight snapshots at the same moment", &got, good);

    let reply = model.call("snapshot_create", json!({"guest": "lab/125", "name": "more"}))?;
    report.case("one more", &reply.line(), reply.waits());
    Ok(())
}

/// The same again and again.
pub(super) fn wild(model: &mut Model, report: &mut Report) -> Result<()> {
    report.part("the same again and again");
    let args = json!({"guest": "lab/101", "action": "reset"});
    let mut last = model.call("guest_power", args.clone())?;
    let mut tries = 1;
    while !last.text.contains("stopped") && tries < 60 {
        last = model.call("guest_power", args.clone())?;
        tries += 1;
    }
    let good = last.failed && tries < 60;
    report.case("one change over and over", &format!("{} (call {tries})", last.line()), good);
    let reply = model.call("guests_list", json!({"limit": 1}))?;
    report.case("reads go on", &reply.line(), !reply.failed);
    Ok(())
}
