//! What a guest does at this moment, as its node says: read before an action and again after it.

use api_core::Error;
use estate::{GuestKind, NodeName, VmId};
use pve_client::guest::GuestHa;

use crate::view::GuestStatus;

/// A guest's state just now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// Whether it runs.
    pub(crate) status: GuestStatus,
    /// What holds it: `backup`, `snapshot`, …
    pub(crate) lock: Option<String>,
    /// Seconds since it started; 0 when it does not run.
    pub(crate) uptime: u64,
    /// Whether HA starts and stops it.
    pub(crate) ha_managed: bool,
}

impl State {
    /// Asks the guest's node.
    pub(crate) async fn read(
        client: &pve_client::Client,
        kind: GuestKind,
        node: &NodeName,
        vmid: VmId,
    ) -> Result<Self, Error> {
        Ok(match kind {
            GuestKind::Qemu => {
                let now = client.call(pve_client::qemu::status(node, vmid)).await?;
                // A machine that is paused is `running` to everybody but QEMU itself.
                let word = match now.qmp_status.as_deref() {
                    Some(qmp) if now.status.as_str() == "running" => qmp,
                    _ => now.status.as_str(),
                };
                Self {
                    status: GuestStatus::parse(word, now.template),
                    lock: now.lock,
                    uptime: now.uptime_secs.unwrap_or_default(),
                    ha_managed: is_managed(now.ha.as_ref()),
                }
            }
            GuestKind::Lxc => {
                let now = client.call(pve_client::lxc::status(node, vmid)).await?;
                Self {
                    status: GuestStatus::parse(now.status.as_str(), now.template),
                    lock: now.lock,
                    uptime: now.uptime_secs.unwrap_or_default(),
                    ha_managed: is_managed(now.ha.as_ref()),
                }
            }
        })
    }

    /// Whether it is off.
    pub(crate) fn is_stopped(&self) -> bool {
        self.status == GuestStatus::Stopped
    }
}

/// A guest that HA is told to ignore is started and stopped like any other.
fn is_managed(ha: Option<&GuestHa>) -> bool {
    ha.is_some_and(|ha| ha.managed && ha.state.as_deref() != Some("ignored"))
}
