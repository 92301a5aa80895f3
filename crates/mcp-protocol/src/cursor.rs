//! Cuts lists into pages with opaque cursors.
//!
//! A cursor names the last item that was shown, not a position, so a list that grows or shrinks between two pages neither
//! repeats nor skips an item.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A cursor that this list did not give out, or whose item is gone.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cursor is not valid for this list; start again without one")]
pub(crate) struct BadCursor;

/// One page of `items` after `cursor`, and the cursor of the next page.
///
/// `list` tells the lists of one app apart, and `key` gives the unique name of an item.
pub(crate) fn page<'a, T>(
    list: &str,
    items: &'a [T],
    key: impl Fn(&T) -> String,
    size: usize,
    cursor: Option<&str>,
) -> Result<(&'a [T], Option<String>), BadCursor> {
    let start = match cursor {
        None => 0,
        Some(cursor) => {
            let last = decode(list, cursor)?;
            items.iter().position(|item| key(item) == last).ok_or(BadCursor)? + 1
        }
    };
    let rest = &items[start..];
    if rest.len() <= size {
        return Ok((rest, None));
    }
    let shown = &rest[..size];
    let next = shown.last().map(|last| encode(list, &key(last)));
    Ok((shown, next))
}

fn encode(list: &str, last: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{list}\n{last}"))
}

fn decode(list: &str, cursor: &str) -> Result<String, BadCursor> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| BadCursor)?;
    let text = String::from_utf8(bytes).map_err(|_| BadCursor)?;
    let (of, last) = text.split_once('\n').ok_or(BadCursor)?;
    if of == list { Ok(last.to_owned()) } else { Err(BadCursor) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_cover_the_list_once() {
        let items: Vec<String> = (0..7).map(|number| format!("item-{number}")).collect();
        for size in 1..9 {
            let mut seen = Vec::new();
            let mut cursor = None;
            loop {
                let (shown, next) =
                    page("tools", &items, String::clone, size, cursor.as_deref()).unwrap();
                seen.extend(shown.iter().cloned());
                let Some(next) = next else { break };
                cursor = Some(next);
            }
            assert_eq!(seen, items, "page size {size}");
        }
    }

    #[test]
    fn foreign_cursors_are_refused() {
        let items = ["a".to_owned(), "b".to_owned()];
        let (_, next) = page("tools", &items, String::clone, 1, None).unwrap();
        for bad in ["", "1", "not base64!", &encode("prompts", "a"), &encode("tools", "gone")] {
            let result = page("tools", &items, String::clone, 1, Some(bad));
            assert_eq!(result.unwrap_err(), BadCursor, "{bad}");
        }
        assert!(page("tools", &items, String::clone, 1, next.as_deref()).is_ok());
    }
}
