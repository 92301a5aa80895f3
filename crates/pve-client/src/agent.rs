//! The guest agent inside machines. Containers have none.
//!
//! Whatever comes out of a guest is its own word: treat it as untrusted. Without a running agent
//! the server answers 500 `QEMU guest agent is not running`.

use api_core::{Request, de::Done, reply};
use estate::{NodeName, VmId};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::guest::guest_path;

reply! {
    /// The agent's answer, which the API wraps once more.
    pub struct AgentInterfaces {
        pub interfaces: Vec<AgentInterface> = "result",
    }
}

reply! {
    /// An interface inside the guest.
    pub struct AgentInterface {
        pub name: String,
        pub hardware_address: Option<String> = "hardware-address",
        pub addresses: Vec<AgentAddress> = "ip-addresses",
        pub statistics: Option<AgentCounters>,
    }
}

reply! {
    /// An address inside the guest.
    pub struct AgentAddress {
        pub address: String = "ip-address",
        /// `ipv4` or `ipv6`.
        pub family: String = "ip-address-type",
        pub prefix: Option<u8>,
    }
}

reply! {
    /// What went through an interface, counted inside the guest.
    pub struct AgentCounters {
        pub received_bytes: u64 = "rx-bytes",
        pub received_packets: u64 = "rx-packets",
        pub received_errors: u64 = "rx-errs",
        pub received_dropped: u64 = "rx-dropped",
        pub sent_bytes: u64 = "tx-bytes",
        pub sent_packets: u64 = "tx-packets",
        pub sent_errors: u64 = "tx-errs",
        pub sent_dropped: u64 = "tx-dropped",
    }
}

reply! {
    /// The agent's answer, which the API wraps once more.
    pub struct AgentFileSystems {
        pub file_systems: Vec<AgentFileSystem> = "result",
    }
}

reply! {
    /// A file system inside the guest.
    pub struct AgentFileSystem {
        pub mount_point: String = "mountpoint",
        pub name: Option<String>,
        pub kind: Option<String> = "type",
        /// Absent where the agent cannot tell.
        pub total_bytes: Option<u64> = "total-bytes",
        pub used_bytes: Option<u64> = "used-bytes",
        pub privileged_total_bytes: Option<u64> = "total-bytes-privileged",
        pub disks: Value = "disk",
    }
}

reply! {
    /// The agent's answer, which the API wraps once more.
    pub struct AgentOs {
        pub os: Option<OsInfo> = "result",
    }
}

reply! {
    /// The guest's operating system.
    pub struct OsInfo {
        pub id: Option<String>,
        pub name: Option<String>,
        pub pretty_name: Option<String> = "pretty-name",
        pub version: Option<String>,
        pub version_id: Option<String> = "version-id",
        pub variant: Option<String>,
        pub variant_id: Option<String> = "variant-id",
        pub machine: Option<String>,
        pub kernel_release: Option<String> = "kernel-release",
        pub kernel_version: Option<String> = "kernel-version",
    }
}

reply! {
    /// The agent's answer, which the API wraps once more.
    pub struct AgentHostName {
        pub result: Option<HostName>,
    }
}

reply! {
    /// The guest's name for itself.
    pub struct HostName {
        pub host_name: String = "host-name",
    }
}

reply! {
    /// A command that was started.
    pub struct AgentProcess {
        /// Inside the guest.
        pub pid: u64,
    }
}

reply! {
    /// How a command stands.
    pub struct AgentExecStatus {
        pub exited: bool,
        pub exit_code: Option<i64> = "exitcode",
        pub signal: Option<i64>,
        pub output: Option<String> = "out-data",
        pub output_truncated: bool = "out-truncated",
        pub error_output: Option<String> = "err-data",
        pub error_output_truncated: bool = "err-truncated",
    }
}

fn get<T>(node: &NodeName, vmid: VmId, command: &str) -> Request<T> {
    Request::get(guest_path(node, "qemu", vmid).push("agent").push(command)).on(node).protected()
}

fn post<T>(node: &NodeName, vmid: VmId, command: &str) -> Request<T> {
    Request::post(guest_path(node, "qemu", vmid).push("agent").push(command)).on(node).protected()
}

/// `POST /nodes/{node}/qemu/{vmid}/agent/ping`: an error if the agent does not run. Needs
/// `VM.GuestAgent.Audit` or `.Unrestricted` on the guest (8.4: `VM.Monitor`).
pub fn ping(node: &NodeName, vmid: VmId) -> Request<Done> {
    post(node, vmid, "ping").idempotent()
}

/// `GET /nodes/{node}/qemu/{vmid}/agent/network-get-interfaces`. Needs `VM.GuestAgent.Audit` or
/// `.Unrestricted` on the guest (8.4: `VM.Monitor`).
pub fn interfaces(node: &NodeName, vmid: VmId) -> Request<AgentInterfaces> {
    get(node, vmid, "network-get-interfaces")
}

/// `GET /nodes/{node}/qemu/{vmid}/agent/get-fsinfo`. Needs `VM.GuestAgent.Audit` or
/// `.Unrestricted` on the guest (8.4: `VM.Monitor`).
pub fn file_systems(node: &NodeName, vmid: VmId) -> Request<AgentFileSystems> {
    get(node, vmid, "get-fsinfo")
}

/// `GET /nodes/{node}/qemu/{vmid}/agent/get-osinfo`. Needs `VM.GuestAgent.Audit` or
/// `.Unrestricted` on the guest (8.4: `VM.Monitor`).
pub fn os_info(node: &NodeName, vmid: VmId) -> Request<AgentOs> {
    get(node, vmid, "get-osinfo")
}

/// `GET /nodes/{node}/qemu/{vmid}/agent/get-host-name`. Needs `VM.GuestAgent.Audit` or
/// `.Unrestricted` on the guest (8.4: `VM.Monitor`).
pub fn host_name(node: &NodeName, vmid: VmId) -> Request<AgentHostName> {
    get(node, vmid, "get-host-name")
}

/// `POST /nodes/{node}/qemu/{vmid}/agent/exec`: program and arguments, no shell. Needs
/// `VM.GuestAgent.Unrestricted` on the guest (8.4: `VM.Monitor`).
pub fn exec(
    node: &NodeName,
    vmid: VmId,
    command: &[&str],
    input: Option<&SecretString>,
) -> Request<AgentProcess> {
    let mut request = post(node, vmid, "exec");
    for word in command {
        request = request.param("command", word);
    }
    request.opt("input-data", input.map(ExposeSecret::expose_secret))
}

/// `GET /nodes/{node}/qemu/{vmid}/agent/exec-status`: the answer that says `exited` is given once,
/// so the request is not sent again when its answer is lost.
/// Needs `VM.GuestAgent.Unrestricted` on the guest (8.4: `VM.Monitor`).
pub fn exec_status(node: &NodeName, vmid: VmId, pid: u64) -> Request<AgentExecStatus> {
    get(node, vmid, "exec-status").param("pid", pid).once()
}

/// `POST /nodes/{node}/qemu/{vmid}/agent/fstrim`. Needs `VM.GuestAgent.FileSystemMgmt` or
/// `.Unrestricted` on the guest (8.4: `VM.Monitor`).
pub fn trim(node: &NodeName, vmid: VmId) -> Request<Done> {
    post(node, vmid, "fstrim").idempotent()
}

#[cfg(test)]
mod tests {
    use api_core::Retry;

    use super::*;

    #[test]
    fn what_is_told_only_once_is_asked_only_once() {
        let (node, vmid) = ("pve1".parse().expect("a name"), "100".parse().expect("an id"));
        assert_eq!(exec_status(&node, vmid, 7).meta().retry, Retry::Unsent);
        assert_eq!(interfaces(&node, vmid).meta().retry, Retry::Idempotent);
    }
}
