//! What opening a store changed in it, and the way back.
//!
//! Migrations go forward only, so a file that holds something is copied first, under the name that
//! it has and the version that it is of: `store.db.v4-backup`. A database server's backups are its
//! own.
//!
//! For details, see: `docs/dev/store.md`.
//!
//! *Invariant:* a file is changed only after its copy is whole and on disk.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use sqlx::{Connection as _, SqlitePool};

use crate::sqlite::create_private;
use crate::{Error, ErrorKind};

/// That a store was migrated when it was opened. `Display` says how to go back, with the commands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Migrated {
    /// The version that it was of.
    pub from: i64,
    /// The version that it is of.
    pub to: i64,
    /// The copy of the file as it was.
    pub copy: Option<PathBuf>,
    place: String,
}

/// What is known of the store's schema.
pub trait Schema: Send + Sync + 'static {
    /// What opening it changed; `None` if it was up to date, or new.
    fn migrated(&self) -> Option<&Migrated>;
}

// === impl Migrated ===

impl Migrated {
    pub(crate) fn with_copy(from: i64, to: i64, path: &Path, copy: PathBuf) -> Self {
        Self { from, to, copy: Some(copy), place: path.display().to_string() }
    }

    pub(crate) fn without_copy(from: i64, to: i64, place: &str) -> Self {
        Self { from, to, copy: None, place: place.to_owned() }
    }
}

impl fmt::Display for Migrated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, copy, place } = self;
        write!(f, "the store at {place} was migrated from version {from} to {to}")?;
        match copy {
            Some(copy) => {
                let copy = copy.to_string_lossy();
                write!(
                    f,
                    "; as it was before it is in {copy}; to go back, stop every program that uses it, run \
                     `rm -f {} {} && cp -p {} {}` and start the earlier program: what came since is lost",
                    quoted(&format!("{place}-wal")),
                    quoted(&format!("{place}-shm")),
                    quoted(&copy),
                    quoted(place),
                )
            }
            None => write!(
                f,
                "; a database is not copied: to go back, stop every program that uses it, restore it from a dump of \
                 before (`pg_restore --clean --if-exists --dbname={url} store.dump`) and start the earlier program; \
                 before the next update, make one: `pg_dump --format=custom --file=store.dump {url}`",
                url = quoted(place),
            ),
        }
    }
}

/// A word of a command line, in quotes where a shell would read it otherwise.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-:@".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Copies a SQLite file as its readers see it, and says where to. A copy of the same version is
/// replaced. Wants nobody to write meanwhile.
pub(crate) async fn copy(
    readers: &SqlitePool,
    path: &Path,
    version: i64,
) -> Result<PathBuf, Error> {
    let copy = beside(path, &format!(".v{version}-backup"));
    let begun = beside(path, &format!(".v{version}-backup.{}", std::process::id()));
    let place = path.display();
    let what = format!("copy the store at {place} to {} before its migration", copy.display());
    let failed = |source| Error::engine(what.clone(), source);
    let text = begun.to_str().ok_or_else(|| {
        Error::new(ErrorKind::Unavailable, format!("{what}: its name is no text"))
    })?;
    let written = async {
        remove(&begun).map_err(sqlx::Error::Io)?;
        // The engine writes into an empty file and leaves its permissions alone.
        create_private(&begun).map_err(sqlx::Error::Io)?;
        // A connection of its own, since a reader's may not even write a copy.
        let mut connection = readers.acquire().await?.detach();
        sqlx::query("PRAGMA query_only = OFF").execute(&mut connection).await?;
        sqlx::query("VACUUM INTO $1").bind(text).execute(&mut connection).await?;
        connection.close().await?;
        settle(&begun, &copy).map_err(sqlx::Error::Io)
    };
    match written.await {
        Ok(()) => Ok(copy),
        Err(error) => {
            // What is half written helps nobody; that it cannot be removed is no news beside why.
            let _ = remove(&begun);
            Err(failed(error))
        }
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Gives the finished copy its name; it is on disk under that name when this returns.
fn settle(begun: &Path, copy: &Path) -> io::Result<()> {
    File::open(begun)?.sync_all()?;
    std::fs::rename(begun, copy)?;
    let folder = copy.parent().unwrap_or_else(|| Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn the_way_back_is_a_command() {
        let path = Path::new("/var/lib/p/store.db");
        let copy = PathBuf::from("/var/lib/p/store.db.v4-backup");
        expect![[r"the store at /var/lib/p/store.db was migrated from version 4 to 6; as it was before it is in /var/lib/p/store.db.v4-backup; to go back, stop every program that uses it, run `rm -f /var/lib/p/store.db-wal /var/lib/p/store.db-shm && cp -p /var/lib/p/store.db.v4-backup /var/lib/p/store.db` and start the earlier program: what came since is lost"]]
            .assert_eq(&Migrated::with_copy(4, 6, path, copy).to_string());
        expect![[r"the store at postgres://db/mcp was migrated from version 5 to 6; a database is not copied: to go back, stop every program that uses it, restore it from a dump of before (`pg_restore --clean --if-exists --dbname=postgres://db/mcp store.dump`) and start the earlier program; before the next update, make one: `pg_dump --format=custom --file=store.dump postgres://db/mcp`"]]
            .assert_eq(&Migrated::without_copy(5, 6, "postgres://db/mcp").to_string());
    }

    #[test]
    fn odd_names_are_one_word() {
        assert_eq!(quoted("/a b/it's"), r"'/a b/it'\''s'");
        assert_eq!(quoted("/a/b-wal"), "/a/b-wal");
    }
}
