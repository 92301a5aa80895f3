//! What the catalogue costs, and that it is well formed.

use mcp_tools::tools::TOOLSETS;
use serde_json::{Value, json};

/// Name, description and input schema of a toolset as compact JSON.
fn listed(toolset: &str) -> Vec<(String, usize)> {
    let toolset = TOOLSETS.iter().find(|set| set.name == toolset).expect("the toolset");
    let tools = toolset.tools.iter().map(|tool| {
        let definition = tool.definition();
        let schema = Value::Object(definition.input.build());
        let listed = json!({
            "name": definition.name, "description": definition.description, "inputSchema": schema,
        });
        (definition.name.to_owned(), listed.to_string().len())
    });
    tools.collect()
}

#[test]
fn the_default_list_is_small() {
    let tools = listed("default");
    let total: usize = tools.iter().map(|(_, size)| size).sum();
    assert!(total <= 6144, "{total}: {tools:#?}");
    println!("{total} bytes: {tools:?}");
}

#[test]
fn names_fit_and_are_unique() {
    let mut names = std::collections::BTreeSet::new();
    for tool in TOOLSETS.iter().flat_map(|toolset| toolset.tools) {
        let definition = tool.definition();
        let name = definition.name;
        assert!(name.len() <= 40, "{name}");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'));
        assert!(!definition.title.is_empty() && !definition.description.is_empty(), "{name}");
        assert!(names.insert(name), "{name} twice");
    }
}
