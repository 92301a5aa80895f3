//! The whole program over an estate that is full of secrets: neither its answers nor its log nor what
//! it keeps tells one.

use std::{
    path::Path,
    process::Stdio,
    sync::atomic::{AtomicUsize, Ordering},
};

use proxmox_sim::{PlaceKind, Sim, SimConfig};
use tokio::process::Command;

/// What every planted secret begins with.
const MARK: &str = "pLANT3d";

/// Calls a tool with everything in the log; what came out on both streams.
async fn call(folder: &Path, args: &[&str]) -> (String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_proxmox-mcp"))
        .args(["call", "--config", "settings.toml", "--log", "trace"])
        .args(args)
        .env_clear()
        .env("HOME", folder)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_answers_nor_the_log_nor_the_audit_log_tell_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let sim = Sim::start(SimConfig::fast()).await.unwrap();
    let members = sim.settings_toml(&folder.path().join("estate")).unwrap();
    let state = folder.path().join("state");
    for format in ["text", "json"] {
        let settings = format!(
            "{members}\n[server]\nmode = \"trusted\"\ntoolsets = [\"all\"]\nstate_dir = {state:?}\n\
             [log]\nformat = \"{format}\"\n[guard]\nsecret_fields = [\"door-code\"]\n"
        );
        std::fs::write(folder.path().join("settings.toml"), settings).unwrap();
        let count = AtomicUsize::new(0);
        sim.levers().plant(move |place, was| {
            let number = count.fetch_add(1, Ordering::Relaxed);
            let secret = format!("{MARK}{number:06}abcdefghij0123456789KLMNOP");
            Some(match place.kind {
                PlaceKind::Secret => secret,
                PlaceKind::Name => format!("{was}-glpat-{secret}"),
                _ if number.is_multiple_of(3) => format!("{was} door_code: {secret}"),
                _ if number.is_multiple_of(2) => format!("{was} password={secret}"),
                _ => format!("{was} https://bob:{secret}@h/x"),
            })
        });
        let noted = format!("description=password={MARK}inthearguments1");
        let name = format!("name={format}");
        for args in [
            &["guest_get", "guest=lab/104", "include=[\"config\",\"snapshots\",\"status\"]"][..],
            &["fleet_overview"],
            &["log_recent", "cluster=lab"],
            &["users_list"],
            &["api_read", "cluster=lab", "path=/nodes/alder/tasks"],
            &["api_read", "cluster=vault", "path=/config/remote"],
            &["snapshot_create", "guest=lab/106", &name, &noted],
            // Refused by the server, in its own words.
            &["snapshot_create", "guest=lab/106", &name, &noted],
        ] {
            let (out, err) = call(folder.path(), args).await;
            assert!(!out.is_empty(), "{args:?}: {err}");
            assert!(!out.contains(MARK), "{args:?} answers {out}");
            assert!(!err.contains(MARK), "{args:?} logs {err}");
            assert!(err.lines().count() > 3, "{args:?} logs nothing: {err}");
            for target in sim.targets() {
                for token in &target.tokens {
                    assert!(!err.contains(&token.secret) && !out.contains(&token.secret), "{err}");
                }
            }
        }
    }
    let planted = sim.levers().planted();
    assert!(planted.len() > 20, "only {} fields were read", planted.len());
    let mut kept = Vec::new();
    for entry in std::fs::read_dir(&state).unwrap() {
        let file = entry.unwrap().path();
        if file.is_file() {
            kept.extend(std::fs::read(file).unwrap());
        }
    }
    let has = |what: &[u8]| kept.windows(what.len()).any(|window| window == what);
    assert!(has(b"snapshot_create.begin"), "the audit log is somewhere else");
    let at = kept.windows(MARK.len()).position(|window| window == MARK.as_bytes());
    let around = at.map(|at| String::from_utf8_lossy(&kept[at.saturating_sub(300)..at + 40]));
    assert_eq!(around, None, "a secret is kept");
}
