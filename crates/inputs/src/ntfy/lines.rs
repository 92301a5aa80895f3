//! Lines out of pieces, none longer than the ceiling.

use bytes::{Buf as _, Bytes, BytesMut};

/// Cuts a stream into lines.
#[derive(Clone, Debug)]
pub struct Lines {
    held: BytesMut,
    /// How much of what is held has no line feed in it.
    looked: usize,
    most: usize,
    is_skipping: bool,
}

/// One line, without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// All of it.
    Whole(Bytes),
    /// One that was too long, and is left out.
    TooLong,
}

// === impl Lines ===

impl Lines {
    /// With lines of at most so many bytes.
    pub fn new(most: usize) -> Self {
        Self { held: BytesMut::new(), looked: 0, most, is_skipping: false }
    }

    /// Takes the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        self.held.extend_from_slice(piece);
    }

    /// How many bytes wait.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// The next line that is whole; empty ones are left out.
    pub fn next_line(&mut self) -> Option<Line> {
        loop {
            let Some(at) = self.held[self.looked..].iter().position(|byte| *byte == b'\n') else {
                self.looked = self.held.len();
                if self.looked > self.most {
                    // Its end is still to come; what there is of it is of no use.
                    self.held.clear();
                    (self.looked, self.is_skipping) = (0, true);
                }
                return None;
            };
            let line = self.held.split_to(self.looked + at).freeze();
            self.held.advance(1);
            self.looked = 0;
            if std::mem::take(&mut self.is_skipping) || line.len() > self.most {
                return Some(Line::TooLong);
            }
            let line = line.strip_suffix(b"\r").map_or(line.clone(), |bare| line.slice_ref(bare));
            if !line.is_empty() {
                return Some(Line::Whole(line));
            }
        }
    }
}
