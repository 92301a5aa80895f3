//! `proxmox-mcp approver add`: sets a person up who may agree to plans.
//!
//! *Invariant:* a passphrase is typed on a terminal and kept nowhere; a secret of one-time codes is
//! shown on the terminal once, and goes to no stream that could be a pipe.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use manager::approve::{SealedKey, new_code_secret};
use secrecy::ExposeSecret as _;

use crate::cli::SourceArgs;
use crate::proof;
use crate::{estate, output};

const EXAMPLES: &str = "\
Examples:
  proxmox-mcp approver add ada            a key under a passphrase; prints the table for the settings
  proxmox-mcp approver add ada --totp     one-time codes instead; run it as the manager's account

The table goes into the settings of whoever runs the work: the manager's, where there is one.
An approver by account needs no secret: write [approver.ada] with uid = 1001, or group = \"admins\".";

/// What to do with approvers.
#[derive(Debug, Subcommand)]
pub(crate) enum ApproverCommand {
    /// Make what proves an approver, and print their table for the settings.
    #[command(after_help = EXAMPLES)]
    Add {
        /// Their name: small letters, digits and `_`
        name: String,
        /// One-time codes for an app, instead of a key
        #[arg(long)]
        totp: bool,
        /// Where the key, or the secret of the codes, is written [default: beside the settings; for codes, /etc/proxmox-mcp]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        source: SourceArgs,
    },
}

/// Runs the command.
pub(crate) fn run(command: ApproverCommand) -> anyhow::Result<ExitCode> {
    let ApproverCommand::Add { name, totp, out, source } = command;
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.is_empty() || name.len() > 40 || !name.chars().all(is_plain) {
        bail!("a name is made of a-z, 0-9 and _, at most 40 characters");
    }
    if totp {
        return add_codes(&name, &out.unwrap_or_else(|| code_file(&name)));
    }
    let own = estate::sources(&source).search_path().into_iter().next().unwrap_or_default();
    let path = out.unwrap_or_else(|| own.join(proof::file_name(&name)));
    let path = std::path::absolute(&path).context("find out where the key goes")?;
    if path.exists() {
        bail!("{} exists: remove it first, or say --out", path.display());
    }
    let passphrase = proof::secret(&format!("new passphrase of {name}: "))?;
    let again = proof::secret("the same again: ")?;
    if passphrase.expose_secret() != again.expose_secret() {
        bail!("the two are not the same; nothing was made");
    }
    let key = SealedKey::make(&name, &passphrase)?;
    write_private(&path, &key.to_text())?;
    let table = format!("[approver.{name}]\nkey = \"{}\"", key.public());
    output::line(&table)?;
    say(&format!(
        "the key is in {}; put the table above into the settings of whoever runs the work",
        path.display()
    ));
    Ok(ExitCode::SUCCESS)
}

fn add_codes(name: &str, path: &Path) -> anyhow::Result<ExitCode> {
    let path = std::path::absolute(path).context("find out where the secret goes")?;
    if path.exists() {
        bail!("{} exists: remove it first, or say --out", path.display());
    }
    let (secret, url) = new_code_secret(name)?;
    // Shown before it is written: without a terminal nobody could use it.
    proof::tell(&format!(
        "add this to an app for one-time codes; it is shown only now:\n  {}\n",
        url.expose_secret()
    ))?;
    write_private(&path, &format!("{}\n", secret.expose_secret()))?;
    output::line(&format!("[approver.{name}]\ntotp_secret_file = \"{}\"", path.display()))?;
    say(&format!(
        "only the manager's account may read {}: an account that can read it can approve",
        path.display()
    ));
    Ok(ExitCode::SUCCESS)
}

fn code_file(name: &str) -> PathBuf {
    Path::new("/etc/proxmox-mcp").join(format!("approver-{name}.totp"))
}

fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    let mut options = OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(0o600).open(path);
    opened
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .with_context(|| format!("write {}", path.display()))
}

/// Tells a person something, beside the answer.
fn say(text: &str) {
    // Nobody is left to be told that this failed.
    let _ = writeln!(std::io::stderr(), "{text}");
}
