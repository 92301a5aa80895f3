//! Settings from TOML text, with the line of each key.

use std::path::Path;

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Value};

use crate::error::{Complaint, Findings, Origin};
use crate::keys::{Key, Section};
use crate::layer::{Layer, dotted, unknown_section};

/// Syntax errors of one file that are shown at most: the first ones cause the others.
const MAX_SYNTAX_ERRORS: usize = 3;

/// Reads a file's text; what is wrong with it goes to the findings.
pub(crate) fn layer(path: &Path, text: &str, findings: &mut Findings) -> Layer {
    let mut reader = Reader { path, text, layer: Layer::default(), findings };
    let (document, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        reader.document(document.get_ref());
        reader.layer.check_pairs(reader.findings);
        return reader.layer;
    }
    // A recovered document is half of what was meant: what it lacks would be reported wrongly.
    let mut last_line = None;
    let mut shown = 0;
    for error in errors {
        let line = error.span().map(|span| line_of(text, span.start));
        if line == last_line || shown == MAX_SYNTAX_ERRORS {
            continue;
        }
        last_line = line;
        shown += 1;
        let origin = Origin::File { path: path.to_owned(), line };
        let reason = format!("is not valid TOML: {}", error.message().replace('\n', ", "));
        reader.findings.error(&origin, "", Complaint::new(reason, ""));
    }
    Layer::default()
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    layer: Layer,
    findings: &'a mut Findings,
}

// === impl Reader ===

impl Reader<'_> {
    fn origin(&self, offset: usize) -> Origin {
        Origin::File { path: self.path.to_owned(), line: Some(line_of(self.text, offset)) }
    }

    fn document(&mut self, document: &DeTable<'_>) {
        for (name, value) in document {
            let origin = self.origin(name.span().start);
            let name = name.get_ref().as_ref();
            let Some(section) = Section::find(name) else {
                self.findings.error(&origin, dotted(&[name]), unknown_section(name));
                continue;
            };
            let DeValue::Table(table) = value.get_ref() else {
                let hint = format!("write it as a table: [{}]", section.header());
                self.findings.error(&origin, name, Complaint::new("is not a table", hint));
                continue;
            };
            if section.named {
                self.named_tables(section, table);
            } else {
                self.keys(section, table);
            }
        }
    }

    fn named_tables(&mut self, section: &'static Section, tables: &DeTable<'_>) {
        for (name, value) in tables {
            let mut origin = self.origin(name.span().start);
            let name = name.get_ref().as_ref();
            let DeValue::Table(table) = value.get_ref() else {
                let hint = match section.key(name) {
                    Some(_) => format!(
                        "it belongs into a table with a name, for example [{}]",
                        section.header()
                    ),
                    None => format!("write it as a table: [{}.{name}]", section.name),
                };
                let key = dotted(&[section.name, name]);
                self.findings.error(&origin, key, Complaint::new("is not a table", hint));
                continue;
            };
            self.at_header(&mut origin, value);
            if self.layer.open(&[section.name, name], &origin, self.findings) {
                self.named_table(section, name, table);
            }
        }
    }

    /// The header itself is the better place than the first mention in a dotted key.
    fn at_header(&self, origin: &mut Origin, value: &Spanned<DeValue<'_>>) {
        if let Origin::File { line: Some(line), .. } = origin {
            *line = line_of(self.text, value.span().start).min(*line);
        }
    }

    fn named_table(&mut self, section: &'static Section, table: &str, entries: &DeTable<'_>) {
        let of_type = entries.get("type").and_then(|value| value.get_ref().as_str());
        let of_type = of_type.and_then(|word| section.find_type(word));
        for (name, value) in entries {
            let origin = self.origin(name.span().start);
            let name = name.get_ref().as_ref();
            let path = [section.name, table, name];
            if section.has_nested(name) {
                self.nested_tables(section, &path, value, &origin);
                continue;
            }
            match section.key(name) {
                Some(key) => self.value(&path, key, value, &origin),
                None => {
                    let complaint = section.unknown_key(of_type, name);
                    self.findings.error(&origin, dotted(&path), complaint);
                }
            }
        }
    }

    /// The tables within a named table: `[input.x.peer.y]` below `input.x.peer`.
    fn nested_tables(
        &mut self,
        section: &'static Section,
        parents: &[&str; 3],
        value: &Spanned<DeValue<'_>>,
        origin: &Origin,
    ) {
        let hint = format!("write it as a table: [{}.NAME]", dotted(parents));
        let DeValue::Table(tables) = value.get_ref() else {
            self.findings.error(origin, dotted(parents), Complaint::new("is not a table", hint));
            return;
        };
        for (name, value) in tables {
            let mut origin = self.origin(name.span().start);
            let name = name.get_ref().as_ref();
            let path = [parents[0], parents[1], parents[2], name];
            let DeValue::Table(entries) = value.get_ref() else {
                let complaint = Complaint::new("is not a table", hint.as_str());
                self.findings.error(&origin, dotted(&path), complaint);
                continue;
            };
            self.at_header(&mut origin, value);
            if !self.layer.open(&path, &origin, self.findings) {
                continue;
            }
            for (key, value) in entries {
                let origin = self.origin(key.span().start);
                let key = key.get_ref().as_ref();
                let path = [path.as_slice(), &[key]].concat();
                match section.key_in(Some(parents[2]), key) {
                    Some(known) => self.value(&path, known, value, &origin),
                    None => {
                        let complaint = section.unknown_key_in(parents[2], key);
                        self.findings.error(&origin, dotted(&path), complaint);
                    }
                }
            }
        }
    }

    fn keys(&mut self, section: &'static Section, table: &DeTable<'_>) {
        for (name, value) in table {
            let origin = self.origin(name.span().start);
            let name = name.get_ref().as_ref();
            let path = [section.name, name];
            match section.key(name) {
                Some(key) => self.value(&path, key, value, &origin),
                None => {
                    let complaint = section.unknown_key(None, name);
                    self.findings.error(&origin, dotted(&path), complaint);
                }
            }
        }
    }

    fn value(
        &mut self,
        path: &[&str],
        key: &'static Key,
        value: &Spanned<DeValue<'_>>,
        origin: &Origin,
    ) {
        if !key.kind.is_map() {
            self.set(path, key, value.get_ref(), origin.clone());
            return;
        }
        let DeValue::Table(entries) = value.get_ref() else {
            let reason = "is not a table".to_owned();
            let hint = format!("write it as {} = {{ name = \"…\" }}", key.name);
            self.findings.error(origin, dotted(path), Complaint::new(reason, hint));
            return;
        };
        for (name, value) in entries {
            let origin = self.origin(name.span().start);
            let mut path = path.to_vec();
            path.push(name.get_ref().as_ref());
            self.set(&path, key, value.get_ref(), origin);
        }
    }

    fn set(&mut self, path: &[&str], key: &'static Key, value: &DeValue<'_>, origin: Origin) {
        let path: Vec<String> = path.iter().map(|&segment| segment.to_owned()).collect();
        match plain(value) {
            Some(value) => self.layer.set(path, key, value, origin, self.findings),
            None => {
                let complaint = Complaint::new("is a number that is too large", "");
                self.findings.error(&origin, dotted(&path), complaint);
            }
        }
    }
}

/// The value without its spans; `None` for a number that does not fit.
fn plain(value: &DeValue<'_>) -> Option<Value> {
    Some(match value {
        DeValue::String(text) => Value::String(text.clone().into_owned()),
        DeValue::Integer(number) => {
            Value::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok()?)
        }
        DeValue::Float(number) => Value::Float(number.as_str().parse().ok()?),
        DeValue::Boolean(boolean) => Value::Boolean(*boolean),
        DeValue::Datetime(datetime) => Value::Datetime(*datetime),
        DeValue::Array(items) => {
            let items: Option<Vec<Value>> =
                items.iter().map(|item| plain(item.get_ref())).collect();
            Value::Array(items?)
        }
        DeValue::Table(entries) => {
            let mut table = toml::Table::new();
            for (name, value) in entries {
                table.insert(name.get_ref().clone().into_owned(), plain(value.get_ref())?);
            }
            Value::Table(table)
        }
    })
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.get(..offset).unwrap_or(text);
    before.matches('\n').count() + 1
}
