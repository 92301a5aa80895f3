//! The two products.

use std::{fmt, str::FromStr};

use crate::names::InvalidName;

/// Which product a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Product {
    /// Proxmox VE.
    Pve,
    /// Proxmox Backup Server.
    Pbs,
}

// === impl Product ===

impl Product {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Pve, Self::Pbs];

    /// The short word that settings and answers use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pve => "pve",
            Self::Pbs => "pbs",
        }
    }

    /// The product's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pve => "Proxmox VE",
            Self::Pbs => "Proxmox Backup Server",
        }
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Product {
    type Err = InvalidName;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|product| product.as_str() == word);
        found.ok_or_else(|| InvalidName::new("product", word, "use pve or pbs"))
    }
}
