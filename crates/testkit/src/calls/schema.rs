//! Calls against the published schema, and builders against the table.

use std::{collections::BTreeMap, path::Path};

use serde_json::Value;

use super::Case;

/// Fails where a call is not as the schema has it.
///
/// # Panics
///
/// Then, with every difference.
pub fn assert_schema(schema: &Value, cases: &[Case]) {
    let mut methods = BTreeMap::new();
    collect(schema, &mut methods);
    let mut wrong = Vec::new();
    for case in cases {
        let call = format!("{} {}", case.method, case.template);
        if !case.fits(&case.method, &case.path) {
            wrong.push(format!("{call}: builds {}", case.path));
        }
        let Some(info) = methods.get(&(case.template.to_owned(), case.method.clone())) else {
            wrong.push(format!("{call}: not in the schema"));
            continue;
        };
        if let Some(protected) = info.get("protected")
            && truth(Some(protected)) != case.meta.protected
        {
            wrong.push(format!("{call}: protected is {protected} in the schema"));
        }
        if info.get("proxyto").and_then(Value::as_str) == Some("node") && case.meta.node.is_none() {
            wrong.push(format!("{call}: a node's work, not marked so"));
        }
        let empty = serde_json::Map::new();
        let known = info.pointer("/parameters/properties").and_then(Value::as_object);
        let known = known.unwrap_or(&empty);
        let sent = case.sent.keys().map(String::as_str);
        for name in sent.chain(case.names.iter().copied()) {
            let indexed = format!("{}[n]", name.trim_end_matches(|c: char| c.is_ascii_digit()));
            if !known.contains_key(name) && !known.contains_key(&indexed) {
                wrong.push(format!("{call}: no parameter {name}"));
            }
        }
        for (name, spec) in known {
            let in_path = case.template.contains(&format!("{{{name}}}"));
            if !in_path && !truth(spec.get("optional")) && !case.sent.contains_key(name) {
                wrong.push(format!("{call}: the parameter {name} must be sent"));
            }
        }
    }
    assert!(wrong.is_empty(), "not as the schema has it:\n{}", wrong.join("\n"));
}

fn truth(value: Option<&Value>) -> bool {
    matches!(value, Some(Value::Bool(true))) || value.and_then(Value::as_u64) == Some(1)
}

fn collect(nodes: &Value, methods: &mut BTreeMap<(String, String), Value>) {
    for node in nodes.as_array().into_iter().flatten() {
        let path = node["path"].as_str().unwrap_or_default();
        for (method, info) in node["info"].as_object().into_iter().flatten() {
            methods.insert((path.to_owned(), method.clone()), info.clone());
        }
        collect(&node["children"], methods);
    }
}

/// Fails where a public builder of the crate at `root` is not in the table, of which `table` is the
/// source text.
///
/// # Panics
///
/// Then, with every such builder.
pub fn assert_complete(root: &Path, table: &str) {
    let mut missing = Vec::new();
    let mut folders = vec![root.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the crate's sources").flatten() {
            let file = entry.path();
            if file.is_dir() {
                folders.push(file);
                continue;
            }
            let text = std::fs::read_to_string(&file).expect("a source file");
            for part in text.split("\npub fn ").skip(1) {
                let signature = part.split('{').next().unwrap_or_default();
                let name = part.split(['(', '<']).next().unwrap_or_default();
                let call = format!("::{name}(");
                if signature.contains("-> Request<") && !table.contains(&call) {
                    missing.push(format!("{}: {name}", file.display()));
                }
            }
        }
    }
    assert!(missing.is_empty(), "in no table:\n{}", missing.join("\n"));
}
