//! Who asks and how far they may go: what authentication hands on.

use crate::{Principal, Scope};

/// A principal with the scope of the credential that it showed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grant {
    /// Who asks.
    pub principal: Principal,
    /// What the credential allows at most.
    pub scope: Scope,
}

// === impl Grant ===

impl Grant {
    /// This scope for this principal.
    pub fn new(principal: Principal, scope: Scope) -> Self {
        Self { principal, scope }
    }
}
