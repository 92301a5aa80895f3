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
    ("xoxb-", 16),
    ("xoxp-", 16),
    ("xapp-", 16),
    ("sk-", 20),
    ("AGE-SECRET-KEY-", 16),
];

/// Adds where secrets lie.
pub(super) fn find(text: &str, found: &mut Vec<Range<usize>>) {
    private_keys(text, found);
    credentials_in_urls(text, found);
    jwts(text, found);
    tickets(text, found);
    api_tokens(text, found);
    crypt_hashes(text, found);
    webhooks(text, found);
    for &(prefix, least) in PREFIXES {
        prefixed(text, prefix, least, found);
    }
}

/// PEM blocks of any private key; one whose end is missing goes on to the end of the text.
fn private_keys(text: &str, found: &mut Vec<Range<usize>>) {
    const BEGIN: &str = "-----BEGIN ";
    let mut from = 0;
    while let Some(start) = text[from..].find(BEGIN).map(|n| from + n) {
        from = start + BEGIN.len();
        let Some(dashes) = text[from..].find("-----") else { return };
        let label = &text[from..from + dashes];
        if label.len() > 60 || !label.contains("PRIVATE KEY") {
            continue;
        }
        let end_line = format!("-----END {label}-----");
        let end = text[from..].find(&end_line).map_or(text.len(), |n| from + n + end_line.len());
        found.push(start..end);
        from = end;
    }
}

/// The password of `scheme://user:password@host`.
fn credentials_in_urls(text: &str, found: &mut Vec<Range<usize>>) {
    for (at, _) in text.match_indices("://") {
        let from = at + 3;
        let authority = until(text, from, |c| {
            c.is_whitespace()
                || c.is_control()
                || matches!(c, '/' | '?' | '#' | '"' | '\'' | '<' | '>')
        });
        let Some(host) = text[authority.clone()].rfind('@') else { continue };
        let Some(colon) = text[from..from + host].find(':') else { continue };
        let password = from + colon + 1..from + host;
        if !password.is_empty() && !text[password.clone()].starts_with("[redacted]") {
            found.push(password);
        }
    }
}

/// `eyJ…`: three parts of base64url.
fn jwts(text: &str, found: &mut Vec<Range<usize>>) {
    for at in starts(text, "eyJ") {
        let word = until(text, at, |c| !(is_word(c) || c == '.'));
        let mut parts = text[word.clone()].split('.');
        let long = |part: Option<&str>| part.is_some_and(|part| part.len() >= 8);
        if long(parts.next()) && long(parts.next()) && parts.next().is_some() {
            found.push(word);
        }
    }
}

/// Login tickets and console tickets: `PVE:user@realm:HEX::base64`, `PVEVNC:HEX::base64`.
fn tickets(text: &str, found: &mut Vec<Range<usize>>) {
    for prefix in ["PVE:", "PBS:", "PMG:", "PDM:", "PVEVNC:", "PBSVNC:"] {
        for at in starts(text, prefix) {
            let word = until(text, at, |c| {
                c.is_whitespace()
                    || c.is_control()
                    || matches!(c, '"' | '\'' | '<' | '>' | '&' | ';' | ',' | '\\')
            });
            if text[word.clone()].contains("::") {
                found.push(word);
            }
        }
    }
}

/// The secret of `user@realm!name=uuid` or `user@realm!name:uuid`.
fn api_tokens(text: &str, found: &mut Vec<Range<usize>>) {
    for (at, _) in text.match_indices('!') {
        let name = until(text, at + 1, |c| !(is_word(c) || c == '.'));
        if name.is_empty() || !matches!(text.as_bytes().get(name.end), Some(b'=' | b':')) {
            continue;
        }
        let secret = name.end + 1..name.end + 37;
        if text.get(secret.clone()).is_some_and(is_uuid) {
            found.push(secret);
        }
    }
}

/// `$id$…`: hashes of passwords as crypt(3) and its followers write them.
fn crypt_hashes(text: &str, found: &mut Vec<Range<usize>>) {
    for prefix in ["$1$", "$5$", "$6$", "$y$", "$2a$", "$2b$", "$2y$", "$7$", "$argon2"] {
        for (at, _) in text.match_indices(prefix) {
            let word = until(text, at, |c| {
                !(c.is_ascii_alphanumeric()
                    || matches!(c, '$' | '.' | '/' | '+' | '=' | ',' | '-' | '_'))
            });
            if text[word.clone()].matches('$').count() >= 3 {
                found.push(word);
            }
        }
    }
}

/// Webhook addresses whose path is the credential.
fn webhooks(text: &str, found: &mut Vec<Range<usize>>) {
    const PATH: &str = "/api/webhooks/";
    for (at, _) in text.match_indices(PATH) {
        let id = until(text, at + PATH.len(), |c| !c.is_ascii_digit());
        if text.as_bytes().get(id.end) == Some(&b'/') {
            let token = until(text, id.end + 1, |c| !is_word(c));
            if !token.is_empty() {
                found.push(token);
            }
        }
    }
}

fn prefixed(text: &str, prefix: &str, least: usize, found: &mut Vec<Range<usize>>) {
    for at in starts(text, prefix) {
        let word = until(text, at, |c| !is_word(c));
        if word.len() >= prefix.len() + least {
            found.push(word);
        }
    }
}

/// Where `prefix` stands at the beginning of a word.
fn starts<'a>(text: &'a str, prefix: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.match_indices(prefix).map(|(at, _)| at).filter(|&at| {
        // An escape's letter (`\n`) before it does not make it the middle of a word.
        let before = &text.as_bytes()[..at];
        match before {
            [] | [.., b'\\', b'n' | b'r' | b't'] => true,
            [.., last] => !(last.is_ascii_alphanumeric() || *last == b'_'),
        }
    })
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
