//! How a schema lies in memory: one text arena, rows of offsets into it, equal rows kept once.
//!
//! A published schema says the same things hundreds of times (`node`, `vmid`, `digest`); what is
//! equal is stored once, so both products together take about a megabyte.

use std::collections::HashMap;

/// A piece of the arena.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Text {
    at: u32,
    len: u32,
}

/// A run of entries in one of the lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct List {
    at: u32,
    len: u32,
}

/// What a value is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// Yes or no.
    Boolean,
    /// Several values.
    Array,
    /// Named values.
    Object,
    /// The schema does not say.
    #[default]
    Any,
}

/// A parameter, or a key inside one. An empty text stands for what the schema does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct ParamRow {
    pub(super) name: Text,
    pub(super) about: Text,
    pub(super) kind: Kind,
    pub(super) optional: bool,
    /// Inside another: what a value without a key means.
    pub(super) default_key: bool,
    /// Whether keys that `nested` does not list are taken.
    pub(super) open: bool,
    pub(super) default: Text,
    pub(super) format: Text,
    pub(super) pattern: Text,
    pub(super) minimum: Text,
    pub(super) maximum: Text,
    pub(super) min_length: Text,
    pub(super) max_length: Text,
    /// The parameter that must be there too.
    pub(super) requires: Text,
    /// Inside another: the key that this one is another name of.
    pub(super) alias: Text,
    pub(super) choices: List,
    /// The keys of a property string.
    pub(super) nested: List,
    /// What an array holds: none or one.
    pub(super) item: List,
}

/// One method of one path.
#[derive(Clone, Copy, Debug)]
pub(super) struct EndpointRow {
    pub(super) method: &'static str,
    pub(super) path: Text,
    pub(super) name: Text,
    pub(super) about: Text,
    pub(super) returns: Text,
    pub(super) permissions: Text,
    pub(super) params: List,
    pub(super) protected: bool,
    /// Whether it takes parameters that are not listed.
    pub(super) open: bool,
}

/// The finished tables.
#[derive(Debug, Default)]
pub(super) struct Table {
    text: Box<str>,
    params: Box<[ParamRow]>,
    /// Rows of `params`.
    param_lists: Box<[u32]>,
    choices: Box<[Text]>,
    pub(super) endpoints: Box<[EndpointRow]>,
}

/// Tables in the making.
#[derive(Default)]
pub(super) struct Builder {
    text: String,
    texts: HashMap<Box<str>, Text>,
    params: Vec<ParamRow>,
    param_ids: HashMap<ParamRow, u32>,
    param_lists: Vec<u32>,
    list_ids: HashMap<Vec<u32>, List>,
    choices: Vec<Text>,
    choice_ids: HashMap<Vec<Text>, List>,
    pub(super) endpoints: Vec<EndpointRow>,
}

// === impl Kind ===

impl Kind {
    /// Reads the schema's word.
    pub(super) fn of(word: &str) -> Self {
        match word {
            "string" => Self::String,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            "array" => Self::Array,
            "object" => Self::Object,
            _ => Self::Any,
        }
    }

    /// The schema's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Array => "array",
            Self::Object => "object",
            Self::Any => "any",
        }
    }
}

// === impl List ===

impl List {
    /// Whether nothing is in it.
    pub(super) fn is_empty(self) -> bool {
        self.len == 0
    }

    fn range(self) -> std::ops::Range<usize> {
        self.at as usize..(self.at + self.len) as usize
    }
}

// === impl Table ===

impl Table {
    /// The text itself.
    pub(super) fn text(&self, text: Text) -> &str {
        &self.text[text.at as usize..(text.at + text.len) as usize]
    }

    /// The rows of a list.
    pub(super) fn rows(&self, list: List) -> impl ExactSizeIterator<Item = &ParamRow> + Clone {
        self.param_lists[list.range()].iter().map(|row| &self.params[*row as usize])
    }

    /// The texts of a list.
    pub(super) fn choices(&self, list: List) -> impl ExactSizeIterator<Item = &str> + Clone {
        self.choices[list.range()].iter().map(|text| self.text(*text))
    }

    /// About how many bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        self.text.len()
            + std::mem::size_of_val(&*self.params)
            + std::mem::size_of_val(&*self.param_lists)
            + std::mem::size_of_val(&*self.choices)
            + std::mem::size_of_val(&*self.endpoints)
    }
}

// === impl Builder ===

impl Builder {
    /// Keeps a text; the same one is kept once. A schema of more than 4 GiB cannot come so far.
    pub(super) fn text(&mut self, text: &str) -> Text {
        if text.is_empty() {
            return Text::default();
        }
        if let Some(known) = self.texts.get(text) {
            return *known;
        }
        let kept = Text { at: self.text.len() as u32, len: text.len() as u32 };
        self.text.push_str(text);
        self.texts.insert(text.into(), kept);
        kept
    }

    /// Keeps a row; the same one is kept once.
    pub(super) fn param(&mut self, row: ParamRow) -> u32 {
        if let Some(known) = self.param_ids.get(&row) {
            return *known;
        }
        let id = self.params.len() as u32;
        self.params.push(row);
        self.param_ids.insert(row, id);
        id
    }

    /// Keeps a list of rows.
    pub(super) fn list(&mut self, rows: Vec<u32>) -> List {
        if rows.is_empty() {
            return List::default();
        }
        if let Some(known) = self.list_ids.get(&rows) {
            return *known;
        }
        let list = List { at: self.param_lists.len() as u32, len: rows.len() as u32 };
        self.param_lists.extend_from_slice(&rows);
        self.list_ids.insert(rows, list);
        list
    }

    /// Keeps a list of texts.
    pub(super) fn choices(&mut self, texts: Vec<Text>) -> List {
        if texts.is_empty() {
            return List::default();
        }
        if let Some(known) = self.choice_ids.get(&texts) {
            return *known;
        }
        let list = List { at: self.choices.len() as u32, len: texts.len() as u32 };
        self.choices.extend_from_slice(&texts);
        self.choice_ids.insert(texts, list);
        list
    }

    /// Ends the making.
    pub(super) fn finish(self) -> Table {
        Table {
            text: self.text.into(),
            params: self.params.into(),
            param_lists: self.param_lists.into(),
            choices: self.choices.into(),
            endpoints: self.endpoints.into(),
        }
    }
}
