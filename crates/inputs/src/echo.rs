//! What one of our own outputs sent is no news: told once more, it would go round for ever.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// The header of mails and webhooks that our outputs send.
pub const MARKER: &str = "X-Proxmox-Mcp";

/// Says whether a mark is of something that our outputs sent. A mark is `application:<id>` or `message:<id>` for Gotify,
/// `message:<id>` for ntfy, `webhook:<id>` or `author:<id>` for Discord and `message-id:<id>` for mail.
pub type Ours = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// Knows what our outputs sent, and counts what it kept out.
#[derive(Clone, Default)]
pub struct Echo {
    ours: Option<Ours>,
    dropped: Arc<AtomicU64>,
}

// === impl Echo ===

impl Echo {
    /// Knows by this.
    pub fn new(ours: Ours) -> Self {
        Self { ours: Some(ours), dropped: Arc::default() }
    }

    /// How much it kept out.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Whether something is ours: by what it says itself, or by one of its marks. If so, it is counted.
    pub(crate) fn is_ours<'a>(
        &self,
        is_marked: bool,
        marks: impl IntoIterator<Item = &'a str>,
    ) -> bool {
        let known = |mark: &str| self.ours.as_ref().is_some_and(|ours| ours(mark));
        let is_ours = is_marked || marks.into_iter().any(known);
        if is_ours {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        is_ours
    }
}

impl fmt::Debug for Echo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Echo").field("dropped", &self.dropped()).finish_non_exhaustive()
    }
}
