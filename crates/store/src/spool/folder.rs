//! The folder itself: which files there are, and how they are written, read and removed.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use event_core::Event;
use event_core::wire::frames::{self, Tail};
use jiff::Timestamp;

use super::{Level, Oldest, SpoolError};

/// A file that is that long takes no more: it is read as a whole.
const LONG: u64 = 4 * 1024 * 1024;
/// What the names of files end with, and of files that a person is to look at.
const ENDINGS: [&str; 2] = [".events", ".odd"];
/// The file that says since when the store is away.
const AWAY: &str = "away";
/// The file whose lock is the folder's.
const LOCK: &str = "lock";

/// The files are numbered in the order of time.
pub(super) type Number = u64;

/// The open folder.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    max_bytes: u64,
    files: BTreeMap<Number, Size>,
    newest: Option<Newest>,
    next: Number,
    away: Option<Timestamp>,
    /// Held for as long as the folder is used.
    _lock: File,
}

/// How much a file holds.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    bytes: u64,
    events: u64,
}

/// The file that is written.
#[derive(Debug)]
struct Newest {
    number: Number,
    file: File,
}

// === impl Folder ===

impl Folder {
    pub(super) fn open(path: PathBuf, max_bytes: u64) -> Result<Self, SpoolError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(|error| failed("make the folder", &path, error))?;
        let mode = fs::metadata(&path).map_err(|error| failed("look at", &path, error))?;
        if mode.permissions().mode() & 0o077 != 0 {
            tracing::warn!(path = %path.display(), "events that wait can be read by other accounts");
        }
        let lock = lock(&path)?;
        let mut files = BTreeMap::new();
        let mut next = 0;
        let listed =
            fs::read_dir(&path).map_err(|error| failed("read the folder", &path, error))?;
        for entry in listed {
            let entry = entry.map_err(|error| failed("read the folder", &path, error))?;
            let name = entry.file_name();
            let Some((number, ending)) = name.to_str().and_then(number_of) else { continue };
            next = next.max(number + 1);
            if ending == ENDINGS[0] {
                let file = read(&entry.path())?;
                let events = frames::find(&file).texts.len() as u64;
                files.insert(number, Size { bytes: file.len() as u64, events });
            }
        }
        let away = fs::read_to_string(path.join(AWAY)).ok();
        let away = away.and_then(|text| text.trim().parse().ok());
        Ok(Self { path, max_bytes, files, newest: None, next, away, _lock: lock })
    }

    pub(super) fn level(&self) -> Level {
        let events = self.files.values().map(|size| size.events).sum();
        Level { events, bytes: self.bytes(), max_bytes: self.max_bytes }
    }

    fn bytes(&self) -> u64 {
        self.files.values().map(|size| size.bytes).sum()
    }

    pub(super) fn put(&mut self, events: &[Event]) -> Result<usize, SpoolError> {
        if events.is_empty() {
            return Ok(0);
        }
        let number = self.writable()?;
        let room = self.max_bytes.saturating_sub(self.bytes());
        let mut bytes = Vec::new();
        let mut count = 0;
        for event in events {
            let frame = frames::frame(event);
            if (bytes.len() + frame.len()) as u64 > room {
                break;
            }
            bytes.extend_from_slice(&frame);
            count += 1;
        }
        if count == 0 {
            let (folder, max) = (self.path.clone(), self.max_bytes);
            return Err(SpoolError::Full { folder, bytes: self.bytes(), max });
        }
        let size = self.files.entry(number).or_default();
        let newest = self.newest.as_mut().expect("one that can be written was made");
        match newest.file.write_all(&bytes).and_then(|()| newest.file.sync_data()) {
            Ok(()) => {
                size.bytes += bytes.len() as u64;
                size.events += count as u64;
                Ok(count)
            }
            Err(error) => {
                let path = self.path.join(name_of(number, ENDINGS[0]));
                self.give_up(number);
                Err(failed("write", &path, error))
            }
        }
    }

    /// The number of a file that takes more.
    fn writable(&mut self) -> Result<Number, SpoolError> {
        if let Some(newest) = &self.newest {
            let size = self.files.get(&newest.number).copied().unwrap_or_default();
            if size.bytes < LONG {
                return Ok(newest.number);
            }
        }
        self.newest = None;
        let header = frames::HEADER.len() as u64;
        if self.bytes() + header > self.max_bytes {
            let (folder, max) = (self.path.clone(), self.max_bytes);
            return Err(SpoolError::Full { folder, bytes: self.bytes(), max });
        }
        let number = self.next;
        let path = self.path.join(name_of(number, ENDINGS[0]));
        let make = || {
            let mut file =
                OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(frames::HEADER)?;
            file.sync_all()?;
            sync_folder(&self.path)?;
            Ok(file)
        };
        // A number that was tried is not tried again: what is left of it stands in the way.
        self.next += 1;
        match make() {
            Ok(file) => {
                self.files.insert(number, Size { bytes: header, events: 0 });
                self.newest = Some(Newest { number, file });
                Ok(number)
            }
            Err(error) => {
                // What is left of it says nothing, and may not be removed either.
                let _ = fs::remove_file(&path);
                Err(failed("make", &path, error))
            }
        }
    }

    /// Takes back what could not be written whole. The file takes no more: what its end is like
    /// after a sync that failed, nobody knows.
    fn give_up(&mut self, number: Number) {
        let Some(Newest { file, .. }) = self.newest.take() else { return };
        let size = self.files.get(&number).copied().unwrap_or_default();
        if size.events == 0 {
            self.files.remove(&number);
            // What stays is read as torn, and removed then.
            let _ = fs::remove_file(self.path.join(name_of(number, ENDINGS[0])));
        } else if let Err(error) = file.set_len(size.bytes).and_then(|()| file.sync_all()) {
            tracing::warn!(error = %error, "a file of the spool could not be cut back; its end is passed over when it is read");
        }
    }

    pub(super) fn oldest(&mut self) -> Result<Option<Oldest>, SpoolError> {
        let Some((&number, _)) = self.files.first_key_value() else { return Ok(None) };
        if self.newest.as_ref().is_some_and(|newest| newest.number == number) {
            self.newest = None;
        }
        let path = self.path.join(name_of(number, ENDINGS[0]));
        let file = read(&path)?;
        let found = frames::find(&file);
        let mut events = Vec::with_capacity(found.texts.len());
        let mut odd = None;
        for text in found.texts {
            match frames::read(&file[text]) {
                Ok(event) => events.push(event),
                Err(error) => odd = Some(stdx::Chain(&error).to_string()),
            }
        }
        match found.tail {
            Tail::None => {}
            Tail::Torn => {
                let cut = file.len() - found.whole;
                tracing::info!(path = %path.display(), cut, "what was being put aside when the program ended is passed over");
            }
            Tail::Damaged => odd = Some(format!("it is damaged behind byte {}", found.whole)),
        }
        Ok(Some(Oldest { events, name: number, odd }))
    }

    pub(super) fn remove(&mut self, number: Number, odd: Option<&str>) -> Result<(), SpoolError> {
        let path = self.path.join(name_of(number, ENDINGS[0]));
        let removed = match odd {
            None => match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
            Some(why) => {
                let aside = self.path.join(name_of(number, ENDINGS[1]));
                tracing::error!(path = %aside.display(), why, "a file of the spool cannot be read as a whole; what can is in the log, and it is kept for a person to look at");
                fs::rename(&path, aside)
            }
        };
        removed
            .and_then(|()| sync_folder(&self.path))
            .map_err(|error| failed("remove", &path, error))?;
        self.files.remove(&number);
        Ok(())
    }

    pub(super) fn mark(&mut self, since: Timestamp) -> Result<(), SpoolError> {
        if self.away.is_some() {
            return Ok(());
        }
        // In memory even where the disk does not take it.
        self.away = Some(since);
        let path = self.path.join(AWAY);
        let write = || {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&path)?;
            writeln!(file, "{since}")?;
            file.sync_all()?;
            sync_folder(&self.path)
        };
        write().map_err(|error| failed("write", &path, error))
    }

    pub(super) fn marked(&self) -> Option<Timestamp> {
        self.away
    }

    pub(super) fn unmark(&mut self) -> Result<(), SpoolError> {
        self.away = None;
        let path = self.path.join(AWAY);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove", &path, error))
            }
            _ => Ok(()),
        }
    }
}

/// Takes the folder, so that no other program reads or removes what is in it.
fn lock(folder: &Path) -> Result<File, SpoolError> {
    let path = folder.join(LOCK);
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(|error| failed("open", &path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SpoolError::Taken(folder.to_path_buf())),
        Err(TryLockError::Error(error)) => Err(failed("lock", &path, error)),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, SpoolError> {
    fs::read(path).map_err(|error| failed("read", path, error))
}

/// What is in the folder is on disk under its name.
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn name_of(number: Number, ending: &str) -> String {
    format!("{number:012}{ending}")
}

fn number_of(name: &str) -> Option<(Number, &'static str)> {
    ENDINGS.into_iter().find_map(|ending| {
        let number = name.strip_suffix(ending)?;
        let is_plain = number.len() == 12 && number.bytes().all(|c| c.is_ascii_digit());
        Some((number.parse().ok().filter(|_| is_plain)?, ending))
    })
}

fn failed(what: &'static str, path: &Path, source: io::Error) -> SpoolError {
    SpoolError::Io { what, path: path.to_path_buf(), source }
}
