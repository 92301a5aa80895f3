//! `policy explain` and `policy show`: what they say, on the simulated estate and of a file.

use std::process::Command;

use expect_test::expect;

fn run(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_proxmox-mcp"))
        .arg("policy")
        .args(args)
        .env_clear()
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    // The digest is of the state of just now.
    let shown: Vec<String> = text
        .concat()
        .lines()
        .map(|line| match line.rsplit_once(" (") {
            Some((before, digest)) if line.starts_with("plan") && digest.len() == 13 => {
                format!("{before} (digest)")
            }
            _ => line.trim_end().to_owned(),
        })
        .collect();
    format!("{}\nexit {}\n", shown.join("\n"), output.status.code().unwrap())
}

fn explain(args: &[&str]) -> String {
    run(&[&["explain", "--demo", "--at", "2026-11-29T12:00:00Z"], args].concat())
}

#[test]
fn what_would_become_of_calls_is_said_with_the_line() {
    let mut all = String::new();
    for args in [
        &["--as", "local:1000", "--tool", "guests_list"][..],
        &["--as", "local:1000", "--tool", "guest_power", "guest=lab/124", "action=shutdown"],
        &["--as", "local:1000", "--tool", "guest_power", "guest=lab/124", "action=stop"],
        &["--as", "local:1000", "--tool", "guest_power", "guest=lab/125", "action=start"],
        &["--as", "token:n8n", "--tool", "guest_power", "guest=lab/125", "action=start"],
        &["--as", "local:1000", "--tool", "snapshot_create", "guest=lab/105", "name=before"],
        &[
            "--as",
            "local:1000",
            "--mode",
            "trusted",
            "--tool",
            "guest_power",
            "guest=lab/124",
            "action=shutdown",
        ],
        &[
            "--as",
            "local:1000",
            "--mode",
            "read-only",
            "--tool",
            "guest_power",
            "guest=lab/124",
            "action=shutdown",
        ],
        &[
            "--as",
            "token:n8n",
            "--scope",
            "operate,pool:staging",
            "--tool",
            "guest_power",
            "guest=lab/124",
            "action=shutdown",
        ],
        &[
            "--as",
            "local:1000",
            "--tool",
            "guest_power",
            "--args",
            "{\"guest\": \"lab/124\", \"action\": \"start\"}",
        ],
        &["--as", "local:1000", "--tool", "no_such_tool"],
        &["--as", "root", "--tool", "guests_list"],
    ] {
        all.push_str(&format!("$ {}\n{}\n", args.join(" "), explain(args)));
    }
    expect![[r#""#]].assert_eq(&all);
}

#[test]
fn programs_get_the_same_as_one_document() {
    let args = ["--as", "local:1000", "--json", "--tool", "guest_delete", "guest=lab/143"];
    let said = explain(&args);
    let document: serde_json::Value =
        serde_json::from_str(said.rsplit_once("\nexit").unwrap().0).unwrap();
    assert_eq!(document["decision"], "ask");
    assert_eq!(document["line"], "default.destroy");
    assert_eq!(document["tier"], "destroy");
    assert_eq!(document["ask"]["client"], false);
    assert_eq!(document["targets"][0]["address"], "lab/143");
    assert!(document["plan"]["digest"].as_str().unwrap().starts_with("sha256:"));
}

#[test]
fn the_lines_are_shown_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let text = r#"
[approver.alice]
uid = 1001
teams = ["ops"]

[policy.night]
order = 20
decision = "ask"
about = "somebody is awake"
tier = ["operate", "destroy"]
hours = "22:00-06:00@Europe/Berlin"
of = "ops"

[policy.shop]
order = 10
decision = "deny"
pool = "shop*"
tier = "destroy"
"#;
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    expect![[r#""#]].assert_eq(&run(&["show", "--config", file]));
    let document = run(&["show", "--json", "--config", file]);
    let document: serde_json::Value =
        serde_json::from_str(document.rsplit_once("\nexit").unwrap().0).unwrap();
    assert_eq!(document["lines"][0]["line"], "shop");
    let wrong = text.replace("order = 20", "order = 10");
    std::fs::write(file, wrong).unwrap();
    let refused = run(&["show", "--config", file]).replace(file, "config.toml");
    expect![[r#""#]].assert_eq(&refused);
}
