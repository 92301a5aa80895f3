//! The macro for open enumerations.

/// Makes an enumeration of the words that a field is known to hold; others are kept as `Other`.
///
/// The type prints as the word, is read leniently and can be a parameter.
#[macro_export]
macro_rules! words {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $( $(#[$doc:meta])* $variant:ident = $word:literal ),* $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        $vis enum $name {
            $( $(#[$doc])* #[doc = concat!(" `", $word, "`")] $variant, )*
            /// A word that is not known here.
            Other(String),
        }

        impl $name {
            /// The word.
            $vis fn as_str(&self) -> &str {
                match self {
                    $( Self::$variant => $word, )*
                    Self::Other(word) => word,
                }
            }
        }

        impl From<&str> for $name {
            fn from(word: &str) -> Self {
                match word {
                    $( $word => Self::$variant, )*
                    other => Self::Other(other.to_owned()),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl<'de> $crate::de::Lenient<'de> for $name {
            fn read<D: $crate::de::__serde::Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Option<Self>, D::Error> {
                let scalar: $crate::de::Scalar<'de> =
                    $crate::de::__serde::Deserialize::deserialize(deserializer)?;
                Ok(match scalar {
                    $crate::de::Scalar::Text(text) if text.is_empty() => None,
                    $crate::de::Scalar::Text(text) => Some(Self::from(&*text)),
                    other => other.into_text().map(|text| Self::from(&*text)),
                })
            }

            fn absent() -> Option<Self> {
                Some(Self::Other(String::new()))
            }

            fn from_word(word: &str) -> Option<Self> {
                Some(Self::from(word))
            }
        }

        impl $crate::de::ParamValue for $name {
            fn add_to(&self, key: &str, params: &mut $crate::Params) {
                params.push(key, self);
            }
        }
    };
}
