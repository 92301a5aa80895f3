//! The values of one table, by the kinds and with the defaults that the table of keys gives them.
//!
//! *Invariant:* what the table of keys has complained about is not complained about again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::SignedDuration;
use secrecy::SecretString;
use toml::Value;

use crate::error::Complaint;
use crate::keys::Key;
use crate::layer::KeyPath;
use crate::layers::{self, Merged};
use crate::load::{Loader, unreadable};

/// One table while it is read: values come out, complaints go to the loader's findings.
pub(in crate::events) struct Fields<'a, 'l> {
    pub(in crate::events) loader: &'a mut Loader<'l>,
    pub(in crate::events) merged: &'a Merged,
    path: KeyPath,
    keys: Vec<&'static Key>,
    before: usize,
}

// === impl Fields ===

impl<'a, 'l> Fields<'a, 'l> {
    /// The table at that path, complaining about what it must have and has not.
    pub(in crate::events) fn open(
        loader: &'a mut Loader<'l>,
        merged: &'a Merged,
        path: &[&str],
    ) -> Self {
        let path: KeyPath = path.iter().map(|&segment| segment.to_owned()).collect();
        Self::at(loader, merged, path)
    }

    /// A table that nobody wrote, with the defaults of that type.
    pub(in crate::events) fn open_unwritten(
        loader: &'a mut Loader<'l>,
        merged: &'a Merged,
        section: &str,
        of_type: &str,
    ) -> Self {
        // A name that no table can have.
        let path = vec![section.to_owned(), String::new()];
        let of_type = crate::keys::Section::find(section).and_then(|it| it.find_type(of_type));
        let keys = of_type.map_or(&[][..], |it| it.keys).iter().collect();
        let before = loader.findings.errors.len();
        Self { loader, merged, path, keys, before }
    }

    fn at(loader: &'a mut Loader<'l>, merged: &'a Merged, path: KeyPath) -> Self {
        let keys = match crate::keys::Section::find(&path[0]) {
            Some(section) if !section.named => section.keys.iter().collect(),
            _ => merged.keys_of(&path),
        };
        let before = loader.findings.errors.len();
        let fields = Self { loader, merged, path, keys, before };
        for key in fields.keys.clone() {
            if key.required && !fields.has(key.name) && !fields.is_known_wrong(key.name) {
                let example = crate::keys::Section::find(&fields.path[0])
                    .map_or_else(|| key.example.to_owned(), |section| section.fill(key.example));
                let hint = format!("for example {} = {example}", key.name);
                let origin = fields.merged.origin(&fields.path);
                let name = layers::name(&fields.full(key.name));
                fields.loader.findings.error(&origin, name, Complaint::new("is missing", hint));
            }
        }
        fields
    }

    /// The tables within that one, such as `peer`, by their names.
    pub(in crate::events) fn names_below(&self, nested: &str) -> Vec<String> {
        self.merged.tables_below(&self.full(nested))
    }

    /// One of the tables within that one.
    pub(in crate::events) fn below(&mut self, nested: &str, name: &str) -> Fields<'_, 'l> {
        let mut path = self.full(nested);
        path.push(name.to_owned());
        Fields::at(self.loader, self.merged, path)
    }

    /// Whether nothing was wrong with it so far, nor with the tables within it.
    pub(in crate::events) fn is_good(&self) -> bool {
        let prefix = format!("{}.", layers::name(&self.path));
        let errors = &self.loader.findings.errors;
        errors.len() == self.before && !errors.iter().any(|error| error.key.starts_with(&prefix))
    }

    /// Complains about the value at that key.
    pub(in crate::events) fn wrong(
        &mut self,
        key: &str,
        reason: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let path = self.full(key);
        let origin = self.merged.origin(&path);
        self.loader.findings.error(&origin, layers::name(&path), Complaint::new(reason, hint));
    }

    /// Warns about the value at that key.
    pub(in crate::events) fn warn(
        &mut self,
        key: &str,
        reason: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let path = self.full(key);
        let origin = self.merged.origin(&path);
        self.loader.findings.warn(&origin, layers::name(&path), Complaint::new(reason, hint));
    }

    /// Complains about one entry of the table at that key.
    pub(in crate::events) fn wrong_entry(
        &mut self,
        key: &str,
        entry: &str,
        reason: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let mut path = self.full(key);
        path.push(entry.to_owned());
        let origin = self.merged.origin(&path);
        self.loader.findings.error(&origin, layers::name(&path), Complaint::new(reason, hint));
    }

    /// Complains about the table as a whole.
    pub(in crate::events) fn wrong_table(
        &mut self,
        reason: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let origin = self.merged.origin(&self.path);
        let name = layers::name(&self.path);
        self.loader.findings.error(&origin, name, Complaint::new(reason, hint));
    }

    /// Whether anybody wrote something at that key.
    pub(in crate::events) fn has(&self, key: &str) -> bool {
        let path = self.full(key);
        self.merged.value(&path).is_some() || !self.merged.paths_below(&path).is_empty()
    }

    pub(in crate::events) fn text(&self, key: &str) -> Option<String> {
        self.value(key)?.as_str().map(str::to_owned)
    }

    /// The text of a key that has one in any case; empty after the complaint about its absence.
    pub(in crate::events) fn needed(&self, key: &str) -> String {
        self.text(key).unwrap_or_default()
    }

    pub(in crate::events) fn flag(&self, key: &str) -> bool {
        self.value(key).and_then(|value| value.as_bool()).unwrap_or_default()
    }

    pub(in crate::events) fn number(&self, key: &str) -> Option<u64> {
        self.value(key)?.as_integer().and_then(|number| number.try_into().ok())
    }

    /// The number of a key with a default.
    pub(in crate::events) fn count(&self, key: &str) -> usize {
        self.number(key).and_then(|number| number.try_into().ok()).unwrap_or_default()
    }

    pub(in crate::events) fn duration(&self, key: &str) -> Option<Duration> {
        self.number(key).map(Duration::from_secs)
    }

    pub(in crate::events) fn span(&self, key: &str) -> Option<SignedDuration> {
        self.value(key)?.as_integer().map(SignedDuration::from_secs)
    }

    /// The texts of a list, or of one text.
    pub(in crate::events) fn list(&self, key: &str) -> Vec<String> {
        match self.value(key) {
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned))
                .collect(),
            Some(Value::String(text)) => vec![text],
            _ => Vec::new(),
        }
    }

    /// What stands at a moment's key, as text.
    pub(in crate::events) fn time(&self, key: &str) -> Option<String> {
        match self.value(key)? {
            Value::String(text) => Some(text),
            Value::Datetime(datetime) => Some(datetime.to_string()),
            _ => None,
        }
    }

    /// The entries of a table of values, merged one by one over all layers.
    pub(in crate::events) fn entries(&self, key: &str) -> BTreeMap<String, Value> {
        let path = self.full(key);
        let below = self.merged.paths_below(&path);
        let entry = |path: &KeyPath| Some((path.last()?.clone(), self.merged.value(path)?.clone()));
        below.into_iter().filter_map(entry).collect()
    }

    /// The entries of a table of texts.
    pub(in crate::events) fn texts(&self, key: &str) -> BTreeMap<String, String> {
        let entries = self.entries(key).into_iter();
        entries.filter_map(|(name, value)| Some((name, value.as_str()?.to_owned()))).collect()
    }

    pub(in crate::events) fn path(&self, key: &str) -> Option<PathBuf> {
        self.text(key).map(PathBuf::from)
    }

    /// Each word of the key as something else, complaining about those that are not.
    pub(in crate::events) fn parsed<T>(
        &mut self,
        key: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let mut all = Vec::new();
        for word in self.list(key) {
            match read(&word) {
                Ok(value) => all.push(value),
                Err(reason) => self.wrong(key, format!("is not valid: {reason}"), ""),
            }
        }
        all
    }

    /// The secret of the key, or that in the file of `<key>_file`.
    pub(in crate::events) fn secret(&mut self, key: &str) -> Option<SecretString> {
        let secret = self.read_secret(key)?;
        self.loader.secrets.push(secret.clone());
        Some(secret)
    }

    fn read_secret(&mut self, key: &str) -> Option<SecretString> {
        if let Some(text) = self.text(key) {
            if text.trim().is_empty() {
                self.wrong(key, "is empty", "write the secret, or remove the key");
                return None;
            }
            return Some(text.into());
        }
        let file = format!("{key}_file");
        let text = self.contents(&file)?;
        if text.trim().is_empty() {
            self.wrong(&file, "names a file that is empty", "put the secret into it");
            return None;
        }
        Some(text.trim().to_owned().into())
    }

    /// The same where there has to be one.
    pub(in crate::events) fn needed_secret(&mut self, key: &str) -> SecretString {
        let is_said = self.has(key) || self.has(&format!("{key}_file"));
        let is_wrong = self.is_known_wrong(key) || self.is_known_wrong(&format!("{key}_file"));
        if !is_said && !is_wrong {
            let hint = format!("name a file with it in {key}_file, or set it by the environment");
            self.wrong(key, "is missing", hint);
        }
        self.secret(key).unwrap_or_default()
    }

    /// The text of the file that the key names.
    pub(in crate::events) fn contents(&mut self, key: &str) -> Option<String> {
        let bytes = self.bytes(key)?;
        match String::from_utf8(bytes) {
            Ok(text) => Some(text),
            Err(_) => {
                self.wrong(key, "names a file that is not text in UTF-8", "");
                None
            }
        }
    }

    /// What is in the file that the key names.
    pub(in crate::events) fn bytes(&mut self, key: &str) -> Option<Vec<u8>> {
        let path = self.path(key)?;
        match self.loader.files.read(&path) {
            Ok(content) => {
                let is_secret =
                    self.key(key).is_some_and(|it| it.kind == crate::keys::Kind::SecretFile);
                if is_secret && content.world_readable == Some(true) {
                    let reason = "names a file that everybody on this machine can read";
                    self.warn(key, reason, format!("chmod 600 {}", path.display()));
                }
                Some(content.bytes)
            }
            Err(error) => {
                // That it cannot be read has been said of every file at once.
                if !self.is_known_wrong(key) {
                    let Complaint { reason, hint } = unreadable(&error);
                    self.wrong(key, format!("names {}, which {reason}", path.display()), hint);
                }
                None
            }
        }
    }

    fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().copied().find(|key| key.name == name)
    }

    /// What is written, or else the default of the table of keys.
    fn value(&self, key: &str) -> Option<Value> {
        let written = self.merged.value(&self.full(key)).cloned();
        written.or_else(|| self.key(key)?.default?.parse().ok())
    }

    fn is_known_wrong(&self, key: &str) -> bool {
        let name = layers::name(&self.full(key));
        self.loader.findings.errors.iter().any(|error| error.key == name)
    }

    fn full(&self, key: &str) -> KeyPath {
        let mut path = self.path.clone();
        path.push(key.to_owned());
        path
    }
}
