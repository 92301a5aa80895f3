//! Nodes and clusters of an environment file, with their addresses and credentials.

use secrecy::SecretString;

use super::estate::{Product, Reader, Table};
use crate::error::{Complaint, Origin};
use crate::layer::key_from;
use crate::settings::Topology;

struct Credential {
    id: String,
    token: SecretString,
    id_origin: Origin,
    token_origin: Origin,
}

// === impl Reader ===

impl Reader<'_> {
    /// `PVE_NODES` or `PBS_NODES`: one table each.
    pub(super) fn nodes(&mut self, product: Product) {
        let list = format!("{}_NODES", product.prefix());
        for name in self.list(&list) {
            let prefix = self.claim(&name);
            let variable = format!("{prefix}_HOST");
            let Some((host, origin)) = self.take(&variable) else {
                let reason = format!("is missing for {name}");
                self.missing(&variable, &list, reason, "set it to the node's address");
                continue;
            };
            let Some(credential) = self.credential(&prefix, &name) else { continue };
            let Some(endpoint) = self.endpoint(&host, product, &origin) else { continue };
            if let Some(known) =
                self.tables.iter().find(|table| table.endpoints.contains(&endpoint))
            {
                let reason = format!(
                    "is an endpoint of [{}.{}] already, so {name} gets no table of its own",
                    known.product.section(),
                    known.key
                );
                self.warn(&origin, reason, "");
                continue;
            }
            let remark = format!("{name} of {list}");
            self.table(product, &name, remark, vec![endpoint], credential, origin, Vec::new());
        }
    }

    /// `PVE_CLUSTER_…`: one table whose endpoints are the primary and the subnodes with an address.
    pub(super) fn pve_cluster(&mut self) {
        let Some((endpoint, origin, credential)) = self.primary(Product::Pve) else { return };
        let mut endpoints = vec![endpoint];
        for name in self.list("PVE_CLUSTER_SUBNODES") {
            // A cluster has one set of users: what a member says of its own is not needed.
            let prefix = self.claim(&name);
            let host = match self.take(&format!("{prefix}_HOST")) {
                Some(found) => Some(found),
                None if name.contains(['.', ':']) => {
                    Some((name.clone(), self.origin("PVE_CLUSTER_SUBNODES")))
                }
                None => None,
            };
            let Some((host, origin)) = host else {
                let origin = self.origin("PVE_CLUSTER_SUBNODES");
                let reason = format!("names {name}, of which there is no {prefix}_HOST");
                let hint = "members are discovered through the primary; add the address to \
                            `endpoints` to be able to fail over to it";
                self.warn(&origin, reason, hint);
                continue;
            };
            if let Some(endpoint) = self.endpoint(&host, Product::Pve, &origin)
                && !endpoints.contains(&endpoint)
            {
                endpoints.push(endpoint);
            }
        }
        let (name, remark) = self.cluster_name(Product::Pve);
        self.table(Product::Pve, &name, remark, endpoints, credential, origin, Vec::new());
    }

    /// `PBS_CLUSTER_…`: one table per member, since backup servers form no clusters.
    pub(super) fn pbs_cluster(&mut self) -> bool {
        let Some((endpoint, origin, credential)) = self.primary(Product::Pbs) else { return false };
        let (cluster, remark) = self.cluster_name(Product::Pbs);
        let labels = vec![("group", cluster.clone())];
        let mut members = Vec::new();
        for name in self.list("PBS_CLUSTER_SUBNODES") {
            let prefix = self.claim(&name);
            let (host, host_origin) = match self.take(&format!("{prefix}_HOST")) {
                Some(found) => found,
                None => {
                    let origin = self.origin("PBS_CLUSTER_SUBNODES");
                    let reason = format!(
                        "names {name}, of which there is no {prefix}_HOST, so its name is taken \
                         for its address"
                    );
                    self.warn(&origin, reason, "correct `endpoints` where that is wrong");
                    (name.clone(), origin)
                }
            };
            let own = self.variables.contains_key(&format!("{prefix}_TOKEN_VALUE"));
            let own = if own { self.credential(&prefix, &name) } else { None };
            let member = own.unwrap_or_else(|| {
                let reason = format!("gets the token of the primary for {name}");
                let hint = format!(
                    "backup servers share no users: set {prefix}_USER, {prefix}_TOKEN_NAME and \
                     {prefix}_TOKEN_VALUE if the same token does not exist there"
                );
                let origin = self.origin("PBS_CLUSTER_SUBNODES");
                self.warn(&origin, reason, hint);
                credential.copy()
            });
            let Some(address) = self.endpoint(&host, Product::Pbs, &host_origin) else { continue };
            if address != endpoint {
                members.push((name, address, member, host_origin));
            }
        }
        self.table(
            Product::Pbs,
            &cluster,
            remark,
            vec![endpoint],
            credential,
            origin,
            labels.clone(),
        );
        for (name, endpoint, credential, origin) in members {
            let remark = format!("{name} of PBS_CLUSTER_SUBNODES");
            let endpoints = vec![endpoint];
            self.table(Product::Pbs, &name, remark, endpoints, credential, origin, labels.clone());
        }
        true
    }

    fn primary(&mut self, product: Product) -> Option<(String, Origin, Credential)> {
        let prefix = format!("{}_CLUSTER_PRIMARY", product.prefix());
        let host = format!("{prefix}_HOST");
        let Some((address, origin)) = self.take(&host) else {
            let is_meant = product == Product::Pve
                && matches!(self.topology, Some(Topology::Clustered | Topology::Mixed));
            if is_meant {
                let reason = "is missing, though a cluster is declared";
                let hint = "set it to the address of one of the cluster's nodes";
                self.missing(&host, "LAB_CONFIGURATION", reason, hint);
            }
            return None;
        };
        let credential = self.credential(&prefix, "the primary")?;
        let endpoint = self.endpoint(&address, product, &origin)?;
        Some((endpoint, origin, credential))
    }

    fn cluster_name(&mut self, product: Product) -> (String, String) {
        let variable = format!("{}_CLUSTER_NAME", product.prefix());
        let remark = format!("{}_CLUSTER_…", product.prefix());
        match self.take(&variable) {
            Some((name, _)) => (name, remark),
            None => (format!("{}_cluster", product.section()), remark),
        }
    }

    fn credential(&mut self, prefix: &str, whose: &str) -> Option<Credential> {
        let user = self.take(&format!("{prefix}_USER"));
        let name = self.take(&format!("{prefix}_TOKEN_NAME"));
        let value = self.take(&format!("{prefix}_TOKEN_VALUE"));
        let mut missing = Vec::new();
        let is_whole = |text: &Option<(String, Origin)>| {
            text.as_ref().is_some_and(|(text, _)| text.contains('!'))
        };
        if user.is_none() && !is_whole(&name) {
            missing.push(format!("{prefix}_USER"));
        }
        if name.is_none() && !is_whole(&user) {
            missing.push(format!("{prefix}_TOKEN_NAME"));
        }
        if value.is_none() {
            missing.push(format!("{prefix}_TOKEN_VALUE"));
        }
        if let Some((last, others)) = missing.split_last() {
            let asks = format!("{prefix}_HOST");
            let hint = "the server logs in with an API token";
            let (names, verb) = match others {
                [] => (last.clone(), "is"),
                _ => (format!("{} and {last}", others.join(", ")), "are"),
            };
            self.missing(&names, &asks, format!("{verb} missing for {whose}"), hint);
            return None;
        }
        let (value, token_origin) = value?;
        let (id, id_origin) = match (user, name) {
            (_, Some((name, origin))) if name.contains('!') => (name, origin),
            (Some((user, origin)), _) if user.contains('!') => (user, origin),
            (Some((user, origin)), Some((name, _))) => {
                let user = self.with_realm(user, &origin);
                (format!("{user}!{name}"), origin)
            }
            _ => return None,
        };
        Some(Credential { token: bare_secret(&value, &id), id, id_origin, token_origin })
    }

    fn with_realm(&mut self, user: String, origin: &Origin) -> String {
        if user.contains('@') {
            return user;
        }
        self.warn(origin, "has no realm, so @pam is taken", "write it, for example root@pam");
        user + "@pam"
    }

    /// `https://host:port` of an address with or without scheme, port and path.
    fn endpoint(&mut self, host: &str, product: Product, origin: &Origin) -> Option<String> {
        let (scheme, rest) = host.split_once("://").unwrap_or(("", host));
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let authority = match authority.rsplit_once('@') {
            Some((_, authority)) => {
                self.warn(origin, "holds a user or password, which is dropped", "");
                authority
            }
            None => authority,
        };
        if scheme.eq_ignore_ascii_case("http") {
            self.warn(origin, "says http, so https is taken", "Proxmox answers over TLS only");
        }
        let (name, port) = match authority.strip_prefix('[') {
            Some(bracketed) => {
                let (address, after) = bracketed.split_once(']').unwrap_or((bracketed, ""));
                (format!("[{address}]"), after.strip_prefix(':'))
            }
            // More than one colon without brackets is an IPv6 address without a port.
            None if authority.matches(':').count() > 1 => (format!("[{authority}]"), None),
            None => match authority.split_once(':') {
                Some((name, port)) => (name.to_owned(), Some(port)),
                None => (authority.to_owned(), None),
            },
        };
        let port = match port {
            None | Some("") => Some(product.port()),
            Some(port) => port.parse().ok(),
        };
        let is_host = |c: char| c.is_ascii_alphanumeric() || "-._:%[]".contains(c);
        match port {
            Some(port) if !name.is_empty() && name != "[]" && name.chars().all(is_host) => {
                Some(format!("https://{}:{port}", name.to_ascii_lowercase()))
            }
            _ => {
                let hint = format!(
                    "write a host name or address, for example 192.0.2.10:{}",
                    product.port()
                );
                self.findings.error(origin, "", Complaint::new("is not an address", hint));
                None
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "private, and each is one key of the table")]
    fn table(
        &mut self,
        product: Product,
        name: &str,
        remark: String,
        endpoints: Vec<String>,
        credential: Credential,
        host_origin: Origin,
        labels: Vec<(&'static str, String)>,
    ) {
        let wanted = key_from(name);
        let is_taken = |key: &str, tables: &[Table]| tables.iter().any(|table| table.key == key);
        let mut key = wanted.clone();
        let mut number = 1;
        while is_taken(&key, &self.tables) {
            // Keys are at most 40 characters, so the tail gives way.
            let head: String = wanted.chars().take(32).collect();
            key = match number {
                1 => format!("{head}_{}", product.section()),
                _ => format!("{head}_{}{number}", product.section()),
            };
            number += 1;
        }
        if key != wanted {
            let reason = format!("is called {key} in the settings: {wanted} is taken");
            self.warn(&host_origin, reason, "");
        }
        self.tables.push(Table {
            product,
            key,
            remark,
            endpoints,
            token_id: credential.id,
            token: credential.token,
            insecure: self.insecure.clone(),
            labels,
            host_origin,
            id_origin: credential.id_origin,
            token_origin: credential.token_origin,
        });
    }
}

// === impl Credential ===

impl Credential {
    fn copy(&self) -> Self {
        Self {
            id: self.id.clone(),
            token: self.token.clone(),
            id_origin: self.id_origin.clone(),
            token_origin: self.token_origin.clone(),
        }
    }
}

/// The secret alone, where the whole header or the id was pasted with it.
fn bare_secret(value: &str, id: &str) -> SecretString {
    let value = value.strip_prefix("PVEAPIToken=").unwrap_or(value);
    let value = value.strip_prefix("PBSAPIToken=").unwrap_or(value);
    let after_id = value.strip_prefix(id).and_then(|rest| rest.strip_prefix(['=', ':']));
    SecretString::from(after_id.unwrap_or(value).to_owned())
}
