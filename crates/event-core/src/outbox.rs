//! What is still to be told: where deliveries wait until their output has taken them.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{ComponentId, Delivery, DeliveryKey, LogError, Message, Receipt};

/// One delivery that waits, with what became of it so far.
#[derive(Clone, Debug)]
pub struct Queued {
    /// What makes a second attempt the same delivery.
    pub key: DeliveryKey,
    /// The incident that it tells of; deliveries of one output and one incident are told in order.
    pub incident: Option<String>,
    /// How often it was tried in vain.
    pub attempts: u32,
    /// When it was decided on.
    pub made: Timestamp,
    /// What the service said to the last delivery of the same output and incident.
    pub prior: Option<Receipt>,
    /// What the service said to the parts of this one that it has taken already.
    pub so_far: Option<Receipt>,
    /// What to tell.
    pub message: Message,
}

/// Where deliveries wait, until their output has taken them or nothing can be done about them.
///
/// Its contract, which `testkit` holds every implementation to:
/// - Deliveries of one output and one incident are a lane; one without an incident is a lane of its
///   own. `due` gives of each lane only the oldest that waits, and nothing of a lane whose oldest is
///   not due yet. Of several lanes the one that waits longest comes first.
/// - What one call has said is seen by the next, and survives a crash.
/// - What is told or buried does not come back by itself; saying so of a delivery that does not wait
///   any more changes nothing and is no error.
#[async_trait]
pub trait Outbox: Send + Sync + 'static {
    /// What that output is to tell now, at most so many.
    ///
    /// # Errors
    /// It cannot be read.
    async fn due(
        &self,
        output: &ComponentId,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Queued>, LogError>;

    /// The service has taken it, all of it. The receipt is the `prior` of the lane's next one.
    ///
    /// # Errors
    /// It cannot be written.
    async fn delivered(
        &self,
        key: &DeliveryKey,
        receipt: &Receipt,
        now: Timestamp,
    ) -> Result<(), LogError>;

    /// It was tried in vain and is to be tried again at `due`. `so_far` has the parts that were
    /// taken; `None` leaves what is known of them as it is.
    ///
    /// # Errors
    /// It cannot be written.
    async fn failed(
        &self,
        key: &DeliveryKey,
        error: &str,
        due: Timestamp,
        so_far: Option<&Receipt>,
    ) -> Result<(), LogError>;

    /// It will not be tried again until a person says so.
    ///
    /// # Errors
    /// It cannot be written.
    async fn bury(&self, key: &DeliveryKey, error: &str, now: Timestamp) -> Result<(), LogError>;
}

// === impl Queued ===

impl Queued {
    /// What its output is handed.
    pub fn delivery(&self) -> Delivery {
        Delivery {
            key: self.key.clone(),
            prior: self.prior.clone(),
            so_far: self.so_far.clone(),
            message: self.message.clone(),
        }
    }
}
