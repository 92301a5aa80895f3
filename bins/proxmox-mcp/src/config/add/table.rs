//! The settings table: whether its place is free, and its text.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use toml::Value;

use super::super::refused;
use super::members::{Candidate, Member};
use super::plan::Plan;

/// How the endpoints will prove themselves.
pub(super) enum Trust {
    /// By the system's roots, as the certificate of a public authority does.
    System,
    /// Each by its own fingerprint.
    Pins,
    /// All by the cluster's own root, in PEM.
    Root(String),
}

/// Refuses where a table or a file is in the way.
pub(super) fn check_free(plan: &Plan) -> anyhow::Result<()> {
    for path in [plan.secret_file(), plan.ca_file()] {
        if path.exists() {
            return Err(refused(format!(
                "{} exists; nothing was changed: move it away, or choose another --key",
                path.display()
            )));
        }
    }
    for path in settings_files(&plan.out)? {
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let Ok(document) = text.parse::<toml::Table>() else {
            bail!(
                "{} is not valid TOML; correct it first: proxmox-mcp config check{}",
                path.display(),
                plan.config_flag()
            );
        };
        for section in ["pve", "pbs"] {
            let tables = document.get(section).and_then(Value::as_table);
            if tables.is_some_and(|tables| tables.contains_key(plan.key.as_str())) {
                return Err(refused(format!(
                    "{} has a table [{section}.{key}]; nothing was changed: choose another --key",
                    path.display(),
                    key = plan.key,
                )));
            }
        }
    }
    Ok(())
}

fn settings_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let main = folder.join("config.toml");
    if main.exists() {
        files.push(main);
    }
    let drop_ins = folder.join("conf.d");
    if drop_ins.is_dir() {
        let entries =
            std::fs::read_dir(&drop_ins).with_context(|| format!("list {}", drop_ins.display()))?;
        for entry in entries {
            let path = entry.with_context(|| format!("list {}", drop_ins.display()))?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                files.push(path);
            }
        }
    }
    Ok(files)
}

/// The table, with the members that are left out as comments.
pub(super) fn render(
    plan: &Plan,
    endpoints: &[Candidate],
    left_out: &[Member],
    trust: &Trust,
) -> String {
    let mut text =
        format!("\n# Added by `proxmox-mcp config add`.\n[{}.{}]\n", plan.section(), plan.key);
    let urls = endpoints.iter().map(|endpoint| Value::from(endpoint.url.as_str())).collect();
    let _ = writeln!(text, "endpoints = {}", Value::Array(urls));
    let _ = writeln!(text, "token_id = {}", Value::from(plan.token_id()));
    let _ = writeln!(text, "token_file = \"../secrets/{}.token\"", plan.key);
    match trust {
        Trust::Root(_) => {
            let _ = writeln!(text, "ca_file = \"../{}-ca.pem\"", plan.key);
        }
        Trust::System => {
            text.push_str("# The certificate is one that the system's roots signed.\n");
        }
        Trust::Pins => pins(&mut text, endpoints),
    }
    if !left_out.is_empty() {
        text.push_str(
            "# Other members of the cluster, and why they are not among the endpoints:\n",
        );
        for member in left_out {
            let _ = writeln!(text, "#   {}", member.comment());
        }
    }
    text
}

fn pins(text: &mut String, endpoints: &[Candidate]) {
    let shown = |endpoint: &Candidate| {
        let shown = endpoint.fingerprint.map(|fingerprint| fingerprint.to_string());
        Value::from(shown.unwrap_or_else(|| "AB:CD:…".to_owned()))
    };
    if let [only] = endpoints {
        let _ = writeln!(text, "fingerprint = {}", shown(only));
        return;
    }
    // Pins of one line each in one inline table would be long; each is a key of its own.
    for endpoint in endpoints {
        let is_shared = endpoints.iter().filter(|other| other.host == endpoint.host).count() > 1;
        let host = super::bracketed(&endpoint.host);
        let name = if is_shared { format!("{host}:{}", endpoint.port) } else { host };
        let _ = writeln!(text, "fingerprints.{} = {}", Value::from(name), shown(endpoint));
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use expect_test::expect;
    use settings::Sources;

    use super::*;
    use crate::cli::{Cli, Command, ConfigCommand};

    fn plan(folder: &Path) -> Plan {
        let out = folder.to_str().unwrap();
        let line =
            ["proxmox-mcp", "config", "add", "alder.lan:8006", "--key", "home", "--out", out];
        let Command::Config(ConfigCommand::Add(args)) = Cli::try_parse_from(line).unwrap().command
        else {
            panic!("the line is another command");
        };
        Plan::try_new(&args, &Sources::default()).unwrap()
    }

    fn candidate(host: &str, port: u16, byte: &str) -> Candidate {
        Candidate {
            name: None,
            host: host.to_owned(),
            port,
            url: format!("https://{}:{port}", super::super::bracketed(host)),
            fingerprint: Some(byte.repeat(32).parse().unwrap()),
        }
    }

    #[test]
    fn each_endpoint_is_pinned_under_a_name_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let plan = plan(folder.path());
        let endpoints = [
            candidate("alder.lan", 8006, "AA"),
            candidate("192.0.2.2", 8006, "BB"),
            candidate("2001:db8::3", 8006, "CC"),
            candidate("192.0.2.4", 8006, "D4"),
            candidate("192.0.2.4", 8106, "D5"),
        ];
        let text = render(&plan, &endpoints, &[], &Trust::Pins);
        let mut sources = Sources::default();
        sources.texts.push((
            "table".to_owned(),
            text.replace("_file = \"../secrets/home.token\"", " = \"x\""),
        ));
        let loaded = settings::load(&sources).unwrap_or_else(|errors| panic!("{errors}"));
        let targets = &loaded.settings.pve.values().next().unwrap().targets;
        for (endpoint, target) in endpoints.iter().zip(targets) {
            let pins = vec![endpoint.fingerprint.unwrap()];
            assert_eq!(target.tls.policy, stdx::tls::TlsPolicy::Pins(pins), "{}", endpoint.url);
        }
        let short =
            |text: String| text.replace(&":AA".repeat(31), "…").replace(&":BB".repeat(31), "…");
        let short = short(text).replace(&":CC".repeat(31), "…");
        let short = short.replace(&":D4".repeat(31), "…").replace(&":D5".repeat(31), "…");
        expect![[r#"

            # Added by `proxmox-mcp config add`.
            [pve.home]
            endpoints = ["https://alder.lan:8006", "https://192.0.2.2:8006", "https://[2001:db8::3]:8006", "https://192.0.2.4:8006", "https://192.0.2.4:8106"]
            token_id = "mcp@pve!agent"
            token_file = "../secrets/home.token"
            fingerprints."alder.lan" = "AA…"
            fingerprints."192.0.2.2" = "BB…"
            fingerprints."[2001:db8::3]" = "CC…"
            fingerprints."192.0.2.4:8006" = "D4…"
            fingerprints."192.0.2.4:8106" = "D5…"
        "#]].assert_eq(&short);
    }
}
