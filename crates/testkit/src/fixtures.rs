//! Files that tests read but this repository does not carry: recorded replies and API schemas.
//!
//! They stand in the folder `shared` beside the workspace. Where it is absent, a test prints that
//! it skips and goes on; with `REQUIRE_FIXTURES=1` it fails.

use std::path::{Path, PathBuf};

use crate::skip::{required, skip};

const VARIABLE: &str = "REQUIRE_FIXTURES";

/// The workspace's root folder.
pub fn workspace_root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The fixture at `path` below `shared`, or `None` after saying so.
///
/// # Panics
///
/// When it is absent and `REQUIRE_FIXTURES=1`.
pub fn shared(path: &str) -> Option<PathBuf> {
    shared_in(&workspace_root().join("..").join("shared"), path, required(VARIABLE))
}

/// The text of the fixture at `path` below `shared`, or `None` after saying so.
///
/// # Panics
///
/// When it is absent and `REQUIRE_FIXTURES=1`, or when it is there and cannot be read.
pub fn text(path: &str) -> Option<String> {
    let file = shared(path)?;
    Some(std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("fixture {path}: {error}")))
}

/// The JSON of the fixture at `path` below `shared`, or `None` after saying so.
///
/// # Panics
///
/// As [`text`], and when the file is not JSON.
pub fn json(path: &str) -> Option<serde_json::Value> {
    let text = text(path)?;
    Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("fixture {path}: {error}")))
}

fn shared_in(folder: &Path, path: &str, must_be_there: bool) -> Option<PathBuf> {
    let file = folder.join(path);
    if file.exists() {
        return Some(file);
    }
    let what = format!("fixture {path}");
    skip(&what, VARIABLE, must_be_there, "put the folder `shared` beside the workspace");
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_there() {
        assert!(shared_in(workspace_root(), "Cargo.toml", true).is_some());
    }

    #[test]
    #[should_panic(expected = "fixture no/such/file is missing and REQUIRE_FIXTURES is set")]
    fn says_what_is_not_there() {
        shared_in(workspace_root(), "no/such/file", true);
    }
}
