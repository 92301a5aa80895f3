//! Levers of datastores and what is in them.

use super::Levers;
use crate::error::SimError;
use crate::state::{Datastore, Home};

// === impl Levers ===

impl Levers {
    /// Damages the newest snapshot of a group (`vm/100`) in a namespace (empty for the root): it
    /// cannot be restored, and the next verification that reads it fails.
    pub fn corrupt_backup(
        &self,
        target: &str,
        datastore: &str,
        namespace: &str,
        group: &str,
    ) -> Result<(), SimError> {
        let missing =
            || SimError::BadLever(format!("no backup of {group:?} in {datastore}/{namespace}"));
        self.datastore(target, datastore, |store| {
            let members = store.snapshots.iter_mut();
            let members = members.filter(|one| one.ns == namespace && one.group() == group);
            members.max_by_key(|one| one.time).ok_or_else(missing)?.corrupt = true;
            Ok(())
        })
    }

    /// Makes what a datastore no longer uses look as if it had been touched so many seconds earlier,
    /// so that a garbage collection may remove it.
    pub fn age_chunks(&self, target: &str, datastore: &str, secs: i64) -> Result<(), SimError> {
        self.datastore(target, datastore, |store| {
            store.garbage.iter_mut().for_each(|(_, touched)| *touched -= secs);
            Ok(())
        })
    }

    fn datastore(
        &self,
        target: &str,
        datastore: &str,
        change: impl FnOnce(&mut Datastore) -> Result<(), SimError>,
    ) -> Result<(), SimError> {
        let mut estate = self.inner().world.estate();
        let Some(Home::Pbs(at)) = estate.home(target) else {
            return Err(SimError::NoTarget(target.to_owned()));
        };
        let store = estate.vaults[at].store_mut(datastore);
        change(store.ok_or_else(|| SimError::BadLever(format!("no datastore {datastore:?}")))?)
    }
}
