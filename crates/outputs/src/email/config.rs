//! Settings of a mail output: which server, whose mail, to whom.

use std::net::IpAddr;

use event_core::ComponentId;
use lettre::{Address, message::Mailbox};
use secrecy::SecretString;
use stdx::tls::TlsOptions;

use crate::{InvalidConfig, Wording};

/// Settings of a mail output.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The server's name or address, without a port.
    pub server: String,
    /// Its port; without one, the usual one of `security`: 587, 465 or 25.
    pub port: Option<u16>,
    /// How the connection is kept from others.
    pub security: Security,
    /// How the server proves itself.
    pub tls: TlsOptions,
    /// Who sends.
    pub login: Option<Login>,
    /// Whose mail it is: `Proxmox <proxmox@example.org>`.
    pub from: String,
    /// To whom; at least one.
    pub to: Vec<String>,
    /// What we call ourselves to the server; without it, the domain of `from`.
    pub hello: Option<String>,
    /// Other words. With a `body` of one's own and no `html`, mails are text alone.
    pub wording: Wording,
}

/// How the connection is kept from others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// It begins in the clear and goes on in TLS, or not at all.
    #[default]
    StartTls,
    /// TLS from the first byte.
    Tls,
    /// In the clear. No password is sent then, but to this machine.
    None,
}

/// Who sends.
#[derive(Clone, Debug)]
pub struct Login {
    /// The user's name.
    pub user: String,
    /// The password.
    pub password: SecretString,
}

/// The addresses of the settings, checked.
pub(super) struct Addresses {
    pub(super) from: Mailbox,
    pub(super) to: Vec<Mailbox>,
}

// === impl Config ===

impl Config {
    /// From and to these addresses, over this server with STARTTLS.
    pub fn new(server: impl Into<String>, from: impl Into<String>, to: Vec<String>) -> Self {
        Self {
            server: server.into(),
            port: None,
            security: Security::StartTls,
            tls: TlsOptions::default(),
            login: None,
            from: from.into(),
            to,
            hello: None,
            wording: Wording::default(),
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.port.unwrap_or(match self.security {
            Security::StartTls => 587,
            Security::Tls => 465,
            Security::None => 25,
        })
    }

    pub(super) fn hello(&self, addresses: &Addresses) -> String {
        self.hello.clone().unwrap_or_else(|| addresses.from.email.domain().to_owned())
    }

    pub(super) fn addresses(&self, id: &ComponentId) -> Result<Addresses, InvalidConfig> {
        let mailbox = |setting: &str, given: &str| {
            let shown: String = given.chars().take(80).collect();
            let wrong =
                format!("`{setting}` has {shown:?}, which is no address such as ops@example.org");
            match given.parse::<Mailbox>() {
                Ok(mailbox) if mailbox.email.to_string().is_ascii() => Ok(mailbox),
                Ok(_) => Err(InvalidConfig::new(id, format!("{wrong}: it takes ASCII only"))),
                Err(error) => Err(InvalidConfig::new(id, wrong).because(error)),
            }
        };
        if self.server.is_empty() || self.server.contains([' ', '/', '@']) {
            return Err(InvalidConfig::new(
                id,
                "`server` is no name of a server, such as mail.example.org",
            ));
        }
        if self.to.is_empty() {
            return Err(InvalidConfig::new(id, "`to` names nobody: give at least one address"));
        }
        let bad = |c: char| c.is_whitespace() || c.is_control();
        if self.hello.as_deref().is_some_and(|hello| hello.is_empty() || hello.contains(bad)) {
            return Err(InvalidConfig::new(id, "`hello` is no name of a host"));
        }
        if self.login.is_some() && self.security == Security::None && !self.is_local() {
            let said = "a password would go over the network in the clear: set `security` to \"starttls\" or \"tls\"";
            return Err(InvalidConfig::new(id, said));
        }
        let to = self.to.iter().map(|to| mailbox("to", to)).collect::<Result<_, _>>()?;
        Ok(Addresses { from: mailbox("from", &self.from)?, to })
    }

    fn is_local(&self) -> bool {
        let address = self.server.parse::<IpAddr>();
        self.server == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

/// Whether it is an address that mail can be sent to.
pub fn is_address(text: &str) -> bool {
    Addresses::route(Some(text)).is_some()
}

// === impl Addresses ===

impl Addresses {
    /// Who is written to: everybody, or whom the rule's route names.
    pub(super) fn recipients(&self, route: Option<&str>) -> Vec<Address> {
        match Self::route(route) {
            Some(mailbox) => vec![mailbox.email],
            None => self.to.iter().map(|mailbox| mailbox.email.clone()).collect(),
        }
    }

    /// The address that a route is, if it is one.
    pub(super) fn route(route: Option<&str>) -> Option<Mailbox> {
        route?.parse::<Mailbox>().ok().filter(|mailbox| mailbox.email.to_string().is_ascii())
    }
}
