//! The writer for sources whose peer waits for an answer: into the log, or while that is away into the
//! spool, within the time that a peer has.
//!
//! *Invariant:* nobody is told that an event is kept before it is on disk, here or there. *Invariant:*
//! nothing overtakes what waits.

use std::sync::Arc;
use std::time::Duration;

use event_core::dispatch::{self, Batching, Report};
use event_core::{Ack, Appended, Event, Ruling};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::drain::Side;

/// For how long the log is tried; Proxmox waits ten seconds for its answer.
const TRIES: Duration = Duration::from_secs(2);
/// How long the last try may take, from the first on.
const LONGEST: Duration = Duration::from_secs(4);
/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(250);
/// How often it is said that somebody was refused.
const SAY_EVERY: Duration = Duration::from_secs(30);

/// Keeps what comes, until every sender is gone or `stop` is canceled.
pub(crate) async fn write(
    side: &Side,
    reports: &mut mpsc::Receiver<Report>,
    stop: CancellationToken,
) {
    let batching = Batching::default();
    let mut said: Option<Instant> = None;
    while let Some(batch) = dispatch::gather(reports, batching, &stop).await {
        let (events, acks): (Vec<Event>, Vec<Ack>) =
            batch.into_iter().map(|report| (report.event, report.ack)).unzip();
        let appended = if side.is_waited_for() { None } else { into_log(side, &events).await };
        if let Some(appended) = appended {
            for (ack, appended) in acks.into_iter().zip(appended) {
                ack.resolve(match appended {
                    Appended::New(_) => Ruling::Committed,
                    Appended::Duplicate(_) => Ruling::Duplicate,
                });
            }
            continue;
        }
        let inputs: Vec<_> = events.iter().map(|event| event.source.id.clone()).collect();
        let put = match &side.spool {
            Some(spool) => spool.put(events).await.map_err(|error| stdx::Chain(&error).to_string()),
            None => Err("there is no folder where they could wait".to_owned()),
        };
        let (put, error) = put.map_or_else(|error| (0, error), |put| (put, String::new()));
        let refused = acks.len() - put;
        if refused > 0 && said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
            tracing::error!(refused, error, "reports are refused, for their senders to send again");
            said = Some(Instant::now());
        }
        side.away.count(put, refused);
        for input in &inputs[put..] {
            side.health.refused(input);
        }
        for (at, ack) in acks.into_iter().enumerate() {
            ack.resolve(if at < put { Ruling::Aside } else { Ruling::Rejected });
        }
    }
}

/// Tries the log; whether it took them in.
async fn into_log(side: &Side, events: &[Event]) -> Option<Vec<Appended>> {
    let (began, since) = (Instant::now(), side.clock.now());
    let error = loop {
        let append = side.log.append(events.iter().cloned().map(Arc::new).collect(), Vec::new());
        let error = match timeout_at(began + LONGEST, append).await {
            Ok(Ok(appended)) => return Some(appended),
            Ok(Err(error)) => stdx::Chain(&error).to_string(),
            // It may have them all the same, and knows them when they are told again.
            Err(_) => break format!("it did not answer within {} s", LONGEST.as_secs()),
        };
        if began.elapsed() + PAUSE > TRIES {
            break error;
        }
        sleep(PAUSE).await;
    };
    side.away.begins(since, &error);
    None
}
