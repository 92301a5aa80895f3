//! The shape of the settings as data: sections, keys, kinds, and the nearest key to a wrong one.
//!
//! `config/default.toml`, the reference page, the JSON schema, the hints and the reading of
//! environment variables all come from the table in [`table`](crate::table).

use toml::Value;

use crate::error::Complaint;

/// A top-level table of the settings.
#[derive(Debug)]
#[non_exhaustive]
pub struct Section {
    /// The table's name, for example `server`.
    pub name: &'static str,
    /// Whether its keys stand in named tables below it, as in `[pve.home]`.
    pub named: bool,
    /// The name that examples use for a named table; empty otherwise.
    pub example: &'static str,
    /// What the section is about, in sentences.
    pub doc: &'static str,
    /// Its keys in the order in which they are explained.
    pub keys: &'static [Key],
    /// What the `type` of its tables can be; empty where tables have none.
    pub types: &'static [Type],
    /// The named tables that can stand within each of its tables.
    pub tables: &'static [Nested],
    /// What stands for `{product}` and `{port}` in the keys' texts.
    pub words: (&'static str, &'static str),
}

/// One type of the tables of a section, for example `syslog` of the inputs.
#[derive(Debug)]
#[non_exhaustive]
pub struct Type {
    /// The word that stands at `type`.
    pub name: &'static str,
    /// The name that examples give to a table of it.
    pub example: &'static str,
    /// What it is, in sentences.
    pub doc: &'static str,
    /// The keys that it has beside those of the section.
    pub keys: &'static [Key],
    /// The named tables that it has beside those of the section.
    pub tables: &'static [Nested],
}

/// Named tables within a named table, for example `[input.<name>.peer.<name>]`.
#[derive(Debug)]
#[non_exhaustive]
pub struct Nested {
    /// What stands between the two names, for example `peer`.
    pub name: &'static str,
    /// The name that examples use.
    pub example: &'static str,
    /// What it is about, in sentences.
    pub doc: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
}

/// Where keys stand: in a section's tables, in those of one type, or in tables within them.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The section.
    pub section: &'static Section,
    /// The type, if the keys are those of one.
    pub of_type: Option<&'static Type>,
    /// The tables within, if the keys are theirs.
    pub nested: Option<&'static Nested>,
}

/// One key of a section.
#[derive(Debug)]
#[non_exhaustive]
pub struct Key {
    /// The key as it is written, unit included (`_secs`, `_bytes`).
    pub name: &'static str,
    /// What may stand there.
    pub kind: Kind,
    /// The default as TOML, or `None` where nothing is the default.
    pub default: Option<&'static str>,
    /// An example as TOML, shown where there is no default.
    pub example: &'static str,
    /// Whether a table without it is an error.
    pub required: bool,
    /// What it does, in sentences.
    pub doc: &'static str,
}

/// What may stand at a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Free text.
    Text,
    /// A secret: never shown.
    Secret,
    /// The path of a file.
    File,
    /// The path of a file that holds a secret.
    SecretFile,
    /// The path of a folder.
    Folder,
    /// A path at which nothing need be yet.
    Path,
    /// `true` or `false`.
    Boolean,
    /// A whole number between two bounds, both included.
    Integer(i64, i64),
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// A list of texts.
    List,
    /// A list of texts in which numbers may stand as such.
    ListOrNumbers,
    /// A moment, with its offset or by the operator's clock.
    Time,
    /// Named texts, for example `{ site = "home" }`.
    Map,
    /// Named whole numbers between two bounds, both included.
    MapOfIntegers(i64, i64),
    /// Texts by any names, for example `{ "pve1.example.lan" = "home/pve1" }`.
    MapOfTexts,
    /// Named texts or lists of texts, for example `{ pve1 = "AB:…", pve2 = ["CD:…", "EF:…"] }`.
    MapOfLists,
    /// A text or a list of texts.
    TextOrList,
}

// === impl Section ===

impl Section {
    /// The section of that name.
    pub fn find(name: &str) -> Option<&'static Self> {
        crate::table::SECTIONS.iter().find(|section| section.name == name)
    }

    /// The key of that name in its tables, of whatever type they are.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.key_in(None, name)
    }

    /// The key of that name in its tables, or in the tables of that name within them.
    pub(crate) fn key_in(&self, nested: Option<&str>, name: &str) -> Option<&'static Key> {
        let find = |keys: &'static [Key]| keys.iter().find(|key| key.name == name);
        match nested {
            None => find(self.keys).or_else(|| self.types.iter().find_map(|it| find(it.keys))),
            Some(nested) => self.all_nested(nested).find_map(|it| find(it.keys)),
        }
    }

    /// The tables of that name within its tables, of every type.
    fn all_nested(&self, name: &str) -> impl Iterator<Item = &'static Nested> {
        let of_types = self.types.iter().flat_map(|it| it.tables);
        self.tables.iter().chain(of_types).filter(move |nested| nested.name == name)
    }

    /// Whether tables of that name can stand within its tables.
    pub(crate) fn has_nested(&self, name: &str) -> bool {
        self.all_nested(name).next().is_some()
    }

    /// The type of that name.
    pub(crate) fn find_type(&self, name: &str) -> Option<&'static Type> {
        self.types.iter().find(|it| it.name == name)
    }

    /// The tables of that name within a table of that type.
    pub(crate) fn nested_of(
        &self,
        of_type: Option<&'static Type>,
        name: &str,
    ) -> Option<&'static Nested> {
        let of_type = of_type.map_or(&[][..], |it| it.tables);
        self.tables.iter().chain(of_type).find(|nested| nested.name == name)
    }

    /// Every place at which its keys stand, in the order in which they are explained.
    pub fn places(&'static self) -> Vec<Place> {
        let own = Place { section: self, of_type: None, nested: None };
        let mut places = vec![own];
        places.extend(self.tables.iter().map(|it| Place { nested: Some(it), ..own }));
        for of_type in self.types {
            let own = Place { of_type: Some(of_type), ..own };
            places.push(own);
            places.extend(of_type.tables.iter().map(|it| Place { nested: Some(it), ..own }));
        }
        places
    }

    /// The table's header as examples write it, for example `pve.home`.
    pub fn header(&self) -> String {
        if self.named { format!("{}.{}", self.name, self.example) } else { self.name.to_owned() }
    }

    /// A text of this section's keys with its placeholders filled in.
    pub fn fill(&self, text: &str) -> String {
        text.replace("{product}", self.words.0)
            .replace("{port}", self.words.1)
            .replace("{name}", self.example)
    }

    /// The variable that sets the key in the example table.
    pub fn variable(&self, key: &Key) -> String {
        variable(&self.header(), key)
    }

    /// The complaint about a key that this section does not have, in tables of this type if it is
    /// known.
    pub(crate) fn unknown_key(&self, of_type: Option<&'static Type>, name: &str) -> Complaint {
        let types = match of_type {
            Some(of_type) => std::slice::from_ref(of_type),
            None => self.types,
        };
        let mut names: Vec<&str> = self.keys.iter().map(|key| key.name).collect();
        names.extend(types.iter().flat_map(|it| it.keys).map(|key| key.name));
        let nested = types.iter().flat_map(|it| it.tables).chain(self.tables);
        names.extend(nested.map(|nested| nested.name));
        let hint = match (of_type, self.types) {
            (None, [_, ..]) if nearest(name, &names).is_none() => {
                "the reference lists the keys of each type".to_owned()
            }
            _ => did_you_mean(name, &names, "known keys"),
        };
        Complaint::new("is not a known key", hint)
    }

    /// The complaint about a key that the tables of that name do not have.
    pub(crate) fn unknown_key_in(&self, nested: &str, name: &str) -> Complaint {
        let keys = self.all_nested(nested).flat_map(|it| it.keys);
        let names: Vec<&str> = keys.map(|key| key.name).collect();
        Complaint::new("is not a known key", did_you_mean(name, &names, "known keys"))
    }
}

/// The key that stands at a path, `["pve", "home", "labels", "site"]` for example.
pub(crate) fn key_at<S: AsRef<str>>(path: &[S]) -> Option<&'static Key> {
    let section = Section::find(path.first()?.as_ref())?;
    let below = path.get(if section.named { 2 } else { 1 }..)?;
    let first = below.first()?.as_ref();
    match below.get(2) {
        Some(name) if section.has_nested(first) => section.key_in(Some(first), name.as_ref()),
        _ => section.key(first),
    }
}

fn variable(header: &str, key: &Key) -> String {
    let path = format!("{header}.{}", key.name);
    let name = format!("{}{}", crate::environment::PREFIX, path.replace('.', "__"));
    let name = name.to_ascii_uppercase();
    if key.kind.is_map() { name + "__NAME" } else { name }
}

// === impl Place ===

impl Place {
    /// The keys that stand there and nowhere else of the section.
    pub fn keys(&self) -> &'static [Key] {
        match (self.nested, self.of_type) {
            (Some(nested), _) => nested.keys,
            (None, Some(of_type)) => of_type.keys,
            (None, None) => self.section.keys,
        }
    }

    /// What it is about.
    pub fn doc(&self) -> &'static str {
        match (self.nested, self.of_type) {
            (Some(nested), _) => nested.doc,
            (None, Some(of_type)) => of_type.doc,
            (None, None) => self.section.doc,
        }
    }

    /// The table's header as examples write it, for example `input.syslog.peer.home`.
    pub fn header(&self) -> String {
        self.header_of(self.example(), |nested| nested.example)
    }

    /// The same with `<name>` for the names.
    pub(crate) fn pattern(&self) -> String {
        self.header_of("<name>", |_| "<name>")
    }

    fn header_of(&self, name: &str, below: impl Fn(&Nested) -> &'static str) -> String {
        let section = self.section.name;
        match self.nested {
            Some(nested) => format!("{section}.{name}.{}.{}", nested.name, below(nested)),
            None if self.section.named => format!("{section}.{name}"),
            None => section.to_owned(),
        }
    }

    fn example(&self) -> &'static str {
        self.of_type.map_or(self.section.example, |it| it.example)
    }

    /// A text of its keys with its placeholders filled in.
    pub fn fill(&self, text: &str) -> String {
        let name = self.nested.map_or(self.example(), |it| it.example);
        self.section.fill(&text.replace("{name}", name))
    }

    /// The variable that sets the key in the example table.
    pub fn variable(&self, key: &Key) -> String {
        variable(&self.header(), key)
    }
}

// === impl Key ===

impl Key {
    /// Whether the value itself must never be shown.
    pub fn is_secret(&self) -> bool {
        self.kind == Kind::Secret
    }
}

// === impl Kind ===

impl Kind {
    /// The kind in a few words, for the reference page and for messages.
    pub fn describe(self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Secret => "secret text".to_owned(),
            Self::File => "the path of a file".to_owned(),
            Self::SecretFile => "the path of a file with a secret".to_owned(),
            Self::Folder => "the path of a folder".to_owned(),
            Self::Path => "a path".to_owned(),
            Self::Boolean => "true or false".to_owned(),
            Self::Integer(low, high) => format!("a whole number from {low} to {high}"),
            Self::Choice(words) => format!("one of {}", quoted(words)),
            Self::List => "a list of texts".to_owned(),
            Self::ListOrNumbers => "a list of texts and numbers".to_owned(),
            Self::Time => "a moment".to_owned(),
            Self::Map | Self::MapOfTexts => "a table of texts".to_owned(),
            Self::MapOfIntegers(low, high) => {
                format!("a table of whole numbers from {low} to {high}")
            }
            Self::MapOfLists => "a table of texts or of lists of texts".to_owned(),
            Self::TextOrList => "text or a list of texts".to_owned(),
        }
    }

    /// Whether the value is a path that is taken relative to the file that names it.
    pub(crate) fn is_path(self) -> bool {
        matches!(self, Self::File | Self::SecretFile | Self::Folder | Self::Path)
    }

    /// Whether the value's entries are keys of their own, merged one by one.
    pub(crate) fn is_map(self) -> bool {
        matches!(self, Self::Map | Self::MapOfTexts | Self::MapOfLists | Self::MapOfIntegers(..))
    }

    /// The kind of a map's entries.
    pub(crate) fn entry(self) -> Self {
        match self {
            Self::MapOfLists => Self::TextOrList,
            Self::MapOfIntegers(low, high) => Self::Integer(low, high),
            _ => Self::Text,
        }
    }

    /// Reads a value from the plain text of a variable or a flag.
    ///
    /// Text is taken as it is, so that a token `00123` keeps its zeros.
    pub(crate) fn read(self, text: &str) -> Value {
        let trimmed = text.trim();
        match self {
            Self::Boolean => match trimmed.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => Value::Boolean(true),
                "false" | "no" | "off" | "0" => Value::Boolean(false),
                _ => Value::String(trimmed.to_owned()),
            },
            Self::Integer(..) => trimmed
                .parse::<i64>()
                .map_or_else(|_| Value::String(trimmed.to_owned()), Value::Integer),
            Self::List | Self::ListOrNumbers => list(trimmed),
            Self::TextOrList if trimmed.starts_with('[') || trimmed.contains(',') => list(trimmed),
            Self::Secret => Value::String(text.to_owned()),
            _ => Value::String(trimmed.to_owned()),
        }
    }

    /// Checks one value; the complaint never repeats the value of a secret.
    pub(crate) fn check(self, value: &Value) -> Result<(), Complaint> {
        let wrong = || {
            let hint = match self {
                Self::Secret => "write it in quotes".to_owned(),
                _ => format!("it takes {}", self.describe()),
            };
            Err(Complaint::new(format!("is {}", type_name(value)), hint))
        };
        match (self, value) {
            (Self::Text | Self::Secret | Self::TextOrList | Self::Time, Value::String(_))
            | (Self::Time, Value::Datetime(_))
            | (Self::Boolean, Value::Boolean(_)) => Ok(()),
            (Self::File | Self::SecretFile | Self::Folder | Self::Path, Value::String(path)) => {
                if path.is_empty() {
                    Err(Complaint::new("is empty", "name a path or remove the key"))
                } else {
                    Ok(())
                }
            }
            (Self::Integer(low, high), Value::Integer(number)) => {
                if (low..=high).contains(number) {
                    return Ok(());
                }
                let reason = format!("is {number}");
                Err(Complaint::new(reason, format!("it takes a number from {low} to {high}")))
            }
            (Self::Choice(words), Value::String(word)) => {
                if words.contains(&word.as_str()) {
                    return Ok(());
                }
                let hint = did_you_mean(word, words, "it takes one of");
                Err(Complaint::new(format!("is {:?}", shortened(word)), hint))
            }
            (Self::ListOrNumbers, Value::Array(items))
                if items.iter().all(|item| item.is_str() || item.is_integer()) =>
            {
                Ok(())
            }
            (Self::List | Self::ListOrNumbers | Self::TextOrList, Value::Array(items)) => {
                match items.iter().find(|item| !item.is_str()) {
                    None => Ok(()),
                    Some(item) => {
                        let reason = format!("holds {}", type_name(item));
                        Err(Complaint::new(reason, "each entry is text in quotes"))
                    }
                }
            }
            _ => wrong(),
        }
    }
}

/// A hint towards the nearest of the names, or the list of all of them.
pub(crate) fn did_you_mean(given: &str, names: &[&str], otherwise: &str) -> String {
    match nearest(given, names) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("{otherwise}: {}", names.join(", ")),
    }
}

/// The name that was probably meant.
pub(crate) fn nearest<'a>(given: &str, names: &[&'a str]) -> Option<&'a str> {
    // The measure is quadratic in the length; nothing that long is a misspelt key.
    if given.len() > 80 {
        return None;
    }
    let given = given.to_ascii_lowercase();
    let distance = |name: &str| strsim::damerau_levenshtein(&given, &name.to_ascii_lowercase());
    let best = names.iter().map(|name| (distance(name), *name)).min()?;
    let allowed = (given.len().max(best.1.len()) / 3).max(1);
    (best.0 <= allowed).then_some(best.1)
}

/// A list written as TOML (`["a", "b"]`) or plainly (`a,b`).
fn list(text: &str) -> Value {
    if text.starts_with('[')
        && let Ok(Value::Array(items)) = text.parse::<Value>()
    {
        return Value::Array(items);
    }
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "text",
        Value::Integer(_) | Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
