//! Completion: names of the estate while a person types.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use mcp_protocol::{CallContext, Completer, Completion, CompletionRef};

use crate::{app::Options, fleet::Fleet, reading, view::View};

/// Nobody waits longer for a suggestion.
const DEADLINE: Duration = Duration::from_secs(2);

/// Suggests clusters, nodes, guests, storages and datastores.
pub(crate) struct Suggestions {
    fleet: Arc<Fleet>,
    options: Arc<Options>,
}

// === impl Suggestions ===

impl Suggestions {
    pub(crate) fn new(fleet: Arc<Fleet>, options: Arc<Options>) -> Self {
        Self { fleet, options }
    }
}

/// What of the estate a caller may be told of.
struct Told(Arc<Fleet>);

// === impl Told ===

impl Told {
    async fn views(&self, cluster: Option<&str>) -> Vec<(String, View)> {
        let Ok(members) = self.0.pve(cluster) else { return Vec::new() };
        let gathered = self.0.gather(members, DEADLINE, View::load).await;
        gathered.answers.into_iter().map(|(member, view)| (member.key.to_string(), view)).collect()
    }

    /// Names of each cluster: bare where only one has them, else `cluster/name`.
    async fn names(
        &self,
        cluster: Option<&str>,
        of: impl Fn(View) -> BTreeSet<String>,
    ) -> Vec<String> {
        let views = self.views(cluster).await.into_iter();
        unambiguous(views.map(|(key, view)| (key, of(view))).collect())
    }

    async fn datastores(&self, cluster: Option<&str>) -> Vec<String> {
        let Ok(members) = self.0.pbs(cluster) else { return Vec::new() };
        let gathered = self.0.gather(members, DEADLINE, |member| async move {
            member.client.call(pbs_client::datastores::list()).await
        });
        let stores = gathered.await.answers.into_iter().flat_map(|(_, stores)| stores);
        stores.map(|store| store.name.to_string()).collect()
    }
}

#[async_trait]
impl Completer for Suggestions {
    async fn complete(
        &self,
        cx: &CallContext,
        _target: &CompletionRef,
        argument: &str,
        typed: &str,
        chosen: &BTreeMap<String, String>,
    ) -> Completion {
        let Ok(fleet) = reading::of_document(&self.options, cx, &self.fleet) else {
            return Completion::of(Vec::new());
        };
        let told = Told(fleet);
        let cluster = chosen.get("cluster").map(String::as_str).filter(|key| !key.is_empty());
        let all: Vec<String> = match argument {
            "cluster" => told.0.keys().map(|(key, _)| key.to_string()).collect(),
            "node" => {
                let names = |view: View| view.nodes.into_iter().map(|node| node.name.to_string());
                told.names(cluster, |view| names(view).collect()).await
            }
            "vmid" => {
                let views = told.views(cluster).await.into_iter();
                let guests = views.flat_map(|(_, view)| view.guests);
                guests.map(|guest| guest.at.vmid.to_string()).collect()
            }
            "guest" => {
                let views = told.views(cluster).await.into_iter();
                let guests = views.flat_map(|(_, view)| view.guests);
                guests.map(|guest| guest.at.to_string()).collect()
            }
            "storage" => {
                let names = |view: View| view.storages.into_iter().map(|it| it.name.to_string());
                told.names(cluster, |view| names(view).collect()).await
            }
            "datastore" => told.datastores(cluster).await,
            _ => Vec::new(),
        };
        Completion::of(matching(all, typed))
    }
}

/// Each name bare, or as `cluster/name` where several clusters have it.
fn unambiguous(clusters: Vec<(String, BTreeSet<String>)>) -> Vec<String> {
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    for name in clusters.iter().flat_map(|(_, names)| names) {
        *count.entry(name.clone()).or_default() += 1;
    }
    let all = clusters
        .into_iter()
        .flat_map(|(key, names)| names.into_iter().map(move |name| (key.clone(), name)));
    all.map(|(key, name)| if count[&name] > 1 { format!("{key}/{name}") } else { name }).collect()
}

/// What fits: names that begin with what was typed before names that contain it, each once.
fn matching(mut all: Vec<String>, typed: &str) -> Vec<String> {
    let typed = typed.to_ascii_lowercase();
    all.sort();
    all.dedup();
    all.retain(|name| name.to_ascii_lowercase().contains(&typed));
    all.sort_by_key(|name| !name.to_ascii_lowercase().starts_with(&typed));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings_come_first() {
        let all = ["web-1", "db-web", "web-1", "dns"].map(str::to_owned).to_vec();
        assert_eq!(matching(all.clone(), "WEB"), ["web-1", "db-web"]);
        assert_eq!(matching(all, ""), ["db-web", "dns", "web-1"]);
    }

    #[test]
    fn a_name_that_two_clusters_have_comes_with_its_cluster() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let all = vec![
            ("edge".to_owned(), names(&["alder"])),
            ("lab".to_owned(), names(&["alder", "birch"])),
        ];
        assert_eq!(unambiguous(all), ["edge/alder", "lab/alder", "birch"]);
    }
}
