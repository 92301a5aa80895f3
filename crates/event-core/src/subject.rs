//! What an event is about: the part of the estate.

use std::fmt::Write as _;

use estate::{ClusterKey, DatastoreName, GuestKind, NodeName, StorageName, Upid, VmId};

/// What an event is about, as far as its source knows.
///
/// `cluster` is the key of the settings (`[pve.<key>]` or `[pbs.<key>]`): the identity that no
/// report can forge. Everything else is what the report says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// The settings key of the cluster, node or backup server.
    pub cluster: Option<ClusterKey>,
    /// The node.
    pub node: Option<NodeName>,
    /// What kind of guest.
    pub guest_kind: Option<GuestKind>,
    /// The guest's id.
    pub vmid: Option<VmId>,
    /// The guest's name.
    pub guest_name: Option<String>,
    /// The storage.
    pub storage: Option<StorageName>,
    /// The datastore of a backup server.
    pub datastore: Option<DatastoreName>,
    /// The namespace in it.
    pub namespace: Option<String>,
    /// The task.
    pub upid: Option<Upid>,
    /// The job, by the id that Proxmox gives it.
    pub job: Option<String>,
    /// The user.
    pub user: Option<String>,
}

// === impl Subject ===

impl Subject {
    /// For people: `lab/104 db-main`, `lab/alder`, `vault/main`; empty where nothing is known.
    pub fn label(&self) -> String {
        let mut label = String::new();
        let mut put = |part: &str| {
            if !label.is_empty() {
                label.push('/');
            }
            label.push_str(part);
        };
        if let Some(cluster) = &self.cluster {
            put(cluster.as_str());
        }
        if let Some(vmid) = self.vmid {
            put(&vmid.to_string());
        } else if let Some(datastore) = &self.datastore {
            put(datastore.as_str());
        } else if let Some(storage) = &self.storage {
            put(storage.as_str());
        } else if let Some(node) = &self.node {
            put(node.as_str());
        } else if let Some(job) = &self.job {
            put(job);
        }
        if let (Some(_), Some(name)) = (self.vmid, &self.guest_name) {
            // Writing to a string cannot fail.
            let _ = write!(label, " {name}");
        }
        label
    }

    /// What makes two subjects the same thing: the narrowest part that is known, in a written form
    /// (`lab/guest/104`, `vault/datastore/main`). A guest keeps its address when it moves, so the
    /// node is in it only where nothing narrower is.
    pub fn address(&self) -> String {
        let mut address =
            self.cluster.as_ref().map_or_else(|| "?".to_owned(), |key| key.as_str().to_owned());
        let mut put = |word: &str, part: &str| {
            // Writing to a string cannot fail.
            let _ = write!(address, "/{word}/{part}");
        };
        if let Some(vmid) = self.vmid {
            put("guest", &vmid.to_string());
        } else if let Some(datastore) = &self.datastore {
            put("datastore", datastore.as_str());
            if let Some(job) = &self.job {
                put("job", job);
            }
        } else if let Some(job) = &self.job {
            put("job", job);
        } else if let Some(storage) = &self.storage {
            if let Some(node) = &self.node {
                put("node", node.as_str());
            }
            put("storage", storage.as_str());
        } else if let Some(node) = &self.node {
            put("node", node.as_str());
        }
        address
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_part_names_it() {
        let mut subject = Subject {
            cluster: Some("lab".parse().unwrap()),
            node: Some("alder".parse().unwrap()),
            ..Subject::default()
        };
        assert_eq!(
            (subject.label().as_str(), subject.address().as_str()),
            ("lab/alder", "lab/node/alder")
        );
        subject.storage = Some("local".parse().unwrap());
        assert_eq!(subject.address(), "lab/node/alder/storage/local");
        subject.vmid = Some("104".parse().unwrap());
        subject.guest_name = Some("db-main".to_owned());
        assert_eq!(
            (subject.label().as_str(), subject.address().as_str()),
            ("lab/104 db-main", "lab/guest/104")
        );
        assert_eq!(Subject::default().address(), "?");
        assert_eq!(Subject::default().label(), "");
    }
}
