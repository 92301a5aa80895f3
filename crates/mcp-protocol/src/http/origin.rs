//! Who may reach the endpoint by which name: `Host` and `Origin`.

use http::header::{HOST, ORIGIN};
use http::uri::{Authority, Uri};
use http::{HeaderMap, HeaderValue};

/// Always allowed: no name server answers for these with the address of somebody else.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The names and origins that are allowed, parsed once. [`HttpService`](super::HttpService) has one of its own; an embedder
/// that serves more than the endpoint checks the rest by another.
pub struct Doors {
    hosts: Vec<Host>,
    origins: Vec<Origin>,
}

/// A host as clients name it; without a port it stands for every port.
struct Host {
    name: String,
    port: Option<u16>,
}

#[derive(PartialEq, Eq)]
struct Origin {
    scheme: String,
    name: String,
    port: Option<u16>,
}

// === impl Doors ===

impl Doors {
    /// An entry that makes no sense allows nothing, and is said in the log.
    pub fn new(hosts: &[String], origins: &[String]) -> Self {
        let mut doors = Self { hosts: Vec::new(), origins: Vec::new() };
        for name in LOOPBACK {
            doors.hosts.push(Host { name: name.to_owned(), port: None });
        }
        for host in hosts {
            match parse_host(host) {
                Some(host) => doors.hosts.push(host),
                None => tracing::warn!(host, "an allowed host is not a host name"),
            }
        }
        for origin in origins {
            match parse_origin(origin) {
                Some(origin) => doors.origins.push(origin),
                None => tracing::warn!(origin, "an allowed origin is not scheme://host[:port]"),
            }
        }
        doors
    }

    /// Whether a request may come in.
    ///
    /// # Errors
    ///
    /// Why it may not, for whoever sent it.
    pub fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), String> {
        let mut named = headers.get_all(HOST).iter();
        let host = match (named.next(), named.next()) {
            (Some(host), None) => host.to_str().ok().and_then(parse_host),
            // HTTP/2 has the name in the request line.
            (None, _) => uri.authority().map(host_of),
            (Some(_), Some(_)) => None,
        };
        let Some(host) = host else {
            return Err("the Host header is missing or is not a host name".to_owned());
        };
        if !self.hosts.iter().any(|allowed| allowed.admits(&host)) {
            return Err(format!(
                "this server is not reached as {}; a name that is must be among its allowed hosts",
                host.name
            ));
        }
        for origin in headers.get_all(ORIGIN) {
            // A page that came from here may call here: its name was just checked.
            if !is_from(origin, &host) && !self.admits_origin(origin) {
                return Err("pages of this origin may not call this server".to_owned());
            }
        }
        Ok(())
    }

    /// Whether pages of this origin may call the server.
    pub fn admits_origin(&self, origin: &HeaderValue) -> bool {
        let origin = origin.to_str().ok().and_then(parse_origin);
        origin.is_some_and(|origin| self.origins.contains(&origin))
    }
}

// === impl Host ===

impl Host {
    fn admits(&self, other: &Self) -> bool {
        self.name == other.name && (self.port.is_none() || self.port == other.port)
    }
}

/// Whether a page of this origin was served under this name.
fn is_from(origin: &HeaderValue, host: &Host) -> bool {
    let origin = origin.to_str().ok().and_then(parse_origin);
    origin.is_some_and(|origin| {
        let port = host.port.or_else(|| default_port(&origin.scheme));
        origin.name == host.name && origin.port == port
    })
}

fn parse_host(text: &str) -> Option<Host> {
    let text = text.trim();
    if text.contains('@') {
        return None;
    }
    if let Ok(authority) = Authority::try_from(text) {
        return Some(host_of(&authority)).filter(|host| !host.name.is_empty());
    }
    // An address of version 6 without its brackets, as people write it into settings.
    let address: std::net::Ipv6Addr = text.parse().ok()?;
    Some(Host { name: address.to_string(), port: None })
}

fn host_of(authority: &Authority) -> Host {
    let name = authority.host().trim_matches(['[', ']']).trim_end_matches('.');
    Host { name: name.to_ascii_lowercase(), port: authority.port_u16() }
}

fn parse_origin(text: &str) -> Option<Origin> {
    let uri: Uri = text.trim().trim_end_matches('/').parse().ok()?;
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let host = host_of(uri.authority()?);
    let port = host.port.or_else(|| default_port(&scheme));
    Some(Origin { scheme, name: host.name, port })
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &str, origin: Option<&str>) -> bool {
        let doors = Doors::new(
            &["pve.example".to_owned(), "mcp.example:8808".to_owned(), "fd00::7".to_owned()],
            &["https://panel.example".to_owned(), "http://localhost:6274".to_owned()],
        );
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(host).unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, HeaderValue::from_str(origin).unwrap());
        }
        doors.check(&Uri::from_static("/mcp"), &headers).is_ok()
    }

    #[test]
    fn only_known_names_lead_in() {
        for host in [
            "localhost",
            "LOCALHOST:8808",
            "127.0.0.1:1",
            "[::1]:8808",
            "pve.example",
            "PVE.example.:443",
            "mcp.example:8808",
            "[fd00::7]:80",
        ] {
            assert!(check(host, None), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "mcp.example",
            "mcp.example:80",
            "user@localhost",
            "localhost@evil.example",
            "0.0.0.0",
            "",
            "a b",
        ] {
            assert!(!check(host, None), "{host}");
        }
    }

    #[test]
    fn only_known_pages_may_call() {
        for origin in
            ["https://panel.example", "https://panel.example:443", "http://localhost:6274"]
        {
            assert!(check("localhost", Some(origin)), "{origin}");
        }
        for origin in [
            "null",
            "http://panel.example",
            "http://127.0.0.1",
            "https://panel.example:8443",
            "https://panel.example.evil.example",
            "http://localhost:6275",
            "https://evil.example",
            "panel.example",
            "",
        ] {
            assert!(!check("localhost", Some(origin)), "{origin}");
        }
    }

    #[test]
    fn a_page_may_call_where_it_came_from() {
        assert!(check("localhost:8808", Some("http://localhost:8808")));
        assert!(check("[::1]", Some("https://[::1]")));
        assert!(!check("localhost:8808", Some("http://localhost:3000")));
        assert!(!check("localhost:8808", Some("http://127.0.0.1:8808")));
        assert!(!check("evil.example", Some("http://evil.example")));
    }

    #[test]
    fn two_names_are_none() {
        let doors = Doors::new(&[], &[]);
        let mut headers = HeaderMap::new();
        assert!(doors.check(&Uri::from_static("/mcp"), &headers).is_err());
        assert!(doors.check(&Uri::from_static("http://localhost/mcp"), &headers).is_ok());
        headers.append(HOST, HeaderValue::from_static("localhost"));
        headers.append(HOST, HeaderValue::from_static("evil.example"));
        assert!(doors.check(&Uri::from_static("/mcp"), &headers).is_err());
    }
}
