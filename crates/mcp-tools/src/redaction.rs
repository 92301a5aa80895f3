//! The one place where answers lose what must not leave: every report passes here before it is
//! rendered.
//!
//! Two nets: fields that hold secrets by their name, as PVE and PBS return them unmasked, and
//! patterns of keys, tokens and passwords in any text.

use std::{borrow::Cow, sync::LazyLock};

use serde_json::Value;
use stdx::redact::Redactor;

use crate::report::{Cell, Report};

/// Names of fields whose values are secrets wherever they appear. Source: the products' own
/// schemas and code; PVE masks `cipassword` in a configuration but not in a snapshot's, and gives
/// a container's `env` and an ACME plugin's `data` as they are.
pub const SECRET_FIELDS: &[&str] = &[
    "password",
    "cipassword",
    "passwd",
    "secret",
    "token",
    "value",
    "ticket",
    "csrfpreventiontoken",
    "encryption-key",
    "encryption_key",
    "keyring",
    "private-key",
    "privatekey",
    "key-pem",
    "client-secret",
    "access-key",
    "secret-key",
    "env",
    "master-pubkey",
    "totp",
    "recovery",
    "otp",
];

/// The most characters of a cell.
const CELL_CHARS: usize = 400;

static REDACTOR: LazyLock<Redactor> = LazyLock::new(|| Redactor::new(SECRET_FIELDS));

/// Takes secrets out of a report.
pub fn report(report: &mut Report) {
    text(&mut report.lead);
    report.notes.iter_mut().for_each(text);
    for part in &mut report.unreachable {
        text(&mut part.why);
    }
    for part in &mut report.untrusted {
        text(&mut part.text);
    }
    for value in report.facts.values_mut() {
        REDACTOR.json(value);
    }
    for (key, cell) in &mut report.details {
        if REDACTOR.is_secret_name(key) {
            *cell = Cell::text(stdx::redact::REDACTED);
        }
        redact_cell(cell);
    }
    for cell in report.tables.iter_mut().flat_map(|table| table.rows.iter_mut().flatten()) {
        redact_cell(cell);
    }
}

/// Takes secrets out of one text.
pub fn text(text: &mut String) {
    if let Cow::Owned(clean) = REDACTOR.text(text) {
        *text = clean;
    }
}

/// Takes secrets out of a JSON value: by field name, and by pattern in every string.
pub fn json(value: &mut Value) {
    REDACTOR.json(value);
}

/// Whether a field of this name holds a secret.
pub fn is_secret_field(name: &str) -> bool {
    SECRET_FIELDS.contains(&name.to_ascii_lowercase().as_str())
}

/// Takes secrets out of a cell, and what changes how text looks: names and words in rows come from
/// inside the estate as well.
fn redact_cell(cell: &mut Cell) {
    cell.edit(|value| match stdx::untrusted::line(value, CELL_CHARS) {
        Cow::Borrowed(value) => REDACTOR.text(value),
        Cow::Owned(clean) => Cow::Owned(REDACTOR.text(&clean).into_owned()),
    });
}
