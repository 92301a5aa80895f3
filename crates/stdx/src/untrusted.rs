//! Text that others wrote (guest names, notes, logs, agent output), made safe to show.
//!
//! What is dropped changes how text *looks* rather than what it says: terminal escapes, control
//! characters, marks that reverse or hide text. Whether to believe what remains is the reader's
//! business; this only makes sure that it can be seen for what it is.

use std::{borrow::Cow, str::Chars};

/// The text without escapes and invisible characters, at most `max` characters long; line breaks
/// and tabs stay.
pub fn text(given: &str, max: usize) -> Cow<'_, str> {
    clean(given, max, false)
}

/// The same on one line: breaks and tabs become blanks.
pub fn line(given: &str, max: usize) -> Cow<'_, str> {
    clean(given, max, true)
}

/// The same as one word, as names are: blanks become `_`, so that none of them can pose as a part of
/// the sentence or the row that it stands in.
pub fn word(given: &str, max: usize) -> Cow<'_, str> {
    let line = line(given.trim(), max);
    if line.chars().any(char::is_whitespace) {
        return Cow::Owned(line.chars().map(|c| if c.is_whitespace() { '_' } else { c }).collect());
    }
    line
}

/// The same text with every run of three or more angle brackets, and of what looks like them, cut to
/// two: whoever marks a block with `<<<` and `>>>` can be sure that none of its text ends it, nor
/// seems to.
pub fn blunt(given: &str) -> Cow<'_, str> {
    if given.is_ascii() && !given.contains("<<<") && !given.contains(">>>") {
        return Cow::Borrowed(given);
    }
    let mut out = String::with_capacity(given.len());
    let (mut last, mut weight) = (None, 0);
    for c in given.chars() {
        let bracket = bracket(c);
        let (side, heavy) = bracket.map_or((None, 0), |(side, heavy)| (Some(side), heavy));
        weight = if side.is_some() && side == last { weight + heavy } else { heavy };
        last = side;
        if weight <= 2 {
            out.push(c);
        }
    }
    if out.len() == given.len() { Cow::Borrowed(given) } else { Cow::Owned(out) }
}

/// Which way a character points if it is an angle bracket or looks like one, and how many it is.
fn bracket(c: char) -> Option<(bool, u32)> {
    Some(match c {
        '<' | '\u{2c2}' | '\u{1438}' | '\u{2039}' | '\u{2329}' | '\u{276c}' | '\u{276e}'
        | '\u{27e8}' | '\u{3008}' | '\u{fe64}' | '\u{ff1c}' => (false, 1),
        '\u{ab}' | '\u{226a}' | '\u{27ea}' | '\u{300a}' => (false, 2),
        '\u{22d8}' => (false, 3),
        '>' | '\u{2c3}' | '\u{1433}' | '\u{203a}' | '\u{232a}' | '\u{276d}' | '\u{276f}'
        | '\u{27e9}' | '\u{3009}' | '\u{fe65}' | '\u{ff1e}' => (true, 1),
        '\u{bb}' | '\u{226b}' | '\u{27eb}' | '\u{300b}' => (true, 2),
        '\u{22d9}' => (true, 3),
        _ => return None,
    })
}

fn clean(given: &str, max: usize, one_line: bool) -> Cow<'_, str> {
    // Nearly every text is short and of plain letters.
    if given.len() <= max && given.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Cow::Borrowed(given);
    }
    let harmless = |c: char| !(is_unseen(c) || c == '\r' || one_line && c.is_ascii_control());
    if given.chars().all(harmless) && given.chars().nth(max).is_none() {
        return Cow::Borrowed(given);
    }
    let mut out = String::with_capacity(given.len().min(max.saturating_mul(4)));
    let mut count = 0;
    let mut chars = given.chars();
    while let Some(c) = chars.next() {
        let c = match c {
            '\u{1b}' => {
                skip_escape(&mut chars);
                continue;
            }
            '\u{9b}' => {
                skip_csi(&mut chars);
                continue;
            }
            '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}' => {
                skip_string(&mut chars);
                continue;
            }
            // A lone return overwrites the line on a terminal; before a line feed it says nothing.
            '\r' if chars.as_str().starts_with('\n') => continue,
            '\r' | '\n' | '\t' if one_line => ' ',
            '\r' => '\n',
            c if is_unseen(c) => continue,
            c => c,
        };
        if count == max {
            out.push('…');
            break;
        }
        out.push(c);
        count += 1;
    }
    Cow::Owned(out)
}

/// Characters that cannot be seen or that change how others are seen.
pub fn is_unseen(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        // Soft hyphen, fillers and marks of no width; bidirectional overrides, isolates, invisible
        // operators; interlinear annotations and tag characters, which can spell hidden orders.
        '\u{ad}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{115f}'
        | '\u{1160}'
        | '\u{17b4}'
        | '\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{3164}'
        | '\u{ffa0}'
        | '\u{feff}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}' => true,
        c => c.is_control(),
    }
}

fn skip_escape(chars: &mut Chars<'_>) {
    match chars.clone().next() {
        Some('[') => {
            chars.next();
            skip_csi(chars);
        }
        // OSC, DCS, SOS, PM and APC carry a string of any length.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            chars.next();
            skip_string(chars);
        }
        // Intermediate bytes, then one final byte, as in `ESC ( B`.
        Some(' '..='/') => {
            for c in chars.by_ref() {
                if !(' '..='/').contains(&c) {
                    break;
                }
            }
        }
        Some('0'..='~') => {
            chars.next();
        }
        _ => {}
    }
}

fn skip_csi(chars: &mut Chars<'_>) {
    // Parameters and intermediates, then a final byte. Anything else ends a broken sequence.
    while let Some(c) = chars.clone().next() {
        if !(' '..='~').contains(&c) {
            return;
        }
        chars.next();
        if ('@'..='~').contains(&c) {
            return;
        }
    }
}

fn skip_string(chars: &mut Chars<'_>) {
    let begin = chars.clone();
    while let Some(c) = chars.next() {
        match c {
            '\u{7}' | '\u{9c}' => return,
            '\u{1b}' => {
                if chars.as_str().starts_with('\\') {
                    chars.next();
                }
                return;
            }
            // No terminal waits over a line break for the end; neither may a log line lose its rest.
            '\n' => {
                *chars = begin;
                return;
            }
            _ => {}
        }
    }
    *chars = begin;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_changes_how_text_looks_is_dropped() {
        for (given, shown) in [
            ("plain ünïcode ✓", "plain ünïcode ✓"),
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}]0;title\u{7}after", "after"),
            ("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{1b}(Bcharset", "charset"),
            ("\u{9b}2Jcleared", "cleared"),
            ("unfinished \u{1b}]0;title", "unfinished 0;title"),
            ("pass\rPASS\r\nnext", "pass\nPASS\nnext"),
            ("a\u{202e}txt.exe", "atxt.exe"),
            ("a\u{200b}b\u{e0041}c\u{0}", "abc"),
            ("bell\u{7} and\tbell", "bell and\tbell"),
        ] {
            assert_eq!(text(given, 100), shown, "{given:?}");
        }
        assert_eq!(line("one\ntwo\tthree", 100), "one two three");
        assert_eq!(text("abcdef", 3), "abc…");
        assert_eq!(text("abc", 3), "abc");
        assert!(matches!(text("untouched", 100), Cow::Borrowed(_)));
    }

    #[test]
    fn a_word_is_one_and_brackets_are_blunt() {
        assert_eq!(word(" web 01\n\tx ", 100), "web_01__x");
        assert!(matches!(word("web-01", 100), Cow::Borrowed(_)));
        for (given, blunted) in [
            ("a << b >> c <b>", "a << b >> c <b>"),
            ("x >>> y", "x >> y"),
            ("untrusted>>>>>> and ＞＞＞ and ≫> and ⋙", "untrusted>> and ＞＞ and ≫ and "),
            ("<<>>", "<<>>"),
            ("<＜‹untrusted", "<＜untrusted"),
            ("> > >", "> > >"),
        ] {
            assert_eq!(blunt(given), blunted, "{given:?}");
        }
    }

    proptest! {
        #[test]
        fn no_three_brackets_are_left(given in "([<>＜＞‹›«»≪≫⋘⋙ a]|\\PC)*") {
            let blunted = blunt(&given);
            prop_assert!(!blunted.contains("<<<") && !blunted.contains(">>>"));
            let again = blunt(&blunted);
            prop_assert_eq!(&again, &blunted);
        }

        #[test]
        fn nothing_unseen_remains(given in "(\\PC|\u{1b}|\u{9b}|[\\x00-\\x20\\[\\]m;\\\\])*", max in 0_usize..50) {
            let shown = line(&given, max);
            prop_assert!(shown.chars().all(|c| !is_unseen(c) && c != '\n' && c != '\r'));
            prop_assert!(shown.chars().count() <= max + 1);
            prop_assert_eq!(line(&shown, max + 1).into_owned(), shown.into_owned());
        }
    }
}
