//! Single values: numbers, booleans, texts, times, ids, in whatever form they come.

use std::{borrow::Cow, fmt};

use estate::{DatastoreName, GuestKind, NodeName, StorageName, Upid, VmId};
use jiff::Timestamp;
use secrecy::SecretString;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, Visitor},
};

use super::Lenient;

/// A single value as it came.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar<'de> {
    /// `null`.
    Nothing,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number that is not negative.
    Unsigned(u64),
    /// A negative whole number.
    Signed(i64),
    /// Another number.
    Float(f64),
    /// A text.
    Text(Cow<'de, str>),
}

/// A value that does not fit, with what was wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfit(pub &'static str);

impl Scalar<'_> {
    /// The value as a text.
    pub fn into_text(self) -> Option<String> {
        match self {
            Scalar::Nothing => None,
            Scalar::Bool(value) => Some(u8::from(value).to_string()),
            Scalar::Unsigned(value) => Some(value.to_string()),
            Scalar::Signed(value) => Some(value.to_string()),
            Scalar::Float(value) => Some(value.to_string()),
            Scalar::Text(text) => Some(text.into_owned()),
        }
    }
}

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a single value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Nothing)
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Nothing)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Scalar::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(u64::try_from(value).map_or(Scalar::Signed(value), Scalar::Unsigned))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Scalar::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(text)))
    }
}

/// Implements [`Lenient`] for a type that one [`Scalar`] makes.
macro_rules! lenient_scalar {
    ($($type:ty, $convert:path $(, $absent:expr)?;)*) => { $(
        impl<'de> Lenient<'de> for $type {
            fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
                let scalar = Scalar::deserialize(deserializer)?;
                $convert(scalar).map_err(|Unfit(wanted)| {
                    D::Error::custom(format_args!("the value is not {wanted}"))
                })
            }

            fn read_optional<D: Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Option<Self>, D::Error> {
                let scalar = Scalar::deserialize(deserializer)?;
                if let Scalar::Text(text) = &scalar && text.is_empty() {
                    return Ok(None);
                }
                Ok($convert(scalar).unwrap_or(None))
            }

            $( fn absent() -> Option<Self> {
                Some($absent)
            } )?

            fn from_word(word: &str) -> Option<Self> {
                $convert(Scalar::Text(Cow::Owned(word.to_owned()))).unwrap_or(None)
            }
        }
    )* };
}

lenient_scalar! {
    u64, unsigned, 0;
    u32, small, 0;
    u16, small, 0;
    u8, small, 0;
    i64, signed, 0;
    i32, small_signed, 0;
    f64, float, 0.0;
    bool, boolean, false;
    String, text, String::new();
    SecretString, secret;
    Timestamp, timestamp;
    VmId, parsed_vmid;
    NodeName, parsed_node;
    StorageName, parsed_storage;
    DatastoreName, parsed_datastore;
    Upid, parsed_upid;
    GuestKind, parsed_kind;
}

fn unsigned(scalar: Scalar<'_>) -> Result<Option<u64>, Unfit> {
    let unfit = Unfit("a whole number");
    match scalar {
        Scalar::Nothing => Ok(None),
        Scalar::Bool(value) => Ok(Some(u64::from(value))),
        Scalar::Unsigned(value) => Ok(Some(value)),
        // Averages of counters come with a fraction; a size does not need it.
        Scalar::Float(value) if value >= 0.0 => Ok(Some(value.round() as u64)),
        Scalar::Signed(_) | Scalar::Float(_) => Err(unfit),
        Scalar::Text(text) => match text.trim() {
            "" => Ok(None),
            text => match text.parse() {
                Ok(value) => Ok(Some(value)),
                Err(_) => match text.parse::<f64>() {
                    Ok(value) if value >= 0.0 => Ok(Some(value.round() as u64)),
                    _ => Err(unfit),
                },
            },
        },
    }
}

fn small<T: TryFrom<u64>>(scalar: Scalar<'_>) -> Result<Option<T>, Unfit> {
    let Some(value) = unsigned(scalar)? else { return Ok(None) };
    T::try_from(value).map(Some).map_err(|_| Unfit("a number of this size"))
}

fn signed(scalar: Scalar<'_>) -> Result<Option<i64>, Unfit> {
    match scalar {
        Scalar::Signed(value) => Ok(Some(value)),
        Scalar::Float(value) => Ok(Some(value.round() as i64)),
        Scalar::Text(text) if text.trim().starts_with('-') => {
            text.trim().parse().map(Some).map_err(|_| Unfit("a whole number"))
        }
        other => match unsigned(other)? {
            None => Ok(None),
            Some(value) => {
                i64::try_from(value).map(Some).map_err(|_| Unfit("a number of this size"))
            }
        },
    }
}

fn small_signed(scalar: Scalar<'_>) -> Result<Option<i32>, Unfit> {
    let Some(value) = signed(scalar)? else { return Ok(None) };
    i32::try_from(value).map(Some).map_err(|_| Unfit("a number of this size"))
}

fn float(scalar: Scalar<'_>) -> Result<Option<f64>, Unfit> {
    match scalar {
        Scalar::Nothing => Ok(None),
        Scalar::Bool(value) => Ok(Some(f64::from(u8::from(value)))),
        Scalar::Unsigned(value) => Ok(Some(value as f64)),
        Scalar::Signed(value) => Ok(Some(value as f64)),
        Scalar::Float(value) => Ok(Some(value)),
        Scalar::Text(text) => match text.trim() {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| Unfit("a number")),
        },
    }
}

fn boolean(scalar: Scalar<'_>) -> Result<Option<bool>, Unfit> {
    match scalar {
        Scalar::Nothing => Ok(None),
        Scalar::Bool(value) => Ok(Some(value)),
        Scalar::Unsigned(value) => Ok(Some(value != 0)),
        Scalar::Signed(_) => Ok(Some(true)),
        Scalar::Float(value) => Ok(Some(value != 0.0)),
        Scalar::Text(text) => match &*text {
            "" => Ok(None),
            "1" | "true" | "yes" | "on" => Ok(Some(true)),
            "0" | "false" | "no" | "off" => Ok(Some(false)),
            _ => Err(Unfit("a boolean")),
        },
    }
}

#[expect(clippy::unnecessary_wraps, reason = "all conversions have one signature")]
fn text(scalar: Scalar<'_>) -> Result<Option<String>, Unfit> {
    Ok(scalar.into_text())
}

fn secret(scalar: Scalar<'_>) -> Result<Option<SecretString>, Unfit> {
    Ok(text(scalar)?.map(SecretString::from))
}

/// Seconds since the epoch; zero is how the servers say "never".
fn timestamp(scalar: Scalar<'_>) -> Result<Option<Timestamp>, Unfit> {
    match signed(scalar)? {
        None | Some(0) => Ok(None),
        Some(seconds) => {
            Timestamp::from_second(seconds).map(Some).map_err(|_| Unfit("a time in seconds"))
        }
    }
}

macro_rules! parsed {
    ($($function:ident, $type:ty, $wanted:literal;)*) => { $(
        fn $function(scalar: Scalar<'_>) -> Result<Option<$type>, Unfit> {
            match scalar.into_text() {
                None => Ok(None),
                Some(text) => text.parse().map(Some).map_err(|_| Unfit($wanted)),
            }
        }
    )* };
}

parsed! {
    parsed_vmid, VmId, "a guest id";
    parsed_node, NodeName, "a node's name";
    parsed_storage, StorageName, "a storage's name";
    parsed_datastore, DatastoreName, "a datastore's name";
    parsed_upid, Upid, "a task's UPID";
    parsed_kind, GuestKind, "a kind of guest";
}
