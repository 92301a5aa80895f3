//! A store that is opened by its first use.

use std::sync::Arc;

use tokio::sync::OnceCell;

use crate::{Error, Migrated, Store, StoreUrl};

/// A store that costs nothing until somebody needs it; a failed opening is tried again.
#[derive(Clone)]
pub struct LazyStore {
    url: StoreUrl,
    opened: Arc<OnceCell<Arc<dyn Store>>>,
    tell: fn(&Migrated),
}

// === impl LazyStore ===

impl LazyStore {
    /// The store at this URL, not opened yet. That it was migrated is logged, with the way back.
    pub fn new(url: StoreUrl) -> Self {
        Self { url, opened: Arc::default(), tell: |migrated| tracing::warn!("{migrated}") }
    }

    /// Tells of a migration by this instead: for programs that do not log.
    #[must_use]
    pub fn telling(mut self, tell: fn(&Migrated)) -> Self {
        self.tell = tell;
        self
    }

    /// Whether anything may be in it: it is open, or was there before this program. Opens nothing.
    pub fn may_hold_anything(&self) -> bool {
        let was_there = || match &self.url {
            StoreUrl::Memory => false,
            StoreUrl::Sqlite(path) => path.exists(),
            StoreUrl::Postgres(_) => true,
        };
        self.opened.initialized() || was_there()
    }

    /// The store, opened now if it was not yet.
    ///
    /// # Errors
    ///
    /// As [`crate::open`].
    pub async fn get(&self) -> Result<Arc<dyn Store>, Error> {
        let open = async || {
            let store = crate::open(&self.url).await?;
            if let Some(migrated) = store.migrated() {
                (self.tell)(migrated);
            }
            Ok(store)
        };
        self.opened.get_or_try_init(open).await.cloned()
    }
}

impl std::fmt::Debug for LazyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LazyStore").field("url", &self.url).finish_non_exhaustive()
    }
}
