//! Who calls: tokens, tickets, CSRF tokens and second factors of both products.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use totp_rs::{Algorithm, Builder};

use crate::http::Incoming;
use crate::state::access::{Access, Principal, Realm};

/// How long a ticket is valid, in seconds.
const LIFETIME: i64 = 7200;

/// How the caller proved who it is.
pub(crate) enum Proof {
    Token(Principal),
    Ticket(Principal),
}

/// Why the caller is nobody; the text is PVE's reason phrase.
pub(crate) struct Refused(pub(crate) &'static str);

// === impl Proof ===

impl Proof {
    pub(crate) fn principal(&self) -> &Principal {
        match self {
            Self::Token(principal) | Self::Ticket(principal) => principal,
        }
    }
}

/// Identifies the caller of a request.
pub(crate) fn identify(access: &Access, request: &Incoming, now: i64) -> Result<Proof, Refused> {
    let (token_word, cookie, separator) = match access.realm {
        Realm::Pve => ("PVEAPIToken", "PVEAuthCookie", '='),
        Realm::Pbs => ("PBSAPIToken", "PBSAuthCookie", ':'),
    };
    let mut ticket = None;
    if let Some(header) = &request.authorization {
        if let Some(rest) = header.strip_prefix(token_word) {
            let rest = rest.strip_prefix(['=', ' ']).unwrap_or(rest);
            return by_token(access, rest.trim(), separator, now);
        }
        ticket = header
            .strip_prefix(cookie)
            .and_then(|rest| rest.strip_prefix(['=', ' ']))
            .map(|text| crate::http::unescape(text, false));
    }
    for (name, value) in &request.cookies {
        if name == cookie || *name == format!("__Host-{cookie}") {
            ticket = Some(crate::http::unescape(value, false));
        }
    }
    let Some(ticket) = ticket else { return Err(Refused("No ticket")) };
    let user = check_ticket(access, &ticket, now).ok_or(Refused("invalid PVE ticket"))?;
    if request.verb != "GET" {
        let good = request.csrf.as_deref().is_some_and(|csrf| check_csrf(access, csrf, &user, now));
        if !good {
            return Err(Refused("Permission denied - invalid csrf token"));
        }
    }
    Ok(Proof::Ticket(Principal { user, token: None }))
}

fn by_token(access: &Access, text: &str, separator: char, now: i64) -> Result<Proof, Refused> {
    const BAD: Refused = Refused("Authentication failed!");
    let (id, secret) = text.split_once(separator).ok_or(Refused("no API token specified"))?;
    let (user, name) = id.split_once('!').ok_or(BAD)?;
    let account = access.users.get(user).filter(|account| account.enabled).ok_or(BAD)?;
    if account.expire != 0 && account.expire < now {
        return Err(BAD);
    }
    let token = account.tokens.get(name).ok_or(BAD)?;
    let expired = token.expire != 0 && token.expire < now;
    if expired || !token.enabled || token.secret != secret {
        return Err(BAD);
    }
    Ok(Proof::Token(Principal { user: user.to_owned(), token: Some(name.to_owned()) }))
}

fn sign(access: &Access, text: &str) -> String {
    let digest = Sha256::digest(format!("{}\n{text}", access.key).as_bytes());
    STANDARD.encode(digest)
}

fn prefix(access: &Access) -> &'static str {
    match access.realm {
        Realm::Pve => "PVE",
        Realm::Pbs => "PBS",
    }
}

fn make_ticket(access: &Access, user: &str, now: i64) -> String {
    let plain = format!("{}:{user}:{now:08X}", prefix(access));
    format!("{plain}::{}", sign(access, &plain))
}

/// The user of a ticket that is signed, not expired, and whose user is enabled.
fn check_ticket(access: &Access, ticket: &str, now: i64) -> Option<String> {
    let (plain, signature) = ticket.rsplit_once("::")?;
    if sign(access, plain) != signature {
        return None;
    }
    let rest = plain.strip_prefix(prefix(access))?.strip_prefix(':')?;
    let (user, time) = rest.rsplit_once(':')?;
    let made = i64::from_str_radix(time, 16).ok()?;
    let known = access.users.get(user).is_some_and(|account| account.enabled);
    (known && now - made < LIFETIME && now >= made - 300).then(|| user.to_owned())
}

fn make_csrf(access: &Access, user: &str, now: i64) -> String {
    format!("{now:08X}:{}", sign(access, &format!("csrf:{user}:{now:08X}")))
}

fn check_csrf(access: &Access, csrf: &str, user: &str, now: i64) -> bool {
    let Some((time, signature)) = csrf.split_once(':') else { return false };
    let Ok(made) = i64::from_str_radix(time, 16) else { return false };
    sign(access, &format!("csrf:{user}:{made:08X}")) == signature && now - made < LIFETIME
}

/// What a login asks for.
pub(crate) struct Login<'a> {
    pub(crate) user: &'a str,
    pub(crate) password: &'a str,
    pub(crate) otp: Option<&'a str>,
    pub(crate) challenge: Option<&'a str>,
}

/// Logs in; absent if it is refused.
pub(crate) fn login(access: &Access, asked: &Login<'_>, now: i64) -> Option<Value> {
    let account = access.users.get(asked.user).filter(|account| account.enabled)?;
    let full = |with_user: bool| {
        let mut reply = json!({
            "ticket": make_ticket(access, asked.user, now),
            "CSRFPreventionToken": make_csrf(access, asked.user, now),
        });
        if with_user {
            reply["username"] = json!(asked.user);
        }
        reply
    };
    if let Some(challenge) = asked.challenge {
        let user = challenge_user(access, challenge, now)?;
        let code = asked.password.strip_prefix("totp:")?;
        let secret = account.totp.as_ref()?;
        return (user == asked.user && totp(secret, code, now)).then(|| full(true));
    }
    let renewed = check_ticket(access, asked.password, now).is_some_and(|user| user == asked.user);
    if renewed {
        return Some(full(true));
    }
    if account.password.as_deref() != Some(asked.password) {
        return None;
    }
    match (&account.totp, asked.otp) {
        (None, _) => Some(full(true)),
        (Some(secret), Some(code)) => totp(secret, code, now).then(|| full(true)),
        (Some(_), None) => {
            let state = "%7B%22totp%22%3Atrue%7D";
            let plain = format!("{}:!tfa!{state}:{}:{now:08X}", prefix(access), asked.user);
            Some(json!({
                "ticket": format!("{plain}::{}", sign(access, &plain)),
                "CSRFPreventionToken": make_csrf(access, asked.user, now),
                "username": asked.user,
                "NeedTFA": 1,
            }))
        }
    }
}

/// The user of a ticket that still lacks its second factor.
fn challenge_user(access: &Access, ticket: &str, now: i64) -> Option<String> {
    let (plain, signature) = ticket.rsplit_once("::")?;
    if sign(access, plain) != signature {
        return None;
    }
    let rest = plain.strip_prefix(prefix(access))?.strip_prefix(":!tfa!")?;
    let (_, rest) = rest.split_once(':')?;
    let (user, time) = rest.rsplit_once(':')?;
    let made = i64::from_str_radix(time, 16).ok()?;
    (now - made < 300).then(|| user.to_owned())
}

fn totp(secret: &[u8], code: &str, now: i64) -> bool {
    let totp = Builder::new()
        .with_algorithm(Algorithm::SHA1)
        .with_digits(6)
        .with_step_duration(30)
        .with_skew(1)
        .with_secret(secret.to_vec())
        .build_noncompliant();
    totp.check(code, now as u64).is_some()
}
