//! Secrets that are known by their looks, whatever stands before them.

use std::ops::Range;

use super::{names, pairs::Pairs};

/// What a key is made of.
#[derive(Clone, Copy, PartialEq)]
enum Made {
    /// Capitals and digits.
    Capitals,
    /// Letters, digits, `-` and `_`.
    Word,
    /// The same with dots.
    Dotted,
    /// A word that has digits, capitals and small letters: its beginning is also one of names.
    Mixed,
}

/// Keys of well-known services: how they begin, the least that follows, and what they are made of.
const PREFIXES: &[(&str, usize, Made)] = &[
    ("AKIA", 16, Made::Capitals),
    ("ASIA", 16, Made::Capitals),
    ("AIza", 35, Made::Word),
    ("AGE-SECRET-KEY-", 16, Made::Word),
    ("SG.", 60, Made::Dotted),
    ("dop_v1_", 32, Made::Word),
    ("gho_", 30, Made::Word),
    ("ghp_", 30, Made::Word),
    ("ghr_", 30, Made::Word),
    ("ghs_", 30, Made::Word),
    ("ghu_", 30, Made::Word),
    ("github_pat_", 30, Made::Word),
    ("gldt-", 16, Made::Word),
    ("glpat-", 16, Made::Word),
    ("glrt-", 16, Made::Word),
    ("hf_", 30, Made::Mixed),
    ("hvs.", 24, Made::Word),
    ("npm_", 30, Made::Mixed),
    ("pmx_", 40, Made::Word), // the bearer tokens of this program
    ("pypi-", 30, Made::Mixed),
    ("rk_live_", 16, Made::Word),
    ("shpat_", 24, Made::Word),
    ("sk-", 20, Made::Mixed),
    ("sk_live_", 16, Made::Word),
    ("sk_test_", 16, Made::Word),
    ("syt_", 20, Made::Mixed),
    ("tk_", 29, Made::Mixed), // ntfy
    ("tskey-", 16, Made::Word),
    ("xapp-", 16, Made::Word),
    ("xoxa-", 16, Made::Word),
    ("xoxb-", 16, Made::Word),
    ("xoxe-", 16, Made::Word),
    ("xoxp-", 16, Made::Word),
    ("xoxr-", 16, Made::Word),
    ("xoxs-", 16, Made::Word),
];

/// How hashes of passwords begin.
const CRYPT: &[&str] =
    &["$1$", "$5$", "$6$", "$7$", "$y$", "$gy$", "$2a$", "$2b$", "$2y$", "$argon2", "$pbkdf2"];

/// How login tickets and console tickets begin.
const TICKETS: &[&str] = &["PVE:", "PBS:", "PMG:", "PDM:", "PVEVNC:", "PBSVNC:"];

/// What stands before id and token of a webhook's address, at Discord and at Slack.
const WEBHOOKS: &str = "/api/webhooks/";
const SERVICES: &str = "/services/T";

/// How a block of PEM begins.
const BEGIN: &str = "-----BEGIN ";

/// How far back the beginning of a word or the name of a program is looked for.
const BACK: usize = 100;

/// The pairs of bytes that a rule begins with, those of names included. Nearly all pairs of nearly
/// every text are others, and cost one look at this table.
pub(super) static BEGINS: Pairs = {
    let mut pairs = Pairs::new();
    let signs = b"-:=!$/.";
    let mut at = 0;
    while at < signs.len() {
        pairs.add_all(signs[at]);
        at += 1;
    }
    // Tickets, JWTs, `AQ…==`, logins of HTTP, and `password is`.
    let words =
        [b"PV", b"PB", b"PM", b"PD", b"ey", b"AQ", b"Be", b"be", b"BE", b"Ba", b"ba", b"BA"];
    let mut at = 0;
    while at < words.len() {
        pairs.add(words[at][0], words[at][1]);
        at += 1;
    }
    let words = [b"pa", b"Pa", b"pA", b"PA", b"pw", b"Pw", b"pW", b"PW"];
    let mut at = 0;
    while at < words.len() {
        pairs.add(words[at][0], words[at][1]);
        at += 1;
    }
    let mut at = 0;
    while at < PREFIXES.len() {
        let prefix = PREFIXES[at].0.as_bytes();
        pairs.add(prefix[0], prefix[1]);
        at += 1;
    }
    pairs
};

/// One text on its way through the rules. A rule that looked far ahead for nothing remembers how
/// far: what begins before that cannot end otherwise.
pub(super) struct Looks<'a> {
    text: &'a str,
    no_jwt_before: usize,
    no_ticket_before: usize,
    no_mixed_before: usize,
    no_pem: bool,
}

// === impl Looks ===

impl<'a> Looks<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, no_jwt_before: 0, no_ticket_before: 0, no_mixed_before: 0, no_pem: false }
    }

    /// The secret that is recognized at `at`.
    pub(super) fn at(&mut self, at: usize) -> Option<Range<usize>> {
        let text = self.text;
        let bytes = text.as_bytes();
        match bytes[at] {
            b'-' => self.private_key(at).or_else(|| flag_of_program(text, at)),
            b':' if stands(bytes, at, "://") => credentials_in_url(text, at),
            b':' => bot_token(text, at),
            b'!' => api_token(text, at),
            b'$' => crypt_hash(text, at),
            b'/' => webhook(text, at),
            b'.' => chat_token(text, at),
            b'=' => None,
            letter if begins_word(bytes, at) => match letter {
                b'e' => self.jwt(at),
                b'P' => self.ticket(at).or_else(|| said(text, at)),
                b'B' | b'b' => http_login(text, at),
                b'A' => self.service_key(at).or_else(|| ceph_key(text, at)),
                b'p' => self.service_key(at).or_else(|| said(text, at)),
                _ => self.service_key(at),
            },
            _ => None,
        }
    }

    /// A PEM block of any private key; one whose end is missing goes on to the end of the text.
    fn private_key(&mut self, at: usize) -> Option<Range<usize>> {
        let text = self.text;
        if self.no_pem || !stands(text.as_bytes(), at, BEGIN) {
            return None;
        }
        let from = at + BEGIN.len();
        let Some(dashes) = text[from..].find("-----") else {
            self.no_pem = true;
            return None;
        };
        let label = &text[from..from + dashes];
        if label.len() > 60 || !label.contains("PRIVATE KEY") {
            return None;
        }
        let end_line = format!("-----END {label}-----");
        let end = text[from..].find(&end_line).map_or(text.len(), |n| from + n + end_line.len());
        Some(at..end)
    }

    /// `eyJ…`: three parts of base64url, or the five of an encrypted one.
    fn jwt(&mut self, at: usize) -> Option<Range<usize>> {
        let text = self.text;
        if at < self.no_jwt_before || !stands(text.as_bytes(), at, "eyJ") {
            return None;
        }
        let dot = |end: usize| text.as_bytes().get(end) == Some(&b'.');
        let head = until(text, at, |c| !is_word(c));
        let is_one = head.len() >= 8 && dot(head.end) && {
            let payload = until(text, head.end + 1, |c| !is_word(c));
            payload.len() >= 8 && dot(payload.end)
        };
        if !is_one {
            // Its first part is what another one that begins in it would have as well.
            self.no_jwt_before = head.end;
            return None;
        }
        Some(until(text, at, |c| !(is_word(c) || c == '.')))
    }

    /// Login tickets and console tickets: `PVE:user@realm:HEX::base64`, `PVEVNC:HEX::base64`.
    fn ticket(&mut self, at: usize) -> Option<Range<usize>> {
        let bytes = self.text.as_bytes();
        if at < self.no_ticket_before || !TICKETS.iter().any(|ticket| stands(bytes, at, ticket)) {
            return None;
        }
        let word = until(self.text, at, |c| {
            c.is_whitespace()
                || c.is_control()
                || matches!(c, '"' | '\'' | '<' | '>' | '&' | ';' | ',' | '\\')
        });
        if !self.text[word.clone()].contains("::") {
            self.no_ticket_before = word.end;
            return None;
        }
        Some(word)
    }

    /// What begins as the keys of a known service do.
    fn service_key(&mut self, at: usize) -> Option<Range<usize>> {
        let bytes = self.text.as_bytes();
        let &(prefix, least, made) =
            PREFIXES.iter().find(|(prefix, ..)| stands(bytes, at, prefix))?;
        if made == Made::Mixed && at < self.no_mixed_before {
            return None;
        }
        let rest = until(self.text, at + prefix.len(), |c| match made {
            Made::Capitals => !(c.is_ascii_uppercase() || c.is_ascii_digit()),
            Made::Dotted => !(is_word(c) || c == '.'),
            Made::Word | Made::Mixed => !is_word(c),
        });
        let has = |of: fn(&u8) -> bool| bytes[rest.clone()].iter().any(of);
        if made == Made::Mixed
            && !(has(u8::is_ascii_digit)
                && has(u8::is_ascii_uppercase)
                && has(u8::is_ascii_lowercase))
        {
            self.no_mixed_before = rest.end;
            return None;
        }
        // A word that goes on otherwise is a word.
        let goes_on =
            made == Made::Capitals && bytes.get(rest.end).is_some_and(|&b| is_word_byte(b));
        (rest.len() >= least && !goes_on).then_some(at..rest.end)
    }
}

/// The password of `scheme://user:password@host`; `at` is where `://` stands.
fn credentials_in_url(text: &str, at: usize) -> Option<Range<usize>> {
    let from = at + 3;
    let ends = |c: char| {
        c.is_whitespace() || c.is_control() || matches!(c, '?' | '#' | '"' | '\'' | '<' | '>')
    };
    let authority = until(text, from, |c| ends(c) || c == '/');
    let host = match text[authority.clone()].rfind('@') {
        Some(host) => host,
        // A slash in a password is an error of whoever wrote it, and no less secret; digits up to a
        // slash are a port.
        None => {
            let (user, rest) = text[authority.clone()].split_once(':')?;
            // Cut short before the host, it is a password unless it can be a port.
            if let Some(cut) = rest.strip_suffix('…')
                && !user.starts_with('[')
                && !cut.starts_with(super::REDACTED)
                && !cut.bytes().all(|byte| byte.is_ascii_digit())
            {
                let password = from + user.len() + 1;
                return Some(password..password + cut.len());
            }
            if text.as_bytes().get(authority.end) != Some(&b'/')
                || rest.bytes().all(|byte| byte.is_ascii_digit())
            {
                return None;
            }
            let rest = until(text, authority.end, |c| ends(c) || c == ':');
            authority.len() + text[rest].rfind('@')?
        }
    };
    let colon = text[from..from + host].find(':')?;
    let password = from + colon + 1..from + host;
    (!password.is_empty() && !text[password.clone()].starts_with(super::REDACTED))
        .then_some(password)
}

/// The secret of `user@realm!name=uuid` or `user@realm!name:uuid`; `at` is where the `!` stands.
fn api_token(text: &str, at: usize) -> Option<Range<usize>> {
    let name = until(text, at + 1, |c| !(is_word(c) || c == '.'));
    if name.is_empty() || !matches!(text.as_bytes().get(name.end), Some(b'=' | b':')) {
        return None;
    }
    let secret = name.end + 1..name.end + 37;
    text.get(secret.clone()).is_some_and(is_uuid).then_some(secret)
}

/// `$id$…`: hashes of passwords as crypt(3) and its followers write them.
fn crypt_hash(text: &str, at: usize) -> Option<Range<usize>> {
    if !CRYPT.iter().any(|prefix| stands(text.as_bytes(), at, prefix)) {
        return None;
    }
    let word = until(text, at, |c| {
        !(c.is_ascii_alphanumeric() || matches!(c, '$' | '.' | '/' | '+' | '=' | ',' | '-' | '_'))
    });
    (text[word.clone()].matches('$').nth(2).is_some()).then_some(word)
}

/// Webhook addresses whose path is the credential: Discord's and Slack's.
fn webhook(text: &str, at: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let token = if stands(bytes, at, WEBHOOKS) {
        let id = until(text, at + WEBHOOKS.len(), |c| !c.is_ascii_digit());
        if bytes.get(id.end) != Some(&b'/') {
            return None;
        }
        until(text, id.end + 1, |c| !is_word(c))
    } else if stands(bytes, at, SERVICES) {
        let team = until(text, at + SERVICES.len(), |c| !is_word(c));
        if !stands(bytes, team.end, "/B") {
            return None;
        }
        let bot = until(text, team.end + 1, |c| !is_word(c));
        if bytes.get(bot.end) != Some(&b'/') {
            return None;
        }
        until(text, bot.end + 1, |c| !is_word(c))
    } else {
        return None;
    };
    (!token.is_empty()).then_some(token)
}

/// `AQ…==`: forty characters of a Ceph key.
fn ceph_key(text: &str, at: usize) -> Option<Range<usize>> {
    let key = text.as_bytes().get(at..at + 40)?;
    let is_key = key.starts_with(b"AQ")
        && key.ends_with(b"==")
        && key[..38].iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'));
    is_key.then_some(at..at + 40)
}

/// The token of a chat robot, `MTIz….GhIjKl.…`; `at` is where its first dot stands.
fn chat_token(text: &str, at: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    if bytes.get(at + 7) != Some(&b'.') || !bytes[at + 1..at + 7].iter().all(|&b| is_word_byte(b)) {
        return None;
    }
    let before = bytes[at.saturating_sub(BACK)..at].iter().rev();
    let before = before.take_while(|&&byte| is_word_byte(byte)).count();
    let start = at - before;
    let rest = until(text, at + 8, |c| !is_word(c));
    let is_token = (23..=32).contains(&before)
        && matches!(bytes[start], b'M' | b'N' | b'O')
        && rest.len() >= 27;
    is_token.then_some(start..rest.end)
}

/// The token of a Telegram robot, `123456789:AA…`; `at` is where its colon stands.
fn bot_token(text: &str, at: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let secret = bytes.get(at + 1..at + 36)?;
    if !secret.starts_with(b"AA") || !secret.iter().all(|&byte| is_word_byte(byte)) {
        return None;
    }
    let digits = bytes[..at].iter().rev().take(12).take_while(|byte| byte.is_ascii_digit()).count();
    (8..=11).contains(&digits).then_some(at + 1..at + 36)
}

/// What a `Bearer` or a `Basic` logs in with, wherever such a header is quoted.
fn http_login(text: &str, at: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let scheme = ["bearer ", "basic "].into_iter().find(|scheme| {
        bytes
            .get(at..at + scheme.len())
            .is_some_and(|it| it.eq_ignore_ascii_case(scheme.as_bytes()))
    })?;
    let from = at + scheme.len();
    let word = until(text, from, |c| !(is_word(c) || matches!(c, '.' | '~' | '+' | '/' | '=')));
    // `basic information` and `bearer token` are words; what is made by chance has digits or letters
    // of both cases in its middle.
    let inner = text.get(from + 1..word.end).unwrap_or_default();
    let is_random = inner.bytes().any(|byte| byte.is_ascii_digit())
        || inner.bytes().any(|byte| byte.is_ascii_uppercase())
            && inner.bytes().any(|byte| byte.is_ascii_lowercase());
    (word.len() >= 12 && is_random).then_some(word)
}

/// `password is hunter2`: people write it into notes.
fn said(text: &str, at: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let phrase = ["password is ", "passphrase is ", "passwort ist ", "pw is "];
    let phrase = phrase.into_iter().find(|phrase| {
        bytes
            .get(at..at + phrase.len())
            .is_some_and(|it| it.eq_ignore_ascii_case(phrase.as_bytes()))
    })?;
    let value = names::value(text, at + phrase.len())?;
    // `password is incorrect` is a message; a word of letters alone is taken for one.
    let is_word = text[value.clone()].chars().all(|c| c.is_alphabetic() || matches!(c, '.' | '!'));
    (!is_word).then_some(value)
}

/// `curl -u user:password`, `sshpass -p password`: programs that take a secret under one letter.
fn flag_of_program(text: &str, at: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let (program, after): (&[u8], _) = match bytes.get(at + 1)? {
        b'u' => (b"curl ", at + 2),
        b'p' => (b"sshpass ", at + 2),
        _ => return None,
    };
    if !bytes[..at].last().is_some_and(u8::is_ascii_whitespace) {
        return None;
    }
    let line = &bytes[at.saturating_sub(BACK)..at];
    let line = line.rsplit(|&byte| byte == b'\n').next().unwrap_or_default();
    if !line.windows(program.len()).any(|window| window == program) {
        return None;
    }
    let from = if bytes.get(after) == Some(&b' ') { after + 1 } else { after };
    let value = names::value(text, from)?;
    if bytes[at + 1] == b'p' {
        return Some(value);
    }
    let colon = text[value.clone()].find(':')?;
    let password = value.start + colon + 1..value.end;
    (!password.is_empty() && !text[password.clone()].starts_with("[redacted")).then_some(password)
}

fn stands(bytes: &[u8], at: usize, what: &str) -> bool {
    bytes.get(at..).is_some_and(|rest| rest.starts_with(what.as_bytes()))
}

/// Whether a word begins at `at`.
#[inline]
fn begins_word(bytes: &[u8], at: usize) -> bool {
    match bytes[..at] {
        [] => true,
        // An escape's letter (`\n`) before it does not make it the middle of a word.
        [.., before, last] if last.is_ascii_alphanumeric() => {
            before == b'\\' && matches!(last, b'n' | b'r' | b't')
        }
        [.., last] => !(last.is_ascii_alphanumeric() || last == b'_'),
    }
}

fn until(text: &str, from: usize, stops: impl Fn(char) -> bool) -> Range<usize> {
    let from = from.min(text.len());
    let end = text[from..].find(stops).map_or(text.len(), |n| from + n);
    from..end
}

fn is_word(c: char) -> bool {
    c.is_ascii() && is_word_byte(c as u8)
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}
