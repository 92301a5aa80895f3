//! The environment file of the earlier server, turned into settings.
//!
//! [`import`] is pure: it takes the file's text and gives settings text, the files of secrets that
//! go with it, and what an operator should know. Loading the file (`--env-file`) takes the same
//! way, with the secrets in the text, which then never leaves the process.

mod dotenv;
mod estate;
mod events;
mod known;
mod leftovers;
mod nodes;
mod render;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use crate::error::{ConfigError, Findings, Origin, Warning};
use crate::layer::KeyPath;

/// Where the tokens go.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Secrets {
    /// Into the settings text itself: for use within the process.
    Inline,
    /// Into one file each in this folder; relative, it is beside the settings file.
    Files(PathBuf),
}

/// A file to write with mode 0600.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SecretFile {
    /// The path as the settings name it.
    pub path: PathBuf,
    /// What goes into it.
    pub contents: SecretString,
}

/// What an environment file means as settings.
#[non_exhaustive]
pub struct Import {
    /// The settings. With [`Secrets::Inline`] they hold the tokens.
    pub toml: String,
    /// The files that the settings name and that must be written.
    pub files: Vec<SecretFile>,
    /// What works differently or not at all now, and what was ignored.
    pub warnings: Vec<Warning>,
    /// What is missing; the nodes, inputs and outputs it concerns are not in the settings.
    pub errors: Vec<ConfigError>,
    origins: BTreeMap<KeyPath, Origin>,
}

/// Turns the text of an environment file into settings.
///
/// `path` is the file's name for messages.
pub fn import(path: &Path, text: &str, secrets: &Secrets) -> Import {
    let (variables, faults) = dotenv::parse(text);
    let mut findings = Findings::default();
    for fault in faults {
        let origin =
            Origin::EnvFile { path: path.to_owned(), line: Some(fault.line), name: fault.name };
        findings.warn(&origin, "", fault.complaint);
    }
    let found = estate::read(path, variables, &mut findings);
    let rendered = render::render(path, &found, secrets);
    let Findings { mut errors, mut warnings } = findings;
    errors.sort();
    warnings.sort();
    Import {
        toml: rendered.toml,
        files: rendered.files,
        warnings,
        errors,
        origins: rendered.origins,
    }
}

// === impl Import ===

impl Import {
    /// The variable that a key of the settings was made from.
    pub(crate) fn origin(&self, path: &[String]) -> Option<&Origin> {
        self.origins.get(path)
    }
}

impl fmt::Debug for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Import")
            .field("files", &self.files)
            .field("warnings", &self.warnings)
            .field("errors", &self.errors)
            .finish_non_exhaustive()
    }
}
