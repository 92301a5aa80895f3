//! What proves that a person decides: asked for on the terminal, never taken from arguments, the
//! environment or a pipe.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use control_api::{Client, Proof, Standing};
use manager::approve::{SealedKey, Statement};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use secrecy::zeroize::Zeroize as _;
use secrecy::{ExposeSecret as _, SecretString};
use stdx::{Clock as _, SystemClock};

/// The terminal of this process, wherever its streams lead.
const TERMINAL: &str = "/dev/tty";

/// By which way somebody decides.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ProofArgs {
    /// Decide as this approver, with the passphrase of their key [default: the account's own, where it is an approver's]
    #[arg(long = "as", value_name = "NAME")]
    pub(crate) approver: Option<String>,
    /// The file of the key [default: approver-NAME.key beside the settings]
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Decide with a one-time code instead, which is asked for on the terminal
    #[arg(long, requires = "approver")]
    pub(crate) code: bool,
}

// === impl ProofArgs ===

impl ProofArgs {
    /// Asks the person for whatever proves the statement. `asker` is who asked for the work, if it
    /// is about work; `folders` is where keys may be.
    pub(crate) fn prove(
        &self,
        client: Option<&Client>,
        statement: &Statement,
        asker: Option<&str>,
        folders: &[PathBuf],
    ) -> anyhow::Result<Proof> {
        if let (true, Some(name)) = (self.code, &self.approver) {
            let code = secret(&format!("one-time code of {name}: "))?;
            let code = code.expose_secret().trim().to_owned();
            return Ok(Proof::Code { approver: name.clone(), code });
        }
        let is_explicit = self.approver.is_some() || self.key.is_some();
        if let Some(client) = client.filter(|_| !is_explicit) {
            let welcome = client.welcome();
            let is_asker = asker == Some(welcome.principal.as_str());
            if matches!(welcome.standing, Standing::Approver { .. }) && !is_asker {
                return Ok(Proof::Peer);
            }
        }
        let path = self.key_file(folders)?;
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let sealed =
            SealedKey::from_text(&text).with_context(|| format!("read {}", path.display()))?;
        let passphrase = secret(&format!("passphrase of {}: ", sealed.name()))?;
        let key =
            sealed.unlock(&passphrase).with_context(|| format!("unlock {}", path.display()))?;
        let at = SystemClock.now();
        let signature = key.sign(statement, sealed.name(), at);
        Ok(Proof::Signature {
            approver: sealed.name().to_owned(),
            at,
            signature: signature.to_base64(),
        })
    }

    fn key_file(&self, folders: &[PathBuf]) -> anyhow::Result<PathBuf> {
        if let Some(path) = &self.key {
            return Ok(path.clone());
        }
        let mut found: Vec<PathBuf> = folders.iter().flat_map(|folder| keys_in(folder)).collect();
        if let Some(name) = &self.approver {
            let wanted = file_name(name);
            found.retain(|path| path.file_name().is_some_and(|it| it.to_str() == Some(&wanted)));
        }
        match found.as_slice() {
            [path] => Ok(path.clone()),
            [] => bail!(
                "nothing proves who you are: this account is no approver's that may decide this, and no key is in {}\n\
                 - to make a key: proxmox-mcp approver add NAME\n\
                 - with a one-time code: --as NAME --code",
                folders.iter().map(|it| it.display().to_string()).collect::<Vec<_>>().join(" or ")
            ),
            several => bail!(
                "there are several keys: say --as NAME ({})",
                several.iter().map(|it| it.display().to_string()).collect::<Vec<_>>().join(", ")
            ),
        }
    }
}

/// The name of an approver's key file.
pub(crate) fn file_name(approver: &str) -> String {
    format!("approver-{approver}.key")
}

fn keys_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let is_key = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("approver-") && path.extension().is_some_and(|end| end == "key")
    };
    let mut found: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_key).collect();
    found.sort();
    found
}

/// Asks for a secret on the terminal. Nothing that is typed is shown from before the question on: people, and
/// programs, type as soon as they see it.
pub(crate) fn secret(prompt: &str) -> anyhow::Result<SecretString> {
    let terminal = OpenOptions::new().read(true).open(TERMINAL).map_err(no_terminal)?;
    let hidden = Hidden::on(&terminal).map_err(no_terminal)?;
    tell(prompt)?;
    let mut line = String::new();
    let read = BufReader::new(&terminal).read_line(&mut line);
    drop(hidden);
    let typed = SecretString::from(line.trim_end_matches(['\r', '\n']));
    line.zeroize();
    read.map(|_| typed).map_err(no_terminal)
}

/// A terminal that shows only the end of what is typed, for as long as this lives.
struct Hidden<'a> {
    terminal: &'a File,
    before: Termios,
}

// === impl Hidden ===

impl<'a> Hidden<'a> {
    fn on(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        silent.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(terminal, OptionalActions::Now, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        // A terminal that is gone shows nothing either.
        let _ = tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}

/// Asks for a line on the terminal.
pub(crate) fn line(prompt: &str) -> anyhow::Result<String> {
    tell(prompt)?;
    let terminal = OpenOptions::new().read(true).open(TERMINAL).map_err(no_terminal)?;
    let mut line = String::new();
    BufReader::new(terminal).read_line(&mut line).map_err(no_terminal)?;
    Ok(line.trim().to_owned())
}

/// Shows something on the terminal, and nowhere else.
pub(crate) fn tell(text: &str) -> anyhow::Result<()> {
    let mut terminal = OpenOptions::new().write(true).open(TERMINAL).map_err(no_terminal)?;
    terminal.write_all(text.as_bytes()).and_then(|()| terminal.flush()).map_err(no_terminal)
}

fn no_terminal(error: io::Error) -> anyhow::Error {
    anyhow::Error::new(error)
        .context("this takes a terminal: secrets are typed there, and not read from a pipe")
}
