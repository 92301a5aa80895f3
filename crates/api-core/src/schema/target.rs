//! A path as somebody wrote it, taken apart so that nothing in it can mean more than a name.
//!
//! Whatever comes in is decoded once, here, and encoded once, when the request is built. What a
//! server might take for a step upwards, a further segment, a query or another host is refused.

use std::fmt;

use percent_encoding::percent_decode_str;

/// The most bytes of a path.
const LONGEST: usize = 2048;

/// The segments of a path, decoded. Each is a name or, in templates, a place such as `{vmid}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    segments: Vec<String>,
}

/// A path that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTarget {
    /// It names a host.
    #[error("give a path of the API such as /nodes, without scheme and host")]
    Absolute,
    /// It carries a query or fragment.
    #[error(
        "give parameters as arguments: a path has no `?` and no `#` (in a name they are %3F and %23)"
    )]
    Query,
    /// It climbs.
    #[error("a path has no `.` and `..` segments")]
    Climbs,
    /// Two slashes in a row.
    #[error("a path has no empty segments")]
    EmptySegment,
    /// A percent sign without two hex digits behind it, or bytes that are no text.
    #[error("a `%` in a path stands for an encoded byte of UTF-8 text; write a real one as %25")]
    Encoding,
    /// Control characters, or ones that cannot be seen.
    #[error("a path has no control or invisible characters")]
    Control,
    /// More than 2 KiB.
    #[error("a path has at most 2,048 bytes")]
    TooLong,
}

// === impl Target ===

impl Target {
    /// Takes a path apart. `/api2/json` before it and a slash behind it do no harm.
    ///
    /// # Errors
    /// When it could be read as anything else than a path of the API.
    pub fn parse(path: &str) -> Result<Self, InvalidTarget> {
        let path = path.trim_matches(' ');
        if path.len() > LONGEST {
            return Err(InvalidTarget::TooLong);
        }
        if path.contains("://") || path.starts_with("//") {
            return Err(InvalidTarget::Absolute);
        }
        if path.contains(['?', '#']) {
            return Err(InvalidTarget::Query);
        }
        let path = path.strip_prefix('/').unwrap_or(path);
        let path = match path.strip_prefix("api2/json") {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                rest.strip_prefix('/').unwrap_or(rest)
            }
            _ => path,
        };
        let path = path.strip_suffix('/').unwrap_or(path);
        if path.is_empty() {
            return Ok(Self { segments: Vec::new() });
        }
        let segments = path.split('/').map(segment).collect::<Result<_, _>>()?;
        Ok(Self { segments })
    }

    /// The segments, decoded.
    pub fn segments(&self) -> &[String] {
        &self.segments
    }

    /// Whether any segment is a place that wants a value.
    pub fn is_template(&self) -> bool {
        self.segments.iter().any(|segment| super::placeholder(segment).is_some())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.segments.is_empty() {
            return f.write_str("/");
        }
        self.segments.iter().try_for_each(|segment| write!(f, "/{segment}"))
    }
}

fn segment(written: &str) -> Result<String, InvalidTarget> {
    if written.is_empty() {
        return Err(InvalidTarget::EmptySegment);
    }
    let mut rest = written;
    while let Some(at) = rest.find('%') {
        let code = rest.as_bytes().get(at + 1..at + 3).ok_or(InvalidTarget::Encoding)?;
        if !code.iter().all(u8::is_ascii_hexdigit) {
            return Err(InvalidTarget::Encoding);
        }
        rest = &rest[at + 3..];
    }
    let decoded = percent_decode_str(written).decode_utf8().map_err(|_| InvalidTarget::Encoding)?;
    // A slash can come out of `%2F`; what it separates must not climb either.
    if decoded.split(['/', '\\']).any(|part| part == "." || part == "..") {
        return Err(InvalidTarget::Climbs);
    }
    if decoded.split('/').any(str::is_empty) {
        return Err(InvalidTarget::EmptySegment);
    }
    if decoded.chars().any(is_hidden) {
        return Err(InvalidTarget::Control);
    }
    Ok(decoded.into_owned())
}

/// Control characters, line separators, and marks that change how text looks without being seen.
pub(super) fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_taken_apart() {
        let segments = |path: &str| Target::parse(path).map(|target| target.segments);
        assert_eq!(segments("/nodes/pve1/"), Ok(vec!["nodes".to_owned(), "pve1".to_owned()]));
        assert_eq!(segments("api2/json/nodes"), segments("/nodes"));
        assert_eq!(segments("/access/users/root%40pam"), segments("/access/users/root@pam"));
        assert_eq!(segments("/a/x%2Fy").unwrap()[1], "x/y");
        assert_eq!(segments("/tasks/UPID:a\\x3ab:").unwrap()[1], "UPID:a\\x3ab:");
        assert_eq!(segments("/"), Ok(Vec::new()));
    }

    #[test]
    fn hostile_paths_are_refused() {
        use InvalidTarget as I;
        let long = "a/".repeat(2000);
        let cases: &[(&str, I)] = &[
            ("https://evil.example/nodes", I::Absolute),
            ("//evil.example/nodes", I::Absolute),
            ("/nodes/pve1?x=1", I::Query),
            ("/nodes/pve1#x", I::Query),
            ("/nodes/../access", I::Climbs),
            ("/nodes/%2e%2E/access", I::Climbs),
            ("/nodes/.%2e", I::Climbs),
            ("/nodes/a%2F..%2Fb", I::Climbs),
            ("/nodes/..%5c..%5caccess", I::Climbs),
            ("/nodes/./a", I::Climbs),
            ("/nodes//a", I::EmptySegment),
            ("/nodes/a%2F%2Fb", I::EmptySegment),
            ("/nodes/a%2F", I::EmptySegment),
            ("/nodes/%", I::Encoding),
            ("/nodes/%2", I::Encoding),
            ("/nodes/%zz", I::Encoding),
            ("/nodes/%ff", I::Encoding),
            ("/nodes/a%00b", I::Control),
            ("/nodes/a\0b", I::Control),
            ("/nodes/a\r\nHost: b", I::Control),
            ("/nodes/a%0d%0aHost:%20b", I::Control),
            ("/nodes/a\u{202e}b", I::Control),
            ("/nodes/\u{200b}", I::Control),
            (&long, I::TooLong),
        ];
        for (path, why) in cases {
            assert_eq!(Target::parse(path), Err(*why), "{path:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_is_harmless(path in "(/|%2[eEfF]|\\.|\\\\|%|[a-z0-9{}:@?#]|\\PC){0,40}") {
            if let Ok(target) = Target::parse(&path) {
                for segment in target.segments() {
                    prop_assert!(!segment.is_empty() && segment != "." && segment != "..");
                    prop_assert!(!segment.chars().any(is_hidden));
                }
                // Written again and read again it is the same.
                let again = target.segments.iter().fold(crate::Path::new(), crate::Path::push);
                prop_assert_eq!(Target::parse(again.as_str()), Ok(target));
            }
        }
    }
}
