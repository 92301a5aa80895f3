//! What a token says, as far as it is looked at.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde::de::IgnoredAny;

/// The claims. A time that is no number, or a subject that is no text, makes the token unreadable.
#[derive(Deserialize)]
pub(super) struct Claims {
    pub(super) iss: String,
    pub(super) sub: String,
    /// Seconds since 1970; RFC 7519 allows fractions.
    pub(super) exp: f64,
    #[serde(default)]
    pub(super) nbf: Option<f64>,
    /// What the token is bound to (RFC 7800).
    #[serde(default)]
    pub(super) cnf: Option<IgnoredAny>,
    #[serde(default)]
    scope: Option<Words>,
    /// Where some issuers put the scopes.
    #[serde(default)]
    scp: Option<Words>,
}

/// Words with spaces between them, or a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    Text(String),
    List(Vec<String>),
}

// === impl Claims ===

impl Claims {
    /// The names of the scopes.
    pub(super) fn scopes(&self) -> BTreeSet<&str> {
        [&self.scope, &self.scp].into_iter().flatten().flat_map(Words::iter).collect()
    }
}

// === impl Words ===

impl Words {
    fn iter(&self) -> impl Iterator<Item = &str> {
        let texts: &[String] = match self {
            Self::Text(text) => std::slice::from_ref(text),
            Self::List(list) => list,
        };
        texts.iter().flat_map(|text| text.split(' ')).filter(|word| !word.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn claims(more: &Value) -> Result<Claims, serde_json::Error> {
        let mut all = json!({ "iss": "https://i", "sub": "s", "exp": 1 });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(all)
    }

    #[test]
    fn scopes_stand_in_several_places_and_shapes() {
        for (more, expected) in [
            (json!({}), &[][..]),
            (json!({ "scope": "b  a" }), &["a", "b"]),
            (json!({ "scope": ["a", "b c"] }), &["a", "b", "c"]),
            (json!({ "scp": "a", "scope": "b" }), &["a", "b"]),
            (json!({ "scp": ["a"], "scope": null }), &["a"]),
        ] {
            let claims = claims(&more).unwrap();
            assert_eq!(claims.scopes().into_iter().collect::<Vec<_>>(), expected, "{more}");
        }
    }

    #[test]
    fn what_is_of_the_wrong_kind_is_no_token() {
        assert!(claims(&json!({ "exp": 1.5, "nbf": 1.5 })).is_ok());
        for more in [
            json!({ "exp": "99999999999" }),
            json!({ "exp": null }),
            json!({ "nbf": "1" }),
            json!({ "nbf": {} }),
            json!({ "sub": 7 }),
            json!({ "iss": ["https://i"] }),
            json!({ "scope": 7 }),
        ] {
            assert!(claims(&more).is_err(), "{more}");
        }
    }
}
