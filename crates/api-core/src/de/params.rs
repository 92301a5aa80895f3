//! The macro for structs of options, and how each type becomes a parameter.

use std::collections::BTreeMap;

use estate::{DatastoreName, NodeName, StorageName, Upid, VmId};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use crate::Params;

/// A value that can be a parameter.
pub trait ParamValue {
    /// Adds it under `key`: nothing, once or several times.
    fn add_to(&self, key: &str, params: &mut Params);
}

/// A list that the API wants as one text with commas (PVE); a plain `Vec` repeats the key, which is
/// how both products take arrays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommaList(pub Vec<String>);

/// Further parameters by their wire names, such as `net0`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Extra(pub BTreeMap<String, String>);

impl<T: ToString> FromIterator<T> for CommaList {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self(items.into_iter().map(|item| item.to_string()).collect())
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Extra {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(items: I) -> Self {
        Self(items.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

impl std::fmt::Debug for Extra {
    /// The keys only: values can be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

macro_rules! printed {
    ($($type:ty),*) => { $(
        impl ParamValue for $type {
            fn add_to(&self, key: &str, params: &mut Params) {
                params.push(key, self);
            }
        }
    )* };
}

printed!(
    u64,
    u32,
    u16,
    u8,
    i64,
    f64,
    String,
    &str,
    VmId,
    NodeName,
    StorageName,
    DatastoreName,
    Upid
);

impl ParamValue for bool {
    fn add_to(&self, key: &str, params: &mut Params) {
        params.push(key, u8::from(*self));
    }
}

impl ParamValue for Timestamp {
    fn add_to(&self, key: &str, params: &mut Params) {
        params.push(key, self.as_second());
    }
}

impl ParamValue for SecretString {
    fn add_to(&self, key: &str, params: &mut Params) {
        params.push(key, self.expose_secret());
    }
}

impl ParamValue for CommaList {
    fn add_to(&self, key: &str, params: &mut Params) {
        if !self.0.is_empty() {
            params.push(key, self.0.join(","));
        }
    }
}

impl ParamValue for Extra {
    fn add_to(&self, _key: &str, params: &mut Params) {
        for (key, value) in &self.0 {
            params.push(key, value);
        }
    }
}

impl<T: ParamValue> ParamValue for Option<T> {
    fn add_to(&self, key: &str, params: &mut Params) {
        if let Some(value) = self {
            value.add_to(key, params);
        }
    }
}

impl<T: ParamValue> ParamValue for Vec<T> {
    fn add_to(&self, key: &str, params: &mut Params) {
        for value in self {
            value.add_to(key, params);
        }
    }
}

/// Makes a struct of options that turns into [`Params`].
///
/// A field is written `pub name: Type`, with `= "wire-name"` where the wire calls it otherwise; a
/// field that brings its own names ([`Extra`], another struct of options) has the wire name `""`.
/// The struct also gets `NAMES`, the wire names of its fields.
#[macro_export]
macro_rules! params {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $( $(#[$doc:meta])* pub $field:ident : $type:ty $(= $wire:literal)? ),* $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default)]
        $vis struct $name {
            $(
                $(#[$doc])*
                #[doc = concat!(" `", $crate::reply!(@wire $field $($wire)?), "`")]
                pub $field: $type,
            )*
        }

        impl $name {
            /// The wire names of the fields.
            $vis const NAMES: &'static [&'static str] =
                &[$( $crate::reply!(@wire $field $($wire)?), )*];
        }

        impl $crate::de::ParamValue for $name {
            /// Adds every field under its own name.
            fn add_to(&self, _key: &str, params: &mut $crate::Params) {
                $( $crate::de::ParamValue::add_to(
                    &self.$field,
                    $crate::reply!(@wire $field $($wire)?),
                    params,
                ); )*
            }
        }

        impl From<$name> for $crate::Params {
            fn from(options: $name) -> Self {
                let mut params = Self::new();
                $crate::de::ParamValue::add_to(&options, "", &mut params);
                params
            }
        }
    };
}
