//! The figures that nodes, guests and storages keep over time.

use api_core::{Request, path, reply, words};
use estate::{NodeName, StorageName, VmId};
use jiff::Timestamp;

words! {
    /// How far back.
    pub enum Timeframe {
        /// An hour, a point a minute.
        Hour = "hour",
        /// A day.
        Day = "day",
        /// A week.
        Week = "week",
        /// A month.
        Month = "month",
        /// A year.
        Year = "year",
        /// Ten years (since 9).
        Decade = "decade",
    }
}

words! {
    /// How points are put together.
    pub enum Consolidation {
        /// The mean: the server's default.
        Average = "AVERAGE",
        /// The highest.
        Max = "MAX",
    }
}

reply! {
    /// A node's figures at one time; what was not measured is absent.
    pub struct NodePoint {
        pub time: Option<Timestamp>,
        pub cpu: Option<f64>,
        pub max_cpu: Option<f64> = "maxcpu",
        pub io_wait: Option<f64> = "iowait",
        pub load: Option<f64> = "loadavg",
        pub memory_bytes: Option<f64> = "memused",
        pub max_memory_bytes: Option<f64> = "memtotal",
        /// Since 9.
        pub available_memory_bytes: Option<f64> = "memavailable",
        /// Since 9.
        pub arc_bytes: Option<f64> = "arcsize",
        pub swap_bytes: Option<f64> = "swapused",
        pub max_swap_bytes: Option<f64> = "swaptotal",
        pub root_bytes: Option<f64> = "rootused",
        pub max_root_bytes: Option<f64> = "roottotal",
        pub network_in_bytes_per_sec: Option<f64> = "netin",
        pub network_out_bytes_per_sec: Option<f64> = "netout",
        pub pressure_cpu_some: Option<f64> = "pressurecpusome",
        pub pressure_io_some: Option<f64> = "pressureiosome",
        pub pressure_io_full: Option<f64> = "pressureiofull",
        pub pressure_memory_some: Option<f64> = "pressurememorysome",
        pub pressure_memory_full: Option<f64> = "pressurememoryfull",
    }
}

reply! {
    /// A guest's figures at one time; what was not measured is absent.
    pub struct GuestPoint {
        pub time: Option<Timestamp>,
        pub cpu: Option<f64>,
        pub max_cpu: Option<f64> = "maxcpu",
        pub memory_bytes: Option<f64> = "mem",
        pub max_memory_bytes: Option<f64> = "maxmem",
        /// Since 9.
        pub host_memory_bytes: Option<f64> = "memhost",
        pub disk_bytes: Option<f64> = "disk",
        pub max_disk_bytes: Option<f64> = "maxdisk",
        pub disk_read_bytes_per_sec: Option<f64> = "diskread",
        pub disk_write_bytes_per_sec: Option<f64> = "diskwrite",
        pub network_in_bytes_per_sec: Option<f64> = "netin",
        pub network_out_bytes_per_sec: Option<f64> = "netout",
        pub pressure_cpu_some: Option<f64> = "pressurecpusome",
        pub pressure_cpu_full: Option<f64> = "pressurecpufull",
        pub pressure_io_some: Option<f64> = "pressureiosome",
        pub pressure_io_full: Option<f64> = "pressureiofull",
        pub pressure_memory_some: Option<f64> = "pressurememorysome",
        pub pressure_memory_full: Option<f64> = "pressurememoryfull",
    }
}

reply! {
    /// A storage's figures at one time; what was not measured is absent.
    pub struct StoragePoint {
        pub time: Option<Timestamp>,
        pub used_bytes: Option<f64> = "used",
        pub total_bytes: Option<f64> = "total",
    }
}

/// `GET /nodes/{node}/rrddata`. Needs `Sys.Audit` on the node.
pub fn node(
    node: &NodeName,
    timeframe: &Timeframe,
    cf: Option<&Consolidation>,
) -> Request<Vec<NodePoint>> {
    Request::get(path!["nodes", node, "rrddata"])
        .param("timeframe", timeframe)
        .opt("cf", cf)
        .on(node)
        .protected()
}

/// `GET /nodes/{node}/qemu/{vmid}/rrddata`. Needs `VM.Audit` on the guest.
pub fn qemu(
    node: &NodeName,
    vmid: VmId,
    timeframe: &Timeframe,
    cf: Option<&Consolidation>,
) -> Request<Vec<GuestPoint>> {
    Request::get(path!["nodes", node, "qemu", vmid, "rrddata"])
        .param("timeframe", timeframe)
        .opt("cf", cf)
        .on(node)
        .protected()
}

/// `GET /nodes/{node}/lxc/{vmid}/rrddata`. Needs `VM.Audit` on the guest.
pub fn lxc(
    node: &NodeName,
    vmid: VmId,
    timeframe: &Timeframe,
    cf: Option<&Consolidation>,
) -> Request<Vec<GuestPoint>> {
    Request::get(path!["nodes", node, "lxc", vmid, "rrddata"])
        .param("timeframe", timeframe)
        .opt("cf", cf)
        .on(node)
        .protected()
}

/// `GET /nodes/{node}/storage/{storage}/rrddata`. Needs `Datastore.Audit` on the storage.
pub fn storage(
    node: &NodeName,
    storage: &StorageName,
    timeframe: &Timeframe,
    cf: Option<&Consolidation>,
) -> Request<Vec<StoragePoint>> {
    Request::get(path!["nodes", node, "storage", storage, "rrddata"])
        .param("timeframe", timeframe)
        .opt("cf", cf)
        .on(node)
        .protected()
}
