//! Lines out of what a terminal is sent, without its escapes.
//!
//! *Invariant:* memory is bounded: a line of at most [`MAX_LINE`] characters, and the lines of one piece. *Invariant:* the
//! same bytes are the same lines, whatever pieces they come in. *Invariant:* a line feed ends whatever escape has begun,
//! so no sequence that is left open makes it deaf.

use std::{collections::VecDeque, fmt};

use vte::{Params, Parser, Perform};

/// The most characters of a line; a longer one is several.
pub const MAX_LINE: usize = 1024;

/// Cuts what a terminal is sent into lines.
#[derive(Default)]
pub struct Screen {
    /// The beginning of a character that is not whole yet.
    partial: Vec<u8>,
    parser: Parser,
    page: Page,
}

#[derive(Default)]
struct Page {
    line: String,
    count: usize,
    lines: VecDeque<String>,
}

// === impl Screen ===

impl Screen {
    /// Takes the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        let mut bytes = std::mem::take(&mut self.partial);
        bytes.extend_from_slice(piece);
        let mut read = 0;
        // The parser is given whole characters: what it makes of parts of them depends on where a piece ends.
        for chunk in bytes.utf8_chunks() {
            self.show(chunk.valid());
            let odd = chunk.invalid();
            read += chunk.valid().len() + odd.len();
            let may_go_on = str::from_utf8(odd).is_err_and(|error| error.error_len().is_none());
            if read == bytes.len() && may_go_on {
                self.partial = odd.to_vec();
            } else if !odd.is_empty() {
                self.show("\u{fffd}");
            }
        }
    }

    fn show(&mut self, text: &str) {
        for part in text.split_inclusive('\n') {
            let line = part.strip_suffix('\n');
            self.parser.advance(&mut self.page, line.unwrap_or(part).as_bytes());
            if line.is_some() {
                self.parser = Parser::new();
                self.page.end();
            }
        }
    }

    /// The next line that is whole; empty ones are left out.
    pub fn next_line(&mut self) -> Option<String> {
        self.page.lines.pop_front()
    }

    /// Whether part of a line waits for its end.
    pub fn is_held(&self) -> bool {
        self.page.count > 0
    }

    /// Takes the part of a line that waits for its end as a line.
    pub fn flush(&mut self) {
        self.page.end();
    }
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Screen").field("held", &self.page.count).finish_non_exhaustive()
    }
}

// === impl Page ===

impl Page {
    fn end(&mut self) {
        self.count = 0;
        let line = self.line.trim_end();
        if !line.is_empty() {
            self.lines.push_back(line.to_owned());
        }
        self.line.clear();
    }

    fn put(&mut self, c: char) {
        // What stands before the line is of no use, and neither is what cannot be seen.
        if stdx::untrusted::is_unseen(c) || self.count == 0 && c == ' ' {
            return;
        }
        self.line.push(c);
        self.count += 1;
        if self.count == MAX_LINE {
            self.end();
        }
    }
}

impl Perform for Page {
    fn print(&mut self, c: char) {
        self.put(c);
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            // A lone return begins the line anew; what it said until then was said.
            b'\r' | b'\x0b' | b'\x0c' => self.end(),
            b'\t' => self.put(' '),
            b'\x08' => self.count -= usize::from(self.line.pop().is_some()),
            _ => {}
        }
    }

    fn csi_dispatch(&mut self, _: &Params, _: &[u8], _: bool, action: char) {
        match action {
            // Somewhere else on the screen.
            'A' | 'B' | 'E' | 'F' | 'H' | 'd' | 'f' => self.end(),
            'C' => self.put(' '),
            _ => {}
        }
    }

    fn esc_dispatch(&mut self, _: &[u8], _: bool, byte: u8) {
        if matches!(byte, b'D' | b'E' | b'M' | b'c') {
            self.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        let mut screen = Screen::default();
        screen.push(text.as_bytes());
        screen.flush();
        std::iter::from_fn(|| screen.next_line()).collect()
    }

    #[test]
    fn escapes_are_left_out_and_lines_stay() {
        assert_eq!(
            lines("\u{1b}[0;1;31m[FAILED]\u{1b}[0m Failed to start x.\r\n\r\nlogin: "),
            ["[FAILED] Failed to start x.", "login:"]
        );
        assert_eq!(
            lines("\u{1b}]0;a title\u{7}one\u{1b}[2;1Htwo\u{1b}[Kthree"),
            ["one", "twothree"]
        );
        assert_eq!(lines("10 %\r20 %\r\n"), ["10 %", "20 %"]);
        assert_eq!(lines("passwx\u{8}ord\ta\u{202e}b"), ["password ab"]);
        assert_eq!(lines("naïve ✓"), ["naïve ✓"]);
    }

    #[test]
    fn what_is_left_open_ends_with_its_line() {
        for open in ["\u{1b}]0;", "\u{1b}P", "\u{1b}[1;", "\u{1b}X", "\u{1b}"] {
            assert_eq!(
                lines(&format!("{open}hidden\nKernel panic")).last().unwrap(),
                "Kernel panic"
            );
        }
        let mut screen = Screen::default();
        screen.push(b"\xe2\x9c\nnext\n");
        assert_eq!(std::iter::from_fn(|| screen.next_line()).last().unwrap(), "next");
    }

    #[test]
    fn a_long_line_is_several() {
        let long = "x".repeat(MAX_LINE * 2 + 1);
        let cut: Vec<usize> = lines(&long).iter().map(String::len).collect();
        assert_eq!(cut, [MAX_LINE, MAX_LINE, 1]);
    }

    #[test]
    fn part_of_a_line_waits_until_it_is_taken() {
        let mut screen = Screen::default();
        screen.push(b"Kernel pa");
        assert!(screen.is_held() && screen.next_line().is_none());
        screen.flush();
        assert_eq!((screen.next_line().as_deref(), screen.is_held()), (Some("Kernel pa"), false));
    }
}
