//! Requests that are held, so that whoever sent one can be looked at, or killed, at that very moment.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::state::Home;

/// When a request is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// It has arrived, and nothing was done yet.
    Arrived,
    /// It was done, and the answer is on no way yet.
    Done,
}

/// A request that is waited for, or held.
pub(crate) struct Hold {
    home: Home,
    method: String,
    path: String,
    pub(crate) moment: Moment,
    open: watch::Sender<bool>,
}

/// All of them.
#[derive(Default)]
pub(crate) struct Holds(Mutex<Lists>);

#[derive(Default)]
struct Lists {
    /// Not come yet.
    wanted: Vec<Arc<Hold>>,
    /// Come, and not let go.
    held: Vec<Arc<Hold>>,
}

// === impl Hold ===

impl Hold {
    /// Waits until it is let go.
    pub(crate) async fn wait(&self) {
        // The sender lives in `self`.
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }
}

// === impl Holds ===

impl Holds {
    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds the next request of this method whose path contains `path`.
    pub(crate) fn want(&self, home: Home, method: &str, path: &str, moment: Moment) {
        let (method, path) = (method.to_owned(), path.to_owned());
        let open = watch::Sender::new(false);
        self.lists().wanted.push(Arc::new(Hold { home, method, path, moment, open }));
    }

    /// The hold that is for this request, if there is one. It holds no other.
    pub(crate) fn take(&self, home: Home, method: &str, path: &str) -> Option<Arc<Hold>> {
        let mut lists = self.lists();
        let fits =
            |it: &Arc<Hold>| it.home == home && it.method == method && path.contains(&it.path);
        let at = lists.wanted.iter().position(fits)?;
        let hold = lists.wanted.remove(at);
        lists.held.push(Arc::clone(&hold));
        Some(hold)
    }

    /// How many are held now.
    pub(crate) fn held(&self) -> usize {
        self.lists().held.len()
    }

    /// Lets all go that are held; those that have not come yet are waited for.
    pub(crate) fn release(&self) {
        let held = std::mem::take(&mut self.lists().held);
        for hold in held {
            hold.open.send_replace(true);
        }
    }
}
