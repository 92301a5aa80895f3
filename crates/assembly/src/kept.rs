//! Where things are kept: the store's URL, and the files of keys beside it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use audit_copies::Copies;
use secrecy::ExposeSecret;
use settings::{AuditSettings, Loaded};
use store::audit::AuditFiles;
use store::{InvalidStoreUrl, LazyStore, SignedLog, StoreUrl};

use crate::copies::{self, ToTargets};

/// How long a program waits for its last copies.
const LAST_COPIES: Duration = Duration::from_secs(2);

/// The store that the settings name: `server.store_url`, or SQLite in the state folder.
///
/// # Errors
/// The URL is none.
pub fn store_url(loaded: &Loaded) -> anyhow::Result<StoreUrl> {
    let server = &loaded.settings.server;
    let Some(url) = &server.store_url else {
        return Ok(StoreUrl::Sqlite(server.state_dir.join("store.db")));
    };
    url.expose_secret().parse().map_err(|error: InvalidStoreUrl| {
        let hint = "it takes postgres://… or sqlite:///path/to/file";
        anyhow::anyhow!("{}", loaded.error_at("server.store_url", error.to_string(), hint))
    })
}

/// The audit log of a program: signed, and copied to where the settings say.
#[derive(Clone)]
pub struct Audit {
    log: SignedLog,
    copies: Option<Arc<Copies>>,
}

// === impl Audit ===

impl Audit {
    /// The log in this store, signed with the key in this folder.
    ///
    /// # Errors
    /// The targets of copies cannot be set up.
    pub fn new(store: &LazyStore, state: &Path, settings: &AuditSettings) -> anyhow::Result<Self> {
        let mut log = SignedLog::new(store.clone()).signed_with(AuditFiles::in_folder(state));
        let copies = copies::start(settings)?;
        if let Some(copies) = &copies {
            log = log.with_copies(Arc::new(ToTargets(Arc::clone(copies))));
        }
        Ok(Self { log, copies })
    }

    /// The log.
    pub fn log(&self) -> &SignedLog {
        &self.log
    }

    /// Waits for signatures, and a moment for copies, that are under way, at the end of a program.
    pub async fn finish(&self) {
        self.log.settle().await;
        if let Some(copies) = &self.copies {
            copies.finish(LAST_COPIES).await;
        }
    }
}
