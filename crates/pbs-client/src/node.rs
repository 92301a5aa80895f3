//! The server itself: state, services, logs, updates, certificates, disks, network.

use api_core::{Request, de::Done, path, reply};
use estate::Upid;
use jiff::Timestamp;
use secrecy::SecretString;

mod more;
mod system;

pub use more::*;
pub use system::*;

/// The name that paths give the server; it takes any.
pub(crate) const NODE: &str = "localhost";

reply! {
    /// The server's state.
    pub struct NodeStatus {
        pub uptime_secs: u64 = "uptime",
        /// Share in use, 0 to 1.
        pub cpu: f64,
        /// Share of time that waits for input and output.
        pub io_wait: f64 = "wait",
        /// Of 1, 5 and 15 minutes.
        pub load: Vec<f64> = "loadavg",
        pub memory: Usage,
        pub swap: Option<Usage>,
        pub root: Option<Usage>,
        pub cpu_info: Option<CpuInfo> = "cpuinfo",
        pub kernel: Option<Kernel> = "current-kernel",
        pub kernel_text: Option<String> = "kversion",
        pub boot: Option<BootInfo> = "boot-info",
        pub info: Option<NodeInfo>,
    }
}

reply! {
    /// How much of something is in use.
    pub struct Usage {
        pub used_bytes: u64 = "used",
        pub total_bytes: u64 = "total",
        pub free_bytes: Option<u64> = "free",
        pub available_bytes: Option<u64> = "avail",
    }
}

reply! {
    /// The server's processors.
    pub struct CpuInfo {
        pub model: String,
        pub cpus: u32,
        pub sockets: u32,
    }
}

reply! {
    /// The running kernel.
    pub struct Kernel {
        pub release: String,
        pub version: Option<String>,
        pub machine: Option<String>,
        pub system: Option<String> = "sysname",
    }
}

reply! {
    /// How it was booted.
    pub struct BootInfo {
        /// `efi` or `legacy-bios`.
        pub mode: String,
        pub secure_boot: Option<bool> = "secureboot",
    }
}

reply! {
    /// What else it says of itself.
    pub struct NodeInfo {
        /// SHA-256 of its certificate.
        pub fingerprint: String,
    }
}

reply! {
    /// Which server it is: the same from every address.
    pub struct Identity {
        pub instance_id: String = "pbs-instance-id",
    }
}

reply! {
    /// The server's figures at one time; what was not measured is absent.
    pub struct NodePoint {
        pub time: Option<Timestamp>,
        pub cpu: Option<f64>,
        pub io_wait: Option<f64> = "iowait",
        pub load: Option<f64> = "loadavg",
        pub memory_bytes: Option<f64> = "memused",
        pub max_memory_bytes: Option<f64> = "memtotal",
        pub swap_bytes: Option<f64> = "swapused",
        pub max_swap_bytes: Option<f64> = "swaptotal",
        pub root_bytes: Option<f64> = "used",
        pub max_root_bytes: Option<f64> = "total",
        pub network_in_bytes_per_sec: Option<f64> = "netin",
        pub network_out_bytes_per_sec: Option<f64> = "netout",
        pub read_bytes_per_sec: Option<f64> = "read_bytes",
        pub write_bytes_per_sec: Option<f64> = "write_bytes",
        pub reads_per_sec: Option<f64> = "read_ios",
        pub writes_per_sec: Option<f64> = "write_ios",
        pub io_ticks: Option<f64>,
    }
}

reply! {
    /// A service.
    pub struct Service {
        /// The id that calls take.
        pub service: String,
        pub name: String,
        pub description: String = "desc",
        /// `running`, `dead`, `exited`, …
        pub state: String,
        /// `enabled`, `disabled`, `masked`, …
        pub unit_state: Option<String> = "unit-state",
    }
}

reply! {
    /// A package that has an update.
    pub struct AptUpdate {
        pub package: String = "Package",
        pub title: Option<String> = "Title",
        pub version: String = "Version",
        /// What is installed.
        pub old_version: Option<String> = "OldVersion",
        /// Such as `Debian` or `Proxmox`.
        pub origin: Option<String> = "Origin",
        pub section: Option<String> = "Section",
        pub priority: Option<String> = "Priority",
        pub arch: Option<String> = "Arch",
        pub description: Option<String> = "Description",
        /// Such as the running kernel's version.
        pub extra: Option<String> = "ExtraInfo",
    }
}

reply! {
    /// A certificate.
    pub struct Certificate {
        pub filename: String,
        /// SHA-256, `ab:cd:…`.
        pub fingerprint: Option<String>,
        pub subject: Option<String>,
        pub issuer: Option<String>,
        pub names: Vec<String> = "san",
        pub not_before: Option<Timestamp> = "notbefore",
        pub not_after: Option<Timestamp> = "notafter",
        pub key_bits: Option<u32> = "public-key-bits",
        pub key_kind: Option<String> = "public-key-type",
        pub pem: Option<String>,
    }
}

reply! {
    /// The server's subscription.
    pub struct Subscription {
        /// `active`, `notfound`, `expired`, …
        pub status: String,
        pub message: Option<String>,
        pub product: Option<String> = "productname",
        pub next_due: Option<String> = "nextduedate",
        pub registered: Option<String> = "regdate",
        pub checked: Option<Timestamp> = "checktime",
        pub key: Option<SecretString>,
        pub server_id: Option<String> = "serverid",
        pub url: Option<String>,
        pub signature: Option<SecretString>,
    }
}

reply! {
    /// The server's clock.
    pub struct NodeTime {
        pub timezone: String,
        pub time: Option<Timestamp>,
        /// Seconds as if local time were UTC.
        pub local_time: i64 = "localtime",
    }
}

reply! {
    /// The server's own settings.
    pub struct NodeConfig {
        pub description: Option<String>,
        pub acme: Option<String>,
        pub http_proxy: Option<String> = "http-proxy",
        pub email_from: Option<String> = "email-from",
        pub task_log_days: Option<u32> = "task-log-max-days",
        pub consent_text: Option<String> = "consent-text",
        pub default_language: Option<String> = "default-lang",
        ..rest
    }
}

fn part<T>(part: &str) -> Request<T> {
    Request::get(path!["nodes", NODE, part])
}

/// `GET /nodes/{node}/status`. Needs `Sys.Audit` on `/system/status`.
pub fn status() -> Request<NodeStatus> {
    part("status")
}

/// `GET /nodes/{node}/identity` (since 4). Any login.
pub fn identity() -> Request<Identity> {
    part("identity")
}

/// `GET /nodes/{node}/rrd`: `timeframe` is `hour`, `day`, … Needs `Sys.Audit` on `/system/status`.
pub fn rrd(timeframe: &str) -> Request<Vec<NodePoint>> {
    part("rrd").param("timeframe", timeframe).param("cf", "AVERAGE")
}

/// `GET /nodes/{node}/services`. Needs `Sys.Audit` on `/system/services`.
pub fn services() -> Request<Vec<Service>> {
    part("services")
}

/// `GET /nodes/{node}/apt/update`: as of the last refresh. Needs `Sys.Audit` on `/`.
pub fn updates() -> Request<Vec<AptUpdate>> {
    Request::get(path!["nodes", NODE, "apt", "update"])
}

/// `POST /nodes/{node}/apt/update`: refreshes the package lists. Needs `Sys.Modify` on `/`.
pub fn refresh_updates() -> Request<Upid> {
    Request::post(path!["nodes", NODE, "apt", "update"])
}

/// `GET /nodes/{node}/certificates/info`. Needs `Sys.Modify` on `/system/certificates`, although it
/// only reads.
pub fn certificates() -> Request<Vec<Certificate>> {
    Request::get(path!["nodes", NODE, "certificates", "info"])
}

/// `GET /nodes/{node}/subscription`. Any login sees the state; the rest needs `Sys.Audit`.
pub fn subscription() -> Request<Subscription> {
    part("subscription")
}

/// `GET /nodes/{node}/time`. Any login.
pub fn time() -> Request<NodeTime> {
    part("time")
}

/// `GET /nodes/{node}/config`. Needs `Sys.Audit` on `/system`.
pub fn config() -> Request<NodeConfig> {
    part("config")
}

/// `POST /nodes/{node}/status`: `reboot` or `shutdown`. Needs `Sys.PowerManagement` on
/// `/system/status`.
pub fn power(command: &str) -> Request<Done> {
    Request::post(path!["nodes", NODE, "status"]).param("command", command)
}
