//! What a line of the log loses before it is written: secrets, and whatever changes how it looks.
//!
//! Twice, because each sees what the other cannot. Fields are looked at one by one, with their names
//! and before colors stand between the name and the value. Lines are looked at as a whole, whatever
//! wrote them: JSON too, and what libraries log of their own.

use std::fmt::{self, Debug};
use std::io::{self, Write};

use stdx::redact::{REDACTED, Redactor};
use tracing::field::Field;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{FormatFields, Writer, debug_fn};

/// The longest value of a field, in characters.
const VALUE_CHARS: usize = 16_384;

/// Writes the fields of an event or a span: `name=value`, the message without its name.
pub(crate) fn fields(redactor: Redactor) -> impl for<'w> FormatFields<'w> + Send + Sync + 'static {
    let write = move |writer: &mut Writer<'_>, field: &Field, value: &dyn Debug| -> fmt::Result {
        let text = format!("{value:?}");
        let text = if redactor.is_secret_name(field.name()) { REDACTED } else { &text };
        // First the looks: a secret that an escape cuts in two is one without it.
        let line = stdx::untrusted::line(text, VALUE_CHARS);
        let line = redactor.text(&line);
        match field.name() {
            "message" => write!(writer, "{line}"),
            name if writer.has_ansi_escapes() => {
                write!(writer, "\u{1b}[3m{name}\u{1b}[0m\u{1b}[2m=\u{1b}[0m{line}")
            }
            name => write!(writer, "{name}={line}"),
        }
    };
    debug_fn(write).delimited(" ")
}

/// Passes whole lines on without their secrets.
#[derive(Clone)]
pub(crate) struct CleanWriter<M> {
    inner: M,
    redactor: Redactor,
}

/// One event on its way out: it is written in one piece, when it is complete.
pub(crate) struct Line<'a, W: Write> {
    inner: W,
    redactor: &'a Redactor,
    bytes: Vec<u8>,
}

// === impl CleanWriter ===

impl<M> CleanWriter<M> {
    pub(crate) fn new(inner: M, redactor: Redactor) -> Self {
        Self { inner, redactor }
    }
}

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for CleanWriter<M> {
    type Writer = Line<'a, M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Line { inner: self.inner.make_writer(), redactor: &self.redactor, bytes: Vec::new() }
    }
}

// === impl Line ===

impl<W: Write> Line<'_, W> {
    fn send(&mut self) -> io::Result<()> {
        let bytes = std::mem::take(&mut self.bytes);
        let text = String::from_utf8_lossy(&bytes);
        // JSON writes escapes in letters but hides as it is what cannot be seen. Where there are
        // colors, the escapes are ours and the fields were looked at one by one.
        let text = if text.contains('\u{1b}') {
            text
        } else {
            stdx::untrusted::text(&text, usize::MAX).into_owned().into()
        };
        self.inner.write_all(self.redactor.text(&text).as_bytes())
    }
}

impl<W: Write> Write for Line<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.bytes.is_empty() {
            self.send()?;
        }
        self.inner.flush()
    }
}

impl<W: Write> Drop for Line<'_, W> {
    fn drop(&mut self) {
        // Where the log cannot be written there is nobody left to tell.
        if !self.bytes.is_empty() {
            let _ = self.send();
        }
    }
}
