//! Why a test did not arrive: what there is evidence of, the most likely first.
//!
//! *Invariant:* no I/O.

use std::net::{IpAddr, SocketAddr};

use url::{Host, Url};

/// What is known of a test that did not arrive.
#[derive(Debug)]
pub(super) struct Evidence<'a> {
    /// The hook's address.
    pub(super) url: &'a Url,
    /// What the server said, if it did not call the test good.
    pub(super) said: Option<&'a str>,
    /// The proxy that its messages go through.
    pub(super) proxy: Option<&'a str>,
    /// Where the manager listens, by the settings; nothing where it does not.
    pub(super) listens: Option<SocketAddr>,
    /// Whether all addresses of the cluster are this machine's own.
    pub(super) is_here: bool,
    /// What this machine met at the address.
    pub(super) met: &'a Met,
}

/// What this machine met where the hook should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Met {
    /// The hook took what was posted with the secret.
    Hook,
    /// Somebody answered with this status.
    Status(u16),
    /// A certificate that this system does not trust.
    Untrusted {
        /// Who signed it.
        issuer: String,
        /// Whether it signed itself.
        self_signed: bool,
        /// What is wrong with it.
        why: String,
    },
    /// Nobody.
    Nobody(String),
}

/// What kind of cause it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Tls,
    Route,
    Proxy,
    Secret,
    Manager,
}

/// A likely cause, with what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cause {
    pub(super) kind: Kind,
    pub(super) text: String,
}

// === impl Kind ===

impl Kind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Route => "route",
            Self::Proxy => "proxy",
            Self::Secret => "secret",
            Self::Manager => "manager",
        }
    }
}

/// The likely causes; at least one.
pub(super) fn causes(it: &Evidence<'_>) -> Vec<Cause> {
    let mut causes = Causes(Vec::new());
    if let Some(said) = it.said {
        causes.by_words(it, said);
    } else if let Some(proxy) = it.proxy {
        causes.add(
            Kind::Proxy,
            format!(
                "its messages go through the proxy {}, which may have answered in the hook's place: \
                 let the proxy pass them on, or take http_proxy out of the server's options",
                stdx::http::without_login(proxy)
            ),
        );
    }
    causes.by_what_was_met(it);
    causes.by_address(it);
    if causes.0.is_empty() {
        let lookup = match it.url.host() {
            Some(Host::Domain(name)) => {
                format!("what `getent hosts {name}` says on the node, and ")
            }
            _ => String::new(),
        };
        let text = format!(
            "this machine reaches the hook, so the server posts elsewhere, or nothing; {lookup}what the \
             node's journal says of notifications tells more"
        );
        causes.add(Kind::Route, text);
    }
    causes.0
}

/// Causes as they are found, one of a kind.
struct Causes(Vec<Cause>);

// === impl Causes ===

impl Causes {
    fn add(&mut self, kind: Kind, text: impl Into<String>) {
        if !self.0.iter().any(|it| it.kind == kind) {
            self.0.push(Cause { kind, text: text.into() });
        }
    }

    /// By what the server said about its own attempt.
    fn by_words(&mut self, it: &Evidence<'_>, said: &str) {
        let said = said.to_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
        let host = it.url.host_str().unwrap_or_default();
        if has(&["certificate", "tls", "ssl", "unknownissuer"]) {
            self.add(Kind::Tls, trust(it.met));
            return;
        }
        if has(&["401", "unauthorized", "429"]) {
            self.add(
                Kind::Secret,
                "the hook refused the secret: the server has another one than the manager that runs; \
                 restart the manager if the settings are newer than it is, and send the secret again \
                 with --resend-secret",
            );
        }
        if has(&["resolv", "lookup", "name or service", "dns error"]) {
            self.add(Kind::Route, format!("the node does not know the name {host}: put it into its DNS or /etc/hosts, or use an address that it knows"));
        }
        if has(&["proxy"]) && it.proxy.is_some() {
            self.add(Kind::Proxy, "the proxy of the server's options does not pass it on: let it, or take http_proxy out of them");
        }
        if has(&["refused", "no route", "unreachable", "timed out", "timeout", "(connect)"]) {
            self.add(Kind::Route, format!("the node does not reach {}: look at the firewalls in between, and that the manager listens on an address that it reaches", address(it.url)));
        }
        if has(&["503", "502", "504"]) {
            self.add(Kind::Manager, "the hook could not keep it: `proxmox-mcp events status` and the manager's log say why");
        }
    }

    /// By what this machine met there.
    fn by_what_was_met(&mut self, it: &Evidence<'_>) {
        match it.met {
            Met::Hook => {}
            Met::Untrusted { .. } => self.add(Kind::Tls, trust(it.met)),
            Met::Status(401) => self.add(
                Kind::Secret,
                "the hook does not take the secret of the settings: the manager runs with others; \
                 restart it",
            ),
            Met::Status(404) => self.add(
                Kind::Manager,
                "what answers there has no such hook: the manager runs with other settings, or it is \
                 another server",
            ),
            Met::Status(status) => self.add(
                Kind::Manager,
                format!("what answers there says {status}: it is not the hook, or it cannot keep anything"),
            ),
            Met::Nobody(why) => self.add(
                Kind::Route,
                format!("this machine does not reach {} either: {why}", address(it.url)),
            ),
        }
    }

    /// By what the address alone tells.
    fn by_address(&mut self, it: &Evidence<'_>) {
        let is_loopback = is_loopback(it.url);
        if is_loopback && !it.is_here {
            let text = format!(
                "{} is the node itself to the node: give an address of this machine that the nodes \
                 reach, with --url",
                it.url.host_str().unwrap_or_default()
            );
            self.add(Kind::Route, text);
        }
        match it.listens {
            Some(listens) if listens.ip().is_loopback() && !is_loopback => {
                let text = format!(
                    "the manager listens on {listens} alone (`http.listen`), which no other machine \
                     reaches unless something passes it on"
                );
                self.add(Kind::Route, text);
            }
            _ => {}
        }
    }
}

/// Whether an address names the machine that looks at it.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

/// Host and port.
fn address(url: &Url) -> String {
    let port = url.port_or_known_default().unwrap_or_default();
    format!("{}:{port}", url.host_str().unwrap_or_default())
}

/// What to do about a certificate.
fn trust(met: &Met) -> String {
    let whose = match met {
        Met::Untrusted { self_signed: true, why, .. } => {
            format!("it signed itself ({why})")
        }
        Met::Untrusted { issuer, why, .. } => format!("{issuer} signed it ({why})"),
        _ => "this machine trusts it".to_owned(),
    };
    format!(
        "the node does not trust the certificate; {whose}. Webhooks have no way around that: put the \
         authority into /usr/local/share/ca-certificates of each node and run update-ca-certificates \
         there, or serve one of a public authority"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kinds of the causes, for what the server said, what was met, its proxy and where the manager listens.
    fn kinds(said: &str, met: &Met, proxy: &str, listens: &str) -> String {
        let url: Url = "https://mcp.example.lan:8808/hooks/hook/lab".parse().expect("an address");
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let (said, proxy) = (given(said), given(proxy));
        let found = causes(&Evidence {
            url: &url,
            said: said.as_deref(),
            proxy: proxy.as_deref(),
            listens: listens.parse().ok(),
            is_here: false,
            met,
        });
        found.iter().map(|it| it.kind.as_str()).collect::<Vec<_>>().join(" ")
    }

    fn untrusted() -> Met {
        Met::Untrusted {
            issuer: "CN=lab CA".to_owned(),
            self_signed: false,
            why: "UnknownIssuer".to_owned(),
        }
    }

    #[test]
    fn the_servers_words_come_first() {
        let invalid = "client error (Connect): invalid peer certificate: UnknownIssuer";
        for (said, met, wanted) in [
            (invalid, untrusted(), "tls"),
            (invalid, Met::Hook, "tls"),
            ("http request failed: 401 Unauthorized", Met::Hook, "secret"),
            ("http request failed: 401 Unauthorized", Met::Status(401), "secret"),
            ("dns error: failed to lookup address information", Met::Hook, "route"),
            ("client error (Connect): Connection refused", Met::Hook, "route"),
            ("timed out", Met::Hook, "route"),
            ("http request failed: 503 Service Unavailable", Met::Status(503), "manager"),
        ] {
            assert_eq!(kinds(said, &met, "", ""), wanted, "{said}");
        }
    }

    #[test]
    fn a_test_that_was_called_good_is_judged_by_proxy_answer_and_address() {
        assert_eq!(kinds("", &Met::Hook, "", ""), "route");
        assert_eq!(kinds("", &Met::Hook, "http://proxy.example.lan:3128", ""), "proxy");
        assert_eq!(kinds("", &Met::Status(401), "", ""), "secret");
        assert_eq!(kinds("", &Met::Status(404), "", ""), "manager");
        assert_eq!(kinds("", &Met::Status(200), "", ""), "manager");
        assert_eq!(kinds("", &untrusted(), "", ""), "tls");
        assert_eq!(kinds("", &Met::Nobody("connection refused".to_owned()), "", ""), "route");
        assert_eq!(kinds("", &Met::Hook, "", "127.0.0.1:8808"), "route");
    }

    #[test]
    fn an_address_of_the_own_machine_is_no_cause_where_the_cluster_is_there_too() {
        let url = "http://127.0.0.1:8808/hooks/hook/lab";
        let text = |is_here| {
            let url: Url = url.parse().unwrap();
            let listens = "127.0.0.1:8808".parse().ok();
            let said = None;
            let met = &Met::Hook;
            causes(&Evidence { url: &url, said, proxy: None, listens, is_here, met })[0]
                .text
                .clone()
        };
        assert!(text(false).starts_with("127.0.0.1 is the node itself"), "{}", text(false));
        assert!(text(true).starts_with("this machine reaches the hook"), "{}", text(true));
        for (url, is) in [
            ("http://localhost/", true),
            ("https://[::1]:8808/", true),
            ("https://mcp.example.lan/", false),
            ("https://192.0.2.1/", false),
        ] {
            assert_eq!(is_loopback(&url.parse().unwrap()), is, "{url}");
        }
    }

    #[test]
    fn what_is_said_of_a_proxy_has_no_login() {
        let url: Url = "https://mcp.example.lan/".parse().unwrap();
        let proxy = Some("http://me:s3cret@proxy.example.lan:3128");
        let found = causes(&Evidence {
            url: &url,
            said: None,
            proxy,
            listens: None,
            is_here: false,
            met: &Met::Hook,
        });
        assert!(!found[0].text.contains("s3cret"), "{}", found[0].text);
    }
}
