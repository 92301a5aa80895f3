//! What fuzzers feed and CI replays: bytes in, and nothing may panic, survive or escape.
//!
//! Not part of the API; `cargo xtask fuzz` runs these, and a test runs them over the kept corpus.

use secrecy::SecretString;

use crate::{redact::Redactor, untrusted};

/// A secret that stands nowhere else.
const KNOWN: &str = "kN0wn-by-heart/1";
/// Another one, known by the name before it.
const NAMED: &str = "n4med-by-its-field";

/// Any text with a secret after it and one in its middle: both are gone, whatever surrounds them.
pub fn redact(data: &[u8]) {
    let text = String::from_utf8_lossy(data).replace(KNOWN, "").replace(NAMED, "");
    let redactor = Redactor::new(["door code"])
        .with_fields(["env", "recovery"])
        .with_values([SecretString::from(KNOWN)]);
    let middle = (0..=text.len() / 2).rev().find(|at| text.is_char_boundary(*at));
    let (before, after) = text.split_at(middle.unwrap_or_default());
    let planted = format!("{before}{KNOWN}{after}\npassword={NAMED}\n");
    let shown = redactor.text(&planted);
    assert!(!shown.contains(KNOWN), "a known value survives in {shown:?}");
    assert!(!shown.contains(NAMED), "a named value survives in {shown:?}");
    let mut value = serde_json::json!({ text.as_str(): text.as_str(), "token": [text.as_str()] });
    redactor.json(&mut value);
    assert_eq!(value["token"], crate::redact::REDACTED, "a named field goes whole");
}

/// Any text, shown in every way: nothing in it hides, ends a block or exceeds its length.
pub fn shown(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let max = data.len() % 97;
    for shown in
        [untrusted::text(&text, max), untrusted::line(&text, max), untrusted::word(&text, max)]
    {
        let is_seen = |c: char| !untrusted::is_unseen(c) && c != '\r';
        assert!(shown.chars().all(is_seen), "{shown:?} is seen as it is");
        assert!(shown.chars().count() <= max + 1, "{shown:?} is short");
    }
    let word = untrusted::word(&text, max);
    assert!(!word.contains(char::is_whitespace), "{word:?} is one word");
    let line = untrusted::line(&text, usize::MAX);
    assert!(!line.contains(['\n', '\t']), "{line:?} is one line");
    let blunt = untrusted::blunt(&text);
    assert!(!blunt.contains("<<<") && !blunt.contains(">>>"), "{blunt:?} ends nothing");
    assert_eq!(untrusted::blunt(&blunt), blunt, "what is blunt stays so");
}
