//! What fuzzers feed and CI replays: any text as a condition, and nothing may panic or run on.
//!
//! Not part of the API; `cargo xtask fuzz` runs this, and a test runs it over the kept corpus.

use serde_json::{Value, json};

use crate::{Condition, Shape, Type, Values};

const SHAPE: Shape = &[
    ("yes", Type::Bool),
    ("count", Type::Int),
    ("share", Type::Float),
    ("name", Type::Text),
    ("tags", Type::List(&Type::Text)),
    ("args", Type::Open),
    ("any", Type::Any),
    ("at", Type::Record(&[("node", Type::Text), ("ids", Type::List(&Type::Int))])),
];

/// A text as a condition: if it compiles, it can be told or not, for small values and large ones.
pub fn condition(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match Condition::compile(&text, SHAPE) {
        Ok(condition) => {
            for values in values() {
                let once = condition.holds(&values);
                assert_eq!(once, condition.holds(&values), "the same values give the same answer");
                let shared = condition.holds_for(&Values::new(&values));
                assert_eq!(once, shared, "values that are brought in once give it too");
            }
            assert!(condition.holds(&Value::Null).is_err() || !mentions_any(&condition));
        }
        Err(error) => {
            let lines = text.split('\n').count();
            assert!((1..=lines).contains(&error.line()), "{error} is at a place of the text");
            assert!(!error.to_string().is_empty());
        }
    }
}

fn mentions_any(condition: &Condition) -> bool {
    SHAPE.iter().any(|(name, _)| condition.names(name))
}

fn values() -> [Value; 2] {
    let long: Vec<String> = (0..128).map(|at| format!("tag-{at}")).collect();
    [
        json!({
            "yes": true, "count": 0, "share": 0.5, "name": "web", "tags": [], "args": {},
            "any": null, "at": {"node": "alder", "ids": [1, 2]},
        }),
        json!({
            "yes": false, "count": i64::MIN, "share": f64::MAX, "name": "w".repeat(4096),
            "tags": long, "args": {"force": "1", "deep": {"er": [{"est": -1}]}}, "any": long,
            "at": {"node": "", "ids": [i64::MAX]},
        }),
    ]
}
