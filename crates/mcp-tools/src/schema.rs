//! Builds the schemas of tools: flat, small, and the same words for the same thing everywhere.
//!
//! Every byte of an input schema is paid in each conversation, so an argument is described only
//! where its name does not already say it.

use serde_json::{Map, Value, json};

/// Builds an input schema: a flat object that knows all its arguments.
#[derive(Clone, Debug, Default)]
pub struct Input {
    properties: Map<String, Value>,
    required: Vec<&'static str>,
    selects: bool,
}

/// Builds an output schema: the tool's own facts and tables beside what every answer may carry.
#[derive(Clone, Debug, Default)]
pub struct Output {
    properties: Map<String, Value>,
}

// === impl Input ===

impl Input {
    /// No arguments yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A text argument; an empty `about` is left out.
    #[must_use]
    pub fn text(self, name: &'static str, about: &str) -> Self {
        self.with(name, json!({"type": "string"}), about)
    }

    /// A text argument with fixed values.
    #[must_use]
    pub fn choice(self, name: &'static str, values: &[&str], about: &str) -> Self {
        self.with(name, json!({"type": "string", "enum": values}), about)
    }

    /// A whole number within bounds.
    #[must_use]
    pub fn integer(
        self,
        name: &'static str,
        bounds: std::ops::RangeInclusive<i64>,
        about: &str,
    ) -> Self {
        let schema = json!({"type": "integer", "minimum": bounds.start(), "maximum": bounds.end()});
        self.with(name, schema, about)
    }

    /// A whole number whose bounds the tool itself keeps.
    #[must_use]
    pub fn count(self, name: &'static str) -> Self {
        self.with(name, json!({"type": "integer"}), "")
    }

    /// A yes or no.
    #[must_use]
    pub fn boolean(self, name: &'static str, about: &str) -> Self {
        self.with(name, json!({"type": "boolean"}), about)
    }

    /// A list of fixed words.
    #[must_use]
    pub fn choices(self, name: &'static str, values: &[&str], about: &str) -> Self {
        let schema = json!({"type": "array", "items": {"type": "string", "enum": values}});
        self.with(name, schema, about)
    }

    /// A list of texts.
    #[must_use]
    pub fn texts(self, name: &'static str, about: &str) -> Self {
        self.with(name, json!({"type": "array", "items": {"type": "string"}}), about)
    }

    /// An object of anything.
    #[must_use]
    pub fn object(self, name: &'static str, about: &str) -> Self {
        self.with(name, json!({"type": "object"}), about)
    }

    /// The settings key of a cluster or server.
    #[must_use]
    pub fn cluster(self) -> Self {
        self.text("cluster", "")
    }

    /// A node's name.
    #[must_use]
    pub fn node(self) -> Self {
        self.text("node", "")
    }

    /// A guest: `cluster/vmid`, or what is unique.
    #[must_use]
    pub fn guest(self) -> Self {
        let schema = json!({"type": "string", "minLength": 1});
        self.with("guest", schema, "cluster/vmid, or vmid or name if unique").required("guest")
    }

    /// `plan` of an action: says what would be done, and does nothing.
    #[must_use]
    pub(crate) fn planned(self) -> Self {
        self.boolean("plan", "")
    }

    /// `limit`, `cursor` and `fields` of a list; [`crate::cursor::limit`] keeps the bounds.
    #[must_use]
    pub fn paged(self) -> Self {
        self.count("limit").text("cursor", "").fields()
    }

    /// `fields` of a list: the columns that are wanted, by commas. The answer is cut to them after
    /// the tool has made it.
    #[must_use]
    pub fn fields(mut self) -> Self {
        self.selects = true;
        self.text("fields", "")
    }

    /// Whether the caller may choose columns.
    pub(crate) fn selects(&self) -> bool {
        self.selects
    }

    /// Makes an argument required.
    #[must_use]
    pub fn required(mut self, name: &'static str) -> Self {
        debug_assert!(self.properties.contains_key(name), "{name} is an argument");
        self.required.push(name);
        self
    }

    fn with(mut self, name: &'static str, mut schema: Value, about: &str) -> Self {
        if !about.is_empty() {
            schema["description"] = about.into();
        }
        self.properties.insert(name.to_owned(), schema);
        self
    }

    /// The schema.
    pub fn build(self) -> Map<String, Value> {
        let mut out = Map::new();
        out.insert("type".to_owned(), "object".into());
        out.insert("properties".to_owned(), Value::Object(self.properties));
        if !self.required.is_empty() {
            out.insert("required".to_owned(), json!(self.required));
        }
        out.insert("additionalProperties".to_owned(), false.into());
        out
    }
}

// === impl Output ===

impl Output {
    /// What every answer may carry, and nothing else yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A table of the tool.
    #[must_use]
    pub fn table(mut self, name: &str) -> Self {
        let schema = json!({"type": "object", "properties": {
            "columns": {"type": "array", "items": {"type": "string"}},
            "rows": {"type": "array", "items": {"type": "array"}},
            "total": {"type": "integer"},
        }, "required": ["columns", "rows"]});
        self.properties.insert(name.to_owned(), schema);
        self
    }

    /// A fact of the tool, of a JSON type such as `integer`, `string` or `object`.
    #[must_use]
    pub fn fact(mut self, name: &str, kind: &str) -> Self {
        self.properties.insert(name.to_owned(), json!({"type": [kind, "null"]}));
        self
    }

    /// The schema. Further facts are allowed: an older client must not refuse a newer answer.
    pub fn build(self) -> Map<String, Value> {
        let mut properties = self.properties;
        for common in ["unreachable", "notes", "untrusted", "next"] {
            properties.insert(common.to_owned(), json!({"type": "array"}));
        }
        let mut out = Map::new();
        out.insert("type".to_owned(), "object".into());
        out.insert("properties".to_owned(), Value::Object(properties));
        out
    }
}
