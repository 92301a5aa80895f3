//! How what is seen at a look is, for whoever keeps the live state: nodes, guests and storages.
//!
//! Pure. What is there and does not tell is named without a word, so that it is known to be there.

use estate::ClusterKey;
use event_core::live::{Fact, Key, Part, What};
use pbs_client::datastores::DatastoreUsage;
use pve_client::cluster::{Resource, ResourceKind};
use rules::{Estate, Work};

use super::view::{Sighting, State};

/// The nodes, guests and storages of a cluster; each list is whole.
pub(super) fn of_cluster(
    cluster: &ClusterKey,
    resources: &[Resource],
    guests: &[Sighting],
) -> Vec<Part> {
    vec![
        Part { what: What::Node, facts: nodes(cluster, resources) },
        Part { what: What::Guest, facts: of_guests(cluster, guests) },
        Part { what: What::Storage, facts: storages(cluster, resources) },
    ]
}

fn nodes(cluster: &ClusterKey, resources: &[Resource]) -> Vec<Fact> {
    let rows = resources.iter().filter(|row| row.kind == ResourceKind::Node);
    rows.filter_map(|row| {
        let key = Key::new(What::Node, cluster, row.node.as_ref()?.as_str(), "state");
        Some(Fact::of(key, word(&row.status)))
    })
    .collect()
}

fn of_guests(cluster: &ClusterKey, guests: &[Sighting]) -> Vec<Fact> {
    let mut facts = Vec::new();
    for guest in guests {
        let vmid = guest.vmid.to_string();
        let key = |word| Key::new(What::Guest, cluster, &vmid, word);
        let state = guest.state.map(|state| match state {
            State::Running => "running".to_owned(),
            State::Stopped => "stopped".to_owned(),
        });
        let label = guest.name.clone().unwrap_or_default();
        facts.push(Fact::of(key("state"), state).named(&label));
        facts.push(Fact::of(key("node"), Some(guest.node.to_string())).named(&label));
    }
    facts
}

fn storages(cluster: &ClusterKey, resources: &[Resource]) -> Vec<Fact> {
    let mut facts: Vec<Fact> = Vec::new();
    for row in resources.iter().filter(|row| row.kind == ResourceKind::Storage) {
        let (Some(storage), Some(node)) = (&row.storage, &row.node) else { continue };
        let name = if row.shared { storage.to_string() } else { format!("{node}/{storage}") };
        let key = |word| Key::new(What::Storage, cluster, &name, word);
        let fill = fill(row.disk_bytes, row.max_disk_bytes);
        for (word, value) in [("state", word(&row.status)), ("fill", fill)] {
            let fact = Fact::of(key(word), value);
            // One that all nodes share is as whoever sees it says.
            match facts.iter_mut().find(|it| it.key == fact.key) {
                Some(known) if known.value.is_none() => *known = fact,
                Some(_) => {}
                None => facts.push(fact),
            }
        }
    }
    facts
}

/// How full the datastores of a server are.
pub(super) fn datastores(cluster: &ClusterKey, usages: &[DatastoreUsage]) -> Part {
    let facts = usages.iter().map(|usage| {
        let key = Key::new(What::Datastore, cluster, usage.name.as_str(), "fill");
        Fact::of(key, fill(usage.used_bytes, usage.total_bytes))
    });
    Part { what: What::Datastore, facts: facts.collect() }
}

/// When which jobs run next.
pub(super) fn jobs(cluster: &ClusterKey, estate: &Estate) -> Part {
    let facts = estate.jobs.iter().map(|job| {
        let subject = &job.subject;
        let datastore = subject.datastore.as_ref().map(ToString::to_string);
        let name = job_name(job.work, subject.job.as_deref(), datastore.as_deref());
        Fact::of(Key::new(What::Job, cluster, &name, "next"), Some(job.next.to_string()))
    });
    Part { what: What::Job, facts: facts.collect() }
}

fn job_name(work: Work, job: Option<&str>, datastore: Option<&str>) -> String {
    let of = job.or(datastore).unwrap_or_default();
    format!("{} {of}", work.as_str())
}

fn word(status: &str) -> Option<String> {
    (!status.is_empty() && status != "unknown").then(|| status.to_owned())
}

fn fill(used: Option<u64>, total: Option<u64>) -> Option<String> {
    let total = total.filter(|total| *total > 0)?;
    Some(format!("{:.1} %", used? as f64 * 100.0 / total as f64))
}
