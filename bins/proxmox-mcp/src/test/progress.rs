//! The line that moves while the checks run.

use std::io::{self, Write};

use checks::Progress;

/// The longest that the line gets: a line that wraps could not be taken back.
const WIDTH: usize = 78;

/// A line on standard error, or nothing where nobody looks.
pub(super) struct Line {
    shown: bool,
}

// === impl Line ===

impl Line {
    pub(super) fn new(shown: bool) -> Self {
        Self { shown }
    }

    /// Shows how far it is.
    pub(super) fn show(&self, progress: &Progress) {
        if self.shown {
            Self::write(&format!("\r\u{1b}[2K{}", text(progress)));
        }
    }

    /// Takes the line away.
    pub(super) fn clear(&self) {
        if self.shown {
            Self::write("\r\u{1b}[2K");
        }
    }

    fn write(text: &str) {
        let mut out = io::stderr().lock();
        // A terminal that is gone is no reason to stop checking.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

fn text(progress: &Progress) -> String {
    let line = format!("{}/{} {}", progress.done, progress.total, progress.last);
    stdx::untrusted::line(&line, WIDTH).into_owned()
}
