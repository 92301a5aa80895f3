//! How many requests may be under way at once.
//!
//! A node has few workers for privileged calls (three on PVE) and a call can hold one for half a
//! minute: more would only queue there, where nobody can look past them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use estate::NodeName;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Counts what is under way, per endpoint and per target node.
#[derive(Debug)]
pub(crate) struct Limits {
    endpoints: Vec<Arc<Semaphore>>,
    protected: usize,
    nodes: Mutex<HashMap<Option<NodeName>, Arc<Semaphore>>>,
}

/// Held while a request is under way.
pub(crate) type Permit = OwnedSemaphorePermit;

// === impl Limits ===

impl Limits {
    /// At most `per_endpoint` requests to each of `endpoints`, and at most `protected` privileged
    /// ones that the same node works on.
    pub(crate) fn new(endpoints: usize, per_endpoint: usize, protected: usize) -> Self {
        let endpoints =
            (0..endpoints).map(|_| Arc::new(Semaphore::new(per_endpoint.max(1)))).collect();
        Self { endpoints, protected: protected.max(1), nodes: Mutex::default() }
    }

    /// Waits for a place at the endpoint.
    pub(crate) async fn endpoint(&self, index: usize) -> Permit {
        acquire(Arc::clone(&self.endpoints[index])).await
    }

    /// Waits for a place among the node's privileged workers. Calls that name no node run on
    /// whichever node answers; they share one count.
    pub(crate) async fn node(&self, node: Option<&NodeName>) -> Permit {
        let semaphore = {
            let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
            let entry = nodes.entry(node.cloned());
            Arc::clone(entry.or_insert_with(|| Arc::new(Semaphore::new(self.protected))))
        };
        acquire(semaphore).await
    }
}

async fn acquire(semaphore: Arc<Semaphore>) -> Permit {
    semaphore.acquire_owned().await.expect("these semaphores are never closed")
}
