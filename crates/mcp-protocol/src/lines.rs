//! Cuts a byte stream into lines of bounded length.

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

/// A line buffer that has grown beyond this is given back instead of kept.
const KEEP: usize = 64 * 1024;

/// Reads lines. [`Lines::next`] may be dropped at any point and called again: nothing is lost.
pub(crate) struct Lines<R> {
    input: BufReader<R>,
    line: Vec<u8>,
    limit: usize,
    /// The rest of a line that was too long is being skipped.
    skipping: bool,
    ended: bool,
}

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A line without its end; never blank.
    Text(Vec<u8>),
    /// A line beyond the limit, which was skipped.
    TooLong,
    /// The input has ended.
    End,
}

/// How a piece of input ended.
enum Piece {
    InLine,
    AtEnd,
    Overflow,
}

// === impl Lines ===

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Reads lines of at most `limit` bytes.
    pub(crate) fn new(input: R, limit: usize) -> Self {
        let input = BufReader::new(input);
        Self { input, line: Vec::new(), limit, skipping: false, ended: false }
    }

    /// The next line. An input that fails has ended; a last line without an end of line counts.
    pub(crate) async fn next(&mut self) -> Line {
        loop {
            if self.ended {
                return Line::End;
            }
            let Ok(available) = self.input.fill_buf().await else {
                self.ended = true;
                continue;
            };
            // No await from here to the end of the pass, so a dropped future cannot lose bytes.
            if available.is_empty() {
                self.ended = true;
                if let Some(line) = self.take_line() {
                    return line;
                }
                continue;
            }
            let (used, piece) = accept(available, &mut self.line, self.limit, self.skipping);
            self.input.consume(used);
            match piece {
                Piece::InLine => {}
                Piece::Overflow => {
                    self.skipping = true;
                    self.line = Vec::new();
                }
                Piece::AtEnd => {
                    if let Some(line) = self.take_line() {
                        return line;
                    }
                }
            }
        }
    }

    /// The line that has just ended, if it says anything.
    fn take_line(&mut self) -> Option<Line> {
        if std::mem::take(&mut self.skipping) {
            return Some(Line::TooLong);
        }
        if self.line.iter().all(u8::is_ascii_whitespace) {
            self.line.clear();
            return None;
        }
        let line = if self.line.capacity() > KEEP {
            std::mem::take(&mut self.line)
        } else {
            let line = self.line.clone();
            self.line.clear();
            line
        };
        Some(Line::Text(line))
    }
}

/// Moves the bytes of the current line from `available` to `line`; says how many bytes are used up.
fn accept(available: &[u8], line: &mut Vec<u8>, limit: usize, skipping: bool) -> (usize, Piece) {
    let end = available.iter().position(|byte| *byte == b'\n');
    let text = &available[..end.unwrap_or(available.len())];
    if !skipping && line.len() + text.len() > limit {
        // The end of line stays, so that the next pass finishes the skipping.
        return (text.len(), Piece::Overflow);
    }
    if !skipping {
        line.extend_from_slice(text);
    }
    match end {
        Some(end) => (end + 1, Piece::AtEnd),
        None => (available.len(), Piece::InLine),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use futures::executor::block_on;
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 24;

    /// Gives out its pieces one read at a time.
    struct Pieces(VecDeque<Vec<u8>>);

    impl AsyncRead for Pieces {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            _cx: &mut std::task::Context<'_>,
            buf: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            if let Some(mut piece) = self.0.pop_front() {
                let rest = piece.split_off(piece.len().min(buf.remaining()));
                buf.put_slice(&piece);
                if !rest.is_empty() {
                    self.0.push_front(rest);
                }
            }
            std::task::Poll::Ready(Ok(()))
        }
    }

    fn read_all(pieces: Vec<Vec<u8>>) -> Vec<Line> {
        let pieces = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
        let mut lines = Lines::new(Pieces(pieces), LIMIT);
        let mut seen = Vec::new();
        loop {
            match block_on(lines.next()) {
                Line::End => return seen,
                line => seen.push(line),
            }
        }
    }

    proptest! {
        /// However the bytes arrive, the same lines come out, and a line that is too long spoils only itself.
        #[test]
        fn lines_do_not_depend_on_how_bytes_arrive(
            texts in prop::collection::vec("[ -~é]{0,40}", 0..8),
            cuts in prop::collection::vec(0_usize..200, 0..12),
            ends_properly in any::<bool>(),
        ) {
            let mut bytes = texts.join("\n").into_bytes();
            if ends_properly && !texts.is_empty() {
                bytes.push(b'\n');
            }
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut start = 0;
            for cut in cuts {
                pieces.push(bytes[start..cut].to_vec());
                start = cut;
            }
            pieces.push(bytes[start..].to_vec());
            let expected: Vec<Line> = texts
                .iter()
                .filter(|text| text.len() > LIMIT || !text.bytes().all(|b| b.is_ascii_whitespace()))
                .map(|text| match text.len() {
                    0..=LIMIT => Line::Text(text.clone().into_bytes()),
                    _ => Line::TooLong,
                })
                .collect();
            prop_assert_eq!(read_all(pieces), expected);
        }
    }
}
