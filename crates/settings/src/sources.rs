//! Where settings come from, and the files that they are read from.

use std::io;
use std::path::{Path, PathBuf};

use api_core::endpoint::{Disk, ReadFile};

use crate::environment::{CONFIG_VARIABLE, ENV_FILE_VARIABLE, Flag};

/// What to read settings from. Its environment holds secrets, so it has no `Debug`.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Sources {
    /// The settings file (`--config`). Unset, the usual places are searched.
    pub config: Option<PathBuf>,
    /// The earlier server's environment file (`--env-file`). With it, the usual places are not
    /// searched.
    pub env_file: Option<PathBuf>,
    /// Settings text of the program itself, with the name that errors give it; above the files.
    /// With any, the usual places are not searched.
    pub texts: Vec<(String, String)>,
    /// The environment.
    pub environment: Vec<(String, String)>,
    /// Flags that are settings.
    pub flags: Vec<Flag>,
}

/// The files that settings are read from: the disk, or a map in memory.
pub trait Files: ReadFile {
    /// The files directly in a folder, in any order.
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;
}

// === impl Sources ===

impl Sources {
    /// The process's environment, with the files that it names.
    pub fn from_process() -> Self {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let environment: Vec<(String, String)> =
            std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
        let mut sources = Self { environment, ..Self::default() };
        sources.config = sources.variable(CONFIG_VARIABLE).map(PathBuf::from);
        sources.env_file = sources.variable(ENV_FILE_VARIABLE).map(PathBuf::from);
        sources
    }

    /// The folders that are searched for `config.toml` and `conf.d`, the nearest first.
    pub fn search_path(&self) -> Vec<PathBuf> {
        let own = self
            .variable("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .or_else(|| self.home().map(|home| home.join(".config")));
        own.map(|folder| folder.join("proxmox-mcp"))
            .into_iter()
            .chain([PathBuf::from("/etc/proxmox-mcp")])
            .collect()
    }

    /// The state folder where none is set.
    pub(crate) fn default_state_dir(&self) -> PathBuf {
        // systemd passes several folders separated by colons; the first is ours.
        let of_unit = self.variable("STATE_DIRECTORY").and_then(|all| all.split(':').next());
        if let Some(folder) = of_unit {
            return PathBuf::from(folder);
        }
        let own = self
            .variable("XDG_STATE_HOME")
            .map(PathBuf::from)
            .or_else(|| self.home().map(|home| home.join(".local/state")));
        own.map_or_else(|| PathBuf::from("/var/lib/proxmox-mcp"), |own| own.join("proxmox-mcp"))
    }

    pub(crate) fn home(&self) -> Option<PathBuf> {
        self.variable("HOME").map(PathBuf::from)
    }

    fn variable(&self, name: &str) -> Option<&str> {
        let found = self.environment.iter().find(|(given, _)| given == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

// === impl Files ===

impl Files for Disk {
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect()
    }
}
