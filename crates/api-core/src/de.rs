//! Reading what the servers send, whose types waver, and writing parameters the way they want.
//!
//! The same field comes as `64` and as `"64"`, a boolean as `1`, `"1"` or `true`, a list as an
//! array or as `a;b`, nothing as absent, `null` or `""`. [`Lenient`] is how one such value is read;
//! [`reply!`](crate::reply) makes structs whose fields are all read that way,
//! [`words!`](crate::words) makes open enumerations, [`params!`](crate::params) makes structs of
//! options that turn into [`Params`](crate::Params).
//!
//! ```
//! api_core::words! {
//!     /// What a guest does.
//!     pub enum State {
//!         /// It runs.
//!         Running = "running",
//!     }
//! }
//! api_core::reply! {
//!     /// A guest.
//!     pub struct Guest {
//!         pub status: State,
//!         /// Memory, in bytes.
//!         pub memory_bytes: u64 = "maxmem",
//!         pub tags: Vec<String>,
//!         pub lock: Option<String>,
//!     }
//! }
//! let guest: Guest = serde_json::from_str(r#"{"status": "running", "maxmem": "64", "tags": "a;b", "new": 1}"#)?;
//! assert_eq!((guest.memory_bytes, guest.tags.len(), guest.lock), (64, 2, None));
//! assert_eq!(guest.status, State::Running);
//! # Ok::<(), serde_json::Error>(())
//! ```

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

mod params;
mod reply;
mod scalar;
mod words;

pub use params::{CommaList, Extra, ParamValue};
pub use scalar::{Scalar, Unfit};

// What the macros need where they are used.
#[doc(hidden)]
pub use {serde as __serde, serde_json as __serde_json};

/// A value that the servers do not always send in the same form.
pub trait Lenient<'de>: Sized {
    /// Reads it; `None` where there is nothing: null, or an empty text.
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error>;

    /// Reads it where it may be missing: a text that does not fit (`N/A` for a number) is nothing.
    fn read_optional<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        Self::read(deserializer)
    }

    /// Its value where the field is absent; `None` if it must be there.
    fn absent() -> Option<Self> {
        None
    }

    /// Reads it as one word of a list that came as a text.
    fn from_word(_word: &str) -> Option<Self> {
        None
    }
}

/// An answer that says nothing, whatever stands in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done;

/// Reads one value leniently; what the macros wrap each field in.
#[doc(hidden)]
pub struct Read<T>(pub Option<T>);

// === impl Done and Read ===

impl<'de> Deserialize<'de> for Done {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

impl<'de, T: Lenient<'de>> Deserialize<'de> for Read<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::read(deserializer).map(Self)
    }
}

struct ReadOptional<T>(Option<T>);

impl<'de, T: Lenient<'de>> Deserialize<'de> for ReadOptional<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::read_optional(deserializer).map(Self)
    }
}

// === containers ===

impl<'de, T: Lenient<'de>> Lenient<'de> for Option<T> {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        T::read_optional(deserializer).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl<'de, T: Lenient<'de>> Lenient<'de> for Box<T> {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        Ok(T::read(deserializer)?.map(Box::new))
    }
}

impl<'de, T: Lenient<'de>> Lenient<'de> for Vec<T> {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        deserializer.deserialize_any(ListVisitor(PhantomData))
    }

    fn absent() -> Option<Self> {
        Some(Self::new())
    }
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: Lenient<'de>> Visitor<'de> for ListVisitor<T> {
    type Value = Option<Vec<T>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        let mut list = Vec::new();
        for word in text.split([',', ';', ' ', '\0', '\t', '\n']).filter(|word| !word.is_empty()) {
            let word = T::from_word(word)
                .ok_or_else(|| E::custom(format_args!("{word:?} does not fit into this list")))?;
            list.push(word);
        }
        Ok(Some(list))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Self::Value, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::with_capacity(seq.size_hint().unwrap_or(0).min(4096));
        while let Some(item) = seq.next_element::<Read<T>>()? {
            // A hole in a list (PBS's usage history has them) stays a hole where the type allows it.
            list.extend(item.0.or_else(T::absent));
        }
        Ok(Some(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        // Perl sometimes takes an empty list for an empty table.
        match map.next_key::<IgnoredAny>()? {
            None => Ok(Some(Vec::new())),
            Some(_) => Err(A::Error::custom("a table where a list was expected")),
        }
    }
}

impl<'de, T: Lenient<'de>> Lenient<'de> for BTreeMap<String, T> {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        deserializer.deserialize_any(TableVisitor(PhantomData))
    }

    fn absent() -> Option<Self> {
        Some(Self::new())
    }
}

struct TableVisitor<T>(PhantomData<T>);

impl<'de, T: Lenient<'de>> Visitor<'de> for TableVisitor<T> {
    type Value = Option<BTreeMap<String, T>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        if text.is_empty() { Ok(None) } else { Err(E::custom("a text where a table was expected")) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        match seq.next_element::<IgnoredAny>()? {
            None => Ok(Some(BTreeMap::new())),
            Some(_) => Err(A::Error::custom("a list where a table was expected")),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut table = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            if let Some(value) = map.next_value::<ReadOptional<T>>()?.0.or_else(T::absent) {
                table.insert(key, value);
            }
        }
        Ok(Some(table))
    }
}

impl<'de> Lenient<'de> for serde_json::Value {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        Self::deserialize(deserializer).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(Self::Null)
    }
}

#[cfg(test)]
mod tests;
