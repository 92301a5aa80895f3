//! Standard output, where a reader may stop reading at any time.

use std::io::{self, ErrorKind, Write};

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
