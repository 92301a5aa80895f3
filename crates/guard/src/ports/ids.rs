//! Ids of what is kept: 128 bits, written as 32 lowercase hexadecimal digits.

use std::{fmt, str::FromStr};

/// The text is no id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not {0}: 32 lowercase hexadecimal digits are expected")]
pub struct InvalidId(&'static str);

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// From its bits; whoever keeps the record draws them at random.
            pub fn from_bits(bits: u128) -> Self {
                Self(bits)
            }

            /// Its bits.
            pub fn bits(self) -> u128 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                parse(text).map(Self).ok_or(InvalidId($what))
            }
        }
    };
}

id!(
    /// An approval's id. Nobody guesses it, but knowing it approves nothing.
    ApprovalId, "an approval id"
);
id!(
    /// The id of an action that was begun.
    ActionId, "an action id"
);
id!(
    /// The id of a way back.
    UndoId, "an undo id"
);
id!(
    /// The id of a change that waits for being confirmed.
    ConfirmId, "a confirm id"
);

fn parse(text: &str) -> Option<u128> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != 32 || !text.bytes().all(is_digit) {
        return None;
    }
    u128::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn written_form_reads_back(bits: u128) {
            let id = ApprovalId::from_bits(bits);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }
    }

    #[test]
    fn garbage_is_refused() {
        for text in ["", "0", &"A".repeat(32), &"é".repeat(16), &"0".repeat(33), "+1"] {
            let error = text.parse::<ApprovalId>().unwrap_err();
            assert_eq!(
                error.to_string(),
                "not an approval id: 32 lowercase hexadecimal digits are expected"
            );
        }
    }
}
