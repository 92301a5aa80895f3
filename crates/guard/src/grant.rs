//! Who asks and how far they may go: what authentication hands on.

use crate::{Principal, Scope, policy::Transport};

/// A principal with the scope of the credential that it showed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grant {
    /// Who asks.
    pub principal: Principal,
    /// What the credential allows at most.
    pub scope: Scope,
    /// The way by which it was shown.
    pub via: Transport,
}

// === impl Grant ===

impl Grant {
    /// This scope for this principal, shown over HTTP.
    pub fn new(principal: Principal, scope: Scope) -> Self {
        Self { principal, scope, via: Transport::Http }
    }

    /// This scope for this account of the system, told by the kernel at a socket of ours.
    pub fn at_home(principal: Principal, scope: Scope) -> Self {
        Self { principal, scope, via: Transport::Local }
    }
}
