//! The layers merged by figment, which no other module names.
//!
//! Each layer has been checked against the table of keys before it comes here, so what figment
//! itself could complain about is rare; it is put into our words, with key and origin.

use std::collections::{BTreeMap, BTreeSet};

use figment::error::Kind as Fault;
use figment::value::{Dict, Map, Value as FigmentValue};
use figment::{Figment, Metadata, Profile, Provider};
use serde::de::DeserializeOwned;
use toml::Value;

use crate::error::{Complaint, Origin};
use crate::keys::{Key, Section, Type, did_you_mean, key_at};
use crate::layer::{Entry, KeyPath, Layer, dotted, sibling};
use crate::table::SECTIONS;

/// All layers, the last one winning.
pub(crate) struct Merged {
    figment: Figment,
    layers: Vec<Layer>,
}

/// A value that is in force.
pub(crate) struct Effective<'a> {
    pub(crate) path: KeyPath,
    pub(crate) key: &'static Key,
    pub(crate) value: &'a Value,
    pub(crate) origin: &'a Origin,
}

struct Numbered<'a>(usize, &'a Layer);

// === impl Merged ===

impl Merged {
    pub(crate) fn new(mut layers: Vec<Layer>) -> Self {
        displace(&mut layers);
        let mut figment = Figment::new();
        for (number, layer) in layers.iter().enumerate() {
            figment = figment.merge(Numbered(number, layer));
        }
        Self { figment, layers }
    }

    /// The named tables of a section with the place that opened each.
    pub(crate) fn tables(&self, section: &str) -> BTreeMap<&str, &Origin> {
        let mut tables = BTreeMap::new();
        for layer in &self.layers {
            for (path, origin) in &layer.tables {
                if path.len() == 2 && path[0] == section {
                    tables.entry(path[1].as_str()).or_insert(origin);
                }
            }
        }
        tables
    }

    /// Reads the table at `path` into a type.
    pub(crate) fn extract<T: DeserializeOwned>(
        &self,
        path: &[&str],
    ) -> Result<T, Vec<(KeyPath, Complaint)>> {
        self.figment.extract_inner(&path.join(".")).map_err(|error| {
            let complaints = error.into_iter().map(|error| {
                let mut full: KeyPath = path.iter().map(|&segment| segment.to_owned()).collect();
                // figment gives the path below the extracted table in some releases and kinds of
                // error, and the full one in others.
                let below = error.path.iter().skip(if error.path.starts_with(&full) {
                    full.len()
                } else {
                    0
                });
                full.extend(below.cloned().collect::<Vec<_>>());
                explain(full, error.kind)
            });
            complaints.collect()
        })
    }

    /// Where the value at `path`, or else the nearest table above it, was written.
    pub(crate) fn origin(&self, path: &[String]) -> Origin {
        for end in (1..=path.len()).rev() {
            for layer in self.layers.iter().rev() {
                let found = layer.entries.get(&path[..end]).map(|entry| &entry.origin);
                if let Some(origin) = found.or_else(|| layer.tables.get(&path[..end])) {
                    return origin.clone();
                }
            }
        }
        Origin::Default
    }

    /// The named tables directly below `path`, such as the peers below `["input", "x", "peer"]`.
    pub(crate) fn tables_below(&self, path: &[String]) -> Vec<String> {
        let all = self.layers.iter().flat_map(|layer| layer.tables.keys());
        let names = all.filter(|table| table.len() == path.len() + 1 && table.starts_with(path));
        let names: BTreeSet<&String> = names.filter_map(|table| table.last()).collect();
        names.into_iter().cloned().collect()
    }

    /// Every named table, with those within them.
    pub(crate) fn named_tables(&self) -> BTreeSet<KeyPath> {
        self.layers.iter().flat_map(|layer| layer.tables.keys().cloned()).collect()
    }

    /// The type of the named table at `path`, or of the one that it is within.
    pub(crate) fn type_of(&self, path: &[String]) -> Option<&'static Type> {
        let section = Section::find(path.first()?)?;
        let at = [path.first()?.clone(), path.get(1)?.clone(), "type".to_owned()];
        section.find_type(self.value(&at)?.as_str()?)
    }

    /// The keys that the named table at `path` can have.
    pub(crate) fn keys_of(&self, path: &[String]) -> Vec<&'static Key> {
        let Some(section) = path.first().and_then(|name| Section::find(name)) else {
            return Vec::new();
        };
        let of_type = self.type_of(path);
        let keys = match path.get(2) {
            Some(nested) => section.nested_of(of_type, nested).map_or(&[][..], |it| it.keys).iter(),
            None => section.keys.iter(),
        };
        let of_type = of_type.filter(|_| path.len() == 2).map_or(&[][..], |it| it.keys);
        keys.chain(of_type).collect()
    }

    /// The value in force at `path`.
    pub(crate) fn value(&self, path: &[String]) -> Option<&Value> {
        self.layers.iter().rev().find_map(|layer| Some(&layer.entries.get(path)?.value))
    }

    /// Every path below `path` at which something is said.
    pub(crate) fn paths_below(&self, path: &[String]) -> BTreeSet<&KeyPath> {
        let all = self.layers.iter().flat_map(|layer| layer.entries.keys());
        all.filter(|known| known.len() > path.len() && known.starts_with(path)).collect()
    }

    /// Whether any layer says something at `path`.
    pub(crate) fn has(&self, path: &[&str]) -> bool {
        self.figment.contains(&path.join("."))
    }

    /// Every value in force, by section and key.
    pub(crate) fn effective(&self) -> Vec<Effective<'_>> {
        let mut values = Vec::new();
        for section in SECTIONS {
            if let Ok(value) = self.figment.find_value(section.name) {
                self.collect(vec![section.name.to_owned()], &value, &mut values);
            }
        }
        values
    }

    fn collect<'a>(&'a self, path: KeyPath, value: &FigmentValue, into: &mut Vec<Effective<'a>>) {
        let layer = self
            .figment
            .get_metadata(value.tag())
            .and_then(|metadata| metadata.name.parse::<usize>().ok())
            .and_then(|number| self.layers.get(number));
        if let Some(Entry { key, value, origin }) = layer.and_then(|layer| layer.entries.get(&path))
        {
            into.push(Effective { path, key, value, origin });
            return;
        }
        let FigmentValue::Dict(_, entries) = value else { return };
        for (name, value) in entries {
            let mut path = path.clone();
            path.push(name.clone());
            self.collect(path, value, into);
        }
    }
}

// === impl Numbered ===

impl Provider for Numbered<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.0.to_string())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        let mut root = Dict::new();
        for path in self.1.tables.keys() {
            descend(&mut root, path);
        }
        for (path, entry) in &self.1.entries {
            let Some((name, parents)) = path.split_last() else { continue };
            let value = FigmentValue::serialize(&entry.value)?;
            if let Some(table) = descend(&mut root, parents) {
                table.insert(name.clone(), value);
            }
        }
        Ok(Profile::Default.collect(root))
    }
}

/// The table at `path`, made where it is missing.
fn descend<'a>(mut table: &'a mut Dict, path: &[String]) -> Option<&'a mut Dict> {
    for segment in path {
        let next = table.entry(segment.clone()).or_insert_with(|| FigmentValue::from(Dict::new()));
        let FigmentValue::Dict(_, inner) = next else { return None };
        table = inner;
    }
    Some(table)
}

/// Drops from lower layers what a higher one says by other means: `token` above displaces
/// `token_file` below.
fn displace(layers: &mut [Layer]) {
    let mut above: BTreeSet<KeyPath> = BTreeSet::new();
    for layer in layers.iter_mut().rev() {
        layer.entries.retain(|path, _| !above.contains(path));
        above.extend(layer.entries.keys().filter_map(|path| sibling(path)));
    }
}

fn explain(mut path: KeyPath, fault: Fault) -> (KeyPath, Complaint) {
    let is_secret = key_at(&path).is_some_and(Key::is_secret);
    let complaint = match fault {
        _ if is_secret => Complaint::new("is not valid", "the value is not shown: it is a secret"),
        Fault::Message(message) => Complaint::new(format!("is not valid: {message}"), ""),
        Fault::UnknownField(name, known) => {
            let hint = did_you_mean(&name, known, "known keys");
            if path.last() != Some(&name) {
                path.push(name);
            }
            Complaint::new("is not a known key", hint)
        }
        Fault::UnknownVariant(_, known) => {
            Complaint::new("is not a known word", format!("it takes one of: {}", known.join(", ")))
        }
        Fault::MissingField(name) => {
            path.push(name.into_owned());
            Complaint::new("is missing", "")
        }
        Fault::InvalidType(_, expected) | Fault::InvalidValue(_, expected) => {
            Complaint::new("is of the wrong kind", format!("it takes {expected}"))
        }
        Fault::InvalidLength(_, expected) => {
            Complaint::new("has the wrong length", format!("it takes {expected}"))
        }
        _ => Complaint::new("is not valid", ""),
    };
    (path, complaint)
}

/// The key as messages write it.
pub(crate) fn name(path: &[String]) -> String {
    dotted(path)
}
