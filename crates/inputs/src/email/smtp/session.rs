//! What is said to a client: the conversation of one connection, without its bytes.
//!
//! *Invariant:* mail is taken only from who may send it: a known address, or a login. *Invariant:* a login is asked for
//! and taken only within TLS, unless the settings say otherwise.

use std::fmt::Write as _;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use secrecy::{ExposeSecret as _, SecretString};
use smtp_proto::{AUTH_LOGIN, AUTH_PLAIN, Error, Request};
use subtle::ConstantTimeEq as _;

use super::{config::Config, pieces::Command};
use crate::Identity;

/// The most recipients of a mail.
const MAX_RECIPIENTS: usize = 100;
/// After so many mistakes a client is sent away.
const MAX_MISTAKES: u32 = 10;
/// After so many logins that are refused as well.
const MAX_LOGINS: u32 = 3;

/// One connection.
#[derive(Debug)]
pub struct Session<'a> {
    config: &'a Config,
    is_tls: bool,
    can_start_tls: bool,
    peer: Option<&'a Identity>,
    user: Option<&'a Identity>,
    login: Option<Login>,
    is_greeted: bool,
    envelope: Option<Envelope<'a>>,
    mistakes: u32,
    refused: u32,
}

/// How far a login is.
#[derive(Debug)]
enum Login {
    Plain,
    Name,
    Password(String),
}

/// What a mail is preceded by.
#[derive(Debug)]
struct Envelope<'a> {
    recipients: usize,
    /// Whose the first recipient with an identity of its own is.
    identity: Option<&'a Identity>,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Say this, and hear the next command.
    Say(String),
    /// Say this, and read a mail.
    Mail(String),
    /// Say this, and agree on TLS.
    StartTls(String),
    /// Say this, and hang up.
    Bye(String),
}

/// What became of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is on disk.
    Kept,
    /// It could not be kept.
    Rejected,
    /// It was too long.
    TooLong,
}

// === impl Session ===

impl<'a> Session<'a> {
    /// With whoever is at the other end; `peer` if its address is known.
    pub fn new(config: &'a Config, peer: Option<&'a Identity>, is_tls: bool) -> Self {
        Self {
            config,
            is_tls,
            can_start_tls: config.tls.is_some() && !is_tls,
            peer,
            user: None,
            login: None,
            is_greeted: false,
            envelope: None,
            mistakes: 0,
            refused: 0,
        }
    }

    /// The first word.
    pub fn greeting(&self) -> String {
        format!("220 {} ESMTP\r\n", self.config.name)
    }

    /// What a command leads to.
    pub fn hear(&mut self, command: &Command) -> Step {
        let Command::Line(line) = command else {
            self.login = None;
            return self.mistake("500 line too long");
        };
        if let Some(login) = self.login.take() {
            return self.go_on_with(login, line);
        }
        let mut text = line.clone();
        text.extend_from_slice(b"\r\n");
        match Request::parse(&mut text.iter()) {
            Ok(request) => self.answer(request),
            Err(Error::UnknownCommand) => self.mistake("500 unknown command"),
            Err(Error::InvalidSenderAddress | Error::InvalidRecipientAddress) => {
                self.mistake("501 no address")
            }
            Err(Error::UnsupportedParameter { .. }) => self.mistake("555 unknown parameter"),
            Err(_) => self.mistake("501 not understood"),
        }
    }

    /// Whose mail it is.
    pub fn identity(&self) -> Option<&'a Identity> {
        let of_recipient = self.envelope.as_ref().and_then(|envelope| envelope.identity);
        of_recipient.or(self.user).or(self.peer)
    }

    /// What the mail was, and what is said of it.
    pub fn ends_mail(&mut self, fate: Fate) -> String {
        self.envelope = None;
        let text = match fate {
            Fate::Kept => "250 it is kept",
            Fate::Rejected => "451 it could not be kept; send it again",
            Fate::TooLong => "552 it is too long",
        };
        format!("{text}\r\n")
    }

    fn answer(&mut self, request: Request<std::borrow::Cow<'_, str>>) -> Step {
        match request {
            Request::Ehlo { .. } | Request::Lhlo { .. } => {
                self.greets();
                Step::Say(self.extensions())
            }
            Request::Helo { .. } => {
                self.greets();
                say(&format!("250 {}", self.config.name))
            }
            Request::Mail { from } => self.mail(from.size),
            Request::Rcpt { to } => self.recipient(&to.address),
            Request::Data => match &self.envelope {
                Some(envelope) if envelope.recipients > 0 => {
                    Step::Mail("354 end it with a dot alone\r\n".to_owned())
                }
                _ => self.mistake("503 say MAIL and RCPT first"),
            },
            Request::StartTls if self.can_start_tls => {
                Step::StartTls("220 begin TLS\r\n".to_owned())
            }
            Request::StartTls => self.mistake("502 there is no TLS to begin"),
            Request::Auth { mechanism, initial_response } => {
                self.begin_login(mechanism, initial_response.as_bytes())
            }
            Request::Rset => {
                self.envelope = None;
                say("250 ok")
            }
            Request::Noop { .. } => say("250 ok"),
            Request::Vrfy { .. } => say("252 send it and see"),
            Request::Help { .. } => say("214 EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA, RSET, QUIT"),
            Request::Quit => Step::Bye("221 good bye\r\n".to_owned()),
            _ => self.mistake("502 not here"),
        }
    }

    fn greets(&mut self) {
        self.is_greeted = true;
        self.envelope = None;
    }

    fn extensions(&self) -> String {
        let mut lines =
            vec![self.config.name.clone(), "PIPELINING".to_owned(), "8BITMIME".to_owned()];
        if self.can_start_tls {
            lines.push("STARTTLS".to_owned());
        }
        if self.takes_logins() {
            lines.push("AUTH PLAIN LOGIN".to_owned());
        }
        lines.push(format!("SIZE {}", self.config.max_bytes));
        let last = lines.len() - 1;
        let mut text = String::new();
        for (at, line) in lines.iter().enumerate() {
            let mark = if at == last { ' ' } else { '-' };
            // Writing to a string cannot fail.
            let _ = write!(text, "250{mark}{line}\r\n");
        }
        text
    }

    fn takes_logins(&self) -> bool {
        !self.config.users.is_empty() && (self.is_tls || self.config.login_without_tls)
    }

    fn mail(&mut self, size: usize) -> Step {
        if !self.is_greeted {
            return self.mistake("503 say EHLO first");
        }
        if self.user.or(self.peer).is_none() {
            let text = if self.takes_logins() {
                "530 log in first"
            } else if self.can_start_tls && !self.config.users.is_empty() {
                "530 begin TLS and log in first"
            } else {
                "550 this address may not send here"
            };
            return self.mistake(text);
        }
        if self.envelope.is_some() {
            return self.mistake("503 another mail has begun");
        }
        if size > self.config.max_bytes {
            return self.mistake("552 it is too long");
        }
        self.envelope = Some(Envelope { recipients: 0, identity: None });
        say("250 ok")
    }

    fn recipient(&mut self, address: &str) -> Step {
        let known = self.config.recipients.get(&address.to_lowercase());
        match &mut self.envelope {
            None => self.mistake("503 say MAIL first"),
            Some(envelope) if envelope.recipients >= MAX_RECIPIENTS => {
                say("452 too many recipients")
            }
            Some(envelope) => {
                envelope.recipients += 1;
                envelope.identity = envelope.identity.or(known);
                say("250 ok")
            }
        }
    }

    fn begin_login(&mut self, mechanism: u64, initial: &[u8]) -> Step {
        if !self.is_greeted || self.envelope.is_some() || self.user.is_some() {
            return self.mistake("503 not now");
        }
        if !self.takes_logins() {
            return self.mistake("538 not without TLS, or not at all");
        }
        let login = match mechanism {
            AUTH_PLAIN => Login::Plain,
            AUTH_LOGIN => Login::Name,
            _ => return self.mistake("504 PLAIN or LOGIN"),
        };
        if initial.is_empty() {
            let asked = if matches!(login, Login::Plain) { "334 " } else { "334 VXNlcm5hbWU6" };
            self.login = Some(login);
            return say(asked);
        }
        self.go_on_with(login, initial)
    }

    fn go_on_with(&mut self, login: Login, line: &[u8]) -> Step {
        let Ok(text) = BASE64_STANDARD.decode(line.trim_ascii()) else {
            // `*` breaks it off.
            return self.mistake("501 the login broke off");
        };
        match login {
            Login::Plain => {
                let mut parts = text.splitn(3, |byte| *byte == 0).skip(1);
                let (name, password) =
                    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
                self.log_in(name, password)
            }
            Login::Name => {
                let name = String::from_utf8_lossy(&text).into_owned();
                self.login = Some(Login::Password(name));
                say("334 UGFzc3dvcmQ6")
            }
            Login::Password(name) => self.log_in(name.as_bytes(), &text),
        }
    }

    fn log_in(&mut self, name: &[u8], password: &[u8]) -> Step {
        let known = std::str::from_utf8(name).ok().and_then(|name| self.config.users.get(name));
        // A name that there is not takes as long as one that there is.
        let nobody = SecretString::default();
        let secret = known.map_or(&nobody, |user| &user.password).expose_secret().as_bytes();
        let is_right: bool = password.ct_eq(secret).into();
        match known.filter(|_| is_right && !password.is_empty()) {
            Some(user) => {
                self.user = Some(&user.identity);
                say("235 welcome")
            }
            None => {
                self.refused += 1;
                if self.refused >= MAX_LOGINS {
                    return Step::Bye("421 too many logins are refused\r\n".to_owned());
                }
                say("535 no such login, or not its password")
            }
        }
    }

    fn mistake(&mut self, text: &str) -> Step {
        self.mistakes += 1;
        if self.mistakes >= MAX_MISTAKES {
            return Step::Bye("421 too many mistakes\r\n".to_owned());
        }
        say(text)
    }
}

fn say(text: &str) -> Step {
    Step::Say(format!("{text}\r\n"))
}

#[cfg(test)]
mod tests;
