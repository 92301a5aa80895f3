//! Where a line ends in a stream: behind as many bytes as stand before it, or before a line feed (RFC 6587).
//!
//! Both may come over one connection. A line that is longer than the ceiling is cut there, and the rest of it passes by.

use bytes::{Buf as _, BytesMut};

/// The most digits of a length; what has more is no length.
const MAX_DIGITS: usize = 7;

/// One line of a stream or one datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its bytes, without the framing.
    pub bytes: Vec<u8>,
    /// Whether there was more.
    pub is_cut: bool,
}

/// Takes lines out of a stream that comes in pieces of any size.
#[derive(Debug)]
pub struct Framer {
    buffer: BytesMut,
    most: usize,
    skip: Skip,
}

/// What of a line that was cut is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Skip {
    Nothing,
    Bytes(usize),
    ToLineFeed,
}

/// What stands at the beginning of the buffer.
enum Head {
    /// A length, and how many bytes it takes with the blank behind it.
    Counted {
        length: usize,
        header: usize,
    },
    Plain,
    /// It may become a length.
    Unclear,
}

// === impl Framer ===

impl Framer {
    /// Cuts lines at `most` bytes.
    pub fn new(most: usize) -> Self {
        Self { buffer: BytesMut::new(), most, skip: Skip::Nothing }
    }

    /// Takes a piece of the stream. Whoever pushes takes all lines out before pushing again, so no more than one line
    /// and one piece is held.
    pub fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// The next line, if it is whole.
    pub fn next_frame(&mut self) -> Option<Frame> {
        self.pass_by()?;
        match self.head() {
            Head::Unclear => None,
            Head::Counted { length, header } => {
                let wanted = length.min(self.most);
                if self.buffer.len() < header + wanted {
                    return None;
                }
                self.buffer.advance(header);
                let bytes = self.buffer.split_to(wanted).to_vec();
                if length > wanted {
                    self.skip = Skip::Bytes(length - wanted);
                }
                Some(Frame { bytes, is_cut: length > wanted })
            }
            Head::Plain => {
                let end = self.buffer.iter().take(self.most + 1).position(|byte| *byte == b'\n');
                if let Some(end) = end {
                    let bytes = self.buffer.split_to(end).to_vec();
                    self.buffer.advance(1);
                    return Some(Frame { bytes, is_cut: false });
                }
                if self.buffer.len() <= self.most {
                    return None;
                }
                let bytes = self.buffer.split_to(self.most).to_vec();
                self.skip = Skip::ToLineFeed;
                Some(Frame { bytes, is_cut: true })
            }
        }
    }

    /// What is left when the stream ends: a last line without a line feed, or one that broke off.
    pub fn finish(&mut self) -> Option<Frame> {
        self.pass_by()?;
        let (header, is_cut) = match self.head() {
            Head::Counted { header, .. } => (header, true),
            Head::Plain | Head::Unclear => (0, false),
        };
        self.buffer.advance(header);
        let bytes = self.buffer.split().to_vec();
        (!bytes.is_empty()).then_some(Frame { bytes, is_cut })
    }

    /// How much it holds, in bytes.
    pub fn held(&self) -> usize {
        self.buffer.len()
    }

    /// Drops what of a cut line is there; none if there is more of it to come.
    fn pass_by(&mut self) -> Option<()> {
        match self.skip {
            Skip::Nothing => {}
            Skip::Bytes(count) => {
                let now = count.min(self.buffer.len());
                self.buffer.advance(now);
                if now < count {
                    self.skip = Skip::Bytes(count - now);
                    return None;
                }
            }
            Skip::ToLineFeed => match self.buffer.iter().position(|byte| *byte == b'\n') {
                Some(end) => self.buffer.advance(end + 1),
                None => {
                    self.buffer.clear();
                    return None;
                }
            },
        }
        self.skip = Skip::Nothing;
        Some(())
    }

    fn head(&self) -> Head {
        let mut length = 0;
        for (at, byte) in self.buffer.iter().enumerate() {
            match byte {
                // No length begins with a zero.
                b'0' if at == 0 => return Head::Plain,
                b'0'..=b'9' if at < MAX_DIGITS => length = length * 10 + usize::from(byte - b'0'),
                b' ' if at > 0 => return Head::Counted { length, header: at + 1 },
                _ => return Head::Plain,
            }
        }
        Head::Unclear
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MOST: usize = 64;

    fn read(stream: &[u8], sizes: &[usize]) -> Vec<(String, bool)> {
        let mut framer = Framer::new(MOST);
        let mut frames = Vec::new();
        let mut rest = stream;
        let mut sizes = sizes.iter().cycle();
        while !rest.is_empty() {
            let size = sizes.next().copied().unwrap_or(1).clamp(1, rest.len());
            framer.push(&rest[..size]);
            rest = &rest[size..];
            frames.extend(std::iter::from_fn(|| framer.next_frame()));
            assert!(framer.held() <= MOST + MAX_DIGITS + 1, "{} bytes are held", framer.held());
        }
        frames.extend(framer.finish());
        frames
            .into_iter()
            .map(|f| (String::from_utf8_lossy(&f.bytes).into_owned(), f.is_cut))
            .collect()
    }

    fn whole(text: &str) -> (String, bool) {
        (text.to_owned(), false)
    }

    #[test]
    fn both_framings_come_over_one_connection() {
        let stream = b"<30>one\n7 <30>two<30>three\n9 <30>fo\nur\n<30>five";
        let lines = [
            whole("<30>one"),
            whole("<30>two"),
            whole("<30>three"),
            whole("<30>fo\nur"),
            whole(""),
            whole("<30>five"),
        ];
        assert_eq!(read(stream, &[1024]), lines);
        assert_eq!(read(stream, &[1]), lines);
    }

    #[test]
    fn a_line_that_only_begins_with_a_number_is_one() {
        assert_eq!(
            read(b"42\n0 x\n12345678 x\n7", &[3]),
            [whole("42"), whole("0 x"), whole("12345678 x"), whole("7")]
        );
    }

    #[test]
    fn long_lines_are_cut_and_the_next_one_is_whole() {
        let long = "x".repeat(200);
        let cut = ("x".repeat(MOST), true);
        for size in [1, 7, 1024] {
            assert_eq!(
                read(format!("{long}\n<1>a\n").as_bytes(), &[size]),
                [cut.clone(), whole("<1>a")]
            );
            assert_eq!(
                read(format!("200 {long}<1>a\n").as_bytes(), &[size]),
                [cut.clone(), whole("<1>a")]
            );
        }
        assert_eq!(read(b"50 broken", &[4]), [("broken".to_owned(), true)]);
    }

    proptest! {
        #[test]
        fn the_size_of_pieces_changes_nothing(
            stream in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\n'), b'0'..=b'9', Just(b' ')], 0..400),
            sizes in proptest::collection::vec(1..50_usize, 1..5),
        ) {
            prop_assert_eq!(read(&stream, &sizes), read(&stream, &[1]));
        }

        #[test]
        fn what_is_counted_comes_back(lines in proptest::collection::vec("[ -~\n]{1,60}", 0..8), size in 1..40_usize) {
            let stream = lines.iter().flat_map(|line| [line.len().to_string(), " ".to_owned(), line.clone()]);
            let stream: String = stream.collect();
            let expected: Vec<_> = lines.iter().map(|line| whole(line)).collect();
            prop_assert_eq!(read(stream.as_bytes(), &[size]), expected);
        }
    }
}
