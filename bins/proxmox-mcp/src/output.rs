//! Standard output, where a reader may stop reading at any time.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

/// What a command says to whom.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// For standard output.
    pub(crate) out: String,
    /// For the person.
    pub(crate) err: String,
    /// The exit code.
    pub(crate) code: u8,
}

// === impl Said ===

impl Said {
    /// An answer.
    pub(crate) fn out(out: impl Into<String>) -> Self {
        Self { out: out.into(), ..Self::default() }
    }

    /// A word to the person, where there is no answer.
    pub(crate) fn to_person(err: impl Into<String>) -> Self {
        Self { err: err.into(), ..Self::default() }
    }

    /// A refusal with this exit code.
    pub(crate) fn refused(code: u8, why: impl AsRef<str>) -> Self {
        Self { err: format!("error: {}\n", why.as_ref()), code, ..Self::default() }
    }

    /// Says it on the streams of this process.
    pub(crate) fn print(self) -> anyhow::Result<ExitCode> {
        // Whoever closed standard error does not want to know.
        let _ = io::stderr().write_all(self.err.as_bytes());
        if !self.out.is_empty() {
            line(&self.out)?;
        }
        Ok(ExitCode::from(self.code))
    }
}

/// Columns that are as wide as their widest cell; the last one is left as it is.
pub(crate) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let mut text = String::new();
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            let is_last = column + 1 == N;
            let width = widths[column];
            // Writing to a string cannot fail.
            let _ = if is_last { write!(text, "{cell}") } else { write!(text, "{cell:<width$}  ") };
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
    text
}

/// Prints `text` and a line end. A reader that is gone (`… | head`) has what it wanted: that is no
/// error, and what follows is printed to nobody.
pub(crate) fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let end: &[u8] = if text.ends_with('\n') { b"" } else { b"\n" };
    let written =
        out.write_all(text.as_bytes()).and_then(|()| out.write_all(end)).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
