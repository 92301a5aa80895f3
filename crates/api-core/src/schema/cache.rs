//! Published schemas on disk, one file for each product and version.
//!
//! A file carries the checksum of what is in it and the name that it was stored under; one that does
//! not fit is as good as none. Files are replaced whole, so that nobody reads half of one.

use std::{
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::{Schema, SchemaError, parse};

/// The form of the files; another one is not read.
const FORM: u32 = 1;

/// A file of the cache that could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The name cannot be one of a file.
    #[error("use the version as a file name")]
    Name,
    /// It could not be read.
    #[error("read the cached schema {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// It is damaged, or not what it says it is.
    #[error("trust the cached schema {}: {}", .0.display(), .1)]
    Damaged(PathBuf, &'static str),
    /// It could not be written.
    #[error("write the cached schema {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
    /// What was to be stored is no schema.
    #[error("store a schema")]
    Schema(#[source] SchemaError),
}

#[derive(Serialize, Deserialize)]
struct File<'a> {
    form: u32,
    name: &'a str,
    sha256: &'a str,
    #[serde(borrow)]
    schema: &'a RawValue,
}

/// The schema that was stored under this product and version; `None` if there is none.
///
/// # Errors
/// When there is a file that cannot be read or does not hold what it should.
pub fn load(folder: &Path, product: &str, version: &str) -> Result<Option<Schema>, CacheError> {
    let name = name_of(product, version)?;
    let path = folder.join(format!("{name}.json"));
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(CacheError::Read(path, error)),
    };
    let damaged = |why| CacheError::Damaged(path.clone(), why);
    let file: File<'_> = serde_json::from_str(&text).map_err(|_| damaged("it is not whole"))?;
    if file.form != FORM {
        return Err(damaged("it has another form"));
    }
    if file.name != name {
        return Err(damaged("it belongs to another version"));
    }
    if file.sha256 != checksum(file.schema.get()) {
        return Err(damaged("its checksum is wrong"));
    }
    Schema::parse(file.schema.get()).map(Some).map_err(|_| damaged("it holds no schema"))
}

/// Stores what a server published under its product and version.
///
/// # Errors
/// When the text is no schema, or the file cannot be written.
pub fn store(folder: &Path, product: &str, version: &str, served: &str) -> Result<(), CacheError> {
    let name = name_of(product, version)?;
    let path = folder.join(format!("{name}.json"));
    let array = parse::array_of(served).map_err(CacheError::Schema)?;
    let raw: &RawValue = serde_json::from_str(array)
        .map_err(|error| CacheError::Schema(SchemaError::Json(error)))?;
    let sha256 = checksum(raw.get());
    let file = File { form: FORM, name: &name, sha256: &sha256, schema: raw };
    let failed = |error| CacheError::Write(path.clone(), error);
    fs::create_dir_all(folder).map_err(failed)?;
    let draft = folder.join(format!(".{name}.{:016x}", rand::random::<u64>()));
    let written = write(&draft, &file).and_then(|()| fs::rename(&draft, &path));
    written.map_err(|error| {
        let _ = fs::remove_file(&draft);
        failed(error)
    })
}

fn write(path: &Path, file: &File<'_>) -> io::Result<()> {
    let handle = OpenOptions::new().write(true).create_new(true).open(path)?;
    let mut writer = io::BufWriter::new(handle);
    serde_json::to_writer(&mut writer, file)?;
    writer.flush()?;
    writer.get_ref().sync_all()
}

/// A file name without surprises: versions come from servers.
fn name_of(product: &str, version: &str) -> Result<String, CacheError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+' | '~');
    let fits = |word: &str| {
        !word.is_empty() && word.len() <= 64 && word.chars().all(is_plain) && !word.starts_with('.')
    };
    if fits(product) && fits(version) {
        Ok(format!("{product}-{version}"))
    } else {
        Err(CacheError::Name)
    }
}

fn checksum(text: &str) -> String {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(text.as_bytes()) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}
