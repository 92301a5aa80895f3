//! Names as types: each is checked once, when it is made.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer};

/// A name that does not fit its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {given:?} is not valid: {rule}")]
pub struct InvalidName {
    kind: &'static str,
    given: String,
    rule: &'static str,
}

impl InvalidName {
    pub(crate) fn new(kind: &'static str, given: &str, rule: &'static str) -> Self {
        // A wrong name can be megabytes of somebody's input; the message keeps its head.
        Self { kind, given: given.chars().take(80).collect(), rule }
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $check:path, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the name and makes it.
            pub fn try_new(name: &str) -> Result<Self, InvalidName> {
                if $check(name) { Ok(Self(name.into())) } else { Err(InvalidName::new($kind, name, $rule)) }
            }

            /// The name as it is written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(name: &str) -> Result<Self, InvalidName> {
                Self::try_new(name)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                &*self.0 == other
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = String::deserialize(deserializer)?;
                Self::try_new(&name).map_err(serde::de::Error::custom)
            }
        }
    };
}

name! {
    /// The key of a settings table (`[pve.home]`, `[pbs.vault]`): how a cluster, a standalone node
    /// or a backup server is addressed everywhere. The cluster's own name is for display only.
    ClusterKey, "cluster key", is_key, "use a-z, 0-9 and _ only, at most 40 characters"
}
name! {
    /// A node's name: a DNS label.
    NodeName, "node name", is_host, "use letters, digits, - and . only, at most 63 characters"
}
name! {
    /// The id of a PVE storage.
    StorageName, "storage name", is_store, "use letters, digits, -, _ and . only, beginning with a letter or digit"
}
name! {
    /// The name of a PBS datastore.
    DatastoreName, "datastore name", is_store, "use letters, digits, -, _ and . only, beginning with a letter or digit"
}

fn is_key(name: &str) -> bool {
    (1..=40).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn is_host(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !name.contains("..")
}

fn is_store(name: &str) -> bool {
    (1..=100).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_their_alphabet() {
        assert!(ClusterKey::try_new("home_1").is_ok());
        for wrong in ["", "Home", "a-b", "a/b", "ä", &"x".repeat(41)] {
            assert!(ClusterKey::try_new(wrong).is_err(), "{wrong}");
        }
        assert!(NodeName::try_new("pve-1.lan").is_ok());
        for wrong in ["", "..", "a..b", "a/b", "a%2fb", "a b", "-a", ".a"] {
            assert!(NodeName::try_new(wrong).is_err(), "{wrong}");
            assert!(wrong == "a..b" || StorageName::try_new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_error_says_what_is_allowed() {
        let error = ClusterKey::try_new("My Lab").expect_err("blanks are not allowed");
        assert_eq!(
            error.to_string(),
            "cluster key \"My Lab\" is not valid: use a-z, 0-9 and _ only, at most 40 characters"
        );
    }
}
