//! `events setup` over HTTPS: what the nodes do not trust does not arrive, and is named.

use std::path::Path;
use std::process::Output;

use proxmox_sim::{Sim, SimConfig};
use serde_json::Value;

use crate::http::Server;

/// Runs `events setup` with nothing of this machine's environment, and reads what it says of its only cluster.
async fn setup(folder: &Path, args: &[&str]) -> (Option<i32>, Value) {
    let output: Output = tokio::process::Command::new(env!("CARGO_BIN_EXE_proxmox-mcp"))
        .args(["events", "setup", "lab", "--json", "--mode", "trusted", "--config"])
        .arg(folder.join("config.toml"))
        .args(args)
        .env_clear()
        .env("HOME", folder)
        .stdin(std::process::Stdio::null())
        .output()
        .await
        .unwrap();
    let mut said: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output.status.code(), said["clusters"][0].take())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_the_nodes_do_not_trust_is_named() {
    let sim = Sim::start(SimConfig::fast()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(path("tls.crt"), made.cert.pem()).unwrap();
    std::fs::write(path("tls.key"), made.signing_key.serialize_pem()).unwrap();
    let clusters = sim.settings_toml(folder.path()).unwrap();
    let text = format!(
        "{clusters}\n[server]\nstate_dir = \"{}\"\n[events]\npoll = false\n[input.hook]\ntype = \"webhook\"\n\
         [input.hook.hook.lab]\nsecret = \"0123456789abcdef0123456789abcdef\"\ncluster = \"lab\"\n",
        path("state")
    );
    std::fs::write(path("config.toml"), text).unwrap();
    let server = Server::with(&[
        "--config",
        &path("config.toml"),
        "--with-events",
        "--no-auth",
        "--http",
        "127.0.0.1:0",
        "--tls-cert",
        &path("tls.crt"),
        "--tls-key",
        &path("tls.key"),
    ]);
    let url = format!("https://{}", server.address());
    let apply = ["--apply", "--yes", "--url", &url];
    let (code, place) = setup(folder.path(), &apply).await;
    assert_eq!(code, Some(1), "{place:#}");
    let said = place["test"]["said"].as_str().unwrap_or_else(|| panic!("{place:#}"));
    assert!(said.contains("invalid peer certificate"), "{said}");
    let causes = place["test"]["causes"].as_array().unwrap();
    assert_eq!((causes.len(), &causes[0]["kind"]), (1, &"tls".into()), "{place:#}");
    let cause = causes[0]["text"].as_str().unwrap();
    assert!(
        cause.contains("it signed itself") && cause.contains("update-ca-certificates"),
        "{cause}"
    );

    sim.levers().trust_authority("lab", &made.cert.pem()).unwrap();
    let (code, place) = setup(folder.path(), &apply).await;
    assert_eq!((code, &place["test"]["outcome"]), (Some(0), &"arrived".into()), "{place:#}");
}
