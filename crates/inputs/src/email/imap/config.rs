//! Settings of the mailbox reader.

use std::{collections::BTreeMap, time::Duration};

use secrecy::SecretString;
use stdx::tls::TlsOptions;
use url::{Host, Url};

use crate::{Echo, Identity};

/// Settings of the mailbox reader.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The server: `imaps://mail.example.lan`, or `imap://127.0.0.1` without TLS on this machine alone.
    pub server: String,
    /// The login.
    pub user: String,
    /// Its password.
    pub password: SecretString,
    /// The mailbox.
    pub mailbox: String,
    /// How the server proves itself.
    pub tls: TlsOptions,
    /// Whose mail it is.
    pub identity: Identity,
    /// Whose mail it is that was delivered to an address of the mailbox, by what the mail server wrote on top of it
    /// (`Delivered-To`, `X-Original-To`); in small letters.
    pub recipients: BTreeMap<String, Identity>,
    /// How often it looks where the server cannot tell that mail has come.
    pub poll: Duration,
    /// The most bytes that are read of a mail; what is longer is cut.
    pub max_bytes: u32,
    /// What our own outputs sent.
    pub echo: Echo,
}

/// Settings that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidConfig(String);

/// Where the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) is_tls: bool,
}

// === impl Config ===

impl Config {
    /// Reads the inbox of this login.
    pub fn new(server: impl Into<String>, user: impl Into<String>, password: SecretString) -> Self {
        Self {
            server: server.into(),
            user: user.into(),
            password,
            mailbox: "INBOX".to_owned(),
            tls: TlsOptions::default(),
            identity: Identity::default(),
            recipients: BTreeMap::new(),
            poll: Duration::from_mins(1),
            max_bytes: 10 * 1024 * 1024,
            echo: Echo::default(),
        }
    }

    pub(super) fn check(&self) -> Result<Address, InvalidConfig> {
        let fail = |text: String| Err(InvalidConfig(text));
        if self.user.is_empty() || self.mailbox.is_empty() {
            return fail("`user` or `mailbox` is empty".to_owned());
        }
        if self.poll < Duration::from_secs(1) || self.max_bytes < 64 * 1024 {
            return fail("let `poll` be at least 1 s and `max_bytes` 65536".to_owned());
        }
        let shown = stdx::http::without_login(&self.server);
        let wrong = |why: &str| {
            InvalidConfig(format!(
                "`{shown}` is no address of a mail server: {why}; write imaps://, a host and perhaps a port"
            ))
        };
        let url = Url::parse(&self.server).map_err(|error| wrong(&error.to_string()))?;
        let is_tls = match url.scheme() {
            "imaps" => true,
            "imap" => false,
            _ => return Err(wrong("its beginning is another")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("a login has settings of its own"));
        }
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        if host.is_empty() {
            return Err(wrong("it has no host"));
        }
        let is_local = match Host::parse(&host) {
            Ok(Host::Ipv4(address)) => address.is_loopback(),
            Ok(Host::Ipv6(address)) => address.is_loopback(),
            Ok(Host::Domain(name)) => name == "localhost",
            // An IPv6 address without its brackets.
            Err(_) => host.parse::<std::net::Ipv6Addr>().is_ok_and(|it| it.is_loopback()),
        };
        if !is_tls && !is_local {
            return Err(wrong("without TLS the password can be read on the way"));
        }
        let port = url.port().unwrap_or(if is_tls { 993 } else { 143 });
        Ok(Address { host, port, is_tls })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(server: &str) -> Result<Address, InvalidConfig> {
        Config::new(server, "events", "kestrel".into()).check()
    }

    #[test]
    fn a_password_goes_in_the_clear_only_within_this_machine() {
        for (server, host, port, is_tls) in [
            ("imaps://mail.example.lan", "mail.example.lan", 993, true),
            ("imaps://mail.example.lan:9993", "mail.example.lan", 9993, true),
            ("imap://127.0.0.1:1143", "127.0.0.1", 1143, false),
            ("imap://[::1]", "::1", 143, false),
            ("imap://localhost", "localhost", 143, false),
        ] {
            let host = host.to_owned();
            assert_eq!(checked(server), Ok(Address { host, port, is_tls }), "{server}");
        }
        for server in [
            "",
            "mail.example.lan",
            "https://x",
            "imap://mail.example.lan",
            "imaps://bob:planted@x",
        ] {
            let error = checked(server).unwrap_err().to_string();
            assert!(error.contains("write imaps://") && !error.contains("planted"), "{error}");
        }
    }
}
