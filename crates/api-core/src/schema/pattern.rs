//! The products' regular expressions: Perl's and Rust's, as they are published.

use regex::{Regex, RegexBuilder};

/// The most that a compiled expression may take; one that needs more is left to the server.
const SIZE_LIMIT: usize = 1 << 20;

/// The most bytes of an expression.
const LONGEST: usize = 16 << 10;

/// Whether the value matches. `None` where the expression says something that only the server
/// understands.
pub(super) fn matches(pattern: &str, value: &str) -> Option<bool> {
    Some(compile(pattern)?.is_match(value))
}

fn compile(pattern: &str) -> Option<Regex> {
    if pattern.len() > LONGEST {
        return None;
    }
    // PBS writes `/…/` and anchors what it wants anchored; PVE anchors whatever it is given.
    let delimited = pattern.strip_prefix("/^").and_then(|rest| rest.strip_suffix('/'));
    let written = match delimited {
        Some(inner) => format!("^{inner}"),
        None => format!("^{pattern}$"),
    };
    // What Perl prints for a compiled expression without flags.
    let written = written.replace("(?^:", "(?:");
    RegexBuilder::new(&written).size_limit(SIZE_LIMIT).build().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_manners_are_read() {
        assert_eq!(matches("[A-Za-z][A-Za-z0-9\\-\\_]+", "snap-1"), Some(true));
        assert_eq!(matches("[A-Za-z][A-Za-z0-9\\-\\_]+", "1snap"), Some(false));
        assert_eq!(matches("(?^:^[^:/\\s]+$)", "a:b"), Some(false));
        assert_eq!(matches("/^[a-f0-9]{4}$/", "beef"), Some(true));
        assert_eq!(matches("/^[[:^cntrl:]]*$/", "a\nb"), Some(false));
        assert_eq!(matches("/dev/parport\\d+|/dev/usb/lp\\d+", "/dev/usb/lp0"), Some(true));
        assert_eq!(matches("(?!x)y", "y"), None, "only the server can tell");
    }
}
