//! The person at the terminal: what is told, asked and answered.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use secrecy::SecretString;
use secrecy::zeroize::Zeroize as _;

/// The longest text that is printed; a server's words cannot be longer than that.
const MAX_CHARS: usize = 1 << 20;

/// Somebody to talk to.
pub(crate) trait Terminal: Send {
    /// Prints the command's answer to standard output.
    fn answer(&mut self, text: &str) -> io::Result<()>;
    /// Tells a person something, on standard error.
    fn say(&mut self, text: &str);
    /// Whether somebody can be asked.
    fn is_interactive(&self) -> bool;
    /// Asks for a line.
    fn ask(&mut self, prompt: &str) -> io::Result<String>;
    /// Asks for a secret without showing it; without a person it is the next line of the input.
    fn ask_secret(&mut self, prompt: &str) -> io::Result<SecretString>;
}

/// The terminal of this process.
pub(crate) struct Console;

// === impl Console ===

impl Terminal for Console {
    fn answer(&mut self, text: &str) -> io::Result<()> {
        let text = stdx::untrusted::text(text, MAX_CHARS);
        crate::output::line(&text)
    }

    fn say(&mut self, text: &str) {
        // Nobody is left to be told that this failed.
        let _ = writeln!(io::stderr(), "{}", stdx::untrusted::text(text, MAX_CHARS));
    }

    fn is_interactive(&self) -> bool {
        io::stdin().is_terminal()
    }

    fn ask(&mut self, prompt: &str) -> io::Result<String> {
        write!(io::stderr(), "{prompt}")?;
        io::stderr().flush()?;
        Ok(line()?.trim().to_owned())
    }

    fn ask_secret(&mut self, prompt: &str) -> io::Result<SecretString> {
        if self.is_interactive() {
            return rpassword::prompt_password(prompt).map(SecretString::from);
        }
        let mut line = line()?;
        let secret = SecretString::from(line.trim_end_matches(['\r', '\n']));
        line.zeroize();
        Ok(secret)
    }
}

/// A line of the input.
fn line() -> io::Result<String> {
    let mut line = String::new();
    match io::stdin().lock().read_line(&mut line)? {
        0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the input has ended")),
        _ => Ok(line),
    }
}
