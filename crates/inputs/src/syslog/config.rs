//! Settings of the syslog input: where it listens, and who is who.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use event_core::Severity;

use crate::{Identity, TlsPem};

/// Settings of the syslog input.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Where it listens; at least one.
    pub listen: Vec<Listen>,
    /// The certificate for `tls://`.
    pub tls: Option<TlsPem>,
    /// Who sends, by their names in the settings.
    pub peers: BTreeMap<String, Peer>,
    /// What to do with lines from addresses that no peer has.
    pub strangers: Strangers,
    /// How bad a line must be that the catalogue does not know, to be kept.
    pub least: Severity,
    /// How many connections there may be at once, TCP and TLS together.
    pub max_connections: usize,
    /// What the kernel may hold for each UDP socket, in bytes.
    pub receive_buffer_bytes: usize,
}

/// One address to listen on: `udp://0.0.0.0:5514`, `tcp://…`, `tls://…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// One datagram is one line.
    Udp(SocketAddr),
    /// A stream of lines, each behind its length or before a line feed.
    Tcp(SocketAddr),
    /// The same within TLS.
    Tls(SocketAddr),
}

/// Whoever sends from these addresses.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Who it is.
    pub identity: Identity,
    /// For a relay: whose lines it passes on, by the host names in them. A host that is not here is the relay's own.
    pub hosts: BTreeMap<String, Identity>,
}

/// What to do with lines from addresses that no peer has.
#[derive(Clone, Debug)]
pub enum Strangers {
    /// They are left out, and counted.
    Refuse,
    /// They are somebody: this identity is theirs. Without a cluster, they are nobody's.
    Accept(Box<Identity>),
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
    /// Listens on these addresses, and takes what anybody sends as nobody's.
    pub fn new(listen: Vec<Listen>) -> Self {
        Self {
            listen,
            tls: None,
            peers: BTreeMap::new(),
            strangers: Strangers::Accept(Box::default()),
            least: Severity::Debug,
            max_connections: 256,
            receive_buffer_bytes: 4 * 1024 * 1024,
        }
    }

    pub(super) fn check(&self) -> Result<(), InvalidConfig> {
        if self.listen.is_empty() {
            return Err(invalid(
                "the input listens nowhere: name an address in `listen`, such as udp://0.0.0.0:5514",
            ));
        }
        if self.max_connections == 0 {
            return Err(invalid("`max_connections` is 0: nobody could connect"));
        }
        let mut seen: BTreeMap<IpAddr, &str> = BTreeMap::new();
        for (name, peer) in &self.peers {
            if peer.addresses.is_empty() {
                return Err(invalid(format!("peer `{name}` has no address")));
            }
            for address in &peer.addresses {
                if let Some(other) = seen.insert(address.to_canonical(), name) {
                    let message = format!(
                        "peers `{other}` and `{name}` both have the address {address}: it can be only one's"
                    );
                    return Err(invalid(message));
                }
            }
        }
        let wants_tls = self.listen.iter().any(|listen| matches!(listen, Listen::Tls(_)));
        match (wants_tls, &self.tls) {
            (true, None) => Err(invalid(
                "`listen` names tls:// but there is no certificate: set `certificate_file` and `key_file`",
            )),
            (false, Some(_)) => {
                Err(invalid("there is a certificate but `listen` names no tls:// address"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn acceptor(&self) -> Result<Option<stdx::tls::Acceptor>, InvalidConfig> {
        let Some(pem) = &self.tls else { return Ok(None) };
        let failed = |source| InvalidConfig {
            message: "use the certificate of the syslog input".to_owned(),
            source: Some(source),
        };
        pem.acceptor().map(Some).map_err(failed)
    }

    /// Whose line it is; none if it is to be left out.
    pub(super) fn identity(
        &self,
        address: IpAddr,
        host: impl FnOnce() -> Option<String>,
    ) -> Option<&Identity> {
        let address = address.to_canonical();
        let mut peers = self.peers.values();
        let has = |peer: &&Peer| peer.addresses.iter().any(|own| own.to_canonical() == address);
        match (peers.find(has), &self.strangers) {
            // Only a relay's lines are looked at for whose they are.
            (Some(peer), _) if peer.hosts.is_empty() => Some(&peer.identity),
            (Some(peer), _) => {
                Some(host().and_then(|host| peer.hosts.get(&host)).unwrap_or(&peer.identity))
            }
            (None, Strangers::Accept(identity)) => Some(identity),
            (None, Strangers::Refuse) => None,
        }
    }
}

fn invalid(message: impl Into<String>) -> InvalidConfig {
    InvalidConfig { message: message.into(), source: None }
}

// === impl Listen ===

impl FromStr for Listen {
    type Err = InvalidConfig;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || {
            let shown: String = text.chars().take(80).collect();
            invalid(format!(
                "`{shown}` is no address to listen on: write udp://, tcp:// or tls://, an IP address and a port, such as udp://0.0.0.0:5514"
            ))
        };
        let (way, address) = text.split_once("://").ok_or_else(wrong)?;
        let address = address.parse().map_err(|_| wrong())?;
        match way {
            "udp" => Ok(Self::Udp(address)),
            "tcp" => Ok(Self::Tcp(address)),
            "tls" => Ok(Self::Tls(address)),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (way, address) = match self {
            Self::Udp(address) => ("udp", address),
            Self::Tcp(address) => ("tcp", address),
            Self::Tls(address) => ("tls", address),
        };
        write!(f, "{way}://{address}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(listen: &str) -> Config {
        Config::new(vec![listen.parse().unwrap()])
    }

    fn peer(addresses: &[&str], cluster: &str) -> Peer {
        let identity = Identity { cluster: cluster.parse().ok(), ..Identity::default() };
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        Peer { addresses, identity, ..Peer::default() }
    }

    #[test]
    fn addresses_are_read_and_written() {
        for text in ["udp://0.0.0.0:5514", "tcp://[::1]:601", "tls://127.0.0.1:6514"] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
        for text in ["", "udp://localhost:1", "0.0.0.0:5514", "http://0.0.0.0:1", "udp://0.0.0.0"] {
            let error = text.parse::<Listen>().unwrap_err().to_string();
            assert!(error.contains("such as udp://"), "{error}");
        }
    }

    #[test]
    fn settings_that_contradict_themselves_are_refused() {
        let says = |config: Config, part: &str| {
            let error = config.check().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        says(Config::new(Vec::new()), "listens nowhere");
        says(config("tls://0.0.0.0:1"), "no certificate");
        let mut two = config("udp://0.0.0.0:1");
        two.peers.insert("a".to_owned(), peer(&["10.0.0.1"], "lab"));
        two.peers.insert("b".to_owned(), peer(&["::ffff:10.0.0.1"], "lab"));
        says(two, "peers `a` and `b`");
        assert!(config("udp://0.0.0.0:1").check().is_ok());
    }

    #[test]
    fn who_sends_is_told_by_address_and_only_a_relay_by_name() {
        let mut config = config("udp://0.0.0.0:1");
        config.strangers = Strangers::Refuse;
        let mut relay = peer(&["10.0.0.1"], "lab");
        let edge = Identity { cluster: "edge".parse().ok(), ..Identity::default() };
        relay.hosts.insert("cedar".to_owned(), edge);
        config.peers.insert("relay".to_owned(), relay);
        config.peers.insert("plain".to_owned(), peer(&["fd00::1"], "home"));
        let whose = |address: &str, host: Option<&str>| {
            let identity = config.identity(address.parse().unwrap(), || host.map(str::to_owned))?;
            Some(identity.cluster.as_ref()?.to_string())
        };
        assert_eq!(whose("::ffff:10.0.0.1", Some("cedar")).as_deref(), Some("edge"));
        assert_eq!(whose("10.0.0.1", Some("birch")).as_deref(), Some("lab"));
        assert_eq!(whose("fd00::1", Some("cedar")).as_deref(), Some("home"));
        assert_eq!(whose("10.0.0.2", Some("cedar")), None);
    }
}
