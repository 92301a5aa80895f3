//! The three access tiers that a tool can have.

use std::fmt;

/// What a call may do to the estate; "tier" in prose.
///
/// Ordered: `Read < Operate < Destroy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// Changes nothing.
    Read,
    /// Changes something that can be changed back: power, snapshots made, backups run.
    Operate,
    /// Loses something that cannot be brought back: deletion, rollback, pruning.
    Destroy,
}

// === impl Access ===

impl Access {
    /// The lowercase word that answers, settings and logs use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Destroy => "destroy",
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
