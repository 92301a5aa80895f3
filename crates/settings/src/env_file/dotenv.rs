//! Lines of `NAME=value`, as the earlier server read them.
//!
//! `export`, comments, single and double quotes, CRLF and a byte order mark are understood; a
//! quoted value ends on its line.

use crate::error::Complaint;

/// One variable.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Assignment {
    pub(super) name: String,
    pub(super) value: String,
    /// Counted from 1.
    pub(super) line: usize,
}

/// A line that was not understood, or not wholly.
pub(super) struct Fault {
    pub(super) line: usize,
    /// The variable, where there is one.
    pub(super) name: String,
    pub(super) complaint: Complaint,
}

/// Reads every line; faults never carry a value.
pub(super) fn parse(text: &str) -> (Vec<Assignment>, Vec<Fault>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut assignments: Vec<Assignment> = Vec::new();
    let mut faults = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = match line.strip_prefix("export") {
            Some(rest) if rest.starts_with([' ', '\t']) => rest.trim_start(),
            _ => line,
        };
        let Some((name, raw)) = line.split_once('=') else {
            faults.push(fault(number, "", "is not a line of NAME=value", "it is ignored"));
            continue;
        };
        let name = name.trim();
        if !is_name(name) {
            faults.push(fault(number, "", "has no valid name before the =", "it is ignored"));
            continue;
        }
        let (value, remark) = value(raw);
        if let Some(remark) = remark {
            faults.push(fault(number, name, remark, "check the quotes"));
        }
        if value.contains("${") {
            let remark = "holds ${…}, which is not replaced";
            faults.push(fault(number, name, remark, "write the value itself"));
        }
        if let Some(earlier) = assignments.iter_mut().find(|earlier| earlier.name == name) {
            let remark = format!("is set on line {} too", earlier.line);
            faults.push(fault(number, name, &remark, "the last one counts"));
            *earlier = Assignment { name: name.to_owned(), value, line: number };
        } else {
            assignments.push(Assignment { name: name.to_owned(), value, line: number });
        }
    }
    (assignments, faults)
}

/// The value of the text after the `=`, and what is odd about it.
fn value(raw: &str) -> (String, Option<&'static str>) {
    let text = raw.trim();
    match text.chars().next() {
        Some(quote @ ('"' | '\'')) => quoted(&text[1..], quote),
        // `NAME= # remark` is an empty value, `NAME=#1` is not.
        Some('#') if raw.starts_with([' ', '\t']) => (String::new(), None),
        _ => (before_comment(text).to_owned(), None),
    }
}

fn quoted(text: &str, quote: char) -> (String, Option<&'static str>) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            let rest = text[at + c.len_utf8()..].trim();
            let odd = !rest.is_empty() && !rest.starts_with('#');
            return (value, odd.then_some("has text after the closing quote, which is ignored"));
        }
        if c != '\\' || quote == '\'' {
            value.push(c);
            continue;
        }
        match chars.next().map(|(_, escaped)| escaped) {
            Some('n') => value.push('\n'),
            Some('r') => value.push('\r'),
            Some('t') => value.push('\t'),
            Some(escaped @ ('"' | '\\' | '$')) => value.push(escaped),
            Some(other) => value.extend(['\\', other]),
            None => value.push('\\'),
        }
    }
    (value, Some("opens a quote that does not end on its line"))
}

fn before_comment(text: &str) -> &str {
    let mut blank_before = false;
    for (at, c) in text.char_indices() {
        if c == '#' && blank_before {
            return text[..at].trim_end();
        }
        blank_before = c == ' ' || c == '\t';
    }
    text
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 200
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn fault(line: usize, name: &str, reason: &str, hint: &str) -> Fault {
    Fault { line, name: name.to_owned(), complaint: Complaint::new(reason, hint) }
}
