//! The macro for replies.

/// Makes a struct that is read leniently from a JSON object.
///
/// A field is written `pub name: Type`, with `= "wire-name"` where the wire calls it otherwise
/// (`= "a" | "b"` for two spellings). Unknown fields are ignored, or kept where the struct ends in
/// `..rest`. Each type says what its absence means ([`Lenient::absent`](crate::de::Lenient)): ids
/// must be there, numbers are 0, lists are empty, an `Option` is `None`.
///
/// The struct also gets `FIELDS`, the wire names that it has fields for.
#[macro_export]
macro_rules! reply {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $( $(#[$doc:meta])* pub $field:ident : $type:ty $(= $wire:literal $(| $alias:literal)*)? ),*
            $(, ..$rest:ident )?
            $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug)]
        #[non_exhaustive]
        $vis struct $name {
            $(
                $(#[$doc])*
                #[doc = concat!(" `", $crate::reply!(@wire $field $($wire)?), "`")]
                pub $field: $type,
            )*
            $(
                /// The fields that have no name here, as they came.
                pub $rest: std::collections::BTreeMap<String, $crate::de::__serde_json::Value>,
            )?
        }

        impl $name {
            /// The wire names that have a field of their own.
            $vis const FIELDS: &'static [&'static str] =
                &[$( $crate::reply!(@wire $field $($wire)?), )*];
        }

        impl<'de> $crate::de::Lenient<'de> for $name {
            fn read<D: $crate::de::__serde::Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Option<Self>, D::Error> {
                use $crate::de::__serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
                use $crate::de::{Lenient, Read, Scalar};

                struct ReplyVisitor;

                impl<'de> Visitor<'de> for ReplyVisitor {
                    type Value = Option<$name>;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!("the object ", stringify!($name)))
                    }

                    fn visit_unit<E>(self) -> Result<Self::Value, E> {
                        Ok(None)
                    }

                    fn visit_none<E>(self) -> Result<Self::Value, E> {
                        Ok(None)
                    }

                    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                        if text.is_empty() {
                            return Ok(None);
                        }
                        Err(E::custom(concat!("a text in place of the object ", stringify!($name))))
                    }

                    fn visit_seq<A: SeqAccess<'de>>(
                        self,
                        mut seq: A,
                    ) -> Result<Self::Value, A::Error> {
                        // Perl sometimes takes an empty object for an empty list.
                        match seq.next_element::<IgnoredAny>()? {
                            None => Ok(None),
                            Some(_) => Err(A::Error::custom(
                                concat!("a list in place of the object ", stringify!($name)),
                            )),
                        }
                    }

                    fn visit_map<A: MapAccess<'de>>(
                        self,
                        mut map: A,
                    ) -> Result<Self::Value, A::Error> {
                        $( let mut $field: Option<$type> = None; )*
                        $( let mut $rest = std::collections::BTreeMap::new(); )?
                        while let Some(key) = map.next_key::<Scalar<'de>>()? {
                            let Scalar::Text(key) = key else {
                                map.next_value::<IgnoredAny>()?;
                                continue;
                            };
                            match &*key {
                                $(
                                    $crate::reply!(@wire $field $($wire)?) $($(| $alias)*)? => {
                                        $field = map.next_value::<Read<$type>>().map_err(|error| {
                                            A::Error::custom(format_args!("{key}: {error}"))
                                        })?.0;
                                    }
                                )*
                                _ => $crate::reply!(@unknown map key $($rest)?),
                            }
                        }
                        Ok(Some($name {
                            $(
                                $field: match $field.or_else(<$type as Lenient<'de>>::absent) {
                                    Some(value) => value,
                                    None => {
                                        return Err(A::Error::missing_field(
                                            $crate::reply!(@wire $field $($wire)?),
                                        ));
                                    }
                                },
                            )*
                            $($rest,)?
                        }))
                    }
                }

                deserializer.deserialize_any(ReplyVisitor)
            }
        }

        impl<'de> $crate::de::__serde::Deserialize<'de> for $name {
            fn deserialize<D: $crate::de::__serde::Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Self, D::Error> {
                use $crate::de::__serde::de::Error;

                <Self as $crate::de::Lenient<'de>>::read(deserializer)?.ok_or_else(|| {
                    D::Error::custom(concat!("nothing where the object ", stringify!($name), " was expected"))
                })
            }
        }
    };
    (@wire $field:ident) => { stringify!($field) };
    (@wire $field:ident $wire:literal) => { $wire };
    (@unknown $map:ident $key:ident) => {{ $map.next_value::<IgnoredAny>()?; }};
    (@unknown $map:ident $key:ident $rest:ident) => {{
        let value: $crate::de::__serde_json::Value = $map.next_value()?;
        $rest.insert($key.into_owned(), value);
    }};
}
