//! From sources to settings: default < file < conf.d < the program's own text or `.env` <
//! environment < flags.

use std::path::{Path, PathBuf};
use std::{fmt, io};

use api_core::endpoint::Disk;
use secrecy::SecretString;

use crate::document::DEFAULT;
use crate::env_file::{self, Secrets};
use crate::environment;
use crate::error::{Complaint, ConfigError, ConfigErrors, Findings, Origin, Warning};
use crate::layer::{KeyPath, Layer};
use crate::layers::Merged;
use crate::origins::OriginEntry;
use crate::settings::Settings;
use crate::sources::{Files, Sources};
use crate::text;

/// Settings with what is worth knowing about them.
#[non_exhaustive]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// What works and should not stay as it is.
    pub warnings: Vec<Warning>,
    /// The files that were read, in order: what a reload must watch.
    pub files: Vec<PathBuf>,
    merged: Merged,
}

/// Loads the settings from the disk.
///
/// # Errors
///
/// Everything that is wrong, at once.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigErrors> {
    load_from(sources, &Disk)
}

/// Loads the settings with the given files.
///
/// # Errors
///
/// As [`load`].
pub fn load_from(sources: &Sources, files: &dyn Files) -> Result<Loaded, ConfigErrors> {
    let findings = Findings::default();
    let mut loader = Loader { sources, files, findings, secrets: Vec::new(), read: Vec::new() };
    let merged = Merged::new(loader.layers());
    let settings = loader.settings(&merged);
    let Loader { findings, read, .. } = loader;
    match (findings.finish(), settings) {
        (Err(errors), _) => Err(errors),
        (Ok(warnings), Some(settings)) => Ok(Loaded { settings, warnings, files: read, merged }),
        // Settings are withheld only after an error; this keeps the promise if that ever breaks.
        (Ok(warnings), None) => {
            let reason = "could not be read".to_owned();
            let origin = Origin::Default;
            let error = ConfigError { origin, key: String::new(), reason, hint: String::new() };
            Err(ConfigErrors { errors: vec![error], warnings })
        }
    }
}

pub(crate) struct Loader<'a> {
    pub(crate) sources: &'a Sources,
    pub(crate) files: &'a dyn Files,
    pub(crate) findings: Findings,
    /// Those of inputs and outputs, as they are read.
    pub(crate) secrets: Vec<SecretString>,
    read: Vec<PathBuf>,
}

// === impl Loaded ===

impl Loaded {
    /// Every value in force and where it came from, secrets masked.
    pub fn origins(&self) -> Vec<OriginEntry> {
        let mut entries: Vec<OriginEntry> =
            self.merged.effective().iter().map(OriginEntry::new).collect();
        // The default file cannot hold the keys of tables whose names it does not know.
        for table in self.merged.named_tables() {
            for key in self.merged.keys_of(&table) {
                let mut path = table.clone();
                path.push(key.name.to_owned());
                if self.merged.value(&path).is_none() {
                    entries.extend(OriginEntry::default(&path, key));
                }
            }
        }
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        entries
    }

    /// An error about a key whose value only a later step could judge, for example a toolset that
    /// the catalogue does not have.
    pub fn error_at(
        &self,
        key: &str,
        reason: impl Into<String>,
        hint: impl Into<String>,
    ) -> ConfigError {
        let path: KeyPath = key.split('.').map(str::to_owned).collect();
        ConfigError {
            origin: self.merged.origin(&path),
            key: key.to_owned(),
            reason: reason.into(),
            hint: hint.into(),
        }
    }
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("warnings", &self.warnings)
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

// === impl Loader ===

impl Loader<'_> {
    fn layers(&mut self) -> Vec<Layer> {
        let mut layers = vec![defaults()];
        for path in self.settings_files() {
            layers.extend(self.file(&path));
        }
        if let Some(path) = self.sources.env_file.clone() {
            layers.extend(self.env_file(&path));
        }
        for (name, text) in &self.sources.texts {
            layers.push(text::layer(Path::new(name), text, &mut self.findings));
        }
        let mut layer = environment::layer(&self.sources.environment, &mut self.findings);
        layer.resolve_paths(None, self.sources.home().as_deref());
        layers.push(layer);
        layers.push(environment::flags(&self.sources.flags, &mut self.findings));
        layers
    }

    /// The main file and the files of `conf.d` beside it, those that exist.
    fn settings_files(&mut self) -> Vec<PathBuf> {
        if let Some(path) = &self.sources.config {
            let mut files = vec![path.clone()];
            files.extend(self.drop_ins(path.parent().unwrap_or(Path::new(""))));
            return files;
        }
        if self.sources.env_file.is_some() || !self.sources.texts.is_empty() {
            return Vec::new();
        }
        for folder in self.sources.search_path() {
            let main = folder.join("config.toml");
            let names = self.files.list(&folder).unwrap_or_default();
            let mut files: Vec<PathBuf> = names.into_iter().filter(|name| *name == main).collect();
            files.extend(self.drop_ins(&folder));
            if !files.is_empty() {
                return files;
            }
        }
        Vec::new()
    }

    fn drop_ins(&mut self, folder: &Path) -> Vec<PathBuf> {
        let folder = folder.join("conf.d");
        match self.files.list(&folder) {
            Ok(mut files) => {
                files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
                files.sort();
                files
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                self.findings.error(&Origin::file(folder), "", unreadable(&error));
                Vec::new()
            }
        }
    }

    fn file(&mut self, path: &Path) -> Option<Layer> {
        let (text, is_world_readable) =
            self.text(path, "`proxmox-mcp config init` writes a first one")?;
        let mut layer = text::layer(path, &text, &mut self.findings);
        let home = self.sources.home();
        layer.resolve_paths(path.parent(), home.as_deref());
        if is_world_readable && layer.entries.values().any(|entry| entry.key.is_secret()) {
            self.warn_world_readable(path);
        }
        Some(layer)
    }

    fn env_file(&mut self, path: &Path) -> Option<Layer> {
        let (text, is_world_readable) = self.text(path, "correct the path")?;
        if is_world_readable {
            self.warn_world_readable(path);
        }
        let origin = Origin::file(path);
        let import = env_file::import(path, &text, &Secrets::Inline);
        let mut layer = text::layer(path, &import.toml, &mut self.findings);
        for (at, entry) in &mut layer.entries {
            entry.origin = import.origin(at).unwrap_or(&origin).clone();
        }
        for (at, opened) in &mut layer.tables {
            *opened = import.origin(at).unwrap_or(&origin).clone();
        }
        self.findings.errors.extend(import.errors);
        self.findings.warnings.extend(import.warnings);
        Some(layer)
    }

    /// A file's text and whether everybody may read it; `absent` is the hint where it is missing.
    fn text(&mut self, path: &Path, absent: &str) -> Option<(String, bool)> {
        let read = self.files.read(path).and_then(|content| {
            let text = String::from_utf8(content.bytes)
                .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
            Ok((text, content.world_readable == Some(true)))
        });
        match read {
            Ok(found) => {
                self.read.push(path.to_owned());
                Some(found)
            }
            Err(error) => {
                let mut complaint = unreadable(&error);
                if error.kind() == io::ErrorKind::NotFound {
                    complaint = Complaint::new(complaint.reason, absent);
                }
                self.findings.error(&Origin::file(path), "", complaint);
                None
            }
        }
    }

    fn warn_world_readable(&mut self, path: &Path) {
        let reason = "holds secrets and can be read by everybody on this machine";
        let hint = format!("chmod 600 {}", path.display());
        self.findings.warn(&Origin::file(path), "", Complaint::new(reason, hint));
    }
}

/// The layer of the embedded default file.
fn defaults() -> Layer {
    let mut findings = Findings::default();
    let mut layer = text::layer(Path::new("default.toml"), DEFAULT, &mut findings);
    debug_assert!(findings.errors.is_empty(), "{:?}", findings.errors);
    for entry in layer.entries.values_mut() {
        entry.origin = Origin::Default;
    }
    layer
}

/// What a failed read means to a person.
pub(crate) fn unreadable(error: &io::Error) -> Complaint {
    match error.kind() {
        io::ErrorKind::NotFound => Complaint::new("does not exist", ""),
        io::ErrorKind::PermissionDenied => {
            Complaint::new("cannot be read: permission denied", "check its owner and mode")
        }
        io::ErrorKind::InvalidData => Complaint::new("is not text in UTF-8", ""),
        io::ErrorKind::IsADirectory => Complaint::new("is a folder, not a file", ""),
        _ => Complaint::new(format!("cannot be read: {error}"), ""),
    }
}
