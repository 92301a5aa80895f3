//! Virtual machines and containers.

use serde_json::{Map, Value};

use super::{digest40, noise};

/// What kind of guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GuestKind {
    Qemu,
    Lxc,
}

/// Whether a guest runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Power {
    Stopped,
    Running,
    /// QEMU paused, or a frozen container: still `running` in lists.
    Paused,
}

/// One guest.
#[derive(Debug, Clone)]
pub(crate) struct Guest {
    pub(crate) vmid: u32,
    pub(crate) kind: GuestKind,
    /// Index into the cluster's nodes.
    pub(crate) node: usize,
    pub(crate) power: Power,
    /// When it was started, milliseconds since the epoch.
    pub(crate) started: i64,
    pub(crate) pid: u32,
    pub(crate) config: Map<String, Value>,
    /// Changes that wait for a restart; null stands for a removal.
    pub(crate) pending: Map<String, Value>,
    pub(crate) snapshots: Vec<Snapshot>,
    /// The snapshot that the current state grew from.
    pub(crate) parent: Option<String>,
    pub(crate) pool: Option<String>,
    pub(crate) agent_answers: bool,
    /// How long after a start its agent answers, milliseconds.
    pub(crate) boot_ms: i64,
    pub(crate) addresses: Vec<String>,
    /// A typical load, 0 to 1 of all its cores.
    pub(crate) load: f64,
    /// Bytes of its disk in use (containers) .
    pub(crate) disk_used: u64,
    pub(crate) quirk: Quirk,
    /// Programs started through the agent: pid, output, exit code.
    pub(crate) programs: Vec<(i64, String, i64)>,
    /// What its text console shows before the prompt.
    pub(crate) screen: String,
}

/// What is special about a guest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Quirk {
    #[default]
    None,
    /// Every start fails with these lines, the last of which is the cause.
    StartFails(Vec<String>),
    /// It never reacts to a shutdown request.
    IgnoresShutdown,
    /// A backup of it fails with this cause.
    BackupFails(String),
}

/// One snapshot.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) time: i64,
    pub(crate) parent: Option<String>,
    pub(crate) vmstate: bool,
    pub(crate) config: Map<String, Value>,
}

// === impl GuestKind ===

impl GuestKind {
    /// `qemu` or `lxc`
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Qemu => "qemu",
            Self::Lxc => "lxc",
        }
    }

    /// The folder of the configuration files.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Self::Qemu => "qemu-server",
            Self::Lxc => "lxc",
        }
    }

    /// `VM` or `CT`
    pub(crate) fn short(self) -> &'static str {
        match self {
            Self::Qemu => "VM",
            Self::Lxc => "CT",
        }
    }
}

// === impl Guest ===

impl Guest {
    pub(crate) fn new(vmid: u32, kind: GuestKind, node: usize, config: Map<String, Value>) -> Self {
        Self {
            vmid,
            kind,
            node,
            power: Power::Stopped,
            started: 0,
            pid: 0,
            config,
            pending: Map::new(),
            snapshots: Vec::new(),
            parent: None,
            pool: None,
            agent_answers: false,
            boot_ms: 0,
            addresses: Vec::new(),
            load: 0.02 + 0.3 * noise(u64::from(vmid)),
            disk_used: 0,
            quirk: Quirk::None,
            programs: Vec::new(),
            screen: String::new(),
        }
    }

    /// Its name, or what PVE shows for a guest without one.
    pub(crate) fn name(&self) -> String {
        let key = if self.kind == GuestKind::Qemu { "name" } else { "hostname" };
        self.text(key).map_or_else(|| format!("{} {}", self.kind.short(), self.vmid), str::to_owned)
    }

    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.config.get(key).and_then(Value::as_str)
    }

    /// A number that may be stored as text.
    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        match self.config.get(key)? {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => {
                text.split(',').next()?.trim_start_matches("current=").parse().ok()
            }
            _ => None,
        }
    }

    pub(crate) fn flag(&self, key: &str) -> bool {
        match self.config.get(key) {
            Some(Value::Number(number)) => number.as_u64() == Some(1),
            Some(Value::String(text)) => {
                text.split(',').next() == Some("1") || text.starts_with("enabled=1")
            }
            _ => false,
        }
    }

    pub(crate) fn tags(&self) -> Option<&str> {
        self.text("tags")
    }

    pub(crate) fn lock(&self) -> Option<&str> {
        self.text("lock")
    }

    pub(crate) fn template(&self) -> bool {
        self.flag("template")
    }

    pub(crate) fn running(&self) -> bool {
        self.power != Power::Stopped
    }

    /// `running` or `stopped`, as in lists.
    pub(crate) fn status(&self) -> &'static str {
        if self.running() { "running" } else { "stopped" }
    }

    /// Bytes.
    pub(crate) fn maxmem(&self) -> u64 {
        let default = 512;
        self.number("memory").unwrap_or(default) << 20
    }

    pub(crate) fn cpus(&self) -> u64 {
        self.number("cores").unwrap_or(1) * self.number("sockets").unwrap_or(1)
    }

    /// Seconds.
    pub(crate) fn uptime(&self, now: i64) -> i64 {
        if self.running() { (now - self.started) / 1000 } else { 0 }
    }

    /// 0 to 1, changing every ten seconds.
    pub(crate) fn cpu(&self, now: i64) -> f64 {
        if self.power != Power::Running {
            return 0.0;
        }
        let slot = (now / 10_000) as u64;
        let wave = 0.6 + 0.8 * noise(slot.wrapping_mul(31).wrapping_add(u64::from(self.vmid)));
        (self.load * wave).min(1.0)
    }

    /// Bytes.
    pub(crate) fn mem(&self) -> u64 {
        if !self.running() {
            return 0;
        }
        let share = 0.35 + 0.5 * noise(u64::from(self.vmid) * 7 + 1);
        (self.maxmem() as f64 * share) as u64
    }

    /// A counter that grows with uptime.
    pub(crate) fn counter(&self, now: i64, seed: u64) -> u64 {
        let rate = 2_000.0 + 90_000.0 * noise(u64::from(self.vmid) + seed * 1000);
        (self.uptime(now) as f64 * rate) as u64
    }

    /// Key and property string of its disks.
    pub(crate) fn disks(&self) -> Vec<(String, String)> {
        let mut disks = Vec::new();
        for (key, value) in &self.config {
            let stem = key.trim_end_matches(|c: char| c.is_ascii_digit());
            let disk = match self.kind {
                GuestKind::Qemu => {
                    matches!(stem, "scsi" | "virtio" | "ide" | "sata" | "efidisk" | "tpmstate")
                        && stem != key
                }
                GuestKind::Lxc => key == "rootfs" || (stem == "mp" && stem != key),
            };
            if let Some(text) = value.as_str()
                && disk
                && !text.contains("media=cdrom")
            {
                disks.push((key.clone(), text.to_owned()));
            }
        }
        disks
    }

    /// The size of its first disk in bytes.
    pub(crate) fn maxdisk(&self) -> u64 {
        let disks = self.disks();
        let first =
            disks.iter().find(|(key, _)| !key.starts_with("efi") && !key.starts_with("tpm"));
        first.map_or(0, |(_, text)| size_of(text))
    }

    pub(crate) fn digest(&self) -> String {
        digest40(&format!("{}{:?}{:?}", self.vmid, self.config, self.parent))
    }

    pub(crate) fn starts(&mut self, now: i64) {
        self.power = Power::Running;
        self.started = now;
        self.pid = 1000 + self.vmid * 13 % 30_000;
        let pending = std::mem::take(&mut self.pending);
        for (key, value) in pending {
            if value.is_null() {
                self.config.shift_remove(&key);
            } else {
                self.config.insert(key, value);
            }
        }
        // Cloud-init and containers take their address at the start.
        let key = if self.kind == GuestKind::Qemu { "ipconfig0" } else { "net0" };
        let fixed = self.text(key).and_then(|text| {
            let address = text.split(',').find_map(|part| part.strip_prefix("ip="))?;
            address.contains('/').then(|| address.split('/').next().unwrap_or_default().to_owned())
        });
        if let Some(fixed) = fixed {
            self.addresses = vec![fixed];
        }
    }

    pub(crate) fn stops(&mut self) {
        let now = self.started;
        self.starts(now);
        self.power = Power::Stopped;
        self.started = 0;
        self.pid = 0;
        self.programs.clear();
    }

    /// The volume ids of its disks.
    pub(crate) fn volumes(&self) -> Vec<String> {
        self.disks().into_iter().map(|(_, text)| volume_of(&text).to_owned()).collect()
    }
}

/// The `size=` of a disk's property string in bytes.
pub(crate) fn size_of(text: &str) -> u64 {
    let size = text.split(',').find_map(|part| part.strip_prefix("size="));
    size.map_or(0, parse_size)
}

/// The volume id of a disk's property string.
pub(crate) fn volume_of(text: &str) -> &str {
    let first = text.split(',').next().unwrap_or_default();
    first.strip_prefix("file=").or_else(|| first.strip_prefix("volume=")).unwrap_or(first)
}

/// Bytes of `32G`, `512M`, `4T`, `1024`.
pub(crate) fn parse_size(text: &str) -> u64 {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: f64 = digits.parse().unwrap_or(0.0);
    let shift = match text[digits.len()..].chars().next() {
        Some('K') => 10,
        Some('M') => 20,
        Some('G') => 30,
        Some('T') => 40,
        _ => 0,
    };
    (number * (1_u64 << shift) as f64) as u64
}

/// `32G`, `512M`: the reverse.
pub(crate) fn show_size(bytes: u64) -> String {
    for (shift, unit) in [(40, 'T'), (30, 'G'), (20, 'M'), (10, 'K')] {
        if bytes >= 1 << shift && bytes.is_multiple_of(1 << shift) {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}
