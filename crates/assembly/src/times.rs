//! What has a time, in a program that serves without a manager: what a crash left is settled, questions
//! run out, and changes that nobody confirmed are put back.
//!
//! A manager does the same for everybody on its state folder, so as long as one runs this does nothing.
//! Without one any number of programs may look: each change is taken by one of them at a time.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use manager::Lock;
use mcp_tools::gate::Gate;
use tokio::time::sleep;
use tracing::warn;

use crate::estate::Estate;

/// How often is looked.
const LOOK: Duration = Duration::from_secs(1);

/// Keeps the times of this estate for as long as it is polled. A store that holds nothing is not opened
/// for it.
pub fn keep_times(estate: &Estate) -> impl Future<Output = ()> + Send + 'static + use<> {
    let gate = Gate::new(Arc::clone(&estate.fleet), &estate.options);
    let remembers = estate.memory.is_some();
    let store = estate.store.clone();
    let is_demo = estate.demo_folder().is_some();
    let state = (!is_demo).then(|| estate.loaded.settings.server.state_dir.clone());
    async move {
        if !remembers {
            return;
        }
        let mut is_settled = false;
        loop {
            if store.may_hold_anything() {
                look(&gate, state.as_ref(), &mut is_settled).await;
            }
            sleep(LOOK).await;
        }
    }
}

/// Settles what a crash left; whether that is done.
async fn settle(gate: &Gate) -> bool {
    match gate.recover().await {
        Ok(found) => {
            if found.unknown > 0 {
                let unknown = found.unknown;
                warn!(
                    unknown,
                    "actions ended in a way that nobody knows: `proxmox-mcp actions list`"
                );
            }
            true
        }
        Err(error) => {
            warn!(%error, "cannot settle what was left before");
            false
        }
    }
}

async fn look(gate: &Gate, state: Option<&PathBuf>, is_settled: &mut bool) {
    if !*is_settled {
        // One at a time, and never beside a manager, which does it at its own start.
        let lock = state.map(|state| Lock::take(state)).transpose();
        // Whoever has it settles what was left.
        *is_settled = lock.is_err() || settle(gate).await;
    }
    let has_due = match gate.has_due().await {
        Ok(has_due) => has_due,
        Err(error) => {
            warn!(%error, "cannot tell which changes wait to be confirmed");
            return;
        }
    };
    if has_due
        && !state.is_some_and(|state| Lock::is_held(state))
        && let Err(error) = gate.revert_due().await
    {
        warn!(%error, "cannot put back what nobody confirmed");
    }
    if let Err(error) = gate.expire().await {
        warn!(%error, "cannot end what ran out of time");
    }
}
