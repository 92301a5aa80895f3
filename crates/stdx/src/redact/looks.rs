//! Secrets that are known by their looks, whatever stands before them.

use std::ops::Range;

/// Keys of well-known services: how they begin and the least that follows.
const PREFIXES: &[(&str, usize)] = &[
    ("AKIA", 16),
    ("ASIA", 16),
    ("ghp_", 30),
    ("gho_", 30),
    ("ghs_", 30),
    ("ghu_", 30),
    ("github_pat_", 30),
    ("glpat-", 16),
    ("pmx_", 40), // the bearer tokens of this program
    ("xoxb-", 16),
    ("xoxp-", 16),
    ("xapp-", 16),
    ("sk-", 20),
    ("AGE-SECRET-KEY-", 16),
];

/// How hashes of passwords begin.
const CRYPT: &[&str] = &["$1$", "$5$", "$6$", "$y$", "$2a$", "$2b$", "$2y$", "$7$", "$argon2"];

/// What stands before id and token of a webhook's address.
const WEBHOOKS: &str = "/api/webhooks/";

/// How a block of PEM begins.
const BEGIN: &str = "-----BEGIN ";

/// Adds where secrets lie. One pass: nearly every text has none, and lists are made of many.
pub(super) fn find(text: &str, found: &mut Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    let stands = |at: usize, what: &str| bytes[at..].starts_with(what.as_bytes());
    let mut key_end = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            b'-' if at >= key_end && stands(at, BEGIN) => {
                key_end = private_key(text, at, found).unwrap_or(key_end);
            }
            b':' if stands(at, "://") => credentials_in_url(text, at, found),
            b'!' => api_token(text, at, found),
            b'$' => crypt_hash(text, at, found),
            b'/' if stands(at, WEBHOOKS) => webhook(text, at, found),
            b'e' if begins_word(bytes, at) => jwt(text, at, found),
            b'P' if begins_word(bytes, at) => ticket(text, at, found),
            b'A' | b'g' | b'p' | b's' | b'x' if begins_word(bytes, at) => {
                service_key(text, at, found);
            }
            _ => {}
        }
    }
}

/// A PEM block of any private key, and where it ends; one whose end is missing goes on to the end
/// of the text.
fn private_key(text: &str, at: usize, found: &mut Vec<Range<usize>>) -> Option<usize> {
    let from = at + BEGIN.len();
    let dashes = text[from..].find("-----")?;
    let label = &text[from..from + dashes];
    if label.len() > 60 || !label.contains("PRIVATE KEY") {
        return None;
    }
    let end_line = format!("-----END {label}-----");
    let end = text[from..].find(&end_line).map_or(text.len(), |n| from + n + end_line.len());
    found.push(at..end);
    Some(end)
}

/// The password of `scheme://user:password@host`; `at` is where `://` stands.
fn credentials_in_url(text: &str, at: usize, found: &mut Vec<Range<usize>>) {
    let from = at + 3;
    let authority = until(text, from, |c| {
        c.is_whitespace() || c.is_control() || matches!(c, '/' | '?' | '#' | '"' | '\'' | '<' | '>')
    });
    let Some(host) = text[authority].rfind('@') else { return };
    let Some(colon) = text[from..from + host].find(':') else { return };
    let password = from + colon + 1..from + host;
    if !password.is_empty() && !text[password.clone()].starts_with("[redacted]") {
        found.push(password);
    }
}

/// `eyJ…`: three parts of base64url.
fn jwt(text: &str, at: usize, found: &mut Vec<Range<usize>>) {
    if !text[at..].starts_with("eyJ") {
        return;
    }
    let word = until(text, at, |c| !(is_word(c) || c == '.'));
    let mut parts = text[word.clone()].split('.');
    let long = |part: Option<&str>| part.is_some_and(|part| part.len() >= 8);
    if long(parts.next()) && long(parts.next()) && parts.next().is_some() {
        found.push(word);
    }
}

/// Login tickets and console tickets: `PVE:user@realm:HEX::base64`, `PVEVNC:HEX::base64`.
fn ticket(text: &str, at: usize, found: &mut Vec<Range<usize>>) {
    let rest = &text[at..];
    if !["PVE:", "PBS:", "PMG:", "PDM:", "PVEVNC:", "PBSVNC:"].iter().any(|p| rest.starts_with(p)) {
        return;
    }
    let word = until(text, at, |c| {
        c.is_whitespace()
            || c.is_control()
            || matches!(c, '"' | '\'' | '<' | '>' | '&' | ';' | ',' | '\\')
    });
    if text[word.clone()].contains("::") {
        found.push(word);
    }
}

/// The secret of `user@realm!name=uuid` or `user@realm!name:uuid`; `at` is where the `!` stands.
fn api_token(text: &str, at: usize, found: &mut Vec<Range<usize>>) {
    let name = until(text, at + 1, |c| !(is_word(c) || c == '.'));
    if name.is_empty() || !matches!(text.as_bytes().get(name.end), Some(b'=' | b':')) {
        return;
    }
    let secret = name.end + 1..name.end + 37;
    if text.get(secret.clone()).is_some_and(is_uuid) {
        found.push(secret);
    }
}

/// `$id$…`: hashes of passwords as crypt(3) and its followers write them.
fn crypt_hash(text: &str, at: usize, found: &mut Vec<Range<usize>>) {
    let rest = &text[at..];
    if !CRYPT.iter().any(|prefix| rest.starts_with(prefix)) {
        return;
    }
    let word = until(text, at, |c| {
        !(c.is_ascii_alphanumeric() || matches!(c, '$' | '.' | '/' | '+' | '=' | ',' | '-' | '_'))
    });
    if text[word.clone()].matches('$').count() >= 3 {
        found.push(word);
    }
}

/// Webhook addresses whose path is the credential; `at` is where [`WEBHOOKS`] stands.
fn webhook(text: &str, at: usize, found: &mut Vec<Range<usize>>) {
    let id = until(text, at + WEBHOOKS.len(), |c| !c.is_ascii_digit());
    if text.as_bytes().get(id.end) == Some(&b'/') {
        let token = until(text, id.end + 1, |c| !is_word(c));
        if !token.is_empty() {
            found.push(token);
        }
    }
}

fn service_key(text: &str, at: usize, found: &mut Vec<Range<usize>>) {
    let rest = &text[at..];
    for &(prefix, least) in PREFIXES {
        if rest.starts_with(prefix) {
            let word = until(text, at, |c| !is_word(c));
            if word.len() >= prefix.len() + least {
                found.push(word);
            }
        }
    }
}

/// Whether a word begins at `at`.
fn begins_word(bytes: &[u8], at: usize) -> bool {
    // An escape's letter (`\n`) before it does not make it the middle of a word.
    match &bytes[..at] {
        [] | [.., b'\\', b'n' | b'r' | b't'] => true,
        [.., last] => !(last.is_ascii_alphanumeric() || *last == b'_'),
    }
}

fn until(text: &str, from: usize, stops: impl Fn(char) -> bool) -> Range<usize> {
    let end = text[from..].find(stops).map_or(text.len(), |n| from + n);
    from..end
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}
