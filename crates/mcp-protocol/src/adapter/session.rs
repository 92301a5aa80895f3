//! What one connection remembers between two messages: as little as the older era needs.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rmcp::model::RequestId;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::listen::Ear;
use crate::context::LogLevel;
use crate::notify::Listener;

/// So many requests may be in flight; a client that sends more without reading is at fault.
const MAX_IN_FLIGHT: usize = 256;

/// The state of one connection.
pub(super) struct Session {
    initialized: AtomicBool,
    log_level: Mutex<LogLevel>,
    in_flight: Mutex<HashSet<RequestId>>,
    idle: Notify,
    stop: CancellationToken,
    /// Ends before the rest: who only listens holds nothing up.
    listening: CancellationToken,
    /// What an older client hears; nothing before it is initialized.
    ear: Mutex<Option<Ear>>,
}

// === impl Session ===

impl Session {
    pub(super) fn new() -> Self {
        Self {
            initialized: AtomicBool::new(false),
            log_level: Mutex::new(LogLevel::Info),
            in_flight: Mutex::default(),
            idle: Notify::new(),
            stop: CancellationToken::new(),
            listening: CancellationToken::new(),
            ear: Mutex::default(),
        }
    }

    /// Whether `initialize` has come, so that requests without `_meta` belong to the older era.
    pub(super) fn is_initialized(&self) -> bool {
        self.initialized.load(Ordering::Acquire)
    }

    /// Set where `initialize` is read, not where it is answered: requests may follow it in the same breath.
    pub(super) fn set_initialized(&self) {
        self.initialized.store(true, Ordering::Release);
    }

    /// The least level of log messages that an older client wants.
    pub(super) fn log_level(&self) -> LogLevel {
        *lock(&self.log_level)
    }

    pub(super) fn set_log_level(&self, level: LogLevel) {
        *lock(&self.log_level) = level;
    }

    /// Notes that a request has come, or says why it cannot be taken.
    pub(super) fn begin(&self, id: &RequestId) -> Result<(), &'static str> {
        let mut in_flight = lock(&self.in_flight);
        if in_flight.len() >= MAX_IN_FLIGHT {
            return Err("too many requests are in flight; wait for answers");
        }
        if in_flight.insert(id.clone()) {
            Ok(())
        } else {
            Err("a request of this id is still being answered")
        }
    }

    /// Notes that a request is answered, or will not be because it was cancelled.
    pub(super) fn end(&self, id: &RequestId) {
        let mut in_flight = lock(&self.in_flight);
        in_flight.remove(id);
        if in_flight.is_empty() {
            self.idle.notify_waiters();
        }
    }

    /// Whether something is in flight.
    pub(super) fn is_busy(&self) -> bool {
        !lock(&self.in_flight).is_empty()
    }

    /// Waits until nothing is in flight.
    pub(super) async fn idle(&self) {
        loop {
            let idle = self.idle.notified();
            if lock(&self.in_flight).is_empty() {
                return;
            }
            idle.await;
        }
    }

    /// Ends the work of everything in flight.
    pub(super) fn stop(&self) {
        self.end_listening();
        self.stop.cancel();
    }

    /// Ends what only listens, and lets the rest finish.
    pub(super) fn end_listening(&self) {
        self.listening.cancel();
        *lock(&self.ear) = None;
    }

    /// Resolves when what only listens is to end.
    pub(super) fn listening_ends(&self) -> impl Future<Output = ()> + Send + 'static {
        self.listening.clone().cancelled_owned()
    }

    /// The listener of an older client, made by `open` if there is none yet.
    pub(super) fn listener(&self, open: impl FnOnce() -> Ear) -> Option<Arc<Listener>> {
        if self.listening.is_cancelled() {
            return None;
        }
        let mut ear = lock(&self.ear);
        Some(Arc::clone(&ear.get_or_insert_with(open).listener))
    }

    /// Resolves when the work of everything in flight is to end.
    pub(super) async fn stopped(&self) {
        self.stop.cancelled().await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing here panics while a lock is held, and if it did the values would still be whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
