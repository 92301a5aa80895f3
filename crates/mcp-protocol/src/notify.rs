//! What clients are told without having asked in that moment: that a list or a resource has changed, how a job is.
//!
//! A [`Notifier`] is the embedder's end, a [`Listener`] that of one connection or of one `subscriptions/listen`. What waits
//! for a listener is a set and not a queue: told twice is told once, so a slow client costs no more than it listens to, and
//! always hears of the last change.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::{Notify, watch};

use crate::job::{Job, JobId, JobState, JobStore, JobStoreError, NewJob};

/// So many resources and jobs one listener may listen to.
pub(crate) const MAX_WATCHED: usize = 1024;

/// Tells the clients that listen what has changed. Cheap to clone; clones speak to the same clients.
///
/// One notifier may serve many apps, such as the apps of several callers: see [`crate::AppBuilder::notifier`].
pub struct Notifier {
    hub: Arc<Hub>,
    /// The version of what is watched that this handle was told of last.
    seen: AtomicU64,
}

/// Which changes an app announces. What is not announced is neither advertised nor accepted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Changes {
    /// That the list of tools has changed.
    pub tools: bool,
    /// That the list of prompts has changed.
    pub prompts: bool,
    /// That the list of resources has changed.
    pub resources: bool,
    /// That a resource which a client watches has changed.
    pub updates: bool,
}

struct Hub {
    state: Mutex<State>,
    /// Counts up whenever what is watched changes.
    version: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    last: u64,
    listeners: BTreeMap<u64, Entry>,
    /// How many listen to each resource.
    watched: BTreeMap<String, usize>,
}

struct Entry {
    filter: Filter,
    pending: Filter,
    wake: Arc<Notify>,
}

/// What a listener wants to hear, and what waits for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) tools: bool,
    pub(crate) prompts: bool,
    pub(crate) resources: bool,
    pub(crate) uris: BTreeSet<String>,
    pub(crate) jobs: BTreeSet<JobId>,
}

/// One end that hears. Dropping it ends the listening.
pub(crate) struct Listener {
    hub: Arc<Hub>,
    id: u64,
    wake: Arc<Notify>,
}

/// A store that tells of every change of a job.
struct ToldJobs {
    store: Arc<dyn JobStore>,
    notifier: Notifier,
}

// === impl Notifier ===

impl Notifier {
    /// One that nobody listens to yet.
    pub fn new() -> Self {
        let hub = Hub { state: Mutex::default(), version: watch::Sender::new(0) };
        Self { hub: Arc::new(hub), seen: AtomicU64::new(0) }
    }

    /// Tells that the list of tools has changed.
    pub fn tools_changed(&self) {
        self.hub.tell(|filter| filter.tools, |pending| pending.tools = true);
    }

    /// Tells that the list of prompts has changed.
    pub fn prompts_changed(&self) {
        self.hub.tell(|filter| filter.prompts, |pending| pending.prompts = true);
    }

    /// Tells that the list of resources has changed.
    pub fn resources_changed(&self) {
        self.hub.tell(|filter| filter.resources, |pending| pending.resources = true);
    }

    /// Tells those who watch the resource at `uri` that reading it again would give something else.
    pub fn resource_updated(&self, uri: &str) {
        self.hub.tell(
            |filter| filter.uris.contains(uri),
            |pending| {
                pending.uris.insert(uri.to_owned());
            },
        );
    }

    /// Tells those who follow the job that its state has changed.
    pub fn job_changed(&self, id: &JobId) {
        self.hub.tell(
            |filter| filter.jobs.contains(id),
            |pending| {
                pending.jobs.insert(id.clone());
            },
        );
    }

    /// The same store, of whose changes the followers of a job are told. Tools that end jobs in the background should be
    /// given this one.
    pub fn jobs(&self, store: Arc<dyn JobStore>) -> Arc<dyn JobStore> {
        Arc::new(ToldJobs { store, notifier: self.clone() })
    }

    /// The resources that somebody watches, in order: what is worth looking after.
    pub fn watched(&self) -> Vec<String> {
        self.hub.lock().watched.keys().cloned().collect()
    }

    /// Resolves when [`Notifier::watched`] has changed since this handle was last told so. Each clone counts for itself,
    /// and a change between two calls is not missed.
    pub async fn watched_changed(&self) {
        let mut versions = self.hub.version.subscribe();
        loop {
            let version = *versions.borrow_and_update();
            if self.seen.swap(version, Ordering::AcqRel) != version {
                return;
            }
            if versions.changed().await.is_err() {
                // The hub holds the sender and is held by us.
                std::future::pending::<()>().await;
            }
        }
    }

    pub(crate) fn listen(&self, filter: Filter) -> Listener {
        let wake = Arc::new(Notify::new());
        let mut state = self.hub.lock();
        state.last += 1;
        let id = state.last;
        for uri in &filter.uris {
            state.watch(uri);
        }
        let changed = !filter.uris.is_empty();
        let entry = Entry { filter, pending: Filter::default(), wake: Arc::clone(&wake) };
        state.listeners.insert(id, entry);
        drop(state);
        if changed {
            self.hub.count_up();
        }
        Listener { hub: Arc::clone(&self.hub), id, wake }
    }
}

impl Default for Notifier {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for Notifier {
    fn clone(&self) -> Self {
        let seen = AtomicU64::new(self.seen.load(Ordering::Acquire));
        Self { hub: Arc::clone(&self.hub), seen }
    }
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.hub.lock();
        f.debug_struct("Notifier")
            .field("listeners", &state.listeners.len())
            .field("watched", &state.watched.len())
            .finish_non_exhaustive()
    }
}

// === impl Changes ===

impl Changes {
    /// No changes at all.
    pub const NONE: Self = Self { tools: false, prompts: false, resources: false, updates: false };

    /// Every kind of change.
    pub const ALL: Self = Self { tools: true, prompts: true, resources: true, updates: true };

    /// These without the updates of single resources.
    pub const LISTS: Self = Self { updates: false, ..Self::ALL };
}

// === impl Hub ===

impl Hub {
    fn tell(&self, wanted: impl Fn(&Filter) -> bool, note: impl Fn(&mut Filter)) {
        let mut state = self.lock();
        for entry in state.listeners.values_mut().filter(|entry| wanted(&entry.filter)) {
            note(&mut entry.pending);
            entry.wake.notify_one();
        }
    }

    fn count_up(&self) {
        self.version.send_modify(|version| *version += 1);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing here panics while the lock is held, and if it did the sets would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    fn watch(&mut self, uri: &str) {
        *self.watched.entry(uri.to_owned()).or_default() += 1;
    }

    fn unwatch(&mut self, uri: &str) {
        if let Some(count) = self.watched.get_mut(uri) {
            *count -= 1;
            if *count == 0 {
                self.watched.remove(uri);
            }
        }
    }
}

// === impl Filter ===

impl Filter {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

// === impl Listener ===

impl Listener {
    /// Waits for changes and takes all that are there. May be dropped at any time without losing one.
    pub(crate) async fn next(&self) -> Filter {
        loop {
            let pending = {
                let mut state = self.hub.lock();
                let entry = state.listeners.get_mut(&self.id);
                entry.map(|entry| std::mem::take(&mut entry.pending)).unwrap_or_default()
            };
            if !pending.is_empty() {
                return pending;
            }
            self.wake.notified().await;
        }
    }

    /// Listens to a further resource; `false` if there are too many.
    pub(crate) fn watch(&self, uri: &str) -> bool {
        let mut state = self.hub.lock();
        let Some(entry) = state.listeners.get_mut(&self.id) else { return false };
        if entry.filter.uris.contains(uri) {
            return true;
        }
        if entry.filter.uris.len() >= MAX_WATCHED {
            return false;
        }
        entry.filter.uris.insert(uri.to_owned());
        state.watch(uri);
        drop(state);
        self.hub.count_up();
        true
    }

    /// Does not listen to the resource any more.
    pub(crate) fn unwatch(&self, uri: &str) {
        let mut state = self.hub.lock();
        let Some(entry) = state.listeners.get_mut(&self.id) else { return };
        entry.pending.uris.remove(uri);
        if entry.filter.uris.remove(uri) {
            state.unwatch(uri);
            drop(state);
            self.hub.count_up();
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut state = self.hub.lock();
        let Some(entry) = state.listeners.remove(&self.id) else { return };
        for uri in &entry.filter.uris {
            state.unwatch(uri);
        }
        drop(state);
        if !entry.filter.uris.is_empty() {
            self.hub.count_up();
        }
    }
}

// === impl ToldJobs ===

#[async_trait]
impl JobStore for ToldJobs {
    async fn create(&self, job: NewJob) -> Result<Job, JobStoreError> {
        self.store.create(job).await
    }

    async fn get(&self, id: &JobId) -> Result<Option<Job>, JobStoreError> {
        self.store.get(id).await
    }

    async fn update(
        &self,
        id: &JobId,
        state: JobState,
        now: Timestamp,
    ) -> Result<Option<Job>, JobStoreError> {
        let job = self.store.update(id, state, now).await?;
        if job.is_some() {
            self.notifier.job_changed(id);
        }
        Ok(job)
    }

    // Its state is the same: whoever follows the job is not woken for every step.
    async fn progress(
        &self,
        id: &JobId,
        refs: Vec<String>,
        now: Timestamp,
    ) -> Result<Option<Job>, JobStoreError> {
        self.store.progress(id, refs, now).await
    }

    async fn list_by_owner(&self, owner: &str) -> Result<Vec<Job>, JobStoreError> {
        self.store.list_by_owner(owner).await
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn uris(uris: &[&str]) -> Filter {
        Filter { uris: uris.iter().map(|uri| (*uri).to_owned()).collect(), ..Filter::default() }
    }

    #[test]
    fn what_is_told_twice_is_heard_once_and_only_by_who_asked() {
        let notifier = Notifier::new();
        let tools = notifier.listen(Filter { tools: true, ..Filter::default() });
        let texts = notifier.listen(uris(&["a", "b"]));
        for _ in 0..1000 {
            notifier.tools_changed();
            notifier.prompts_changed();
            notifier.resource_updated("b");
            notifier.resource_updated("c");
        }
        let heard = tools.next().now_or_never();
        assert_eq!(heard, Some(Filter { tools: true, ..Filter::default() }));
        assert_eq!(texts.next().now_or_never(), Some(uris(&["b"])));
        assert_eq!(tools.next().now_or_never(), None);
        notifier.resource_updated("a");
        texts.unwatch("a");
        assert_eq!(texts.next().now_or_never(), None, "not wanted any more");
    }

    #[test]
    fn what_is_watched_is_counted_and_cleaned_up() {
        let notifier = Notifier::new();
        let other = notifier.clone();
        assert!(notifier.watched_changed().now_or_never().is_none());
        let first = notifier.listen(uris(&["a", "b"]));
        let second = notifier.listen(uris(&["b"]));
        assert_eq!(notifier.watched(), ["a", "b"]);
        assert!(notifier.watched_changed().now_or_never().is_some());
        assert!(notifier.watched_changed().now_or_never().is_none());
        assert!(other.watched_changed().now_or_never().is_some(), "each handle for itself");
        drop(first);
        assert_eq!(notifier.watched(), ["b"]);
        assert!(second.watch("c") && second.watch("c"));
        second.unwatch("b");
        assert_eq!(other.watched(), ["c"]);
        drop(second);
        assert_eq!(notifier.watched(), [""; 0]);
        assert!(other.watched_changed().now_or_never().is_some());
    }

    #[test]
    fn a_listener_has_a_bound() {
        let notifier = Notifier::new();
        let listener = notifier.listen(Filter::default());
        let taken = (0..2 * MAX_WATCHED).filter(|n| listener.watch(&n.to_string())).count();
        assert_eq!(taken, MAX_WATCHED);
        assert!(listener.watch("0"), "the same again is nothing more");
    }
}
