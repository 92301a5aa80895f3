//! The table of threats in `docs/concepts/security.md` names tests and cases that exist.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::workspace::root;

const PAGE: &str = "docs/concepts/security.md";
/// Where the cases of `cargo xtask attacks` are.
const CASES: &str = "xtask/src/attacks";
/// How a case is named on the page.
const CASE: &str = "attacks: ";

/// The text of every file below, one after the other.
fn texts(folder: &Path, all: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            texts(&path, all);
        } else {
            all.push_str(&fs::read_to_string(&path).expect("a text"));
        }
    }
}

/// What is wrong with a reference; `None` where it names something.
fn wrong(reference: &str, cases: &str) -> Option<String> {
    if let Some(case) = reference.strip_prefix(CASE) {
        // The whole of a literal, or its end behind what all cases of a group begin with.
        let is_there = cases.contains(&format!("\"{case}\""))
            || case.split_once(", ").is_some_and(|(group, name)| {
                cases.contains(&format!("{group}, {{")) && cases.contains(&format!("\"{name}\""))
            })
            || cases.contains(&format!("\"{case}, {{"));
        return (!is_there).then(|| format!("no case is called {case:?}"));
    }
    let (file, test) = reference.split_once("::")?;
    match fs::read_to_string(root().join(file)) {
        Err(_) => Some(format!("there is no {file}")),
        Ok(text) if text.contains(&format!("fn {test}(")) => None,
        Ok(_) => Some(format!("{file} has no test {test}")),
    }
}

#[test]
fn every_threat_is_shown_by_what_exists() {
    let page = fs::read_to_string(root().join(PAGE)).expect("the page");
    let (_, section) = page.split_once("\n## Threats\n").expect("a section on threats");
    let section = section.split("\n## ").next().expect("its text");
    let mut cases = String::new();
    texts(&root().join(CASES), &mut cases);
    let mut complaints = String::new();
    let rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() > 15, "{} rows", rows.len());
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        assert_eq!(cells.len(), 4, "{row}");
        let shown: Vec<&str> = cells[3].split('`').skip(1).step_by(2).collect();
        if shown.is_empty() {
            writeln!(complaints, "{}: nothing shows it", cells[0]).expect("a string takes it");
        }
        for reference in shown {
            if let Some(wrong) = wrong(reference, &cases) {
                writeln!(complaints, "{}: {wrong}", cells[0]).expect("a string takes it");
            }
        }
    }
    assert!(complaints.is_empty(), "\n{complaints}");
}

#[test]
fn what_does_not_exist_is_told() {
    let cases = r#"report.case("a thing", &format!("the page, {what}")), ("with a link", 1)"#;
    assert_eq!(wrong("attacks: a thing", cases), None);
    assert_eq!(wrong("attacks: the page, with a link", cases), None);
    assert!(wrong("attacks: the page, with none", cases).is_some());
    assert!(wrong("attacks: another thing", cases).is_some());
    let this = "xtask/src/threats.rs::what_does_not_exist_is_told";
    assert_eq!(wrong(this, cases), None);
    assert!(wrong("xtask/src/threats.rs::nothing_of_that_name", cases).is_some());
    assert!(wrong("xtask/src/none.rs::nothing", cases).is_some());
}
