//! Who answers: several endpoints of one table must be one cluster, or one server.

use std::collections::BTreeMap;

use pve_client::{cluster::MemberKind, nodes::NodeState};
use stdx::{Chain, tls::Fingerprint};

use crate::{
    finding::{Finding, Status},
    product::{Client, Product, words},
};

/// Who an endpoint says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    Pve(PveIdentity),
    Pbs(PbsIdentity),
}

/// A cluster or standalone node, as one of its nodes tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PveIdentity {
    /// The cluster's name. `None` for a standalone node, or if the login may not ask.
    pub(crate) cluster: Option<String>,
    /// Whether the login may ask.
    pub(crate) told: bool,
    /// Whether the cluster may decide, as far as told.
    pub(crate) quorate: Option<bool>,
    /// The node that answered, as far as told.
    pub(crate) local: Option<String>,
    /// The nodes by name.
    pub(crate) nodes: BTreeMap<String, Member>,
}

/// A node of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Member {
    /// Whether it answers, as far as told.
    pub(crate) online: Option<bool>,
    /// The SHA-256 of its certificate.
    pub(crate) fingerprint: Option<String>,
}

/// A backup server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PbsIdentity {
    /// Its id, since 4.
    pub(crate) instance: Option<String>,
    /// The certificate that it says it has.
    pub(crate) own: Option<String>,
    /// The certificate that it showed.
    pub(crate) shown: Option<Fingerprint>,
    /// The datastores that the login sees.
    pub(crate) datastores: Vec<String>,
}

// === impl Identity ===

impl Identity {
    pub(crate) fn as_pve(&self) -> Option<&PveIdentity> {
        match self {
            Self::Pve(identity) => Some(identity),
            Self::Pbs(_) => None,
        }
    }

    pub(crate) fn into_pve(self) -> Option<PveIdentity> {
        match self {
            Self::Pve(identity) => Some(identity),
            Self::Pbs(_) => None,
        }
    }

    /// Why the two cannot be the same, if so.
    fn differs(&self, other: &Self) -> Option<&'static str> {
        match (self, other) {
            (Self::Pve(one), Self::Pve(other)) => one.differs(other),
            (Self::Pbs(one), Self::Pbs(other)) => one.differs(other),
            _ => Some("they are different products"),
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Pve(identity) => identity.describe(),
            Self::Pbs(identity) => identity.describe(),
        }
    }
}

// === impl PveIdentity ===

impl PveIdentity {
    /// Whether it is a cluster, if that is known.
    pub(crate) fn is_cluster(&self) -> Option<bool> {
        match (self.told, self.nodes.len()) {
            (true, _) => Some(self.cluster.is_some()),
            (false, 2..) => Some(true),
            (false, _) => None,
        }
    }

    /// Why the two cannot be the same cluster or node, if so. Names of nodes repeat from site to
    /// site; certificates do not.
    pub(crate) fn differs(&self, other: &Self) -> Option<&'static str> {
        if self.told && other.told && self.cluster != other.cluster {
            return Some("their clusters have different names");
        }
        if !self.nodes.keys().eq(other.nodes.keys()) {
            return Some("they have different nodes");
        }
        let certificates = self.nodes.iter().zip(other.nodes.values());
        let differ = certificates.into_iter().any(|((_, one), other)| {
            one.fingerprint.is_some()
                && other.fingerprint.is_some()
                && one.fingerprint != other.fingerprint
        });
        differ.then_some("their nodes have the same names and different certificates")
    }

    pub(crate) fn describe(&self) -> String {
        let nodes: Vec<_> = self.nodes.keys().map(|name| clean(name)).collect();
        let nodes = nodes.join(", ");
        match (&self.cluster, self.is_cluster()) {
            (Some(name), _) => format!("cluster {} ({nodes})", clean(name)),
            (None, Some(false)) => format!("standalone node {nodes}"),
            (None, Some(true)) => format!("a cluster of {nodes}"),
            (None, None) => format!("node {nodes}"),
        }
    }
}

// === impl PbsIdentity ===

impl PbsIdentity {
    fn differs(&self, other: &Self) -> Option<&'static str> {
        // The first that both tell decides.
        if let (Some(one), Some(other)) = (&self.instance, &other.instance) {
            return (one != other).then_some("they have different instance ids");
        }
        if let (Some(one), Some(other)) = (&self.own, &other.own) {
            return (one != other).then_some("they have different certificates");
        }
        if self.shown.is_some() && self.shown == other.shown {
            return None;
        }
        (self.datastores != other.datastores).then_some("they have different datastores")
    }

    fn describe(&self) -> String {
        let stores: Vec<_> = self.datastores.iter().map(|name| clean(name)).collect();
        let stores = if stores.is_empty() { "none to see".to_owned() } else { stores.join(", ") };
        format!("a backup server with datastores {stores}")
    }
}

fn clean(text: &str) -> String {
    stdx::untrusted::line(text, 60).into_owned()
}

/// Asks an endpoint who it is. What the login may not see is left open.
pub(super) async fn ask(client: &Client, shown: Option<Fingerprint>) -> Result<Identity, String> {
    match client {
        Client::Pve(client) => {
            let (status, nodes) = futures::join!(
                client.call(pve_client::cluster::status()),
                client.call(pve_client::nodes::list()),
            );
            let nodes = nodes.map_err(|error| Chain(&error).to_string())?;
            let mut identity = PveIdentity::default();
            for node in nodes {
                let online = match node.status {
                    NodeState::Online => Some(true),
                    NodeState::Offline => Some(false),
                    _ => None,
                };
                let member = Member { online, fingerprint: node.ssl_fingerprint };
                identity.nodes.insert(node.node.to_string(), member);
            }
            // Refused to a login without `Sys.Audit`; the permissions check speaks of that.
            if let Ok(rows) = status {
                identity.told = true;
                for row in rows {
                    match row.kind {
                        MemberKind::Cluster => {
                            identity.cluster = Some(row.name);
                            identity.quorate = row.quorate;
                        }
                        MemberKind::Node => {
                            if row.local == Some(true) {
                                identity.local = Some(row.name.clone());
                            }
                            if let (Some(member), Some(online)) =
                                (identity.nodes.get_mut(&row.name), row.online)
                            {
                                member.online = Some(online);
                            }
                        }
                        _ => {}
                    }
                }
            }
            Ok(Identity::Pve(identity))
        }
        Client::Pbs(client) => {
            let (instance, status, stores) = futures::join!(
                client.call(pbs_client::node::identity()),
                client.call(pbs_client::node::status()),
                client.call(pbs_client::datastores::list()),
            );
            let stores = stores.map_err(|error| Chain(&error).to_string())?;
            let mut datastores: Vec<_> =
                stores.into_iter().map(|store| store.name.to_string()).collect();
            datastores.sort();
            Ok(Identity::Pbs(PbsIdentity {
                instance: instance.ok().map(|identity| identity.instance_id),
                own: status.ok().and_then(|status| status.info).map(|info| info.fingerprint),
                shown,
                datastores,
            }))
        }
    }
}

/// Whether all endpoints that answered are one, and who that is.
pub(super) fn judge(
    key: &str,
    product: Product,
    known: &[(String, Identity)],
    silent: &[(String, String)],
) -> Finding {
    let check = match product {
        Product::Pve => "cluster",
        Product::Pbs => "server",
    };
    let Some(((first, identity), others)) = known.split_first() else {
        let why = silent.first().map_or("", |(_, why)| why);
        return Finding::fail(key, check, format!("it let us in and did not say who it is: {why}"))
            .hint(format!("on the server: `journalctl -u {} -n 50`", words(product).service));
    };
    for (url, other) in others {
        let Some(why) = identity.differs(other) else { continue };
        let section = words(product).section;
        let detail =
            format!("{first} is {}, {url} is {}: {why}", identity.describe(), other.describe());
        let rule = match product {
            Product::Pve => "the endpoints of one table must be nodes of one cluster",
            Product::Pbs => {
                "the endpoints of one table must be one server: backup servers form no clusters"
            }
        };
        return Finding::fail(key, check, detail).hint(format!(
            "{rule}; give each its own table: [{section}.{key}] with {first}, [{section}.{key}_2] with {url}"
        ));
    }
    let mut detail = identity.describe();
    if known.len() > 1 {
        detail = format!("{detail}, the same at {} endpoints", known.len());
    }
    if let Some((url, why)) = silent.first() {
        return Finding::warn(key, check, format!("{detail}; {url} did not say who it is: {why}"))
            .hint(format!("on that server: `journalctl -u {} -n 50`", words(product).service));
    }
    Finding::pass(key, check, detail)
}

/// An endpoint that did not let us in with the credential that another one takes is not proven to
/// be the same, and most often is not: tokens are a cluster's own.
pub(super) fn doubt(
    judged: Finding,
    key: &str,
    product: Product,
    known: &[(String, Identity)],
    refused: &[String],
) -> Finding {
    let (Some((first, identity)), Some(url)) = (known.first(), refused.first()) else {
        return judged;
    };
    if judged.status == Status::Fail {
        return judged;
    }
    let section = words(product).section;
    let detail = format!(
        "{first} is {}; {url} did not let us in with the same credential, so it is not proven to be the same",
        identity.describe()
    );
    Finding::fail(key, judged.check, detail).hint(format!(
        "if it is another one, give each its own table: [{section}.{key}] with {first}, [{section}.{key}_2] with {url}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pve(cluster: Option<&str>, told: bool, nodes: &[(&str, &str)]) -> Identity {
        let nodes = nodes.iter().map(|(name, fingerprint)| {
            let fingerprint = (!fingerprint.is_empty()).then(|| (*fingerprint).to_owned());
            ((*name).to_owned(), Member { online: Some(true), fingerprint })
        });
        Identity::Pve(PveIdentity {
            cluster: cluster.map(str::to_owned),
            told,
            nodes: nodes.collect(),
            ..PveIdentity::default()
        })
    }

    fn pbs(instance: Option<&str>, own: Option<&str>, stores: &[&str]) -> Identity {
        Identity::Pbs(PbsIdentity {
            instance: instance.map(str::to_owned),
            own: own.map(str::to_owned),
            shown: None,
            datastores: stores.iter().map(|store| (*store).to_owned()).collect(),
        })
    }

    #[test]
    fn an_endpoint_that_refuses_what_another_takes_is_in_doubt() {
        let lab = pve(Some("lab"), true, &[("a", "1")]);
        let known = [("https://a".to_owned(), lab)];
        let judged = || judge("home", Product::Pve, &known, &[]);
        let calm = doubt(judged(), "home", Product::Pve, &known, &[]);
        assert_eq!(calm.status, Status::Pass);
        let doubted = doubt(judged(), "home", Product::Pve, &known, &["https://b".to_owned()]);
        assert_eq!(doubted.status, Status::Fail);
        assert!(doubted.detail.contains("https://a") && doubted.detail.contains("https://b"));
    }

    #[test]
    fn endpoints_of_one_table_must_be_one() {
        let lab = pve(Some("lab"), true, &[("a", "1"), ("b", "2")]);
        for (one, other, same) in [
            (lab.clone(), lab.clone(), true),
            (lab.clone(), pve(None, false, &[("a", "1"), ("b", "")]), true),
            (lab.clone(), pve(Some("dev"), true, &[("a", "1"), ("b", "2")]), false),
            (lab.clone(), pve(None, true, &[("a", "1")]), false),
            (pve(None, true, &[("pve", "1")]), pve(None, true, &[("pve", "2")]), false),
            (pbs(Some("x"), Some("1"), &["main"]), pbs(Some("x"), Some("2"), &["main"]), true),
            (pbs(Some("x"), None, &["main"]), pbs(Some("y"), None, &["main"]), false),
            (pbs(None, Some("1"), &["main"]), pbs(Some("y"), Some("2"), &["main"]), false),
            (pbs(None, None, &["main"]), pbs(None, None, &["main"]), true),
            (pbs(None, None, &["main"]), pbs(None, None, &["other"]), false),
        ] {
            let known = [("https://one".to_owned(), one), ("https://other".to_owned(), other)];
            let finding = judge("lab", Product::Pve, &known, &[]);
            let expected = if same { Status::Pass } else { Status::Fail };
            assert_eq!(finding.status, expected, "{known:?}");
            if !same {
                assert!(finding.detail.contains("https://one is "), "{}", finding.detail);
                assert!(finding.detail.contains("https://other is "), "{}", finding.detail);
            }
        }
    }
}
