//! `policy explain` and `policy show`: what they say, on the simulated estate and of a file.

use std::{fmt::Write as _, process::Command};

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
        let _ = writeln!(all, "$ {}\n{}", args.join(" "), explain(args));
    }
    expect![[r#"
        $ --as local:1000 --tool guests_list
        would     run at once
        line      default.read
        because   reads are allowed
        call      guests_list as local:1000 by local in mode guarded, read
        exit 0

        $ --as local:1000 --tool guest_power guest=lab/124 action=shutdown
        would     ask any approver, or the person at the client, within 60 minutes; silence refuses
        line      default.operate
        because   guest_power changes something, and no line of the policy allows it unasked; `--mode trusted` lets the local user do such things unasked
        call      guest_power as local:1000 by local in mode guarded, operate
        touches   lab/124 dev-anna (node cedar, pool lab, tags dev)
        plan      shutdown of lab/124 dev-anna (digest)
                  POST /nodes/cedar/qemu/124/status/shutdown on lab
        exit 1

        $ --as local:1000 --tool guest_power guest=lab/124 action=stop
        would     ask any approver, or the person at the client, within 60 minutes; silence refuses
        line      default.stop
        because   it cuts the power of lab/124, which can lose what was not written yet; `shutdown` lets it end by itself
        call      guest_power as local:1000 by local in mode guarded, operate (cuts the power)
        touches   lab/124 dev-anna (node cedar, pool lab, tags dev)
        plan      stop of lab/124 dev-anna (digest)
                  POST /nodes/cedar/qemu/124/status/stop on lab
        exit 1

        $ --as local:1000 --tool guest_power guest=lab/125 action=start
        would     run at once, up to 5 times an hour, and ask beyond that
        line      default.additive
        because   it only adds, which the local user may up to 5 times an hour
        call      guest_power as local:1000 by local in mode guarded, operate (only adds)
        touches   lab/125 dev-bela (node alder, pool lab, tags dev)
        plan      start of lab/125 dev-bela (digest)
                  POST /nodes/alder/qemu/125/status/start on lab
        exit 0

        $ --as token:n8n --tool guest_power guest=lab/125 action=start
        would     ask any approver, or the person at the client, within 60 minutes; silence refuses
        line      default.http
        because   a caller over HTTP changes nothing unasked until a line of the policy names it as its `principal`; with `--mode trusted` everybody may, as this estate is simulated
        call      guest_power as token:n8n by http in mode guarded, operate (only adds)
        touches   lab/125 dev-bela (node alder, pool lab, tags dev)
        plan      start of lab/125 dev-bela (digest)
                  POST /nodes/alder/qemu/125/status/start on lab
        exit 1

        $ --as local:1000 --tool snapshot_create guest=lab/105 name=before
        would     be refused
        line      default.protected
        because   lab/105 is tagged as protected; a line of the policy with `protected = true` says what may be done to it
        call      snapshot_create as local:1000 by local in mode guarded, operate (only adds)
        touches   lab/105 db-replica (node cedar, pool production, tags db prod protected), which is tagged as protected
        plan      snapshot before of lab/105 db-replica (digest)
                  POST /nodes/cedar/qemu/105/snapshot on lab
        exit 1

        $ --as local:1000 --mode trusted --tool guest_power guest=lab/124 action=shutdown
        would     run at once
        line      default.trusted
        because   it can be taken back, and this server runs with `--mode trusted`
        call      guest_power as local:1000 by local in mode trusted, operate
        touches   lab/124 dev-anna (node cedar, pool lab, tags dev)
        plan      shutdown of lab/124 dev-anna (digest)
                  POST /nodes/cedar/qemu/124/status/shutdown on lab
        exit 0

        $ --as local:1000 --mode read-only --tool guest_power guest=lab/124 action=shutdown
        would     be refused
        line      default.mode
        because   this server runs with `--mode read-only`, which only reads; its operator restarts it with `--mode guarded` to let people be asked, or `--mode trusted` to let it operate
        call      guest_power as local:1000 by local in mode read-only, operate
        touches   lab/124 dev-anna (node cedar, pool lab, tags dev)
        plan      shutdown of lab/124 dev-anna (digest)
                  POST /nodes/cedar/qemu/124/status/shutdown on lab
        exit 1

        $ --as token:n8n --scope operate,pool:staging --tool guest_power guest=lab/124 action=shutdown
        would     be refused: it is outside of the credential's scope
        because   this credential's scope is kept to pool:staging, and lab/124 is not within
        call      guest_power as token:n8n by http in mode guarded, operate
        touches   lab/124 dev-anna (node cedar, pool lab, tags dev)
        plan      shutdown of lab/124 dev-anna (digest)
                  POST /nodes/cedar/qemu/124/status/shutdown on lab
        exit 1

        $ --as local:1000 --tool guest_power --args {"guest": "lab/124", "action": "start"}
        would     do nothing: lab/124 dev-anna is already running: nothing was done
        call      guest_power as local:1000 by local in mode guarded, operate
        exit 0

        $ --as local:1000 --tool no_such_tool
        error: no tool is called "no_such_tool"
        note: `proxmox-mcp tools --toolsets all` lists them
        exit 2

        $ --as root --tool guests_list
        error: invalid value 'root' for '--as <PRINCIPAL>': `root` is not a principal: it has no `kind:` in front

        For more information, try '--help'.
        exit 2

    "#]].assert_eq(&all);
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
    // Whoever tries the demo decides by themselves.
    assert_eq!(document["ask"]["client"], true);
    assert_eq!(document["asks_nobody"], false);
    assert_eq!(document["targets"][0]["address"], "lab/143");
    assert!(document["plan"]["digest"].as_str().unwrap().starts_with("sha256:"));
}

/// Where changes are stopped, what the lines say is not all: it is said, and the exit code says so.
#[tokio::test(flavor = "multi_thread")]
async fn that_changes_are_stopped_is_said_beside_the_lines() {
    let sim = proxmox_sim::Sim::start(proxmox_sim::SimConfig::fast()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let state = folder.path().join("state");
    let members = sim.settings_toml(folder.path()).unwrap();
    let settings = format!("{members}\n[server]\nstate_dir = \"{}\"\n", state.display());
    std::fs::write(&file, &settings).unwrap();
    let at = file.to_str().unwrap();
    let of = |rest: &[&str]| {
        let said = run(&[&["explain", "--config", at, "--tool"], rest].concat());
        let but = said.lines().find(|line| line.starts_with("but "));
        (but.unwrap_or_default().to_owned(), said.lines().last().unwrap().to_owned())
    };
    let change = ["snapshot_create", "guest=lab/101", "name=before"];
    assert_eq!(of(&change), (String::new(), "exit 0".to_owned()));
    let freeze = Command::new(env!("CARGO_BIN_EXE_proxmox-mcp"))
        .args(["freeze", "--reason", "something is odd", "--config", at])
        .output()
        .unwrap();
    assert!(freeze.status.success(), "{}", String::from_utf8_lossy(&freeze.stderr));
    let (but, exit) = of(&change);
    assert!(but.starts_with("but       all changes are stopped by local:"), "{but}");
    assert!(but.ends_with(" (something is odd), so nothing would be done now"), "{but}");
    assert_eq!(exit, "exit 1");
    // Reads go on.
    assert_eq!(of(&["guests_list"]), (String::new(), "exit 0".to_owned()));
    std::fs::write(&file, format!("{settings}[guard]\nfrozen = true\n")).unwrap();
    let (but, _) = of(&change);
    assert_eq!(
        but,
        "but       all changes are stopped by `guard.frozen` in the settings, so nothing would be done now"
    );
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
    expect![[r#"
            10 shop               deny: tier destroy, pool shop*
            20 night              ask 1 of ops: tier operate or destroy, hours 22:00-06:00@Europe/Berlin
                                  (somebody is awake)
             - default.mode       `--mode read-only` refuses everything but reads, before any other line
             - default.read       reads are allowed
             - default.protected  protected targets are refused: guests by tag, by Proxmox's flag, the guest that this server runs in, and the power of its node
             - default.destroy    what may lose something asks
             - default.stop       what cuts the power asks, in every mode
             - default.http       a caller over HTTP is asked for until a line of the policy allows it
             - default.trusted    `--mode trusted` allows the local user what can be taken back
             - default.additive   what only adds is allowed to the local user, so many times an hour
             - default.operate    everything else that can be taken back asks
             - default.budget     what a line allows a number of times an hour asks beyond that

        mode guarded; approvers: alice; an answer in the client counts for: operate
        exit 0
    "#]].assert_eq(&run(&["show", "--config", file]));
    let document = run(&["show", "--json", "--config", file]);
    let document: serde_json::Value =
        serde_json::from_str(document.rsplit_once("\nexit").unwrap().0).unwrap();
    assert_eq!(document["lines"][0]["line"], "shop");
    let wrong = text.replace("order = 20", "order = 10");
    std::fs::write(file, wrong).unwrap();
    let refused = run(&["show", "--config", file]).replace(file, "config.toml");
    expect![[r#"
        error: config.toml:15: policy.shop.order: is 10, as that of line `night`; give each line a place of its own
        exit 2
    "#]].assert_eq(&refused);
}
