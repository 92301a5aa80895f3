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
        let entries = std::fs::read_dir(&drop_ins)
            .with_context(|| format!("list {}", drop_ins.display()))?;
        for entry in entries {
            let path = entry.with_context(|| format!("list {}", drop_ins.display()))?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                files.push(path);
            }
        }
    }
    Ok(files)
}

/// The table, with the members that could not be verified as comments.
pub(super) fn render(
    plan: &Plan,
    endpoints: &[Candidate],
    unsure: &[Member],
    trust: &Trust,
) -> String {
    let mut text = format!("\n# Added by `proxmox-mcp config add`.\n[{}.{}]\n", plan.section(), plan.key);
    let urls = endpoints.iter().map(|endpoint| Value::from(endpoint.url.as_str())).collect();
    let _ = writeln!(text, "endpoints = {}", Value::Array(urls));
    let _ = writeln!(text, "token_id = {}", Value::from(plan.token_id()));
    let _ = writeln!(text, "token_file = \"../secrets/{}.token\"", plan.key);
    match trust {
        Trust::Root(_) => {
            let _ = writeln!(text, "ca_file = \"../{}-ca.pem\"", plan.key);
        }
        Trust::Pins => pins(&mut text, endpoints),
    }
    if !unsure.is_empty() {
        text.push_str(
            "# Members that did not answer from here with the certificate that the cluster knows:\n",
        );
        for member in unsure {
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
