//! Settings text of what an environment file says.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret as _;
use toml::Value;

use super::estate::{Found, Table};
use super::events::Channel;
use super::{SecretFile, Secrets};
use crate::error::Origin;
use crate::layer::KeyPath;

pub(super) struct Rendered {
    pub(super) toml: String,
    pub(super) files: Vec<SecretFile>,
    pub(super) origins: BTreeMap<KeyPath, Origin>,
}

/// Writes the settings; each key remembers the variable that it was made from.
pub(super) fn render(path: &Path, found: &Found, secrets: &Secrets) -> Rendered {
    let name =
        path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    // A file's name is somebody's input: it must not end the comment.
    let name: String = name.chars().filter(|c| !c.is_control()).collect();
    let mut out = Writer {
        toml: format!("# Made from {name} of the earlier server.\n"),
        origins: BTreeMap::new(),
    };
    let mut files = Vec::new();
    if let Some((topology, origin)) = &found.topology {
        out.header(&["server"], origin);
        out.key(&["server", "declared_topology"], &Value::from(topology.as_str()), origin);
    }
    if let Some((level, origin)) = &found.log_level {
        out.header(&["log"], origin);
        out.key(&["log", "level"], &Value::from(*level), origin);
    }
    for table in &found.tables {
        files.extend(write_table(&mut out, table, secrets));
    }
    if let Some(origin) = &found.follows {
        out.header(&["events"], origin);
        out.key(&["events", "enabled"], &Value::Boolean(true), origin);
    }
    for channel in &found.channels {
        write_channel(&mut out, channel, secrets, &mut files);
    }
    Rendered { toml: out.toml, files, origins: out.origins }
}

fn write_channel(
    out: &mut Writer,
    channel: &Channel,
    secrets: &Secrets,
    files: &mut Vec<SecretFile>,
) {
    let Channel { section, key, .. } = *channel;
    out.header(&[section, key], &channel.origin);
    for (name, value, origin) in &channel.values {
        out.key(&[section, key, name], value, origin);
    }
    for (name, secret, origin) in &channel.secrets {
        match secrets {
            Secrets::Inline => {
                out.key(&[section, key, name], &Value::from(secret.expose_secret()), origin);
            }
            Secrets::Files(folder) => {
                let path: PathBuf = folder.join(format!("{section}-{key}.{name}"));
                let text = Value::from(path.to_string_lossy().as_ref());
                out.key(&[section, key, &format!("{name}_file")], &text, origin);
                files.push(SecretFile { path, contents: secret.clone() });
            }
        }
    }
}

fn write_table(out: &mut Writer, table: &Table, secrets: &Secrets) -> Option<SecretFile> {
    let section = table.product.section();
    let key = table.key.as_str();
    let _ = write!(out.toml, "\n# {}", printable(&table.remark));
    out.header(&[section, key], &table.host_origin);
    let endpoints = table.endpoints.iter().map(|endpoint| Value::from(endpoint.as_str()));
    let endpoints = Value::Array(endpoints.collect());
    out.key(&[section, key, "endpoints"], &endpoints, &table.host_origin);
    let token_id = Value::from(table.token_id.as_str());
    out.key(&[section, key, "token_id"], &token_id, &table.id_origin);
    let file = match secrets {
        Secrets::Inline => {
            let token = Value::from(table.token.expose_secret());
            out.key(&[section, key, "token"], &token, &table.token_origin);
            None
        }
        Secrets::Files(folder) => {
            let path: PathBuf = folder.join(format!("{key}.token"));
            let text = Value::from(path.to_string_lossy().as_ref());
            out.key(&[section, key, "token_file"], &text, &table.token_origin);
            Some(SecretFile { path, contents: table.token.clone() })
        }
    };
    if let Some(origin) = &table.insecure {
        out.key(&[section, key, "insecure"], &Value::Boolean(true), origin);
    }
    for (label, value) in &table.labels {
        let path = [section, key, "labels", label];
        out.dotted_key(&path, &Value::from(value.as_str()), &table.host_origin);
    }
    file
}

struct Writer {
    toml: String,
    origins: BTreeMap<KeyPath, Origin>,
}

// === impl Writer ===

impl Writer {
    fn header(&mut self, path: &[&str], origin: &Origin) {
        let _ = writeln!(self.toml, "\n[{}]", path.join("."));
        self.remember(path, origin);
    }

    fn key(&mut self, path: &[&str], value: &Value, origin: &Origin) {
        let name = path.last().copied().unwrap_or_default();
        let _ = writeln!(self.toml, "{name} = {value}");
        self.remember(path, origin);
    }

    /// A key of a table within the table that was opened last.
    fn dotted_key(&mut self, path: &[&str], value: &Value, origin: &Origin) {
        let name = path.get(2..).unwrap_or_default().join(".");
        let _ = writeln!(self.toml, "{name} = {value}");
        self.remember(path, origin);
    }

    fn remember(&mut self, path: &[&str], origin: &Origin) {
        let path = path.iter().map(|&segment| segment.to_owned()).collect();
        self.origins.insert(path, origin.clone());
    }
}

fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}
