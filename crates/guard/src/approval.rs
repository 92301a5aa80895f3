//! Who may decide about a plan: a person who holds something that the asker does not.
//!
//! | way | what the approver holds | what it does not prove |
//! |---|---|---|
//! | `client` | the client that asked | that no model answers: counts only where policy trusts it |
//! | `peer_uid` | another account of the system | anything, if the asker runs as the same account |
//! | `passphrase` | a key that a passphrase unlocks | – |
//! | `one_time_code` | a one-time code | – |
//! | `link` | a signed link that was sent to them | – |
//! | `channel` | their identity on a channel | anything, if that identity asked |

use std::collections::BTreeSet;

pub use crate::ports::Way;
use crate::{Principal, PrincipalKind, ports::Approval};

/// Somebody who may agree to plans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approver {
    /// The name of the table in the settings.
    pub name: String,
    /// The teams that lines of the policy can name.
    pub teams: BTreeSet<String>,
    /// Who they are by other names: their accounts and their ids on channels.
    pub principals: BTreeSet<Principal>,
    /// The system group whose members may speak for them, by its number.
    pub gid: Option<u32>,
    /// Whether a key of theirs is known.
    pub has_key: bool,
    /// Whether the secret of their one-time codes is known.
    pub has_code: bool,
}

/// Somebody about to decide.
#[derive(Clone, Copy, Debug)]
pub struct Decider<'a> {
    /// As whom.
    pub approver: &'a Approver,
    /// By which identity: the peer's account, the channel's id.
    pub principal: &'a Principal,
    /// By which way.
    pub way: Way,
}

/// What is to be decided.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Who asked for the work.
    pub requested_by: &'a Principal,
    /// Names of approvers or of their teams; empty: any approver.
    pub of: &'a [String],
    /// How many of them it takes.
    pub needed: u32,
    /// Whether the person at the asking client counts.
    pub client_counts: bool,
}

/// Why somebody may not decide.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAllowed {
    /// An answer in the client does not count for this.
    #[error(
        "an answer in the client does not count for this; an approver decides elsewhere, such as by `proxmox-mcp approve`"
    )]
    Client,
    /// Others are asked.
    #[error("{name} is not asked: {of} decide")]
    NotAsked {
        /// Who tried.
        name: String,
        /// Who is asked.
        of: String,
    },
    /// The asker's own credential.
    #[error(
        "{principal} asked for it itself, and decides only with something that a program of this account does not hold: a passphrase, a one-time code, or another account"
    )]
    Same {
        /// The credential.
        principal: String,
    },
    /// Tools are called as this very account.
    #[error(
        "{principal} froze it or calls tools itself, and lifts a freeze only with something that a program of this account does not hold: a passphrase, a one-time code, or another account"
    )]
    CallsTools {
        /// The credential.
        principal: String,
    },
    /// One of several must be another.
    #[error("{name} asked for it, and where several must agree each is somebody else")]
    Asker {
        /// Who tried.
        name: String,
    },
    /// The identity is not theirs.
    #[error("{principal} is none of the identities of {name}")]
    Stranger {
        /// The approver.
        name: String,
        /// The identity.
        principal: String,
    },
    /// The way is not set up for them.
    #[error("{name} has no {what}; `proxmox-mcp approver add {name}` sets it up")]
    NotSetUp {
        /// The approver.
        name: String,
        /// What is missing.
        what: &'static str,
    },
}

/// Whether this person may decide by this way. Whether the way's proof is good (the signature, the
/// code, the peer's uid) is checked by whoever calls this.
///
/// # Errors
/// Why not.
pub fn may_decide(question: &Question<'_>, decider: &Decider<'_>) -> Result<(), NotAllowed> {
    let Decider { approver, principal, way } = *decider;
    if way == Way::Client {
        // Nobody's name is known there, so it never counts where somebody is named.
        let counts = question.client_counts && question.of.is_empty() && question.needed <= 1;
        return if counts { Ok(()) } else { Err(NotAllowed::Client) };
    }
    if !approver.is_one_of(question.of) {
        let (name, of) = (approver.name.clone(), question.of.join(", "));
        return Err(NotAllowed::NotAsked { name, of });
    }
    decider.proves_a_person()?;
    let asker = question.requested_by.actor();
    let initiates = approver.is_known_as(&asker)
        || question.requested_by.on_behalf_of().is_some_and(|other| approver.is_known_as(other));
    if question.needed > 1 && initiates {
        return Err(NotAllowed::Asker { name: approver.name.clone() });
    }
    let own = *principal == asker;
    if own && matches!(way, Way::PeerUid | Way::Channel) {
        return Err(NotAllowed::Same { principal: principal.to_string() });
    }
    Ok(())
}

// === impl Question ===

impl<'a> From<&'a Approval> for Question<'a> {
    fn from(approval: &'a Approval) -> Self {
        Self {
            requested_by: &approval.requested_by,
            of: &approval.of,
            needed: approval.needed,
            client_counts: approval.client_counts,
        }
    }
}

// === impl Approver ===

impl Approver {
    /// Somebody without any way yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            teams: BTreeSet::new(),
            principals: BTreeSet::new(),
            gid: None,
            has_key: false,
            has_code: false,
        }
    }

    /// Whether this principal is theirs.
    pub fn is_known_as(&self, principal: &Principal) -> bool {
        self.principals.contains(principal)
    }

    /// Whether they are among those that a line names; an empty list names everybody.
    pub fn is_one_of(&self, of: &[String]) -> bool {
        of.is_empty() || of.iter().any(|name| *name == self.name || self.teams.contains(name))
    }

    /// Whether they could decide about anything at all.
    pub fn has_a_way(&self) -> bool {
        !self.principals.is_empty() || self.gid.is_some() || self.has_key || self.has_code
    }
}

// === impl Decider ===

impl Decider<'_> {
    /// Whether the way is one of the approver's own.
    pub(crate) fn proves_a_person(&self) -> Result<(), NotAllowed> {
        let Decider { approver, principal, way } = *self;
        let name = || approver.name.clone();
        let missing = |what| Err(NotAllowed::NotSetUp { name: name(), what });
        let stranger =
            || Err(NotAllowed::Stranger { name: name(), principal: principal.to_string() });
        match way {
            Way::Passphrase if !approver.has_key => missing("key"),
            Way::OneTimeCode if !approver.has_code => missing("secret for one-time codes"),
            // Members of the approver's group are told by whoever asked the kernel.
            Way::PeerUid if approver.gid.is_some() && is_local(principal) => Ok(()),
            Way::PeerUid if !is_local(principal) => stranger(),
            Way::Channel if principal.kind() != PrincipalKind::Channel => stranger(),
            Way::PeerUid | Way::Channel if !approver.is_known_as(principal) => stranger(),
            _ => Ok(()),
        }
    }
}

fn is_local(principal: &Principal) -> bool {
    principal.kind() == PrincipalKind::Local
}

#[cfg(test)]
mod tests;
