//! The freeze: nothing changes until a person lifts it.
//!
//! Anyone may freeze; only a person lifts it, by a way that the frozen cannot go themselves.
//! Alerts go on, and so does taking back a change that nobody confirmed.

use estate::Access;
use jiff::Timestamp;

pub use crate::ports::Freeze;
use crate::{
    Principal,
    approval::{Decider, NotAllowed, Way},
};

/// What a call to the estate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// What somebody asked for.
    Work,
    /// Taking back a change that was not confirmed.
    Revert,
}

/// A freeze stops it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("all changes are frozen by {by} since {since}{}: {reason}; a person lifts it with `proxmox-mcp freeze --lift`", its_end(*until))]
pub struct Frozen {
    by: Principal,
    since: Timestamp,
    until: Option<Timestamp>,
    reason: String,
}

fn its_end(until: Option<Timestamp>) -> String {
    until.map_or_else(String::new, |until| format!(" until {until}"))
}

// === impl Freeze ===

impl Freeze {
    /// Whether a call may be sent.
    ///
    /// # Errors
    /// It changes something, and the freeze is in force.
    pub fn permits(&self, access: Access, purpose: Purpose, now: Timestamp) -> Result<(), Frozen> {
        if access == Access::Read || purpose == Purpose::Revert || !self.holds(now) {
            return Ok(());
        }
        Err(Frozen {
            by: self.by.clone(),
            since: self.since,
            until: self.until,
            reason: one_line(&self.reason),
        })
    }

    /// Whether this person may lift it. `calls_tools` says whether tools are called as this very
    /// principal: an account that a model works as does not lift what stops the model.
    ///
    /// # Errors
    /// Why not.
    pub fn may_lift(&self, decider: &Decider<'_>, calls_tools: bool) -> Result<(), NotAllowed> {
        decider.proves_a_person()?;
        match decider.way {
            Way::Client => Err(NotAllowed::Client),
            Way::PeerUid | Way::Channel if calls_tools || *decider.principal == self.by => {
                Err(NotAllowed::Same { principal: decider.principal.to_string() })
            }
            _ => Ok(()),
        }
    }
}

/// One line of somebody else's words.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}
