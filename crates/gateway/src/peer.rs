//! Who is at the other end of a connection, as far as the system knows.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The other end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Peer {
    /// An address.
    Tcp(SocketAddr),
    /// An account of this system, over the Unix socket.
    Unix {
        /// The account; `None` where the system does not say.
        uid: Option<u32>,
    },
}

// === impl Peer ===

impl Peer {
    /// The address, if it has one.
    pub(crate) fn address(self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip().to_canonical()),
            Self::Unix { .. } => None,
        }
    }

    /// What failed attempts are counted by: of IPv6 the network, since a host has a whole one to itself.
    pub(crate) fn neighborhood(self) -> String {
        match self.address() {
            Some(IpAddr::V4(address)) => address.to_string(),
            Some(IpAddr::V6(address)) => {
                let network = u128::from(address) >> 64 << 64;
                format!("{}/64", Ipv6Addr::from(network))
            }
            None => "unix".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_is_one_neighborhood() {
        let of = |address: &str| Peer::Tcp(address.parse().unwrap()).neighborhood();
        assert_eq!(of("192.0.2.1:1"), of("[::ffff:192.0.2.1]:2"));
        assert_ne!(of("192.0.2.1:1"), of("192.0.2.2:1"));
        assert_eq!(of("[2001:db8::1]:1"), of("[2001:db8::ffff:1]:2"));
        assert_ne!(of("[2001:db8::1]:1"), of("[2001:db8:0:1::1]:1"));
    }
}
