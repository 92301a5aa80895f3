//! What fuzzers feed and CI replays: bytes in, and nothing may panic or leave its place.
//!
//! Not part of the API; `cargo xtask fuzz` runs these, and a test runs them over the kept corpus.

use percent_encoding::percent_decode_str;
use serde_json::Map;

use crate::{
    Path,
    schema::{Param, Schema, Target, search},
};

/// The longest question that is searched for.
const QUESTION: usize = 64;

/// A published schema: whatever is read of it can be walked, searched and checked against.
pub fn schema(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for parsed in [Schema::parse(&text), Schema::parse_lines(&text)] {
        let Ok(schema) = parsed else { continue };
        for endpoint in schema.endpoints() {
            for param in endpoint.params() {
                assert_eq!(
                    endpoint.param(param.name()).map(Param::name),
                    Some(param.name()),
                    "a parameter is found by its name"
                );
                let _ = (param.kind(), param.default(), param.range(), param.length());
                let _ = (param.choices().len(), param.keys().len(), param.requires());
            }
            let _ = schema.check(endpoint.method(), endpoint.path(), &Map::new());
        }
        let question: String = text.chars().take(QUESTION).collect();
        let _ = search(&[&schema], &question, 5);
    }
}

/// A path as a model writes it: what is taken becomes exactly its segments, on no other host, and
/// without a query.
pub fn path(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(target) = Target::parse(&text) else { return };
    let built = target.segments().iter().fold(Path::new(), Path::push).to_string();
    assert!(built.starts_with('/') && !built.starts_with("//"), "{built:?} stays on its host");
    assert!(!built.contains(['?', '#', '\\']), "{built:?} has no query");
    assert!(built.bytes().all(|byte| byte.is_ascii_graphic()), "{built:?} is plain");
    let back: Vec<String> = built
        .split('/')
        .skip(1)
        .filter(|_| !target.segments().is_empty())
        .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
        .collect();
    assert_eq!(back, target.segments(), "{built:?} has the segments that were meant");
    assert!(built.split('/').all(|segment| segment != "." && segment != ".."), "{built:?} stays");
}
