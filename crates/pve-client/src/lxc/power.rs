//! Turning containers on and off. Each call only starts a task; how it went is the task's exit
//! status. There is no `reset`. For a guest that HA manages the task records the wish, and the work
//! follows later.

use api_core::{Request, params};
use estate::{NodeName, Upid, VmId};

use crate::guest::guest_path;

params! {
    /// How a container is asked to shut down.
    pub struct LxcShutdownParams {
        /// Seconds that the guest has; 60 without.
        pub timeout: Option<u64>,
        /// Whether to stop it hard when the time is over.
        pub force_stop: Option<bool> = "forceStop",
    }
}

params! {
    /// How a container is stopped hard.
    pub struct LxcStopParams {
        /// Whether to end a shutdown that is under way.
        pub overrule_shutdown: Option<bool> = "overrule-shutdown",
        /// Only root.
        pub skip_lock: Option<bool> = "skiplock",
    }
}

fn act(node: &NodeName, vmid: VmId, action: &str) -> Request<Upid> {
    Request::post(guest_path(node, "lxc", vmid).push("status").push(action)).on(node).protected()
}

/// `POST /nodes/{node}/lxc/{vmid}/status/start`. Needs `VM.PowerMgmt` on the guest.
pub fn start(node: &NodeName, vmid: VmId) -> Request<Upid> {
    act(node, vmid, "start")
}

/// `POST /nodes/{node}/lxc/{vmid}/status/shutdown`: asks the guest. Needs `VM.PowerMgmt` on the
/// guest.
pub fn shutdown(node: &NodeName, vmid: VmId, options: LxcShutdownParams) -> Request<Upid> {
    act(node, vmid, "shutdown").params(options.into())
}

/// `POST /nodes/{node}/lxc/{vmid}/status/stop`: kills every process. Needs `VM.PowerMgmt` on the
/// guest.
pub fn stop(node: &NodeName, vmid: VmId, options: LxcStopParams) -> Request<Upid> {
    act(node, vmid, "stop").params(options.into())
}

/// `POST /nodes/{node}/lxc/{vmid}/status/reboot`: shuts it down and starts it, which also puts
/// waiting changes in force. Needs `VM.PowerMgmt` on the guest.
pub fn reboot(node: &NodeName, vmid: VmId, timeout_secs: Option<u64>) -> Request<Upid> {
    act(node, vmid, "reboot").opt("timeout", timeout_secs)
}

/// `POST /nodes/{node}/lxc/{vmid}/status/suspend`: experimental. Needs `VM.PowerMgmt` on the guest.
pub fn suspend(node: &NodeName, vmid: VmId) -> Request<Upid> {
    act(node, vmid, "suspend")
}

/// `POST /nodes/{node}/lxc/{vmid}/status/resume`. Needs `VM.PowerMgmt` on the guest.
pub fn resume(node: &NodeName, vmid: VmId) -> Request<Upid> {
    act(node, vmid, "resume")
}
