//! `cargo xtask schema`: what becomes of the published API, endpoint by endpoint and question by question.
//!
//! The figures are those of the tests that hold them, printed by these tests themselves: there is no
//! second way of counting.

use anyhow::{Result, ensure};

use crate::workspace::{self, cargo, root};

/// Package, and the tests of it that print.
const TESTS: &[(&str, &[&str])] = &[
    ("guard", &["risk::every_endpoint_has_a_tier"]),
    (
        "api-core",
        &[
            "schema::parse::every_endpoint_and_parameter_is_kept",
            "schema::search::plain_questions_find_their_endpoint",
            "schema::search::misspelt_questions_find_their_endpoint",
        ],
    ),
    ("mcp-tools", &["api::describe::every_endpoint_is_described_with_all_its_parameters"]),
];

/// Runs the tests, and lets them print.
pub(crate) fn run() -> Result<()> {
    ensure!(
        root().join("../shared/api").exists(),
        "the published schemas are missing: put the folder `shared` beside the workspace"
    );
    for (package, tests) in TESTS {
        let mut command = cargo(&["test", "--quiet", "--package", package, "--test", "it", "--"]);
        command.args(["--exact", "--nocapture", "--test-threads=1"]).args(*tests);
        workspace::run(command.env("REQUIRE_FIXTURES", "1"))?;
    }
    Ok(())
}
