//! The guest that is changed, as it is just now: its configuration, its state, its disks.

use std::sync::Arc;

use estate::GuestKind;
use pve_client::{guest::PendingValue, lxc, qemu};
use serde_json::{Value, json};

use super::parts::{Parts, Volume};
use crate::{
    address::{Purpose, quoted},
    error::{Kind, ToolError},
    fleet::Pve,
    follow::state::State,
    plan::Plan,
    redaction::shortened,
    report::{Cell, Report, Table},
    tool::Cx,
    tools::power::named,
    view::Guest,
};

/// The most characters of a value that a sentence or a cell shows.
const VALUE_CHARS: usize = 200;

/// A guest that is to be changed.
pub(super) struct Subject {
    pub(super) member: Arc<Pve>,
    pub(super) guest: Guest,
    pub(super) parts: Parts,
    pub(super) state: State,
    notes: Vec<String>,
}

// === impl Subject ===

impl Subject {
    /// Finds the guest and reads it.
    pub(super) async fn read(cx: &Cx, address: &str) -> Result<Self, ToolError> {
        let found = cx.fleet.find_guest(address, Purpose::Write).await?;
        let (member, guest) = (found.member, found.guest);
        let (parts, state) = futures::join!(
            Parts::read(&member, &guest),
            State::read(&member.client, guest.kind, &guest.node, guest.at.vmid),
        );
        let parts = parts?;
        let state = state.map_err(|error| {
            ToolError::api(format!("read the state of {}", named(&guest)), &error)
        })?;
        Ok(Self { member, guest, parts, state, notes: found.notes })
    }

    /// For sentences: `lab/104 web`.
    pub(super) fn name(&self) -> String {
        named(&self.guest)
    }

    /// What was not tried, and why.
    pub(super) fn refused(&self, what: &str, why: impl std::fmt::Display) -> ToolError {
        let report = Report::new(format!("{what} was not tried: {why}"))
            .fact("status", "refused")
            .fact("guest", self.guest.at.to_string());
        ToolError::from_report(report)
    }

    /// A plan that holds as long as configuration, node and state stay what they are.
    pub(super) fn plan(&self, what: &str) -> Plan {
        let mut plan = Plan::new(what)
            .target(
                self.guest.at.to_string(),
                [
                    ("digest", self.parts.digest.as_str()),
                    ("node", self.guest.node.as_str()),
                    ("status", self.state.status.as_str()),
                ],
            )
            .fact("guest", self.guest.at.to_string());
        plan.notes.extend(self.notes.iter().cloned());
        plan
    }

    /// The answer where nothing is to be done.
    pub(super) fn already(&self, lead: String) -> Plan {
        let mut plan = Plan::already(
            Report::new(lead).fact("guest", self.guest.at.to_string()).fact("status", "unchanged"),
        );
        plan.notes.extend(self.notes.iter().cloned());
        plan
    }

    /// The disk that is meant: the named one, or the only one there is.
    pub(super) fn disk(&self, what: &str, wanted: Option<&str>) -> Result<&Volume, ToolError> {
        let name = self.name();
        let all: Vec<&Volume> = self.parts.disks().collect();
        let mut table = Table::new("disks", &["disk", "volume", "size"]);
        for volume in &all {
            table.push(vec![
                Cell::text(&volume.key),
                Cell::text(&volume.id),
                Cell::bytes(volume.size),
            ]);
        }
        let Some(wanted) = wanted.map(str::trim).filter(|wanted| !wanted.is_empty()) else {
            let mut attached =
                all.iter().filter(|volume| !volume.key.starts_with("unused") && !is_state(volume));
            return match (attached.next(), attached.next()) {
                (Some(only), None) => Ok(only),
                (None, _) => Err(self.refused(what, "the guest has no disk")),
                _ => Err(ToolError::new(format!("{name} has several disks: which one is meant?"))
                    .of_kind(Kind::Ambiguous)
                    .hint("give disk")
                    .choices(table)),
            };
        };
        if let Some(volume) = all.iter().find(|volume| volume.key == wanted) {
            return Ok(volume);
        }
        if self.parts.volumes.iter().any(|volume| volume.key == wanted) {
            return Err(self.refused(what, format!("{wanted} is a drive with a medium, no disk")));
        }
        Err(ToolError::not_found(format!("{name} has no disk {}", quoted(wanted))).choices(table))
    }

    /// Its options, those that wait included. The row `digest` is left out.
    pub(super) async fn options(&self) -> Result<Vec<PendingValue>, ToolError> {
        options(&self.member, &self.guest).await.map_err(|error| {
            ToolError::api(format!("read the configuration of {}", self.name()), &error)
        })
    }
}

/// A guest's options, those that wait included.
pub(super) async fn options(
    member: &Pve,
    guest: &Guest,
) -> Result<Vec<PendingValue>, api_core::Error> {
    let (node, vmid) = (&guest.node, guest.at.vmid);
    let mut all = match guest.kind {
        GuestKind::Qemu => member.client.call(qemu::pending(node, vmid)).await?,
        GuestKind::Lxc => member.client.call(lxc::pending(node, vmid)).await?,
    };
    all.retain(|row| row.key != "digest");
    Ok(all)
}

/// Whether it holds the state of firmware: such volumes have a size of their own.
pub(super) fn is_state(volume: &Volume) -> bool {
    volume.key.starts_with("efidisk") || volume.key.starts_with("tpmstate")
}

/// A value as PVE writes it.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(on) => u8::from(*on).to_string(),
        other => other.to_string(),
    }
}

/// A value as a cell shows it: one line, and no longer than is read.
pub(super) fn shown(value: &str) -> String {
    if value.is_empty() {
        return "-".to_owned();
    }
    shortened(value, VALUE_CHARS)
}

/// The arguments of a call that only names the guest.
pub(super) fn of_guest(guest: &Guest) -> Value {
    json!({"guest": guest.at.to_string()})
}
