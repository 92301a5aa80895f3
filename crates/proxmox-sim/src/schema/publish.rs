//! The schema as the servers publish it for their API viewer: JavaScript that begins with the tree.

use serde_json::{Map, Value, json};

use super::kind::{Kind, Param};
use super::table::{Method, Permission, Table};
use crate::config::PveRelease;

/// The text of `apidoc.js`. Without a release it is PBS's: booleans proper, paths as arrays.
pub(crate) fn apidoc(table: &Table, release: Option<PveRelease>) -> String {
    let mut roots: Vec<Value> = Vec::new();
    for method in &table.methods {
        if method.since_9 && release.is_some_and(|release| !release.is_9()) {
            continue;
        }
        insert(&mut roots, &method.path, &method.verb, describe(method, release.is_some()));
    }
    let tree = serde_json::to_string(&roots).unwrap_or_default();
    format!(
        "const apiSchema = {tree}\n;\n\nlet clickHandler = function(e) {{\n    return e;\n}};\n"
    )
}

fn insert(nodes: &mut Vec<Value>, path: &str, verb: &str, info: Value) {
    let mut nodes = nodes;
    let mut prefix = String::new();
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let last = segments.len().saturating_sub(1);
    if segments.is_empty() {
        let mut methods = Map::new();
        methods.insert(verb.to_owned(), info);
        nodes.push(json!({"path": "/", "text": "/", "leaf": 1, "info": methods}));
        return;
    }
    for (depth, segment) in segments.iter().enumerate() {
        prefix.push('/');
        prefix.push_str(segment);
        let at = match nodes.iter().position(|node| node["path"] == prefix.as_str()) {
            Some(at) => at,
            None => {
                nodes.push(json!({"path": prefix, "text": segment, "leaf": 1}));
                nodes.len() - 1
            }
        };
        if depth == last {
            nodes[at]["info"][verb] = info;
            return;
        }
        nodes[at]["leaf"] = json!(0);
        if nodes[at]["children"].is_null() {
            nodes[at]["children"] = json!([]);
        }
        match nodes[at]["children"].as_array_mut() {
            Some(children) => nodes = children,
            None => return,
        }
    }
}

fn describe(method: &Method, pve: bool) -> Value {
    let mut properties = Map::new();
    for segment in method.path.split('/') {
        if let Some(name) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            let kind = if name == "vmid" {
                json!({"type": "integer", "format": "pve-vmid", "minimum": 100, "maximum": 999_999_999})
            } else {
                json!({"type": "string"})
            };
            properties.insert(name.to_owned(), kind);
        }
    }
    for param in &method.params {
        properties.insert(param.name.clone(), property(param));
    }
    let flag = |on: bool| if pve { json!(i32::from(on)) } else { json!(on) };
    let mut info = json!({
        "description": method.summary,
        "method": method.verb,
        "parameters": {"additionalProperties": flag(false), "properties": properties},
        "permissions": permissions(&method.permission, pve),
        "returns": {"type": method.returns},
    });
    if pve {
        info["allowtoken"] = flag(!method.ticket);
        info["name"] = json!(method.path.rsplit('/').next().unwrap_or_default());
        if method.protected {
            info["protected"] = flag(true);
        }
        if method.node {
            info["proxyto"] = json!("node");
        }
    }
    info
}

fn property(param: &Param) -> Value {
    let mut schema = kind(&param.kind);
    if param.optional {
        schema["optional"] = json!(1);
    }
    schema
}

fn kind(kind_: &Kind) -> Value {
    let mut schema = json!({"type": kind_.type_name()});
    match kind_ {
        Kind::Bool => {}
        Kind::Int { min, max } => {
            put(&mut schema, "minimum", min.map(Value::from));
            put(&mut schema, "maximum", max.map(Value::from));
        }
        Kind::Num { min, max } => {
            put(&mut schema, "minimum", min.map(Value::from));
            put(&mut schema, "maximum", max.map(Value::from));
        }
        Kind::Str { min, max, format } => {
            put(&mut schema, "minLength", min.map(Value::from));
            put(&mut schema, "maxLength", max.map(Value::from));
            put(&mut schema, "format", format.clone().map(Value::from));
        }
        Kind::Enum(values) => schema["enum"] = json!(values),
        Kind::List(items) => schema["items"] = kind(items),
        Kind::Props(props) => {
            let mut format = Map::new();
            for prop in props {
                let mut inner = kind(&prop.kind);
                inner["optional"] = json!(1);
                if prop.default {
                    inner["default_key"] = json!(1);
                }
                format.insert(prop.name.clone(), inner);
            }
            schema["format"] = Value::Object(format);
        }
    }
    schema
}

fn put(schema: &mut Value, key: &str, value: Option<Value>) {
    if let Some(value) = value {
        schema[key] = value;
    }
}

fn permissions(permission: &Permission, pve: bool) -> Value {
    match permission {
        Permission::World => json!({"user": "world"}),
        Permission::All => json!({"user": "all"}),
        Permission::Superuser => Value::Null,
        Permission::Clauses(groups) => {
            let group = |clauses: &Vec<super::table::Clause>| -> Value {
                let parts: Vec<Value> = clauses.iter().map(|clause| check(clause, pve)).collect();
                joined("or", parts, pve)
            };
            let all = joined("and", groups.iter().map(group).collect(), pve);
            if pve { json!({"check": all}) } else { all }
        }
    }
}

fn check(clause: &super::table::Clause, pve: bool) -> Value {
    if pve {
        let mut check = vec![json!("perm"), json!(clause.path), json!(clause.privileges)];
        if clause.any {
            check.extend([json!("any"), json!(1)]);
        }
        return Value::Array(check);
    }
    let path: Vec<&str> = clause.path.split('/').filter(|part| !part.is_empty()).collect();
    json!({"check": {"partial": clause.any, "path": path, "privs": clause.privileges}})
}

fn joined(word: &str, mut parts: Vec<Value>, pve: bool) -> Value {
    if parts.len() == 1 {
        return parts.remove(0);
    }
    if pve {
        parts.insert(0, json!(word));
        return Value::Array(parts);
    }
    let mut map = Map::new();
    map.insert(word.to_owned(), Value::Array(parts));
    Value::Object(map)
}
