//! The shape of the settings as data: sections, keys, kinds, and the nearest key to a wrong one.
//!
//! `config/default.toml`, the reference page, the JSON schema, the hints and the reading of
//! environment variables all come from the table in [`table`](crate::table).

use crate::error::Complaint;
pub use crate::kinds::Kind;

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
