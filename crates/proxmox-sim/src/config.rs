//! What to simulate and how.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Which estate is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EstateKind {
    /// The fixed demo estate: cluster `lab`, standalone node `edge`, backup server `vault`.
    Demo,
    /// One cluster `lab` of the given size, for measurements.
    Scale {
        /// Number of nodes.
        nodes: u32,
        /// Number of guests, spread over the nodes.
        guests: u32,
    },
    /// The three targets with their nodes and storages, without guests, jobs and backups.
    Empty,
}

/// Which Proxmox VE is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum PveRelease {
    /// Proxmox VE 8.4: HA groups instead of rules, `VM.Monitor` instead of the agent privileges.
    V8_4,
    /// Proxmox VE 9.2.
    V9_2,
}

/// Settings of a simulator.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SimConfig {
    /// The estate.
    pub estate: EstateKind,
    /// The release of the simulated PVE nodes.
    pub pve_release: PveRelease,
    /// How long a 401 is held back; the real servers wait three seconds.
    pub auth_delay: Duration,
    /// How fast tasks and other waiting run: 1.0 is the pace of the demo, 1000.0 suits tests.
    pub task_speed: f64,
    /// The address that all listeners bind, each on a port of its own.
    pub listen: IpAddr,
    /// How far the simulated clocks are ahead of the machine's, in milliseconds. Certificates are
    /// valid by the machine's clock all the same.
    pub ahead_ms: i64,
}

// === impl SimConfig ===

impl Default for SimConfig {
    fn default() -> Self {
        Self {
            estate: EstateKind::Demo,
            pve_release: PveRelease::V9_2,
            auth_delay: Duration::from_secs(3),
            task_speed: 1.0,
            listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
            ahead_ms: 0,
        }
    }
}

impl SimConfig {
    /// The demo estate at a pace for tests: tasks take milliseconds and a 401 is answered at once.
    pub fn fast() -> Self {
        Self { auth_delay: Duration::ZERO, task_speed: 1000.0, ..Self::default() }
    }

    /// Sets the estate.
    #[must_use]
    pub fn with_estate(mut self, estate: EstateKind) -> Self {
        self.estate = estate;
        self
    }

    /// Sets the release of Proxmox VE.
    #[must_use]
    pub fn with_pve_release(mut self, release: PveRelease) -> Self {
        self.pve_release = release;
        self
    }

    /// Sets how long a 401 is held back.
    #[must_use]
    pub fn with_auth_delay(mut self, delay: Duration) -> Self {
        self.auth_delay = delay;
        self
    }

    /// Sets the pace of tasks; values that are not positive mean 1.0.
    #[must_use]
    pub fn with_task_speed(mut self, speed: f64) -> Self {
        self.task_speed = if speed > 0.0 { speed } else { 1.0 };
        self
    }

    /// Sets how far the simulated clocks are ahead of the machine's, in milliseconds: for tests
    /// whose answers tell times.
    #[must_use]
    pub fn with_ahead_ms(mut self, ahead: i64) -> Self {
        self.ahead_ms = ahead;
        self
    }

    /// Sets the address to bind.
    #[must_use]
    pub fn with_listen(mut self, listen: IpAddr) -> Self {
        self.listen = listen;
        self
    }
}

// === impl PveRelease ===

impl PveRelease {
    /// `release` and `version` as `/version` answers them.
    pub(crate) fn version(self) -> (&'static str, &'static str) {
        match self {
            Self::V8_4 => ("8.4", "8.4.14"),
            Self::V9_2 => ("9.2", "9.2.11"),
        }
    }

    pub(crate) fn is_9(self) -> bool {
        self >= Self::V9_2
    }
}
