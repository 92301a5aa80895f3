//! Levers of guests: what they show, what they hold, and where they cannot go.

use serde_json::Value;

use super::Levers;
use crate::error::SimError;
use crate::state::{Guest, Home, Snapshot};

// === impl Levers ===

impl Levers {
    fn guest<T>(
        &self,
        target: &str,
        vmid: u32,
        change: impl FnOnce(&mut Guest) -> T,
    ) -> Result<T, SimError> {
        let mut estate = self.inner().world.estate();
        let Some(Home::Pve(at)) = estate.home(target) else {
            return Err(SimError::NoTarget(target.to_owned()));
        };
        let guest = estate.clusters[at].guests.get_mut(&vmid);
        let guest = guest.ok_or_else(|| SimError::BadLever(format!("no guest {vmid}")))?;
        Ok(change(guest))
    }

    /// What the guest's text console shows, before its prompt, to whoever opens it.
    pub fn console_text(&self, target: &str, vmid: u32, text: &str) -> Result<(), SimError> {
        self.guest(target, vmid, |guest| text.clone_into(&mut guest.screen))
    }

    /// How many consoles of a guest (by its id) or of a node (by its name) were opened since they were last ended.
    pub fn open_consoles(&self, target: &str, whose: &str) -> Result<usize, SimError> {
        self.cluster(target, |cluster| Ok(cluster.screen(whose).receiver_count()))
    }

    /// Shows a text on every open console of a guest or node, as its system does; line ends are its own.
    pub fn console_shows(&self, target: &str, whose: &str, text: &str) -> Result<(), SimError> {
        // Nobody may watch.
        self.cluster(target, |cluster| {
            let _ = cluster.screen(whose).send(Some(text.to_owned()));
            Ok(())
        })
    }

    /// Ends every open console of a guest or node.
    pub fn consoles_end(&self, target: &str, whose: &str) -> Result<(), SimError> {
        self.cluster(target, |cluster| {
            cluster.end_screen(whose);
            Ok(())
        })
    }

    /// Adds a line to the cluster's log, as a daemon of a node does.
    pub fn cluster_log_line(
        &self,
        target: &str,
        node: &str,
        user: &str,
        tag: &str,
        priority: u8,
        text: &str,
    ) -> Result<(), SimError> {
        let mut estate = self.inner().world.estate();
        let now = estate.seconds();
        let Some(Home::Pve(at)) = estate.home(target) else {
            return Err(SimError::NoTarget(target.to_owned()));
        };
        estate.clusters[at].note(now, node, user, tag, priority, text);
        Ok(())
    }

    /// Ends a guest without a task, as when it shuts itself down.
    pub fn guest_ends(&self, target: &str, vmid: u32) -> Result<(), SimError> {
        self.guest(target, vmid, Guest::stops)
    }

    /// Sets an option of a guest, past every check; null takes it away.
    pub fn set_option(
        &self,
        target: &str,
        vmid: u32,
        key: &str,
        value: Value,
    ) -> Result<(), SimError> {
        self.guest(target, vmid, |guest| {
            if value.is_null() {
                guest.config.shift_remove(key);
            } else {
                guest.config.insert(key.to_owned(), value);
            }
        })
    }

    /// Gives a guest a snapshot made so many seconds ago of what it is now.
    pub fn add_snapshot(
        &self,
        target: &str,
        vmid: u32,
        name: &str,
        secs_ago: i64,
    ) -> Result<(), SimError> {
        let now = self.inner().world.estate().seconds();
        self.guest(target, vmid, |guest| {
            let parent = guest.parent.replace(name.to_owned());
            guest.snapshots.push(Snapshot {
                name: name.to_owned(),
                description: String::new(),
                time: now - secs_ago,
                parent,
                vmstate: false,
                config: guest.config.clone(),
            });
        })
    }

    /// Makes a storage of another sort, such as `zfspool`.
    pub fn storage_type(
        &self,
        target: &str,
        storage: &str,
        plugin: &'static str,
    ) -> Result<(), SimError> {
        let mut estate = self.inner().world.estate();
        let Some(Home::Pve(at)) = estate.home(target) else {
            return Err(SimError::NoTarget(target.to_owned()));
        };
        let found = estate.clusters[at].storage_mut(storage);
        found.ok_or_else(|| SimError::BadLever(format!("no storage {storage:?}")))?.plugin = plugin;
        Ok(())
    }

    /// Sets an option of a storage, such as `snapshot-as-volume-chain`.
    pub fn storage_option(
        &self,
        target: &str,
        storage: &str,
        key: &str,
        value: Value,
    ) -> Result<(), SimError> {
        let mut estate = self.inner().world.estate();
        let Some(Home::Pve(at)) = estate.home(target) else {
            return Err(SimError::NoTarget(target.to_owned()));
        };
        let found = estate.clusters[at].storage_mut(storage);
        let found = found.ok_or_else(|| SimError::BadLever(format!("no storage {storage:?}")))?;
        found.options.insert(key.to_owned(), value);
        Ok(())
    }

    /// Takes a storage from a node, as far as moves of guests go.
    pub fn bar_moves(&self, target: &str, node: &str, storage: &str) -> Result<(), SimError> {
        let mut estate = self.inner().world.estate();
        let Some(Home::Pve(at)) = estate.home(target) else {
            return Err(SimError::NoTarget(target.to_owned()));
        };
        estate.clusters[at].barred.insert(node.to_owned(), storage.to_owned());
        Ok(())
    }
}
