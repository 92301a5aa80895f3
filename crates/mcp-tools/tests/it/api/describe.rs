//! Every published endpoint is described with all of its parameters, and found by its words.

use std::collections::BTreeMap;

use estate::Product;
use guard::risk;
use mcp_protocol::JsonObject;
use mcp_tools::{report::Rendered, tool::Cx, tools::api::Library};
use serde_json::{Value, json};

use super::fake::{cx, published};
use crate::estate::{Estate, tool};

async fn ask(cx: &Cx, name: &str, args: &Value) -> Rendered {
    let report = tool(name).call(cx, args.as_object().unwrap().clone()).await;
    let report = report.unwrap_or_else(|error| panic!("{args}: {error}"));
    let rendered = report.render(cx.ceiling);
    assert!(rendered.text.len() <= cx.ceiling, "{args}");
    rendered
}

/// The first column of a table.
fn names(object: &JsonObject, table: &str) -> Vec<String> {
    let rows = object.get(table).map(|table| table["rows"].as_array().unwrap().clone());
    let rows = rows.unwrap_or_default();
    rows.iter().map(|row| row[0].as_str().unwrap().to_owned()).collect()
}

/// A parameter as it is published: type, need, default, and each thing that `allowed` must say.
#[derive(Debug)]
struct Published {
    kind: String,
    need: &'static str,
    default: Option<String>,
    allowed: Vec<String>,
}

type Parameters = BTreeMap<String, Published>;

fn collect(nodes: &Value, all: &mut Vec<(String, String, Parameters)>) {
    for node in nodes.as_array().into_iter().flatten() {
        let path = node["path"].as_str().unwrap();
        for (method, info) in node["info"].as_object().into_iter().flatten() {
            let params = info["parameters"]["properties"].as_object().into_iter().flatten();
            let params =
                params.map(|(name, given)| (name.clone(), as_published(path, name, given)));
            all.push((method.clone(), path.to_owned(), params.collect()));
        }
        collect(&node["children"], all);
    }
}

/// Read straight from the document, by nothing of ours.
fn as_published(path: &str, name: &str, given: &Value) -> Published {
    let plain = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Bool(set) => u8::from(*set).to_string(),
        other => other.to_string(),
    };
    let is_list = given["type"] == "array";
    let format = &given["format"];
    let has_keys =
        format.is_object() && (!format["type"].is_string() || format["properties"].is_object());
    let kind = match given["type"].as_str() {
        Some("array") => match given["items"]["type"].as_str() {
            Some(item) => format!("list:{item}"),
            None => "list".to_owned(),
        },
        _ if has_keys => "keys".to_owned(),
        Some(kind) => kind.to_owned(),
        None => "any".to_owned(),
    };
    let is_optional = matches!(&given["optional"], Value::Bool(true))
        || given["optional"].as_i64() == Some(1)
        || given["optional"] == "1";
    let need = match (path.contains(&format!("{{{name}}}")), is_optional) {
        (true, _) => "path",
        (false, true) => "-",
        (false, false) => "yes",
    };
    let default = given.get("default").filter(|value| !value.is_null()).map(plain);
    // Of a list it is what each of its items may be.
    let one = if is_list && given["items"].is_object() { &given["items"] } else { given };
    let mut allowed = Vec::new();
    match one["enum"].as_array() {
        Some(choices) => {
            allowed.extend(choices.iter().take(16).map(plain));
            if choices.len() > 16 {
                allowed.push(format!("…{} more", choices.len() - 16));
            }
        }
        None => {
            for (least, most, what) in
                [("minimum", "maximum", ""), ("minLength", "maxLength", " characters")]
            {
                let (least, most) = (one.get(least).map(plain), one.get(most).map(plain));
                if least.is_some() || most.is_some() {
                    let (least, most) = (least.unwrap_or_default(), most.unwrap_or_default());
                    allowed.push(format!("{least}..{most}{what}"));
                }
            }
            if let Some(format) = one["format"].as_str() {
                allowed.push(format.to_owned());
            } else if let Some(pattern) = one["pattern"].as_str().filter(|it| it.len() <= 60) {
                allowed.push(pattern.to_owned());
            }
            if let Some(other) = one["requires"].as_str() {
                allowed.push(format!("with {other}"));
            }
        }
    }
    Published { kind, need, default, allowed }
}

/// What of a row is not what is published.
fn differs(row: &Value, published: &Published) -> Option<String> {
    let cell = |at: usize| row[at].as_str().unwrap_or_default();
    if cell(1) != published.kind {
        return Some(format!("type {:?} instead of {:?}", cell(1), published.kind));
    }
    if cell(2) != published.need {
        return Some(format!("need {:?} instead of {:?}", cell(2), published.need));
    }
    // A long default is cut at a word, and says so.
    let default = published.default.as_deref().unwrap_or_default();
    let is_so = match cell(3).strip_suffix('…') {
        Some(head) => default.starts_with(head) && default.chars().count() > 40,
        None => cell(3) == default,
    };
    if !is_so {
        return Some(format!("default {:?} instead of {default:?}", cell(3)));
    }
    let allowed = cell(4);
    if published.allowed.is_empty() != allowed.is_empty() {
        return Some(format!("allowed {allowed:?} instead of {:?}", published.allowed));
    }
    let missing = published.allowed.iter().find(|part| !allowed.contains(part.as_str()));
    missing.map(|part| format!("allowed {allowed:?} without {part:?}"))
}

#[tokio::test]
async fn every_endpoint_is_described_with_all_its_parameters() {
    let Some((pve, pbs)) = published() else { return };
    let cx = cx(&pve, Some(&pbs), Library::default());
    for (product, file) in [(Product::Pve, "api/pve-9.2.json"), (Product::Pbs, "api/pbs-4.2.json")]
    {
        let mut all = Vec::new();
        collect(&testkit::fixtures::json(file).unwrap(), &mut all);
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        let mut wrong = Vec::new();
        let (mut largest, mut compared) = (0, 0);
        for (method, path, params) in &all {
            let mut args = json!({"path": path, "method": method, "product": product.as_str()});
            let mut found = BTreeMap::new();
            let tier = loop {
                let answer = ask(&cx, "api_describe", &args).await;
                largest = largest.max(answer.text.len());
                let rows =
                    answer.structured.get("parameters").and_then(|table| table["rows"].as_array());
                for row in rows.into_iter().flatten() {
                    found.insert(row[0].as_str().unwrap().to_owned(), row.clone());
                }
                let next = answer.structured.get("next").and_then(Value::as_array).cloned();
                let cursor =
                    next.into_iter().flatten().find_map(|next| next["args"].get("cursor").cloned());
                match cursor {
                    Some(cursor) => args["cursor"] = cursor,
                    None => break answer.structured["tier"].as_str().unwrap().to_owned(),
                }
            };
            assert!(found.keys().eq(params.keys()), "{method} {path}: {found:?}, not {params:?}");
            for (name, published) in params {
                compared += 1;
                if let Some(why) = differs(&found[name], published) {
                    wrong.push(format!("{method} {path} {name}: {why}"));
                }
            }
            let access = risk::tier(product, method, path);
            assert_eq!(tier, access.map_or("refused", estate::Access::as_str));
            *counts.entry(tier).or_default() += 1;
        }
        assert!(wrong.is_empty(), "{} of {compared}:\n{}", wrong.len(), wrong.join("\n"));
        println!(
            "{product}: {} endpoints described; {compared} parameters with type, need, default and what \
             is allowed as published; largest answer {largest} bytes; {counts:?}",
            all.len()
        );
        assert_eq!(all.len(), if product == Product::Pve { 675 } else { 367 });
    }
    assert!(pve.asked().is_empty() && pbs.asked().is_empty());
}

#[tokio::test]
async fn nested_and_numbered_parameters_are_told_on_demand() {
    let Some((pve, pbs)) = published() else { return };
    let cx = cx(&pve, Some(&pbs), Library::default());
    let path = "/nodes/{node}/qemu/{vmid}/config";
    for name in ["net[n]", "net7"] {
        let answer =
            ask(&cx, "api_describe", &json!({"path": path, "method": "put", "param": name})).await;
        let keys = names(&answer.structured, "keys");
        assert!(
            ["model", "bridge", "tag"].iter().all(|key| keys.iter().any(|known| known == key)),
            "{keys:?}"
        );
        assert!(answer.text.contains("numbered: net0, net1"), "{}", answer.text);
    }
    // A path with values in its places is the same path; without a method it lists them.
    let answer = ask(&cx, "api_describe", &json!({"path": "/nodes/pve1/qemu/100/config"})).await;
    assert_eq!(names(&answer.structured, "methods"), ["GET", "POST", "PUT"]);
    let tiers = &answer.structured["methods"]["rows"];
    assert_eq!((&tiers[0][1], &tiers[2][1]), (&json!("read"), &json!("operate")));
    // What both products have is told of one, and that the other has it is said.
    let answer = ask(&cx, "api_describe", &json!({"path": "/access/users", "method": "GET"})).await;
    assert!(answer.text.contains("pbs has it too"), "{}", answer.text);
    let args = json!({"path": "/nodes/x/frobnicate"});
    let error =
        tool("api_describe").call(&cx, args.as_object().unwrap().clone()).await.unwrap_err();
    assert!(error.to_string().contains("no endpoint has the path"), "{error}");
}

#[tokio::test]
async fn endpoints_are_found_by_words_in_few_bytes() {
    let Some((pve, pbs)) = published() else { return };
    let cx = cx(&pve, Some(&pbs), Library::default());
    let answer = ask(&cx, "api_find", &json!({"query": "resize disk"})).await;
    let rows = answer.structured["endpoints"]["rows"].as_array().unwrap();
    assert!(
        rows.iter().take(3).any(|row| row[2] == "/nodes/{node}/qemu/{vmid}/resize"),
        "{rows:?}"
    );
    assert!(answer.text.len() < 2048, "{} bytes", answer.text.len());
    let answer =
        ask(&cx, "api_find", &json!({"query": "garbge colection", "product": "pbs", "limit": 2}))
            .await;
    let rows = answer.structured["endpoints"]["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    assert!(
        rows.iter().all(|row| row[0] == "pbs" && row[2].as_str().unwrap().contains("/gc")),
        "{rows:?}"
    );
    let answer = ask(&cx, "api_find", &json!({"query": "qqqqzzzz"})).await;
    assert!(answer.text.starts_with("no endpoint fits"), "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_estate_serves_is_what_is_searched() {
    let estate = Estate::start("readonly").await;
    let text = estate.text("api_find", json!({"query": "guest agent network", "limit": 3})).await;
    assert!(text.contains("/nodes/{node}/qemu/{vmid}/agent/network-get-interfaces"), "{text}");
    assert!(!text.contains("bundled"), "{text}");
    let text = estate
        .text("api_describe", json!({"path": "/nodes/alder/qemu/104/snapshot", "method": "POST"}))
        .await;
    assert!(text.contains("snapname string yes"), "{text}");
}
