//! Nodes: list, state, services, logs, updates, certificates, subscription.

use api_core::{Request, de::Done, params, path, reply, words};
use estate::{NodeName, Upid};
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::Value;

use crate::tasks::LogLine;
use crate::version::Version;

words! {
    /// Whether a node answers.
    pub enum NodeState {
        /// It does.
        Online = "online",
        /// It does not.
        Offline = "offline",
        /// Nobody knows, or the login may not audit it.
        Unknown = "unknown",
    }
}

reply! {
    /// A node in the list.
    pub struct Node {
        pub node: NodeName,
        pub status: NodeState,
        pub id: Option<String>,
        pub kind: Option<String> = "type",
        /// Its subscription level.
        pub level: Option<String>,
        /// Share of `max_cpu` in use, 0 to 1.
        pub cpu: Option<f64>,
        pub max_cpu: Option<f64> = "maxcpu",
        pub memory_bytes: Option<u64> = "mem",
        pub max_memory_bytes: Option<u64> = "maxmem",
        pub disk_bytes: Option<u64> = "disk",
        pub max_disk_bytes: Option<u64> = "maxdisk",
        pub uptime_secs: Option<u64> = "uptime",
        pub ssl_fingerprint: Option<String>,
    }
}

reply! {
    /// A node's state.
    pub struct NodeStatus {
        pub uptime_secs: u64 = "uptime",
        /// Share in use, 0 to 1.
        pub cpu: f64,
        /// Share of time that waits for input and output.
        pub io_wait: f64 = "wait",
        pub idle: Option<f64>,
        /// Of 1, 5 and 15 minutes.
        pub load: Vec<f64> = "loadavg",
        pub memory: Usage,
        pub swap: Option<Usage>,
        pub root: Option<Usage> = "rootfs",
        pub cpu_info: Option<CpuInfo> = "cpuinfo",
        /// Such as `pve-manager/9.2.11/14a22df35955d97d`.
        pub pve_version: Option<String> = "pveversion",
        pub kernel: Option<Kernel> = "current-kernel",
        pub kernel_text: Option<String> = "kversion",
        pub ksm: Option<Ksm>,
        pub boot: Option<BootInfo> = "boot-info",
    }
}

reply! {
    /// How much of something is in use.
    pub struct Usage {
        pub used_bytes: u64 = "used",
        pub total_bytes: u64 = "total",
        pub free_bytes: Option<u64> = "free",
        /// What can be had, caches given up (memory: since 8.4).
        pub available_bytes: Option<u64> = "avail" | "available",
    }
}

reply! {
    /// A node's processors.
    pub struct CpuInfo {
        pub model: String,
        pub cpus: u32,
        pub cores: Option<u32>,
        pub sockets: u32,
        pub mhz: Option<f64>,
        pub vendor: Option<String>,
        pub family: Option<String>,
        /// Whether it can run machines with hardware support.
        pub hvm: bool,
        pub user_hz: Option<u32>,
        pub flags: Vec<String>,
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
    /// Memory shared between machines.
    pub struct Ksm {
        pub shared_bytes: u64 = "shared",
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
    /// A service of the node.
    pub struct Service {
        /// The id that calls take.
        pub service: String,
        pub name: String,
        pub description: String = "desc",
        /// `running`, `dead`, `exited`, …
        pub state: String,
        /// `active`, `inactive`, `failed`, …
        pub active_state: Option<String> = "active-state",
        /// `enabled`, `disabled`, `masked`, `not-found`, …
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
        /// The version that was last told of.
        pub notified: Option<String> = "NotifyStatus",
    }
}

reply! {
    /// An installed package that matters.
    pub struct AptVersion {
        pub package: String = "Package",
        pub title: Option<String> = "Title",
        pub version: Option<String> = "Version",
        pub old_version: Option<String> = "OldVersion",
        /// `Installed`, `NotInstalled`, …
        pub state: Option<String> = "CurrentState",
        /// The running kernel, in its package's row.
        pub running_kernel: Option<String> = "RunningKernel",
        pub manager_version: Option<String> = "ManagerVersion",
        pub origin: Option<String> = "Origin",
        pub section: Option<String> = "Section",
        pub priority: Option<String> = "Priority",
        pub arch: Option<String> = "Arch",
        pub description: Option<String> = "Description",
        pub notified: Option<String> = "NotifyStatus",
    }
}

reply! {
    /// A certificate of the node.
    pub struct Certificate {
        pub filename: String,
        /// SHA-256, `AB:CD:…`.
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
    /// The node's clock.
    pub struct NodeTime {
        pub timezone: String,
        pub time: Option<Timestamp>,
        /// Seconds as if local time were UTC.
        pub local_time: i64 = "localtime",
    }
}

reply! {
    /// Where the node looks up names.
    pub struct Dns {
        pub search: Option<String>,
        pub dns1: Option<String>,
        pub dns2: Option<String>,
        pub dns3: Option<String>,
    }
}

reply! {
    /// The node's subscription.
    pub struct Subscription {
        /// `active`, `notfound`, `expired`, …
        pub status: String,
        pub message: Option<String>,
        pub level: Option<String>,
        pub product: Option<String> = "productname",
        pub next_due: Option<String> = "nextduedate",
        pub registered: Option<String> = "regdate",
        pub checked: Option<Timestamp> = "checktime",
        pub key: Option<SecretString>,
        pub server_id: Option<String> = "serverid",
        pub sockets: Option<u32>,
        pub url: Option<String>,
        pub signature: Option<SecretString>,
    }
}

reply! {
    /// The node's own settings.
    pub struct NodeConfig {
        pub description: Option<String>,
        pub wake_on_lan: Option<String> = "wakeonlan",
        pub startall_delay_secs: Option<u64> = "startall-onboot-delay",
        pub ballooning_target: Option<u32> = "ballooning-target",
        pub acme: Option<String>,
        pub location: Option<String>,
        pub digest: Option<String>,
        ..rest
    }
}

reply! {
    /// The package sources of the node.
    pub struct AptRepositories {
        pub digest: Option<String>,
        pub files: Vec<AptFile>,
        pub errors: Vec<AptFileError>,
        pub infos: Vec<AptInfo>,
        pub standard: Vec<AptStandardRepo> = "standard-repos",
    }
}

reply! {
    /// A file of package sources.
    pub struct AptFile {
        pub path: Option<String>,
        pub kind: Option<String> = "file-type",
        pub repositories: Vec<AptRepository>,
        pub digest: Value,
    }
}

reply! {
    /// A package source.
    pub struct AptRepository {
        pub enabled: bool = "Enabled",
        pub kinds: Vec<String> = "Types",
        pub uris: Vec<String> = "URIs",
        pub suites: Vec<String> = "Suites",
        pub components: Vec<String> = "Components",
        pub comment: Option<String> = "Comment",
        pub file_kind: Option<String> = "FileType",
        pub options: Value = "Options",
    }
}

reply! {
    /// A file of package sources that cannot be read.
    pub struct AptFileError {
        pub path: String,
        pub error: String,
    }
}

reply! {
    /// A remark on a package source.
    pub struct AptInfo {
        pub path: String,
        pub index: Option<u32>,
        pub kind: String,
        pub message: String,
        pub property: Option<String>,
    }
}

reply! {
    /// One of Proxmox's own package sources.
    pub struct AptStandardRepo {
        pub handle: String,
        pub name: String,
        pub description: Option<String>,
        /// Whether it is on; absent where it is not set up.
        pub enabled: Option<bool> = "status",
    }
}

params! {
    /// Which lines of the system log.
    pub struct SyslogParams {
        pub start: Option<u64>,
        pub limit: Option<u64>,
        /// `YYYY-MM-DD`, with a time or without.
        pub since: Option<String>,
        pub until: Option<String>,
        pub service: Option<String>,
    }
}

params! {
    /// Which lines of the journal.
    pub struct JournalParams {
        pub since: Option<Timestamp>,
        pub until: Option<Timestamp>,
        pub last_entries: Option<u64> = "lastentries",
        pub start_cursor: Option<String> = "startcursor",
        pub end_cursor: Option<String> = "endcursor",
    }
}

fn get<T>(node: &NodeName, part: &str) -> Request<T> {
    Request::get(path!["nodes", node, part]).on(node)
}

/// `GET /nodes`. Any login.
pub fn list() -> Request<Vec<Node>> {
    Request::get(path!["nodes"])
}

/// `GET /nodes/{node}/status`. Needs `Sys.Audit` on the node.
pub fn status(node: &NodeName) -> Request<NodeStatus> {
    get(node, "status")
}

/// `GET /nodes/{node}/version`. Any login.
pub fn version(node: &NodeName) -> Request<Version> {
    get(node, "version")
}

/// `GET /nodes/{node}/time`. Needs `Sys.Audit` on the node.
pub fn time(node: &NodeName) -> Request<NodeTime> {
    get(node, "time")
}

/// `GET /nodes/{node}/dns`. Needs `Sys.Audit` on the node.
pub fn dns(node: &NodeName) -> Request<Dns> {
    get(node, "dns")
}

/// `GET /nodes/{node}/subscription`. Any login sees the state; the rest needs `Sys.Audit` on the
/// node.
pub fn subscription(node: &NodeName) -> Request<Subscription> {
    get(node, "subscription")
}

/// `GET /nodes/{node}/config`. Needs `Sys.Audit` on `/`.
pub fn config(node: &NodeName) -> Request<NodeConfig> {
    get(node, "config")
}

/// `GET /nodes/{node}/services`. Needs `Sys.Audit` on the node.
pub fn services(node: &NodeName) -> Request<Vec<Service>> {
    get(node, "services").protected()
}

/// `GET /nodes/{node}/services/{service}/state`. Needs `Sys.Audit` on the node.
pub fn service(node: &NodeName, service: &str) -> Request<Service> {
    Request::get(path!["nodes", node, "services", service, "state"]).on(node).protected()
}

/// `POST /nodes/{node}/services/{service}/{action}`: `start`, `stop`, `restart` or `reload`. Needs
/// `Sys.Modify` on the node.
pub fn service_action(node: &NodeName, service: &str, action: &str) -> Request<Upid> {
    Request::post(path!["nodes", node, "services", service, action]).on(node).protected()
}

/// `GET /nodes/{node}/syslog`. Needs `Sys.Syslog` on the node.
pub fn syslog(node: &NodeName, options: SyslogParams) -> Request<Vec<LogLine>> {
    get(node, "syslog").params(options.into()).protected()
}

/// `GET /nodes/{node}/journal`: the first and the last line are cursors. Needs `Sys.Syslog` on the
/// node.
pub fn journal(node: &NodeName, options: JournalParams) -> Request<Vec<String>> {
    get(node, "journal").params(options.into()).protected()
}

/// `GET /nodes/{node}/apt/update`: as of the last refresh. Needs `Sys.Modify` on the node, although
/// it only reads.
pub fn updates(node: &NodeName) -> Request<Vec<AptUpdate>> {
    Request::get(path!["nodes", node, "apt", "update"]).on(node).protected()
}

/// `POST /nodes/{node}/apt/update`: refreshes the package lists. Needs `Sys.Modify` on the node.
pub fn refresh_updates(node: &NodeName, notify: Option<bool>) -> Request<Upid> {
    Request::post(path!["nodes", node, "apt", "update"]).flag("notify", notify).on(node).protected()
}

/// `GET /nodes/{node}/apt/versions`. Needs `Sys.Audit` on the node.
pub fn package_versions(node: &NodeName) -> Request<Vec<AptVersion>> {
    Request::get(path!["nodes", node, "apt", "versions"]).on(node)
}

/// `GET /nodes/{node}/apt/repositories`. Needs `Sys.Audit` on the node.
pub fn repositories(node: &NodeName) -> Request<AptRepositories> {
    Request::get(path!["nodes", node, "apt", "repositories"]).on(node)
}

/// `GET /nodes/{node}/certificates/info`. Any login.
pub fn certificates(node: &NodeName) -> Request<Vec<Certificate>> {
    Request::get(path!["nodes", node, "certificates", "info"]).on(node)
}

/// `POST /nodes/{node}/status`: `reboot` or `shutdown`. Needs `Sys.PowerMgmt` on the node.
pub fn power(node: &NodeName, command: &str) -> Request<Done> {
    Request::post(path!["nodes", node, "status"]).param("command", command).on(node).protected()
}

/// `POST /nodes/{node}/wakeonlan`: another node wakes this one. Needs `Sys.PowerMgmt` on the node.
pub fn wake(node: &NodeName) -> Request<String> {
    // Not marked as work of the node: it is off.
    Request::post(path!["nodes", node, "wakeonlan"]).protected()
}
