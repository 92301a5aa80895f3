//! The description of the API: as it is, and that it holds together.

use std::collections::BTreeSet;

use expect_test::expect_file;
use gateway::Options;
use serde_json::{Value, json};

use crate::client::{ask, get, post};
use crate::support::{open, start, tokens};

const OPENAPI: &str = "/api/v1/openapi.json";

#[tokio::test]
async fn the_description_is_complete_and_holds_together() {
    let (authenticator, made, _folder) = tokens(&[("ci", "destroy")]);
    let running = start(Options::default(), authenticator).await;
    let document = get(OPENAPI).bearer(&made[0]).send(running.address).await.json();
    let text = serde_json::to_string_pretty(&document).unwrap();
    expect_file!["../golden/openapi.json"].assert_eq(&format!("{text}\n"));
    check(&document);
    // What is described is what is there.
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let path = path.replace("{id}", "0");
            let answer = match method.as_str() {
                "get" => get(&path).bearer(&made[0]).send(running.address).await,
                "delete" => ask("DELETE", &path).bearer(&made[0]).send(running.address).await,
                _ => {
                    // Arguments that no tool takes: it is there, and is not run.
                    let ask = post(&path, &json!({"no such argument": 1})).bearer(&made[0]);
                    ask.send(running.address).await
                }
            };
            assert!(!matches!(answer.status, 405 | 500), "{method} {path}: {answer:?}");
            let known = answer.status != 404 || answer.problem() == "no-such-job";
            assert!(known, "{method} {path}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn it_is_described_what_the_caller_may_use() {
    let (authenticator, made, _folder) = tokens(&[("reader", "read")]);
    let running = start(Options::default(), authenticator).await;
    let document = get(OPENAPI).bearer(&made[0]).send(running.address).await.json();
    assert!(document["paths"].get("/api/v1/tools/echo").is_some());
    assert!(document["paths"].get("/api/v1/tools/job").is_none());
    assert!(document["security"].is_array());
    let running = start(Options::default(), open()).await;
    let document = get(OPENAPI).send(running.address).await.json();
    assert_eq!(document.get("security"), None, "nobody is asked for a token");
    check(&document);
}

/// What OpenAPI 3.1 asks of a document, as far as this one goes.
fn check(document: &Value) {
    assert_eq!(document["openapi"], "3.1.0");
    for field in ["title", "version"] {
        assert!(document["info"][field].is_string());
    }
    let tags = document["tags"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        assert!(path.starts_with('/'));
        for (method, operation) in item.as_object().unwrap() {
            assert!(["get", "post", "delete"].contains(&method.as_str()), "{method}");
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{operation}");
            for tag in operation["tags"].as_array().unwrap() {
                assert!(tags.iter().any(|known| known["name"] == *tag), "{tag}");
            }
            let in_path: Vec<_> = path.split('/').filter(|part| part.starts_with('{')).collect();
            let parameters = operation["parameters"].as_array().map_or(0, Vec::len);
            assert_eq!(in_path.len(), parameters, "{path}");
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.contains_key("200") && responses.contains_key("default"));
            for response in responses.values() {
                assert!(response["description"].is_string());
            }
        }
    }
    references(document, document);
}

/// Every `$ref` leads somewhere.
fn references(document: &Value, value: &Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(to)) = fields.get("$ref") {
                let to = to.strip_prefix('#').unwrap_or_else(|| panic!("leads outside: {to}"));
                assert!(document.pointer(to).is_some(), "{to}");
            }
            fields.values().for_each(|field| references(document, field));
        }
        Value::Array(items) => items.iter().for_each(|item| references(document, item)),
        _ => {}
    }
}
