//! What a new system is told at its first start: user, keys, addresses, names. Checked here, so
//! that a mistake is found before anything is made.

use std::{fmt::Write as _, net::IpAddr};

use secrecy::SecretString;

use crate::{address::quoted, error::ToolError};

/// The kinds of public keys that OpenSSH writes.
const KEY_KINDS: &[&str] = &["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"];

/// The address of the first interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// The network gives one.
    Dhcp,
    /// This one, with its prefix length, and the way out.
    Fixed { ip: IpAddr, prefix: u8, gateway: Option<IpAddr> },
}

/// What a system is told.
#[derive(Clone, Debug, Default)]
pub(super) struct Identity {
    pub(super) user: Option<String>,
    pub(super) password: Option<SecretString>,
    /// One key a line.
    pub(super) keys: Option<String>,
    pub(super) address: Option<Address>,
    pub(super) nameserver: Option<String>,
    pub(super) searchdomain: Option<String>,
}

/// The arguments as they were given.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Given<'a> {
    pub(super) user: Option<&'a str>,
    pub(super) password: Option<&'a SecretString>,
    pub(super) ssh_keys: Option<&'a str>,
    pub(super) ip: Option<&'a str>,
    pub(super) gateway: Option<&'a str>,
    pub(super) nameserver: Option<&'a str>,
    pub(super) searchdomain: Option<&'a str>,
}

// === impl Identity ===

impl Identity {
    /// Checks all of it.
    pub(super) fn check(given: Given<'_>) -> Result<Self, ToolError> {
        Ok(Self {
            user: given.user.map(user).transpose()?,
            password: given.password.cloned(),
            keys: given.ssh_keys.map(keys).transpose()?,
            address: address(given.ip, given.gateway)?,
            nameserver: given.nameserver.map(nameservers).transpose()?,
            searchdomain: given.searchdomain.map(domains).transpose()?,
        })
    }

    /// Whether nothing is said.
    pub(super) fn is_empty(&self) -> bool {
        self.user.is_none()
            && self.password.is_none()
            && self.keys.is_none()
            && self.address.is_none()
            && self.nameserver.is_none()
            && self.searchdomain.is_none()
    }

    /// The address that is known already.
    pub(super) fn fixed(&self) -> Option<IpAddr> {
        self.address.as_ref().and_then(Address::fixed)
    }

    /// Whether somebody could log in.
    pub(super) fn lets_in(&self) -> bool {
        self.keys.is_some() || self.password.is_some()
    }

    /// The keys as PVE wants them for machines: escaped, blanks and line ends included.
    pub(super) fn escaped_keys(&self) -> Option<String> {
        self.keys.as_deref().map(escaped)
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 5 / 4);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

// === impl Address ===

impl Address {
    /// As `ipconfig0` has it.
    pub(super) fn of_machine(&self) -> String {
        match self {
            Self::Dhcp => "ip=dhcp".to_owned(),
            Self::Fixed { ip, prefix, gateway } => {
                let (key, gate) = keys_of(ip);
                let gateway = gateway.map(|gateway| format!(",{gate}={gateway}"));
                format!("{key}={ip}/{prefix}{}", gateway.unwrap_or_default())
            }
        }
    }

    /// As `net0` of a container has it.
    pub(super) fn of_container(&self) -> String {
        self.of_machine()
    }

    /// The address itself, if it is known already.
    fn fixed(&self) -> Option<IpAddr> {
        match self {
            Self::Dhcp => None,
            Self::Fixed { ip, .. } => Some(*ip),
        }
    }

    /// Whether the way out is missing.
    pub(super) fn lacks_gateway(&self) -> bool {
        matches!(self, Self::Fixed { gateway: None, .. })
    }
}

fn keys_of(ip: &IpAddr) -> (&'static str, &'static str) {
    if ip.is_ipv4() { ("ip", "gw") } else { ("ip6", "gw6") }
}

fn address(ip: Option<&str>, gateway: Option<&str>) -> Result<Option<Address>, ToolError> {
    let ip = ip.map(str::trim).filter(|ip| !ip.is_empty());
    let gateway = gateway.map(str::trim).filter(|gateway| !gateway.is_empty());
    let hint = "give ip as dhcp, or with its prefix length: 192.0.2.10/24";
    let Some(text) = ip.filter(|ip| !ip.eq_ignore_ascii_case("dhcp")) else {
        if gateway.is_some() {
            return Err(ToolError::new("a gateway needs a fixed address beside it").hint(hint));
        }
        return Ok(ip.map(|_| Address::Dhcp));
    };
    let wrong = || ToolError::new(format!("{} is no address", quoted(text))).hint(hint);
    let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
    if prefix > if address.is_ipv4() { 32 } else { 128 } {
        return Err(wrong());
    }
    let gateway = match gateway {
        None => None,
        Some(text) => {
            let wrong = || ToolError::new(format!("{} is no gateway", quoted(text)));
            let gateway: IpAddr = text.parse().map_err(|_| wrong())?;
            if gateway.is_ipv4() != address.is_ipv4() {
                return Err(wrong().hint(format!("it has to be of the same kind as {address}")));
            }
            Some(gateway)
        }
    };
    Ok(Some(Address::Fixed { ip: address, prefix, gateway }))
}

fn user(name: &str) -> Result<String, ToolError> {
    let name = name.trim();
    let mut bytes = name.bytes();
    let begins = bytes.next().is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let is_name =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    if begins && name.len() <= 32 && bytes.all(is_name) {
        return Ok(name.to_owned());
    }
    Err(ToolError::new(format!("{} cannot name a user", quoted(name)))
        .hint("use lower case letters, digits, _ and -"))
}

/// Public keys, one a line.
fn keys(text: &str) -> Result<String, ToolError> {
    if text.contains("PRIVATE KEY") {
        return Err(ToolError::new("that is a private key: it was not sent")
            .hint("give the public one, the file that ends in .pub; and replace the pair, since the private key has been shown"));
    }
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let is_key = |line: &&str| {
        let mut words = line.split_whitespace();
        let kind = words.next().unwrap_or_default();
        let body = words.next().unwrap_or_default();
        KEY_KINDS.iter().any(|known| kind.starts_with(known))
            && body.len() >= 16
            && body.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b))
            && !line.chars().any(char::is_control)
    };
    match lines.iter().position(|line| !is_key(line)) {
        None if !lines.is_empty() => Ok(lines.join("\n")),
        None => Err(ToolError::new("ssh_keys is empty")),
        Some(at) => Err(ToolError::new(format!("line {} of ssh_keys is no public key", at + 1))
            .hint("one key a line, as in a .pub file: ssh-ed25519 AAAA… name")),
    }
}

fn nameservers(text: &str) -> Result<String, ToolError> {
    let mut out = Vec::new();
    for word in text.split([',', ';', ' ']).filter(|word| !word.is_empty()) {
        let address: IpAddr = word.parse().map_err(|_| {
            ToolError::new(format!("{} is no address of a name server", quoted(word)))
        })?;
        out.push(address.to_string());
    }
    if out.is_empty() {
        return Err(ToolError::new("nameserver is empty"));
    }
    Ok(out.join(" "))
}

fn domains(text: &str) -> Result<String, ToolError> {
    let words: Vec<&str> = text.split([',', ' ']).filter(|word| !word.is_empty()).collect();
    for word in &words {
        super::place::check_name(word)
            .map_err(|_| ToolError::new(format!("{} is no domain to search", quoted(word))))?;
    }
    if words.is_empty() {
        return Err(ToolError::new("searchdomain is empty"));
    }
    Ok(words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB ops@example";

    #[test]
    fn addresses_are_dhcp_or_whole() {
        let of = |ip, gateway| address(ip, gateway).map(|found| found.map(|a| a.of_machine()));
        assert_eq!(of(None, None).unwrap(), None);
        assert_eq!(of(Some("DHCP"), None).unwrap().unwrap(), "ip=dhcp");
        assert_eq!(
            of(Some("192.0.2.10/24"), Some("192.0.2.1")).unwrap().unwrap(),
            "ip=192.0.2.10/24,gw=192.0.2.1"
        );
        assert_eq!(
            of(Some("2001:db8::5/64"), Some("2001:db8::1")).unwrap().unwrap(),
            "ip6=2001:db8::5/64,gw6=2001:db8::1"
        );
        for (ip, gateway) in [
            (Some("192.0.2.10"), None),
            (Some("192.0.2.10/33"), None),
            (Some("192.0.2.10/24"), Some("2001:db8::1")),
            (Some("192.0.2.10/24,gw=1.1.1.1"), None),
            (Some("dhcp"), Some("192.0.2.1")),
            (None, Some("192.0.2.1")),
            (Some("web"), None),
        ] {
            assert!(address(ip, gateway).is_err(), "{ip:?} {gateway:?}");
        }
    }

    #[test]
    fn only_public_keys_are_taken() {
        let two = format!("{KEY}\n\n {KEY}\r\n");
        assert_eq!(keys(&two).unwrap(), format!("{KEY}\n{KEY}"));
        let identity = Identity { keys: Some(KEY.to_owned()), ..Identity::default() };
        assert_eq!(
            identity.escaped_keys().unwrap(),
            "ssh-ed25519%20AAAAC3NzaC1lZDI1NTE5AAAAIB%20ops%40example"
        );
        for wrong in ["", "hello", "ssh-ed25519", "ssh-rsa !!!!!!!!!!!!!!!!!!!!"] {
            assert!(keys(wrong).is_err(), "{wrong}");
        }
        let private = keys("-----BEGIN OPENSSH PRIVATE KEY-----\nabc").unwrap_err();
        assert!(!private.into_report().lead.contains("abc"));
    }

    #[test]
    fn users_and_servers_are_checked() {
        assert!(user("ops").is_ok() && user("Ops").is_err() && user("a b").is_err());
        assert_eq!(nameservers("192.0.2.1, 192.0.2.2").unwrap(), "192.0.2.1 192.0.2.2");
        assert!(nameservers("one").is_err() && domains("example.org;rm").is_err());
    }
}
