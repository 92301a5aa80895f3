//! Cursors: where the next page of a list begins.
//!
//! A cursor belongs to the arguments that it was given with; with others it is refused rather than
//! misread. It holds no data of the estate and needs no memory on our side.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// How many rows a list of guests has where the caller does not say: an answer costs the same for 60
/// guests and for 6,000.
pub const PAGE: usize = 60;

/// How many rows a page has at most, whatever the caller says.
pub const MOST: usize = 1000;

/// How many rows a page has: what was asked for within what a page can be, or else `usual`.
pub fn limit(asked: Option<usize>, usual: usize) -> usize {
    asked.map_or(usual, |asked| asked.clamp(1, MOST))
}

/// A cursor that was made elsewhere, or for other arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cursor is not from this list: call again without it")]
pub struct InvalidCursor;

/// The cursor for the page that begins at `offset` of the list that `args` ask for.
pub fn encode(offset: usize, args: &Map<String, Value>) -> String {
    format!("{offset:x}.{:08x}", digest(args))
}

/// Where the page begins; 0 without a cursor. `args` are the call's arguments; a cursor among them
/// is not counted.
pub fn decode(cursor: Option<&str>, args: &Map<String, Value>) -> Result<usize, InvalidCursor> {
    let Some(cursor) = cursor else { return Ok(0) };
    let (offset, given) = cursor.split_once('.').ok_or(InvalidCursor)?;
    if u32::from_str_radix(given, 16) != Ok(digest(args)) {
        return Err(InvalidCursor);
    }
    usize::from_str_radix(offset, 16).map_err(|_| InvalidCursor)
}

/// A checksum (FNV-1a) over the arguments in key order: it tells lists apart, it guards nothing.
fn digest(args: &Map<String, Value>) -> u32 {
    let mut pairs: Vec<_> = args.iter().filter(|(key, _)| *key != "cursor").collect();
    pairs.sort_by_key(|(key, _)| key.as_str());
    let mut text = String::new();
    for (key, value) in pairs {
        let _ = write!(text, "{key}={value};");
    }
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_has_rows_and_an_end() {
        assert_eq!(limit(None, 60), 60);
        assert_eq!(limit(Some(5), 60), 5);
        assert_eq!(limit(Some(0), 60), 1);
        assert_eq!(limit(Some(usize::MAX), 60), MOST);
    }

    #[test]
    fn a_cursor_belongs_to_its_arguments() {
        let args = json!({"cluster": "home", "limit": 5});
        let args = args.as_object().unwrap();
        let cursor = encode(40, args);
        let mut with_cursor = args.clone();
        with_cursor.insert("cursor".into(), cursor.clone().into());
        assert_eq!(decode(Some(&cursor), &with_cursor), Ok(40));
        let other = json!({"cluster": "edge", "limit": 5});
        assert_eq!(decode(Some(&cursor), other.as_object().unwrap()), Err(InvalidCursor));
        assert_eq!(decode(Some("nonsense"), args), Err(InvalidCursor));
        assert_eq!(decode(None, args), Ok(0));
    }
}
