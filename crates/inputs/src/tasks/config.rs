//! Settings of the tasks input.

use std::{collections::BTreeSet, time::Duration};

use estate::VmId;

use super::diff::Patience;
use crate::Identity;

/// Settings of the tasks input.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Whose tasks and states they are; its cluster is the settings key of the cluster or server.
    pub identity: Identity,
    /// How often it looks.
    pub pace: Pace,
    /// How long what is seen may be explained by what is heard later.
    pub patience: Patience,
    /// Guests that may be off at any time: that they do not run is no news.
    pub expected_off: BTreeSet<VmId>,
}

/// How often it looks at what.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pace {
    /// Tasks, guests and nodes, while a task runs or something is in doubt.
    pub busy: Duration,
    /// The same, otherwise.
    pub calm: Duration,
    /// How full storages and datastores are, replication.
    pub often: Duration,
    /// ZFS pools, thin pools and Ceph.
    pub pools: Duration,
    /// Which jobs there are, and what they cover.
    pub jobs: Duration,
    /// Certificates and updates.
    pub seldom: Duration,
    /// Disks, which it wakes: SMART and wear.
    pub disks: Duration,
}

/// Settings that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidConfig(String);

// === impl Pace ===

impl Default for Pace {
    fn default() -> Self {
        Self {
            busy: Duration::from_secs(2),
            calm: Duration::from_secs(15),
            often: Duration::from_mins(1),
            pools: Duration::from_mins(5),
            jobs: Duration::from_mins(15),
            seldom: Duration::from_hours(6),
            disks: Duration::from_hours(24),
        }
    }
}

// === impl Config ===

impl Config {
    /// With the usual pace.
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            pace: Pace::default(),
            patience: Patience::default(),
            expected_off: BTreeSet::new(),
        }
    }

    pub(super) fn check(&self) -> Result<(), InvalidConfig> {
        let fail = |text: &str| Err(InvalidConfig(text.to_owned()));
        if self.identity.cluster.is_none() {
            return fail("the input has no cluster: name the table of the server that it looks at");
        }
        let Pace { busy, calm, often, pools, jobs, seldom, disks } = &self.pace;
        if [busy, calm, often, pools, jobs, seldom, disks].iter().any(|pause| pause.is_zero()) {
            return fail(
                "a pace of 0 would ask the server without a pause: give each at least 1 s",
            );
        }
        if busy > calm {
            return fail("the pace while a task runs is slower than otherwise: let `busy` be less");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_would_do_harm_are_refused() {
        let says = |config: &Config, part: &str| {
            let error = config.check().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        says(&Config::new(Identity::default()), "no cluster");
        let identity = Identity { cluster: "lab".parse().ok(), ..Identity::default() };
        let mut config = Config::new(identity);
        assert_eq!(config.check(), Ok(()));
        config.pace.busy = Duration::from_mins(1);
        says(&config, "slower");
        config.pace.calm = Duration::ZERO;
        says(&config, "pace of 0");
    }
}
