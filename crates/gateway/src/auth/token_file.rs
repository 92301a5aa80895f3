//! The static tokens on disk: names, scopes and hashes, one file that is replaced as a whole.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use guard::Scope;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::secret;

const FILE: &str = "tokens.toml";
const LOCK: &str = "tokens.lock";
const VERSION: u32 = 1;
const HEAD: &str = "# Bearer tokens of `proxmox-mcp serve --http`, as hashes. `proxmox-mcp token` writes this file;\n\
                    # a server that runs takes every change at once.\n\n";
/// The largest file that is read: some ten thousand tokens.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Where the tokens are kept. Cheap to make: nothing is read yet.
#[derive(Clone, Debug)]
pub struct TokenFile {
    folder: PathBuf,
}

/// What is known about a token. Its secret is not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenInfo {
    /// Its name; it is the principal `token:<name>`.
    pub name: String,
    /// The part of the token that is no secret.
    pub id: String,
    /// What it allows.
    pub scope: Scope,
    /// When it was made.
    pub created: Timestamp,
    /// From when on it is refused; `None` for never.
    pub expires: Option<Timestamp>,
    /// The last day (UTC) on which it was used.
    pub last_used: Option<Date>,
}

/// What cannot be done with the tokens.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The name does for no principal.
    #[error(
        "name a token {given:?}: use letters, digits, `.`, `_` and `-`, at most 64, beginning with a letter or digit"
    )]
    Name {
        /// The name.
        given: String,
    },
    /// There is one of this name.
    #[error(
        "make the token: there is one called {name:?}; revoke it first, or choose another name"
    )]
    Exists {
        /// The name.
        name: String,
    },
    /// There is none of this name.
    #[error("find a token called {name:?}{}", known(.names))]
    Unknown {
        /// The name.
        name: String,
        /// Those that there are.
        names: Vec<String>,
    },
    /// It would never be good.
    #[error("make the token: it would have expired already")]
    Expired,
    /// Reading or writing failed.
    #[error("{action} {}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Others could put tokens of their own into the file.
    #[error("trust {}: others may write to it (chmod 600)", .path.display())]
    Writable {
        /// The file.
        path: PathBuf,
    },
    /// The file is not what we write.
    #[error("understand {}: {reason}", .path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong, without anything of a hash.
        reason: String,
    },
    /// Random bytes or hashes are not to be had.
    #[error("make a secret: {0}")]
    Secret(String),
}

/// The rows of the file with their hashes.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows(pub(super) Vec<Row>);

/// One token.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) info: TokenInfo,
    pub(super) hash: String,
}

/// What tells one state of the file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    modified: Option<std::time::SystemTime>,
    bytes: u64,
    inode: u64,
}

/// The file as it is on disk.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    #[serde(default)]
    token: BTreeMap<String, Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    scope: String,
    hash: String,
    created: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_used: Option<String>,
}

// === impl TokenFile ===

impl TokenFile {
    /// The tokens of this state folder.
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self { folder: state_dir.into() }
    }

    /// The file.
    pub fn path(&self) -> PathBuf {
        self.folder.join(FILE)
    }

    /// Every token, by name.
    ///
    /// # Errors
    ///
    /// When the file is there and cannot be read or understood.
    pub fn list(&self) -> Result<Vec<TokenInfo>, TokenError> {
        Ok(self.read()?.0.into_iter().map(|row| row.info).collect())
    }

    /// Makes a token; what it returns is not kept anywhere and cannot be had again.
    ///
    /// # Errors
    ///
    /// When the name is taken or does for no principal, and when the file cannot be written.
    pub fn create(
        &self,
        name: &str,
        scope: &Scope,
        expires: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(SecretString, TokenInfo), TokenError> {
        if !is_name(name) {
            return Err(TokenError::Name { given: name.chars().take(80).collect() });
        }
        if expires.is_some_and(|expires| expires <= now) {
            return Err(TokenError::Expired);
        }
        self.edit(|rows| {
            if rows.0.iter().any(|row| row.info.name == name) {
                return Err(TokenError::Exists { name: name.to_owned() });
            }
            let failed = |error: secret::SecretError| TokenError::Secret(error.to_string());
            let (mut id, mut token) = secret::generate().map_err(failed)?;
            while rows.0.iter().any(|row| row.info.id == id) {
                (id, token) = secret::generate().map_err(failed)?;
            }
            let hash = secret::hash(token.expose_secret()).map_err(failed)?;
            let info = TokenInfo {
                name: name.to_owned(),
                id,
                scope: scope.clone(),
                // Whole seconds, so that what is listed is what was said.
                created: whole_seconds(now),
                expires: expires.map(whole_seconds),
                last_used: None,
            };
            rows.0.push(Row { info: info.clone(), hash });
            Ok((true, (token, info)))
        })
    }

    /// Takes a token back. A server that runs refuses it from its next request on.
    ///
    /// # Errors
    ///
    /// When there is none of this name, and when the file cannot be written.
    pub fn revoke(&self, name: &str) -> Result<TokenInfo, TokenError> {
        self.edit(|rows| match rows.0.iter().position(|row| row.info.name == name) {
            Some(at) => Ok((true, rows.0.remove(at).info)),
            None => {
                let names = rows.0.iter().map(|row| row.info.name.clone()).collect();
                Err(TokenError::Unknown { name: name.chars().take(80).collect(), names })
            }
        })
    }

    /// Notes that a token was used on this day.
    pub(super) fn touch(&self, id: &str, day: Date) -> Result<(), TokenError> {
        self.edit(|rows| {
            let row = rows.0.iter_mut().find(|row| row.info.id == id);
            let is_news = row.is_some_and(|row| {
                let is_later = row.info.last_used.is_none_or(|known| known < day);
                if is_later {
                    row.info.last_used = Some(day);
                }
                is_later
            });
            Ok((is_news, ()))
        })
    }

    /// What the file looks like from outside; `None` where there is none.
    pub(super) fn stamp(&self) -> Result<Option<Stamp>, TokenError> {
        match fs::metadata(self.path()) {
            Ok(metadata) => Ok(Some(Stamp {
                modified: metadata.modified().ok(),
                bytes: metadata.len(),
                inode: inode(&metadata),
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(TokenError::Io { action: "look at", path: self.path(), source }),
        }
    }

    /// The rows, by name; none where there is no file.
    pub(super) fn read(&self) -> Result<Rows, TokenError> {
        let path = self.path();
        let failed = |source| TokenError::Io { action: "read", path: path.clone(), source };
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Rows::default()),
            Err(error) => return Err(failed(error)),
        };
        let metadata = file.metadata().map_err(failed)?;
        if is_writable_by_others(&metadata) {
            return Err(TokenError::Writable { path });
        }
        let broken =
            |reason: &str| TokenError::Broken { path: path.clone(), reason: reason.to_owned() };
        if metadata.len() > MAX_BYTES {
            return Err(broken("it is larger than 4 MiB"));
        }
        let mut text = String::new();
        io::Read::read_to_string(&mut file, &mut text).map_err(failed)?;
        parse(&text).map_err(|reason| broken(&reason))
    }

    /// Changes the rows while nobody else does; the file is replaced only if `change` says so.
    fn edit<T>(
        &self,
        change: impl FnOnce(&mut Rows) -> Result<(bool, T), TokenError>,
    ) -> Result<T, TokenError> {
        make_folder(&self.folder)?;
        let path = self.folder.join(LOCK);
        let failed = |source| TokenError::Io { action: "lock", path: path.clone(), source };
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        private(&mut options);
        let lock = options.open(&path).map_err(failed)?;
        give_to_owner(&self.folder, &path);
        lock.lock().map_err(failed)?;
        // The lock goes with the file, whatever happens below.
        let mut rows = self.read()?;
        let (is_changed, result) = change(&mut rows)?;
        if is_changed {
            self.replace(&render(rows))?;
        }
        Ok(result)
    }

    fn replace(&self, text: &str) -> Result<(), TokenError> {
        let (path, new) = (self.path(), self.folder.join(format!("{FILE}.new")));
        let failed = |source| TokenError::Io { action: "write", path: new.clone(), source };
        // What a writer that died left behind: whoever holds the lock may take it away.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        private(&mut options);
        let mut file = options.open(&new).map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        give_to_owner(&self.folder, &new);
        fs::rename(&new, &path).map_err(|source| TokenError::Io {
            action: "replace",
            path,
            source,
        })?;
        // A revocation must outlast a power cut; where folders cannot be synced there is no more to do.
        File::open(&self.folder).and_then(|folder| folder.sync_all()).ok();
        Ok(())
    }
}

fn parse(text: &str) -> Result<Rows, String> {
    // The message of the TOML reader can quote a line with a hash.
    let document: Document = toml::from_str(text).map_err(|error| {
        let line = error
            .span()
            .map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        format!("line {line} is not as `proxmox-mcp token` writes it")
    })?;
    if document.version != VERSION {
        return Err(format!(
            "it is of version {}, and this release knows {VERSION}",
            document.version
        ));
    }
    let rows = document.token.into_iter().map(|(name, entry)| {
        let row = row(&name, entry);
        row.map_err(|what| format!("{what} of the token {name:?} is not valid"))
    });
    rows.collect::<Result<Vec<_>, _>>().map(Rows)
}

fn row(name: &str, entry: Entry) -> Result<Row, &'static str> {
    if !is_name(name) {
        return Err("the name");
    }
    if !secret::is_hash(&entry.hash) {
        return Err("the hash");
    }
    let time = |text: String| text.parse::<Timestamp>();
    let info = TokenInfo {
        name: name.to_owned(),
        id: entry.id,
        scope: entry.scope.parse().map_err(|_| "the scope")?,
        created: time(entry.created).map_err(|_| "`created`")?,
        expires: entry.expires.map(time).transpose().map_err(|_| "`expires`")?,
        last_used: entry.last_used.map(|day| day.parse()).transpose().map_err(|_| "`last_used`")?,
    };
    Ok(Row { info, hash: entry.hash })
}

fn render(rows: Rows) -> String {
    let entry = |row: Row| {
        let entry = Entry {
            id: row.info.id,
            scope: row.info.scope.to_string(),
            hash: row.hash,
            created: row.info.created.to_string(),
            expires: row.info.expires.map(|time| time.to_string()),
            last_used: row.info.last_used.map(|day| day.to_string()),
        };
        (row.info.name, entry)
    };
    let document = Document { version: VERSION, token: rows.0.into_iter().map(entry).collect() };
    let body = toml::to_string(&document).expect("texts and numbers are TOML");
    format!("{HEAD}{body}")
}

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}

fn known(names: &[String]) -> String {
    if names.is_empty() {
        "; there are none".to_owned()
    } else {
        format!("; there are {}", names.join(", "))
    }
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// The day of a moment, as the file keeps it.
pub(super) fn day_of(time: Timestamp) -> Date {
    time.to_zoned(TimeZone::UTC).date()
}

fn make_folder(path: &Path) -> Result<(), TokenError> {
    if path.is_dir() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|source| TokenError::Io {
        action: "make the folder",
        path: path.to_owned(),
        source,
    })
}

#[cfg(unix)]
fn private(options: &mut OpenOptions) {
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
}

#[cfg(not(unix))]
fn private(_: &mut OpenOptions) {}

/// Gives a file to whoever owns its folder: root makes tokens for a server that is not root. Nobody
/// else can, nor has to.
#[cfg(unix)]
fn give_to_owner(folder: &Path, file: &Path) {
    use std::os::unix::fs::{MetadataExt as _, chown};
    let (Ok(folder), Ok(metadata)) = (fs::metadata(folder), fs::metadata(file)) else { return };
    if folder.uid() != metadata.uid()
        && let Err(error) = chown(file, Some(folder.uid()), Some(folder.gid()))
    {
        tracing::debug!(%error, path = %file.display(), "a file stays with whoever made it");
    }
}

#[cfg(not(unix))]
fn give_to_owner(_: &Path, _: &Path) {}

#[cfg(unix)]
fn inode(metadata: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_: &fs::Metadata) -> u64 {
    0
}

#[cfg(unix)]
fn is_writable_by_others(metadata: &fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::mode(metadata) & 0o022 != 0
}

#[cfg(not(unix))]
fn is_writable_by_others(_: &fs::Metadata) -> bool {
    false
}
