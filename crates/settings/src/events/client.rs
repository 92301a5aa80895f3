//! What inputs and outputs have in common: whose reports they are, and the way to a server.

use std::collections::BTreeMap;

use estate::{ClusterKey, NodeName};
use inputs::Identity;
use jiff::tz::TimeZone;
use secrecy::SecretString;
use stdx::Chain;
use stdx::http::{HttpOptions, Proxy};
use stdx::tls::{Fingerprint, TlsOptions, TlsPolicy};
use url::Url;

use super::fields::Fields;
use crate::keys::did_you_mean;

/// What inputs and outputs need to know of the other settings.
pub(in crate::events) struct Around<'a> {
    /// The clusters and backup servers, by key.
    pub(in crate::events) pve: &'a BTreeMap<ClusterKey, pve_client::config::ConnectOptions>,
    pub(in crate::events) pbs: &'a BTreeMap<ClusterKey, pbs_client::config::ConnectOptions>,
    /// The operator's time zone.
    pub(in crate::events) zone: TimeZone,
    /// What this manager calls itself.
    pub(in crate::events) instance: Option<String>,
}

// === impl Around ===

impl Around<'_> {
    /// The labels of a cluster or server.
    fn labels(&self, key: &str) -> BTreeMap<String, String> {
        let pve = self.pve.get(key).map(|options| &options.labels);
        let pbs = self.pbs.get(key).map(|options| &options.labels);
        pve.or(pbs).cloned().unwrap_or_default()
    }
}

// === impl Fields ===

impl Fields<'_, '_> {
    /// Who sends, as `cluster`, `node`, `zone` and `labels` say.
    pub(in crate::events) fn identity(&mut self, around: &Around<'_>) -> Identity {
        let cluster = self.text("cluster").and_then(|name| self.cluster("cluster", &name));
        let node = self.text("node").and_then(|name| match NodeName::try_new(&name) {
            Ok(node) => Some(node),
            Err(error) => {
                self.wrong("node", error.to_string(), "write the node's name as Proxmox has it");
                None
            }
        });
        let mut labels =
            cluster.as_ref().map_or_else(BTreeMap::new, |it| around.labels(it.as_str()));
        labels.extend(self.texts("labels"));
        let zone = self.zone("zone").unwrap_or_else(|| around.zone.clone());
        Identity { cluster, node, labels, zone }
    }

    /// The identity of a cluster by its name: with its labels, and the zone of this table.
    pub(in crate::events) fn identity_of(
        &mut self,
        cluster: ClusterKey,
        node: Option<NodeName>,
        around: &Around<'_>,
    ) -> Identity {
        let mut labels = around.labels(cluster.as_str());
        labels.extend(self.texts("labels"));
        let zone = self.text("zone").and_then(|name| TimeZone::get(&name).ok());
        let zone = zone.unwrap_or_else(|| around.zone.clone());
        Identity { cluster: Some(cluster), node, labels, zone }
    }

    /// A cluster or backup server that there is.
    pub(in crate::events) fn cluster(&mut self, key: &str, name: &str) -> Option<ClusterKey> {
        let known: Vec<&str> = ["pve", "pbs"]
            .iter()
            .flat_map(|section| self.merged.tables(section).into_keys())
            .collect();
        if known.contains(&name) {
            return ClusterKey::try_new(name).ok();
        }
        let shown: String = name.chars().take(40).collect();
        let hint = match known.as_slice() {
            [] => "add its table [pve.…] or [pbs.…]".to_owned(),
            _ => did_you_mean(name, &known, "they are called"),
        };
        self.wrong(key, format!("names {shown:?}, which no cluster or server is called"), hint);
        None
    }

    /// How a server proves itself: by the system's roots, a root of its own, or its fingerprint.
    pub(in crate::events) fn tls(&mut self) -> TlsOptions {
        let is_insecure = self.flag("insecure");
        let said = [("fingerprint", self.has("fingerprint")), ("ca_file", self.has("ca_file"))];
        let mut said: Vec<&str> = said.iter().filter(|(_, is)| *is).map(|(key, _)| *key).collect();
        if is_insecure {
            said.push("insecure");
        }
        if let [first, second, ..] = said.as_slice() {
            self.wrong(first, format!("is set, and {second} too"), "keep one of them");
            return TlsOptions::default();
        }
        let policy = match said.first() {
            Some(&"fingerprint") => {
                let read = |text: &str| text.parse::<Fingerprint>().map_err(|it| it.to_string());
                TlsPolicy::Pins(self.parsed("fingerprint", read))
            }
            Some(&"ca_file") => match self.bytes("ca_file") {
                Some(pem) => TlsPolicy::CaPem(pem),
                None => return TlsOptions::default(),
            },
            Some(_) => {
                let reason =
                    "any certificate is believed: whoever is on the way can read the secrets";
                self.warn("insecure", reason, "use fingerprint or ca_file");
                TlsPolicy::Insecure
            }
            None => return TlsOptions::default(),
        };
        let tls = TlsOptions { policy, server_name: None };
        if self.is_good()
            && let Err(error) = stdx::tls::client_config(&tls)
        {
            let hint = "the root certificate of a PVE cluster is /etc/pve/pve-root-ca.pem";
            self.wrong(said[0], format!("cannot be used: {}", Chain(&error)), hint);
        }
        tls
    }

    /// How an HTTP client gets to its server.
    pub(in crate::events) fn http(&mut self) -> HttpOptions {
        let mut options = HttpOptions::with_tls(self.tls());
        options.proxy = match self.text("proxy").as_deref() {
            None | Some("none" | "") => Proxy::None,
            Some("env") => Proxy::FromEnv,
            Some(text) => {
                let fits = Url::parse(text)
                    .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
                if !fits {
                    let reason = "is not the address of an HTTP proxy";
                    self.wrong("proxy", reason, "write none, env or http://host:port");
                }
                Proxy::Url(text.to_owned())
            }
        };
        options
    }

    /// The address of a server; a login has keys of its own.
    pub(in crate::events) fn server(&mut self) -> String {
        let Some(text) = self.text("server") else { return String::new() };
        let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        match url {
            Some(url) if url.has_host() => {
                if !url.username().is_empty() || url.password().is_some() {
                    let hint = "take it out: a login has keys of its own";
                    self.wrong("server", "holds a login", hint);
                }
            }
            _ => self.wrong("server", "is no address of a server", "write https://push.lan"),
        }
        text
    }

    /// The certificate and the key of what listens.
    pub(in crate::events) fn certificate(&mut self) -> Option<inputs::TlsPem> {
        match (self.has("certificate_file"), self.has("key_file")) {
            (false, false) => None,
            (true, true) => {
                let certificate = self.bytes("certificate_file");
                let key = self.contents("key_file").map(SecretString::from);
                Some(inputs::TlsPem { certificate: certificate?, key: key? })
            }
            (true, false) => {
                self.wrong("certificate_file", "is set without key_file", "TLS takes both");
                None
            }
            (false, true) => {
                self.wrong("key_file", "is set without certificate_file", "TLS takes both");
                None
            }
        }
    }
}
