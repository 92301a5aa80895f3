//! Every published endpoint is described with all of its parameters, and found by its words.

use std::collections::{BTreeMap, BTreeSet};

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

fn collect(nodes: &Value, all: &mut Vec<(String, String, BTreeSet<String>)>) {
    for node in nodes.as_array().into_iter().flatten() {
        for (method, info) in node["info"].as_object().into_iter().flatten() {
            let names = info["parameters"]["properties"].as_object().into_iter().flatten();
            let names = names.map(|(name, _)| name.clone()).collect();
            all.push((method.clone(), node["path"].as_str().unwrap().to_owned(), names));
        }
        collect(&node["children"], all);
    }
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
        let mut largest = 0;
        for (method, path, params) in &all {
            let mut args = json!({"path": path, "method": method, "product": product.as_str()});
            let mut found = BTreeSet::new();
            let tier = loop {
                let answer = ask(&cx, "api_describe", &args).await;
                largest = largest.max(answer.text.len());
                found.extend(names(&answer.structured, "parameters"));
                let next = answer.structured.get("next").and_then(Value::as_array).cloned();
                let cursor =
                    next.into_iter().flatten().find_map(|next| next["args"].get("cursor").cloned());
                match cursor {
                    Some(cursor) => args["cursor"] = cursor,
                    None => break answer.structured["tier"].as_str().unwrap().to_owned(),
                }
            };
            assert!(found == *params, "{method} {path}: {found:?} instead of {params:?}");
            let access = risk::tier(product, method, path);
            assert_eq!(tier, access.map_or("refused", estate::Access::as_str));
            *counts.entry(tier).or_default() += 1;
        }
        println!(
            "{product}: {} endpoints described, largest answer {largest} bytes, {counts:?}",
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
