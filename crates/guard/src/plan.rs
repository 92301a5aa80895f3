//! The canonical form of a plan, and the digest that consent names.
//!
//! Only what decides what happens is in it: who asks, the calls in their order, and the state of
//! what they touch. Sentences, durations and the blast radius are said beside it.
//!
//! The bytes are canonical JSON (RFC 8785: keys sorted, no blanks; no number occurs), hashed with
//! SHA-256 behind the prefix `proxmox-mcp/plan/v1\0`, so that no other document has the same digest.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// What the digest is taken of, before the document.
const PREFIX: &[u8] = b"proxmox-mcp/plan/v1\0";

/// How many characters of a digest people are shown.
const SHORT: usize = 12;

/// What decides what a plan does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanForm {
    /// Who asks, in the written form of a [`crate::Principal`].
    pub principal: String,
    /// The tool that would run it.
    pub tool: String,
    /// The calls, in their order.
    pub calls: Vec<PlannedCall>,
    /// What the calls touch, by its address (`lab/104`), and the state that it is in: whatever must
    /// not move between consent and run.
    pub targets: BTreeMap<String, BTreeMap<String, String>>,
}

/// One call to one member of the estate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlannedCall {
    /// The member's settings key.
    pub member: String,
    /// `POST`, `PUT` or `DELETE`.
    pub method: String,
    /// The escaped path.
    pub path: String,
    /// The parameters in their order; secrets stand as keyed hashes.
    pub params: Vec<(String, String)>,
}

/// What a plan is known by: `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PlanDigest(String);

// === impl PlanForm ===

impl PlanForm {
    /// The canonical bytes.
    pub fn canonical(&self) -> Vec<u8> {
        let calls: Vec<Value> = self.calls.iter().map(PlannedCall::json).collect();
        let document = json!({
            "calls": calls,
            "principal": self.principal,
            "targets": self.targets,
            "tool": self.tool,
        });
        sorted(document).to_string().into_bytes()
    }

    /// What consent names.
    pub fn digest(&self) -> PlanDigest {
        let mut hasher = Sha256::new();
        hasher.update(PREFIX);
        hasher.update(self.canonical());
        let mut digest = "sha256:".to_owned();
        for byte in hasher.finalize() {
            // Writing to a string cannot fail.
            let _ = write!(digest, "{byte:02x}");
        }
        PlanDigest(digest)
    }

    /// What is not as it was when `earlier` was made, in words; empty if nothing moved.
    pub fn moved_since(&self, earlier: &Self) -> Vec<String> {
        let mut moved = Vec::new();
        for (target, before) in &earlier.targets {
            let Some(now) = self.targets.get(target) else {
                moved.push(format!("{target} is no longer part of the plan"));
                continue;
            };
            for (name, was) in before {
                let is = now.get(name).map_or("gone", String::as_str);
                if is != was {
                    moved.push(format!("{name} of {target} was {was} and is {is}"));
                }
            }
        }
        let new = self.targets.keys().filter(|target| !earlier.targets.contains_key(*target));
        moved.extend(new.map(|target| format!("{target} is new in the plan")));
        if moved.is_empty() && self.calls != earlier.calls {
            moved.push("the calls are others now".to_owned());
        }
        moved
    }
}

// === impl PlannedCall ===

impl PlannedCall {
    fn json(&self) -> Value {
        let params: Vec<Value> =
            self.params.iter().map(|(key, value)| json!([key, value])).collect();
        json!({
            "member": self.member, "method": self.method, "path": self.path, "params": params,
        })
    }
}

/// The same value with the keys of every object in order.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let map: BTreeMap<String, Value> =
                map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            Value::Object(map.into_iter().collect())
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        other => other,
    }
}

// === impl PlanDigest ===

impl PlanDigest {
    /// A digest as it was kept; it is only ever compared.
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The whole of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its first digits, for people.
    pub fn short(&self) -> &str {
        let hex = self.0.strip_prefix("sha256:").unwrap_or(&self.0);
        hex.get(..SHORT).unwrap_or(hex)
    }
}

impl fmt::Display for PlanDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use proptest::prelude::*;

    fn form() -> PlanForm {
        let state = [("status", "running"), ("digest", "ab")];
        let state = state.map(|(name, value)| (name.to_owned(), value.to_owned()));
        PlanForm {
            principal: "local:1000".to_owned(),
            tool: "guest_delete".to_owned(),
            calls: vec![PlannedCall {
                member: "lab".to_owned(),
                method: "DELETE".to_owned(),
                path: "/nodes/alder/qemu/104".to_owned(),
                params: vec![("purge".to_owned(), "1".to_owned())],
            }],
            targets: [("lab/104".to_owned(), state.into())].into(),
        }
    }

    #[test]
    fn the_form_is_canonical_and_the_digest_is_fixed() {
        let text = String::from_utf8(form().canonical()).unwrap();
        expect![[r#"{"calls":[{"member":"lab","method":"DELETE","params":[["purge","1"]],"path":"/nodes/alder/qemu/104"}],"principal":"local:1000","targets":{"lab/104":{"digest":"ab","status":"running"}},"tool":"guest_delete"}"#]].assert_eq(&text);
        // Computed outside of this program, over the prefix and the bytes above.
        expect!["sha256:3b6819b0a7baf5640ce270a8ac86846a5f58723f63cdba25b7836ecccc65e39a"]
            .assert_eq(form().digest().as_str());
    }

    #[test]
    fn what_moved_is_named() {
        let mut later = form();
        later.targets.get_mut("lab/104").unwrap().insert("status".into(), "stopped".into());
        let moved = later.moved_since(&form());
        assert_eq!(moved, ["status of lab/104 was running and is stopped"]);
        assert_ne!(later.digest(), form().digest());
        let mut other = form();
        other.calls[0].params[0].1 = "0".to_owned();
        assert_eq!(other.moved_since(&form()), ["the calls are others now"]);
        assert!(form().moved_since(&form()).is_empty());
    }

    proptest! {
        /// Moving a character from one field to the next must never give the same document.
        #[test]
        fn different_forms_have_different_digests(
            left in prop::collection::vec(("[a-z/\"\\\\]{0,4}", "[a-z/\"\\\\]{0,4}"), 0..4),
            right in prop::collection::vec(("[a-z/\"\\\\]{0,4}", "[a-z/\"\\\\]{0,4}"), 0..4),
        ) {
            let with = |params: &Vec<(String, String)>| {
                let mut form = form();
                form.calls[0].params.clone_from(params);
                form.digest()
            };
            prop_assert_eq!(left == right, with(&left) == with(&right));
        }
    }
}
