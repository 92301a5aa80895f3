//! Levers of notifications.

use serde_json::json;

use super::Levers;
use crate::error::SimError;
use crate::notify::Notifying;
use crate::state::Home;

// === impl Levers ===

impl Levers {
    /// Lets a target say that it has sent its notifications, and send nothing.
    pub fn notifications_vanish(&self, target: &str, on: bool) -> Result<(), SimError> {
        self.notifying(target, |notifying| notifying.vanishes = on)
    }

    /// Puts an authority (PEM) into the trust store of a target's nodes.
    pub fn trust_authority(&self, target: &str, pem: &str) -> Result<(), SimError> {
        self.notifying(target, |notifying| notifying.trusted.push(pem.to_owned()))
    }

    /// Lets a backup job of a cluster, or a datastore of a backup server, mail its reports past the
    /// notification system: to this address, or as this user.
    pub fn legacy_mail(&self, target: &str, name: &str, to: &str) -> Result<(), SimError> {
        let missing = || SimError::BadLever(format!("{target} has nothing called {name:?}"));
        let home = self.home(target)?;
        let mut estate = self.inner().world.estate();
        match home {
            Home::Pve(at) => {
                let jobs = &mut estate.clusters[at].backup_jobs;
                let job = jobs.iter_mut().find(|job| job["id"] == name).ok_or_else(missing)?;
                job.insert("mailto".to_owned(), json!(to));
            }
            Home::Pbs(at) => {
                let store = estate.vaults[at].store_mut(name).ok_or_else(missing)?;
                store.notification.insert("notification-mode".to_owned(), json!("legacy-sendmail"));
                store.notification.insert("notify-user".to_owned(), json!(to));
            }
        }
        Ok(())
    }

    /// Writes a line into `/etc/vzdump.conf` of a node, such as `mailto`.
    pub fn vzdump_conf(
        &self,
        target: &str,
        node: &str,
        name: &str,
        value: &str,
    ) -> Result<(), SimError> {
        let missing = || SimError::BadLever(format!("{target} has no node called {node:?}"));
        let Home::Pve(at) = self.home(target)? else { return Err(missing()) };
        let mut estate = self.inner().world.estate();
        let nodes = &mut estate.clusters[at].nodes;
        let node = nodes.iter_mut().find(|known| known.name == node).ok_or_else(missing)?;
        node.host.vzdump.insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    /// Gives a backup server a job that writes a datastore to tape, and mails its reports past the notification system:
    /// as this user, or as `root@pam` where none is named.
    pub fn legacy_tape_job(
        &self,
        target: &str,
        id: &str,
        store: &str,
        user: Option<&str>,
    ) -> Result<(), SimError> {
        let missing = || SimError::BadLever(format!("{target} has no datastore {store:?}"));
        let Home::Pbs(at) = self.home(target)? else { return Err(missing()) };
        let mut estate = self.inner().world.estate();
        let vault = &mut estate.vaults[at];
        if vault.store(store).is_none() {
            return Err(missing());
        }
        let job = json!({
            "id": id, "store": store, "pool": "weekly", "drive": "lto", "schedule": "sat 04:00",
            "notification-mode": "legacy-sendmail",
        });
        let mut job = job.as_object().cloned().unwrap_or_default();
        job.extend(user.map(|user| ("notify-user".to_owned(), json!(user))));
        vault.tape_jobs.push(job);
        Ok(())
    }

    fn notifying(&self, target: &str, change: impl FnOnce(&mut Notifying)) -> Result<(), SimError> {
        let home = self.home(target)?;
        let mut estate = self.inner().world.estate();
        change(match home {
            Home::Pve(at) => &mut estate.clusters[at].notifying,
            Home::Pbs(at) => &mut estate.vaults[at].notifying,
        });
        Ok(())
    }
}
