//! Deliveries that wait, in memory.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use event_core::{ComponentId, DeliveryKey, LogError, LogErrorKind, Outbox, Queued, Receipt};
use jiff::Timestamp;

/// An outbox in memory.
#[derive(Debug, Default)]
pub struct MemoryOutbox {
    rows: Mutex<Rows>,
}

#[derive(Debug, Default)]
struct Rows {
    rows: Vec<Row>,
    is_away: bool,
}

#[derive(Clone, Debug)]
struct Row {
    output: ComponentId,
    queued: Queued,
    due: Timestamp,
    state: Kept,
}

/// Where a delivery stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It waits, after this error if there was one.
    Waiting(Option<String>),
    /// It was told.
    Told(Receipt),
    /// Nothing can be done about it.
    Buried(String),
}

// === impl MemoryOutbox ===

impl MemoryOutbox {
    /// Takes one, due at once; the same key again changes nothing.
    pub fn put(&self, output: &ComponentId, queued: Queued) {
        self.with(|rows| {
            if rows.rows.iter().any(|row| row.queued.key == queued.key) {
                return;
            }
            let due = queued.made;
            let output = output.clone();
            rows.rows.push(Row { output, queued, due, state: Kept::Waiting(None) });
        });
    }

    /// Where a delivery stands.
    pub fn kept(&self, key: &DeliveryKey) -> Option<Kept> {
        self.with(|rows| rows.find(key).map(|row| row.state.clone()))
    }

    /// When a delivery is tried next, and how often it was.
    pub fn next(&self, key: &DeliveryKey) -> Option<(Timestamp, u32)> {
        self.with(|rows| rows.find(key).map(|row| (row.due, row.queued.attempts)))
    }

    /// Whether it answers with nothing but errors from now on.
    pub fn set_away(&self, is_away: bool) {
        self.with(|rows| rows.is_away = is_away);
    }

    fn with<T>(&self, use_rows: impl FnOnce(&mut Rows) -> T) -> T {
        use_rows(&mut self.rows.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes one that waits.
    fn change(&self, key: &DeliveryKey, change: impl FnOnce(&mut Row)) -> Result<(), LogError> {
        self.with(|rows| {
            rows.answers()?;
            if let Some(row) = rows.find(key).filter(|row| matches!(row.state, Kept::Waiting(_))) {
                change(row);
            }
            Ok(())
        })
    }
}

// === impl Rows ===

impl Rows {
    fn answers(&self) -> Result<(), LogError> {
        if self.is_away {
            return Err(LogError::new(LogErrorKind::Unavailable, "reach the outbox: it is away"));
        }
        Ok(())
    }

    fn find(&mut self, key: &DeliveryKey) -> Option<&mut Row> {
        self.rows.iter_mut().find(|row| row.queued.key == *key)
    }

    /// What was said to the last one before this that was told in its lane.
    fn prior(&self, row: &Row) -> Option<Receipt> {
        let incident = row.queued.incident.as_ref()?;
        let told =
            |it: &&Row| it.output == row.output && it.queued.incident.as_ref() == Some(incident);
        self.rows.iter().rev().filter(told).find_map(|it| match &it.state {
            Kept::Told(receipt) => Some(receipt.clone()),
            _ => None,
        })
    }
}

#[async_trait]
impl Outbox for MemoryOutbox {
    async fn due(
        &self,
        output: &ComponentId,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Queued>, LogError> {
        self.with(|rows| {
            rows.answers()?;
            let mut lanes: Vec<&str> = Vec::new();
            let mut due = Vec::new();
            let waits = |row: &&Row| row.output == *output && matches!(row.state, Kept::Waiting(_));
            for row in rows.rows.iter().filter(waits) {
                if let Some(incident) = &row.queued.incident {
                    if lanes.contains(&incident.as_str()) {
                        continue;
                    }
                    lanes.push(incident);
                }
                if row.due <= now && due.len() < limit as usize {
                    due.push(Queued { prior: rows.prior(row), ..row.queued.clone() });
                }
            }
            Ok(due)
        })
    }

    async fn delivered(
        &self,
        key: &DeliveryKey,
        receipt: &Receipt,
        _now: Timestamp,
    ) -> Result<(), LogError> {
        self.change(key, |row| row.state = Kept::Told(receipt.clone()))
    }

    async fn failed(
        &self,
        key: &DeliveryKey,
        error: &str,
        due: Timestamp,
        so_far: Option<&Receipt>,
    ) -> Result<(), LogError> {
        self.change(key, |row| {
            row.due = due;
            row.queued.attempts += 1;
            if let Some(so_far) = so_far {
                row.queued.so_far = Some(so_far.clone());
            }
            row.state = Kept::Waiting(Some(error.to_owned()));
        })
    }

    async fn bury(&self, key: &DeliveryKey, error: &str, _now: Timestamp) -> Result<(), LogError> {
        self.change(key, |row| row.state = Kept::Buried(error.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_keeps_the_contract() {
        let memory = MemoryOutbox::default();
        crate::contract::outbox::outbox(&memory, async |output, queued| {
            memory.put(&output, queued);
        })
        .await;
    }
}
