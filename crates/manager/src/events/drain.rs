//! What waits beside the store, brought into it when that is back; and that it was away, told once.
//!
//! *Invariant:* a file of the spool is removed only when all of it is in the log. What is brought in
//! twice, because something broke off in between, is one event: its source's key says so.

use std::sync::Arc;
use std::time::Duration;

use event_core::{ComponentId, Event, EventLog, Kind, Severity};
use jiff::Timestamp;
use stdx::{Backoff, Chain, Clock};
use store::Spool;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::away::{Absence, Away, STEADY};
use super::health::Health;

/// What this program calls itself where it tells of itself.
const SELF: &str = "manager";
/// How many events are brought in at once.
const MOST: usize = 256;
/// How long one try may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pauses between two tries.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// The log, and what is beside it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Side {
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) spool: Option<Spool>,
    pub(crate) away: Away,
    pub(crate) health: Health,
    pub(crate) clock: Arc<dyn Clock>,
}

// === impl Side ===

impl Side {
    /// Whether what comes has to wait behind what waits.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.away.since().is_some() || self.spool.as_ref().is_some_and(|it| it.level().events > 0)
    }

    /// Brings in what waits, whenever something does.
    pub(crate) async fn drain(self, stop: CancellationToken) {
        self.recall().await;
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        loop {
            let Some(absence) = self.away.absence() else {
                backoff.reset();
                if stop.run_until_cancelled(self.away.changed()).await.is_none() {
                    return;
                }
                continue;
            };
            match stop.run_until_cancelled(self.bring_in(&absence)).await {
                None => return,
                Some(Err(error)) => {
                    tracing::debug!(error, "the store does not take in what waits");
                    if stop.run_until_cancelled(sleep(backoff.next_delay())).await.is_none() {
                        return;
                    }
                    continue;
                }
                Some(Ok(())) => backoff.reset(),
            }
            self.away.is_ending();
            tokio::select! {
                // Something was put aside again, or the store was found to be away again.
                () = self.away.changed() => continue,
                () = sleep(STEADY) => {}
                () = stop.cancelled() => {}
            }
            if let Err(error) = self.end().await {
                tracing::debug!(error, "the store was back and is not");
            }
        }
    }

    /// What an earlier run left is as if the store had gone away in this one.
    async fn recall(&self) {
        let Some(spool) = &self.spool else { return };
        let left = spool.level().events;
        if self.away.absence().is_some() || (left == 0 && spool.marked().is_none()) {
            return;
        }
        let since = match spool.marked() {
            Some(since) => since,
            None => match spool.oldest().await {
                Ok(Some(oldest)) => {
                    oldest.events.first().map_or_else(|| self.clock.now(), |event| event.received)
                }
                _ => self.clock.now(),
            },
        };
        tracing::info!(left, %since, "the store was away when this program ended");
        self.away.recalls(since, "it was when this program ended", left);
    }

    /// Everything that waits, in its order, behind the event that says why.
    async fn bring_in(&self, absence: &Absence) -> Result<(), String> {
        if let Some(spool) = &self.spool
            && let Err(error) = spool.mark(absence.since).await
        {
            tracing::debug!(error = %Chain(&error), "that the store is away could not be noted");
        }
        self.keep(vec![gone(absence, self.clock.now())]).await?;
        let Some(spool) = &self.spool else { return Ok(()) };
        let said = |error: store::spool::SpoolError| Chain(&error).to_string();
        while let Some(oldest) = spool.oldest().await.map_err(said)? {
            for events in oldest.events.chunks(MOST) {
                self.keep(events.to_vec()).await?;
            }
            spool.remove(oldest).await.map_err(said)?;
        }
        Ok(())
    }

    /// Tells that it is back.
    async fn end(&self) -> Result<(), String> {
        let Some(absence) = self.away.absence() else { return Ok(()) };
        let now = self.clock.now();
        self.keep(vec![back(&absence, now)]).await?;
        let Absence { since, put, refused, .. } = absence;
        tracing::warn!(%since, put, refused, "the store is back; everything that was put aside is in it");
        if let Some(spool) = &self.spool
            && let Err(error) = spool.unmark().await
        {
            tracing::warn!(error = %Chain(&error), "that the store was away is still noted, and told again at the next start");
        }
        self.away.ends();
        Ok(())
    }

    async fn keep(&self, events: Vec<Event>) -> Result<(), String> {
        match timeout(
            PATIENCE,
            self.log.append(events.into_iter().map(Arc::new).collect(), Vec::new()),
        )
        .await
        {
            Ok(kept) => kept.map(drop).map_err(|error| Chain(&error).to_string()),
            Err(_) => Err(format!("it did not answer within {} s", PATIENCE.as_secs())),
        }
    }
}

/// That the store went away.
fn gone(absence: &Absence, now: Timestamp) -> Event {
    let Absence { since, error, .. } = absence;
    event(Kind::MonitorStoreAway, *since, since, now)
        .severity(Severity::Error)
        .title(format!("the store of events took nothing in from {since} on"))
        .message(format!("What it said: {error}"))
        .build(now)
}

/// That it is back, and what became of what came meanwhile.
fn back(absence: &Absence, now: Timestamp) -> Event {
    let Absence { since, put, refused, .. } = absence;
    let minutes = now.duration_since(*since).as_secs().max(0).div_euclid(60);
    let fate = match (put, refused) {
        (0, 0) => "No sender that waits for an answer sent anything meanwhile.".to_owned(),
        (put, 0) => format!("{put} reports were put aside and are in it now. None was refused."),
        (put, refused) => format!(
            "{put} reports were put aside and are in it now. {refused} were refused, for their \
             senders to send again: Proxmox does not send a notification again."
        ),
    };
    event(Kind::MonitorStoreBack, now, since, now)
        .title(format!("the store of events takes everything in again, after {minutes} min"))
        .message(fate)
        .build(now)
}

fn event(kind: Kind, time: Timestamp, since: &Timestamp, now: Timestamp) -> event_core::Builder {
    let id: ComponentId = SELF.parse().expect("it is a name");
    let key = format!("{kind}/{since}");
    Event::builder(&id, SELF, key, kind, time.min(now))
}

#[cfg(test)]
mod tests;
