//! Copies that sync jobs make: where they come from, where they land, and what lies there.
//!
//! A copy belongs to the place that its job reads from; where the job's other end is not a server of
//! the settings, what lies in its target belongs to nobody that is known.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use estate::DatastoreName;
use futures::future::join_all;
use pbs_client::{
    jobs::{self, SyncJob},
    namespaces,
    remotes::{self, Remote},
    snapshots::{self, Snapshot},
};

use crate::{
    fleet::{Fleet, GATHER_DEADLINE, Pbs},
    report::Unreachable,
    tools::backups::Place,
};

/// A namespace of a datastore of a server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    /// The server's settings key.
    pub(super) server: String,
    pub(super) store: String,
    /// Empty for the root.
    pub(super) namespace: String,
}

/// What a sync job copies, from where to where; an end that is not in the settings is a sentence.
pub(super) struct Route {
    /// `vault/main-to-archive`.
    pub(super) job: String,
    pub(super) source: Result<At, String>,
    pub(super) target: Result<At, String>,
    depth: Option<u32>,
}

/// All routes, and what is not known of them.
#[derive(Default)]
pub(super) struct Routes {
    pub(super) all: Vec<Route>,
    pub(super) notes: Vec<String>,
    pub(super) unreachable: Vec<Unreachable>,
}

/// What lies in some datastores.
#[derive(Default)]
pub(super) struct Index {
    /// By place, every snapshot.
    pub(super) places: BTreeMap<At, Vec<Snapshot>>,
    /// Server and datastore of which everything was read.
    pub(super) complete: BTreeSet<(String, String)>,
    pub(super) notes: Vec<String>,
    pub(super) unreachable: Vec<Unreachable>,
}

// === impl At ===

impl At {
    pub(super) fn of(place: &Place) -> Self {
        Self {
            server: place.server.key.to_string(),
            store: place.store.to_string(),
            namespace: place.namespace.clone(),
        }
    }

    /// `vault:main/lab`, as answers call it.
    pub(super) fn label(&self) -> String {
        let slash = if self.namespace.is_empty() { "" } else { "/" };
        format!("{}:{}{slash}{}", self.server, self.store, self.namespace)
    }
}

// === impl Route ===

impl Route {
    fn of(fleet: &Fleet, server: &Pbs, job: &SyncJob, remotes: Option<&[Remote]>) -> Self {
        let key = server.key.to_string();
        let here = At {
            server: key.clone(),
            store: job.datastore.to_string(),
            namespace: job.namespace.clone().unwrap_or_default(),
        };
        let there = match &job.remote {
            None => Ok(key.clone()),
            Some(name) => far_end(fleet, &key, name, remotes),
        };
        let there = there.map(|server| At {
            server,
            store: job.remote_datastore.clone().unwrap_or_default(),
            namespace: job.remote_namespace.clone().unwrap_or_default(),
        });
        let (source, target) = match job.direction.as_deref() {
            Some("push") => (Ok(here), there),
            _ => (there, Ok(here)),
        };
        Self { job: format!("{key}/{}", job.id), source, target, depth: job.max_depth }
    }

    /// Where copies of what lies at `place` land, if this job takes it.
    pub(super) fn lands(&self, place: &At) -> Option<At> {
        let (Ok(source), Ok(target)) = (&self.source, &self.target) else { return None };
        if (&source.server, &source.store) != (&place.server, &place.store) {
            return None;
        }
        let rest = below(&place.namespace, &source.namespace)?;
        let levels = rest.split('/').filter(|part| !part.is_empty()).count();
        if self.depth.is_some_and(|depth| levels > depth as usize) {
            return None;
        }
        let namespace = match (target.namespace.as_str(), rest) {
            (top, "") => top.to_owned(),
            ("", rest) => rest.to_owned(),
            (top, rest) => format!("{top}/{rest}"),
        };
        Some(At { server: target.server.clone(), store: target.store.clone(), namespace })
    }

    /// Whether the job writes into this place.
    pub(super) fn writes(&self, place: &At) -> bool {
        let Ok(target) = &self.target else { return false };
        (&target.server, &target.store) == (&place.server, &place.store)
            && below(&place.namespace, &target.namespace).is_some()
    }
}

/// What of a namespace is left below another, which it may be itself.
fn below<'a>(name: &'a str, top: &str) -> Option<&'a str> {
    if top.is_empty() {
        return Some(name);
    }
    let rest = name.strip_prefix(top)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

/// The server of the settings that a remote is.
fn far_end(
    fleet: &Fleet,
    key: &str,
    name: &str,
    remotes: Option<&[Remote]>,
) -> Result<String, String> {
    let Some(remotes) = remotes else {
        return Err(format!("{key}: the token may not see where remote {name} is"));
    };
    let Some(remote) = remotes.iter().find(|remote| remote.name == name) else {
        return Err(format!("{key}: the token does not see remote {name} (Remote.Audit)"));
    };
    match fleet.pbs_at(&remote.host, remote.port).as_slice() {
        [server] => Ok(server.key.to_string()),
        [] => Err(format!("remote {name} of {key} is not in the settings")),
        _ => Err(format!("remote {name} of {key} could be several servers of the settings")),
    }
}

/// Reads the sync jobs of all backup servers.
pub(super) async fn routes(fleet: &Fleet) -> Routes {
    let mut out = Routes::default();
    let Ok(members) = fleet.pbs(None) else { return out };
    let ask = |member: Arc<Pbs>| async move {
        let (jobs, remotes) = futures::join!(
            member.client.call(jobs::sync_jobs(None)),
            member.client.call(remotes::list()),
        );
        Ok((jobs?, remotes.ok()))
    };
    let gathered = fleet.gather(members, GATHER_DEADLINE, ask).await;
    for (member, (jobs, remotes)) in &gathered.answers {
        for job in jobs {
            let route = Route::of(fleet, member, job, remotes.as_deref());
            if let Err(why) = &route.source {
                out.notes
                    .push(format!("sync job {}: {why}; what it brings is unattributed", route.job));
            }
            if let Err(why) = &route.target {
                out.notes.push(format!("sync job {}: {why}; its copies are not seen", route.job));
            }
            out.all.push(route);
        }
    }
    for (key, why) in &gathered.refused {
        out.notes.push(format!("{key}: sync jobs are not seen: {why}"));
    }
    out.unreachable = gathered.unreachable;
    out
}

/// Reads every namespace of the datastores that `wanted` says, on all backup servers.
pub(super) async fn index(fleet: &Fleet, wanted: impl Fn(&str, &str) -> bool) -> Index {
    let mut out = Index::default();
    let Ok(members) = fleet.pbs(None) else { return out };
    let now = fleet.now();
    let ask = |member: Arc<Pbs>| {
        let wanted = &wanted;
        async move {
            let stores = member.client.call(pbs_client::datastores::list()).await?;
            let stores: Vec<DatastoreName> = stores
                .into_iter()
                .map(|store| store.name)
                .filter(|name| wanted(member.key.as_str(), name.as_str()))
                .collect();
            let held = member.permissions(now).await.ok();
            let read = join_all(stores.into_iter().map(|store| {
                let member = &member;
                async move { (read_store(member, &store).await, store) }
            }));
            Ok((read.await, held))
        }
    };
    let gathered = fleet.gather(members, GATHER_DEADLINE, ask).await;
    for (member, (stores, held)) in gathered.answers {
        let key = member.key.to_string();
        for (answer, store) in stores {
            let (spaces, mut is_whole) = match answer {
                Ok(answer) => answer,
                Err(error) => {
                    let why = stdx::Chain(&error);
                    out.notes.push(format!("{key}:{store} is not seen: {why}"));
                    continue;
                }
            };
            for (namespace, list) in spaces {
                let at = At { server: key.clone(), store: store.to_string(), namespace };
                // Without it the server lists, and without a word, only what the token itself made.
                let slash = if at.namespace.is_empty() { "" } else { "/" };
                let path = format!("/datastore/{store}{slash}{}", at.namespace);
                is_whole &= held.as_ref().is_some_and(|held| held.has(&path, "Datastore.Audit"));
                match list {
                    Ok(list) => drop(out.places.insert(at, list)),
                    Err(error) => {
                        is_whole = false;
                        out.notes.push(format!(
                            "{} is not seen: {}",
                            at.label(),
                            stdx::Chain(&error)
                        ));
                    }
                }
            }
            if is_whole {
                out.complete.insert((key.clone(), store.to_string()));
            } else {
                out.notes.push(format!(
                    "{key}: the token is not known to hold Datastore.Audit on all of {store}, so some copies may be missing"
                ));
            }
        }
    }
    for (key, why) in &gathered.refused {
        out.notes.push(format!("{key}: its backups are not seen: {why}"));
    }
    out.unreachable = gathered.unreachable;
    out
}

type Spaces = Vec<(String, Result<Vec<Snapshot>, api_core::Error>)>;

/// Every namespace of a datastore, and whether the list of them is whole.
async fn read_store(
    member: &Pbs,
    store: &DatastoreName,
) -> Result<(Spaces, bool), api_core::Error> {
    let found = member.client.call(namespaces::list(store, None, None)).await?;
    let asked = found.into_iter().map(|namespace| async move {
        let name = Some(namespace.name.as_str()).filter(|name| !name.is_empty());
        let answer = member.client.call(snapshots::list(store, name)).await;
        (namespace.name.clone(), answer)
    });
    let spaces: Spaces = join_all(asked).await;
    let has_root = spaces.iter().any(|(name, _)| name.is_empty());
    Ok((spaces, has_root))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(store: &str, namespace: &str) -> At {
        At { server: "vault".into(), store: store.into(), namespace: namespace.into() }
    }

    #[test]
    fn a_copy_lands_below_the_targets_namespace() {
        let route = |from: &str, to: &str, depth| Route {
            job: "vault/j".into(),
            source: Ok(at("main", from)),
            target: Ok(at("copy", to)),
            depth,
        };
        for (from, to, depth, place, lands) in [
            ("", "", None, "lab", Some("lab")),
            ("", "far", None, "lab/db", Some("far/lab/db")),
            ("lab", "", None, "lab", Some("")),
            ("lab", "far", None, "labor", None),
            ("lab", "far", Some(0), "lab/db", None),
            ("", "far", Some(1), "lab", Some("far/lab")),
        ] {
            let got = route(from, to, depth).lands(&at("main", place));
            assert_eq!(got, lands.map(|ns| at("copy", ns)), "{from} {to} {depth:?} {place}");
        }
        assert!(route("", "far", None).writes(&at("copy", "far/lab")));
        assert!(!route("", "far", None).writes(&at("copy", "farther")));
        assert_eq!(route("", "", None).lands(&at("other", "lab")), None);
    }
}
