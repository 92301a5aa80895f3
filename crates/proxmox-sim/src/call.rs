//! One request on its way through: authentication, permissions, parameters, handler.

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::auth;
use crate::config::PveRelease;
use crate::error::SimError;
use crate::http::{Answer, Fault, Incoming, Upload};
use crate::schema::{Clause, Kind, Method, Permission, Table, check};
use crate::state::access::{Grants, Principal, Rights};
use crate::state::{Cluster, Estate, GuestKind, Home, Vault};

/// A handler: everything synchronous, under the lock of the estate.
pub(crate) type Handler = fn(&mut Call<'_>) -> Answer;

/// Pairs of verb and path with their handler.
pub(crate) type Handlers = &'static [(&'static str, &'static str, Handler)];

/// The methods of both products with their handlers and published schemas.
pub(crate) struct Books {
    pub(crate) pve: Book,
    pub(crate) pbs: Book,
}

/// The methods of one product.
pub(crate) struct Book {
    pub(crate) table: Table,
    handlers: Vec<Option<Handler>>,
    release: Option<PveRelease>,
    apidoc: OnceLock<Bytes>,
}

/// A request that is allowed and whose parameters are right.
pub(crate) struct Call<'a> {
    pub(crate) estate: &'a mut Estate,
    /// Index of the cluster or backup server.
    pub(crate) home: usize,
    /// The node that took the request.
    pub(crate) local: usize,
    /// The node named in the path, else the local one.
    pub(crate) node: usize,
    pub(crate) who: Principal,
    pub(crate) grants: Grants,
    pub(crate) path: Vec<(String, String)>,
    pub(crate) params: Map<String, Value>,
    pub(crate) upload: Option<Upload>,
    pub(crate) auth_delay: Duration,
}

/// How the reply goes out, which the method decides.
pub(crate) struct Ticket {
    pub(crate) answer: Answer,
    /// A root worker ran it.
    pub(crate) protected: bool,
}

// === impl Books ===

impl Books {
    pub(crate) fn new(release: PveRelease) -> Result<Self, SimError> {
        let pve = Table::parse(include_str!("schema/pve.txt"))?;
        let pbs = Table::parse(include_str!("schema/pbs.txt"))?;
        Ok(Self {
            pve: Book::new(pve, crate::pve::HANDLERS, Some(release)),
            pbs: Book::new(pbs, crate::pbs::HANDLERS, None),
        })
    }
}

// === impl Book ===

impl Book {
    fn new(table: Table, handlers: &[Handlers], release: Option<PveRelease>) -> Self {
        let find = |method: &Method| {
            let mut all = handlers.iter().flat_map(|list| list.iter());
            all.find(|(verb, path, _)| *verb == method.verb && *path == method.path)
                .map(|(_, _, handler)| *handler)
        };
        let found = table.methods.iter().map(find).collect();
        Self { table, handlers: found, release, apidoc: OnceLock::new() }
    }

    /// The schema as the server publishes it, written when it is first asked for: at the start it
    /// would take longer than all else.
    pub(crate) fn apidoc(&self) -> Bytes {
        let written = || crate::schema::apidoc(&self.table, self.release).into();
        self.apidoc.get_or_init(written).clone()
    }

    /// Methods without a handler, for the test that there are none.
    #[cfg(test)]
    fn unhandled(&self) -> Vec<String> {
        let methods = self.table.methods.iter().zip(&self.handlers);
        let missing = methods.filter(|(_, handler)| handler.is_none());
        missing.map(|(method, _)| format!("{} {}", method.verb, method.path)).collect()
    }
}

/// Answers a request to a PVE node.
pub(crate) fn pve(
    book: &Book,
    estate: &mut Estate,
    home: usize,
    request: Incoming,
    auth_delay: Duration,
) -> Ticket {
    let refuse = |fault: Fault| Ticket { answer: Err(fault), protected: false };
    let shown = format!("/{}", request.path.join("/"));
    let release = estate.release;
    let found = book.table.find(&request.verb, &request.path).filter(|(at, _)| {
        let method = &book.table.methods[*at];
        (release.is_9() || !method.since_9) && book.handlers[*at].is_some()
    });
    let world = found
        .as_ref()
        .is_some_and(|(at, _)| matches!(book.table.methods[*at].permission, Permission::World));
    let proof = match auth::identify(&estate.clusters[home].access, &request, estate.seconds()) {
        Ok(proof) => Some(proof),
        Err(_) if world => None,
        Err(refused) => return refuse(Fault::bare(401, refused.0).after(auth_delay)),
    };
    let Some((at, path)) = found else {
        return refuse(Fault::new(
            501,
            format!("Method '{} {shown}' not implemented", request.verb),
        ));
    };
    let method = &book.table.methods[at];
    if method.ticket && matches!(proof, Some(auth::Proof::Token(_))) {
        return refuse(Fault::new(
            403,
            "Permission check failed - API tokens are not allowed here",
        ));
    }
    let who = proof.map_or_else(
        || Principal { user: String::new(), token: None },
        |proof| proof.principal().clone(),
    );
    let grants = estate.clusters[home].access.grants(&who);
    let pools = |path: &str| estate.clusters[home].pools_of(path);
    if let Err(fault) = permitted(method, &path, &request.params, &grants, release, &pools) {
        return refuse(fault);
    }
    let local = request.node;
    let mut node = local;
    if let Some((_, name)) = path.iter().find(|(key, _)| key == "node") {
        let cluster = &estate.clusters[home];
        match cluster.node(name) {
            _ if name == "localhost" => {}
            None => {
                return refuse(Fault::internal(format!(
                    "hostname lookup '{name}' failed - failed to get address info for: {name}: Temporary failure in name resolution"
                )));
            }
            Some(found) if !cluster.nodes[found].online => {
                return refuse(Fault::bare(595, "Connection refused"));
            }
            Some(found) => node = found,
        }
    }
    if let Some((_, vmid)) = path.iter().find(|(key, _)| key == "vmid") {
        let kind = Kind::Int { min: Some(100), max: Some(999_999_999) };
        if let Err(text) = check::pve_value(&kind, "vmid", Value::from(vmid.as_str())) {
            return refuse(Fault::param("vmid", text));
        }
    }
    let params = match check::pve(&method.params, request.params) {
        Ok(params) => params,
        Err(errors) => return refuse(Fault::params(errors)),
    };
    let Some(handler) = book.handlers[at] else {
        return refuse(Fault::new(
            501,
            format!("Method '{} {shown}' not implemented", method.verb),
        ));
    };
    let mut call = Call {
        estate,
        home,
        local,
        node,
        who,
        grants,
        path,
        params,
        upload: request.upload,
        auth_delay,
    };
    Ticket {
        answer: handler(&mut call),
        protected: method.protected || (method.node && node != local),
    }
}

/// Answers a request to a backup server.
pub(crate) fn pbs(
    book: &Book,
    estate: &mut Estate,
    home: usize,
    request: Incoming,
    auth_delay: Duration,
) -> Answer {
    let shown = format!("/api2/json/{}", request.path.join("/"));
    let found = book
        .table
        .find(&request.verb, &request.path)
        .filter(|(at, _)| book.handlers[*at].is_some());
    let world = found
        .as_ref()
        .is_some_and(|(at, _)| matches!(book.table.methods[*at].permission, Permission::World));
    let proof = match auth::identify(&estate.vaults[home].access, &request, estate.seconds()) {
        Ok(proof) => Some(proof),
        Err(_) if world => None,
        Err(_) => return Err(Fault::new(401, "authentication failed").after(auth_delay)),
    };
    let Some((at, path)) = found else {
        return Err(Fault::new(404, format!("Path '{shown}' not found.")));
    };
    let method = &book.table.methods[at];
    let who = proof.map_or_else(
        || Principal { user: String::new(), token: None },
        |proof| proof.principal().clone(),
    );
    let grants = estate.vaults[home].access.grants(&who);
    let own = path.iter().any(|(key, value)| key == "userid" && *value == who.user);
    if !own
        && permitted(method, &path, &request.params, &grants, PveRelease::V9_2, &|_| Vec::new())
            .is_err()
    {
        return Err(Fault::new(403, "permission check failed"));
    }
    let params = check::pbs(&method.params, request.params, request.shape).map_err(|errors| {
        let shown: Vec<String> =
            errors.iter().map(|(name, text)| format!("'{name}': {text}")).collect();
        match shown.as_slice() {
            [one] => Fault::bad(format!("parameter verification failed - {one}")),
            many => Fault::bad(format!("parameter verification errors\n\n{}\n", many.join("\n"))),
        }
    })?;
    let Some(handler) = book.handlers[at] else {
        return Err(Fault::new(404, format!("Path '{shown}' not found.")));
    };
    let mut call = Call {
        estate,
        home,
        local: 0,
        node: 0,
        who,
        grants,
        path,
        params,
        upload: None,
        auth_delay,
    };
    handler(&mut call)
}

/// Checks the permission that the table declares.
fn permitted(
    method: &Method,
    path: &[(String, String)],
    params: &Map<String, Value>,
    grants: &Grants,
    release: PveRelease,
    pools: &dyn Fn(&str) -> Vec<String>,
) -> Result<(), Fault> {
    let groups = match &method.permission {
        Permission::World | Permission::All => return Ok(()),
        Permission::Superuser if grants.is_root() => return Ok(()),
        Permission::Superuser => return Err(Fault::new(403, "Permission check failed")),
        Permission::Clauses(groups) => groups,
    };
    for group in groups {
        let mut failed = None;
        let mut good = false;
        for clause in group {
            match holds(clause, path, params, grants, release, pools) {
                Ok(()) => good = true,
                Err(text) => failed = failed.or(Some(text)),
            }
        }
        if !good {
            let bare = "Permission check failed".to_owned();
            let text = if group.len() == 1 { failed.unwrap_or(bare) } else { bare };
            return Err(Fault::new(403, text));
        }
    }
    Ok(())
}

fn holds(
    clause: &Clause,
    path: &[(String, String)],
    params: &Map<String, Value>,
    grants: &Grants,
    release: PveRelease,
    pools: &dyn Fn(&str) -> Vec<String>,
) -> Result<(), String> {
    let mut at = String::new();
    let mut rest = clause.path.as_str();
    while let Some((before, (name, after))) =
        rest.split_once('{').and_then(|(before, tail)| Some((before, tail.split_once('}')?)))
    {
        let given = path.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let given = given.or_else(|| match params.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        });
        let Some(value) = given else { return Err("Permission check failed".to_owned()) };
        at.push_str(before);
        at.push_str(&value);
        rest = after;
    }
    at.push_str(rest);
    let old =
        !release.is_9() && clause.privileges.iter().any(|name| name.starts_with("VM.GuestAgent"));
    let monitor = vec!["VM.Monitor".to_owned()];
    let privileges = if old { &monitor } else { &clause.privileges };
    let mask = grants.rights(&at, &pools(&at)).mask;
    let has = |name: &String| mask & crate::state::access::bit(name) != 0;
    if clause.any {
        if privileges.iter().any(has) {
            return Ok(());
        }
        return Err(format!("Permission check failed ({at}, {})", privileges.join("|")));
    }
    match privileges.iter().find(|name| !has(name)) {
        None => Ok(()),
        Some(missing) => Err(format!("Permission check failed ({at}, {missing})")),
    }
}

// === impl Call ===

impl Call<'_> {
    pub(crate) fn cluster(&self) -> &Cluster {
        &self.estate.clusters[self.home]
    }

    pub(crate) fn cluster_mut(&mut self) -> &mut Cluster {
        &mut self.estate.clusters[self.home]
    }

    pub(crate) fn vault(&self) -> &Vault {
        &self.estate.vaults[self.home]
    }

    pub(crate) fn vault_mut(&mut self) -> &mut Vault {
        &mut self.estate.vaults[self.home]
    }

    pub(crate) fn pve(&self) -> Home {
        Home::Pve(self.home)
    }

    pub(crate) fn pbs(&self) -> Home {
        Home::Pbs(self.home)
    }

    /// A parameter in the path; empty if the path has none of that name.
    pub(crate) fn arg(&self, name: &str) -> &str {
        self.path.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    pub(crate) fn vmid(&self) -> u32 {
        self.arg("vmid").parse().unwrap_or(0)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.params.get(name).and_then(Value::as_str)
    }

    pub(crate) fn int(&self, name: &str) -> Option<i64> {
        self.params.get(name).and_then(Value::as_i64)
    }

    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        self.params.get(name).and_then(Value::as_bool)
    }

    /// Fails unless the caller has the privilege.
    pub(crate) fn need(&self, path: &str, privilege: &str) -> Result<(), Fault> {
        if self.may(path, privilege) {
            return Ok(());
        }
        Err(Fault::new(403, format!("Permission check failed ({path}, {privilege})")))
    }

    /// Whether the caller has the privilege, pools considered.
    pub(crate) fn may(&self, path: &str, privilege: &str) -> bool {
        self.rights(path).mask & crate::state::access::bit(privilege) != 0
    }

    /// The caller's privileges on a path of a cluster, pools considered.
    pub(crate) fn rights(&self, path: &str) -> Rights {
        self.grants.rights(path, &self.cluster().pools_of(path))
    }

    /// The kind of guest that the path speaks of.
    pub(crate) fn kind(&self, kind: GuestKind) -> Result<u32, Fault> {
        let vmid = self.vmid();
        let cluster = self.cluster();
        if cluster.guest_on(vmid, kind, self.node).is_some() {
            return Ok(vmid);
        }
        Err(Fault::internal(missing(&cluster.nodes[self.node].name, kind, vmid)))
    }
}

/// How PVE says that a guest is not on a node.
pub(crate) fn missing(node: &str, kind: GuestKind, vmid: u32) -> String {
    format!("Configuration file 'nodes/{node}/{}/{vmid}.conf' does not exist", kind.folder())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_a_handler() {
        let books = Books::new(PveRelease::V9_2).unwrap();
        assert_eq!(books.pve.unhandled(), Vec::<String>::new());
        assert_eq!(books.pbs.unhandled(), Vec::<String>::new());
    }
}
