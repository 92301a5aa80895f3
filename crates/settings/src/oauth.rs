//! `[oauth.<name>]`: whose access tokens are taken.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use api_core::endpoint::OneOrMany;
use guard::Scope;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use stdx::tls::{TlsOptions, TlsPolicy};
use url::{Host, Url};

use crate::error::Complaint;
use crate::keys::{Section, did_you_mean};
use crate::layers::{self, Merged};
use crate::load::Loader;

/// The signatures that are known.
const ALGORITHMS: &[&str] = &["RS256", "PS256", "ES256", "EdDSA"];
/// What scopes allow where the settings do not say.
const SCOPES: [(&str, &str); 3] =
    [("proxmox.read", "read"), ("proxmox.operate", "operate"), ("proxmox.destroy", "destroy")];

/// One `[oauth.<name>]`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OAuthSettings {
    /// The issuer as its tokens and its metadata spell it.
    pub issuer: String,
    /// What a token must be made for: one of these.
    pub audience: Vec<String>,
    /// The address of the endpoint as clients write it; the same for every issuer.
    pub resource: String,
    /// Where the issuer publishes its keys; `None` where its metadata says it.
    pub jwks_url: Option<String>,
    /// What a token's scopes allow; never empty.
    pub scopes: BTreeMap<String, Scope>,
    /// A scope that every token must have besides.
    pub required_scope: Option<String>,
    /// The names of the signatures that are taken: `RS256`, `PS256`, `ES256`, `EdDSA`.
    pub algorithms: Vec<String>,
    /// How far the issuer's clock may be off.
    pub leeway: Duration,
    /// How long its keys are used before they are fetched again.
    pub jwks_refresh: Duration,
    /// How its address proves itself.
    pub tls: TlsPolicy,
}

/// `[oauth.<name>]` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOAuth {
    issuer: String,
    audience: OneOrMany,
    resource: Option<String>,
    jwks_url: Option<String>,
    #[serde(default)]
    scopes: BTreeMap<String, OneOrMany>,
    required_scope: Option<String>,
    #[serde(default = "default_algorithms")]
    algorithms: Vec<String>,
    #[serde(default = "default_leeway")]
    leeway_secs: u64,
    #[serde(default = "default_refresh")]
    jwks_refresh_secs: u64,
    ca_file: Option<PathBuf>,
}

/// What is found in one table, each with its key below the table.
#[derive(Default)]
struct Notes {
    errors: Vec<(Vec<String>, Complaint)>,
    warnings: Vec<(Vec<String>, Complaint)>,
}

// === impl Loader ===

impl Loader<'_> {
    /// The issuers by the names of their tables; without those that errors speak of.
    pub(crate) fn oauth(&mut self, merged: &Merged) -> BTreeMap<String, OAuthSettings> {
        let mut issuers: BTreeMap<String, OAuthSettings> = BTreeMap::new();
        for (name, origin) in merged.tables("oauth") {
            self.check_required(merged, "oauth", name, origin);
            let Some(raw) = self.extract::<RawOAuth>(merged, &["oauth", name]) else { continue };
            let mut notes = Notes::default();
            let checked = self.issuer(raw, &mut notes);
            if let Some(checked) = &checked {
                against_others(checked, &issuers, &mut notes);
            }
            let is_good = notes.errors.is_empty();
            let at = |below: Vec<String>| {
                let path: Vec<String> =
                    ["oauth".to_owned(), name.to_owned()].into_iter().chain(below).collect();
                (merged.origin(&path), layers::name(&path))
            };
            for (below, complaint) in notes.errors {
                let (origin, key) = at(below);
                self.findings.error(&origin, key, complaint);
            }
            for (below, complaint) in notes.warnings {
                let (origin, key) = at(below);
                self.findings.warn(&origin, key, complaint);
            }
            if let Some(checked) = checked.filter(|_| is_good) {
                issuers.insert(name.to_owned(), checked);
            }
        }
        issuers
    }

    fn issuer(&self, raw: RawOAuth, notes: &mut Notes) -> Option<OAuthSettings> {
        let issuer = address(&raw.issuer).map_err(|complaint| notes.error("issuer", complaint));
        if let Ok(url) = &issuer
            && (url.query().is_some() || url.fragment().is_some())
        {
            let hint = "an issuer is an address with nothing behind `?` or `#`";
            notes.error("issuer", Complaint::new("has a query or a fragment", hint));
        }
        if let Some(url) = &raw.jwks_url
            && let Err(complaint) = address(url)
        {
            notes.error("jwks_url", complaint);
        }
        let audience = raw.audience.0;
        if audience.is_empty() || audience.iter().any(|entry| entry.trim().is_empty()) {
            notes
                .error("audience", Complaint::new("is empty", "tokens for anybody are for nobody"));
        }
        let resource = resource(raw.resource, &audience, notes);
        let scopes = scopes(raw.scopes, notes);
        if let Some(scope) = &raw.required_scope
            && !is_scope_name(scope)
        {
            notes.error("required_scope", wrong_scope_name());
        }
        algorithms(&raw.algorithms, notes);
        let tls = match &raw.ca_file {
            None => TlsPolicy::System,
            Some(path) => TlsPolicy::CaPem(self.files.read(path).ok()?.bytes),
        };
        if let TlsPolicy::CaPem(_) = &tls {
            let options = TlsOptions { policy: tls.clone(), server_name: None };
            if let Err(error) = stdx::tls::client_config(&options) {
                let reason = format!("is no certificate to trust: {}", stdx::Chain(&error));
                notes.error("ca_file", Complaint::new(reason, "it takes certificates in PEM"));
            }
        }
        Some(OAuthSettings {
            issuer: raw.issuer,
            audience,
            resource: resource?,
            jwks_url: raw.jwks_url,
            scopes,
            required_scope: raw.required_scope,
            algorithms: raw.algorithms,
            leeway: Duration::from_secs(raw.leeway_secs),
            jwks_refresh: Duration::from_secs(raw.jwks_refresh_secs),
            tls,
        })
    }
}

// === impl Notes ===

impl Notes {
    fn error(&mut self, key: &str, complaint: Complaint) {
        self.errors.push((vec![key.to_owned()], complaint));
    }

    fn warn(&mut self, key: &str, complaint: Complaint) {
        self.warnings.push((vec![key.to_owned()], complaint));
    }
}

/// What no table alone could tell: a server is one resource, and a token has one issuer.
fn against_others(
    checked: &OAuthSettings,
    others: &BTreeMap<String, OAuthSettings>,
    notes: &mut Notes,
) {
    for (name, other) in others {
        if other.issuer == checked.issuer {
            let reason = format!("is the issuer of oauth.{name} too");
            notes.error("issuer", Complaint::new(reason, "one table for each issuer"));
        }
        if other.resource != checked.resource {
            let reason =
                format!("is {}, where oauth.{name} has {}", checked.resource, other.resource);
            let hint = "a server has one address: set the same `resource` in both tables";
            notes.error("resource", Complaint::new(reason, hint));
        }
    }
}

/// An address that keys may come from: HTTPS, or HTTP on this very machine.
fn address(text: &str) -> Result<Url, Complaint> {
    let hint = "it takes an address such as https://idp.example.lan";
    let Some(url) = Url::parse(text).ok().filter(Url::has_host) else {
        return Err(Complaint::new("is not an address", hint));
    };
    match url.scheme() {
        _ if !url.username().is_empty() || url.password().is_some() => {
            Err(Complaint::new("holds a login", "keys are public: leave the login out"))
        }
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => {
            let hint = "whoever stands between could put keys of their own there: use https";
            Err(Complaint::new("is an address without TLS", hint))
        }
        _ => Err(Complaint::new("is not an address of the web", hint)),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

fn resource(given: Option<String>, audience: &[String], notes: &mut Notes) -> Option<String> {
    let is_web = |text: &str| {
        Url::parse(text).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https") && url.has_host() && url.fragment().is_none()
        })
    };
    let hint = "it takes the address of the endpoint as clients write it, for example \
                https://mcp.example.lan:8808/mcp";
    let resource = match given {
        Some(given) if is_web(&given) => given,
        Some(_) => {
            notes.error("resource", Complaint::new("is not an address", hint));
            return None;
        }
        None => match audience.iter().find(|entry| is_web(entry)) {
            Some(first) => first.clone(),
            None => {
                notes.error(
                    "resource",
                    Complaint::new("is missing, and no audience is an address", hint),
                );
                return None;
            }
        },
    };
    if Url::parse(&resource).is_ok_and(|url| url.scheme() == "http" && !is_loopback(&url)) {
        let reason = "tokens travel to it without TLS";
        let hint = "set http.tls_cert_file and http.tls_key_file, or put a proxy with TLS in front";
        notes.warn("resource", Complaint::new(reason, hint));
    }
    Some(resource)
}

fn scopes(given: BTreeMap<String, OneOrMany>, notes: &mut Notes) -> BTreeMap<String, Scope> {
    if given.is_empty() {
        let scopes = SCOPES.iter().map(|(name, words)| {
            let scope = words.parse().expect("a tier is a scope");
            ((*name).to_owned(), scope)
        });
        return scopes.collect();
    }
    let mut scopes = BTreeMap::new();
    for (name, words) in given {
        let path = vec!["scopes".to_owned(), name.clone()];
        if !is_scope_name(&name) {
            notes.errors.push((path, wrong_scope_name()));
            continue;
        }
        if name == "offline_access" {
            let reason = "asks clients for a token that never ends";
            let hint = "servers do not ask for it; clients do where they need it";
            notes.warnings.push((path.clone(), Complaint::new(reason, hint)));
        }
        match words.0.join(",").parse::<Scope>() {
            Ok(scope) => drop(scopes.insert(name, scope)),
            Err(error) => {
                let hint = "for example \"read\" or \"operate,toolset:backup,cluster:home\"";
                notes.errors.push((path, Complaint::new(format!("is no scope: {error}"), hint)));
            }
        }
    }
    scopes
}

/// RFC 6749: printable ASCII without space, `"` and `\`.
fn is_scope_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
}

fn wrong_scope_name() -> Complaint {
    Complaint::new("is not the name of an OAuth scope", "it holds no space, quote or backslash")
}

fn algorithms(given: &[String], notes: &mut Notes) {
    if given.is_empty() {
        let hint = format!("it takes some of {}", ALGORITHMS.join(", "));
        notes.error("algorithms", Complaint::new("is empty", hint));
    }
    for name in given.iter().filter(|name| !ALGORITHMS.contains(&name.as_str())) {
        let lower = name.to_ascii_lowercase();
        let hint = if lower == "none" {
            "a token without a signature can be written by anybody".to_owned()
        } else if lower.starts_with("hs") {
            "whoever can check such a token can make one: let the issuer sign with a key pair"
                .to_owned()
        } else {
            did_you_mean(name, ALGORITHMS, "it takes")
        };
        let shown: String = name.chars().take(20).collect();
        notes.error("algorithms", Complaint::new(format!("lists {shown:?}"), hint));
    }
}

// The defaults stand in the table of keys and nowhere else.

fn default_algorithms() -> Vec<String> {
    default("algorithms")
}

fn default_leeway() -> u64 {
    default("leeway_secs")
}

fn default_refresh() -> u64 {
    default("jwks_refresh_secs")
}

fn default<T: DeserializeOwned>(key: &str) -> T {
    let text = Section::find("oauth").and_then(|section| section.key(key)?.default);
    let value = text.and_then(|text| text.parse::<toml::Value>().ok()?.try_into().ok());
    value.expect("the table of keys has a default of this type")
}
