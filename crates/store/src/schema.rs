//! The schema's versions, one statement file each, forward only.
//!
//! Version n is the state after the first n files. A file that was released is never edited: what
//! comes later is a new file at the end of both lists.

pub(crate) const SQLITE: &[&str] = &[
    include_str!("migrations/sqlite_0001.sql"),
    include_str!("migrations/sqlite_0002.sql"),
    include_str!("migrations/sqlite_0003.sql"),
    include_str!("migrations/sqlite_0004.sql"),
    include_str!("migrations/sqlite_0005.sql"),
    include_str!("migrations/sqlite_0006.sql"),
];

pub(crate) const POSTGRES: &[&str] = &[
    include_str!("migrations/postgres_0001.sql"),
    include_str!("migrations/postgres_0002.sql"),
    include_str!("migrations/postgres_0003.sql"),
    include_str!("migrations/postgres_0004.sql"),
    include_str!("migrations/postgres_0005.sql"),
    include_str!("migrations/postgres_0006.sql"),
];

/// The newest version that this program knows.
pub(crate) fn known(migrations: &[&str]) -> i64 {
    i64::try_from(migrations.len()).expect("a handful of migrations")
}

/// The migrations that a store at `version` lacks; `None` if it is newer than all of them.
pub(crate) fn missing(
    migrations: &'static [&'static str],
    version: i64,
) -> Option<&'static [&'static str]> {
    migrations.get(usize::try_from(version).ok()?..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_engines_are_at_one_version() {
        assert_eq!(known(SQLITE), known(POSTGRES));
    }

    #[test]
    fn versions_go_forward_only() {
        let newest = known(SQLITE);
        assert_eq!(missing(SQLITE, 0).unwrap().len(), SQLITE.len());
        assert_eq!(missing(SQLITE, newest), Some(&[][..]));
        assert_eq!(missing(SQLITE, newest + 1), None);
        assert_eq!(missing(SQLITE, -1), None);
    }
}
