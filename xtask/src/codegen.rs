//! The generated parts of the documentation: written by `cargo xtask codegen`, held by a test.
//!
//! A page that a program makes about itself (its help, its settings) is held by that program's own
//! snapshot tests; here stand the parts that need the whole workspace.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail};

use crate::layers::Layers;
use crate::workspace::root;

/// One generated part: the table under a heading of a page.
struct Generator {
    page: &'static str,
    heading: &'static str,
    table: fn() -> Result<String>,
}

static GENERATORS: &[Generator] =
    &[Generator { page: "docs/architecture.md", heading: "## Layers", table: layer_table }];

/// Writes what is stale, or with `check` fails and names it.
pub(crate) fn run(check: bool) -> Result<()> {
    let mut stale = Vec::new();
    for generator in GENERATORS {
        let path = root().join(generator.page);
        let page = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", generator.page))?;
        let fresh = replace_table(&page, generator.heading, &(generator.table)()?)
            .with_context(|| format!("in {}", generator.page))?;
        if fresh == page {
            continue;
        }
        stale.push(generator.page);
        if !check {
            std::fs::write(&path, fresh)
                .with_context(|| format!("cannot write {}", generator.page))?;
            println!("wrote {}", generator.page);
        }
    }
    if check && !stale.is_empty() {
        bail!("stale: {}; `cargo xtask codegen` writes them anew", stale.join(", "));
    }
    Ok(())
}

/// Replaces the first table below the heading, up to the next heading.
fn replace_table(page: &str, heading: &str, table: &str) -> Result<String> {
    let lines: Vec<&str> = page.lines().collect();
    let section = lines
        .iter()
        .position(|line| *line == heading)
        .with_context(|| format!("there is no heading `{heading}`"))?
        + 1;
    let below = &lines[section..];
    let section_end = below.iter().position(|line| line.starts_with('#')).unwrap_or(below.len());
    let start = below[..section_end]
        .iter()
        .position(|line| line.starts_with('|'))
        .with_context(|| format!("there is no table under `{heading}`"))?;
    let length = below[start..].iter().take_while(|line| line.starts_with('|')).count();

    let mut fresh = String::with_capacity(page.len());
    let rows = table.lines().collect::<Vec<_>>();
    for line in
        [&lines[..section + start], &rows, &lines[section + start + length..]].into_iter().flatten()
    {
        writeln!(fresh, "{line}")?;
    }
    Ok(fresh)
}

/// The layers of `layers.toml`, binaries with their folder.
fn layer_table() -> Result<String> {
    let layers = Layers::read()?;
    let show = |name: &String| {
        let folder = if root().join("bins").join(name).exists() { "bins/" } else { "" };
        format!("`{folder}{name}`")
    };
    let mut table = String::from("| layer | crates |\n|---|---|\n");
    for layer in &layers.stack {
        let crates = layer.crates.iter().map(show).collect::<Vec<_>>().join(", ");
        writeln!(table, "| {} | {crates} |", layer.name)?;
    }
    let beside: Vec<_> =
        layers.beside.iter().map(|one| format!("`{}` ({})", one.name, one.note)).collect();
    writeln!(table, "| beside | {} |", beside.join(", "))?;
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn generated_pages_are_fresh() {
        run(true).unwrap();
    }

    #[test]
    fn only_the_table_under_the_heading_changes() {
        let page = "# A\n| no |\n## B\ntext\n\n| old |\n|---|\n| x |\n\nmore\n## C\n| other |\n";
        let fresh = replace_table(page, "## B", "| new |\n").unwrap();
        expect![[r"
            # A
            | no |
            ## B
            text

            | new |

            more
            ## C
            | other |
        "]]
        .assert_eq(&fresh);
        replace_table(page, "## D", "").unwrap_err();
        replace_table("## B\n## C\n| x |\n", "## B", "").unwrap_err();
    }
}
