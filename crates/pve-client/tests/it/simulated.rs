//! Every read that the simulator answers is read by its type.

use std::time::Duration;

use api_core::{ErrorKind, endpoint::Disk};
use proxmox_sim::{Sim, SimConfig};
use pve_client::{Client, Config};
use serde_json::json;

use crate::calls;

#[tokio::test]
async fn every_simulated_reply_is_read() {
    let config = SimConfig::fast().with_auth_delay(Duration::ZERO);
    let sim = Sim::start(config).await.expect("the simulator starts");
    let lab = sim.target("lab");
    let token = lab.token("agent");
    let table = json!({
        "endpoints": [lab.nodes[0].url], "fingerprint": lab.nodes[0].fingerprint,
        "token_id": token.id, "token": token.secret,
    });
    let config: Config = serde_json::from_value(table).expect("a table");
    let options = config.validate("lab", &Disk).expect("a valid table").value;
    let client = Client::connect(&options).expect("a client");

    let common = [
        ("node", lab.nodes[0].name.as_str()),
        ("storage", "local"),
        ("iface", "vmbr0"),
        ("service", "pveproxy"),
        ("poolid", "production"),
        ("userid", "mcp@pve"),
        ("tokenid", "agent"),
        ("roleid", "PVEAuditor"),
    ];
    let mut answered = 0;
    let mut wrong = Vec::new();
    for case in calls::all() {
        let mut names = common.to_vec();
        names.push(("vmid", if case.template.contains("/lxc/") { "130" } else { "100" }));
        let Some(request) = case.filled(&names) else { continue };
        let reply = match client.call(request).await {
            Ok(reply) => reply,
            Err(error) if error.kind() == ErrorKind::NotImplemented => continue,
            Err(error) => {
                println_for_people(&error.to_string());
                continue;
            }
        };
        answered += 1;
        match case.fields_without_name(&reply) {
            Err(error) => wrong.push(format!("{} as {}: {error}", case.template, case.reply)),
            Ok(fields) if fields.is_empty() => {}
            Ok(fields) => {
                println_for_people(&format!("{}: no field for {fields:?}", case.template));
            }
        }
    }
    println_for_people(&format!("{answered} reads answered"));
    assert!(wrong.is_empty(), "cannot be read:\n{}", wrong.join("\n"));
    assert!(answered >= 40, "only {answered} reads were answered");
}

#[expect(clippy::print_stdout, reason = "what differs is told to who runs the test alone")]
fn println_for_people(line: &str) {
    println!("{line}");
}
