//! Tidiness: what no compiler checks and no reviewer should have to say twice.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::workspace::root;

/// What stands at the top, besides dotfiles.
const TOP_LEVEL: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "bins",
    "config",
    "crates",
    "deny.toml",
    "docs",
    "fuzz",
    "xtask",
];
/// What a checkout has besides.
const NOT_OURS: &[&str] = &["target", ".git", ".services", "node_modules", "__pycache__", "corpus"];
const MAX_LINES: usize = 800;
const TEXT: &[&str] =
    &["rs", "toml", "md", "sql", "sh", "yml", "yaml", "json", "py", "service", "env", "example"];

/// A text file: its path below the root, with `/`, and its content.
struct File {
    path: String,
    text: String,
}

fn files() -> Vec<File> {
    let mut files = Vec::new();
    collect(root(), &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(files.len() > 50, "the walk found only {} files", files.len());
    files
}

fn collect(folder: &Path, files: &mut Vec<File>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        if NOT_OURS.contains(&&*name) {
            continue;
        }
        if path.is_dir() {
            collect(&path, files);
        } else if is_text(&path) {
            let shown = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{shown}: {error}"));
            files.push(File { path: shown, text });
        }
    }
}

fn is_text(path: &Path) -> bool {
    let extension = path
        .extension()
        .is_some_and(|extension| TEXT.iter().any(|text| extension.eq_ignore_ascii_case(text)));
    extension || path.ends_with(".ci/run")
}

/// Fails with one line per complaint.
fn check(complain: impl Fn(&File) -> Option<String>) {
    let mut complaints = String::new();
    for file in files() {
        if let Some(complaint) = complain(&file) {
            writeln!(complaints, "{}: {complaint}", file.path).unwrap();
        }
    }
    assert!(complaints.is_empty(), "\n{complaints}");
}

// === impl File ===

impl File {
    fn has_extension(&self, wanted: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|extension| extension == wanted)
    }

    fn is_rust(&self) -> bool {
        self.has_extension("rs")
    }

    /// Tests may be long, and what they expect is as it is.
    fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }

    fn is_golden(&self) -> bool {
        self.path.contains("/tests/") && !self.is_rust()
    }

    /// The lines above the test module, which stands last in a file.
    fn lines_without_tests(&self) -> usize {
        let mut lines = self.text.lines().peekable();
        let mut count = 0;
        while let Some(line) = lines.next() {
            let inline =
                lines.peek().is_some_and(|next| next.starts_with("mod ") && next.ends_with('{'));
            if line == "#[cfg(test)]" && inline {
                break;
            }
            count += 1;
        }
        count
    }
}

#[test]
fn the_top_level_shows_the_design() {
    let mut found: Vec<String> = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.') && !NOT_OURS.contains(&name.as_str()))
        .collect();
    found.sort();
    assert_eq!(found, TOP_LEVEL);
}

#[test]
fn every_file_opens_with_what_it_is() {
    check(|file| {
        (file.is_rust() && !file.text.starts_with("//! "))
            .then(|| "does not open with a `//!` line".to_owned())
    });
}

#[test]
fn no_file_is_too_long_to_read() {
    check(|file| {
        let lines = file.lines_without_tests();
        (file.is_rust() && !file.is_test() && lines > MAX_LINES)
            .then(|| format!("{lines} lines; split it (at most {MAX_LINES}, aim for 300)"))
    });
}

#[test]
fn lines_and_files_end_cleanly() {
    check(|file| {
        if file.is_golden() {
            return None;
        }
        if let Some(number) = file.text.lines().position(|line| line.ends_with([' ', '\t', '\r'])) {
            return Some(format!("line {} ends in white space", number + 1));
        }
        let ends_well = file.text.is_empty() || file.text.ends_with('\n');
        (!ends_well || file.text.ends_with("\n\n"))
            .then(|| "does not end in one newline".to_owned())
    });
}

/// Paths of the machine that something was written on mean nothing to anybody else.
#[test]
fn no_paths_of_somebodys_machine() {
    let folders =
        [["/wo", "rk/"].concat(), ["/fa", "rm/"].concat(), [".cargo/", "registry"].concat()];
    check(|file| {
        file.text.lines().zip(1..).find_map(|(line, number)| {
            let found = folders.iter().find(|folder| {
                line.match_indices(folder.as_str()).any(|(at, _)| {
                    !line[..at].ends_with(|before: char| before.is_ascii_alphabetic())
                })
            })?;
            Some(format!("line {number} names {found}"))
        })
    });
}

#[test]
fn every_crate_says_what_it_must_not_know() {
    check(|file| {
        let is_library = file.path.starts_with("crates/") && file.path.ends_with("/src/lib.rs");
        let says =
            file.text.lines().any(|line| line.starts_with("//!") && line.contains("*Invariant:*"));
        (is_library && !says).then(|| "has no *Invariant:* line in its documentation".to_owned())
    });
}

/// The SDK changes its major version every few months; one module feels that (ADR 0001).
#[test]
fn the_sdk_is_named_in_one_module() {
    let sdk = ["rm", "cp::"].concat();
    check(|file| {
        let home = file.path.starts_with("crates/mcp-protocol/src/adapter");
        let names = file
            .text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .any(|line| line.contains(&sdk));
        (file.is_rust() && !home && names).then(|| format!("names {sdk}"))
    });
}

/// Pages are read on disk and on the web; a link within the repository leads somewhere in both.
#[test]
fn links_within_the_repository_lead_somewhere() {
    check(|file| {
        let folder = Path::new(&file.path).parent()?;
        let mut targets = file.text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let dead = targets.find(|target| {
            let path = target.split('#').next().unwrap_or_default();
            let outside = path.is_empty() || path.contains("://") || path.starts_with("mailto:");
            !outside && !root().join(folder).join(path).exists()
        })?;
        file.has_extension("md").then(|| format!("links to {dead}, which is not there"))
    });
}

/// A test that nobody runs proves nothing; what a test lacks it says through `testkit`.
#[test]
fn no_test_is_ignored() {
    let ignore = ["#[ign", "ore"].concat();
    check(|file| {
        let ignored = file.text.lines().any(|line| line.trim_start().starts_with(&ignore));
        (file.is_rust() && ignored).then(|| format!("has {ignore}]"))
    });
}

/// The one package that may say `unsafe`, at a place that it names (ADR 0011).
const UNSAFE: &str = "crates/footprint/Cargo.toml";

/// The workspace's lints, but that `unsafe` can be allowed for one function.
fn denied(lints: &toml::Value) -> toml::Value {
    let mut lints = lints.clone();
    assert_eq!(lints["rust"]["unsafe_code"].as_str(), Some("forbid"));
    lints["rust"]["unsafe_code"] = "deny".into();
    lints
}

#[test]
fn manifests_inherit_from_the_workspace() {
    let root_text = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let workspace: toml::Table = root_text.parse().unwrap();
    let declared = workspace["workspace"]["dependencies"].as_table().unwrap();
    let mut unused: Vec<&String> = declared.keys().collect();
    let mut complaints = String::new();
    // The fuzzers are a workspace of their own.
    let ours = |file: &&File| file.path.ends_with("/Cargo.toml") && !file.path.starts_with("fuzz/");
    for file in files().iter().filter(ours) {
        let manifest: toml::Table = file.text.parse().unwrap();
        let inherits = |table: &toml::Value| table.get("workspace").and_then(toml::Value::as_bool);
        let lints = manifest.get("lints");
        let has_lints = if file.path == UNSAFE {
            lints == Some(&denied(&workspace["workspace"]["lints"]))
        } else {
            lints.and_then(inherits) == Some(true)
        };
        if !has_lints {
            writeln!(complaints, "{}: does not have the workspace's lints", file.path).unwrap();
        }
        // The same sections stand once for every system and once below each `[target.…]`.
        let targets = manifest.get("target").and_then(toml::Value::as_table);
        let places = targets.into_iter().flat_map(|targets| targets.values());
        let places = places.filter_map(toml::Value::as_table).chain([&manifest]);
        for (name, value) in places.flat_map(dependencies) {
            if inherits(value) != Some(true) {
                writeln!(complaints, "{}: {name} does not inherit", file.path).unwrap();
            }
            unused.retain(|unused| *unused != name);
        }
    }
    assert!(complaints.is_empty(), "\n{complaints}");
    assert!(unused.is_empty(), "in [workspace.dependencies], used by no crate: {unused:?}");
}

fn dependencies(place: &toml::Table) -> impl Iterator<Item = (&String, &toml::Value)> {
    ["dependencies", "dev-dependencies", "build-dependencies"]
        .into_iter()
        .filter_map(|section| place.get(section)?.as_table())
        .flatten()
}
