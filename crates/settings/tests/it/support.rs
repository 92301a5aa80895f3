//! Files in memory and a loader that renders its result.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use settings::{ConfigErrors, FileContent, Files, Flag, Loaded, ReadFile, Sources, load_from};

/// Files in memory; a name that ends with `+world` in [`Setup::file`] is readable by all.
#[derive(Default)]
pub(crate) struct MemoryFiles(BTreeMap<PathBuf, (String, bool)>);

/// What a test sets up.
#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) files: MemoryFiles,
    pub(crate) sources: Sources,
}

impl ReadFile for MemoryFiles {
    fn read(&self, path: &Path) -> io::Result<FileContent> {
        let (text, world_readable) = self.0.get(path).ok_or(io::ErrorKind::NotFound)?;
        if text == "<denied>" {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let bytes = text.clone().into_bytes();
        Ok(FileContent { bytes, world_readable: Some(*world_readable) })
    }
}

impl Files for MemoryFiles {
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let files: Vec<PathBuf> =
            self.0.keys().rev().filter(|path| path.parent() == Some(folder)).cloned().collect();
        if files.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(files) }
    }
}

impl Setup {
    /// The main file `/etc/proxmox-mcp/config.toml` with a token file for it.
    pub(crate) fn main(text: &str) -> Self {
        Self::default()
            .file("/etc/proxmox-mcp/config.toml", text)
            .file("/etc/proxmox-mcp/home.token", "11111111-2222-3333-4444-555555555555\n")
    }

    pub(crate) fn file(mut self, path: &str, text: &str) -> Self {
        self.files.0.insert(PathBuf::from(path), (text.to_owned(), false));
        self
    }

    pub(crate) fn world_readable(mut self, path: &str, text: &str) -> Self {
        self.files.0.insert(PathBuf::from(path), (text.to_owned(), true));
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.sources.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn flag(mut self, name: &str, key: &str, value: &str) -> Self {
        self.sources.flags.push(Flag::new(name, key, value));
        self
    }

    pub(crate) fn config(mut self, path: &str) -> Self {
        self.sources.config = Some(PathBuf::from(path));
        self
    }

    pub(crate) fn env_file(mut self, text: &str) -> Self {
        self.sources.env_file = Some(PathBuf::from(".env"));
        self.file(".env", text)
    }

    pub(crate) fn load(&self) -> Result<Loaded, ConfigErrors> {
        load_from(&self.sources, &self.files)
    }

    /// The origins, without what is a plain default, then the warnings; or the errors.
    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        let warnings = match self.load() {
            Ok(loaded) => {
                for entry in loaded.origins() {
                    if entry.origin != settings::Origin::Default {
                        writeln!(text, "{} = {}  <- {}", entry.key, entry.value, entry.origin)
                            .expect("a String takes any text");
                    }
                }
                loaded.warnings
            }
            Err(errors) => {
                for error in &errors.errors {
                    writeln!(text, "error: {error}").expect("a String takes any text");
                }
                errors.warnings
            }
        };
        for warning in warnings {
            writeln!(text, "warning: {warning}").expect("a String takes any text");
        }
        text
    }
}

/// A table that loads, for tests about something else.
pub(crate) const HOME: &str = r#"
[pve.home]
endpoints = ["https://pve1:8006"]
token_id = "mcp@pve!agent"
token_file = "home.token"
"#;

/// A certificate of its own and its key, in PEM.
pub(crate) fn certificate() -> (String, String) {
    let pair = rcgen::generate_simple_self_signed(["manager.example.lan".to_owned()]);
    let pair = pair.expect("names can be signed");
    (pair.cert.pem(), pair.signing_key.serialize_pem())
}
