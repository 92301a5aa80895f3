//! Settings from the environment (`PROXMOX_MCP_SECTION__KEY`) and from flags.
//!
//! The kind of a key decides how its text is read, so that no secret is taken for a number.
//! Entries of a list cannot be reached, only the list as a whole (`a,b`).

use crate::error::{Complaint, Findings, Origin};
use crate::keys::{Key, Section, did_you_mean, nearest};
use crate::layer::{Layer, dotted, unknown_section};
use crate::table::SECTIONS;

/// What begins the name of each variable that is a setting.
pub const PREFIX: &str = "PROXMOX_MCP_";

/// The variable that names the settings file, as `--config` does.
pub const CONFIG_VARIABLE: &str = "PROXMOX_MCP_CONFIG";

/// The variable that names the earlier server's environment file, as `--env-file` does.
pub const ENV_FILE_VARIABLE: &str = "PROXMOX_MCP_ENV_FILE";

/// A setting from the command line.
#[derive(Clone)]
#[non_exhaustive]
pub struct Flag {
    /// The flag as it is typed, for example `--mode`.
    pub name: String,
    /// The key that it sets, for example `server.mode`.
    pub key: String,
    /// The value, read as a variable's would be.
    pub value: String,
}

// === impl Flag ===

impl Flag {
    /// The flag `name` that sets `key`.
    pub fn new(name: impl Into<String>, key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), key: key.into(), value: value.into() }
    }
}

/// Reads the variables that are settings; others are passed over.
pub(crate) fn layer(variables: &[(String, String)], findings: &mut Findings) -> Layer {
    let mut layer = Layer::default();
    for (name, value) in variables {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        // An empty variable is how compose files and units say "not set".
        if value.is_empty() || [CONFIG_VARIABLE, ENV_FILE_VARIABLE].contains(&name.as_str()) {
            continue;
        }
        let origin = Origin::Variable { name: name.clone() };
        if !rest.contains("__") {
            let names = variable_names();
            let names: Vec<&str> =
                names.iter().filter_map(|name| name.strip_prefix(PREFIX)).collect();
            let hint = match nearest(rest, &names) {
                Some(meant) => format!("did you mean {PREFIX}{meant}?"),
                None => "section and key are separated by two underscores".to_owned(),
            };
            findings.warn(&origin, "", Complaint::new("is not a setting", hint));
            continue;
        }
        let path: Vec<String> = rest.split("__").map(str::to_ascii_lowercase).collect();
        set(&mut layer, &path, value, &origin, findings);
    }
    layer.check_pairs(findings);
    layer
}

/// Reads the flags that are settings.
pub(crate) fn flags(flags: &[Flag], findings: &mut Findings) -> Layer {
    let mut layer = Layer::default();
    for flag in flags {
        let origin = Origin::Flag { name: flag.name.clone() };
        let path: Vec<String> = flag.key.split('.').map(str::to_owned).collect();
        set(&mut layer, &path, &flag.value, &origin, findings);
    }
    layer
}

fn set(layer: &mut Layer, path: &[String], text: &str, origin: &Origin, findings: &mut Findings) {
    match locate(path) {
        Err(complaint) => findings.error(origin, dotted(path), complaint),
        Ok((key, depth)) => {
            // The tables that the key stands in are there by that: `input.x`, `input.x.peer.y`.
            for depth in (2..=depth).step_by(2) {
                let table: Vec<&str> = path[..depth].iter().map(String::as_str).collect();
                if !layer.open(&table, origin, findings) {
                    return;
                }
            }
            let kind = if key.kind.is_map() { key.kind.entry() } else { key.kind };
            layer.set(path.to_vec(), key, kind.read(text), origin.clone(), findings);
        }
    }
}

/// The key that a path means, and how many segments stand before its name.
fn locate(path: &[String]) -> Result<(&'static Key, usize), Complaint> {
    let first = path.first().map_or("", String::as_str);
    let section = Section::find(first).ok_or_else(|| unknown_section(first))?;
    let mut depth = if section.named { 2 } else { 1 };
    let nested = path.get(depth).map(String::as_str).filter(|name| section.has_nested(name));
    depth += if nested.is_some() { 2 } else { 0 };
    let Some(name) = path.get(depth) else {
        let hint = format!("for example {}", section.variable(&section.keys[0]));
        return Err(Complaint::new("names no key", hint));
    };
    let key = section.key_in(nested, name).ok_or_else(|| match nested {
        Some(nested) => section.unknown_key_in(nested, name),
        None => section.unknown_key(None, name),
    })?;
    match (key.kind.is_map(), path.len() - depth) {
        (true, 2) | (false, 1) => Ok((key, depth)),
        (true, 1) => {
            let hint = format!("set its entries, for example {}", section.variable(key));
            Err(Complaint::new("is a table", hint))
        }
        (true | false, _) => {
            let names: Vec<&str> = section.keys.iter().map(|key| key.name).collect();
            Err(Complaint::new("goes too deep", did_you_mean(name, &names, "known keys")))
        }
    }
}

fn variable_names() -> Vec<String> {
    let all = SECTIONS
        .iter()
        .flat_map(Section::places)
        .flat_map(|place| place.keys().iter().map(move |key| place.variable(key)));
    all.chain([CONFIG_VARIABLE.to_owned(), ENV_FILE_VARIABLE.to_owned()]).collect()
}
