//! The guard's ports over a store: what consent, budgets and undo need to survive.
//!
//! Every change of a record is one step: a pure function on what was read, and a replacement that
//! holds only if nobody changed it meanwhile. Calls with their arguments are sealed with a key that
//! is not in the store, each for the record that it belongs to.
//!
//! ```text
//! pending ─▶ approved ⇄ running ─▶ done | failed | unknown
//!    │           └────▶ void | expired
//!    └─▶ refused | expired | void
//! ```

mod actions;
mod approvals;
mod freezes;
mod undos;

use std::collections::VecDeque;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use guard::ports::{KeptCall, PortError, PortErrorKind};
use jiff::Timestamp;
use serde_json::{Value, json};
use stdx::Chain;
use stdx::keyfile;
use stdx::seal::{SealKey, Sealed};

use crate::records::{Filter, Record, Row, Table};
use crate::{Error, ErrorKind, LazyStore, Store};

/// The guard's ports, kept in a store that is opened by its first use.
#[derive(Clone, Debug)]
pub struct GuardStore {
    store: LazyStore,
    key: Arc<Key>,
    recent: Arc<Recent>,
}

/// The actions that this program wrote last, as rows. An action is written several times in a row by
/// the program that runs it, and need not be read before each: if somebody else has changed it
/// since, it is not replaced, and then it is read.
#[derive(Debug, Default)]
struct Recent(Mutex<VecDeque<Row>>);

/// How many are remembered: about as many as run at once.
const RECENT: usize = 16;

/// The key that seals calls.
#[derive(Debug)]
enum Key {
    Given(Arc<SealKey>),
    /// Read, or made, with the first call: who only looks needs none.
    File {
        path: PathBuf,
        key: OnceLock<Arc<SealKey>>,
    },
}

// === impl GuardStore ===

impl GuardStore {
    /// Keeps records in this store, and seals calls with this key.
    pub fn new(store: LazyStore, key: impl Into<Arc<SealKey>>) -> Self {
        Self { store, key: Arc::new(Key::Given(key.into())), recent: Arc::default() }
    }

    /// Keeps records in this store, and seals calls with the key in `seal.key` in this folder, which
    /// is made with the first call.
    pub fn in_folder(store: LazyStore, folder: &Path) -> Self {
        let key = Key::File { path: folder.join("seal.key"), key: OnceLock::new() };
        Self { store, key: Arc::new(key), recent: Arc::default() }
    }

    async fn rows(&self) -> Result<Arc<dyn Store>, PortError> {
        self.store.get().await.map_err(refused)
    }

    fn seal(&self, place: &str, calls: &[KeptCall]) -> Result<Sealed, PortError> {
        let calls: Vec<Value> = calls
            .iter()
            .map(|call| json!({ "tool": call.tool, "arguments": call.arguments }))
            .collect();
        let plain = Value::from(calls).to_string();
        self.key.get()?.seal(place, plain.as_bytes()).map_err(|error| unavailable(&error))
    }

    fn open(&self, place: &str, sealed: &Sealed) -> Result<Vec<KeptCall>, PortError> {
        let failed = |why: &dyn Display| {
            let message = format!(
                "open the call of {place}: {why}; it was kept with the key file of its time, and \
                 without that it cannot be run"
            );
            PortError::new(PortErrorKind::Unavailable, message)
        };
        let plain = self.key.get()?.open(place, sealed).map_err(|error| failed(&error))?;
        // What opens was written by this program.
        let calls: Vec<Value> = serde_json::from_slice(&plain).map_err(|error| failed(&error))?;
        let call = |call: &Value| {
            let tool = call["tool"].as_str()?.to_owned();
            Some(KeptCall { tool, arguments: call["arguments"].as_object()?.clone() })
        };
        let calls: Option<Vec<KeptCall>> = calls.iter().map(call).collect();
        calls.ok_or_else(|| failed(&"it is no call"))
    }

    async fn insert<R: Record>(&self, record: R) -> Result<R, PortError> {
        self.rows().await?.insert(R::TABLE, record.to_row()).await.map_err(refused)?;
        Ok(record)
    }

    async fn find<R: Record>(&self, id: impl Display + Send) -> Result<Option<R>, PortError> {
        let row = self.rows().await?.row(R::TABLE, &id.to_string()).await.map_err(refused)?;
        row.map(R::from_row).transpose().map_err(refused)
    }

    async fn need<R: Record>(&self, id: impl Display + Send) -> Result<R, PortError> {
        let id = id.to_string();
        self.find(&id).await?.ok_or_else(|| missing::<R>(&id))
    }

    async fn list<R: Record>(&self, filter: &Filter) -> Result<Vec<R>, PortError> {
        let rows = self.rows().await?.rows(R::TABLE, filter).await.map_err(refused)?;
        rows.into_iter().map(R::from_row).collect::<Result<_, _>>().map_err(refused)
    }

    /// Reads a record unless it is remembered, changes it, and writes it back if
    /// nobody else did meanwhile; otherwise begins anew with what they made of it. `also` is added in
    /// the same step.
    async fn change<R: Record>(
        &self,
        id: impl Display + Send,
        also: Option<&R>,
        mut apply: impl FnMut(&mut R) -> Result<(), PortError> + Send,
    ) -> Result<R, PortError> {
        let id = id.to_string();
        let store = self.rows().await?;
        let mut remembered = self.recent.take(R::TABLE, &id);
        loop {
            let is_read = remembered.is_none();
            let row = match remembered.take() {
                Some(row) => Some(row),
                None => store.row(R::TABLE, &id).await.map_err(refused)?,
            };
            let row = row.ok_or_else(|| missing::<R>(&id))?;
            let version = row.version + 1;
            let mut record = R::from_row(row).map_err(refused)?;
            match apply(&mut record) {
                Ok(()) => {}
                Err(error) if is_read => return Err(error),
                // Refused for what it was; what it is now decides.
                Err(_) => continue,
            }
            let changed = Row { version, ..record.to_row() };
            let also = also.map(R::to_row);
            if store.replace(R::TABLE, changed.clone(), also).await.map_err(refused)? {
                self.recent.keep(R::TABLE, changed);
                return Ok(record);
            }
        }
    }
}

// === impl Recent ===

impl Recent {
    fn take(&self, table: Table, id: &str) -> Option<Row> {
        if table != Table::Actions {
            return None;
        }
        let mut rows = self.rows();
        let at = rows.iter().position(|row| row.id == id)?;
        rows.remove(at)
    }

    fn keep(&self, table: Table, row: Row) {
        if table != Table::Actions {
            return;
        }
        let mut rows = self.rows();
        // Of two that change one at once, the later version is the one that counts.
        let at = rows.iter().position(|old| old.id == row.id);
        let newer = match at.and_then(|at| rows.remove(at)) {
            Some(old) if old.version > row.version => old,
            _ => row,
        };
        if rows.len() >= RECENT {
            rows.pop_front();
        }
        rows.push_back(newer);
    }

    /// A panic elsewhere leaves the list whole.
    fn rows(&self) -> MutexGuard<'_, VecDeque<Row>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Key ===

impl Key {
    fn get(&self) -> Result<&SealKey, PortError> {
        match self {
            Self::Given(key) => Ok(key),
            Self::File { path, key } => {
                if let Some(key) = key.get() {
                    return Ok(key);
                }
                let bytes = keyfile::random_key(path).map_err(|error| unavailable(&error))?;
                Ok(key.get_or_init(|| Arc::new(SealKey::new(&bytes))))
            }
        }
    }
}

/// Everything that a filter's limit of 0 means.
fn limit(limit: u32) -> u32 {
    if limit == 0 { u32::MAX } else { limit }
}

fn since(since: Option<Timestamp>) -> i64 {
    since.map_or(i64::MIN, Timestamp::as_microsecond)
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
fn refused(error: Error) -> PortError {
    let kind = match error.kind() {
        ErrorKind::NotFound => PortErrorKind::NotFound,
        ErrorKind::Conflict => PortErrorKind::Conflict,
        ErrorKind::NewerSchema | ErrorKind::Corrupt | ErrorKind::Unavailable => {
            PortErrorKind::Unavailable
        }
    };
    PortError::new(kind, Chain(&error).to_string())
}

fn unavailable(error: &(dyn std::error::Error + 'static)) -> PortError {
    PortError::new(PortErrorKind::Unavailable, Chain(error).to_string())
}

fn missing<R: Record>(id: &str) -> PortError {
    let noun = R::TABLE.noun();
    PortError::new(PortErrorKind::NotFound, format!("there is no {noun} {id}"))
}

fn conflict(message: impl Into<String>) -> PortError {
    PortError::new(PortErrorKind::Conflict, message)
}
