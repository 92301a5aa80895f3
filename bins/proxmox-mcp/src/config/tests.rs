//! The commands with a scripted terminal and folders of their own.

mod add;
mod documents;
mod import;
mod shell;

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use clap::Parser as _;
use secrecy::SecretString;
use settings::Sources;

use super::add::Address;
use super::terminal::Terminal;
use crate::cli::{AddArgs, Cli, Command, ConfigCommand, SourceArgs};

type Hook = Box<dyn FnMut(&str) + Send>;

/// A person who answers from a list, and everything that was printed.
#[derive(Default)]
pub(super) struct Scripted {
    answers: VecDeque<String>,
    is_absent: bool,
    /// Standard output.
    out: String,
    /// Standard error, prompts included.
    err: String,
    /// Sees each thing that is said.
    hook: Option<Hook>,
}

// === impl Scripted ===

impl Scripted {
    fn answering(answers: &[&str]) -> Self {
        Self {
            answers: answers.iter().map(|&answer| answer.to_owned()).collect(),
            ..Self::default()
        }
    }

    /// Nobody at the terminal: answers come from a pipe.
    fn absent(mut self) -> Self {
        self.is_absent = true;
        self
    }

    fn on_say(mut self, hook: impl FnMut(&str) + Send + 'static) -> Self {
        self.hook = Some(Box::new(hook));
        self
    }

    fn everything(&self) -> String {
        format!("{}{}", self.out, self.err)
    }

    fn next(&mut self, prompt: &str) -> io::Result<String> {
        self.err.push_str(prompt);
        self.err.push('\n');
        self.answers.pop_front().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl Terminal for Scripted {
    fn answer(&mut self, text: &str) -> io::Result<()> {
        self.out.push_str(text);
        if !text.ends_with('\n') {
            self.out.push('\n');
        }
        Ok(())
    }

    fn say(&mut self, text: &str) {
        self.err.push_str(text);
        self.err.push('\n');
        if let Some(hook) = &mut self.hook {
            hook(text);
        }
    }

    fn is_interactive(&self) -> bool {
        !self.is_absent
    }

    fn ask(&mut self, prompt: &str) -> io::Result<String> {
        self.next(prompt)
    }

    fn ask_secret(&mut self, prompt: &str) -> io::Result<SecretString> {
        self.next(prompt).map(SecretString::from)
    }
}

/// Reads a command line.
fn command(args: &[&str]) -> ConfigCommand {
    let line = ["proxmox-mcp", "config"].iter().chain(args);
    match Cli::try_parse_from(line).unwrap_or_else(|error| panic!("{error}")).command {
        Command::Config(command) => command,
        other => panic!("{other:?}"),
    }
}

fn sources(args: &SourceArgs) -> Sources {
    let mut sources = Sources::default();
    sources.config.clone_from(&args.config);
    sources.env_file.clone_from(&args.env_file);
    sources
}

/// Runs a command that contacts nothing.
async fn run(terminal: &mut Scripted, args: &[&str]) -> u8 {
    match super::execute(command(args), terminal, &sources).await {
        Ok(code) => code,
        Err(error) => {
            terminal.say(&format!("error: {error:#}"));
            2
        }
    }
}

/// Adds a server whose members are reached where the test says.
async fn add(
    terminal: &mut Scripted,
    args: &[&str],
    address_of: &Address<'_>,
) -> Result<(), String> {
    let args: AddArgs = match command(&[&["add"], args].concat()) {
        ConfigCommand::Add(args) => args,
        other => panic!("{other:?}"),
    };
    let sources = sources(&SourceArgs::default());
    let done = super::add::run(terminal, args, &sources, address_of).await;
    done.map_err(|error| format!("{error:#}"))
}

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
