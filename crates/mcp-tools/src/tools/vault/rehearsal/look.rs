//! Watches a rehearsed guest come up, and writes down what its agent says.

use estate::GuestKind;
use pve_client::{agent, lxc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{PAUSE, Rehearsal, STAY};
use crate::{
    error::ToolError,
    follow::{clean_cause, state::State},
    plan::{Running, StepOutcome},
    report::{Report, used_of},
};

/// The most file systems and interfaces that are told.
const MOST: usize = 12;

/// What the guest said of itself. Crosses the plan's steps as JSON.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Seen {
    /// Seconds from the start of the wait.
    pub(super) after_secs: u64,
    /// Lines in the guest's own words.
    lines: Vec<String>,
}

// === impl Seen ===

impl Seen {
    pub(super) fn read(value: &serde_json::Value) -> Option<Self> {
        serde_json::from_value(value.clone()).ok()
    }

    /// Adds what was seen; it is the guest's word.
    pub(super) fn tell(&self, report: Report) -> Report {
        if self.lines.is_empty() {
            return report;
        }
        report.untrusted("what the rehearsed guest said of itself", self.lines.join("\n"))
    }
}

// === impl Rehearsal ===

impl Rehearsal {
    /// Waits until the agent answers, or sees whether the guest stays on.
    pub(super) async fn watch(self, running: Running) -> Result<StepOutcome, ToolError> {
        let began = Instant::now();
        let at = self.order.address();
        let end = began + if self.has_agent { self.wait } else { self.wait.min(STAY) };
        loop {
            if running.stop.is_cancelled() {
                return Err(ToolError::new(format!("waiting for {at} was given up")));
            }
            let state = self.state().await?;
            if !state.status.is_on() {
                let lead = format!("{at} started and is {} again", state.status.as_str());
                return Err(ToolError::new(lead)
                    .hint("the backup is restored, but its guest does not stay on"));
            }
            let word =
                if self.has_agent { self.ping().await? } else { Some("no agent".to_owned()) };
            let Some(word) = word else {
                let after_secs = began.elapsed().as_secs();
                let seen = Seen { after_secs, lines: self.ask().await };
                return Ok(outcome(&seen));
            };
            if Instant::now() >= end {
                if self.has_agent {
                    let lead = format!(
                        "{at} runs, but its guest agent did not answer within {} s: {word}",
                        self.wait.as_secs()
                    );
                    return Err(ToolError::new(lead)
                        .hint("give it longer (wait_s), or look at its console while it runs: restore it with backup_restore"));
                }
                let after_secs = began.elapsed().as_secs();
                return Ok(outcome(&Seen { after_secs, lines: self.interfaces().await }));
            }
            running.tell(format!("{at} is on; {word}"));
            sleep(PAUSE.min(end.saturating_duration_since(Instant::now()))).await;
        }
    }

    async fn state(&self) -> Result<State, ToolError> {
        let (node, vmid) = (&self.order.node, self.order.vmid);
        let state = State::read(&self.order.member.operator, self.order.kind, node, vmid).await;
        state.map_err(|error| {
            ToolError::api(format!("read the state of {}", self.order.address()), &error)
        })
    }

    /// Why the agent does not answer yet; nothing when it does.
    async fn ping(&self) -> Result<Option<String>, ToolError> {
        let call = agent::ping(&self.order.node, self.order.vmid);
        match self.order.member.operator.call(call).await {
            Ok(_) => Ok(None),
            Err(error) if error.kind() == api_core::ErrorKind::PermissionDenied => {
                Err(ToolError::api("ask the guest agent", &error))
            }
            Err(error) => Ok(Some(clean_cause(&stdx::Chain(&error).to_string()))),
        }
    }

    /// What the agent tells of the guest. What it does not tell is left out.
    async fn ask(&self) -> Vec<String> {
        let (node, vmid) = (&self.order.node, self.order.vmid);
        let client = &self.order.member.operator;
        let (os, host, disks) = futures::join!(
            client.call(agent::os_info(node, vmid)),
            client.call(agent::host_name(node, vmid)),
            client.call(agent::file_systems(node, vmid)),
        );
        let mut lines = Vec::new();
        if let Some(os) = os.ok().and_then(|os| os.os) {
            let name = os.pretty_name.or(os.name).unwrap_or_default();
            let kernel = os.kernel_release.unwrap_or_default();
            lines.push(format!("system: {name} {kernel}"));
        }
        if let Some(host) = host.ok().and_then(|host| host.result) {
            lines.push(format!("host name: {}", host.host_name));
        }
        let disks = disks.map(|disks| disks.file_systems).unwrap_or_default();
        for one in disks.into_iter().take(MOST) {
            let used = match (one.used_bytes, one.total_bytes) {
                (Some(used), Some(total)) => format!(" {}", used_of(used, total)),
                _ => String::new(),
            };
            lines.push(format!("mounted: {}{used}", one.mount_point));
        }
        lines.into_iter().map(|line| stdx::untrusted::line(&line, 160).into_owned()).collect()
    }

    /// A container's interfaces, which say that its network came up inside.
    async fn interfaces(&self) -> Vec<String> {
        if self.order.kind != GuestKind::Lxc {
            return Vec::new();
        }
        let call = lxc::interfaces(&self.order.node, self.order.vmid);
        let all = self.order.member.operator.call(call).await.ok().flatten().unwrap_or_default();
        let lines = all.into_iter().take(MOST).map(|one| format!("interface: {}", one.name));
        lines.map(|line| stdx::untrusted::line(&line, 160).into_owned()).collect()
    }
}

fn outcome(seen: &Seen) -> StepOutcome {
    let mut outcome = StepOutcome::default();
    outcome.value = json!({"seen": seen});
    outcome
}
