//! A schema in our own words, one line for each endpoint, for when no server publishes one.
//!
//! ```text
//! # comment
//! PUT /nodes/{node}/qemu/{vmid}/resize | grow a disk of a VM | disk size digest?
//! ```
//! Parameters stand after the second bar: `?` marks the optional ones, `:integer` and `:boolean`
//! what is no text. Those of the path are taken from the path.

use super::{
    SchemaError,
    table::{Builder, EndpointRow, Kind, ParamRow, Table},
};

/// The tables of such lines.
pub(super) fn parse(lines: &str) -> Result<Table, SchemaError> {
    let mut builder = Builder::default();
    for (at, line) in lines.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        add(&mut builder, line).ok_or(SchemaError::Line(at + 1))?;
    }
    if builder.endpoints.is_empty() {
        return Err(SchemaError::Empty);
    }
    Ok(builder.finish())
}

fn add(builder: &mut Builder, line: &str) -> Option<()> {
    let mut parts = line.splitn(3, '|').map(str::trim);
    let (method, path) = parts.next()?.split_once(' ')?;
    let method = super::method_of(method)?;
    let path = path.trim();
    if !path.starts_with('/') {
        return None;
    }
    let about = parts.next()?;
    let mut rows = Vec::new();
    let named = path.split('/').filter_map(super::placeholder);
    for word in named.chain(parts.next().unwrap_or_default().split_whitespace()) {
        let (word, optional) = word.strip_suffix('?').map_or((word, false), |word| (word, true));
        let (name, kind) = word.split_once(':').unwrap_or((word, "string"));
        let row = ParamRow {
            name: builder.text(name),
            kind: Kind::of(kind),
            optional,
            ..ParamRow::default()
        };
        rows.push(builder.param(row));
    }
    let row = EndpointRow {
        method,
        path: builder.text(path),
        name: builder.text(""),
        about: builder.text(about),
        returns: builder.text(""),
        permissions: builder.text(""),
        params: builder.list(rows),
        protected: false,
        open: true,
    };
    builder.endpoints.push(row);
    Some(())
}
