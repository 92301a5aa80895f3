//! How an action is taken back, also where only its run tells by which call.

use std::sync::{Arc, OnceLock};

use mcp_protocol::JsonObject;
use serde_json::Value;

/// How an action can be taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undo {
    /// By this call.
    Call(&'static str, JsonObject),
    /// By these calls, in their order. Each must be possible without those before it: an undo is
    /// planned as a whole before any of it is sent.
    Calls(Vec<(&'static str, JsonObject)>),
    /// By hand, as it says.
    By(String),
    /// Not at all; why.
    Never(String),
}

/// A value that only the run brings, such as the volume of a backup that a step makes. Until then it
/// stands in a plan as `${step1.volume}`. Cheap to clone: all clones are the same value.
#[derive(Clone, Debug)]
pub struct Later {
    word: String,
    value: Arc<OnceLock<String>>,
}

// === impl Undo ===

impl Undo {
    /// The calls, where it takes no hand.
    pub fn calls(&self) -> Vec<(&'static str, JsonObject)> {
        match self {
            Self::Call(tool, args) => vec![(tool, args.clone())],
            Self::Calls(calls) => calls.clone(),
            Self::By(_) | Self::Never(_) => Vec::new(),
        }
    }

    /// In a few words.
    pub fn sentence(&self) -> String {
        match self {
            Self::Call(..) | Self::Calls(_) => {
                let calls = self.calls().into_iter();
                let said = calls.map(|(tool, args)| format!("{tool} {}", Value::Object(args)));
                said.collect::<Vec<_>>().join(", then ")
            }
            Self::By(how) => how.clone(),
            Self::Never(why) => format!("not possible: {why}"),
        }
    }
}

// === impl Later ===

impl Later {
    /// What the step of this number, from 1, brings under this name.
    pub fn of_step(step: usize, name: &str) -> Self {
        Self { word: format!("${{step{step}.{name}}}"), value: Arc::default() }
    }

    /// What stands for it in a plan.
    pub fn word(&self) -> &str {
        &self.word
    }

    /// Here it is. The first one counts.
    pub fn comes(&self, value: impl Into<String>) {
        self.value.get_or_init(|| value.into());
    }

    /// It, once it has come.
    pub fn get(&self) -> Option<&str> {
        self.value.get().map(String::as_str)
    }
}

/// The arguments with what has come in its place; `None` if one of them never came.
pub(crate) fn filled(args: &JsonObject, later: &[Later]) -> Option<JsonObject> {
    let mut filled = args.clone();
    for value in filled.values_mut() {
        let Some(found) = later.iter().find(|later| value.as_str() == Some(later.word())) else {
            continue;
        };
        *value = found.get()?.into();
    }
    Some(filled)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn args(value: Value) -> JsonObject {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_comes_later_is_put_in_its_place_and_nothing_else_is_touched() {
        let later = Later::of_step(1, "volume");
        let call = args(json!({"guest": "lab/104", "from": later.word(), "note": "${step1}"}));
        assert_eq!(call["from"], "${step1.volume}");
        assert_eq!(filled(&call, std::slice::from_ref(&later)), None);
        later.clone().comes("vault:backup/vm/104/1");
        later.comes("another");
        let filled = filled(&call, &[later]).unwrap();
        let whole = args(json!({
            "guest": "lab/104", "from": "vault:backup/vm/104/1", "note": "${step1}",
        }));
        assert_eq!(filled, whole);
        // A value that nobody promised is only text.
        assert_eq!(super::filled(&call, &[]), Some(call));
    }

    #[test]
    fn several_calls_are_said_in_their_order() {
        let undo = Undo::Calls(vec![("a", args(json!({"x": 1}))), ("b", args(json!({})))]);
        assert_eq!(undo.sentence(), r#"a {"x":1}, then b {}"#);
        assert_eq!(undo.calls().len(), 2);
        assert!(Undo::Never("it is gone".to_owned()).calls().is_empty());
    }
}
