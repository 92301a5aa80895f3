//! What a store has, read from outside and without our own code: Python has SQLite in it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::workspace::{output, path};

const PROGRAM: &str = r#"
import json, re, sqlite3, sys
store = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
mark = re.compile(r"crash-[a-z]+-\d+")
one = lambda query: store.execute(query).fetchone()[0]
events, keys = {}, set()
doubles = 0
for source, key, doc in store.execute("SELECT source_id, source_key, doc FROM events"):
    doubles += (source, key) in keys
    keys.add((source, key))
    found = mark.search(doc)
    if found:
        events[found.group()] = events.get(found.group(), 0) + 1
print(json.dumps({
    "integrity": one("PRAGMA integrity_check"),
    "events": events,
    "doubles": doubles,
    "astray": one("SELECT count(*) FROM events e LEFT JOIN reports r ON r.seq = e.seq "
                  "LEFT JOIN incidents i ON i.id = r.incident WHERE i.id IS NULL "
                  "AND (e.severity >= 3 OR json_array_length(e.doc, '$.correlation') > 0)"),
    "alarms": [row[0] for row in store.execute(
        "SELECT DISTINCT r.incident FROM events e JOIN reports r ON r.seq = e.seq WHERE e.severity >= 3")],
    "deliveries": [list(row) for row in store.execute(
        "SELECT output, key, COALESCE(incident, ''), state, COALESCE(json_extract(doc, '$.stand'), '') FROM outbox")],
}))
"#;

/// What there is.
#[derive(Debug, Deserialize)]
pub(crate) struct Kept {
    /// What SQLite says of the file: `ok`.
    pub(crate) integrity: String,
    /// How often each mark is there.
    pub(crate) events: BTreeMap<String, u32>,
    /// Events with a key that another event of their source has.
    pub(crate) doubles: u32,
    /// Events of no incident, of those that make one: with something wrong, or with a key.
    pub(crate) astray: u32,
    /// Incidents that people have to be told of.
    pub(crate) alarms: Vec<String>,
    /// Output, key, incident, state and stand.
    pub(crate) deliveries: Vec<(String, String, String, String, String)>,
}

/// Reads it.
pub(crate) fn read(store: &Path) -> Result<Kept> {
    let said = output(Command::new("python3").args(["-c", PROGRAM, path(store)?]))?;
    serde_json::from_str(&said).context("read what the store has")
}
