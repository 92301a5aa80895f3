//! Secrets by the name that stands before them.

use std::ops::Range;

use super::{REDACTED, pairs::Pairs};

/// Names whose value is secret, without case, `-` and `_`. A name that ends in one of the first
/// group is secret too (`db_password`, `GITHUB_TOKEN`).
const ENDINGS: &[&str] = &[
    "password",
    "passwd",
    "passwort",
    "kennwort",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "privatekey",
    "secretkey",
    "accesskey",
    "authkey",
    "encryptionkey",
    "presharedkey",
    "hmackey",
    "credential",
    "credentials",
];
const WHOLE: &[&str] = &[
    "pass",
    "pw",
    "pwd",
    "psk",
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

/// Names that also count something: of these, a few digits are no secret (`token: 3000` is a
/// time-out of corosync, `pass: 2` a round of a check).
const COUNTS: &[&str] = &["token", "pass"];

/// The longest name that is looked at, in bytes.
const LONGEST: usize = 80;

/// How far back a line's beginning is looked for.
const INDENT: usize = 200;

/// The longest list of values that goes as a whole.
const LIST: usize = 4096;

/// The names that are secret.
#[derive(Clone)]
pub(super) struct SecretNames {
    /// Anywhere.
    extra: Vec<String>,
    /// In JSON only.
    fields: Vec<String>,
    /// The last two letters of each, the last one first.
    tails: Box<Pairs>,
}

// === impl SecretNames ===

impl SecretNames {
    pub(super) fn with(extra: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let mut names = Self::default();
        names.add_names(extra);
        names
    }

    pub(super) fn add_names(&mut self, names: impl IntoIterator<Item = impl AsRef<str>>) {
        add(&mut self.extra, names);
        self.extra.iter().for_each(|name| mark(&mut self.tails, name));
    }

    pub(super) fn add_fields(&mut self, names: impl IntoIterator<Item = impl AsRef<str>>) {
        add(&mut self.fields, names);
        self.fields.iter().for_each(|name| mark(&mut self.tails, name));
    }

    /// Whether a field of JSON with this name holds a secret.
    pub(super) fn is_field(&self, name: &str) -> bool {
        let name = name.as_bytes();
        self.may_be(name) && (self.contains(name) || is_one_of(&self.fields, name))
    }

    /// Whether a name ends as one that is known does: most do not.
    fn may_be(&self, name: &[u8]) -> bool {
        let mut letters = name.iter().rev().filter(|byte| !matches!(byte, b'-' | b'_'));
        let mut next = || letters.next().map_or(0, u8::to_ascii_lowercase);
        let (last, before) = (next(), next());
        self.tails.has(last, before)
    }

    fn contains(&self, name: &[u8]) -> bool {
        if name.len() > LONGEST || !self.may_be(name) {
            return false;
        }
        ENDINGS.iter().any(|ending| ends_in(name, ending).is_some())
            || is_one_of(WHOLE, name)
            || is_one_of(&self.extra, name)
    }

    /// `name=value`, `name: value`, `"name": "value"`, with quotes escaped or not.
    pub(super) fn after_separator(&self, text: &str, separator: usize) -> Option<Range<usize>> {
        let bytes = text.as_bytes();
        let mut end = separator;
        while end > 0 && separator - end < LONGEST && matches!(bytes[end - 1], b' ' | b'\t') {
            end -= 1;
        }
        if end > 0 && matches!(bytes[end - 1], b'"' | b'\'') {
            end -= 1;
            if end > 0 && bytes[end - 1] == b'\\' {
                end -= 1;
            }
        }
        let start = name_start(bytes, end);
        let name = &bytes[start..end];
        if !self.contains(name) {
            return None;
        }
        let mut from = separator + 1;
        // Beyond so many blanks it is a table, and the next column may be empty.
        while from - separator <= LONGEST && matches!(bytes.get(from), Some(b' ' | b'\t')) {
            from += 1;
        }
        if is_one_of(WHOLE_LINE, name) && !matches!(bytes.get(from), Some(b'"' | b'\'' | b'\\')) {
            let to = text[from..].find(['\n', '\r']).map_or(text.len(), |n| from + n);
            return nonempty(text, from..to);
        }
        if bytes[separator] == b':'
            && matches!(bytes.get(from), Some(b'|' | b'>'))
            && let Some(lines) = lines_below(bytes, from)
        {
            return nonempty(text, indented_block(text, start, lines)?);
        }
        let value = value(text, from)?;
        let is_principal = from == separator + 1
            && bytes[separator] == b':'
            && name.eq_ignore_ascii_case(b"token")
            && is_plain_name(&bytes[value.clone()]);
        if is_principal {
            return None;
        }
        let is_count = value.len() <= 6
            && is_one_of(COUNTS, name)
            && bytes[value.clone()].iter().all(|byte| byte.is_ascii_digit() || *byte == b'/');
        (!is_count).then_some(value)
    }

    /// `--name value`.
    pub(super) fn after_flag(&self, text: &str, dashes: usize) -> Option<Range<usize>> {
        let bytes = text.as_bytes();
        if dashes > 0 && !matches!(bytes[dashes - 1], b' ' | b'\t' | b'\n' | b'"' | b'\'' | b',') {
            return None;
        }
        let start = dashes + 2;
        let mut end = start;
        while end - start <= LONGEST && bytes.get(end).is_some_and(|&b| is_name_byte(b)) {
            end += 1;
        }
        if bytes.get(end) != Some(&b' ') || !self.contains(&bytes[start..end]) {
            return None;
        }
        let from = end + 1;
        // Another flag follows: this one has no value.
        if text[from..].starts_with("--") { None } else { value(text, from) }
    }
}

impl Default for SecretNames {
    fn default() -> Self {
        let mut tails = Box::new(Pairs::new());
        ENDINGS.iter().chain(WHOLE).for_each(|name| mark(&mut tails, name));
        Self { extra: Vec::new(), fields: Vec::new(), tails }
    }
}

fn mark(tails: &mut Pairs, name: &str) {
    let mut letters = name.bytes().rev();
    let last = letters.next().unwrap_or_default();
    tails.add(last, letters.next().unwrap_or_default());
}

fn add(to: &mut Vec<String>, names: impl IntoIterator<Item = impl AsRef<str>>) {
    let plain = names.into_iter().map(|name| plain(name.as_ref()));
    to.extend(plain.filter(|name| !name.is_empty()));
}

/// Lowercase, without what people vary.
fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_')).map(|c| c.to_ascii_lowercase()).collect()
}

/// Where the name's last letters begin if they are `ending`, case, `-` and `_` aside.
fn ends_in(name: &[u8], ending: &str) -> Option<usize> {
    let mut at = name.len();
    for &letter in ending.as_bytes().iter().rev() {
        while at > 0 && matches!(name[at - 1], b'-' | b'_') {
            at -= 1;
        }
        if at == 0 || name[at - 1].to_ascii_lowercase() != letter {
            return None;
        }
        at -= 1;
    }
    Some(at)
}

fn is_one_of(names: &[impl AsRef<str>], name: &[u8]) -> bool {
    let is_name = |known: &str| {
        let rest = ends_in(name, known);
        rest.is_some_and(|rest| name[..rest].iter().all(|byte| matches!(byte, b'-' | b'_')))
    };
    names.iter().any(|known| is_name(known.as_ref()))
}

/// Whether a word after `token:` is the name of one, as in `token:deploy`, or a pattern of names
/// (`token:*`): this program writes who calls so. Secrets are longer, or have capitals or several digits.
fn is_plain_name(word: &[u8]) -> bool {
    let digits = word.iter().filter(|byte| byte.is_ascii_digit()).count();
    word.len() <= 24
        && digits < 3
        && word.iter().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'*')
        })
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
pub(super) fn value(text: &str, from: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    // A list of quoted values goes as a whole.
    if bytes.get(from) == Some(&b'[')
        && matches!(bytes.get(from + 1), Some(b'"' | b'\'' | b'\\'))
        && let Some(length) = bytes[from..].iter().take(LIST).position(|&byte| byte == b']')
    {
        return Some(from..from + length + 1);
    }
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
    // An object or a list is no value, and its own names are looked at in their turn.
    if rest.starts_with(REDACTED) || rest.starts_with('{') || rest.starts_with("[{") {
        return None;
    }
    let end = rest.find(stops).map_or(text.len(), |n| from + n);
    nonempty(text, from..end)
}

/// Where the lines begin that `|` or `>` of YAML announces; `at` is where that stands.
fn lines_below(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes[at + 1..].iter().take(8);
    let marks = rest.take_while(|byte| matches!(byte, b'-' | b'+' | b'0'..=b'9' | b' ' | b'\r'));
    let end = at + 1 + marks.count();
    (bytes.get(end) == Some(&b'\n')).then_some(end + 1)
}

/// YAML's block value: the lines from `from` on that are indented deeper than the one with the name.
fn indented_block(text: &str, name: usize, from: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let earliest = name.saturating_sub(INDENT);
    let before = &bytes[earliest..name];
    let line_start = match before.iter().rposition(|&byte| byte == b'\n') {
        Some(n) => earliest + n + 1,
        None if earliest == 0 => 0,
        None => return None,
    };
    let indent = bytes[line_start..].iter().take_while(|&&byte| byte == b' ').count();
    let mut end = from;
    for line in text[from..].split_inclusive('\n') {
        let depth = line.len() - line.trim_start_matches(' ').len();
        if !line.trim().is_empty() && depth <= indent {
            break;
        }
        end += line.len();
    }
    let end = from + text[from..end].trim_end().len();
    (end > from).then_some(from..end)
}

/// The range unless it says that there is no value, or was redacted before.
fn nonempty(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let value = text.get(range.clone())?;
    let none = matches!(value, "" | "null" | "None" | "true" | "false") || value == REDACTED;
    (!none).then_some(range)
}
