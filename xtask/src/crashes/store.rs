//! The store from outside: triggers that hold a write, and whether one is held now.
//!
//! SQLite has no way to wait in a statement, so a trigger counts for ever; whoever writes is in the middle of that
//! transaction then, and holds the lock. Python is what every machine has that runs these tasks, with SQLite in it.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::workspace::{output, path};

const PROGRAM: &str = r#"
import sqlite3, sys, time
place, what, *args = sys.argv[1:]
store = sqlite3.connect(place, timeout=0 if what == "held" else 10, isolation_level=None)
if what == "trap":
    table, event, when = args
    endless = ", ".join(f"sqlite_master m{n}" for n in range(40))
    store.execute(f"CREATE TRIGGER trap AFTER {event} ON {table} WHEN {when} BEGIN SELECT count(*) FROM {endless}; END")
elif what == "untrap":
    store.execute("DROP TRIGGER IF EXISTS trap")
elif what == "held":
    # Other writes are over in no time: one that is found at every look is the one that counts.
    def locked():
        try:
            store.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        store.execute("ROLLBACK")
        return False
    looks = []
    for _ in range(6):
        looks.append(locked())
        time.sleep(0.05)
    print("yes" if all(looks) else "no")
"#;

/// Holds the write of this kind for which the condition is true, in the middle of its transaction.
pub(super) fn trap(store: &Path, table: &str, event: &str, when: &str) -> Result<()> {
    ask(store, &["trap", table, event, when]).map(drop)
}

/// Holds nothing any more.
pub(super) fn untrap(store: &Path) -> Result<()> {
    ask(store, &["untrap"]).map(drop)
}

/// Whether a write is held.
pub(super) fn is_held(store: &Path) -> Result<bool> {
    Ok(ask(store, &["held"])?.trim() == "yes")
}

fn ask(store: &Path, args: &[&str]) -> Result<String> {
    output(Command::new("python3").args(["-c", PROGRAM, path(store)?]).args(args))
}
