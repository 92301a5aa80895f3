//! Guests: virtual machines and containers, and how they are addressed.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer};

use crate::{ClusterKey, names::InvalidName};

/// A guest's id, unique within one cluster: 100 to 999,999,999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VmId(u32);

/// Which of the two kinds a guest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GuestKind {
    /// A virtual machine.
    Qemu,
    /// A container.
    Lxc,
}

/// A guest of the estate, written `cluster/vmid`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GuestRef {
    /// The settings key of the cluster or standalone node.
    pub cluster: ClusterKey,
    /// The id within it.
    pub vmid: VmId,
}

// === impl VmId ===

impl VmId {
    /// Makes an id if it is in the range that PVE allows.
    pub fn try_new(id: u32) -> Result<Self, InvalidName> {
        if (100..=999_999_999).contains(&id) {
            Ok(Self(id))
        } else {
            Err(InvalidName::new("guest id", &id.to_string(), "use 100 to 999999999"))
        }
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for VmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for VmId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let wrong = || InvalidName::new("guest id", text, "use a number from 100 to 999999999");
        // `u32::from_str` takes a leading plus sign, which no id has.
        if !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        Self::try_new(text.parse().map_err(|_| wrong())?)
    }
}

impl<'de> Deserialize<'de> for VmId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = VmId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a guest id as number or string")
            }

            fn visit_u64<E: serde::de::Error>(self, id: u64) -> Result<VmId, E> {
                let id = u32::try_from(id).map_err(E::custom)?;
                VmId::try_new(id).map_err(E::custom)
            }

            fn visit_str<E: serde::de::Error>(self, id: &str) -> Result<VmId, E> {
                id.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

// === impl GuestKind ===

impl GuestKind {
    /// The word that the API's paths and lists use: `qemu` or `lxc`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Qemu => "qemu",
            Self::Lxc => "lxc",
        }
    }
}

impl fmt::Display for GuestKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for GuestKind {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        match text {
            "qemu" | "vm" => Ok(Self::Qemu),
            "lxc" | "ct" => Ok(Self::Lxc),
            _ => Err(InvalidName::new("guest kind", text, "use qemu or lxc")),
        }
    }
}

// === impl GuestRef ===

impl fmt::Display for GuestRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.cluster, self.vmid)
    }
}

impl FromStr for GuestRef {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let Some((cluster, vmid)) = text.split_once('/') else {
            return Err(InvalidName::new("guest", text, "write cluster/vmid, such as home/104"));
        };
        Ok(Self { cluster: cluster.parse()?, vmid: vmid.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_parse_from_what_the_api_sends() {
        assert_eq!("104".parse::<VmId>().map(VmId::get), Ok(104));
        for wrong in ["", "99", "+104", "-1", "1e3", "1000000000", "104/../105"] {
            assert!(wrong.parse::<VmId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_guest_is_cluster_and_id() {
        let guest: GuestRef = "home/104".parse().expect("a valid reference");
        assert_eq!(guest.to_string(), "home/104");
        assert!("104".parse::<GuestRef>().is_err());
        assert!("home/104/105".parse::<GuestRef>().is_err());
    }
}
