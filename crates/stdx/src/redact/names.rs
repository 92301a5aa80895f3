//! Secrets by the name that stands before them.

use std::ops::Range;

use super::REDACTED;

/// Names whose value is secret, without case, `-` and `_`. A name that ends in one of the first
/// group is secret too (`db_password`, `GITHUB_TOKEN`).
const ENDINGS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "privatekey",
    "secretkey",
    "accesskey",
    "authkey",
    "credential",
    "credentials",
];
const WHOLE: &[&str] = &[
    "pass",
    "pwd",
    "authorization",
    "proxyauthorization",
    "cookie",
    "setcookie",
    "ticket",
    "vncticket",
    "pveauthcookie",
    "pbsauthcookie",
    "hostpbsauthcookie",
    "sshprivatekey",
    "totp",
    "otp",
    "keyring",
    "passwordhash",
];
/// Names whose value goes to the end of the line.
const WHOLE_LINE: &[&str] = &["authorization", "proxyauthorization", "cookie", "setcookie"];

/// The longest name that is looked at, in bytes.
const LONGEST: usize = 80;

/// The names that are secret.
#[derive(Clone, Default)]
pub(super) struct SecretNames(Vec<String>);

// === impl SecretNames ===

impl SecretNames {
    pub(super) fn with(extra: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let extra = extra.into_iter().map(|name| plain(name.as_ref()));
        Self(extra.filter(|name| !name.is_empty()).collect())
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        if name.len() > LONGEST {
            return false;
        }
        let name = plain(name);
        ENDINGS.iter().any(|ending| name.ends_with(ending))
            || WHOLE.contains(&name.as_str())
            || self.0.contains(&name)
    }

    /// Adds where the values of secret names lie.
    pub(super) fn find(&self, text: &str, found: &mut Vec<Range<usize>>) {
        let bytes = text.as_bytes();
        for (at, &byte) in bytes.iter().enumerate() {
            let value = match byte {
                b'=' | b':' => self.value_after_separator(text, at),
                b'-' if bytes[at..].starts_with(b"--") => self.value_of_flag(text, at),
                _ => None,
            };
            found.extend(value);
        }
    }

    /// `name=value`, `name: value`, `"name": "value"`, with quotes escaped or not.
    fn value_after_separator(&self, text: &str, separator: usize) -> Option<Range<usize>> {
        let bytes = text.as_bytes();
        let mut end = separator;
        while end > 0 && matches!(bytes[end - 1], b' ' | b'\t') {
            end -= 1;
        }
        if end > 0 && matches!(bytes[end - 1], b'"' | b'\'') {
            end -= 1;
            if end > 0 && bytes[end - 1] == b'\\' {
                end -= 1;
            }
        }
        let start = name_start(bytes, end);
        let name = text.get(start..end)?;
        if name.is_empty() || !self.contains(name) {
            return None;
        }
        let mut from = separator + 1;
        while matches!(bytes.get(from), Some(b' ' | b'\t')) {
            from += 1;
        }
        if WHOLE_LINE.contains(&plain(name).as_str())
            && !matches!(bytes.get(from), Some(b'"' | b'\'' | b'\\'))
        {
            let to = text[from..].find(['\n', '\r']).map_or(text.len(), |n| from + n);
            return nonempty(text, from..to);
        }
        if bytes[separator] == b':' && matches!(bytes.get(from), Some(b'|' | b'>')) {
            return indented_block(text, start, from);
        }
        value(text, from)
    }

    /// `--name value`.
    fn value_of_flag(&self, text: &str, dashes: usize) -> Option<Range<usize>> {
        let bytes = text.as_bytes();
        if dashes > 0 && !matches!(bytes[dashes - 1], b' ' | b'\t' | b'\n' | b'"' | b'\'' | b',') {
            return None;
        }
        let start = dashes + 2;
        let mut end = start;
        while bytes.get(end).is_some_and(|&b| is_name_byte(b)) {
            end += 1;
        }
        if bytes.get(end) != Some(&b' ') || !self.contains(&text[start..end]) {
            return None;
        }
        let from = end + 1;
        // Another flag follows: this one has no value.
        if text[from..].starts_with("--") { None } else { value(text, from) }
    }
}

/// Lowercase, without what people vary.
fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_')).map(|c| c.to_ascii_lowercase()).collect()
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

fn name_start(bytes: &[u8], end: usize) -> usize {
    let mut start = end;
    while start > 0 && end - start < LONGEST && is_name_byte(bytes[start - 1]) {
        start -= 1;
    }
    start
}

/// The value that begins at `from`: quoted to its closing quote, bare to the next delimiter.
fn value(text: &str, from: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let (escaped, at) =
        if bytes.get(from) == Some(&b'\\') { (true, from + 1) } else { (false, from) };
    if let Some(&quote @ (b'"' | b'\'')) = bytes.get(at) {
        let start = at + 1;
        let mut end = start;
        while end < bytes.len() && bytes[end] != quote {
            // Inside plain quotes a backslash protects the next byte; inside escaped ones it is
            // the closing quote's own.
            if bytes[end] == b'\\' && !escaped {
                end += 1;
            } else if bytes[end] == b'\\' && bytes.get(end + 1) == Some(&quote) {
                break;
            }
            end += 1;
        }
        let mut end = end.min(bytes.len());
        while !text.is_char_boundary(end) {
            end += 1;
        }
        return nonempty(text, start..end);
    }
    let stops = |c: char| {
        c.is_whitespace()
            || c.is_control()
            || matches!(c, ',' | ';' | '&' | '"' | '\'' | '<' | '>' | ')' | ']' | '}')
    };
    let rest = &text[from..];
    if rest.starts_with(REDACTED) {
        return None;
    }
    let end = rest.find(stops).map_or(text.len(), |n| from + n);
    nonempty(text, from..end)
}

/// YAML's block value: the lines below that are indented deeper than the one with the name.
fn indented_block(text: &str, name: usize, indicator: usize) -> Option<Range<usize>> {
    let line_start = text[..name].rfind('\n').map_or(0, |n| n + 1);
    let indent = text[line_start..].len() - text[line_start..].trim_start_matches(' ').len();
    let from = indicator + text[indicator..].find('\n')? + 1;
    let mut end = from;
    for line in text[from..].split_inclusive('\n') {
        let depth = line.len() - line.trim_start_matches(' ').len();
        if !line.trim().is_empty() && depth <= indent {
            break;
        }
        end += line.len();
    }
    let end = from + text[from..end].trim_end().len();
    nonempty(text, from..end)
}

/// The range unless it says that there is no value, or was redacted before.
fn nonempty(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let value = text.get(range.clone())?;
    let none = matches!(value, "" | "null" | "None" | "true" | "false") || value == REDACTED;
    (!none).then_some(range)
}
