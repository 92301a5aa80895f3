//! A store that is opened by its first use.

use std::sync::Arc;

use tokio::sync::OnceCell;

use crate::{Error, Store, StoreUrl};

/// A store that costs nothing until somebody needs it; a failed opening is tried again.
#[derive(Clone)]
pub struct LazyStore {
    url: StoreUrl,
    opened: Arc<OnceCell<Arc<dyn Store>>>,
}

// === impl LazyStore ===

impl LazyStore {
    /// The store at this URL, not opened yet.
    pub fn new(url: StoreUrl) -> Self {
        Self { url, opened: Arc::default() }
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
        self.opened.get_or_try_init(|| crate::open(&self.url)).await.cloned()
    }
}

impl std::fmt::Debug for LazyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LazyStore").field("url", &self.url).finish_non_exhaustive()
    }
}
