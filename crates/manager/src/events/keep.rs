//! What is done beside judging: words are made findable, what is old is forgotten, and what couriers
//! have to say is told over another output.

use std::sync::Arc;
use std::time::Duration;

use event_core::{ComponentId, EventId, Kind, Message, Severity, Stand};
use jiff::{SignedDuration, Timestamp};
use outputs::deliver::Word;
use stdx::Clock;
use store::{Step, Store};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::Change;

/// How often words are made findable, and at most how many at a time.
const INDEX: (Duration, u32) = (Duration::from_secs(2), 1000);
/// How long is looked how much comes in, and what is so much that words wait: they need the same disk.
const RUSH: (Duration, u64) = (Duration::from_millis(100), 300);
/// How often what is old is forgotten, and at most how much in one transaction.
const FORGET: (SignedDuration, u32) = (SignedDuration::from_hours(1), 500);

/// Keeps the store in order until it is stopped.
///
/// # Errors
/// The store does not do what it should.
pub(crate) async fn keep(
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    span: SignedDuration,
    mut changes: broadcast::Receiver<Change>,
    stop: CancellationToken,
) -> Result<(), String> {
    let said = |error: store::Error| stdx::Chain(&error).to_string();
    let mut forgot = Timestamp::MIN;
    loop {
        while store.index_events(INDEX.1).await.map_err(said)? == u64::from(INDEX.1) {
            let pause = if is_rushed(store.as_ref()).await? { INDEX.0 } else { Duration::ZERO };
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return Ok(());
            }
        }
        let now = clock.now();
        if now.duration_since(forgot) >= FORGET.0 {
            let before = now.checked_sub(span).unwrap_or(Timestamp::MIN);
            while !store.forget(before, FORGET.1).await.map_err(said)?.is_empty() {
                // Others come first.
                if stop
                    .run_until_cancelled(tokio::time::sleep(Duration::from_millis(50)))
                    .await
                    .is_none()
                {
                    return Ok(());
                }
            }
            forgot = now;
        }
        // Nothing is done while nothing comes, but for what gets old.
        let change = tokio::time::timeout(Duration::from_mins(5), changes.recv());
        if stop.run_until_cancelled(change).await.is_none() {
            return Ok(());
        }
        if stop.run_until_cancelled(tokio::time::sleep(INDEX.0)).await.is_none() {
            return Ok(());
        }
    }
}

/// Whether so much comes in now that whatever can wait should.
async fn is_rushed(store: &dyn Store) -> Result<bool, String> {
    let head = async || store.head().await.map_err(|error| stdx::Chain(&error).to_string());
    let before = head().await?;
    tokio::time::sleep(RUSH.0).await;
    Ok(head().await?.0.saturating_sub(before.0) > RUSH.1)
}

/// Tells of an output over its fallback; without one it stands in the program's own log alone.
pub(crate) fn tell_of(
    word: &Word,
    fallback: Option<ComponentId>,
    store: Arc<dyn Store>,
    changes: broadcast::Sender<Change>,
    now: Timestamp,
) {
    let (severity, title, text) = match word {
        Word::Down { output, since, error } => (
            Severity::Error,
            format!("the output {output} has told nothing since {since}"),
            error.clone(),
        ),
        Word::Up { output, since } => (
            Severity::Info,
            format!("the output {output} tells again, after not having since {since}"),
            String::new(),
        ),
        Word::Buried { output, title, error, .. } => (
            Severity::Warning,
            format!("the output {output} will not tell: {title}"),
            format!("{error}; see `proxmox-mcp events dead`"),
        ),
    };
    if severity == Severity::Info {
        tracing::info!("{title}");
    } else {
        tracing::warn!(error = text, "{title}");
    }
    let Some(fallback) = fallback else { return };
    let stand = if severity == Severity::Info { Stand::Resolved } else { Stand::New };
    let mut message = Message::new(
        stand,
        format!("output-{fallback}"),
        Kind::other("output"),
        severity,
        title,
        now,
    );
    message.text = text;
    tokio::spawn(async move {
        let once = EventId::new(now).to_string();
        let deliveries = vec![super::delivery(&fallback, &once, message)];
        let step = Step { deliveries, ..Step::default() };
        match store.commit_step(step).await {
            Ok(_) => {
                let outputs = [fallback].into();
                let change = Change { seq: event_core::Seq(0), incidents: Vec::new(), outputs };
                // Nobody may listen.
                let _ = changes.send(change);
            }
            Err(error) => {
                tracing::error!(error = %stdx::Chain(&error), "cannot tell that an output is down");
            }
        }
    });
}
