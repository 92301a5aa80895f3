//! `proxmox-mcp config …`: makes, checks, shows and imports settings, and adds servers.
//!
//! *Invariant:* no secret is printed, logged or put into an error, and no file that exists is
//! overwritten unless that was asked for.

mod add;
pub(crate) mod files;
mod import;
mod report;
pub(crate) mod terminal;

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use settings::Sources;

use self::terminal::{Console, Terminal};
use crate::COULD_NOT_RUN;
use crate::cli::{ConfigCommand, SourceArgs};

/// A check failed, a call was refused, or a person said no.
const REFUSED: u8 = 1;

/// What ends a command with [`REFUSED`]; every other error means that it could not run.
#[derive(Debug)]
struct Refused(String);

/// Runs a command on the terminal of this process.
pub(crate) async fn run(command: ConfigCommand) -> anyhow::Result<ExitCode> {
    let code = execute(command, &mut Console, &crate::estate::sources).await?;
    Ok(ExitCode::from(code))
}

/// Runs a command and gives its exit code; `sources` tells where settings are.
async fn execute(
    command: ConfigCommand,
    terminal: &mut dyn Terminal,
    sources: &dyn Fn(&SourceArgs) -> Sources,
) -> anyhow::Result<u8> {
    let done = match command {
        ConfigCommand::Init { file, force } => init(terminal, file.as_deref(), force),
        ConfigCommand::Check { source } => report::check(terminal, &sources(&source)),
        ConfigCommand::Show { origins, source } => {
            report::show(terminal, &sources(&source), origins)
        }
        ConfigCommand::Import { env_file, out } => import::run(terminal, &env_file, out.as_deref()),
        ConfigCommand::Add(args) => {
            let sources = sources(&SourceArgs::default());
            add::run(terminal, args, &sources, &add::as_reported).await.map(|()| 0)
        }
    };
    match done {
        Err(error) if error.is::<Refused>() => {
            terminal.say(&format!("error: {error:#}"));
            Ok(REFUSED)
        }
        done => done,
    }
}

fn init(terminal: &mut dyn Terminal, file: Option<&Path>, force: bool) -> anyhow::Result<u8> {
    let Some(path) = file else {
        terminal.answer(settings::starter())?;
        return Ok(0);
    };
    if force {
        std::fs::write(path, settings::starter())
            .with_context(|| format!("write {}", path.display()))?;
    } else {
        if path.exists() {
            let reason =
                format!("{} exists; --force overwrites it, or name another file", path.display());
            return Err(refused(reason));
        }
        files::write_new(path, settings::starter().as_bytes(), files::PUBLIC)?;
    }
    terminal.say(&format!(
        "wrote {path}\n\
         Next:\n\
         \x20 proxmox-mcp config add https://YOUR-NODE:8006    makes a token and its table, in conf.d beside the file\n\
         \x20 proxmox-mcp config check --config {path}    after editing it by hand\n\
         \x20 proxmox-mcp test --config {path}    tries what is set up",
        path = path.display(),
    ));
    Ok(0)
}

fn refused(reason: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Refused(reason.into()))
}

/// The exit code of settings that are broken.
fn broken() -> u8 {
    COULD_NOT_RUN
}

fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

// === impl Refused ===

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

#[cfg(test)]
mod tests;
