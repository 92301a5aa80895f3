//! What is the manager's or somebody else's: records, the freeze, files, the socket, the audit log.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::consent::{Question, asks, state};
use super::house::{Account, CODES, House, PASSPHRASE, rpc_line};
use super::model::{Caller as _, Model, Web, short};
use super::writes;
use crate::attacks::Report;
use crate::attacks::raw::Ask;
use crate::workspace::output;

/// What belongs to other callers.
pub(super) fn others(house: &mut House, model: &mut Model, report: &mut Report) -> Result<()> {
    report.part("what belongs to other callers");
    let web = |token: &str| Web { address: house.address.clone(), token: Some(token.to_owned()) };
    let (mut alice, mut mallory) = (web(&house.alice), web(&house.mallory));
    let args = json!({"guest": "lab/125", "action": "start"});
    let asked = alice.call("guest_power", args.clone())?;
    let id = asked.fact("approval_id").to_owned();
    ensure!(asked.waits(), "alice asks nobody: {}", asked.text);
    let reply = mallory.call("approval_wait", json!({"approval_id": id, "timeout_s": 1}))?;
    report.case("another token's approval, by its id", &reply.line(), reply.failed);
    let reply = mallory.call("approvals_list", json!({}))?;
    report.case("another token's approvals, in a list", &reply.line(), !reply.text.contains(&id));
    let reply = model.call("approval_wait", json!({"approval_id": id, "timeout_s": 1}))?;
    report.case("a token's approval, as the local account", &reply.line(), reply.failed);
    let own = asks(model, "guest_power", json!({"guest": "lab/101", "action": "reboot"}))?;
    let reply = mallory.call("approval_wait", json!({"approval_id": own.id, "timeout_s": 1}))?;
    report.case("the local account's approval, with a token", &reply.line(), reply.failed);
    let reply = mallory.call("guest_power", args)?;
    let good = reply.waits() && reply.fact("approval_id") != id;
    report.case("the same call with another token is another question", &reply.line(), good);
    for (what, method, params) in [
        ("a token's approval", "approval", json!([id])),
        ("waits for a token's approval", "wait", json!([id, 1])),
        ("the audit log's head", "audit_head", json!([])),
        ("the audit log", "audit_records", json!([0, 10])),
    ] {
        let answer = house.rpc(Account::Model, method, &params)?;
        let good = answer["error"].is_object();
        report.case(&format!("the socket, {what}"), &rpc_line(&answer), good);
    }
    let answer = house.rpc(Account::Model, "approvals", &json!([{}]))?;
    let all = answer["result"].as_array().context("a list of approvals")?;
    let foreign = all.iter().filter(|it| it["requested_by"] != "local:6202").count();
    let got = format!("{} of its own, {foreign} of others", all.len());
    report.case("the socket, all approvals", &got, foreign == 0 && !all.is_empty());
    let answer = house.rpc(Account::Model, "actions", &json!([{}]))?;
    let all = answer["result"].as_array().context("a list of actions")?;
    let foreign = all.iter().filter(|it| it["principal"] != "local:6202").count();
    let got = format!("{} of its own, {foreign} of others", all.len());
    report.case("the socket, all actions", &got, foreign == 0);

    // A token is no approver, and neither is its bearer by HTTP.
    let form = Ask::new("POST", &format!("/approve/{id}")).bearer(&house.mallory);
    let answer = form.body("decision=approve").send(&house.address)?;
    let good = answer.status == 404 && state(house, &id)? == "pending";
    report.case("the page, with a bearer token", &answer.status.to_string(), good);
    Ok(())
}

/// The brake: everybody may pull it, and who calls tools does not let it go.
pub(super) fn frozen(house: &mut House, model: &mut Model, report: &mut Report) -> Result<()> {
    report.part("a freeze");
    let plan = asks(model, "guest_power", json!({"guest": "lab/124", "action": "shutdown"}))?;
    let said = house.run(Account::Model, &["freeze", "--reason", "to lift it again"])?;
    report.case("the model may freeze", &said.line(), said.good);
    let frozen = house.rpc(Account::Model, "frozen", &json!([]))?;
    let since = frozen["result"]["since"].clone();
    let before = writes(&house.sim.control)?.len();
    let said = house.run(Account::Model, &["freeze", "lift"])?;
    report.case("lifts it by the command", &said.line(), !said.good);
    for proof in
        [json!({"type": "peer"}), json!({"type": "code", "approver": "carol", "code": "000000"})]
    {
        let answer =
            house.rpc(Account::Model, "lift", &json!([{"since": since, "proof": proof}]))?;
        let good = answer["error"].is_object();
        report.case(
            &format!("lifts it by the socket, {}", proof["type"]),
            &rpc_line(&answer),
            good,
        );
    }
    for (what, args) in [
        ("lift", json!({"lift": true})),
        ("off", json!({"on": false})),
        ("until", json!({"for_minutes": 0})),
    ] {
        let reply = model.call("freeze", args)?;
        let still = house.rpc(Account::Model, "frozen", &json!([]))?["result"].is_object();
        report.case(&format!("the tool freeze, with {what}"), &reply.line(), still);
    }
    let args = json!({"guest": "lab/125", "name": "frozen"});
    let reply = model.call("snapshot_create", args)?;
    report.case(
        "a change meanwhile",
        &reply.line(),
        reply.failed && reply.text.contains("frozen") || reply.text.contains("stopped"),
    );
    let said = house.run(Account::Ada, &["approve", "yes", &plan.id, "--no-wait"])?;
    let sent = writes(&house.sim.control)?.len() - before;
    let got = format!("{}; it is {}, sent {sent}", said.line(), state(house, &plan.id)?);
    report.case("what is approved meanwhile does not run", &got, sent == 0);
    let said = house.run(Account::Ada, &["freeze", "lift"])?;
    report.case("ada lifts it", &said.line(), said.good);
    let end = house.wait("the approved work", |house| {
        let state = state(house, &plan.id)?;
        Ok((!matches!(state.as_str(), "approved" | "running")).then_some(state))
    })?;
    let sent = writes(&house.sim.control)?.len() - before;
    report.case("then it runs, once", &format!("{end}, sent {sent}"), end == "done" && sent == 1);
    Ok(())
}

/// Files and the socket, as the model's account.
pub(super) fn files(house: &mut House, model: &mut Model, report: &mut Report) -> Result<()> {
    report.part("the manager's files and its socket");
    let (home, state) = (house.home(Account::Manager), house.state());
    let (home, state) = (home.display(), state.display());
    let sim = house.sim.folder().display();
    let socket = house.socket();
    let socket = socket.display();
    for (what, line) in [
        ("reads the settings", format!("cat {home}/config.toml")),
        ("adds itself to the approvers", format!("echo '[approver.me]' >> {home}/config.toml")),
        ("reads the estate's credentials", format!("cat {sim}/lab-operate.token")),
        ("reads the secret of codes", format!("cat {home}/carol.totp")),
        ("reads the key of links", format!("cat {state}/link.key")),
        ("reads the key that vouches", format!("cat {state}/decision.key")),
        ("reads the store", format!("head -c 16 {state}/store.db")),
        ("writes into the store", format!("echo x >> {state}/store.db")),
        ("writes into the audit log's mark", format!("echo x > {state}/audit.mark")),
        (
            "removes the lock",
            format!("rm -f {state}/manager.lock && ! test -e {state}/manager.lock"),
        ),
        ("removes the socket", format!("rm -f {socket} && ! test -e {socket}")),
        ("puts a socket in its place", format!("touch {socket}.mine && mv {socket}.mine {socket}")),
        ("kills the manager", format!("kill -9 {}", house.manager_pid()?)),
        ("looks into its memory", format!("head -c 1 /proc/{}/mem", house.manager_pid()?)),
        ("looks at its environment", format!("cat /proc/{}/environ", house.manager_pid()?)),
    ] {
        let said = house.shell(Account::Model, &line)?;
        report.case(what, &said.line(), !said.good);
    }
    let reply = model.call("guests_list", json!({"limit": 1}))?;
    report.case("the manager answers as before", &reply.line(), !reply.failed);
    Ok(())
}

/// A client that answers in the person's place, where `serve` has the credentials itself.
pub(super) fn own_client(house: &mut House, binaries: &Path, report: &mut Report) -> Result<()> {
    report.part("a client that says yes to whatever it is asked");
    let sim = crate::sim::Sim::with(binaries, &["--estate", "demo", "--task-speed", "1000"])?;
    let config = sim.settings("", "[guard]\nown_guest = \"none\"\n[approver.ada]\nuid = 6203\n")?;
    sim.lever(&json!({"lever": "keep_heads"}))?;
    let mut command = Command::new(house.place("bin").join("proxmox-mcp"));
    command.args(["serve", "--toolsets", "all"]).arg("--config").arg(&config);
    let mut client = Model::start(command)?;
    for (what, tool, args) in [
        ("for a deletion", "guest_delete", json!({"guest": "lab/125"})),
        ("for a rollback", "snapshot_rollback", json!({"guest": "lab/104", "name": "before"})),
        (
            "for a deletion by the API",
            "api_call",
            json!({"cluster": "lab", "method": "DELETE", "path": "/nodes/alder/qemu/125"}),
        ),
    ] {
        let reply = client.call(tool, args)?;
        let sent = writes(&sim.control)?.len();
        let got = format!("{} (asked {} times, sent {sent})", reply.line(), client.consented);
        report.case(&format!("its yes, {what}"), &got, sent == 0 && client.consented == 0);
    }
    // What can be taken back is another matter: the account that runs the client has the credentials.
    let reply = client.call("guest_power", json!({"guest": "lab/124", "action": "reboot"}))?;
    let sent = writes(&sim.control)?.len();
    let got = format!("{} (asked {} times, sent {sent})", reply.line(), client.consented);
    report.case("its yes, for what can be taken back", &got, sent == 1 && client.consented == 1);
    Ok(())
}

/// What was asked a minute ago: nobody answered, and nobody can any more.
pub(super) fn late(
    house: &mut House,
    model: &mut Model,
    late: &Question,
    asked: Instant,
    report: &mut Report,
) -> Result<()> {
    report.part("an approval whose time is over");
    let until = Duration::from_secs(61);
    std::thread::sleep(until.saturating_sub(asked.elapsed()));
    let before = writes(&house.sim.control)?.len();
    let said = house.ada("yes", &late.id)?;
    let end = state(house, &late.id)?;
    report.case(
        "ada approves it too late",
        &format!("{}; it is {end}", said.line()),
        !said.good && end == "expired",
    );
    let peer =
        json!([{"id": late.id, "digest": late.digest, "approve": true, "proof": {"type": "peer"}}]);
    let answer = house.rpc(Account::Ada, "decide", &peer)?;
    report.case("and by the socket", &rpc_line(&answer), answer["error"].is_object());
    let reply = model.call("approval_wait", json!({"approval_id": late.id}))?;
    let sent = writes(&house.sim.control)?.len() - before;
    report.case(
        "the asker hears it",
        &format!("{} (sent {sent})", reply.line()),
        reply.failed && sent == 0,
    );
    Ok(())
}

/// What no log and no answer may hold.
pub(super) fn secrets(house: &House, report: &mut Report) -> Result<()> {
    report.part("secrets of consent");
    let log = std::fs::read_to_string(house.log())?;
    // The route's own name is no link.
    let told = log.replace("/approve/{link}", "");
    let link = told.lines().filter(|line| line.contains("/approve/")).count();
    let held = [PASSPHRASE, CODES, &house.alice, &house.mallory];
    let told = held.iter().filter(|secret| log.contains(**secret)).count();
    let got = format!("{} lines at debug, {link} links, {told} secrets", log.lines().count());
    report.case("the manager's log", &got, link == 0 && told == 0 && !log.is_empty());
    Ok(())
}

/// The chain: intact after all of this, and not after somebody has written in the store.
pub(super) fn audit(house: &mut House, report: &mut Report) -> Result<()> {
    report.part("the audit log");
    house.stop_manager();
    let said = house.run(Account::Manager, &["audit", "verify"])?;
    let first = said.text.lines().next().unwrap_or_default().to_owned();
    report.case("after all of this", &first, said.good && first.starts_with("intact"));
    let said = house.run(Account::Manager, &["audit", "show", "--limit", "500", "--json"])?;
    let records: Vec<Value> =
        said.text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let by = |who: &str| records.iter().filter(|record| record["principal"] == who).count();
    let decided = records.iter().filter(|record| record["action"] == "approval.decide");
    let by_model = decided.clone().filter(|record| record["principal"] == "local:6202").count();
    let decided = decided.count();
    let got = format!(
        "{} records: {} of local:6202, {} of local:6203, {} of token:alice; {decided} decisions, {by_model} of the model",
        records.len(),
        by("local:6202"),
        by("local:6203"),
        by("token:alice")
    );
    let good = by_model == 0 && decided > 5 && by("local:6203") >= decided && by("token:alice") > 0;
    report.case("who did what", &got, good);
    let text = said.text;
    let held = [PASSPHRASE, CODES, &house.alice, &house.mallory];
    let told = held.iter().filter(|secret| text.contains(**secret)).count();
    report.case("secrets in it", &told.to_string(), told == 0);

    let store = house.state().join("store.db");
    let change = "import sqlite3,sys\n\
        db=sqlite3.connect(sys.argv[1])\n\
        [db.execute('DROP TRIGGER IF EXISTS '+t) for t in ('audit_no_update','audit_no_delete')]\n\
        db.execute(\"UPDATE audit SET principal='local:6203' WHERE seq=3\")\n\
        db.execute('DELETE FROM audit WHERE seq=7')\n\
        db.commit()";
    output(Command::new("python3").args(["-c", change]).arg(&store))?;
    let said = house.run(Account::Manager, &["audit", "verify"])?;
    let found = |words: &str| said.text.contains(words);
    let good = !said.good && found("record 3 was changed") && found("record 7 is missing");
    let lines: Vec<&str> = said.text.lines().filter(|line| line.starts_with("- ")).collect();
    report.case("a record changed and one deleted", &short(&lines.join("; ")), good);
    Ok(())
}
