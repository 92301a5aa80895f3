//! `proxmox-mcp test`, the whole program, against simulators.

use std::{path::Path, process::Stdio};

use proxmox_sim::{Sim, SimConfig};
use serde_json::Value;
use tokio::process::Command;

/// What a run printed, and its exit code.
struct Run {
    code: i32,
    out: String,
    err: String,
}

/// Runs the program with nothing of this machine's environment.
async fn tester(folder: &Path, args: &[&str]) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_proxmox-mcp"))
        .arg("test")
        .args(args)
        .env_clear()
        .env("HOME", folder)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    Run {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn of<'a>(document: &'a Value, subject: &str, check: &str) -> &'a Value {
    let findings = document["findings"].as_array().unwrap();
    let found = findings.iter().find(|finding| {
        finding["check"] == check && finding["subject"].as_str().unwrap().starts_with(subject)
    });
    found.unwrap_or_else(|| panic!("no {check} of {subject} in {document:#}"))
}

#[tokio::test]
async fn the_demo_is_all_green() {
    let folder = tempfile::tempdir().unwrap();
    let run = tester(folder.path(), &["--demo", "--json"]).await;
    assert_eq!(run.code, 0, "{}{}", run.out, run.err);
    let document: Value = serde_json::from_str(&run.out).unwrap();
    let summary = &document["summary"];
    assert_eq!(
        (&summary["fail"], &summary["warn"], &summary["skip"]),
        (&0.into(), &0.into(), &0.into()),
        "{document:#}"
    );
    for check in ["initialize", "discover"] {
        let tools = of(&document, "mcp stdio", check)["detail"].as_str().unwrap();
        assert!(tools.ends_with(" tools"), "{tools}");
    }

    let run = tester(folder.path(), &["--demo", "--only", "edge"]).await;
    assert_eq!(run.code, 0, "{}{}", run.out, run.err);
    assert!(run.out.starts_with("RESULT"), "{}", run.out);
    assert!(run.out.contains("standalone node alder"), "{}", run.out);
    assert!(run.out.ends_with("\n9 of 9 checks are well\n"), "{}", run.out);
    assert!(!run.out.contains("lab https"), "{}", run.out);
    // Nobody looks, so there are no colors and no line that moves.
    assert!(!run.out.contains('\u{1b}') && run.err.is_empty(), "{}", run.err);
}

#[tokio::test]
async fn every_failure_says_what_to_do() {
    let sim = Sim::start(SimConfig::fast()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (lab, edge, vault) = (sim.target("lab"), sim.target("edge"), sim.target("vault"));
    // A port that was free a moment ago.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let table = |key: &str, url: &str, pin: &str, id: &str, secret: &str| {
        let section = if id.contains("@pbs") { "pbs" } else { "pve" };
        format!(
            "[{section}.{key}]\nendpoints = [\"{url}\"]\nfingerprint = \"{pin}\"\n\
             token_id = \"{id}\"\ntoken = \"{secret}\"\n"
        )
    };
    let (agent, nothing) = (edge.token("agent"), edge.token("nothing"));
    let node = &edge.nodes[0];
    let backup = vault.token("agent");
    let text = [
        table("other_pin", &node.url, &lab.nodes[0].fingerprint, &agent.id, &agent.secret),
        table("bad_token", &node.url, &node.fingerprint, &agent.id, "00000000"),
        table("no_rights", &node.url, &node.fingerprint, &nothing.id, &nothing.secret),
        table("away", &format!("https://{closed}"), &node.fingerprint, &backup.id, &backup.secret),
    ];
    let file = folder.path().join("config.toml");
    std::fs::write(&file, text.concat()).unwrap();
    let file = file.to_str().unwrap();

    let run = tester(folder.path(), &["--config", file, "--json"]).await;
    assert_eq!(run.code, 1, "{}{}", run.out, run.err);
    let document: Value = serde_json::from_str(&run.out).unwrap();
    for (subject, check, hint) in [
        ("other_pin", "tls", format!("fingerprint = \"{}\"", node.fingerprint)),
        ("bad_token", "auth", "user@realm!name".to_owned()),
        (
            "no_rights",
            "permissions",
            format!(
                "pveum acl modify / --users 'mcp@pve' --tokens '{}' --roles PVEAuditor",
                nothing.id
            ),
        ),
        ("away", "reach", "systemctl status proxmox-backup-proxy".to_owned()),
    ] {
        let finding = of(&document, subject, check);
        assert_eq!(finding["status"], "fail", "{finding:#}");
        let hints = finding["hints"].as_array().unwrap();
        assert!(hints.iter().any(|one| one.as_str().unwrap().contains(&hint)), "{finding:#}");
    }
    assert_eq!(document["summary"]["fail"], 4, "{document:#}");

    let table = tester(folder.path(), &["--config", file]).await;
    assert_eq!(table.code, 1);
    assert!(table.out.contains("4 of "), "{}", table.out);
    for secret in [&agent.secret, &nothing.secret, &backup.secret] {
        assert!(
            !format!("{}{}{}{}", run.out, run.err, table.out, table.err).contains(secret.as_str())
        );
    }
}

#[tokio::test]
async fn what_cannot_run_is_no_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    std::fs::write(&file, "[pve.home]\nendpoint = [\"https://pve1\"]\n").unwrap();
    let file = file.to_str().unwrap();
    let empty = folder.path().join("empty.toml");
    std::fs::write(&empty, "").unwrap();
    let empty = empty.to_str().unwrap();
    for (args, said) in [
        (vec!["--config", file], "endpoints"),
        (vec!["--config", "/nowhere.toml"], "/nowhere.toml"),
        (vec!["--demo", "--only", "lap"], "there are: edge, lab, vault"),
        (vec!["--demo", "--toolsets", "nope"], "nope"),
        (vec!["--config", empty], "--demo"),
    ] {
        let run = tester(folder.path(), &args).await;
        assert_eq!(run.code, 2, "{args:?}: {}{}", run.out, run.err);
        assert!(run.err.contains(said) && run.out.is_empty(), "{args:?}: {}{}", run.out, run.err);
    }
}
