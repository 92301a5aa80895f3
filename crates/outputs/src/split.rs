//! Cuts what is too long for one message into several, and loses nothing of it.
//!
//! *Invariant:* the parts one after another are the whole text but for white space at the cuts; no
//! part is longer than the limit, empty, or cut within an escape.

/// How long a character is to the service that limits it.
pub(crate) type Measure = fn(char) -> usize;

/// In UTF-16 units, which is at least as strict as counting characters.
pub(crate) fn utf16(c: char) -> usize {
    c.len_utf16()
}

/// In bytes of UTF-8.
pub(crate) fn bytes(c: char) -> usize {
    c.len_utf8()
}

/// In bytes as JSON writes it.
pub(crate) fn json(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        c if c < ' ' => 6,
        c => c.len_utf8(),
    }
}

/// How long a text is.
pub(crate) fn length(text: &str, measure: Measure) -> usize {
    text.chars().map(measure).sum()
}

/// The text in parts of at most `limit`, cut at the end of a line or a word where there is one in
/// the second half. Nothing for a text of white space alone.
pub(crate) fn split(text: &str, limit: usize, measure: Measure) -> Vec<String> {
    let mut parts = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (part, after) = rest.split_at(cut(rest, limit, measure));
        let part = part.trim_end();
        if !part.is_empty() {
            parts.push(part.to_owned());
        }
        rest = after.trim_start();
    }
    parts
}

/// Where the first part of a text ends.
fn cut(text: &str, limit: usize, measure: Measure) -> usize {
    let (mut used, mut at) = (0, 0);
    let (mut line, mut word) = (None, None);
    while at < text.len() {
        let atom = atom(&text[at..]);
        let size = length(atom, measure);
        if used + size > limit {
            // An atom that is too long by itself goes where it must, so that this ends.
            return line.or(word).unwrap_or(if at == 0 { atom.len() } else { at });
        }
        used += size;
        at += atom.len();
        if used * 2 > limit && atom == "\n" {
            line = Some(at);
        } else if used * 2 > limit && atom == " " {
            word = Some(at);
        }
    }
    at
}

/// What must stay together at the start of a text: an escape of Markdown (`\*`) or of HTML (`&lt;`),
/// or one character.
fn atom(text: &str) -> &str {
    let mut chars = text.char_indices();
    let end = match chars.next() {
        Some((_, '\\')) => chars.next().map_or(1, |(at, c)| at + c.len_utf8()),
        Some((_, '&')) => {
            let name = text.bytes().skip(1).take(6).take_while(u8::is_ascii_alphanumeric).count();
            if text.as_bytes().get(1 + name) == Some(&b';') { name + 2 } else { 1 }
        }
        Some((_, c)) => c.len_utf8(),
        None => 0,
    };
    &text[..end]
}

/// A text for a place that takes one line of at most `limit`, and what has to stand elsewhere if
/// it does not fit there: the whole of it.
pub(crate) fn fit(text: &str, limit: usize, measure: Measure) -> (String, Option<String>) {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if length(&line, measure) <= limit {
        return (line, None);
    }
    let room = limit.saturating_sub(measure('…'));
    let short = format!("{}…", line[..cut(&line, room, measure)].trim_end());
    (short, Some(line))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bare(text: &str) -> String {
        text.split_whitespace().collect()
    }

    #[test]
    fn cuts_are_at_lines_then_words_then_anywhere() {
        let parts = |text, limit| split(text, limit, utf16);
        assert_eq!(parts("one two\nthree four", 12), ["one two", "three four"]);
        assert_eq!(parts("one two three", 8), ["one two", "three"]);
        assert_eq!(parts("onetwothree", 4), ["onet", "woth", "ree"]);
        assert_eq!(parts(r"aaa\*bbb", 4), ["aaa", r"\*bb", "b"]);
        assert_eq!(parts("aaa&lt;b & c", 6), ["aaa", "&lt;b", "& c"]);
        assert_eq!(parts(" \n ", 4), [""; 0]);
    }

    #[test]
    fn a_title_that_does_not_fit_is_whole_elsewhere() {
        assert_eq!(fit("short\nenough", 12, utf16), ("short enough".to_owned(), None));
        assert_eq!(
            fit("one two three", 9, utf16),
            ("one two…".to_owned(), Some("one two three".to_owned()))
        );
    }

    proptest! {
        #[test]
        fn parts_hold_the_whole_and_keep_the_limit(
            text in r"(\\[*_]|&lt;|\PC|[ \n]|é|😀){0,200}",
            limit in 6_usize..60,
        ) {
            for measure in [utf16 as Measure, bytes, json] {
                let parts = split(&text, limit, measure);
                prop_assert_eq!(bare(&parts.concat()), bare(&text));
                for part in &parts {
                    prop_assert!(length(part, measure) <= limit && !part.is_empty(), "{:?}", part);
                }
            }
        }
    }
}
