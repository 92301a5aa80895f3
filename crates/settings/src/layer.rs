//! One layer of settings: what one file, the environment or the command line says.

use std::collections::BTreeMap;
use std::path::Path;

use estate::ClusterKey;
use toml::Value;

use crate::error::{Complaint, Findings, Origin};
use crate::keys::{Key, Kind, did_you_mean, key_at};
use crate::table::{NOT_YET, SECTIONS};

/// The segments of a key: `["pve", "home", "labels", "site"]`.
pub(crate) type KeyPath = Vec<String>;

/// What one source says.
#[derive(Default)]
pub(crate) struct Layer {
    /// The values, each at its own path; a map's entries stand apart.
    pub(crate) entries: BTreeMap<KeyPath, Entry>,
    /// The named tables that the source opens, with or without keys.
    pub(crate) tables: BTreeMap<KeyPath, Origin>,
}

/// One value and where it was written.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) key: &'static Key,
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

// === impl Layer ===

impl Layer {
    /// Notes a named table, checking its name.
    pub(crate) fn open(&mut self, path: &[&str], origin: &Origin, findings: &mut Findings) -> bool {
        let name = path.last().copied().unwrap_or_default();
        if ClusterKey::try_new(name).is_err() {
            let mut example: Vec<&str> = path.to_vec();
            let better = key_from(name);
            example.pop();
            example.push(&better);
            let hint = format!(
                "use a-z, 0-9 and _ only, at most 40 characters, for example [{}]",
                dotted(&example)
            );
            let complaint = Complaint::new("is not a name for a table", hint);
            findings.error(origin, dotted(path), complaint);
            return false;
        }
        let path = path.iter().map(|&segment| segment.to_owned()).collect();
        self.tables.entry(path).or_insert_with(|| origin.clone());
        true
    }

    /// Checks one value and notes it.
    pub(crate) fn set(
        &mut self,
        path: KeyPath,
        key: &'static Key,
        value: Value,
        origin: Origin,
        findings: &mut Findings,
    ) {
        let is_entry = key.kind.is_map();
        let kind = if is_entry { key.kind.entry() } else { key.kind };
        if key.kind == Kind::Map
            && let Some(name) = path.last()
            && ClusterKey::try_new(name).is_err()
        {
            let hint = format!("use a-z, 0-9 and _ only, for example `{}`", key_from(name));
            findings.error(&origin, dotted(&path), Complaint::new("is not a label's name", hint));
            return;
        }
        match kind.check(&value) {
            Ok(()) => {
                self.entries.insert(path, Entry { key, value, origin });
            }
            Err(complaint) => findings.error(&origin, dotted(&path), complaint),
        }
    }

    /// Makes relative paths absolute by the folder of the file that names them, and `~/` by the
    /// home folder.
    pub(crate) fn resolve_paths(&mut self, base: Option<&Path>, home: Option<&Path>) {
        for entry in self.entries.values_mut().filter(|entry| entry.key.kind.is_path()) {
            let Value::String(text) = &mut entry.value else { continue };
            let resolved = match (text.strip_prefix("~/"), home, base) {
                (Some(rest), Some(home), _) => home.join(rest),
                (None, _, Some(base)) => base.join(&*text),
                _ => continue,
            };
            *text = resolved.to_string_lossy().into_owned();
        }
    }

    /// Complains where a secret and the file of the same secret are both set in this layer.
    pub(crate) fn check_pairs(&self, findings: &mut Findings) {
        for (path, entry) in &self.entries {
            let Some(sibling) = sibling(path) else { continue };
            if entry.key.is_secret() && self.entries.contains_key(&sibling) {
                let file = sibling.last().map_or("", String::as_str);
                let complaint =
                    Complaint::new(format!("is set, and {file} too"), "keep one of them");
                findings.error(&entry.origin, dotted(path), complaint);
            }
        }
    }
}

/// The key that says the same by other means: `token` for `token_file` and the reverse.
pub(crate) fn sibling(path: &[String]) -> Option<KeyPath> {
    let (name, parents) = path.split_last()?;
    let other = match name.strip_suffix("_file") {
        Some(stem) => stem.to_owned(),
        None => format!("{name}_file"),
    };
    let mut sibling = parents.to_vec();
    sibling.push(other);
    let is_pair = key_at(path)?.is_secret() || key_at(&sibling)?.is_secret();
    is_pair.then_some(sibling)
}

/// The complaint about a section that does not exist.
pub(crate) fn unknown_section(name: &str) -> Complaint {
    if NOT_YET.contains(&name) {
        return Complaint::new(
            "is not known to this release",
            "remove it until a release brings it",
        );
    }
    let names: Vec<&str> = SECTIONS.iter().map(|section| section.name).collect();
    Complaint::new("is not a known section", did_you_mean(name, &names, "known sections"))
}

/// The key as it is written in messages, quoting what is not bare.
pub(crate) fn dotted<S: AsRef<str>>(path: &[S]) -> String {
    let is_bare = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    };
    let segments = path.iter().map(|segment| {
        let segment = segment.as_ref();
        if is_bare(segment) {
            segment.to_owned()
        } else {
            format!("{:?}", segment.chars().take(80).collect::<String>())
        }
    });
    segments.collect::<Vec<_>>().join(".")
}

/// The nearest valid name for a table.
pub(crate) fn key_from(name: &str) -> String {
    let key: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
        .take(40)
        .collect();
    if key.is_empty() { "home".to_owned() } else { key }
}
