//! What the list of tools costs: name, description and input schema as every client gets them.

use std::{collections::BTreeMap, sync::Arc};

use mcp_tools::{build_app, fleet::Fleet, tools::TOOLSETS};
use serde_json::json;

use crate::surface::options;

/// The tools of a toolset with what each costs, in bytes of compact JSON.
fn listed(toolset: &str) -> Vec<(String, usize)> {
    let fleet = Arc::new(Fleet::new(stdx::SystemClock::shared()));
    let app = build_app(fleet, &options(toolset)).expect("the catalogue is consistent");
    let cost = app.tool_specs().map(|spec| {
        let paid = json!({
            "name": spec.name, "description": spec.description, "inputSchema": spec.input_schema,
        });
        (spec.name.clone(), paid.to_string().len())
    });
    cost.collect()
}

#[test]
fn the_default_list_is_small() {
    let tools = listed("default");
    let total: usize = tools.iter().map(|(_, size)| size).sum();
    assert!(total <= 6144, "{total}: {tools:#?}");
    println!("{total} bytes: {tools:?}");
}

#[test]
fn the_compact_list_is_smaller_still() {
    let tools = listed("compact");
    let total: usize = tools.iter().map(|(_, size)| size).sum();
    println!("{total} bytes: {tools:?}");
    assert_eq!(tools.len(), 5);
    assert!(total <= 1536, "{total}: {tools:#?}");
}

#[test]
fn names_fit_and_are_unique() {
    let mut titles = BTreeMap::new();
    for tool in TOOLSETS.iter().flat_map(|toolset| toolset.tools) {
        let definition = tool.definition();
        let name = definition.name;
        assert!(name.len() <= 40, "{name}");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'));
        assert!(!definition.title.is_empty() && !definition.description.is_empty(), "{name}");
        // One tool may be in several toolsets; two tools may not share a name.
        let title = titles.insert(name, definition.title).unwrap_or(definition.title);
        assert_eq!(title, definition.title, "{name} twice");
    }
}
