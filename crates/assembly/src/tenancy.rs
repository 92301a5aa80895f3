//! One manager at a time on a store: takes it, or waits until it is there and free.

use std::mem::{Discriminant, discriminant};
use std::time::Duration;

use stdx::{Backoff, Chain, Clock as _};
use store::{Error, Lease};
use tokio_util::sync::CancellationToken;

use crate::estate::Estate;
use crate::events::machine;

/// How often one that waits looks again.
const LOOK: Duration = Duration::from_secs(1);
/// The pauses while a database is away.
const AWAY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// How long a database may take to notice that a manager that has just ended is gone.
const GRACE: Duration = Duration::from_secs(3);

/// What is waited for, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wait {
    /// Another manager has the store.
    Taken(String),
    /// The database does not answer.
    Away(String),
}

/// Takes the store of this estate. A database that cannot be reached is waited for; what is wrong with
/// the settings, which waiting does not mend, is said at once. Where another manager has the store, waits
/// for it if the settings say `manager.standby`. `waits` is called whenever it waits for something else
/// than before. Nothing where `stop` came first.
///
/// # Errors
/// Another manager has the store, or it cannot be used.
pub async fn take_store(
    estate: &Estate,
    stop: &CancellationToken,
    mut waits: impl FnMut(Wait),
) -> anyhow::Result<Option<Lease>> {
    let holder = format!("the manager of {}, process {}", machine(), std::process::id());
    let begun = tokio::time::Instant::now();
    let mut backoff = Backoff::new(AWAY.0, AWAY.1);
    let mut waited: Option<Discriminant<Wait>> = None;
    loop {
        let error = match take(estate, &holder).await {
            Ok(lease) => return Ok(Some(lease)),
            Err(error) => error,
        };
        let (wait, pause) = if error.is_away() {
            (Some(Wait::Away(Chain(&error).to_string())), backoff.next_delay())
        } else if !error.is_conflict() {
            return Err(error.into());
        } else if begun.elapsed() < GRACE {
            (None, LOOK)
        } else if estate.loaded.settings.manager.standby {
            backoff.reset();
            (Some(Wait::Taken(error.to_string())), LOOK)
        } else {
            return Err(error.into());
        };
        if let Some(wait) = wait
            && waited.replace(discriminant(&wait)) != Some(discriminant(&wait))
        {
            waits(wait);
        }
        if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return Ok(None);
        }
    }
}

async fn take(estate: &Estate, holder: &str) -> Result<Lease, Error> {
    let store = estate.store.get().await?;
    store.take_lease(holder, stdx::SystemClock.now()).await
}
