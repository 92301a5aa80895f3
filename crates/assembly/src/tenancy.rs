//! One manager at a time on a store: takes it, or waits until it is free.

use std::time::Duration;

use anyhow::Context as _;
use stdx::Clock as _;
use store::{ErrorKind, Lease};
use tokio_util::sync::CancellationToken;

use crate::estate::Estate;
use crate::events::machine;

/// How often one that waits looks again.
const LOOK: Duration = Duration::from_secs(1);
/// How long a database may take to notice that a manager that has just ended is gone.
const GRACE: Duration = Duration::from_secs(3);

/// Takes the store of this estate. Where another manager has it, waits for it if the settings say
/// `manager.standby`; `waits` is called once with what is waited for. Nothing where `stop` came first.
///
/// # Errors
/// Another manager has the store, or it cannot be reached.
pub async fn take_store(
    estate: &Estate,
    stop: &CancellationToken,
    waits: impl FnOnce(&str),
) -> anyhow::Result<Option<Lease>> {
    let store = estate.store.get().await.context("open the store")?;
    let holder = format!("the manager of {}, process {}", machine(), std::process::id());
    let mut waits = Some(waits);
    let begun = tokio::time::Instant::now();
    loop {
        let error = match store.take_lease(&holder, stdx::SystemClock.now()).await {
            Ok(lease) => return Ok(Some(lease)),
            Err(error) => error,
        };
        // While it stands by, a store that is away for a moment is no reason to end.
        let can_wait = error.kind() == ErrorKind::Conflict || waits.is_none();
        let is_late = begun.elapsed() >= GRACE;
        if !can_wait || (is_late && !estate.loaded.settings.manager.standby) {
            return Err(error.into());
        }
        if is_late && let Some(waits) = waits.take() {
            waits(&error.to_string());
        }
        if stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_none() {
            return Ok(None);
        }
    }
}
