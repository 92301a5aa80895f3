//! `config import`: the earlier server's environment file as settings and files of secrets.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use secrecy::ExposeSecret as _;
use settings::env_file::{self, Import, Secrets};

use super::terminal::Terminal;
use super::{REFUSED, files, plural, refused, report};

/// The folder of the secrets, beside the settings.
const SECRETS: &str = "secrets";

/// Prints what the file means as settings, or writes it into `out`.
pub(super) fn run(
    terminal: &mut dyn Terminal,
    env_file: &Path,
    out: Option<&Path>,
) -> anyhow::Result<u8> {
    let bytes = std::fs::read(env_file).with_context(|| format!("read {}", env_file.display()))?;
    let Ok(text) = String::from_utf8(bytes) else {
        bail!("read {}: it is not text in UTF-8", env_file.display());
    };
    let import = env_file::import(env_file, &text, &Secrets::Files(SECRETS.into()));
    report::say_warnings(terminal, &import.warnings);
    for error in &import.errors {
        terminal.say(&format!("error: {error}"));
    }
    match out {
        None => print(terminal, &import),
        Some(out) => write(terminal, &import, out),
    }
}

fn print(terminal: &mut dyn Terminal, import: &Import) -> anyhow::Result<u8> {
    terminal.answer(&import.toml)?;
    if !import.files.is_empty() {
        let count = plural(import.files.len(), "token is", "tokens are");
        terminal.say(&format!("{count} not printed: --out DIR writes the settings and the files"));
    }
    if import.errors.is_empty() { Ok(0) } else { Ok(REFUSED) }
}

fn write(terminal: &mut dyn Terminal, import: &Import, out: &Path) -> anyhow::Result<u8> {
    if !import.errors.is_empty() {
        return Err(refused("nothing was written; correct the file first"));
    }
    let main = out.join("config.toml");
    let secrets: Vec<PathBuf> = import.files.iter().map(|file| out.join(&file.path)).collect();
    if let Some(path) = secrets.iter().chain([&main]).find(|path| path.exists()) {
        let path = path.display();
        let reason =
            format!("{path} exists; nothing was written: choose another folder or move it");
        return Err(refused(reason));
    }
    files::folder(out, false)?;
    files::folder(&out.join(SECRETS), true)?;
    for (path, file) in secrets.iter().zip(&import.files) {
        // A line break at the end keeps editors and `cat` content; readers leave it out.
        let line = format!("{}\n", file.contents.expose_secret());
        files::write_new(path, line.as_bytes(), files::PRIVATE)?;
    }
    files::write_new(&main, import.toml.as_bytes(), files::PUBLIC)?;
    terminal.answer(&main.display().to_string())?;
    for path in &secrets {
        terminal.answer(&path.display().to_string())?;
    }
    terminal.say(&format!("Next: proxmox-mcp test --config {}", main.display()));
    Ok(0)
}
