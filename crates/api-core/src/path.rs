//! API paths, made of segments that are escaped one by one.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stands unescaped inside a segment: RFC 3986's unreserved characters and the colon, which
/// UPIDs are full of and both products accept.
const SEGMENT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b':');

/// A path below `/api2/json`, escaped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Path(String);

/// What can be one segment of a path.
///
/// Whatever it prints becomes exactly one segment: slashes, question marks and dots that would
/// climb are escaped.
pub trait Segment: fmt::Display {}

impl<T: fmt::Display + ?Sized> Segment for T {}

// === impl Path ===

impl Path {
    /// The root.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one segment, escaped.
    #[must_use]
    pub fn push(mut self, segment: &(impl Segment + ?Sized)) -> Self {
        let text = segment.to_string();
        self.0.push('/');
        // `.` and `..` are legal characters but would be taken as steps; no server knows them as names.
        if text == "." || text == ".." {
            for _ in 0..text.len() {
                self.0.push_str("%2E");
            }
        } else {
            self.0.extend(utf8_percent_encode(&text, SEGMENT));
        }
        self
    }

    /// The escaped text, beginning with a slash.
    pub fn as_str(&self) -> &str {
        if self.0.is_empty() { "/" } else { &self.0 }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Builds a [`Path`] of its segments: `path!["nodes", node, "qemu", vmid, "config"]`.
#[macro_export]
macro_rules! path {
    ($($segment:expr),* $(,)?) => {
        $crate::Path::new()$(.push(&$segment))*
    };
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    #[test]
    fn segments_keep_their_place() {
        assert_eq!(path!["a", 1, "b"].to_string(), "/a/1/b");
        assert_eq!(path!["..", "."].to_string(), "/%2E%2E/%2E");
        assert_eq!(
            path!["tasks", "UPID:n:1:user@pam!t:", "x\\x3a"].to_string(),
            "/tasks/UPID:n:1:user%40pam%21t:/x%5Cx3a"
        );
    }

    proptest! {
        #[test]
        fn no_segment_adds_another(text in ".*") {
            let path = path!["a", text, "b"].to_string();
            prop_assert_eq!(path.split('/').count(), 4);
            let unsafe_found = path.contains(['?', '#', ' ', '\\']);
            prop_assert!(!unsafe_found);
        }
    }
}
