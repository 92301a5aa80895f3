//! Settings of the SMTP listener: where it listens, and who may send.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use secrecy::SecretString;

use crate::{Echo, Identity, TlsPem};

/// Settings of the SMTP listener.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Where it listens; at least one.
    pub listen: Vec<Listen>,
    /// What it calls itself.
    pub name: String,
    /// The certificate, for STARTTLS and `smtps://`.
    pub tls: Option<TlsPem>,
    /// Who may send without a login, by their names in the settings.
    pub peers: BTreeMap<String, Peer>,
    /// Who may send with a login.
    pub users: BTreeMap<String, User>,
    /// Whose mail it is that comes to an address, before what login and peer say; in small letters.
    pub recipients: BTreeMap<String, Identity>,
    /// Whether a login is taken without TLS, where everybody on the way can read it.
    pub login_without_tls: bool,
    /// The longest mail, in bytes.
    pub max_bytes: usize,
    /// How many connections there may be at once.
    pub max_connections: usize,
    /// What our own outputs sent.
    pub echo: Echo,
}

/// One address to listen on: `smtp://0.0.0.0:2525`, or `smtps://…` for TLS from the first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// In the clear, with STARTTLS where there is a certificate.
    Smtp(SocketAddr),
    /// Within TLS.
    Smtps(SocketAddr),
}

/// Whoever sends from these addresses.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Who it is.
    pub identity: Identity,
}

/// Whoever knows this password.
#[derive(Clone, Debug)]
pub struct User {
    /// The password.
    pub password: SecretString,
    /// Who it is.
    pub identity: Identity,
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct InvalidConfig {
    message: String,
    #[source]
    source: Option<stdx::tls::TlsError>,
}

// === impl Config ===

impl Config {
    /// Listens on these addresses, for nobody yet.
    pub fn new(listen: Vec<Listen>) -> Self {
        Self {
            listen,
            name: "proxmox-mcp".to_owned(),
            tls: None,
            peers: BTreeMap::new(),
            users: BTreeMap::new(),
            recipients: BTreeMap::new(),
            login_without_tls: false,
            max_bytes: 10 * 1024 * 1024,
            max_connections: 64,
            echo: Echo::default(),
        }
    }

    pub(super) fn check(&self) -> Result<(), InvalidConfig> {
        if self.listen.is_empty() {
            return Err(invalid(
                "the input listens nowhere: name an address in `listen`, such as smtp://0.0.0.0:2525",
            ));
        }
        if self.peers.is_empty() && self.users.is_empty() {
            return Err(invalid(
                "nobody may send: name the nodes in `peer`, or users with a password in `login`",
            ));
        }
        if self.max_connections == 0 || self.max_bytes < 64 * 1024 {
            return Err(invalid(
                "`max_connections` is 0 or `max_bytes` below 65536: nothing could be sent",
            ));
        }
        let is_word = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-');
        if self.name.is_empty() || self.name.len() > 200 || !self.name.bytes().all(is_word) {
            return Err(invalid("`name` is no name of a host"));
        }
        let mut seen: BTreeMap<IpAddr, &str> = BTreeMap::new();
        for (name, peer) in &self.peers {
            for address in &peer.addresses {
                if let Some(other) = seen.insert(address.to_canonical(), name) {
                    return Err(invalid(format!(
                        "peers `{other}` and `{name}` both have the address {address}: it can be only one's"
                    )));
                }
            }
        }
        let wants_tls = self.listen.iter().any(|listen| matches!(listen, Listen::Smtps(_)));
        if wants_tls && self.tls.is_none() {
            return Err(invalid(
                "`listen` names smtps:// but there is no certificate: set `certificate_file` and `key_file`",
            ));
        }
        if !self.users.is_empty() && self.tls.is_none() && !self.login_without_tls {
            return Err(invalid(
                "there are logins but no certificate: without TLS a login can be read on the way; set `certificate_file` and `key_file`",
            ));
        }
        Ok(())
    }

    pub(super) fn acceptor(&self) -> Result<Option<stdx::tls::Acceptor>, InvalidConfig> {
        let failed = |source| InvalidConfig {
            message: "use the certificate of the SMTP listener".to_owned(),
            source: Some(source),
        };
        self.tls.as_ref().map(|pem| pem.acceptor().map_err(failed)).transpose()
    }

    /// Who sends from there.
    pub(super) fn peer(&self, address: IpAddr) -> Option<&Identity> {
        let address = address.to_canonical();
        let has = |peer: &&Peer| peer.addresses.iter().any(|own| own.to_canonical() == address);
        self.peers.values().find(has).map(|peer| &peer.identity)
    }
}

fn invalid(message: impl Into<String>) -> InvalidConfig {
    InvalidConfig { message: message.into(), source: None }
}

// === impl Listen ===

impl Listen {
    /// The address.
    pub fn address(self) -> SocketAddr {
        match self {
            Self::Smtp(address) | Self::Smtps(address) => address,
        }
    }
}

impl FromStr for Listen {
    type Err = InvalidConfig;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || {
            let shown: String = text.chars().take(80).collect();
            invalid(format!(
                "`{shown}` is no address to listen on: write smtp:// or smtps://, an IP address and a port, such as smtp://0.0.0.0:2525"
            ))
        };
        let (way, address) = text.split_once("://").ok_or_else(wrong)?;
        let address = address.parse().map_err(|_| wrong())?;
        match way {
            "smtp" => Ok(Self::Smtp(address)),
            "smtps" => Ok(Self::Smtps(address)),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if matches!(self, Self::Smtp(_)) { "smtp" } else { "smtps" };
        write!(f, "{way}://{}", self.address())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for text in ["smtp://0.0.0.0:2525", "smtps://[::1]:465"] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
        for text in ["", "smtp://localhost:25", "0.0.0.0:25", "tcp://0.0.0.0:25"] {
            let error = text.parse::<Listen>().unwrap_err().to_string();
            assert!(error.contains("such as smtp://"), "{error}");
        }
    }

    #[test]
    fn settings_that_contradict_themselves_are_refused() {
        let config = |listen: &str| Config::new(vec![listen.parse().unwrap()]);
        let says = |config: &Config, part: &str| {
            let error = config.check().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        says(&Config::new(Vec::new()), "listens nowhere");
        says(&config("smtp://0.0.0.0:1"), "nobody may send");
        let mut with_user = config("smtp://0.0.0.0:1");
        let user = User { password: "x".into(), identity: Identity::default() };
        with_user.users.insert("node".to_owned(), user);
        says(&with_user, "read on the way");
        with_user.login_without_tls = true;
        assert!(with_user.check().is_ok());
        let mut with_peers = config("smtps://0.0.0.0:1");
        for name in ["a", "b"] {
            let addresses = vec!["10.0.0.1".parse().unwrap()];
            with_peers.peers.insert(name.to_owned(), Peer { addresses, ..Peer::default() });
        }
        says(&with_peers, "peers `a` and `b`");
        with_peers.peers.remove("b");
        says(&with_peers, "no certificate");
    }
}
