//! The table of calls against the published schema and a real server's replies.

use std::path::Path;

use testkit::calls::{assert_complete, assert_schema, read_recorded};

use crate::{calls, written};

#[test]
fn every_builder_is_in_the_table() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert_complete(
        root,
        concat!(include_str!("calls.rs"), include_str!("admin.rs"), include_str!("net.rs")),
    );
}

#[test]
fn every_call_is_as_the_schema_has_it() {
    let Some(schema) = testkit::fixtures::json("api/pve-9.2.json") else { return };
    assert_schema(&schema, &calls::all());
}

#[test]
fn every_written_reply_is_read() {
    for written in written::all() {
        (written.read)();
    }
}

#[test]
fn every_recorded_reply_is_read() {
    let Some(replies) = testkit::fixtures::json("recorded/pve-9.2-get.json") else { return };
    let Some(conversations) = testkit::fixtures::json("recorded/conversations.json") else {
        return;
    };
    let coverage = read_recorded(&calls::all(), &replies, &conversations["pve"]);
    let (table, share) = coverage.report();
    print(&table);
    assert!(share >= 90.0, "only {share:.1} % of the recorded fields have a name");
    let unproven = coverage.unproven(&written::all());
    assert!(unproven.is_empty(), "neither recorded nor written: {unproven:?}");
}

#[expect(clippy::print_stdout, reason = "the table is what people run this test for")]
fn print(table: &str) {
    println!("{table}");
}
