//! What can be wrong with settings: each problem with its key, where it was written and the remedy.

use std::fmt;
use std::path::PathBuf;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Origin {
    /// A settings file, and the line where it is known.
    File {
        /// The file as it was named.
        path: PathBuf,
        /// The line, counted from 1.
        line: Option<usize>,
    },
    /// The earlier server's environment file.
    EnvFile {
        /// The file as it was named.
        path: PathBuf,
        /// The line, counted from 1; `None` where the whole file is meant.
        line: Option<usize>,
        /// The variable on that line; empty where the whole file is meant.
        name: String,
    },
    /// A variable of the process's environment.
    Variable {
        /// The variable's name.
        name: String,
    },
    /// A flag of the command line.
    Flag {
        /// The flag as it is typed, for example `--mode`.
        name: String,
    },
    /// Nobody wrote it: the built-in default, or what is missing.
    Default,
}

/// One thing that is wrong with the settings.
///
/// It never carries the value of a secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{}", sentence(.origin, .key, .reason, .hint))]
pub struct ConfigError {
    /// Where it was written.
    pub origin: Origin,
    /// The key, dotted (`pve.home.endpoints`); empty where a whole file is meant.
    pub key: String,
    /// What is wrong with the value.
    pub reason: String,
    /// What to do about it; may be empty.
    pub hint: String,
}

/// Something that works and should not stay as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning {
    /// Where it was written.
    pub origin: Origin,
    /// The key or variables it is about.
    pub key: String,
    /// What is the matter.
    pub reason: String,
    /// What to do about it; may be empty.
    pub hint: String,
}

/// Everything that is wrong with the settings, found in one pass.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.errors))]
pub struct ConfigErrors {
    /// The problems, in the order of the files and their lines; never empty.
    pub errors: Vec<ConfigError>,
    /// What was noticed besides.
    pub warnings: Vec<Warning>,
}

/// Errors and warnings as they are found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) errors: Vec<ConfigError>,
    pub(crate) warnings: Vec<Warning>,
}

/// A reason and a hint that do not know their key and origin yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    pub(crate) reason: String,
    pub(crate) hint: String,
}

// === impl Origin ===

impl Origin {
    /// The file of a settings file's origin without a line: for problems of the whole file.
    pub(crate) fn file(path: impl Into<PathBuf>) -> Self {
        Self::File { path: path.into(), line: None }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line: None } => write!(f, "{}", path.display()),
            Self::File { path, line: Some(line) } => write!(f, "{}:{line}", path.display()),
            Self::EnvFile { path, line, name } => {
                write!(f, "{}", path.display())?;
                if let Some(line) = line {
                    write!(f, ":{line}")?;
                }
                if name.is_empty() { Ok(()) } else { write!(f, " ({name})") }
            }
            Self::Variable { name } => write!(f, "variable {name}"),
            Self::Flag { name } => write!(f, "flag {name}"),
            Self::Default => f.write_str("default"),
        }
    }
}

// === impl Warning ===

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&sentence(&self.origin, &self.key, &self.reason, &self.hint))
    }
}

// === impl Findings ===

impl Findings {
    pub(crate) fn error(&mut self, origin: &Origin, key: impl Into<String>, complaint: Complaint) {
        let Complaint { reason, hint } = complaint;
        self.errors.push(ConfigError { origin: origin.clone(), key: key.into(), reason, hint });
    }

    pub(crate) fn warn(&mut self, origin: &Origin, key: impl Into<String>, complaint: Complaint) {
        let Complaint { reason, hint } = complaint;
        self.warnings.push(Warning { origin: origin.clone(), key: key.into(), reason, hint });
    }

    /// The value with its warnings, or all errors in the order of files and lines.
    pub(crate) fn finish(mut self) -> Result<Vec<Warning>, ConfigErrors> {
        self.warnings.sort();
        self.warnings.dedup();
        if self.errors.is_empty() {
            return Ok(self.warnings);
        }
        self.errors.sort();
        self.errors.dedup();
        Err(ConfigErrors { errors: self.errors, warnings: self.warnings })
    }
}

// === impl Complaint ===

impl Complaint {
    pub(crate) fn new(reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { reason: reason.into(), hint: hint.into() }
    }
}

fn sentence(origin: &Origin, key: &str, reason: &str, hint: &str) -> String {
    let mut text = match origin {
        Origin::Default => String::new(),
        // Without a key the variable itself is what the sentence is about.
        Origin::EnvFile { path, line: Some(line), name } if key.is_empty() && !name.is_empty() => {
            format!("{}:{line}: {name} ", path.display())
        }
        Origin::Variable { .. } if key.is_empty() => format!("{origin} "),
        _ => format!("{origin}: "),
    };
    if !key.is_empty() {
        text.push_str(key);
        text.push_str(": ");
    }
    text.push_str(reason);
    if !hint.is_empty() {
        text.push_str("; ");
        text.push_str(hint);
    }
    text
}

fn lines(errors: &[ConfigError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
