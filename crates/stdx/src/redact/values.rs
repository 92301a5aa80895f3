//! Secrets that are known by heart: the ones that this process was given.

use std::ops::Range;

use secrecy::{ExposeSecret, SecretString};

use super::pairs::Pairs;

/// The shortest value that is looked for.
const SHORTEST: usize = 8;

/// Known values, and which pairs of bytes one of them begins with.
#[derive(Clone, Default)]
pub(super) struct Values {
    known: Vec<SecretString>,
    /// Absent while nothing is known. A text is passed over once whatever the number of values.
    pairs: Option<Box<Pairs>>,
}

// === impl Values ===

impl Values {
    pub(super) fn add(&mut self, values: impl IntoIterator<Item = SecretString>) {
        let long = values.into_iter().filter(|value| value.expose_secret().len() >= SHORTEST);
        for value in long {
            for spelt in spellings(value.expose_secret()) {
                self.mark(&spelt);
                self.known.push(SecretString::from(spelt));
            }
            self.mark(value.expose_secret());
            self.known.push(value);
        }
        // Where one begins like another, the longer one is meant.
        self.known.sort_by_key(|value| std::cmp::Reverse(value.expose_secret().len()));
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Adds where known values stand.
    pub(super) fn find(&self, text: &str, found: &mut Vec<Range<usize>>) {
        let Some(pairs) = &self.pairs else { return };
        let bytes = text.as_bytes();
        let mut at = 0;
        while at + SHORTEST <= bytes.len() {
            if !pairs.has(bytes[at], bytes[at + 1]) {
                at += 1;
                continue;
            }
            let mut values = self.known.iter().map(|value| value.expose_secret().as_bytes());
            match values.find(|value| bytes[at..].starts_with(value)) {
                Some(value) => {
                    found.push(at..at + value.len());
                    at += value.len();
                }
                None => at += 1,
            }
        }
    }

    fn mark(&mut self, value: &str) {
        if let [first, second, ..] = *value.as_bytes() {
            self.pairs.get_or_insert_with(|| Box::new(Pairs::new())).add(first, second);
        }
    }
}

/// How else a value is written: in the query of a URL, and in a JSON string.
fn spellings(value: &str) -> Vec<String> {
    use std::fmt::Write as _;
    let mut in_url = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            in_url.push(char::from(byte));
        } else {
            let _ = write!(in_url, "%{byte:02X}");
        }
    }
    let in_json = serde_json::Value::from(value).to_string();
    let in_json = in_json[1..in_json.len() - 1].to_owned();
    let mut out = vec![in_url, in_json];
    out.retain(|spelt| spelt != value);
    out
}
