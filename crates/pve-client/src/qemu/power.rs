//! Turning machines on and off. Each call only starts a task; how it went is the task's exit
//! status. For a guest that HA manages the task records the wish, and the work follows later.

use api_core::{Request, params};
use estate::{NodeName, Upid, VmId};

use crate::guest::guest_path;

params! {
    /// How a machine is started.
    pub struct QemuStartParams {
        /// Seconds that the start may take.
        pub timeout: Option<u64>,
        pub machine: Option<String>,
        pub force_cpu: Option<String> = "force-cpu",
        /// Only root.
        pub skip_lock: Option<bool> = "skiplock",
    }
}

params! {
    /// How a machine is asked to shut down.
    pub struct QemuShutdownParams {
        /// Seconds that the guest has.
        pub timeout: Option<u64>,
        /// Whether to stop it hard when the time is over.
        pub force_stop: Option<bool> = "forceStop",
        pub keep_active: Option<bool> = "keepActive",
        /// Only root.
        pub skip_lock: Option<bool> = "skiplock",
    }
}

params! {
    /// How a machine is stopped hard.
    pub struct QemuStopParams {
        pub timeout: Option<u64>,
        /// Whether to end a shutdown that is under way.
        pub overrule_shutdown: Option<bool> = "overrule-shutdown",
        pub keep_active: Option<bool> = "keepActive",
        /// Only root.
        pub skip_lock: Option<bool> = "skiplock",
    }
}

params! {
    /// How a machine is suspended.
    pub struct QemuSuspendParams {
        /// Write the memory to disk and turn it off.
        pub to_disk: Option<bool> = "todisk",
        pub state_storage: Option<String> = "statestorage",
        /// Only root.
        pub skip_lock: Option<bool> = "skiplock",
    }
}

fn act(node: &NodeName, vmid: VmId, action: &str) -> Request<Upid> {
    Request::post(guest_path(node, "qemu", vmid).push("status").push(action)).on(node).protected()
}

/// `POST /nodes/{node}/qemu/{vmid}/status/start`. Needs `VM.PowerMgmt` on the guest.
pub fn start(node: &NodeName, vmid: VmId, options: QemuStartParams) -> Request<Upid> {
    act(node, vmid, "start").params(options.into())
}

/// `POST /nodes/{node}/qemu/{vmid}/status/shutdown`: asks the guest. Needs `VM.PowerMgmt` on the
/// guest.
pub fn shutdown(node: &NodeName, vmid: VmId, options: QemuShutdownParams) -> Request<Upid> {
    act(node, vmid, "shutdown").params(options.into())
}

/// `POST /nodes/{node}/qemu/{vmid}/status/stop`: pulls the plug. Needs `VM.PowerMgmt` on the guest.
pub fn stop(node: &NodeName, vmid: VmId, options: QemuStopParams) -> Request<Upid> {
    act(node, vmid, "stop").params(options.into())
}

/// `POST /nodes/{node}/qemu/{vmid}/status/reboot`: shuts it down and starts it, which also puts
/// waiting changes in force. Needs `VM.PowerMgmt` on the guest.
pub fn reboot(node: &NodeName, vmid: VmId, timeout_secs: Option<u64>) -> Request<Upid> {
    act(node, vmid, "reboot").opt("timeout", timeout_secs)
}

/// `POST /nodes/{node}/qemu/{vmid}/status/reset`: presses the reset button. Needs `VM.PowerMgmt` on
/// the guest.
pub fn reset(node: &NodeName, vmid: VmId) -> Request<Upid> {
    act(node, vmid, "reset")
}

/// `POST /nodes/{node}/qemu/{vmid}/status/suspend`. Needs `VM.PowerMgmt` on the guest; to disk also
/// `VM.Config.Disk`, and `Datastore.AllocateSpace` on the storage.
pub fn suspend(node: &NodeName, vmid: VmId, options: QemuSuspendParams) -> Request<Upid> {
    act(node, vmid, "suspend").params(options.into())
}

/// `POST /nodes/{node}/qemu/{vmid}/status/resume`. Needs `VM.PowerMgmt` on the guest.
pub fn resume(node: &NodeName, vmid: VmId) -> Request<Upid> {
    act(node, vmid, "resume")
}
