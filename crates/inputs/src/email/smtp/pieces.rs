//! From bytes to lines of commands and to mails.
//!
//! *Invariant:* a mail ends with a dot alone between two `CR LF`, and with nothing else: what ends it for one server and not
//! for another is how mails are smuggled into mails. *Invariant:* no more is held than the ceilings say.

/// The longest line of a command, in bytes, with its end.
pub const MAX_COMMAND: usize = 2048;

/// Cuts what a client sends.
#[derive(Clone, Debug, Default)]
pub struct Pieces {
    held: Vec<u8>,
    /// What comes is the rest of a line that was too long.
    is_skipping: bool,
}

/// A line of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The line without its end.
    Line(Vec<u8>),
    /// One that was too long.
    TooLong,
}

/// A mail while it comes in.
#[derive(Clone, Debug)]
pub struct Mail {
    text: Vec<u8>,
    most: usize,
    is_too_long: bool,
    state: State,
}

/// What stands before the next byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A whole `CR LF`, or nothing.
    Start,
    /// A dot behind that.
    Dot,
    /// A `CR` behind that.
    DotCr,
    /// A `CR` somewhere in a line.
    Cr,
    /// Anything else.
    Middle,
}

// === impl Pieces ===

impl Pieces {
    /// Takes the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        self.held.extend_from_slice(piece);
    }

    /// How many bytes wait.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// The next line of a command, if it is whole.
    pub fn next_command(&mut self) -> Option<Command> {
        let Some(at) = self.held.iter().position(|byte| *byte == b'\n') else {
            if self.held.len() > MAX_COMMAND {
                self.held.clear();
                self.is_skipping = true;
            }
            return None;
        };
        let mut line: Vec<u8> = self.held.drain(..=at).collect();
        if std::mem::take(&mut self.is_skipping) || line.len() > MAX_COMMAND {
            return Some(Command::TooLong);
        }
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Some(Command::Line(line))
    }

    /// Reads into the mail; whether it is whole.
    pub fn read_mail(&mut self, mail: &mut Mail) -> bool {
        let taken = self.held.iter().position(|byte| mail.push(*byte));
        match taken {
            Some(at) => {
                self.held.drain(..=at);
                true
            }
            None => {
                self.held.clear();
                false
            }
        }
    }
}

// === impl Mail ===

impl Mail {
    /// One of at most so many bytes.
    pub fn new(most: usize) -> Self {
        Self { text: Vec::new(), most, is_too_long: false, state: State::Start }
    }

    /// The text, unless it was too long.
    pub fn into_text(self) -> Option<Vec<u8>> {
        (!self.is_too_long).then_some(self.text)
    }

    /// Takes a byte; whether it ends the mail.
    fn push(&mut self, byte: u8) -> bool {
        self.state = match (self.state, byte) {
            // A dot at the start of a line is either the end or stands before another one.
            (State::Start, b'.') => State::Dot,
            (State::Dot, b'\r') => State::DotCr,
            (State::DotCr, b'\n') => return true,
            (State::DotCr, _) => {
                self.keep(b'\r');
                self.keep(byte);
                if byte == b'\r' { State::Cr } else { State::Middle }
            }
            (State::Cr, b'\n') => {
                self.keep(byte);
                State::Start
            }
            (_, b'\r') => {
                self.keep(byte);
                State::Cr
            }
            (_, byte) => {
                self.keep(byte);
                State::Middle
            }
        };
        false
    }

    fn keep(&mut self, byte: u8) {
        if self.text.len() < self.most {
            self.text.push(byte);
        } else if !self.is_too_long {
            self.is_too_long = true;
            self.text = Vec::new();
            // Nothing more is kept.
            self.most = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8], size: usize, most: usize) -> Option<(Option<Vec<u8>>, usize)> {
        let (mut pieces, mut mail) = (Pieces::default(), Mail::new(most));
        let mut given = 0;
        for piece in bytes.chunks(size.max(1)) {
            given += piece.len();
            pieces.push(piece);
            if pieces.read_mail(&mut mail) {
                return Some((mail.into_text(), given - pieces.held()));
            }
        }
        None
    }

    #[test]
    fn only_a_dot_between_whole_ends_of_lines_ends_a_mail() {
        for (sent, text) in [
            ("a\r\n.\r\n", Some("a\r\n")),
            (".\r\n", Some("")),
            ("..a\r\n...\r\n.\r\n", Some(".a\r\n..\r\n")),
            (".a\r\n.\r\n", Some("a\r\n")),
            ("a\n.\nb\r\n.\r\n", Some("a\n.\nb\r\n")),
            ("a\r\n.\nb\r\n.\r\n", Some("a\r\n\nb\r\n")),
            ("a\n.\r\nb\r\n.\r\n", Some("a\n.\r\nb\r\n")),
            ("a\r\n.\r\r\n.\r\n", Some("a\r\n\r\r\n")),
            ("a\r.\r\n.\r\n", Some("a\r.\r\n")),
            ("a\r\n.", None),
        ] {
            let found = read(sent.as_bytes(), 1, 100).map(|(found, _)| found.unwrap());
            assert_eq!(found.as_deref(), text.map(str::as_bytes), "{sent:?}");
        }
        // Too long: all of it is read, nothing of it is kept.
        assert_eq!(read(b"abcdef\r\n.\r\nQUIT\r\n", 3, 4), Some((None, 11)));
    }

    /// As a client writes a text.
    fn stuffed(lines: &[Vec<u8>]) -> Vec<u8> {
        let mut sent = Vec::new();
        for line in lines {
            if line.first() == Some(&b'.') {
                sent.push(b'.');
            }
            sent.extend_from_slice(line);
            sent.extend_from_slice(b"\r\n");
        }
        sent.extend_from_slice(b".\r\n");
        sent
    }

    proptest! {
        #[test]
        fn a_mail_is_read_as_it_was_written(
            lines in proptest::collection::vec(
                proptest::collection::vec(any::<u8>().prop_filter("ends of lines", |c| !matches!(c, b'\r' | b'\n')), 0..20), 0..8,
            ),
            size in 1..40_usize,
            behind in "[A-Z\r\n]{0,10}",
        ) {
            let mut sent = stuffed(&lines);
            let length = sent.len();
            sent.extend_from_slice(behind.as_bytes());
            let expected: Vec<u8> = lines.iter().flat_map(|line| line.iter().chain(b"\r\n")).copied().collect();
            let (text, taken) = read(&sent, size, 10_000).unwrap();
            prop_assert_eq!(text.unwrap(), expected);
            // What stands behind it in the last piece is left for the next command.
            prop_assert_eq!(taken, length);
        }

        #[test]
        fn commands_are_the_same_in_any_pieces(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200), size in 1..20_usize,
        ) {
            let all = |size: usize| {
                let mut pieces = Pieces::default();
                let mut commands = Vec::new();
                for piece in bytes.chunks(size) {
                    pieces.push(piece);
                    commands.extend(std::iter::from_fn(|| pieces.next_command()));
                }
                commands
            };
            prop_assert_eq!(all(size), all(bytes.len().max(1)));
        }
    }

    #[test]
    fn a_line_without_an_end_is_not_held() {
        let mut pieces = Pieces::default();
        for _ in 0..100 {
            pieces.push(&[b'x'; 1000]);
            assert_eq!(pieces.next_command(), None);
            assert!(pieces.held() <= MAX_COMMAND);
        }
        pieces.push(b"\nNOOP\r\n");
        assert_eq!(pieces.next_command(), Some(Command::TooLong));
        assert_eq!(pieces.next_command(), Some(Command::Line(b"NOOP".to_vec())));
    }
}
